"""What a request gets that leaves things out: the model, and the sampling its makers recommend."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fake_engine import FakeEngine
from serving import Serve, Served

from tokenloom import hub
from tokenloom.engine.request import Sampling

CHAT = "/v1/chat/completions"
MESSAGES = [{"role": "user", "content": "SAY(yes)YAS"}]
ROUTES: dict[str, dict[str, Any]] = {
    CHAT: {"messages": MESSAGES},
    "/v1/completions": {"prompt": "SAY(yes)YAS"},
    "/v1/responses": {"input": "SAY(yes)YAS"},
    "/v1/messages": {"messages": MESSAGES, "max_tokens": 9},
}
PUT = Callable[..., None]


@pytest.fixture
def put(home: Path, model_folder: Path) -> PUT:
    """put(name, generation_config...) installs the small model under a name."""

    def install(name: str, **config: Any) -> None:
        folder = home / "models" / name
        shutil.copytree(model_folder, folder)
        (folder / "model.safetensors").write_bytes(b"\x02" + bytes(7) + b"{}")
        if config:
            (folder / "generation_config.json").write_text(json.dumps(config))

    return install


def asked(served: Served, route: str = CHAT, **more: Any) -> Sampling:
    answer = served.post(route, {**ROUTES[route], **more})
    assert answer.status_code == 200, answer.text
    return served.engine.seen[-1].sampling


def test_the_embedded_model_is_the_default(serve: Serve, put: PUT) -> None:
    for name in ("aaa", "smollm2", "zzz"):
        put(name)
    served: Served = serve(models=())
    assert [card["id"] for card in served.get("/v1/models").json()["data"]] == [
        "smollm2",
        "aaa",
        "zzz",
        *(one.name for one in hub.shipped()),
    ]
    for route, body in ROUTES.items():
        assert served.post(route, body).json()["model"] == "smollm2"
    assert served.get("/v1/models/aaa").json()["state"] == "waiting"


def test_a_model_that_cannot_be_loaded_is_no_default(serve: Serve, put: PUT) -> None:
    for name in ("aaa", "bbb", "smollm2"):
        put(name)
    served: Served = serve(FakeEngine(broken=frozenset({"smollm2", "aaa"})), models=())
    assert served.post(CHAT, ROUTES[CHAT]).json()["model"] == "bbb"
    refused = served.post(CHAT, {**ROUTES[CHAT], "model": "aaa"})
    assert refused.status_code == 503
    assert "aaa cannot be loaded: the file is damaged" in refused.json()["error"]["message"]
    assert served.get("/v1/models").json()["data"][0]["id"] == "bbb"


def test_where_none_can_be_loaded_it_is_said(serve: Serve, put: PUT) -> None:
    put("aaa")
    served: Served = serve(FakeEngine(load_error="no room"), models=())
    assert served.post(CHAT, ROUTES[CHAT]).json()["error"]["code"] == "model_load_failed"


def test_the_model_named_first_stays_the_default(serve: Serve) -> None:
    served: Served = serve(FakeEngine(broken=frozenset({"tiny"})), models=("tiny", "smollm2"))
    assert served.post(CHAT, ROUTES[CHAT]).json()["error"]["code"] == "model_load_failed"


@pytest.mark.parametrize("route", ROUTES)
def test_recommended_sampling_fills_what_is_left_out(serve: Serve, put: PUT, route: str) -> None:
    put("mine", temperature=0.6, top_p=0.8, top_k=20, min_p=0.05, repetition_penalty=1.1, eos_token_id=2)
    served: Served = serve(models=())
    said = {"temperature": 0.6, "top_p": 0.8, "top_k": 20, "min_p": 0.05, "repetition_penalty": 1.1}
    assert served.get("/v1/models/mine").json()["sampling"] == said
    assert asked(served, route) == Sampling(**said)
    assert asked(served, route, top_p=0.5) == Sampling(**{**said, "top_p": 0.5})
    assert asked(served, route, top_p=1.0) == Sampling(**{**said, "top_p": 1.0})
    for temperature in (0, 0.3, 1.0):  # nothing is added to a temperature that is given
        assert asked(served, route, temperature=temperature) == Sampling(temperature=temperature)


@pytest.mark.parametrize(
    ("config", "found"),
    [
        ({"do_sample": False, "temperature": 0.6}, {}),
        ({"do_sample": True, "temperature": 0.6}, {"temperature": 0.6}),
        ({"temperature": "hot", "top_p": 0, "top_k": 1.5, "min_p": True, "repetition_penalty": 0}, {}),
        ({"temperature": 9, "top_k": 0}, {"top_k": 0}),
        ({"eos_token_id": 2}, {}),
    ],
)
def test_what_is_read_of_a_generation_config(
    serve: Serve, put: PUT, config: dict[str, Any], found: dict[str, float]
) -> None:
    put("mine", **config)
    served: Served = serve(models=())
    assert served.get("/v1/models/mine").json()["sampling"] == found
    assert asked(served) == Sampling(**found)


def test_the_catalogue_recommends_where_the_files_do_not(serve: Serve, put: PUT) -> None:
    put("smollm2")
    served: Served = serve(models=())
    assert asked(served) == Sampling(temperature=0.7, top_p=0.95)
    fields = served.get("/openapi.json").json()["components"]["schemas"]["ChatRequest"]["properties"]
    assert "recommended" in fields["temperature"]["description"]
    assert "upper limit" in fields["max_tokens"]["description"]


def test_a_voice_answers_no_words(serve: Serve, put: PUT, home: Path) -> None:
    for name in ("aloud", "writer"):
        put(name)
    (home / "models" / "aloud" / "sound").mkdir()
    (home / "models" / "aloud" / "sound" / "config.json").write_text("{}")
    served: Served = serve(models=())
    cards = {card["id"]: card for card in served.get("/v1/models").json()["data"]}
    card = cards["aloud"]
    assert (card["kind"], card["abilities"], card["modalities"]["output"]) == ("speech", ["speak"], ["audio"])
    for route, body in ROUTES.items():
        assert served.post(route, body).json()["model"] == "writer", "none was named, and a voice is none"
        refused = served.post(route, {**body, "model": "aloud"})
        assert refused.status_code == 400
        assert "/v1/audio/speech with the voice own:aloud" in refused.json()["error"]["message"]
    for stream in (True, False):
        error = served.post(CHAT, {**ROUTES[CHAT], "model": "aloud", "stream": stream}).json()["error"]
        assert error["param"] == "model"
    assert served.get("/v1/models/aloud").json()["state"] == "waiting", "it takes no memory"

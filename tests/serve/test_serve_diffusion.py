"""A diffusion model of random weights behind the routes of pictures, beside a picture model of codes."""

from __future__ import annotations

import base64
import io
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch

pytest.importorskip("diffusers")

from fake_engine import Place
from picture_serving import mask, opened, png, url_of
from PIL import Image
from serving import running
from tiny_diffusion import SIZE, tiny_diffusion
from tiny_painter import tiny_painter

from tokenloom.engine.process import EngineProcess
from tokenloom.serve.app import create_app
from tokenloom.serve.settings import Settings
from tokenloom.trust import verify

Ask = Any


@pytest.fixture(scope="module")
def http(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    torch.set_num_threads(1)
    place = tmp_path_factory.mktemp("models")
    folders = {"sd": tiny_diffusion(place / "sd"), "painter": tiny_painter(place / "painter")}
    app = create_app(
        EngineProcess(threads=1),
        Settings(models=tuple(folders), first_news_s=0.2, load_wait_s=120),
        find=lambda name: Place(name, folders[name]),  # type: ignore[arg-type]
    )
    with running(app) as url, httpx.Client(base_url=url, timeout=120, trust_env=False) as client:
        end = time.monotonic() + 120
        while client.get("/health").status_code != 200 and time.monotonic() < end:
            time.sleep(0.1)
        yield client


def drawn(http: httpx.Client, **body: Any) -> httpx.Response:
    return http.post(
        "/v1/images/generations", json={"model": "sd", "prompt": "a red fox", "steps": 2, **body}
    )


def edited(http: httpx.Client, **body: Any) -> httpx.Response:
    return http.post("/v1/images/edits", json={"model": "sd", "steps": 2, **body})


def whole(answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def refused(answer: httpx.Response, param: str, status: int = 400) -> str:
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert error["param"] == param
    return str(error["message"])


def events(answer: httpx.Response) -> list[dict[str, Any]]:
    lines = [line[6:] for line in answer.text.splitlines() if line.startswith("data: ")]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


def test_it_is_listed_as_what_it_is(http: httpx.Client) -> None:
    drawn(http)
    cards = {card["id"]: card for card in http.get("/v1/models").json()["data"]}
    assert cards["sd"]["kind"] == "picture"
    assert cards["sd"]["modalities"] == {"input": ["text", "image"], "output": ["image"]}
    assert cards["sd"]["styles"] == []
    assert "steps" in cards["sd"]["options"]
    assert cards["painter"]["modalities"]["output"] == ["text", "image"]


def test_pictures_of_words(http: httpx.Client) -> None:
    first = whole(drawn(http, n=2, seed=7, negative_prompt="rain", guidance=3))
    assert first["size"] == f"{SIZE}x{SIZE}"
    assert [one["seed"] for one in first["data"]] == [7, 7]
    again = whole(drawn(http, n=2, seed=7, negative_prompt="rain", guidance=3))
    assert [one["b64_json"] for one in again["data"]] == [one["b64_json"] for one in first["data"]]
    assert first["data"][0]["b64_json"] != first["data"][1]["b64_json"]
    answer = drawn(http, size="128x64", output_format="webp", label="hidden")
    picture = opened(whole(answer)["data"][0]["b64_json"])
    assert (picture.format, picture.size) == ("WEBP", (128, 64))
    assert int(answer.headers["x-tokenloom-seed"]) == answer.json()["data"][0]["seed"]


def test_every_picture_is_labelled(http: httpx.Client, tmp_path: Path) -> None:
    file = tmp_path / "out.png"
    for label in ("visible", "hidden"):
        found = whole(drawn(http, size="256x256", label=label))
        file.write_bytes(base64.b64decode(found["data"][0]["b64_json"]))
        report = verify(file)
        assert report.ok
        assert report.visible == (label == "visible")


def test_a_stream_shows_pictures_under_way(http: httpx.Client) -> None:
    found = events(drawn(http, steps=6, n=2, stream=True, partial_images=2))
    kinds = [(one["type"], one["index"]) for one in found]
    assert kinds.count(("image_generation.partial_image", 0)) == 2
    assert kinds.count(("image_generation.partial_image", 1)) == 2
    assert kinds[-2:] == [("image_generation.completed", 0), ("image_generation.completed", 1)]
    assert all(opened(one["b64_json"]).size[0] >= SIZE for one in found)


def test_a_marked_part(http: httpx.Client) -> None:
    given = png(64, 64)
    asked = {"image": url_of(given), "prompt": "a hat", "size": "64x64", "label": "hidden"}
    answer = whole(edited(http, mask=url_of(mask(64, 64)), **asked))
    before = np.asarray(Image.open(io.BytesIO(given)).convert("RGB"))
    after = np.asarray(opened(answer["data"][0]["b64_json"]).convert("RGB"))
    assert (after[40:, 40:] == before[40:, 40:]).all()
    assert (after[:32, :32] != before[:32, :32]).any()


def test_the_whole_from_a_picture(http: httpx.Client) -> None:
    asked = {"image": url_of(png(64, 64)), "size": "64x64", "seed": 3, "steps": 10, "label": "hidden"}
    little = whole(edited(http, prompt="a sea", strength=0.1, **asked))
    much = whole(edited(http, prompt="a sea", strength=1, **asked))
    style = whole(edited(http, style="watercolour on wet paper", strength=1, **asked))
    texts = {one["data"][0]["b64_json"] for one in (little, much, style)}
    assert len(texts) == 3
    form = {"model": "sd", "steps": "4", "strength": "0.5", "size": "64x64", "label": "hidden"}
    varied = http.post("/v1/images/variations", data=form, files={"image": ("in.png", png(80, 40))})
    assert opened(whole(varied)["data"][0]["b64_json"]).size == (64, 64)


@pytest.mark.parametrize(
    ("param", "value", "words"),
    [
        ("style", "fluent", "diffusion model and has none"),
        ("best_of", 2, "diffusion model and has none"),
        ("temperature", 0.5, "diffusion model and has none"),
        ("strength", 0.5, "no picture to begin from"),
        ("size", "100x100", "multiples of 8"),
        ("size", "2048x16", "32 to 2048"),
    ],
)
def test_what_it_has_not(http: httpx.Client, param: str, value: Any, words: str) -> None:
    assert words in refused(drawn(http, **{param: value}), param)


@pytest.mark.parametrize(
    ("param", "value"), [("steps", 3), ("negative_prompt", "rain"), ("strength", 0.5), ("size", "128x64")]
)
def test_what_the_other_has_not(http: httpx.Client, param: str, value: Any) -> None:
    body = {"model": "painter", "prompt": "a fox", param: value}
    answer = http.post("/v1/images/generations", json=body)
    message = refused(answer, param, 422 if param == "size" else 400)
    assert "diffusion models alone" in message or "square" in message


def test_the_engine_s_refusal_names_the_field(http: httpx.Client) -> None:
    asked = {"image": url_of(png(64, 64)), "prompt": "a sea", "strength": 0.01}
    assert "leaves none" in refused(edited(http, **asked), "strength")


def test_it_has_no_words(http: httpx.Client) -> None:
    said = {"model": "sd", "messages": [{"role": "user", "content": "hello"}]}
    assert "draws alone" in refused(http.post("/v1/chat/completions", json=said), "model")
    said = {"model": "sd", "prompt": "hello"}
    assert "draws alone" in refused(http.post("/v1/completions", json=said), "model")


def test_the_one_that_sees_answers_where_none_is_named(http: httpx.Client) -> None:
    found = whole(http.post("/v1/images/generations", json={"prompt": "a fox", "style": "fluent"}))
    assert found["size"] == "512x512"


def test_who_leaves_frees_the_brush(http: httpx.Client) -> None:
    body = {"model": "sd", "prompt": "a fox", "steps": 500, "n": 64, "stream": True, "partial_images": 64}
    with http.stream("POST", "/v1/images/generations", json=body) as answer:
        next(answer.iter_lines())
    started = time.monotonic()
    whole(drawn(http))
    assert time.monotonic() - started < 60

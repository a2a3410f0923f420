"""Tasks over HTTP: listed with their fields, run as chat or completions."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Any

import pytest
from fake_engine import FakeEngine, Job, Place
from serving import Serve, Served
from starlette.responses import JSONResponse
from test_serve_chat import events
from tokenizers import Tokenizer

from tokenloom import hub, tasks
from tokenloom.engine.request import Delta
from tokenloom.serve import dispatch
from tokenloom.serve.models import Models
from tokenloom.serve.settings import Settings
from tokenloom.tokens.verse import CONTROL
from tokenloom.trust import WORDS


def test_tasks_are_listed(served: Served) -> None:
    data = served.get("/v1/tasks").json()["data"]
    known = [task for task in tasks.tasks().values() if task.kind in ("complete", "chat", "speech")]
    assert data == [tasks.fields_json(task) for task in known], "nothing that draws or composes is on offer"


def test_write_and_chat(serve: Serve) -> None:
    served = serve()
    answer = served.post("/v1/tasks/write", {"fields": {"prompt": "SAY( went on \n)YAS", "seed": 5, "n": 2}})
    assert answer.headers["x-tokenloom-seed"] == "5"
    assert [choice["text"] for choice in answer.json()["choices"]] == [" went on", " went on"]
    assert served.engine.seen[-1].sampling.temperature == tasks.tasks()["write"].sampling["temperature"]
    body = {"fields": {"message": "SAY(Hello)YAS", "temperature": 0}, "model": "tiny", "lang": "zh"}
    answer = served.post("/v1/tasks/chat", body)
    assert answer.json()["choices"][0]["message"]["content"] == "Hello"
    assert served.engine.seen[-1].sampling.temperature == 0


def test_a_stream(served: Served) -> None:
    body = {"fields": {"prompt": "SAY(on and on)YAS"}, "stream": True}
    chunks = events(served.post("/v1/tasks/write", body))
    assert chunks.pop() == "[DONE]"
    assert "".join(chunk["choices"][0]["text"] for chunk in chunks) == "on and on"


def test_published_text_is_labelled(served: Served) -> None:
    body = {"fields": {"prompt": "SAY(A poem.)YAS"}, "publish": True, "lang": "zh"}
    text = served.post("/v1/tasks/write", body).json()["choices"][0]["text"]
    assert text.endswith("A poem.")
    assert text.startswith(WORDS["zh"])


@pytest.mark.parametrize(
    ("name", "body", "status", "param"),
    [
        ("paint", {"fields": {}}, 404, None),
        ("write", {"fields": {}}, 422, "fields.prompt"),
        ("write", {"fields": {"prompt": "x", "size": 1}}, 422, "fields"),
        ("write", {"fields": {"prompt": "x", "temperature": 9}}, 422, "fields.temperature"),
        ("write", {"fields": {"prompt": "x"}, "lang": "fr"}, 422, "lang"),
        ("write", {"fields": {"prompt": "x"}, "colour": 1}, 422, "colour"),
        ("write", {"fields": {"prompt": "x"}, "publish": True, "stream": True}, 422, "publish"),
        ("write", {"fields": {"prompt": "x"}, "model": "none"}, 404, "model"),
        ("write", {}, 422, "fields"),
    ],
)
def test_what_is_wrong_is_named(
    served: Served, name: str, body: dict[str, Any], status: int, param: str | None
) -> None:
    answer = served.post(f"/v1/tasks/{name}", body)
    assert answer.status_code == status, answer.text
    assert answer.json()["error"]["param"] == param


@pytest.fixture(scope="module")
def verse(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose tokenizer knows a poem's control tokens."""
    folder = tmp_path_factory.mktemp("verse") / "verse"
    shutil.copytree(model_folder, folder)
    file = folder / "tokenizer.json"
    backend = Tokenizer.from_file(str(file))
    backend.add_special_tokens(list(CONTROL))
    backend.save(str(file))
    return folder


class Drafting(FakeEngine):
    """Writes choice i as drafts[i]."""

    drafts: tuple[str, ...] = ()

    def _step(self, job: Job) -> Delta | None:
        if job.at == 0:
            job.script = self._tokenizers[job.request.model].encode(self.drafts[job.choice])
        return super()._step(job)


GOOD = "白日依山尽，黄河入海流。\n欲穷千里目，更上一层楼。"
UNRHYMED = GOOD.replace("一层楼", "一层天")
OTHER = "红豆生南国，春来发几枝。\n愿君多采撷，此物最相思。"


def drafting(serve: Serve, verse: Path, *drafts: str) -> Served:
    engine = Drafting()
    engine.drafts = drafts
    served = serve(engine, models=("poet",), find=lambda name: Place(name, verse))
    assert isinstance(served, Served)
    return served


def test_the_best_draft_of_each_version_comes_back(serve: Serve, verse: Path) -> None:
    served = drafting(serve, verse, UNRHYMED, GOOD + "\n", GOOD, UNRHYMED, OTHER, UNRHYMED)
    fields = {"poem": "五言绝句", "n": 2, "drafts": 3, "seed": 5}
    answer = served.post("/v1/tasks/poem", {"fields": fields})
    assert answer.status_code == 200, answer.text
    choices = answer.json()["choices"]
    assert [(choice["index"], choice["text"]) for choice in choices] == [(0, GOOD), (1, OTHER)]
    assert answer.headers["x-tokenloom-seed"] == "5"
    assert answer.json()["usage"]["completion_tokens"] > 3 * len(GOOD), "every draft counts"
    assert served.engine.seen[-1].n == 6
    published = served.post("/v1/tasks/poem", {"fields": fields, "publish": True, "lang": "zh"}).json()
    assert published["choices"][1]["text"].startswith(WORDS["zh"])


def test_a_stream_brings_a_version_whole(serve: Serve, verse: Path) -> None:
    served = drafting(serve, verse, UNRHYMED, GOOD + "\n", OTHER, UNRHYMED)
    body = {"fields": {"poem": "五言绝句", "n": 2, "drafts": 2, "seed": 5}, "stream": True}
    answer = served.post("/v1/tasks/poem", body)
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["x-tokenloom-seed"] == "5"
    chunks = events(answer)
    assert chunks.pop() == "[DONE]"
    assert [chunk["choices"][0]["text"] for chunk in chunks] == [GOOD, OTHER]
    assert [chunk["choices"][0]["index"] for chunk in chunks] == [0, 1]
    assert chunks[0]["choices"][0]["finish_reason"] == "stop"
    body["fields"] = {"poem": "五言绝句", "drafts": 1}
    pieces = events(served.post("/v1/tasks/poem", body))[:-1]
    assert len(pieces) > 1, "one draft comes as it is written"
    assert "".join(piece["choices"][0]["text"] for piece in pieces) == UNRHYMED


def test_drafts_of_a_server_behind_are_chosen_here(
    serve: Serve, verse: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    behind = drafting(serve, verse, UNRHYMED, GOOD)
    front = serve(upstream=behind.v1)
    fields = {"poem": "五言绝句", "drafts": 2}
    answer = front.post("/v1/tasks/poem", {"fields": fields})
    assert answer.status_code == 200, answer.text
    assert [choice["text"] for choice in answer.json()["choices"]] == [GOOD]
    monkeypatch.setattr(dispatch, "answer_completion", one_choice)
    answer = front.post("/v1/tasks/poem", {"fields": fields, "stream": True})
    assert answer.status_code == 502
    assert "wrote 1 of 2 drafts; ask with drafts 1" in answer.json()["error"]["message"]


async def one_choice(*_: object) -> JSONResponse:
    """A server that knows no n."""
    return JSONResponse({"choices": [{"index": 0, "text": GOOD, "finish_reason": "stop"}]})


def test_wrong_drafts_are_named(serve: Serve, verse: Path) -> None:
    served = drafting(serve, verse, GOOD)
    for fields in ({"drafts": 17}, {"drafts": 0}, {"n": 64}):
        answer = served.post("/v1/tasks/poem", {"fields": {"poem": "春", **fields}, "stream": True})
        assert (answer.status_code, answer.json()["error"]["param"]) == (422, "fields.drafts"), fields
    long = served.post("/v1/tasks/poem", {"fields": {"poem": "春", "max_tokens": 9}})
    assert (long.status_code, long.json()["error"]["param"]) == (422, "fields")


def test_a_poem_is_held_to_its_form(serve: Serve, verse: Path) -> None:
    backend = Tokenizer.from_file(str(verse / "tokenizer.json"))
    plain = serve()
    refused = plain.post("/v1/tasks/poem", {"fields": {"poem": "春"}, "model": "tiny"})
    assert (refused.status_code, refused.json()["error"]["param"]) == (422, "model")
    assert "use poet" in refused.json()["error"]["message"]
    missing = plain.post("/v1/tasks/poem", {"fields": {"poem": "春"}})
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "model_not_found")
    wrong = plain.post("/v1/tasks/poem", {"fields": {"poem": "春", "acrostic": "春夏秋"}, "model": "tiny"})
    assert (wrong.status_code, wrong.json()["error"]["param"]) == (422, "fields.acrostic")
    served = serve(models=("poet",), find=lambda name: Place(name, verse))
    answer = served.post("/v1/tasks/poem", {"fields": {"poem": "秋夜 五言绝句", "acrostic": "春夏秋冬"}})
    assert answer.status_code == 200
    request = served.engine.seen[-1]
    assert request.model == "poet"
    assert (
        request.constraint
        == tasks.build(tasks.tasks()["poem"], {"poem": "五言绝句", "acrostic": "春夏秋冬"}).constraint
    )
    ids = [backend.token_to_id(token) for token in CONTROL[:3]]
    assert [id for id in request.ids if id in ids] == ids


def test_a_model_of_the_package_is_offered_but_answers_for_no_other(
    model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "installed", list)
    monkeypatch.setattr(hub, "shipped", lambda: [Place("poet", model_folder)])
    alone = Models(FakeEngine(), Settings())
    assert alone.names() == ["poet"]
    assert asyncio.run(alone.default()) is None
    monkeypatch.setattr(hub, "installed", lambda: [Place("zebra", model_folder)])
    both = Models(FakeEngine(), Settings())
    assert both.names() == ["zebra", "poet"]
    assert asyncio.run(both.default()) == "zebra"

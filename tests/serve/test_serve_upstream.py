"""Another server behind ours: a second instance of our own app stands in for it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from fake_engine import FakeEngine
from serving import Serve, Served, running
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route
from test_serve_chat import ask, events

from tokenloom.serve.app import create_app
from tokenloom.serve.settings import Settings
from tokenloom.serve.upstream import KEY, Upstream

CHAT = "/v1/chat/completions"
BACK = "the-key-of-the-server-behind"


@pytest.fixture
def behind(serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Served:
    """The server behind; it asks for a key, and offers `tiny`."""
    path = tmp_path / "behind.txt"
    path.write_text(BACK)
    monkeypatch.setenv(KEY, BACK)
    served: Served = serve(api_keys=path, keepalive_s=0.2)
    return served


@pytest.fixture
def front(behind: Served) -> Iterator[Served]:
    """The server in front; it has no engine of its own."""
    app = create_app(None, Settings(upstream=behind.url, keepalive_s=0.2))
    with running(app) as url, httpx.Client(timeout=30, trust_env=False) as client:
        yield Served(url, behind.engine, app, client)


def test_answers_pass_through(front: Served) -> None:
    answer = front.post(CHAT, ask("SAY(from behind)YAS")).json()
    assert answer["choices"][0]["message"]["content"] == "from behind"
    assert answer["usage"]["completion_tokens"] > 0
    chunks = events(front.post(CHAT, ask("SAY(from behind)YAS", stream=True)))
    assert chunks[-1] == "[DONE]"
    text = "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks[:-1])
    assert text == "from behind"
    answer = front.post("/v1/completions", {"model": "tiny", "prompt": "SAY(too)YAS"}).json()
    assert answer["choices"][0]["text"] == "too"


def test_tasks_and_responses_pass_through(front: Served) -> None:
    answer = front.post("/v1/tasks/write", {"fields": {"prompt": "SAY(a line \n)YAS"}}).json()
    assert answer["choices"][0]["text"] == "a line"
    answer = front.post("/v1/responses", {"model": "tiny", "input": "SAY(items)YAS"}).json()
    assert answer["output"][0]["content"][0]["text"] == "items"


def test_its_models_are_listed_with_ours(front: Served, behind: Served, serve: Serve) -> None:
    assert [card["id"] for card in front.get("/v1/models").json()["data"]] == ["tiny"]
    assert front.get("/v1/models/tiny").json()["id"] == "tiny"
    assert "tiny" in front.get("/v1/models/other").json()["error"]["message"]
    both: Served = serve(engine=FakeEngine(), models=("mine",), upstream=behind.v1)
    assert [card["id"] for card in both.get("/v1/models").json()["data"]] == ["mine", "tiny"]
    behind.engine.seen.clear()
    for name, count in (("mine", 0), ("tiny", 1)):
        answer = both.post(CHAT, {**ask("SAY(x)YAS"), "model": name})
        assert answer.json()["choices"][0]["message"]["content"] == "x"
        assert len(behind.engine.seen) == count


def test_its_errors_are_told(front: Served) -> None:
    answer = front.post(CHAT, {**ask("x"), "model": "none"})
    assert answer.status_code == 404
    assert "tiny" in answer.json()["error"]["message"]
    answer = front.post(CHAT, ask("x", temperature=9))
    assert answer.status_code == 422
    assert answer.json()["error"]["param"] == "temperature"
    for stream in (False, True):
        long = front.post(CHAT, ask("word " * 9000, stream=stream))
        assert long.status_code == 400
        assert long.json()["error"]["code"] == "context_length_exceeded"
    broken = front.post(CHAT, ask("BREAK"))
    assert broken.status_code == 502
    assert "the fake engine broke" in broken.json()["error"]["message"]
    assert "the fake engine broke" in front.post(CHAT, ask("BREAK", stream=True)).text


def test_a_wrong_key_for_it_is_our_trouble(behind: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY, "not-the-key-of-the-server")
    with (
        running(create_app(None, Settings(upstream=behind.url))) as url,
        httpx.Client(trust_env=False) as client,
    ):
        for answer in (client.get(url + "/v1/models"), client.post(url + CHAT, json=ask("x"))):
            assert answer.status_code == 502
            assert KEY in answer.json()["error"]["message"]
            assert "not-the-key" not in answer.text


def test_the_askers_key_does_not_leave(behind: Served, tmp_path: Path) -> None:
    path = tmp_path / "front.txt"
    path.write_text("the-key-of-the-front-door")
    app = create_app(None, Settings(upstream=behind.url, api_keys=path, requests_per_minute=1))
    with running(app) as url, httpx.Client(trust_env=False) as client:
        assert client.post(url + CHAT, json=ask("x")).status_code == 401
        client.headers["authorization"] = f"Bearer {BACK}"
        assert client.post(url + CHAT, json=ask("x")).status_code == 401
        client.headers["authorization"] = "Bearer the-key-of-the-front-door"
        assert client.post(url + CHAT, json=ask("x")).status_code == 200
        assert client.post(url + CHAT, json=ask("x")).status_code == 429


def test_nobody_behind(serve: Serve) -> None:
    alone: Served = serve(upstream="http://127.0.0.1:9/v1")
    listed = alone.get("/v1/models")
    assert [card["id"] for card in listed.json()["data"]] == ["tiny"]
    assert listed.headers["x-tokenloom-upstream"] == "unreachable"
    for stream in (False, True):
        answer = alone.post(CHAT, {**ask("x", stream=stream), "model": "other"})
        assert answer.status_code == 502
        assert "127.0.0.1:9" in answer.json()["error"]["message"]


def test_leaving_ends_it_behind_too(front: Served, behind: Served) -> None:
    with front.client.stream("POST", front.url + CHAT, json=ask("HANG", stream=True)) as answer:
        lines = answer.iter_lines()
        while next(lines) != ": waiting":
            pass
        assert behind.engine.open == 1
    assert behind.engine.idle()
    with pytest.raises(httpx.ReadTimeout):
        front.post(CHAT, ask("HANG"), timeout=httpx.Timeout(60, read=1))
    assert behind.engine.idle()
    assert front.app.state.desk.queue.taken == 0


def test_odd_servers() -> None:
    """Events in odd pieces stay whole; what is no JSON is said."""

    async def pieces(request: Any) -> StreamingResponse:
        async def parts() -> Any:
            text = 'data: {"choices":[{"delta":{"content":"a"}}]}\r\n\r\ndata: [DONE]\r\n\r\n'
            for at in range(0, len(text), 5):
                yield text[at : at + 5]

        return StreamingResponse(parts(), media_type="text/event-stream")

    async def words(request: Any) -> PlainTextResponse:
        return PlainTextResponse("hello")

    odd = Starlette(
        routes=[Route("/v1/chat/completions", pieces, methods=["POST"]), Route("/v1/models", words),
                Route("/v1/completions", words, methods=["POST"])]
    )  # fmt: skip
    with ExitStack() as stack:
        behind = stack.enter_context(running(odd))
        url = stack.enter_context(running(create_app(None, Settings(upstream=behind))))
        client = stack.enter_context(httpx.Client(trust_env=False))
        answer = client.post(url + CHAT, json={"model": "m", "messages": [], "stream": True})
        data = [line for line in answer.text.split("\n\n") if line.startswith("data: ")]
        assert json.loads(data[0][6:])["choices"][0]["delta"]["content"] == "a"
        assert data[1] == "data: [DONE]"
        assert client.get(url + "/v1/models").status_code == 502
        assert client.post(url + "/v1/completions", json={"model": "m", "prompt": "x"}).status_code == 502


@pytest.mark.parametrize(
    "url", ["ftp://x/v1", "127.0.0.1:8000", "http://", "http://key@host/v1", "http://h/v1?k=1"]
)
def test_an_address_that_is_none(url: str) -> None:
    with pytest.raises(ValueError, match="upstream"):
        create_app(None, Settings(upstream=url))


def test_the_address_may_leave_out_v1(front: Served) -> None:
    upstream: Upstream = front.app.state.desk.upstream
    assert upstream.url.endswith("/v1")

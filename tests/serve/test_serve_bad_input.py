"""What a client may get wrong: each gets a clear error in OpenAI's shape, and the server goes on."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from serving import Serve, Served

CHAT = "/v1/chat/completions"
USER = [{"role": "user", "content": "SAY(fine)YAS"}]


@pytest.fixture(autouse=True)
def _still_serving(served: Served) -> Iterator[None]:
    yield
    answer = served.post(CHAT, {"model": "tiny", "messages": USER})
    assert answer.json()["choices"][0]["message"]["content"] == "fine"
    assert served.engine.idle()


def error(answer: httpx.Response, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    found = answer.json()
    assert set(found) == {"error"}
    assert set(found["error"]) == {"message", "type", "param", "code"}
    assert found["error"]["message"]
    return found["error"]


def raw(served: Served, body: bytes, kind: str = "application/json") -> httpx.Response:
    return served.client.post(served.url + CHAT, content=body, headers={"content-type": kind}, timeout=20)


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (b"", "JSON"),
        (b"{", "JSON"),
        (b"[]", "object"),
        (b'"text"', "object"),
        (b"null", "object"),
        (b'{"model": "\xff\xfe"}', "UTF-8"),
        ('{"model": "é"}'.encode("latin-1"), "UTF-8"),
        (b'{"temperature": NaN}', "NaN"),
        (b'{"temperature": -Infinity}', "-Infinity"),
        (b'{"temperature": 1e999}', "too large"),
        (b'{"seed": ' + b"9" * 5000 + b"}", "too long"),
        (b'{"model": "a", "model": "b"}', "twice"),
        (b'{"model": "\\ud800"}', "surrogate"),
        (b'{"\\udfff": 1}', "surrogate"),
        (b'{"a":' * 100 + b"1" + b"}" * 100, "nests deeper"),
        (b"[" * 200_000, "nests deeper"),
        (b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}", "nests deeper"),
    ],
    ids=lambda value: None if isinstance(value, str) else value[:20].decode("latin-1"),
)
def test_what_is_not_json(served: Served, body: bytes, word: str) -> None:
    assert word in error(raw(served, body), 400)["message"]


@pytest.mark.parametrize(
    ("more", "status", "param"),
    [
        ({"model": None}, 422, "model"),
        ({"model": 5}, 422, "model"),
        ({"model": "gpt-9"}, 404, "model"),
        ({"messages": []}, 422, "messages"),
        ({"messages": "hello"}, 422, "messages"),
        ({"messages": [5]}, 422, "messages[0]"),
        ({"messages": [{"role": "wizard", "content": "x"}]}, 422, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, 422, "messages[0].content"),
        ({"messages": [{"role": "user", "content": 5}]}, 422, "messages[0].content"),
        ({"messages": [{"role": "user", "content": "x", "mood": "good"}]}, 422, "messages[0].mood"),
        ({"messages": [{"role": "assistant"}]}, 422, "messages[0]"),
        ({"messages": [{"role": "tool", "content": "x"}]}, 422, "messages[0].tool_call_id"),
        ({"messages": [{"role": "function", "content": "x", "name": "f"}]}, 422, "messages"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
            400,
            "messages",
        ),
        ({"temperature": "0.5"}, 422, "temperature"),
        ({"temperature": -1}, 422, "temperature"),
        ({"temperature": 2.1}, 422, "temperature"),
        ({"temperature": True}, 422, "temperature"),
        ({"top_p": 0}, 422, "top_p"),
        ({"n": 0}, 422, "n"),
        ({"n": 1.5}, 422, "n"),
        ({"seed": 2**70}, 422, "seed"),
        ({"max_tokens": 1, "max_completion_tokens": 1}, 422, "max_tokens"),
        ({"stream": "yes"}, 422, "stream"),
        ({"stream_options": {"include_usage": True}}, 422, "stream_options"),
        ({"stop": ""}, 422, "stop"),
        ({"stop": ["x"] * 17}, 422, "stop"),
        ({"top_logprobs": 3}, 422, "top_logprobs"),
        ({"logprobs": True, "top_logprobs": 21}, 422, "top_logprobs"),
        ({"logit_bias": {"-5": 1}}, 400, "logit_bias"),
        ({"logit_bias": {"5": 101}}, 422, "logit_bias.5"),
        ({"min_tokens": 9, "max_tokens": 3}, 400, "min_tokens"),
        ({"store": True}, 422, "store"),
        ({"service_tier": "flex"}, 422, "service_tier"),
        ({"audio": {"voice": "alloy"}}, 400, "audio"),
        ({"web_search_options": {}}, 400, "web_search_options"),
        ({"functions": []}, 400, "functions"),
        ({"prediction": {"type": "content", "content": "x"}}, 400, "prediction"),
        ({"frobnicate": 1}, 422, "frobnicate"),
        ({"response_format": {"type": "xml"}}, 422, "response_format"),
        ({"response_format": {"type": "json_schema"}}, 422, "response_format"),
        ({"structured_outputs": {}}, 422, "structured_outputs"),
        ({"structured_outputs": {"regex": "a", "choice": ["b"]}}, 422, "structured_outputs"),
        (
            {"structured_outputs": {"regex": "a"}, "response_format": {"type": "json_object"}},
            400,
            "structured_outputs",
        ),
        ({"tool_choice": "required"}, 400, "tool_choice"),
        ({"tool_choice": {"type": "function", "function": {"name": "f"}}}, 400, "tool_choice"),
        ({"tools": [{"type": "function", "function": {"name": "bad name"}}]}, 422, "tools[0].function.name"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}] * 2}, 422, "tools"),
    ],
)
def test_a_field_that_is_wrong_is_named(
    served: Served, more: dict[str, Any], status: int, param: str
) -> None:
    found = error(served.post(CHAT, {"model": "tiny", "messages": USER, **more}), status)
    assert found["param"] is not None
    assert found["param"].startswith(param), found


def test_known_models_are_named_with_an_unknown_one(served: Served) -> None:
    found = error(served.post(CHAT, {"model": "gpt-9", "messages": USER}), 404)
    assert found["code"] == "model_not_found"
    assert "tiny" in found["message"]


def test_harmless_fields_are_taken(served: Served) -> None:
    body = {
        "model": "tiny", "messages": USER, "user": "me", "metadata": {"a": "b"}, "safety_identifier": "x",
        "prompt_cache_key": "k", "service_tier": "auto", "store": False, "modalities": ["text"],
        "audio": None,
        "web_search_options": None, "temperature": None, "tools": None, "stream": None, "stop": None,
        "parallel_tool_calls": None, "response_format": None, "logit_bias": None,
    }  # fmt: skip
    assert served.post(CHAT, body).status_code == 200


@pytest.mark.parametrize("route", [CHAT, "/v1/completions"])
@pytest.mark.parametrize("stream", [False, True])
def test_a_prompt_too_long_is_refused_with_both_numbers(served: Served, route: str, stream: bool) -> None:
    text = "many words " * 3000
    asked = {"messages": [{"role": "user", "content": text}]} if route == CHAT else {"prompt": text}
    found = error(served.post(route, {"model": "tiny", "stream": stream, **asked}), 400)
    assert found["code"] == "context_length_exceeded"
    assert "2048" in found["message"]
    assert any(int(number) > 2048 for number in found["message"].split() if number.isdigit())


def test_a_limit_of_the_server_on_prompts(serve: Serve) -> None:
    served = serve(max_prompt_tokens=20)
    found = error(served.post("/v1/completions", {"model": "tiny", "prompt": "word " * 60}), 400)
    assert found["code"] == "context_length_exceeded"
    assert "20" in found["message"]


def test_routes_and_methods(served: Served) -> None:
    assert "/v1/chat/completions" in error(served.get("/v1/nothing"), 404)["message"]
    error(served.post("/v1/nothing", {}), 404)
    assert served.get(CHAT).headers["allow"] == "POST"
    assert "POST" in error(served.get(CHAT), 405)["message"]
    error(served.client.delete(served.url + "/v1/models"), 405)


def test_a_body_that_is_not_declared_as_json(served: Served) -> None:
    body = json.dumps({"model": "tiny", "messages": USER}).encode()
    error(raw(served, body, "application/x-www-form-urlencoded"), 415)
    error(raw(served, body, "text/plain"), 415)
    assert raw(served, body, "application/json; charset=utf-8").status_code == 200


@pytest.mark.parametrize(("path", "files"), [("/v1/completions", 0), (CHAT, 1)])
def test_a_body_over_the_limit(served: Served, path: str, files: int) -> None:
    most = 8 * 2**20 + files * 27_962_028  # 20 MiB in base64
    big = b'{"model": "' + b"x" * most + b'"}'
    found = error(served.client.post(served.url + path, content=big, timeout=60), 413)
    assert found["code"] == "request_too_large"
    assert f"; {most} are allowed at {path}." in found["message"]


def test_a_body_over_the_limit_without_a_length(served: Served) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(40):
            yield b"x" * 2**20

    answer = served.client.post(
        served.url + CHAT, content=chunks(), headers={"content-type": "application/json"}, timeout=30
    )
    assert "content-length" not in answer.request.headers
    found = error(answer, 413)
    assert found["code"] == "request_too_large"
    assert f"{8 * 2**20 + 27_962_028} are allowed at {CHAT}." in found["message"]


def test_a_length_that_lies(served: Served) -> None:
    """Fewer bytes than announced, then silence: nothing waits for ever, nothing is answered as if whole."""
    host, port = served.url.removeprefix("http://").split(":")
    for length in (b"100", b"-5", b"999999999999999999999999", b"abc"):
        with socket.create_connection((host, int(port)), timeout=10) as wire:
            head = (
                b"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
            )
            wire.sendall(head + b"content-length: " + length + b"\r\n\r\n{}")
            wire.shutdown(socket.SHUT_WR)
            said = b""
            while chunk := wire.recv(4096):
                said += chunk
            assert said == b"" or said.startswith(b"HTTP/1.1 4"), (length, said)
    assert served.get("/health").status_code == 200


def test_nonsense_on_the_wire(served: Served) -> None:
    host, port = served.url.removeprefix("http://").split(":")
    for noise in (b"\x16\x03\x01\x02\x00", b"GET\r\n\r\n", b"\x00" * 4096, b"GET / HTTP/9.9\r\n\r\n"):
        with socket.create_connection((host, int(port)), timeout=10) as wire:
            wire.sendall(noise)
            wire.shutdown(socket.SHUT_WR)
            said = b""
            while chunk := wire.recv(4096):
                said += chunk
            assert said == b"" or said.startswith(b"HTTP/1.1 4"), (noise[:20], said)
        assert served.get("/health").status_code == 200


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"messages": []}, "messages: must not be empty; found []"),
        (
            {"messages": [{"role": "robot", "content": "x"}]},
            "messages[0].role: found 'robot'; allowed are system, developer, user, assistant, tool",
        ),
        (
            {"messages": [{"content": "x"}]},
            'messages[0]: missing, and required: role; found {"content": "x"}',
        ),
        ({"messages": [5]}, "messages[0]: must be an object; found 5"),
        ({"messages": USER, "temperature": 3}, "temperature: must be at most 2; found 3"),
        ({"messages": USER, "top_p": 0}, "top_p: must be above 0; found 0"),
        ({"messages": USER, "n": "2"}, 'n: must be a whole number; found "2"'),
        (
            {"messages": USER, "tool_choice": "x"},
            "tool_choice: allowed: 'auto', 'none', 'required'; found \"x\"",
        ),
    ],
)
def test_the_words_are_plain(served: Served, more: dict[str, Any], message: str) -> None:
    assert error(served.post(CHAT, {"model": "tiny", **more}), 422)["message"] == message

"""Pictures in chat messages: described by a picture model, refused by another; which addresses are read."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import openai
import pytest
from picture_serving import Gallery, gallery, png, url_of

from tokenloom.serve import fetch
from tokenloom.serve.errors import ApiError
from tokenloom.serve.fetch import is_public, read_url


@pytest.fixture(scope="module")
def shown(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gallery]:
    with gallery(tmp_path_factory.mktemp("gallery"), model_folder) as found:
        yield found


def message(words: str, *urls: str) -> Any:
    pictures = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    return [{"role": "user", "content": [{"type": "text", "text": words}, *pictures]}]


def test_a_picture_is_described(shown: Gallery) -> None:
    answer = shown.client.chat.completions.create(
        model="painter", messages=message("What is it?", url_of(png()))
    )
    again = shown.client.chat.completions.create(model="painter", messages=message("What?", url_of(png())))
    assert answer.choices[0].message.content == again.choices[0].message.content
    assert answer.choices[0].finish_reason in ("stop", "length")
    assert answer.usage is not None
    assert answer.usage.prompt_tokens == 1 + 18 + 1, "the mark, the picture between its marks, the language"
    chinese = shown.client.chat.completions.create(
        model="painter", messages=message("这是什么？", url_of(png())), max_completion_tokens=5
    )
    assert chinese.usage is not None
    assert chinese.usage.completion_tokens <= 5
    assert chinese.choices[0].message.content != answer.choices[0].message.content


def test_a_stream_says_the_same(shown: Gallery) -> None:
    ask: Any = {"model": "painter", "messages": message("What is it?", url_of(png()))}
    whole = shown.client.chat.completions.create(**ask).choices[0].message.content
    text, usage = "", None
    for chunk in shown.client.chat.completions.create(
        stream=True, stream_options={"include_usage": True}, **ask
    ):
        text += (chunk.choices[0].delta.content or "") if chunk.choices else ""
        usage = chunk.usage or usage
    assert text == whole
    assert usage is not None


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (
            {"messages": [{"role": "user", "content": "Hello"}]},
            "painter is a picture model and does not talk",
        ),
        (
            {"messages": message("Two", url_of(png()), url_of(png()))},
            "found 2 pictures; painter describes one",
        ),
        ({"messages": message("x", url_of(b"none"))}, "messages: found no picture; allowed: PNG"),
        ({"messages": message("x", "file:///etc/passwd")}, "it must be a data URL"),
        ({"messages": message("x", "http://127.0.0.1/a.png")}, "this server reads no outside address"),
        ({"top_p": 0.5}, "top_p: it has no effect where a picture is described"),
        ({"stop": ["x"]}, "stop: it has no effect"),
        ({"n": 2}, "n: found 2; a picture has one description"),
        ({"model": "writer"}, "found a picture, but writer reads text only; picture models: painter"),
    ],
)
def test_what_cannot_be_answered(shown: Gallery, more: dict[str, Any], words: str) -> None:
    ask: Any = {"model": "painter", "messages": message("What?", url_of(png())), **more}
    with pytest.raises(openai.BadRequestError) as error:
        shown.client.chat.completions.create(**ask)
    assert words in str(error.value)


def test_the_other_roads_to_a_chat_refuse_it_too(shown: Gallery) -> None:
    for path, body in (
        ("/v1/responses", {"model": "painter", "input": "Hello"}),
        (
            "/v1/messages",
            {"model": "painter", "max_tokens": 5, "messages": [{"role": "user", "content": "Hi"}]},
        ),
    ):
        answer = shown.http.post(shown.url + path, json=body)
        assert answer.status_code == 400
        assert "does not talk" in answer.text
    # Who names no model gets one that talks.
    said = shown.http.post(
        shown.url + "/v1/chat/completions",
        json={"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 2},
    )
    assert said.json()["model"] == "writer"


# --- addresses ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.216.34", True), ("2606:2800:220:1:248:1893:25c8:1946", True), ("127.0.0.1", False),
        ("10.1.2.3", False), ("172.16.0.1", False), ("192.168.1.1", False), ("169.254.169.254", False),
        ("100.64.0.1", False), ("0.0.0.0", False), ("224.0.0.1", False), ("255.255.255.255", False),
        ("::1", False), ("::", False), ("fe80::1%eth0", False), ("fc00::1", False), ("ff02::1", False),
        ("::ffff:127.0.0.1", False), ("::ffff:169.254.169.254", False), ("2002:7f00:1::", False),
        ("64:ff9b::7f00:1", False), ("::ffff:93.184.216.34", True),
    ],
)  # fmt: skip
def test_which_addresses_are_public(address: str, public: bool) -> None:
    assert is_public(address) is public


def read(url: str, outside: bool = True) -> bytes:
    return asyncio.run(read_url(url, "messages", outside))


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:1/a.png", "http://localhost:1/a.png", "http://[::1]:1/a.png", "http://0x7f.1:1/", "http://2130706433:1/"],
)  # fmt: skip
def test_private_addresses_are_not_read(url: str) -> None:
    with pytest.raises(ApiError, match=r"not public|cannot be read"):
        read(url)


class Pages(BaseHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        kind = "text/html" if self.path == "/page" else "image/png"
        if self.path == "/slow":
            time.sleep(1.5)
        self.send_response({"/away": 302, "/none": 404}.get(self.path, 200))
        self.send_header("Content-Type", kind)
        self.send_header("Location", "http://169.254.169.254/")
        self.end_headers()
        with contextlib.suppress(BrokenPipeError):
            self.wfile.write(bytes(3000) if self.path == "/large" else png())


@pytest.fixture
def outside(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A server that counts as public."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Pages)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(fetch, "is_public", lambda address: True)
    monkeypatch.setattr(fetch, "MAX_BYTES", 2000)
    monkeypatch.setattr(fetch, "TIMEOUT_S", 0.7)
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_an_allowed_address_is_read_within_limits(outside: str) -> None:
    assert read(outside + "/fox.png") == png()
    for path, words in (
        ("/page", "is text/html, no picture"),
        ("/away", "answered 302"),
        ("/none", "answered 404"),
        ("/large", "is too large; at most 2000"),
        ("/slow", "did not answer within"),
    ):
        with pytest.raises(ApiError, match=words):
            read(outside + path)
    with pytest.raises(ApiError, match="reads no outside address"):
        read(outside + "/fox.png", outside=False)
    with pytest.raises(ApiError, match="cannot be read"):
        read("http://127.0.0.1:9/fox.png")


@pytest.mark.parametrize(
    "url", ["", "fox.png", "ftp://a/b.png", "data:image/png;base64,%", "data:nonsense", "http://"]
)
def test_what_is_no_address(url: str) -> None:
    with pytest.raises(ApiError):
        read(url)


def test_a_data_url_may_be_plain() -> None:
    assert read("data:image/png,%89PNG", outside=False) == b"\x89PNG"
    assert read("DATA:image/png,x".replace("DATA", "data"), outside=False) == b"x"

"""A small /v1 server that says what a test tells it to, and what a test sees of the page."""

from __future__ import annotations

import base64
import email.parser
import email.policy
import functools
import io
import json
import mimetypes
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

STUDIO = Path(__file__).parents[2] / "tokenloom" / "studio"
CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "media-src 'self' blob:; connect-src 'self'; font-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
Step = tuple[str, Any]
TASK = {
    "name": "write",
    "kind": "complete",
    "continues": True,
    "summary": {"en": "Continues a text.", "zh": "续写一段文字。"},
    "fields": [
        {
            "name": "text",
            "type": "text",
            "label": {"en": "Beginning", "zh": "开头"},
            "help": {"en": "How it starts.", "zh": "怎样开始。"},
            "required": True,
            "default": None,
        },
        {
            "name": "length",
            "type": "number",
            "whole": True,
            "label": {"en": "Length", "zh": "长度"},
            "help": {"en": "In tokens.", "zh": "词元数。"},
            "required": False,
            "default": 50,
            "min": 1,
            "max": 400,
        },
        {
            "name": "tone",
            "type": "choice",
            "label": {"en": "Tone", "zh": "语气"},
            "help": {"en": "", "zh": ""},
            "required": False,
            "default": "plain",
            "choices": [
                {"value": "plain", "label": {"en": "Plain", "zh": "平实"}},
                {"value": "merry", "label": {"en": "Merry", "zh": "欢快"}},
            ],
        },
    ],
}


@functools.cache
def painted(number: int, side: int = 64, label: bool = False) -> bytes:
    """A disc in one of a few colours on a clear ground, as a PNG; with a black strip where a label stands."""
    from PIL import Image, ImageDraw

    image = Image.new("RGBA", (side, side))
    colour = ("#c0392b", "#2a7fb8", "#3d8b4f", "#d9a21b")[number % 4]
    edge = side // 8
    ImageDraw.Draw(image).ellipse((edge, edge, side - edge, side - edge), fill=colour)
    if label:
        ImageDraw.Draw(image).rectangle((side // 3, side * 7 // 8, side, side), fill="black")
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def as_base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def pictures(body: dict[str, Any]) -> list[Step]:
    """Every picture comes as two partial ones, then whole."""
    n = int(body.get("n", 1))
    early = [
        ("partial", (at, number, as_base64(painted(at + 1))))
        for number in range(2)
        for at in range(n)
        if "partial_images" in body
    ]
    return [*early, *[("whole", (at, as_base64(painted(at)))) for at in range(n)]]


@dataclass
class Wire:
    """What the server is to do, and what it saw."""

    script: Callable[[dict[str, Any]], list[Step]] | None = None
    """Steps of an answer: ("text", str or (choice, str)), ("sleep", s), ("wait", Event), ("error", str),
    ("drop", None), ("status", (code, body, headers)), ("finish", str). None: the question comes back,
    word by word."""
    key: str | None = None
    models: list[str] = field(default_factory=lambda: ["smollm2", "other-model"])
    cards: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What else is told of a model, by its name."""
    tasks: list[dict[str, Any]] | None = field(default_factory=list)
    health: int = 200
    sent: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    """(path, body) of every POST that was let in; of a form its texts, and its files' bytes."""
    left: threading.Event = field(default_factory=threading.Event)
    """Set when a client hung up in the middle of an answer."""
    base: str = ""

    @property
    def last(self) -> dict[str, Any]:
        return self.sent[-1][1]


def echo(body: dict[str, Any]) -> list[Step]:
    said = body["messages"][-1]["content"] if "messages" in body else json.dumps(body["fields"])
    return [("text", piece) for piece in ("You said: " + said).split(" ") for piece in (piece, " ")]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wire: Wire

    def log_message(self, format: str, *args: object) -> None:
        pass

    def reply(self, code: int, content: bytes, kind: str, headers: dict[str, str] | None = None) -> None:
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Content-Security-Policy", CSP)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def json(self, code: int, body: object, headers: dict[str, str] | None = None) -> None:
        self.reply(code, json.dumps(body).encode(), "application/json", headers)

    def let_in(self) -> bool:
        if self.wire.key is None or self.headers.get("Authorization") == f"Bearer {self.wire.key}":
            return True
        self.json(401, {"error": {"message": "no such key", "type": "authentication_error"}})
        return False

    def do_GET(self) -> None:
        path = self.path.split("?", 1)[0]
        if path == "/health":
            self.json(self.wire.health, {"status": "ok" if self.wire.health == 200 else "starting"})
        elif path.startswith("/v1/"):
            if not self.let_in():
                return
            if path == "/v1/models":
                data = [
                    {"id": name, "object": "model", "created": 0, "owned_by": "tokenloom"}
                    | self.wire.cards.get(name, {})
                    for name in self.wire.models
                ]
                self.json(200, {"object": "list", "data": data})
            elif path == "/v1/tasks" and self.wire.tasks is not None:
                self.json(200, {"object": "list", "data": self.wire.tasks})
            else:
                self.json(404, {"error": {"message": f"no route {path}"}})
        else:
            file = (STUDIO / (path.lstrip("/") or "index.html")).resolve()
            if file.is_relative_to(STUDIO) and file.is_file():
                kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
                self.reply(200, file.read_bytes(), kind)
            else:
                self.reply(404, b"", "text/plain")

    def do_POST(self) -> None:
        body = self.body()
        if not self.let_in():
            return
        self.wire.sent.append((self.path, body))
        drawn = self.path.startswith("/v1/images/")
        steps = list((self.wire.script or (pictures if drawn else echo))(body))
        if steps and steps[0][0] == "status":
            code, answer, headers = steps[0][1]
            self.json(code, answer, headers)
            return
        if drawn and str(body.get("stream")).lower() != "true":
            side = int(body["size"].partition("x")[0])
            data = [
                {"index": at, "b64_json": as_base64(painted(at, side, True))} for at in range(int(body["n"]))
            ]
            self.json(200, {"output_format": "png", "data": data})
            return
        self.send_response(200)
        if drawn:
            self.send_header("x-tokenloom-seed", str(body.get("seed", 41)))
        self.send_header("Content-Type", "text/event-stream; charset=utf-8")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        try:
            self.stream(steps)
        except (BrokenPipeError, ConnectionResetError):
            self.wire.left.set()

    def body(self) -> dict[str, Any]:
        raw = self.rfile.read(int(self.headers["Content-Length"]))
        kind = self.headers["Content-Type"]
        if not kind.startswith("multipart/form-data"):
            found: dict[str, Any] = json.loads(raw)
            return found
        head = f"Content-Type: {kind}\r\n\r\n".encode()
        whole = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + raw)
        form: dict[str, Any] = {}
        for part in whole.iter_parts():
            data = part.get_payload(decode=True)
            assert isinstance(data, bytes)
            name = part.get_param("name", header="content-disposition")
            form[str(name)] = data.decode() if part.get_filename() is None else data
        return form

    def stream(self, steps: list[Step]) -> None:
        pieces, finish = 0, "stop"
        for kind, value in steps:
            if kind == "text":
                pieces += 1
                at, piece = value if isinstance(value, tuple) else (0, value)
                self.event({"choices": [{"index": at, "delta": {"content": piece}, "finish_reason": None}]})
            elif kind == "partial":
                at, number, data = value
                self.event({"type": "image_generation.partial_image", "index": at, "b64_json": data}
                           | {"partial_image_index": number, "output_format": "png"})  # fmt: skip
            elif kind == "whole":
                at, data = value
                self.event({"type": "image_generation.completed", "index": at, "b64_json": data}
                           | {"output_format": "png"})  # fmt: skip
            elif kind == "sleep":
                time.sleep(value)
            elif kind == "wait":
                self.hold(value)
            elif kind == "error":
                self.event({"error": {"message": value, "type": "server_error"}})
                return
            elif kind == "drop":
                return
            elif kind == "finish":
                finish = value
        self.event({"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
        self.event({"choices": [], "usage": {"prompt_tokens": 11, "completion_tokens": pieces}})
        self.wfile.write(b"data: [DONE]\n\n")

    def hold(self, until: threading.Event) -> None:
        """Waits, with comments on the wire so that a client that left is noticed."""
        for _ in range(400):
            if until.wait(0.05):
                return
            self.wfile.write(b": still here\n\n")

    def event(self, body: object) -> None:
        self.wfile.write(b"data: " + json.dumps(body, ensure_ascii=False).encode() + b"\n\n")
        self.wfile.flush()


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: object, client_address: object) -> None:
        """A browser closes connections as it likes; that is no fault of a test."""


def serve(wire: Wire) -> Server:
    server = Server(("127.0.0.1", 0), type("Bound", (Handler,), {"wire": wire}))
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    wire.base = f"http://127.0.0.1:{server.server_address[1]}"
    return server


@dataclass
class Eyes:
    """One look at the page: what Playwright drives, and what went wrong meanwhile."""

    page: Any
    complaints: list[str]
    hosts: set[str]

    def box(self) -> Any:
        return self.page.get_by_role("textbox", name="Your message")

    def ask(self, text: str) -> None:
        self.box().fill(text)
        self.box().press("Enter")

    def answer(self, at: int = -1) -> Any:
        found = self.page.locator(".turn.answer")
        return found.last if at < 0 else found.nth(at)


NAME = """c => {
  const labels = [...(c.labels ?? [])].map((one) => one.textContent).join("");
  return Boolean((c.getAttribute("aria-label") || labels || c.textContent || "").trim());
}"""


def check_names(page: Any) -> None:
    """Every control has a name, every id is there once, and what describes something is there."""
    for control in page.locator("button, a[href], input, select, textarea, summary, canvas").all():
        assert control.evaluate(NAME), control.evaluate("c => c.outerHTML")
    ids = page.locator("[id]").evaluate_all("all => all.map(one => one.id)")
    assert len(ids) == len(set(ids))
    for described in page.locator("[aria-describedby]").all():
        for each in (described.get_attribute("aria-describedby") or "").split():
            assert page.locator(f"[id='{each}']").count() == 1
    assert page.locator("img:not([alt])").count() == 0


def overflow(page: Any) -> int:
    """Pixels by which the page, or what scrolls in it, is wider than the screen."""
    return int(page.evaluate("Math.max(document.documentElement.scrollWidth - innerWidth, "
                             "document.querySelector('.task-in').scrollWidth - innerWidth)"))  # fmt: skip

"""A small Hub of data sets on 127.0.0.1: the part of its protocol that streaming one needs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import unquote, urlsplit

COMMIT = "c0ffee" + "0" * 34


@dataclass
class DataHub:
    """Its data sets, and what was asked of it."""

    sets: dict[str, dict[str, bytes]] = field(default_factory=dict)
    url: str = ""
    asked: list[str] = field(default_factory=list)
    broken: set[str] = field(default_factory=set)
    """Files whose bytes are answered with an error."""


def _entry(name: str, data: bytes) -> dict[str, Any]:
    return {"type": "file", "path": name, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}


def _folders(names: list[str]) -> list[str]:
    return sorted({name.rpartition("/")[0] for name in names if "/" in name})


def handler(hub: DataHub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args: object) -> None:
            pass

        def answer(self, status: int, body: bytes, kind: str = "application/json", **headers: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("X-Repo-Commit", COMMIT)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def missing(self, code: str) -> None:
            self.answer(404, json.dumps({"error": code}).encode(), X_Error_Code=code, X_Error_Message=code)

        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"] or 0)
            body = self.rfile.read(length).decode()
            self.route(json.loads(body) if body.startswith("{") else {"paths": [body.partition("=")[2]]})

        def do_GET(self) -> None:
            self.route({})

        do_HEAD = do_GET

        def route(self, body: dict[str, Any]) -> None:
            path = unquote(urlsplit(self.path).path)
            hub.asked.append(f"{self.command} {path}")
            parts = path.strip("/").split("/")
            api = parts[0] == "api"
            parts = parts[1:] if api else parts
            if parts[0] != "datasets" or len(parts) < 3:
                return self.missing("EntryNotFound")
            files = hub.sets.get("/".join(parts[1:3]))
            if files is None:
                return self.missing("RepoNotFound")
            what, rest = (parts[3] if len(parts) > 3 else ""), parts[5:]
            if api:
                return self.api("/".join(parts[1:3]), files, what, "/".join(rest), body)
            return self.blob(files, "/".join(rest))

        def api(
            self, repo: str, files: dict[str, bytes], what: str, under: str, body: dict[str, Any]
        ) -> None:
            made: Any
            if what in ("", "revision"):
                siblings = [{"rfilename": name} for name in files]
                made = {"id": repo, "sha": COMMIT, "siblings": siblings, "tags": [], "private": False}
            elif what == "tree":
                inside = {n: d for n, d in files.items() if n.startswith(f"{under}/" if under else "")}
                folders = [f for f in _folders(list(inside)) if f != under]
                made = [{"type": "directory", "path": f, "oid": "0" * 40} for f in folders]
                made += [_entry(name, data) for name, data in inside.items()]
            elif what == "paths-info":
                made = [_entry(name, files[name]) for name in body["paths"] if name in files]
                made += [
                    {"type": "directory", "path": f, "oid": "0" * 40}
                    for f in _folders(list(files))
                    if f in body["paths"]
                ]
            else:
                return self.missing("EntryNotFound")
            return self.answer(200, json.dumps(made).encode())

        def blob(self, files: dict[str, bytes], name: str) -> None:
            if name not in files:
                return self.missing("EntryNotFound")
            if name in hub.broken and self.command == "GET":
                return self.answer(403, b"{}")
            data, asked = files[name], self.headers["Range"]
            etag = '"' + hashlib.sha1(data).hexdigest() + '"'
            if not asked:
                return self.answer(200, data, "application/octet-stream", ETag=etag, Accept_Ranges="bytes")
            first, _, last = asked.removeprefix("bytes=").partition("-")
            stop = min(int(last) + 1 if last else len(data), len(data))
            span = f"bytes {first}-{stop - 1}/{len(data)}"
            part = data[int(first) : stop]
            return self.answer(206, part, "application/octet-stream", ETag=etag, Content_Range=span)

    return Handler


@contextmanager
def data_hub() -> Iterator[DataHub]:
    """A Hub that answers until the block ends."""
    hub = DataHub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler(hub))
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()

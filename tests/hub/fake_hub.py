"""A small Hub on 127.0.0.1 that speaks the part of the protocol a download needs, and a way to break it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import unquote, urlsplit

COMMIT = "c0ffee" + "0" * 34


def git_hash(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


@dataclass
class Hub:
    """Its repositories, what was asked of it, and its faults."""

    repos: dict[str, dict[str, bytes]] = field(default_factory=dict)
    url: str = ""
    token: str = ""
    """When set, only requests that bear it are answered."""
    gated: set[str] = field(default_factory=set)
    served: dict[str, bytes] = field(default_factory=dict)
    """Files whose bytes on the wire differ from what the metadata says."""
    cut: dict[str, int] = field(default_factory=dict)
    """Files whose transfer breaks, each time, after so many bytes."""
    no_ranges: bool = False
    redirect: str = ""
    """A host to which downloads are redirected."""
    asked: list[tuple[str, str | None, str | None]] = field(default_factory=list)
    """(file, Range, Authorization) of each download."""

    def ranges(self, file: str) -> list[str | None]:
        return [r for f, r, _ in self.asked if f == file]


def handler(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args: object) -> None:
            pass

        def fail(self, status: int, code: str = "") -> None:
            body = json.dumps({"error": code}).encode()
            self.send_response(status)
            if code:
                self.send_header("X-Error-Code", code)
                self.send_header("X-Error-Message", code)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self) -> None:
            path = unquote(urlsplit(self.path).path)
            parts = path.strip("/").split("/")
            if path.startswith("/cdn/"):
                return self.blob(hub.repos["/".join(parts[1:3])], "/".join(parts[3:]))
            if hub.token and self.headers["Authorization"] != f"Bearer {hub.token}":
                return self.fail(401, "RepoNotFound")
            repo = "/".join(parts[2:4] if parts[0] == "api" else parts[:2])
            if repo not in hub.repos:
                return self.fail(404, "RepoNotFound")
            if repo in hub.gated:
                return self.fail(403, "GatedRepo")
            if parts[0] == "api":
                return self.info(repo, parts[5] if len(parts) > 5 else "main")
            file = "/".join(parts[4:])
            assert parts[2:4] == ["resolve", COMMIT], "downloads are of the commit the listing named"
            if hub.redirect:
                hub.asked.append(("redirect " + file, None, self.headers["Authorization"]))
                self.send_response(302)
                self.send_header("Location", f"{hub.redirect}/cdn/{repo}/{file}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return None
            return self.blob(hub.repos[repo], file)

        def info(self, repo: str, revision: str) -> None:
            if revision not in ("main", "v1", COMMIT):
                return self.fail(404, "RevisionNotFound")
            siblings: list[dict[str, Any]] = []
            for name, data in hub.repos[repo].items():
                entry: dict[str, Any] = {"rfilename": name, "size": len(data), "blobId": git_hash(data)}
                if name.endswith((".safetensors", ".gguf", ".bin")):
                    sha = hashlib.sha256(data).hexdigest()
                    entry["lfs"] = {"sha256": sha, "size": len(data), "pointerSize": 130}
                siblings.append(entry)
            body = json.dumps({"id": repo, "sha": COMMIT, "siblings": siblings, "tags": [], "private": False})
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())
            return None

        def blob(self, files: dict[str, bytes], file: str) -> None:
            asked = self.headers["Range"]
            hub.asked.append((file, asked, self.headers["Authorization"]))
            data = hub.served.get(file, files[file])
            start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and not hub.no_ranges else 0
            body = data[start:]
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("ETag", '"' + hashlib.sha256(data).hexdigest() + '"')
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if file in hub.cut:
                self.wfile.write(body[: max(hub.cut[file] - start, 0)])
                self.wfile.flush()
                self.close_connection = True
            else:
                self.wfile.write(body)

    return Handler

"""The door, before any route: host and origin, key, limits, the body's size, and the headers of every answer.

Plain ASGI, so that streams and hang-ups pass through untouched. /health alone is open.
"""

from __future__ import annotations

import time
from contextlib import nullcontext
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tokenloom.serve.errors import ApiError
from tokenloom.serve.keys import Keys
from tokenloom.serve.limits import KeyLimits, most_bytes
from tokenloom.serve.login import cookie_key, login_page
from tokenloom.serve.metrics import Metrics
from tokenloom.serve.settings import Settings, is_loopback

OPEN = {"/health", "/login"}
DRAIN_S = 5.0
HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cache-control": "no-store",
}


class Guard:
    """Wraps the app. `keys` None = none are asked for."""

    def __init__(self, app: ASGIApp, settings: Settings, keys: Keys | None, metrics: Metrics) -> None:
        self.app = app
        self.keys = keys
        self.metrics = metrics
        self.limits = KeyLimits(settings.requests_per_minute, settings.concurrent_per_key)
        self.max_body = settings.max_body_bytes
        self.hosts = {host.lower() for host in settings.allowed_hosts}
        self.local = is_loopback(settings.host)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        status = 500
        started = time.monotonic()

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            try:
                await self._admit(scope, receive, answer)
            except ApiError as error:
                await error.response()(scope, receive, answer)
        finally:
            self.metrics.answered(scope["method"], scope["path"], status, time.monotonic() - started)

    async def _admit(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        self._check_host(headers)
        holder = self._holder(scope, headers)
        if holder is None:
            await self._ask_key(scope, headers)(scope, receive, send)
            return
        size = headers.get("content-length", "0")
        bounded = _Bounded(receive, most_bytes(scope["path"], self.max_body), scope["path"])
        if size.isdigit() and int(size) > bounded.most:
            await bounded.drain()
            raise bounded.error(int(size))
        counted = scope["method"] == "POST" and scope["path"].startswith("/v1/")
        with self.limits.request(holder) if counted else nullcontext():
            await self.app(scope, bounded.receive, send)

    def _check_host(self, headers: Headers) -> None:
        """Against DNS rebinding, and against other sites' pages that post here."""
        asked = headers.get("host", "")
        name = _host_name(asked)
        if self.local and not (is_loopback(name) or name.endswith(".localhost") or name in self.hosts):
            message = (
                f"The Host header names {name!r}; this server answers to localhost, 127.0.0.1 and [::1]."
            )
            raise ApiError(403, message, code="host_not_allowed")
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc.lower() != asked.lower():
            message = f"Pages from {origin} may not ask here; only this server's own page may."
            raise ApiError(403, message, code="origin_not_allowed")

    def _holder(self, scope: Scope, headers: Headers) -> str | None:
        """Whose key the request carries; None = nobody's."""
        if self.keys is None or scope["path"] in OPEN:
            return "anyone"
        key = _given(headers)
        return self.keys.holder(key) if key else None

    def _ask_key(self, scope: Scope, headers: Headers) -> Response:
        page = scope["method"] == "GET" and not scope["path"].startswith("/v1")
        if page and "text/html" in headers.get("accept", ""):
            return login_page()
        said = "This key is not known" if _given(headers) else "A key is needed"
        message = f"{said}; send it as Authorization: Bearer KEY."
        return ApiError(401, message, code="invalid_api_key").response()


def _given(headers: Headers) -> str | None:
    kind, _, key = headers.get("authorization", "").partition(" ")
    return key.strip() if kind.lower() == "bearer" else headers.get("x-api-key") or cookie_key(headers)


class _Bounded:
    """The body's stream with its bytes counted."""

    def __init__(self, receive: Receive, most: int, path: str) -> None:
        self._receive = receive
        self.most = most
        self._path = path
        self._seen = 0
        self._ended = False

    def error(self, size: int) -> ApiError:
        message = f"The body has {size} bytes or more; {self.most} are allowed at {self._path}."
        return ApiError(413, message, code="request_too_large")

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            self._seen += len(message.get("body", b""))
            self._ended = not message.get("more_body", False)
            if self._seen > self.most:
                await self.drain()
                raise self.error(self._seen)
        return message

    async def drain(self) -> None:
        """Reads on for a while and forgets, so that a client that is still sending gets to see its answer."""
        until = time.monotonic() + DRAIN_S
        while not self._ended and time.monotonic() < until:
            message = await self._receive()
            self._ended = message["type"] != "http.request" or not message.get("more_body", False)


def _host_name(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower()

"""Another OpenAI-compatible server behind our door: its models, its answers, its streams.

Bodies pass as they are: the other server says what it takes. Our keys, limits and headers still hold, and the
key for it comes from TOKENLOOM_UPSTREAM_KEY, never from a client.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import AsyncGenerator, Mapping
from typing import Any
from urllib.parse import urlsplit

import httpx
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response

from tokenloom.serve import sse
from tokenloom.serve.bridge import unless_gone
from tokenloom.serve.errors import ApiError
from tokenloom.serve.limits import Queue
from tokenloom.serve.settings import Settings

log = logging.getLogger(__name__)
KEY = "TOKENLOOM_UPSTREAM_KEY"
LIST_S = 15.0
"""The list of models is asked for anew after this long."""
TIMEOUT = httpx.Timeout(connect=5.0, read=600.0, write=60.0, pool=30.0)
PASSED = frozenset({400, 404, 405, 409, 413, 415, 422, 429, 503})
"""Statuses that are the asker's business; others say that the two servers do not get on."""


class Upstream:
    """One other server. Made and used on one event loop; `close` at its end."""

    def __init__(self, settings: Settings, queue: Queue) -> None:
        assert settings.upstream is not None
        self.url = _base(settings.upstream)
        self._settings = settings
        self._queue = queue
        key = os.environ.get(KEY, "").strip()
        headers = {"authorization": f"Bearer {key}"} if key else {}
        limits = httpx.Limits(max_connections=settings.max_requests)
        self._client = httpx.AsyncClient(headers=headers, timeout=TIMEOUT, limits=limits)
        self._cards: list[dict[str, Any]] = []
        self._asked = -LIST_S

    async def close(self) -> None:
        await self._client.aclose()

    async def cards(self) -> list[dict[str, Any]]:
        """Its models, as GET /v1/models tells them. ApiError 502 if it cannot be asked."""
        if time.monotonic() - self._asked < LIST_S:
            return self._cards
        try:
            answer = await self._client.get(f"{self.url}/models", timeout=10.0)
        except httpx.TransportError as error:
            raise self._unreachable(error) from None
        if answer.status_code != 200:
            raise self._mapped(answer)
        found = _json(answer.content)
        listed = found.get("data") if isinstance(found, dict) else None
        if not isinstance(listed, list):
            raise ApiError(
                502, f"{self.url}/models did not answer with a list of models.", code="upstream_error"
            )
        self._cards = [card for card in listed if isinstance(card, dict) and isinstance(card.get("id"), str)]
        self._asked = time.monotonic()
        return self._cards

    async def forward(self, http: HttpRequest, path: str, body: Mapping[str, Any]) -> Response:
        """Its answer to this body; path is what follows /v1. It ends there when the client leaves."""
        if body.get("stream") is True:
            return await sse.stream(
                http,
                self._events(path, body),
                hold_s=TIMEOUT.read or 600.0,
                keepalive_s=self._settings.keepalive_s,
            )
        return await unless_gone(http, self._whole(path, body))

    async def _whole(self, path: str, body: Mapping[str, Any]) -> Response:
        with self._queue.places(1):
            try:
                answer = await self._client.post(self.url + path, json=body)
            except httpx.TransportError as error:
                raise self._unreachable(error) from None
        if answer.status_code >= 300:
            raise self._mapped(answer)
        found = _json(answer.content)
        if found is None:
            raise ApiError(502, f"{self.url} did not answer with JSON.", code="upstream_error")
        return JSONResponse(found)

    async def _events(self, path: str, body: Mapping[str, Any]) -> AsyncGenerator[bytes, None]:
        """Whole events, so that nothing of ours can fall into the middle of one. The first is a comment: the
        other server took the request."""
        with self._queue.places(1):
            try:
                async with self._client.stream("POST", self.url + path, json=body) as answer:
                    if answer.status_code >= 300:
                        await answer.aread()
                        raise self._mapped(answer)
                    yield b": upstream\n\n"
                    held = b""
                    async for chunk in answer.aiter_bytes():
                        held = (held + chunk).replace(b"\r\n", b"\n")
                        whole, mark, held = held.rpartition(b"\n\n")
                        if mark:
                            yield whole + mark
                    if held.strip():
                        yield held + b"\n\n"
            except httpx.TransportError as error:
                raise self._unreachable(error) from None

    def _unreachable(self, error: httpx.TransportError) -> ApiError:
        why = str(error) or type(error).__name__
        log.error("upstream %s: %s", self.url, why)
        if isinstance(error, httpx.TimeoutException):
            return ApiError(
                504, f"The upstream server {self.url} did not answer in time.", code="upstream_timeout"
            )
        message = f"The upstream server {self.url} cannot be reached or broke off: {why}"
        return ApiError(502, message, code="upstream_unreachable")

    def _mapped(self, answer: httpx.Response) -> ApiError:
        """Its error as ours: the same status where the asker can do something, else 502."""
        status = answer.status_code
        message, param, code = _said(answer.content)
        if status in (401, 403):
            log.error("upstream %s refuses our key: %s", self.url, message)
            return ApiError(
                502, f"The upstream server refuses this server's key ({KEY}).", code="upstream_key"
            )
        if status not in PASSED:
            return ApiError(502, f"The upstream server answered {status}: {message}", code="upstream_error")
        wait = answer.headers.get("retry-after", "")
        retry_after_s = float(wait) if wait.isdigit() else 2.0 if status in (429, 503) else None
        return ApiError(status, message, param=param, code=code, retry_after_s=retry_after_s)


def _base(url: str) -> str:
    """The address that ends in /v1."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"upstream: {url!r} is not an address; allowed: such as http://127.0.0.1:8000/v1")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError(f"upstream: the address holds more than a place; put its key into {KEY}")
    base = url.rstrip("/")
    return base if parts.path.strip("/") else f"{base}/v1"


def _json(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        return None


def _said(raw: bytes) -> tuple[str, str | None, str | None]:
    """(message, param, code) out of an error's body, in whichever of the usual shapes it is."""
    found = _json(raw)
    inner = found.get("error", found) if isinstance(found, dict) else found
    if isinstance(inner, dict):
        message = inner.get("message", inner.get("detail"))
        param, code = inner.get("param"), inner.get("code")
        text = message if isinstance(message, str) else json.dumps(inner)[:500]
        return text, param if isinstance(param, str) else None, code if isinstance(code, str) else None
    if isinstance(inner, str):
        return inner[:500], None, None
    return raw[:500].decode("utf-8", "replace"), None, None

"""Server-sent events: a response that notices a client leaving, and keeps a waiting one company."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from typing import Any

from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from tokenloom.serve.bridge import ClientGone, hangs_up
from tokenloom.serve.errors import ApiError

DONE = b"data: [DONE]\n\n"
WAITING = b": waiting\n\n"


def event(value: Any, name: str | None = None) -> bytes:
    head = "" if name is None else f"event: {name}\n"
    return f"{head}data: {json.dumps(value, ensure_ascii=False, separators=(',', ':'))}\n\n".encode()


class EventStream(Response):
    """Sends what a generator yields. The generator is closed when it ends and when the client leaves."""

    media_type = "text/event-stream"

    def __init__(
        self,
        events: AsyncGenerator[bytes, None],
        first: asyncio.Future[bytes] | None,
        keepalive_s: float,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(headers={"x-accel-buffering": "no", "cache-control": "no-store", **(headers or {})})
        del self.headers["content-length"]
        self._events = events
        self._next = first
        self._keepalive_s = keepalive_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        gone = asyncio.ensure_future(hangs_up(receive))
        try:
            await send(
                {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
            )
            while True:
                chunk = await self._chunk(gone)
                last = chunk is None
                await send({"type": "http.response.body", "body": chunk or b"", "more_body": not last})
                if last:
                    break
        finally:
            gone.cancel()
            await self._close()

    async def _chunk(self, gone: asyncio.Future[None]) -> bytes | None:
        """The next bytes; a comment when there are none yet; None at the end."""
        if self._next is None:
            self._next = asyncio.ensure_future(anext(self._events))
        both: set[asyncio.Future[Any]] = {self._next, gone}
        await asyncio.wait(both, timeout=self._keepalive_s, return_when=asyncio.FIRST_COMPLETED)
        if gone.done():
            return None
        if not self._next.done():
            return WAITING
        finished, self._next = self._next, None
        try:
            return finished.result()
        except StopAsyncIteration:
            return None
        except ApiError as error:  # the status line is gone, so the error is one more event, the last
            return event(error.body())

    async def _close(self) -> None:
        if self._next is not None:
            self._next.cancel()
            await asyncio.wait({self._next})
        await self._events.aclose()


async def stream(
    http: HttpRequest,
    events: AsyncGenerator[bytes, None],
    *,
    hold_s: float,
    keepalive_s: float,
    headers: Mapping[str, str] | None = None,
) -> EventStream:
    """The response for these events, after the first or hold_s; an error within that time is raised."""
    first = asyncio.ensure_future(anext(events))
    gone = asyncio.ensure_future(hangs_up(http.receive))
    answer = None
    try:
        both: set[asyncio.Future[Any]] = {first, gone}
        await asyncio.wait(both, timeout=hold_s, return_when=asyncio.FIRST_COMPLETED)
        if first.done() and first.exception() is not None:
            first.result()
        if gone.done():
            raise ClientGone
        answer = EventStream(events, first, keepalive_s, headers)
        return answer
    finally:
        gone.cancel()
        if answer is None:
            first.cancel()
            await asyncio.wait({first})
            await events.aclose()

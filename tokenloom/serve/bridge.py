"""The engine's news, which arrive on another thread, as something an event loop can await.

A Ticket is one request in the engine. Leaving its block aborts what is still open there, so a client that goes
away frees its slot, whatever the reason.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

from starlette.requests import Request as HttpRequest

from tokenloom.engine.request import Delta, Request

T = TypeVar("T")


class Engine(Protocol):
    """What serving needs of engine.process.EngineProcess."""

    def load(self, name: str, path: str, *, dtype: str, device: str, adapters: dict[str, str] | None) -> Any: ...
    def submit(self, request: Request, sink: Callable[[list[Delta]], None]) -> None: ...
    def abort(self, request_id: str) -> None: ...
    def status(self) -> Any: ...
    def close(self) -> None: ...


class Ticket:
    """One request in the engine. Use as `async with`; then `news` until every choice is done."""

    def __init__(self, engine: Engine, request: Request) -> None:
        self.request = request
        self._engine = engine
        self._loop = asyncio.get_running_loop()
        self._news: asyncio.Queue[list[Delta]] = asyncio.Queue()
        self._open = set(range(request.n))
        self._submitted = False

    def _sink(self, deltas: Sequence[Delta]) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._news.put_nowait, list(deltas))

    async def __aenter__(self) -> Self:
        self._submitted = True
        self._engine.submit(self.request, self._sink)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.abort()

    def abort(self) -> None:
        """Frees the request's slots now; calling it again, or after the end, does nothing."""
        if self._submitted and self._open:
            self._open.clear()
            self._engine.abort(self.request.id)

    @property
    def done(self) -> bool:
        return not self._open

    async def news(self) -> list[Delta]:
        """The next deltas, at least one."""
        deltas = await self._news.get()
        while not self._news.empty():
            deltas += self._news.get_nowait()
        for delta in deltas:
            if delta.finish is not None:
                self._open.discard(delta.choice)
        return deltas


class ClientGone(Exception):
    """The client hung up before its answer was ready."""


async def unless_gone(http: HttpRequest, work: Awaitable[T]) -> T:
    """The work's result; if the client hangs up first, the work is cancelled and ClientGone raised.

    The body must have been read before.
    """
    task = asyncio.ensure_future(work)
    watch = asyncio.ensure_future(_hangs_up(http))
    try:
        await asyncio.wait({task, watch}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientGone
        return task.result()
    finally:
        watch.cancel()
        if not task.done():
            task.cancel()
            await asyncio.wait({task})


async def _hangs_up(http: HttpRequest) -> None:
    while (await http.receive())["type"] != "http.disconnect":
        pass

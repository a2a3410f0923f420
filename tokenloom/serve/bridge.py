"""The engine's news, which arrive on another thread, as something an event loop can await.

A Ticket is what one HTTP request has in the engine. Leaving its block aborts what is still open there, so a
client that goes away frees its slot, whatever the reason.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

from starlette.requests import Request as HttpRequest
from starlette.types import Receive

from tokenloom.engine.diffusion import Paint, Stroke
from tokenloom.engine.process import Errand, Status
from tokenloom.engine.request import Delta, Request
from tokenloom.engine.status import ModelInfo
from tokenloom.engine.voices import SoundWork
from tokenloom.engine.works import Work

T = TypeVar("T")


class Engine(Protocol):
    """What serving needs of engine.process.EngineProcess."""

    @property
    def alive(self) -> bool: ...
    def load(
        self, name: str, path: str, *, dtype: str, device: str, adapters: Mapping[str, str] | None
    ) -> ModelInfo: ...
    def submit(self, request: Request, sink: Callable[[list[Delta]], None]) -> None: ...
    def abort(self, request_id: str) -> None: ...
    def work(self, model: str, kind: Work, *arguments: object) -> Future[Any]: ...
    def sound(self, kind: SoundWork, *arguments: object) -> Future[Any]: ...
    def paint(self, model: str, paint: Paint, news: Callable[[Stroke], None]) -> Errand: ...
    def drop(self, errand: Errand) -> None: ...
    def status(self) -> Status: ...
    def close(self) -> None: ...


class Ticket:
    """Requests in the engine that answer one HTTP request. Use as `async with`; `news` until `done`."""

    def __init__(self, engine: Engine, requests: Sequence[Request]) -> None:
        self.requests = tuple(requests)
        self._engine = engine
        self._loop = asyncio.get_running_loop()
        self._news: asyncio.Queue[list[Delta]] = asyncio.Queue()
        self._open: dict[str, set[int]] = {}

    def _sink(self, deltas: Sequence[Delta]) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._news.put_nowait, list(deltas))

    async def __aenter__(self) -> Self:
        try:
            for request in self.requests:
                self._open[request.id] = set(range(request.n))
                self._engine.submit(request, self._sink)
        except BaseException:
            self.abort()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.abort()

    def abort(self) -> None:
        """Frees all that is open now; calling it again does nothing."""
        for name in list(self._open):
            del self._open[name]
            self._engine.abort(name)

    @property
    def done(self) -> bool:
        return not self._open

    async def news(self) -> list[Delta]:
        """The next deltas of choices that are open."""
        deltas = await self._news.get()
        while not self._news.empty():
            deltas += self._news.get_nowait()
        found = []
        for delta in deltas:
            if delta.choice in self._open.get(delta.request, ()):
                found.append(delta)
                if delta.finish is not None:
                    self._shut(delta.request, delta.choice)
        return found

    def close(self, request: str, choice: int) -> None:
        """This choice needs no more; the request is aborted once none of its choices is open."""
        if choice in self._open.get(request, ()) and self._shut(request, choice):
            self._engine.abort(request)

    def _shut(self, request: str, choice: int) -> bool:
        rest = self._open[request]
        rest.discard(choice)
        if not rest:
            del self._open[request]
        return not rest


class ClientGone(Exception):
    """The client hung up before its answer was ready."""


async def unless_gone(http: HttpRequest, work: Awaitable[T]) -> T:
    """The work's result; if the client hangs up first, the work is cancelled and ClientGone raised.

    The body must have been read before.
    """
    task = asyncio.ensure_future(work)
    watch = asyncio.ensure_future(hangs_up(http.receive))
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


async def hangs_up(receive: Receive) -> None:
    """Returns when the client is gone. The request's body must have been read before."""
    while (await receive())["type"] != "http.disconnect":
        pass

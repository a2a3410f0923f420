"""What a diffusion model has to paint, on the host's side: beside engine.works, which has codecs and judges.

A painting takes seconds to minutes, so it runs on a thread of its own, and models that write go on meanwhile.
Its news is told on the host's thread, where `step` finds it. It can be dropped between two steps.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Protocol

from tokenloom.engine.check import BadRequest
from tokenloom.engine.diffusion import News, Paint, Painted, Refused, Stopped, Stroke
from tokenloom.engine.works import Tell, Work

log = logging.getLogger(__name__)


class Painter(Protocol):
    """Who paints: engine.diffusion.Brush."""

    def paint(self, paint: Paint, news: News | None, stopped: Callable[[], bool]) -> Painted: ...


@dataclass
class _Painting:
    """One work, waiting or on its way."""

    key: int
    paint: Paint
    news: News
    tell: Tell
    stop: threading.Event = field(default_factory=threading.Event)
    done: queue.SimpleQueue[Stroke] = field(default_factory=queue.SimpleQueue)
    job: Future[Painted] | None = None


class Easel:
    """The paintings of one model, one after another. Not thread-safe: its owner is the host's."""

    def __init__(self, painter: Painter, name: str) -> None:
        self._painter = painter
        self._name = name
        self._queue: deque[_Painting] = deque()
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="paint")

    def add(self, kind: Work, arguments: tuple[Any, ...], tell: Tell) -> None:
        """Queues a painting; arguments: Paint, a key to drop it by, and who is told of its strokes."""
        if kind != "paint":
            tell(None, f"{self._name} is a diffusion model: it has no codec and no judge")
            return
        paint, key, news = arguments
        self._queue.append(_Painting(key, paint, news, tell))
        self._begin()

    def drop(self, key: int) -> None:
        """Gives a painting up, between two of its steps; it is told as an error."""
        for work in list(self._queue):
            if work.key == key:
                work.stop.set()
                if work.job is None:
                    self._queue.remove(work)
                    work.tell(None, "paint: it was given up")

    @property
    def waiting(self) -> bool:
        """There is work."""
        return bool(self._queue)

    @property
    def busy(self) -> bool:
        """There is something to tell."""
        work = self._queue[0] if self._queue else None
        return work is not None and work.job is not None and (work.job.done() or not work.done.empty())

    @property
    def opening(self) -> bool:
        """There is work that goes on beside; `step` is to be called now and then."""
        return bool(self._queue) and not self.busy

    def poll(self) -> None:
        """Nothing is to be seen to: its weights are open."""

    def step(self) -> None:
        """Tells what is new of the painting under way, and begins the next."""
        assert self.busy
        work = self._queue[0]
        assert work.job is not None
        over = work.job.done()  # asked first, so that no stroke comes after
        while not work.done.empty():
            work.news(work.done.get())
        if over:
            self._queue.popleft()
            self._end(work, work.job)
            self._begin()

    def close(self, why: str) -> None:
        """Ends what waits with an error; what is under way ends after its step."""
        waiting, self._queue = self._queue, deque()
        for work in waiting:
            work.stop.set()
            work.tell(None, why)
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _begin(self) -> None:
        if self._queue and self._queue[0].job is None:
            work = self._queue[0]
            work.job = self._pool.submit(self._painter.paint, work.paint, work.done.put, work.stop.is_set)

    def _end(self, work: _Painting, job: Future[Painted]) -> None:
        error = job.exception()
        if error is None:
            work.tell(job.result(), None)
        elif isinstance(error, Stopped):
            work.tell(None, "paint: it was given up")
        elif isinstance(error, BadRequest):
            work.tell(Refused(str(error)), None)
        else:
            log.warning("%s: painting failed", self._name, exc_info=error)
            work.tell(None, f"paint: {error}" if str(error) else f"paint: {type(error).__name__}")

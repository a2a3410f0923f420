"""The engine in a process of its own, seen from the parent: submit requests, get news on a thread.

Not the engine itself (`engine.host`, run by `engine.child`). The child is restarted when it dies: requests
that were open end with an error that says so, and the models that were loaded are loaded again; requests that
come meanwhile wait for that. A child that keeps dying is left down for a while, with an error instead.
"""

from __future__ import annotations

import itertools
import logging
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYet
from dataclasses import dataclass, field
from multiprocessing import Pipe
from multiprocessing.reduction import ForkingPickler
from typing import Any

from tokenloom.engine.check import BadRequest
from tokenloom.engine.diffusion import Paint, Stroke
from tokenloom.engine.host import OPENER
from tokenloom.engine.request import Delta, Request
from tokenloom.engine.status import EngineError, HostStatus, ModelInfo, ModelStatus, Source
from tokenloom.engine.voices import SoundWork
from tokenloom.engine.works import OPENER as WORKS_OPENER
from tokenloom.engine.works import Work

log = logging.getLogger(__name__)

Sink = Callable[[list[Delta]], None]
CRASHES, WINDOW_S = 3, 60.0
"""So many deaths within this time, and the child is left down until as much time has passed."""
STATUS_S = 10.0
CLOSE_S = 5.0
PROGRAM = (
    "import sys; sys.path[:] = {path!r}; from tokenloom.engine.child import main; main({handle}, {options!r})"
)


@dataclass(frozen=True)
class Status:
    """What the engine says of itself."""

    alive: bool
    pid: int | None
    restarts: int
    models: Mapping[str, ModelStatus]
    memory_limit: int | None
    memory_used: int
    age_s: float = 0.0
    """How old this is; more than 0 if the engine was too busy to answer in time."""


@dataclass
class _Asked:
    sink: Sink
    open: set[int]


@dataclass
class _Call:
    answer: Future[Any] = field(default_factory=Future)
    source: Source | None = None
    """The model to be loaded, if that is what was asked."""
    news: Callable[[Stroke], None] | None = None
    """Told how a painting goes on."""


@dataclass(frozen=True)
class Errand:
    """A painting under way."""

    number: int
    answer: Future[Any]
    """Painted; Refused where the model lacks what was asked; else EngineError says why there is none."""


class _Child:
    """One child process with its pipe and the thread that writes to it."""

    def __init__(self, options: Mapping[str, Any], threads: int | None) -> None:
        self.pipe, theirs = Pipe()
        program = PROGRAM.format(path=sys.path, handle=theirs.fileno(), options=dict(options))
        environment = dict(os.environ)
        if threads is not None:
            # Read by OpenMP and so by torch, before either is imported.
            environment.update(OMP_NUM_THREADS=str(threads), MKL_NUM_THREADS=str(threads))
        # A session of its own keeps the terminal's signals away; prints go to stderr, not into our answers.
        self.process = subprocess.Popen(
            [sys.executable, "-c", program],
            pass_fds=(theirs.fileno(),),
            stdin=subprocess.DEVNULL,
            stdout=2,
            env=environment,
            start_new_session=True,
        )
        theirs.close()
        self._outbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._writer = threading.Thread(target=self._write, name="engine-writer", daemon=True)
        self._writer.start()

    def send(self, message: bytes | memoryview) -> None:
        """Never waits; a message to a child that has died is lost."""
        self._outbox.put(message)

    def end(self) -> str:
        """Makes sure that it is gone; answers how it went."""
        self._outbox.put(None)
        try:
            code = self.process.wait(CLOSE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        self._writer.join()
        self.pipe.close()
        return signal.Signals(-code).name if code < 0 else f"exit status {code}"

    def _write(self) -> None:
        while (message := self._outbox.get()) is not None:
            try:
                self.pipe.send_bytes(message)
            except OSError:
                return  # the reader sees the same end, and tells


class EngineProcess:
    """Loads models and answers requests in a child process. Safe to use from several threads."""

    def __init__(
        self,
        *,
        memory_limit: int | None = None,
        idle_s: float | None = None,
        flush_ms: float = 40,
        threads: int | None = None,
        opener: str = OPENER,
        works_opener: str = WORKS_OPENER,
    ) -> None:
        """memory_limit: bytes all models may take; None = a share of what is available. idle_s: a model
        unused that long is let go (its next request loads it again); None = never. flush_ms: news is sent so
        often. threads: of the computation; None = torch's choice. opener: "module:function", called as
        `load.prepare`; works_opener: the same, called as `works.open_works`."""
        self._options = {
            "memory_limit": memory_limit,
            "idle_s": idle_s,
            "flush_ms": flush_ms,
            "opener": opener,
            "works_opener": works_opener,
        }
        self._threads = threads
        self._lock = threading.Lock()
        self._numbers = itertools.count()
        self._asked: dict[str, _Asked] = {}
        self._calls: dict[int, _Call] = {}
        self._sources: dict[str, Source] = {}
        self._deaths: deque[float] = deque(maxlen=CRASHES)
        self._restarts = 0
        self._down = ""
        self._closed = False
        self._last: tuple[float, HostStatus] | None = None
        self._child: _Child | None = None
        self._reader: threading.Thread | None = None
        self._start()

    # Models

    def load(
        self,
        name: str,
        path: str,
        *,
        dtype: str = "auto",
        device: str = "auto",
        adapters: Mapping[str, str] | None = None,
    ) -> ModelInfo:
        """Loads a model and waits until it is ready; one that is loaded already answers at once.

        EngineError if it cannot be read, does not fit into memory, or the engine is down.
        """
        source = Source(name, str(path), dtype, device, dict(adapters or {}))
        info: ModelInfo = self._call("load", source, source=source).result()
        return info

    def unload(self, name: str) -> None:
        """Frees a model; its open requests end with an error. EngineError if it is not known."""
        self._call("unload", name).result()
        with self._lock:
            self._sources.pop(name, None)

    # Requests

    def submit(self, request: Request, sink: Sink) -> None:
        """Queues a request; never waits. `sink` gets its news on the engine's thread, in lists of deltas, the
        last of each choice with a finish. It should return soon and not raise.

        BadRequest for an id in use. Whatever else is wrong comes as deltas with finish "error".
        """
        message = ForkingPickler.dumps(("submit", request))
        with self._lock:
            if request.id in self._asked:
                raise BadRequest(f"id {request.id!r} is in use by a request that has not ended")
            child = self._running()
            choices = set(range(max(request.n, 1)))
            if child is not None:
                self._asked[request.id] = _Asked(sink, choices)
                child.send(message)
                return
            error = self._down
        sink([Delta(request.id, choice, finish="error", error=error) for choice in sorted(choices)])

    def abort(self, request_id: str) -> None:
        """Ends a request; its open choices get finish "abort". No effect if it has ended or never came."""
        with self._lock:
            if request_id in self._asked and self._child is not None:
                self._child.send(ForkingPickler.dumps(("abort", request_id)))

    def work(self, model: str, kind: Work, *arguments: object) -> Future[Any]:
        """Has the codec or the judge of a model that was loaded do something; never waits.

        The future's result: "encode", pictures uint8 (N, H, W, 4) -> codes int64 (N, P); "decode", codes ->
        pictures; "judge", T captions or pictures (H, W, 4), pictures -> float32 (T, N). EngineError says why
        it could not be done.
        """
        return self._call(kind, model, *arguments)

    def paint(self, model: str, paint: Paint, news: Callable[[Stroke], None]) -> Errand:
        """Has a diffusion model that was loaded paint; never waits. `news` is told its steps on the engine's
        thread; it should return soon and not raise."""
        call = _Call(news=news)
        return Errand(self._begin(call, "paint", model, paint), call.answer)

    def drop(self, errand: Errand) -> None:
        """Gives a painting up between two of its steps; no effect if it is done."""
        with self._lock:
            if errand.number in self._calls and self._child is not None:
                self._child.send(ForkingPickler.dumps(("drop", errand.number)))

    def sound(self, kind: SoundWork, *arguments: object) -> Future[Any]:
        """Has a sentence spoken, or a sound written down; never waits. Arguments and the future's result are
        those of `voices.Voices.do`. EngineError says why it could not be done."""
        return self._call(kind, *arguments)

    # The process

    @property
    def alive(self) -> bool:
        """The child runs."""
        child = self._child
        return child is not None and child.process.poll() is None

    def status(self) -> Status:
        """Models with their figures. If one step takes longer than ten seconds, what the engine said last."""
        at = time.monotonic()
        try:
            found = self._call("status").result(STATUS_S)
            self._last = (at, found)
        except (EngineError, NotYet):
            pass
        child = self._child
        pid = child.process.pid if child is not None else None
        if self._last is None or pid is None:
            return Status(self.alive, pid, self._restarts, {}, self._options["memory_limit"], 0)  # type: ignore[arg-type]
        said, last = self._last
        age = 0.0 if said == at else time.monotonic() - said
        return Status(self.alive, pid, self._restarts, last.models, last.memory_limit, last.memory_used, age)

    def close(self) -> None:
        """Ends the child; what is open ends with an error. Calling it again does nothing."""
        with self._lock:
            self._closed, self._down = True, "the engine was closed"
            child, reader = self._child, self._reader
            if child is not None:
                child.send(ForkingPickler.dumps(("close",)))
        if child is None or reader is None or reader is threading.current_thread():
            return
        reader.join(CLOSE_S)
        if reader.is_alive():
            child.process.kill()
            reader.join()

    def __enter__(self) -> EngineProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _start(self) -> _Child:
        child = _Child(self._options, self._threads)
        self._child, self._down = child, ""
        self._reader = threading.Thread(target=self._read, args=(child,), name="engine-reader", daemon=True)
        self._reader.start()
        return child

    def _running(self) -> _Child | None:
        """The child; starts one again if it was left down long enough."""
        if self._child is None and not self._closed and time.monotonic() - self._deaths[-1] > WINDOW_S:
            self._deaths.clear()
            self._reload(self._start())
        return self._child

    def _call(self, kind: str, *arguments: object, source: Source | None = None) -> Future[Any]:
        call = _Call(source=source)
        self._begin(call, kind, *arguments)
        return call.answer

    def _begin(self, call: _Call, kind: str, *arguments: object) -> int:
        call.answer.set_running_or_notify_cancel()  # whoever waits may go, the answer is set all the same
        with self._lock:
            child = self._running()
            if child is None:
                raise EngineError(self._down)
            return self._ask(child, call, kind, *arguments)

    def _ask(self, child: _Child, call: _Call, kind: str, *arguments: object) -> int:
        number = next(self._numbers)
        child.send(ForkingPickler.dumps((kind, number, *arguments)))
        self._calls[number] = call
        return number

    def _reload(self, child: _Child) -> None:
        for source in self._sources.values():
            self._ask(child, _Call(source=source), "load", source)

    # The reader's thread

    def _read(self, child: _Child) -> None:
        try:
            while True:
                match child.pipe.recv():
                    case ("news", deltas):
                        self._deliver(deltas)
                    case ("reply", number, value, error):
                        self._reply(number, value, error)
                    case ("stroke", number, stroke):
                        self._stroke(number, stroke)
        except (EOFError, ConnectionError):
            pass
        finally:
            self._ended(child)

    def _deliver(self, deltas: list[Delta]) -> None:
        lists: dict[str, list[Delta]] = {}
        for delta in deltas:
            lists.setdefault(delta.request, []).append(delta)
        for request_id, news in lists.items():
            with self._lock:
                asked = self._asked.get(request_id)
                if asked is None:
                    continue
                asked.open.difference_update(delta.choice for delta in news if delta.finish is not None)
                if not asked.open:
                    del self._asked[request_id]
            self._tell(asked.sink, request_id, news)

    def _tell(self, sink: Sink, request_id: str, news: list[Delta]) -> None:
        try:
            sink(news)
        except RuntimeError:
            # What an event loop that has ended says; nobody waits for the rest.
            log.warning("request %s: its sink failed; it is aborted", request_id, exc_info=True)
            self.abort(request_id)
            with self._lock:
                self._asked.pop(request_id, None)

    def _reply(self, number: int, value: object, error: str | None) -> None:
        with self._lock:
            call = self._calls.pop(number)
            if call.source is not None:
                if error is None:
                    self._sources[call.source.name] = call.source
                elif self._sources.get(call.source.name) == call.source:
                    del self._sources[call.source.name]
                    log.error("%s cannot be loaded again: %s", call.source.name, error)
        if error is None:
            call.answer.set_result(value)
        else:
            call.answer.set_exception(EngineError(error))

    def _stroke(self, number: int, stroke: Stroke) -> None:
        with self._lock:
            call = self._calls.get(number)
        if call is None or call.news is None:
            return
        try:
            call.news(stroke)
        except RuntimeError:
            # What an event loop that has ended says; nobody waits for the rest.
            log.warning("painting %s: its sink failed; it is given up", number, exc_info=True)
            self.drop(Errand(number, call.answer))

    def _ended(self, child: _Child) -> None:
        """Tells all who wait, and starts another child unless closed or dying too often."""
        how = child.end()
        with self._lock:
            asked, self._asked = self._asked, {}
            calls, self._calls = self._calls, {}
            self._child, self._last = None, None
            if self._closed:
                error = self._down
            else:
                error = f"the engine stopped ({how}) and starts again; ask again"
                self._deaths.append(time.monotonic())
                often = len(self._deaths) == CRASHES and self._deaths[-1] - self._deaths[0] < WINDOW_S
                if often:
                    error = self._down = (
                        f"the engine stopped {CRASHES} times within {WINDOW_S:g} s (the last time: {how}); "
                        f"it stays down for {WINDOW_S:g} s; its own messages on stderr say more"
                    )
                else:
                    self._restarts += 1
                    self._reload(self._start())
                log.error(error)
        for call in calls.values():
            call.answer.set_exception(EngineError(error))
        for request_id, one in asked.items():
            news = [Delta(request_id, choice, finish="error", error=error) for choice in sorted(one.open)]
            self._tell(one.sink, request_id, news)

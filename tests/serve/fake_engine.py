"""An engine without a model: it says what the prompt tells it to, one id at a time, on a thread of its own.

Commands in the prompt's text, the last one counts: SAY(text)YAS says the text; HANG says nothing; BREAK
fails; LOOP(text)POOL repeats the text until it is stopped. Without a command it says "Hello there."
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tokenloom.engine.process import Status
from tokenloom.engine.request import Delta, Finish, Request, TokenLogprob, Usage
from tokenloom.engine.status import EngineError, ModelInfo, ModelStatus
from tokenloom.tokens.text import Tokenizer, load_tokenizer

COMMAND = re.compile(
    r"SAY\((?P<say>.*?)\)YAS|LOOP\((?P<loop>.*?)\)POOL|(?P<hang>HANG)|(?P<break>BREAK)", re.DOTALL
)
Sink = Callable[[list[Delta]], None]


@dataclass(frozen=True)
class Place:
    name: str
    path: Path


@dataclass
class Job:
    request: Request
    sink: Sink
    script: list[int]
    choice: int
    loop: bool
    hang: bool
    fail: bool
    at: int = 0


def logprob_of(token: int) -> float:
    return -0.25 - (token % 7) / 8


def scored(token: int, k: int) -> TokenLogprob:
    others = tuple((token + step, logprob_of(token) - step) for step in range(1, k))
    return TokenLogprob(token, logprob_of(token), ((token, logprob_of(token)), *others)[:k])


@dataclass
class FakeEngine:
    context: int = 2048
    tick_s: float = 0.0005
    load_s: float = 0.0
    load_error: str | None = None
    broken: frozenset[str] = frozenset()
    """Models that cannot be loaded."""
    aborted: list[str] = field(default_factory=list)
    seen: list[Request] = field(default_factory=list)
    closed: bool = False

    def __post_init__(self) -> None:
        self._tokenizers: dict[str, Tokenizer] = {}
        self._jobs: list[Job] = []
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    # --- what EngineProcess has ---

    def load(
        self,
        name: str,
        path: str,
        *,
        dtype: str = "",
        device: str = "",
        adapters: dict[str, str] | None = None,
    ) -> ModelInfo:
        time.sleep(self.load_s)
        if self.load_error is not None or name in self.broken:
            raise ValueError(self.load_error or "the file is damaged")
        self._tokenizers[name] = load_tokenizer(Path(path))
        size = self._tokenizers[name].vocab_size
        return ModelInfo(name, path, size, self.context, "float32", "cpu", 0, 4)

    def submit(self, request: Request, sink: Sink) -> None:
        tokenizer = self._tokenizers[request.model]
        text = tokenizer.decode(request.ids, special=True)
        found = list(COMMAND.finditer(text))
        parts = found[-1].groupdict() if found else {}
        said = parts.get("say") or parts.get("loop") or "Hello there."
        script = tokenizer.encode(said)
        with self._lock:
            self.seen.append(request)
            for choice in range(request.n):
                flags = (bool(parts.get("loop")), bool(parts.get("hang")), bool(parts.get("break")))
                self._jobs.append(Job(request, sink, script, choice, *flags))

    def abort(self, request_id: str) -> None:
        with self._lock:
            gone = [job for job in self._jobs if job.request.id == request_id]
            if gone:
                self.aborted.append(request_id)
            self._jobs = [job for job in self._jobs if job.request.id != request_id]
        for job in gone:
            job.sink([Delta(request_id, job.choice, finish="abort")])

    def work(self, model: str, kind: str, *arguments: object) -> Future[Any]:
        answer: Future[Any] = Future()
        answer.set_exception(EngineError(f"{model} is no picture model: it has no codec"))
        return answer

    def sound(self, kind: str, *arguments: object) -> Future[Any]:
        answer: Future[Any] = Future()
        answer.set_exception(EngineError("this engine has no voice"))
        return answer

    @property
    def alive(self) -> bool:
        return not self.closed

    def status(self) -> Status:
        models = {name: ModelStatus("ready", None, {"running": self.open}) for name in self._tokenizers}
        return Status(self.alive, 1, 0, models, None, 0)

    def close(self) -> None:
        self.closed = True

    # --- for tests ---

    @property
    def open(self) -> int:
        return len(self._jobs)

    def idle(self, within_s: float = 60.0) -> bool:
        """Waits until nothing is open, at most so long: on a busy machine news takes its time."""
        until = time.monotonic() + within_s
        while self.open and time.monotonic() < until:
            time.sleep(0.01)
        return not self.open

    def _work(self) -> None:
        while not self.closed:
            time.sleep(self.tick_s)
            with self._lock:
                jobs = list(self._jobs)
            for job in jobs:
                delta = self._step(job)
                if delta is None:
                    continue
                with self._lock:
                    if job not in self._jobs:
                        continue
                    if delta.finish is not None:
                        self._jobs.remove(job)
                job.sink([delta])

    def _step(self, job: Job) -> Delta | None:
        request = job.request
        if job.fail and job.at >= 1:
            return Delta(request.id, job.choice, finish="error", error="the fake engine broke")
        if job.hang:
            return None
        prompt: tuple[TokenLogprob | None, ...] = ()
        if job.at == 0 and job.choice == 0 and request.prompt_logprobs is not None:
            prompt = (None, *(scored(token, request.prompt_logprobs) for token in request.ids[1:]))
        limit = min(request.max_tokens, self.context - len(request.ids))
        ids: Sequence[int] = ()
        finish: Finish | None = None
        stop = None
        if job.at < limit and (job.loop or job.at < len(job.script)):
            ids = (job.script[job.at % len(job.script)],)
            job.at += 1
        elif job.at < limit:
            end = self._tokenizers[request.model].eos_ids[0]
            if end in request.stop_ids:
                finish, stop = "stop", end
            else:
                ids = (end,)
                job.at += 1
        if finish is None and job.at >= limit:
            finish = "length"
        logprobs = () if request.logprobs is None else tuple(scored(token, request.logprobs) for token in ids)
        usage = Usage(len(request.ids), 3, job.at, 0.001, 0.002, 0.01) if finish else None
        return Delta(request.id, job.choice, tuple(ids), logprobs, prompt, finish, stop, usage=usage)

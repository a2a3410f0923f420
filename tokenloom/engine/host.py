"""Many models in one place: loaded as memory allows, stepped in turn, let go when idle.

Not a process and not the wire (`engine.process`). One thread owns a Host and calls `step`; weights are read
on a thread beside it, so models that are ready go on answering while another loads. A model that was let go,
for idleness or to make room, stays known: its next request loads it again. One that fails in a step (out of
memory, say) ends its requests with an error and is let go too.
"""

from __future__ import annotations

import gc
import importlib
import logging
import time
from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from tokenloom.engine.check import BadRequest
from tokenloom.engine.diffusion import DiffusionCore
from tokenloom.engine.easel import Easel
from tokenloom.engine.held import Core, Done, Held, Plan, info_of, same_place
from tokenloom.engine.memory import available_bytes
from tokenloom.engine.request import Delta, Finish, Request
from tokenloom.engine.status import HostStatus, ModelInfo, ModelStatus, Source
from tokenloom.engine.works import OPENER as WORKS_OPENER
from tokenloom.engine.works import Tell, Work, Works

log = logging.getLogger(__name__)

OPENER = "tokenloom.engine.load:prepare_any"
SHARE = 0.8
"""Of the memory available at the start, unless a limit is given."""
COUNTERS = (
    "steps",
    "prompt_tokens",
    "cached_tokens",
    "computed_tokens",
    "new_tokens",
    "preempted",
    "dropped",
)


class Host:
    """Models by name. Not thread-safe: one owner."""

    def __init__(
        self,
        *,
        memory_limit: int | None = None,
        idle_s: float | None = None,
        opener: str = OPENER,
        works_opener: str = WORKS_OPENER,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """memory_limit: bytes all models may take; None = a share of what is available now. idle_s: a model
        unused that long is let go; None = never. opener: "module:function", called as `load.prepare`.
        works_opener: the same, called as `works.open_works`."""
        self.memory_limit = int(available_bytes() * SHARE) if memory_limit is None else memory_limit
        self._idle_s = idle_s
        self._opener = opener
        self._works_opener = works_opener
        self._clock = clock
        self._models: dict[str, Held] = {}
        self._turns: deque[str] = deque()
        self._open: dict[str, tuple[str, set[int]]] = {}
        self._out: list[Delta] = []
        self._loader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="load")

    # Models

    def load(self, source: Source, tell: Done | None = None) -> None:
        """Begins to load; `tell` is called in a later `step`, or now if there is nothing to do."""
        tell = tell or _log_failure(source.name)
        model = self._models.get(source.name)
        if model is not None and model.source != source:
            tell(None, f"{source.name} is loaded already, from {_words(model.source)}; unload it first")
            return
        if model is None:
            model = self._models[source.name] = Held(source)
            self._turns.append(source.name)
        if model.state == "ready":
            model.used_at = self._clock()
            tell(model.info, None)
            return
        model.tell.append(tell)
        self._begin(model)

    def unload(self, name: str) -> bool:
        """Frees a model and forgets it; its requests end with an error. False if it is not known."""
        model = self._models.pop(name, None)
        if model is None:
            return False
        self._turns.remove(name)
        self._fail_works(model, f"the model {name} was unloaded")
        self._fail_requests(model, f"the model {name} was unloaded")
        for tell in model.tell:
            tell(None, f"{name} was unloaded while it loaded")
        self._release(model)
        return True

    def _begin(self, model: Held) -> None:
        if model.state != "loading":
            model.state, model.plan = "loading", None
            model.job = self._loader.submit(_prepare, self._opener, model.source)

    def _advance_loads(self) -> None:
        for model in list(self._models.values()):
            if model.works is not None:
                model.works.poll()
            job = model.job
            if job is None or not job.done():
                continue
            model.job, error = None, job.exception()
            if error is not None:
                self._load_failed(model, f"{type(error).__name__}: {error}" if not str(error) else str(error))
            elif model.plan is None:
                self._admit(model, job.result())
            else:
                self._ready(model, job.result())

    def _admit(self, model: Held, plan: Plan) -> None:
        """Makes room by letting idle models go, the longest unused first; then reads the weights."""
        room = self._room(plan)
        others = [
            m for m in self._models.values() if m.idle and m.plan is not None and same_place(m.plan, plan)
        ]
        could = room + sum(m.plan.memory_bytes for m in others if m.plan is not None)
        if plan.memory_bytes > could:
            used = ", ".join(
                f"{m.source.name} ({_size(m.plan.memory_bytes)})"
                for m in self._models.values()
                if m.plan is not None and m.state != "unloaded" and same_place(m.plan, plan)
            )
            self._load_failed(
                model,
                f"{model.source.name} needs {_size(plan.memory_bytes)} of memory; at most {_size(could)} of "
                f"{_size(self._whole(plan))} can be made free"
                + (f", in use or reserved by {used}" if used else ""),
            )
            return
        for other in sorted(others, key=lambda m: m.used_at):
            if plan.memory_bytes <= room:
                break
            assert other.plan is not None
            room += other.plan.memory_bytes
            self._let_go(other)
        model.plan = plan
        model.job = self._loader.submit(plan.open)

    def _ready(self, model: Held, core: Core) -> None:
        assert model.plan is not None
        model.core, model.state, model.used_at = core, "ready", self._clock()
        model.info = info_of(model.source, model.plan)
        tell, model.tell = model.tell, []
        for one in tell:
            one(model.info, None)
        if isinstance(core, DiffusionCore):
            assert core.brush is not None
            model.works = Easel(core.brush, model.source.name)
        elif model.plan.works:
            model.works = Works(model.source.path, self._loader, self._works_opener)
        waiting, model.waiting = model.waiting, []
        for request in waiting:
            self._add(model, request)
        later, model.later = model.later, []
        for one_later in later:
            self._work(model, *one_later)

    def _load_failed(self, model: Held, error: str) -> None:
        model.state, model.plan = "unloaded", None
        tell, model.tell = model.tell, []
        for one in tell:
            one(None, error)
        self._fail_works(model, f"{model.source.name} cannot be loaded: {error}")
        self._fail_requests(model, f"{model.source.name} cannot be loaded: {error}")
        if model.info is None:
            del self._models[model.source.name]
            self._turns.remove(model.source.name)

    def _let_go(self, model: Held) -> None:
        log.info("%s is unloaded: idle", model.source.name)
        self._release(model)
        model.state = "unloaded"

    def _release(self, model: Held) -> None:
        if model.core is not None:
            model.before.update({k: v for k, v in model.core.stats().items() if k in COUNTERS})
            model.core.close()
        elif model.job is not None and not model.job.cancel() and model.plan is not None:
            # What is still being read is closed as soon as it is there.
            model.job.add_done_callback(_close_result)
        self._fail_works(model, f"{model.source.name} was unloaded; ask again")
        model.core, model.job, model.works = None, None, None
        gc.collect()

    def _whole(self, plan: Plan) -> int:
        return self.memory_limit if plan.room_bytes is None else plan.room_bytes

    def _room(self, plan: Plan) -> int:
        """Bytes free for a model of this plan. A device of its own says itself what is free."""
        return self._whole(plan) - (self.memory_used if plan.room_bytes is None else 0)

    @property
    def memory_used(self) -> int:
        held = (m.plan for m in self._models.values() if m.plan is not None and m.state != "unloaded")
        return sum(plan.memory_bytes for plan in held if plan.room_bytes is None)

    # Requests

    def submit(self, request: Request) -> None:
        """Queues a request; what is wrong with it comes as deltas with finish "error".

        BadRequest for an id that is in use.
        """
        if request.id in self._open:
            raise BadRequest(f"id {request.id!r} is in use by a request that has not ended")
        self._open[request.id] = (request.model, set(range(max(request.n, 1))))
        model = self._models.get(request.model)
        if model is None:
            known = ", ".join(self._models) or "none is loaded"
            self._end(request.id, "error", f"model {request.model!r} is unknown; known: {known}")
        elif model.core is None:
            model.waiting.append(request)
            self._begin(model)
        else:
            self._add(model, request)

    def work(self, kind: Work, name: str, arguments: tuple[Any, ...], tell: Tell) -> None:
        """Has a model's codec or judge do something, or a diffusion model paint; `tell` is called in a later
        `step`, or now if it cannot be done. arguments: those of `works.Hands`, or of `easel.Easel.add`."""
        model = self._models.get(name)
        if model is None:
            tell(None, f"model {name!r} is unknown; known: {', '.join(self._models) or 'none is loaded'}")
        elif model.core is None:
            model.later.append((kind, arguments, tell))
            self._begin(model)
        else:
            self._work(model, kind, arguments, tell)

    def drop(self, key: int) -> None:
        """Gives a painting up, which is told as an error; no effect if it is done."""
        for model in self._models.values():
            if isinstance(model.works, Easel):
                model.works.drop(key)
            for later in [one for one in model.later if one[0] == "paint" and one[1][1] == key]:
                model.later.remove(later)
                later[2](None, "paint: it was given up")

    def _work(self, model: Held, kind: Work, arguments: tuple[Any, ...], tell: Tell) -> None:
        model.used_at = self._clock()
        if model.works is None:
            tell(None, f"{model.source.name} is no picture model: it has no codec")
        else:
            model.works.add(kind, arguments, tell)

    def _fail_works(self, model: Held, error: str) -> None:
        later, model.later = model.later, []
        for _, _, tell in later:
            tell(None, error)
        if model.works is not None:
            model.works.close(error)

    def abort(self, request_id: str) -> None:
        """Ends a request; no effect if it has ended or never came."""
        if request_id not in self._open:
            return
        model = self._models[self._open[request_id][0]]
        if model.core is not None:
            model.core.abort(request_id)
        else:
            model.waiting = [r for r in model.waiting if r.id != request_id]
            self._end(request_id, "abort")

    def step(self) -> list[Delta]:
        """One step of the next model that has work, and one piece of what codecs and judges have to do; also
        moves loads on and lets idle models go."""
        self._advance_loads()
        self._let_idle_go()
        deltas, self._out = self._out, []
        self._work_on()
        for _ in range(len(self._turns)):
            name = self._turns[0]
            self._turns.rotate(-1)
            model = self._models[name]
            if model.core is not None and model.core.busy:
                model.used_at = self._clock()
                deltas += self._step(model, model.core)
                break
        return deltas

    def _work_on(self) -> None:
        """One piece of what the next model's codec or judge has to do."""
        for name in self._turns:
            model = self._models[name]
            if model.works is not None and model.works.busy:
                model.used_at = self._clock()
                model.works.step()
                return

    def _step(self, model: Held, core: Core) -> list[Delta]:
        try:
            deltas = core.step()
        except (RuntimeError, MemoryError) as error:
            log.exception("%s failed in a step", model.source.name)
            self._let_go(model)
            self._fail_requests(model, f"{model.source.name} failed and was unloaded ({error}); ask again")
            deltas, self._out = self._out, []
            return deltas
        for delta in deltas:
            if delta.finish is not None:
                self._close(delta.request, delta.choice)
        return deltas

    def _add(self, model: Held, request: Request) -> None:
        assert model.core is not None
        model.used_at = self._clock()
        try:
            model.core.add(request)
        except ValueError as error:
            self._end(request.id, "error", str(error))

    def _fail_requests(self, model: Held, error: str) -> None:
        model.waiting = []
        for request_id in [i for i, (name, _) in self._open.items() if name == model.source.name]:
            self._end(request_id, "error", error)

    def _end(self, request_id: str, finish: Finish, error: str | None = None) -> None:
        for choice in sorted(self._open.pop(request_id)[1]):
            self._out.append(Delta(request_id, choice, finish=finish, error=error))

    def _close(self, request_id: str, choice: int) -> None:
        if request_id in self._open:
            choices = self._open[request_id][1]
            choices.discard(choice)
            if not choices:
                del self._open[request_id]

    # What goes on

    @property
    def busy(self) -> bool:
        """`step` has something to compute or to say now."""
        models = self._models.values()
        return (
            bool(self._out)
            or any(m.core is not None and m.core.busy for m in models)
            or any(m.works is not None and m.works.busy for m in models)
        )

    @property
    def loading(self) -> bool:
        """A load goes on beside; `step` should be called now and then."""
        return any(
            m.job is not None or (m.works is not None and m.works.opening) for m in self._models.values()
        )

    @property
    def sleep_s(self) -> float | None:
        """How long nothing is to be done if no command comes; None = for ever."""
        if self.busy:
            return 0.0
        if self.loading:
            return 0.01
        ends = [
            m.used_at + self._idle_s for m in self._models.values() if m.core and self._idle_s is not None
        ]
        return max(min(ends) - self._clock(), 0.0) if ends else None

    def status(self) -> HostStatus:
        models = {}
        for name, model in self._models.items():
            figures = Counter(model.core.stats() if model.core is not None else {})
            figures.update(model.before)
            figures["waiting"] += len(model.waiting)
            models[name] = ModelStatus(model.state, model.info, dict(figures))
        return HostStatus(models, self.memory_limit, self.memory_used)

    def close(self) -> None:
        """Frees everything; requests that are open get no further news."""
        for name in list(self._models):
            self.unload(name)
        self._open.clear()
        self._out.clear()
        self._loader.shutdown(wait=True, cancel_futures=True)

    def _let_idle_go(self) -> None:
        if self._idle_s is not None:
            for model in self._models.values():
                if model.idle and self._clock() - model.used_at >= self._idle_s:
                    self._let_go(model)


def _prepare(opener: str, source: Source) -> Plan:
    module, _, name = opener.partition(":")
    prepare = getattr(importlib.import_module(module), name)
    plan: Plan = prepare(source.path, dtype=source.dtype, device=source.device, adapters=source.adapters)
    return plan


def _close_result(job: Future[Any]) -> None:
    if job.exception() is None:
        job.result().close()


def _log_failure(name: str) -> Done:
    def tell(info: ModelInfo | None, error: str | None) -> None:
        if error is not None:
            log.error("%s cannot be loaded: %s", name, error)

    return tell


def _words(source: Source) -> str:
    extra = "".join(f", adapter {name}" for name in source.adapters)
    return f"{source.path} (dtype {source.dtype}, device {source.device}{extra})"


def _size(count: int) -> str:
    return f"{count / 1e9:.2f} GB" if count >= 10_000_000 else f"{count / 1e6:.2f} MB"

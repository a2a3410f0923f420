"""What a host holds of one model: how it is loaded, its core, its codec, who waits for it. No behaviour.

The protocols say what a host needs of engine.core and engine.load, so that both can be stood in for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Protocol

from tokenloom.engine.easel import Easel
from tokenloom.engine.request import Delta, Request
from tokenloom.engine.status import ModelInfo, Source, State
from tokenloom.engine.works import Tell, Work, Works


class Core(Protocol):
    """What a Host needs of engine.core.Core."""

    @property
    def busy(self) -> bool: ...
    def add(self, request: Request) -> None: ...
    def abort(self, request_id: str) -> None: ...
    def step(self) -> list[Delta]: ...
    def stats(self) -> dict[str, int]: ...
    def close(self) -> None: ...


class Plan(Protocol):
    """What a Host needs of engine.load.Plan."""

    @property
    def dtype(self) -> str: ...
    @property
    def device(self) -> str: ...
    @property
    def n_slots(self) -> int: ...
    @property
    def context(self) -> int: ...
    @property
    def vocab_size(self) -> int: ...
    @property
    def memory_bytes(self) -> int: ...
    @property
    def room_bytes(self) -> int | None: ...
    @property
    def works(self) -> bool: ...
    def open(self) -> Core: ...


Done = Callable[[ModelInfo | None, str | None], None]
"""Told how a load ended: the model, or what went wrong."""


@dataclass
class Held:
    """A model that is known, loaded or not."""

    source: Source
    state: State = "unloaded"
    plan: Plan | None = None
    core: Core | None = None
    works: Works | Easel | None = None
    """Its codec and judge, or what it paints with, where it has them and is ready."""
    info: ModelInfo | None = None
    """Of the last time it was ready."""
    job: Future[Any] | None = None
    waiting: list[Request] = field(default_factory=list)
    later: list[tuple[Work, tuple[Any, ...], Tell]] = field(default_factory=list)
    """Works asked for while it loads."""
    tell: list[Done] = field(default_factory=list)
    used_at: float = 0.0
    before: Counter[str] = field(default_factory=Counter)
    """Counters of the cores it had before."""

    @property
    def idle(self) -> bool:
        at_work = self.works is not None and self.works.waiting
        return self.core is not None and not self.core.busy and not at_work


def info_of(source: Source, plan: Plan) -> ModelInfo:
    """What is told of a model that is ready."""
    return ModelInfo(
        source.name,
        source.path,
        vocab_size=plan.vocab_size,
        context=plan.context,
        dtype=plan.dtype,
        device=plan.device,
        memory_bytes=plan.memory_bytes,
        n_slots=plan.n_slots,
        adapters=tuple(source.adapters),
    )


def same_place(one: Plan, other: Plan) -> bool:
    """Whether two models take the same memory."""
    return one.device == other.device if other.room_bytes is not None else one.room_bytes is None

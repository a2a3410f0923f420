"""What the engine's host is told of models and what it says of them. Plain values, fit for the wire."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

State = Literal["loading", "ready", "unloaded"]


class EngineError(RuntimeError):
    """The engine could not do what was asked; the message says why and what to do."""


@dataclass(frozen=True)
class Source:
    """Which model, and how it is to be loaded."""

    name: str
    path: str
    dtype: str = "auto"
    device: str = "auto"
    adapters: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ModelInfo:
    name: str
    path: str
    vocab_size: int
    context: int
    """Positions that prompt and answer may take together."""
    dtype: str
    device: str
    memory_bytes: int
    """What it was admitted with: weights, cache when full, one step's work."""
    n_slots: int
    adapters: tuple[str, ...] = ()


@dataclass(frozen=True)
class ModelStatus:
    state: State
    info: ModelInfo | None
    """None until it was loaded once."""
    figures: Mapping[str, int]
    """Gauges: requests, running, waiting, parked, slots, cache_tok, ... Counters since the host's start:
    prompt_tokens, cached_tokens (reused), new_tokens, preempted, ..."""


@dataclass(frozen=True)
class HostStatus:
    models: Mapping[str, ModelStatus]
    memory_limit: int
    memory_used: int
    """Of the models that are loaded, as admitted; those outside the machine's own memory do not count."""

"""What evaluations ask of a model: the log-probability of a continuation, and answers to prompts.

`Scorer` and `Writer` say what is asked; `evals.score` and `evals.write` ask it of a compute path or an
engine's core. Not the metrics.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from tokenloom.engine.request import Sampling

GREEDY = Sampling(temperature=0.0)
Progress = Callable[[int, int], None]
"""Told how much is done, of how much."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A continuation to be scored after its context; neither is empty."""

    context: tuple[int, ...]
    continuation: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Scored:
    """What a model says of one pair."""

    logprobs: np.ndarray
    """(T,) float64: natural log-probability of each id of the continuation."""
    greedy: bool
    """Each id is the likeliest one at its place."""

    @property
    def total(self) -> float:
        return float(self.logprobs.sum())


@dataclass(frozen=True, slots=True)
class Answer:
    """One text a model wrote."""

    text: str
    ids: tuple[int, ...]
    """Without the id that ended it."""
    finish: str
    """stop or length"""


class Scorer(Protocol):
    """Log-probabilities of continuations."""

    @property
    def context(self) -> int:
        """Context and continuation together have at most one id more than this."""
        ...

    def score(self, pairs: Sequence[Pair], progress: Progress | None = None) -> list[Scored]:
        """In the order given. ValueError for a pair that is empty or too long."""
        ...


class Writer(Protocol):
    """Answers to prompts."""

    @property
    def context(self) -> int: ...

    def write(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        max_tokens: int,
        stop: Sequence[str] = (),
        sampling: Sampling = GREEDY,
        seed: int = 0,
        n: int = 1,
        progress: Progress | None = None,
    ) -> list[list[Answer]]:
        """n answers to each prompt, in the order given; they run together."""
        ...


class ModelFailed(RuntimeError):
    """The model could not answer; the message says why."""

"""How long a run's own measurements take, told before it starts by a forward pass that is timed.

Not the measurements (train.evaluate), and not the time of the steps (train.memory), which is reckoned from
the machine's peak: a forward pass is short enough to be tried.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch

from tokenloom.data.pack import Rows
from tokenloom.data.shards import Shards
from tokenloom.train.evaluate import batches, n_rows
from tokenloom.train.objective import NextId
from tokenloom.train.start import Parts

WARM_SECONDS = 2.0
"""A first pass shorter than this is done again: it holds what only a first one takes."""


@dataclass(frozen=True)
class Measuring:
    """What a run measures of itself, beside its steps."""

    times: int
    """How often general text is measured."""
    watched: float
    """Seconds of it, in all."""
    held_out: float
    """Seconds of the held-out sets, in all."""

    @property
    def seconds(self) -> float:
        return self.watched + self.held_out


def measuring(parts: Parts) -> Measuring:
    """The time of all evaluations of the run, and of what is measured before its first step."""
    recipe, found = parts.recipe, parts.sizes
    watched = parts.watched[0] if parts.watched else []
    if not (watched or parts.held_out):
        return Measuring(0, 0.0, 0.0)
    each = row_seconds(parts, [*watched, *parts.held_out][0])
    n = evaluations(found.steps, recipe.run.eval_every)
    size = found.context, found.rows
    general = n_rows(watched, *size, recipe.data.watch_tokens) * (n + 1)
    own = n_rows(parts.held_out, *size, recipe.run.eval_tokens) * n
    return Measuring(n + 1 if watched else 0, each * general, each * own)


def evaluations(steps: int, every: int) -> int:
    """How often a run of so many steps is evaluated: every so many (0 = never), and at its end."""
    return -(-steps // every) if every else 1


@torch.no_grad()
def row_seconds(parts: Parts, shards: Shards) -> float:
    """Seconds of a forward pass over rows of these shards, uncompiled, for each row; 0 where none is."""
    model = parts.model
    objective = NextId(model, parts.objective.dtype, parts.objective.loss_rows)
    batch = next(batches(shards, parts.sizes.context, parts.sizes.rows), None)
    if batch is None:
        return 0.0
    was = model.training
    model.eval()
    try:
        seconds = _timed(objective, batch)
        if seconds < WARM_SECONDS:
            seconds = _timed(objective, batch)
        return seconds / len(batch.ids)
    finally:
        model.train(was)


def _timed(objective: NextId, batch: Rows) -> float:
    begin = time.perf_counter()
    float(objective.loss("model", batch)[0])  # waits for the device
    return time.perf_counter() - begin

"""The learning-rate finder: a short run in which the rate grows from tiny to too much.

Not a schedule. The weights it moves are thrown away. Source: Smith 2017, arXiv:1506.01186, section 3.3; the
curve is smoothed and read as fast.ai does: where the loss falls steepest, and a tenth of where it is least.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tokenloom.train.loop import NotFinite, Trainer
from tokenloom.train.progress import TrainingBar

SMOOTH = 0.8
WORSE = 2.0
"""The search ends when the smoothed loss is this many times the best one."""


@dataclass(frozen=True)
class Found:
    """What the search saw."""

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    """Smoothed, in nats."""
    steepest: float
    """Rate at which the loss falls fastest."""
    suggested: float
    """A tenth of the rate of the least loss, or the steepest one, whichever is less."""


def find_rate(trainer: Trainer, steps: int, low: float, high: float, bar: TrainingBar) -> Found:
    """Runs up to `steps` steps with rates from `low` to `high`, each the same factor more than the last.

    Raises ValueError where the bounds are not, or where the loss was no number from the start.
    """
    if not 0 < low < high:
        raise ValueError(f"low, high: found {low:g} and {high:g}; allowed: 0 < low < high")
    if steps < 10:
        raise ValueError(f"steps: found {steps}; allowed: 10 or more")
    rates: list[float] = []
    losses: list[float] = []
    mean = best = math.inf
    for i in range(steps):
        rate = low * (high / low) ** (i / (steps - 1))
        try:
            step = trainer.step(rate)
        except NotFinite:
            break
        mean = step.loss if not losses else SMOOTH * mean + (1 - SMOOTH) * step.loss
        best = min(best, mean)
        rates.append(rate)
        losses.append(mean)
        bar.update(i + 1, mean, trainer.sizes.batch_tokens / step.seconds)
        if mean > WORSE * best:
            break
    if len(rates) < 3:
        raise ValueError(f"low: found {low:g}; the loss is no number at this rate already")
    return Found(tuple(rates), tuple(losses), *_read(rates, losses))


def _read(rates: Sequence[float], losses: Sequence[float]) -> tuple[float, float]:
    """(steepest, suggested)."""
    least = min(range(len(losses)), key=losses.__getitem__)
    slopes = [losses[i + 1] - losses[i - 1] for i in range(1, max(2, least))]
    steepest = rates[1 + min(range(len(slopes)), key=slopes.__getitem__)]
    return steepest, min(steepest, rates[least] / 10)

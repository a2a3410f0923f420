"""Confidence intervals by the bootstrap: how far a score would move on other documents of the same kind.

Not significance between two models. Source: Efron and Tibshirani 1993, "An Introduction to the Bootstrap",
chapter 13 (percentile intervals).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

RESAMPLES = 1000
LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class Interval:
    """A score and where it would lie on other samples; low and high are None for fewer than two items."""

    value: float
    low: float | None = None
    high: float | None = None
    level: float = LEVEL
    n: int = 0
    """Items (documents, answers) it is of."""

    def __str__(self) -> str:
        if self.low is None or self.high is None:
            return f"{self.value:.4g}"
        return f"{self.value:.4g} [{self.low:.4g}, {self.high:.4g}]"

    def facts(self) -> dict[str, float | int | None]:
        """As JSON holds it."""
        return {"value": self.value, "low": self.low, "high": self.high, "level": self.level, "n": self.n}


def ratio(
    above: Sequence[float] | np.ndarray,
    below: Sequence[float] | np.ndarray,
    *,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
    seed: int = 0,
) -> Interval:
    """sum(above) / sum(below) of items that are drawn anew together.

    above, below (N,): per item, such as bits and bytes of a document. ValueError where they differ in length,
    are empty, or below sums to 0.
    """
    top, base = np.asarray(above, np.float64), np.asarray(below, np.float64)
    if top.shape != base.shape or top.ndim != 1:
        raise ValueError(f"above and below: found {top.shape} and {base.shape}; need one number an item each")
    if not len(top) or base.sum() <= 0:
        raise ValueError("items: found nothing to score; needs at least one item that is not empty")
    _check(resamples, level)
    value = float(top.sum() / base.sum())
    if len(top) < 2:
        return Interval(value, level=level, n=len(top))
    random = np.random.default_rng(seed)
    drawn = np.empty(resamples)
    for at in range(resamples):
        times = np.bincount(random.integers(0, len(top), len(top)), minlength=len(top))
        weight = float(base @ times)
        drawn[at] = float(top @ times) / weight if weight > 0 else value
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value, float(low), float(high), level, len(top))


def mean(
    values: Sequence[float] | np.ndarray,
    *,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
    seed: int = 0,
) -> Interval:
    """The mean of (N,) numbers, one an item."""
    return ratio(values, np.ones(len(values)), resamples=resamples, level=level, seed=seed)


def from_error(value: float, error: float | None, n: int, level: float = LEVEL) -> Interval:
    """value +- z * error of a stated standard error; no bounds where there is none."""
    from statistics import NormalDist

    _check(1, level)
    if error is None or not np.isfinite(error):
        return Interval(value, level=level, n=n)
    reach = NormalDist().inv_cdf((1 + level) / 2) * error
    return Interval(value, value - reach, value + reach, level, n)


def _check(resamples: int, level: float) -> None:
    if resamples < 1:
        raise ValueError(f"resamples: found {resamples}; allowed: 1 or more")
    if not 0 < level < 1:
        raise ValueError(f"level: found {level}; allowed: between 0 and 1")

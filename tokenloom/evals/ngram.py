"""An n-gram model over token ids: interpolated modified Kneser-Ney, the baseline a Transformer must beat.

Not a model to serve, and not on disk: it is counted from the shards in a minute (24 M ids, order 5) and kept
as sorted arrays. A document's beginning is a mark of its own, repeated, that is never predicted. n-grams that
start with it keep their counts in the lower orders, all others are counted there by how many different ids
stand before them. Below the unigrams all ids are equally likely, so nothing has probability 0.
Source: Chen & Goodman 1999, "An empirical study of smoothing techniques", section 4.1.6 and equation 17.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

LEVELS = 3
"""Discounts are told apart for the counts 1, 2, and 3 and more."""


@dataclass(frozen=True, slots=True)
class Order:
    """All n-grams of one length. n-grams are numbered in the order of their keys."""

    keys: np.ndarray
    """Sorted int64: the number of the n-gram without its last id, times (V + 1), plus the last id."""
    counts: np.ndarray
    """int32: as they come in the highest order, else by different ids before; 0 where a mark stands last."""
    discounts: tuple[float, ...]
    """By the count: 0, D1, D2, D3+."""
    totals: np.ndarray
    """float64, by context: the sum of the counts of what follows it."""
    kept_back: np.ndarray
    """float64, by context: the share that the discounts leave for the lower order."""


class KneserNey:
    """Counted once by `count`, then asked for probabilities."""

    def __init__(self, orders: Sequence[Order], vocab_size: int) -> None:
        self.orders = tuple(orders)
        self.vocab_size = vocab_size

    @property
    def n(self) -> int:
        """The length of the longest n-grams."""
        return len(self.orders)

    def score(self, documents: Sequence[np.ndarray]) -> list[np.ndarray]:
        """For each document (T,) the natural logarithm of each id's probability given those before it."""
        if not documents:
            return []
        flat, real = _padded(documents, self.n, self.vocab_size)
        logs = np.log(self._probabilities(flat, real))
        ends = np.cumsum([len(document) for document in documents])
        return np.split(logs, ends[:-1])

    def distribution(self, history: Sequence[int]) -> np.ndarray:
        """The probabilities of all ids after a document's first ids. (V,) float64; they sum to 1."""
        words = np.arange(self.vocab_size)
        before = np.asarray(history, dtype=np.int64)
        rows = [np.append(before, word) for word in words]
        return np.exp([found[-1] for found in self.score(rows)])

    def _probabilities(self, flat: np.ndarray, real: np.ndarray) -> np.ndarray:
        """The probability of each id in its place; flat has the marks in front of each document."""
        wide = self.vocab_size + 1
        found = np.full(flat.shape, 1.0 / self.vocab_size)
        numbers = np.zeros(flat.shape, dtype=np.int64)  # of the n-gram of the last order that ends here
        for order in self.orders:
            context = np.roll(numbers, 1)
            context[0] = -1 if len(self.orders) > 1 and order is not self.orders[0] else 0
            keys = np.where(context < 0, -1, context * wide + flat)
            places = np.searchsorted(order.keys, keys)
            places[places == len(order.keys)] = 0
            numbers = np.where((keys >= 0) & (order.keys[places] == keys), places, -1)
            counts = np.where(numbers < 0, 0, order.counts[numbers])
            known = np.maximum(context, 0)
            totals = np.where(context < 0, 0.0, order.totals[known])
            discounts = np.asarray(order.discounts)[np.minimum(counts, LEVELS)]
            with np.errstate(divide="ignore", invalid="ignore"):
                mixed = (counts - discounts) / totals + order.kept_back[known] * found
            found = np.where(totals > 0, mixed, found)
        return found[real]


def count(
    documents: Sequence[np.ndarray],
    vocab_size: int,
    n: int = 5,
    fallback: tuple[float, float, float] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> KneserNey:
    """The model of these documents, each an array of ids below vocab_size.

    fallback: the discounts of an order that has too few n-grams to tell them from, such as (0.5, 1.0, 1.5);
    without it such an order is a ValueError.
    """
    if n < 1:
        raise ValueError(f"n: found {n}; allowed: 1 and more")
    if not documents:
        raise ValueError("documents: found none; allowed: at least one")
    flat, real = _padded(documents, n, vocab_size)
    numbers = np.zeros(flat.shape, dtype=np.int64)
    tables: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []  # keys, how often, one place
    suffixes: list[np.ndarray] = []
    for length in range(1, n + 1):
        if progress:
            progress(length - 1, n)
        shorter = numbers
        context = np.roll(numbers, 1)
        if length > 1:
            context[0] = 0
        keys, places, numbers, times = np.unique(
            context * (vocab_size + 1) + flat, return_index=True, return_inverse=True, return_counts=True
        )
        tables.append((keys, np.where(real[places], times, 0), places))
        suffixes.append(shorter[places])
    orders = []
    for index, (keys, times, places) in enumerate(tables):
        counts = times
        if index + 1 < n:
            inside = np.flatnonzero(tables[index + 1][1])
            kinds = np.bincount(suffixes[index + 1][inside], minlength=len(keys))
            marked = flat[np.maximum(places - index, 0)] == vocab_size
            counts = np.where(marked, times, kinds)
        discounts = discounts_of(counts, index + 1, fallback)
        orders.append(_order(keys, counts, vocab_size, discounts, len(tables[index - 1][0]) if index else 1))
    return KneserNey(orders, vocab_size)


def _order(
    keys: np.ndarray, counts: np.ndarray, vocab_size: int, discounts: tuple[float, ...], n_contexts: int
) -> Order:
    contexts = keys // (vocab_size + 1)
    totals = np.bincount(contexts, weights=counts, minlength=n_contexts)
    taken = np.asarray(discounts)[np.minimum(counts, LEVELS)]
    left = np.bincount(contexts, weights=taken, minlength=n_contexts)
    with np.errstate(invalid="ignore"):
        kept_back = np.where(totals > 0, left / totals, 0.0)
    return Order(keys, counts.astype(np.int32), discounts, totals, kept_back)


def discounts_of(
    counts: np.ndarray, length: int, fallback: tuple[float, float, float] | None = None
) -> tuple[float, ...]:
    """0, D1, D2, D3+ from how many n-grams were seen once, twice, three and four times (equation 17).

    Where few n-grams make one less than 0, or more than the count, it is that bound.
    """
    n1, n2, n3, n4 = (int((counts == times).sum()) for times in (1, 2, 3, 4))
    if not n1 or not n2 or not n3:
        if fallback is not None:
            return 0.0, *fallback
        raise ValueError(
            f"documents: found {n1}, {n2} and {n3} n-grams of length {length} seen once, twice, three times; "
            "allowed: some of each, from which the discounts are told: more text, a smaller n, or "
            "fallback=(0.5, 1.0, 1.5)"
        )
    share = n1 / (n1 + 2 * n2)
    told = (1 - 2 * share * n2 / n1, 2 - 3 * share * n3 / n2, 3 - 4 * share * n4 / n3)
    return 0.0, *(min(max(discount, 0.0), times) for times, discount in enumerate(told, 1))


def _padded(documents: Sequence[np.ndarray], n: int, vocab_size: int) -> tuple[np.ndarray, np.ndarray]:
    """All documents in one array, n marks in front of each; and where the ids themselves stand."""
    lengths = np.array([len(document) for document in documents])
    ids = np.concatenate([np.asarray(document, dtype=np.int64) for document in documents])
    if ids.size and not 0 <= int(ids.min()) <= int(ids.max()) < vocab_size:
        raise ValueError(f"documents: found id {int(ids.max())}; allowed: 0 to {vocab_size - 1}")
    pads = max(n - 1, 1)
    flat = np.full(ids.size + pads * len(documents), vocab_size, dtype=np.int64)
    places = np.arange(ids.size) + np.repeat(np.arange(1, len(documents) + 1) * pads, lengths)
    flat[places] = ids
    real = np.zeros(flat.shape, dtype=bool)
    real[places] = True
    return flat, real

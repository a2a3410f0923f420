"""A model made of a hash: its logits depend on every id in the slot's cache, so any mix-up shows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tokenloom.step import Row

MASK = (1 << 64) - 1
State = int


def state(adapter: str | None) -> State:
    return 1 if adapter is None else 1 + sum(map(ord, adapter))


def feed(at: State, id: int) -> State:
    return ((at ^ (id + 1)) * 0x9E3779B97F4A7C15 + 0x1234567) & MASK


def logits(at: State, vocab: int) -> np.ndarray:
    """(vocab,) float32, spread over about 6."""
    with np.errstate(over="ignore"):
        x = (np.arange(1, vocab + 1, dtype=np.uint64) * np.uint64(0xD1342543DE82EF95)) ^ np.uint64(at)
        x = (x ^ (x >> np.uint64(31))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(29))) * np.uint64(0x94D049BB133111EB)
    return ((x >> np.uint64(40)).astype(np.float64) * (6 / (1 << 24))).astype(np.float32)


def logits_after(
    ids: Sequence[int], vocab: int, adapter: str | None = None, habit: float = 0.0
) -> np.ndarray:
    at = state(adapter)
    for i in ids:
        at = feed(at, i)
    out = logits(at, vocab)
    out[(ids[-1] + 1) % vocab] += np.float32(habit)
    return out


class FakeStep:
    """A `step.Step`. `poison` is an id after which the logits are NaN, `habit` makes the next id likely."""

    bytes_per_token = 1

    def __init__(
        self,
        n_slots: int = 4,
        context: int = 64,
        vocab_size: int = 24,
        poison: int = -1,
        habit: float = 0.0,
    ) -> None:
        self.habit = np.float32(habit)
        self.n_slots, self.context, self.vocab_size, self.poison = n_slots, context, vocab_size, poison
        self.cache: list[list[State]] = [[] for _ in range(n_slots)]
        self.runs: list[list[Row]] = []
        self.copied = 0

    def run(self, rows: Sequence[Row]) -> list[np.ndarray | None]:
        assert rows
        assert len({row.slot for row in rows}) == len(rows)
        self.runs.append(list(rows))
        return [self._row(row) for row in rows]

    def _row(self, row: Row) -> np.ndarray | None:
        held = self.cache[row.slot]
        assert row.start <= len(held), "positions before start were never written"
        assert row.ids
        assert row.start + len(row.ids) <= self.context
        del held[row.start :]
        at = held[-1] if held else state(row.adapter)
        for i in row.ids:
            assert 0 <= i < self.vocab_size
            at = feed(at, i)
            held.append(at)
        if not row.want:
            return None
        out = np.stack([logits(at, self.vocab_size) for at in held[len(held) - row.want :]])
        for at, i in enumerate(row.ids[len(row.ids) - row.want :]):
            out[at, (i + 1) % self.vocab_size] += self.habit
            if i == self.poison:
                out[at, 3] = np.nan
        if row.allowed is not None:
            out = np.concatenate([out[:, start:stop] for start, stop in row.allowed], axis=1)
        return out

    def copy(self, source: int, target: int, length: int) -> None:
        assert source != target
        assert 0 < length <= len(self.cache[source])
        self.cache[target] = self.cache[source][:length]
        self.copied += length

    def park(self, slot: int, length: int) -> list[State]:
        assert 0 < length <= len(self.cache[slot])
        return self.cache[slot][:length]

    def unpark(self, parked: list[State], slot: int) -> None:
        self.cache[slot] = list(parked)

    def release(self, slot: int) -> None:
        self.cache[slot] = []

    def close(self) -> None:
        self.cache = []

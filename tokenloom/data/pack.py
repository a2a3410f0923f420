"""Documents of shards -> rows of ids for training and evaluation.

Not a loader with workers: a batch is a pure function of (seed, step), so to resume one needs the step alone.
Documents longer than a row are cut into pieces; a piece's last target is the next piece's first id, so every
target is learned once. Pieces are put into rows by best-fit decreasing, so that hardly any is cut and hardly
any place is left empty. Source: Ding et al. 2024, "Fewer Truncations Improve Language Modeling",
arXiv:2404.10830, section 3.

    row        a  a  a  a  b  b  b  .      context = 8, documents a and b, one place left
    targets    a  a  a  -  b  b  -  -      - is -100: the last id of a document has no target
    documents  0  0  0  0  1  1  1  2
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from tokenloom.data.shards import Shards

IGNORED = -100
"""The target of a place where nothing is learned, as in PyTorch's cross entropy."""
CYCLE = 10_000
"""Rows after which the mixture's schedule repeats: its shares are exact to one in so many."""
Segments = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""Row (from 0), column, place in the shards and length of pieces, in order of rows and columns."""


@dataclass(frozen=True)
class Rows:
    """A batch: B rows of T places."""

    ids: np.ndarray
    """int64 (B, T); 0 where there is nothing."""
    targets: np.ndarray
    """int64 (B, T): the id that follows; -100 = not learned (padding, masked, behind a document's end)."""
    documents: np.ndarray
    """int64 (B, T): number of the document within its row; padding is a document of its own."""


# N documents, P pieces, B rows, T places of a row (context)
@dataclass(frozen=True)
class Pieces:
    """Documents cut to at most T ids each; those of a single id are left out, as they have no target."""

    places: np.ndarray
    """int64 (P,): where each starts in the shards."""
    lengths: np.ndarray
    """int64 (P,): 1 to T ids."""


def pieces_of(shards: Shards, context: int, documents: np.ndarray | None = None) -> Pieces:
    """The pieces of all documents, or of some, in order.

    A document of L ids has L - 1 targets; piece k holds its ids from k * context on. A last piece that would
    hold the last id alone, which has no target, is left out.
    """
    starts, lengths = shards.starts, shards.lengths
    if documents is not None:
        starts, lengths = starts[documents], lengths[documents]
    counts = (lengths - 2) // context + 1  # L = 1 gives 0
    total = int(counts.sum())
    number = np.arange(total) - np.repeat(np.cumsum(counts) - counts, counts)
    begun = number * context
    places = np.repeat(starts, counts) + begun
    return Pieces(places, np.minimum(np.repeat(lengths, counts) - begun, context))


def best_fit(lengths: np.ndarray, context: int, order: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """Best-fit decreasing: each piece goes into the fullest row that has room for it, longest pieces first.

    lengths (P,), 1 to context; order (P,): a permutation that decides among pieces of one length. Returns the
    row and the column of each piece and the number of rows, which depends on the lengths alone. Rows with the
    same room are treated at once, so the time is that of a sort.
    """
    rows, columns = np.empty_like(lengths), np.empty_like(lengths)
    sorted_ = order[np.argsort(-lengths[order], kind="stable")]
    sizes, counts = np.unique(lengths, return_counts=True)
    free: dict[int, list[np.ndarray]] = {}  # room -> rows that have it
    n_rows = done = 0
    for size, count in zip(sizes[::-1].tolist(), counts[::-1].tolist(), strict=True):
        left = sorted_[done : done + count]
        done += count
        for room in [*sorted(r for r in free if r >= size), None]:
            if not left.size:
                break
            # A row that took a piece is the fullest that fits the next one: it takes all it can.
            each = (context if room is None else room) // size
            if room is None:
                room, here = context, np.arange(n_rows, n_rows - (-left.size // each))
                n_rows += here.size
            else:
                here = np.concatenate(free.pop(room))
            placed, left = left[: here.size * each], left[here.size * each :]
            nth = np.arange(placed.size)
            rows[placed] = here[nth // each]
            columns[placed] = context - room + nth % each * size
            full, rest = divmod(placed.size, each)
            for part, room_left in (
                (here[:full], room - each * size),
                (here[full : full + 1] if rest else here[:0], room - rest * size),
                (here[full + bool(rest) :], room),
            ):
                if part.size and room_left:
                    free.setdefault(room_left, []).append(part)
    return rows, columns, n_rows


def in_order(lengths: np.ndarray, context: int) -> tuple[np.ndarray, np.ndarray, int]:
    """As `best_fit`, but pieces stay in their order: a row is ended by the first that does not fit."""
    ends = np.cumsum(lengths)
    rows, columns = np.empty_like(lengths), ends - lengths
    at = n_rows = 0
    while at < lengths.size:
        before = int(columns[at])
        stop = int(np.searchsorted(ends, before + context, side="right"))
        rows[at:stop] = n_rows
        columns[at:stop] -= before
        at, n_rows = stop, n_rows + 1
    return rows, columns, n_rows


class _Source:
    """One set of shards as an endless sequence of rows, shuffled anew in each epoch."""

    def __init__(self, shards: Shards, context: int, seed: int, pack: bool) -> None:
        self.shards, self._context, self._seed, self._pack = shards, context, seed, pack
        self._pieces = pieces_of(shards, context)
        n = self._pieces.lengths.size
        if not n:
            raise ValueError(f"shards: {shards.folder} has no document of two ids or more: nothing to learn")
        self.n_tokens = int(self._pieces.lengths.sum())
        self._plans: dict[int, tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]] = {}
        self.n_rows = self._plan(0)[0].size - 1

    def _plan(self, epoch: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Borders of rows (n_rows + 1,), then place, length and column of each piece in order of rows."""
        if epoch not in self._plans:
            places, lengths = self._pieces.places, self._pieces.lengths
            order = shuffled(lengths.size, self._seed, epoch, 0)
            if self._pack:
                rows, columns, n_rows = best_fit(lengths, self._context, order)
                rows = shuffled(n_rows, self._seed, epoch, 1)[rows]
            else:
                rows, columns, n_rows = order, np.zeros_like(lengths), lengths.size
            sorted_ = np.lexsort((columns, rows))
            borders = np.searchsorted(rows[sorted_], np.arange(n_rows + 1))
            while len(self._plans) > 1:  # this epoch's and the last one's are enough at a border
                del self._plans[next(iter(self._plans))]
            self._plans[epoch] = borders, places[sorted_], lengths[sorted_], columns[sorted_]
        return self._plans[epoch]

    def row(self, number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Columns, places and lengths of the pieces of a row."""
        epoch, at = divmod(number, self.n_rows)
        borders, places, lengths, columns = self._plan(epoch)
        part = slice(int(borders[at]), int(borders[at + 1]))
        return columns[part], places[part], lengths[part]


class Batches:
    """Batches without end from one set of shards, or several mixed by weight."""

    def __init__(
        self,
        shards: Sequence[tuple[Shards, float]],
        *,
        context: int,
        rows: int,
        seed: int,
        pack: bool = True,
    ) -> None:
        """shards: sets with their weights, the shares of rows they give. context: T. rows: B.
        pack: several documents in a row; without, one piece of a document a row, the rest empty."""
        _check_sizes(context, rows)
        if not shards:
            raise ValueError("shards: found none; allowed: at least one set")
        _check_same(shards)
        self.context, self.rows, self.seed = context, rows, seed
        self._sources = [_Source(s, context, _mix(seed, i), pack) for i, (s, _) in enumerate(shards)]
        self._schedule, self._before = _schedule([weight for _, weight in shards], seed)

    @property
    def n_rows(self) -> int:
        """Rows that hold every document of every set once."""
        return sum(source.n_rows for source in self._sources)

    @property
    def tokens_per_epoch(self) -> int:
        """Ids in those rows, padding not counted."""
        return sum(source.n_tokens for source in self._sources)

    @property
    def n_documents(self) -> int:
        """Documents of all sets."""
        return sum(source.shards.n_documents for source in self._sources)

    @property
    def filled(self) -> float:
        """Share of the places of those rows that hold an id."""
        return self.tokens_per_epoch / (self.n_rows * self.context)

    def batch(self, step: int) -> Rows:
        """The batch of a step, from 0 on; the same for the same seed and step."""
        if step < 0:
            raise ValueError(f"step: found {step}; allowed: 0 and more")
        numbers = np.arange(step * self.rows, (step + 1) * self.rows)
        made = _empty(self.rows, self.context)
        which = self._schedule[numbers % CYCLE]
        for index, source in enumerate(self._sources):
            mine = np.flatnonzero(which == index)
            if mine.size:
                before = self._before[index]
                nth = numbers[mine] // CYCLE * before[-1] + before[numbers[mine] % CYCLE]
                parts = [source.row(int(n)) for n in nth]
                counts = [columns.size for columns, _, _ in parts]
                columns, places, lengths = (np.concatenate(x) for x in zip(*parts, strict=True))
                _fill(made, source.shards, (np.repeat(mine, counts), columns, places, lengths))
        return made


def sequential(
    shards: Shards, context: int, rows: int, documents: np.ndarray | None = None
) -> Iterator[Rows]:
    """Every document once, in order, for evaluation; the last batch may have fewer rows.

    documents: numbers of those to take; None: all.
    """
    _check_sizes(context, rows)
    pieces = pieces_of(shards, context, documents)
    at, columns, n_rows = in_order(pieces.lengths, context)
    for first in range(0, n_rows, rows):
        part = slice(*np.searchsorted(at, [first, first + rows]).tolist())
        made = _empty(min(rows, n_rows - first), context)
        _fill(made, shards, (at[part] - first, columns[part], pieces.places[part], pieces.lengths[part]))
        yield made


def _check_sizes(context: int, rows: int) -> None:
    for name, value in (("context", context), ("rows", rows)):
        if value < 1:
            raise ValueError(f"{name}: found {value}; allowed: 1 and more")


def _check_same(shards: Sequence[tuple[Shards, float]]) -> None:
    first = shards[0][0]
    for other, _ in shards[1:]:
        if other.tokenizer_hash != first.tokenizer_hash:
            raise ValueError(
                f"shards: {other.folder} is of the tokenizer {other.tokenizer_hash[:12]}..., {first.folder} "
                f"of {first.tokenizer_hash[:12]}...; allowed: one tokenizer for all"
            )


def _empty(rows: int, context: int) -> Rows:
    shape = (rows, context)
    return Rows(np.zeros(shape, np.int64), np.full(shape, IGNORED, np.int64), np.zeros(shape, np.int64))


def _fill(made: Rows, shards: Shards, segments: Segments) -> None:
    """Writes pieces, in order of rows and columns, into their rows; the rest of such a row is padding."""
    rows, columns, places, lengths = segments
    _, firsts, counts = np.unique(rows, return_index=True, return_counts=True)
    nth = np.arange(rows.size) - np.repeat(firsts, counts)  # number of the piece within its row
    made.documents[rows[firsts]] = counts[:, None]
    within = np.arange(int(lengths.sum())) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    where = np.repeat(rows, lengths), np.repeat(columns, lengths) + within
    source = np.repeat(places, lengths) + within
    made.ids[where] = shards.take(source)
    made.documents[where] = np.repeat(nth, lengths)
    document = np.searchsorted(shards.starts, places, side="right") - 1
    ends = shards.starts[document] + shards.lengths[document]
    learned = source + 1 < np.repeat(ends, lengths)
    following = source[learned] + 1
    targets = shards.take(following)
    if shards.masked:
        targets = np.where(shards.take_learned(following), targets, IGNORED)
    made.targets[where[0][learned], where[1][learned]] = targets


def _schedule(weights: Sequence[float], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Which set gives each row of a cycle, spread evenly; and how many rows of each set come before.

    Returns (CYCLE,) and (sets, CYCLE + 1).
    """
    if not all(np.isfinite(w) and w > 0 for w in weights):
        raise ValueError(f"weights: found {list(weights)}; allowed: numbers above 0")
    exact = np.array(weights, dtype=np.float64) / sum(weights) * CYCLE
    counts = np.floor(exact).astype(np.int64)
    counts[np.argsort(counts - exact, kind="stable")[: CYCLE - int(counts.sum())]] += 1
    if not counts.all():
        raise ValueError(f"weights: found {list(weights)}; allowed: none below 1/{CYCLE} of their sum")
    sets = np.repeat(np.arange(counts.size), counts)
    nth = np.arange(CYCLE) - np.repeat(np.cumsum(counts) - counts, counts)
    jitter = _noise(CYCLE, _mix(seed, 0xC1C1E)) / 2.0**64
    schedule = sets[np.argsort((nth + jitter) / counts[sets], kind="stable")]
    before = np.zeros((counts.size, CYCLE + 1), dtype=np.int64)
    for index in range(counts.size):
        before[index, 1:] = np.cumsum(schedule == index)
    return schedule, before


def shuffled(n: int, *key: int) -> np.ndarray:
    """A permutation of n numbers, int64, that depends on the key alone: not on numpy's version or machine."""
    seed = 0
    for part in key:
        seed = _mix(seed, part)
    return np.argsort(_noise(n, seed), kind="stable")


_ODD = 0x9E3779B97F4A7C15
_WORD = (1 << 64) - 1


def _mix(seed: int, part: int) -> int:
    """A seed from a seed and a number."""
    value = (seed * 0xD1342543DE82EF95 + part * _ODD + 1) & _WORD
    return int(_noise(1, value)[0])


def _noise(n: int, seed: int) -> np.ndarray:
    """n random uint64, SplitMix64 (Steele, Lea and Flood 2014, doi:10.1145/2660193.2660195)."""
    with np.errstate(over="ignore"):
        z = (np.arange(1, n + 1, dtype=np.uint64)) * np.uint64(_ODD) + np.uint64(seed & _WORD)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))

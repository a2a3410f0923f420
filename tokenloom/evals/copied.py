"""Memorisation: the longest run of characters of each answer that stands, letter for letter, in the training
texts.

Not near-copies, and not whether copying was wrong: a proverb is copied rightly. Every L-gram of the answers
is looked for among the L-grams of a block of texts by a hash that slides (Karp and Rabin 1987). An L-gram is
found only where its beginnings are, so that the longest is found by halving, and long ones are looked for
only where short ones were found. A hit counts when the letters are the same, not the hashes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

BLOCK = 1 << 22
"""Characters of training text looked at together; 8 bytes each are held four times."""
_BASE = np.uint64(0x9E3779B97F4A7C15 | 1)
_INVERSE = np.uint64(pow(int(_BASE), -1, 1 << 64))
_BETWEEN = 0x110000
"""Stands between two texts: no character has this number."""
_TABLE_BITS = 23
_SHORTEST = 8
"""Grams from this length on are looked for only where shorter ones were found."""
Array = np.ndarray


@dataclass(frozen=True, slots=True)
class Run:
    """The longest run of one answer that the training texts hold."""

    length: int
    """In characters; 0 where no character of it occurs."""
    text: str
    answer: int
    start: int
    """Where in the answer it begins."""
    source: str
    """Which training text holds it."""


@dataclass
class _Best:
    """What was found of one answer so far."""

    length: int = 0
    start: int = 0
    source: str = ""


def longest_runs(
    answers: Sequence[str], texts: Iterable[tuple[str, str]], *, block: int = BLOCK
) -> list[Run]:
    """For each answer its longest verbatim run.

    texts: (name, text) of the training set, gone through once; a run lies within one text. block: characters
    looked at together, which bounds memory. ValueError where there is no text.
    """
    if block < 1:
        raise ValueError(f"block: found {block}; allowed: 1 or more")
    best = [_Best() for _ in answers]
    codes = [_codes(answer) for answer in answers]
    hashes = [_Hashes(code) for code in codes]
    seen = False
    for part in _blocks(texts, block):
        seen = True
        _look(codes, hashes, best, _Block(part, hashes))
    if not seen:
        raise ValueError("texts: found none; needs one training text or more")
    return [
        Run(one.length, answer[one.start : one.start + one.length], at, one.start, one.source)
        for at, (one, answer) in enumerate(zip(best, answers, strict=True))
    ]


def _blocks(texts: Iterable[tuple[str, str]], size: int) -> Iterator[list[tuple[str, str]]]:
    """Whole texts, about `size` characters together."""
    part: list[tuple[str, str]] = []
    held = 0
    for name, text in texts:
        part.append((name, text))
        held += len(text)
        if held >= size:
            yield part
            part, held = [], 0
    if part:
        yield part


class _Block:
    """Some training texts side by side, and the hashes of their L-grams."""

    def __init__(self, texts: Sequence[tuple[str, str]], answers: Sequence[_Hashes]) -> None:
        self.names = [name for name, _ in texts]
        gap = np.array([_BETWEEN], np.uint32)
        self.codes = np.concatenate([part for _, text in texts for part in (_codes(text), gap)])
        self.ends = np.cumsum([len(text) + 1 for _, text in texts])
        self._hashes = _Hashes(self.codes)
        self._answers = answers
        self._table = np.zeros(1 << _TABLE_BITS, bool)
        self._near: dict[int, Array] = {}

    def holders(self, length: int, wanted: Array) -> tuple[Array, Array]:
        """Which of the hashes `wanted` (ascending, each once) L-grams here have: (their indices, where)."""
        return self._search(length, wanted, self._places(length))

    def name(self, place: int) -> str:
        return self.names[int(np.searchsorted(self.ends, place, side="right"))]

    def _places(self, length: int) -> Array | None:
        """Where an L-gram of any answer may begin: where one half as long or more does; None = anywhere."""
        if length < _SHORTEST:
            return None
        level = 1 << (length.bit_length() - 1)
        if level not in self._near:
            wanted = np.unique(np.concatenate([answer.of(level) for answer in self._answers]))
            self._near[level] = self._search(level, wanted, self._places(level - 1))[1]
        return self._near[level]

    def _search(self, length: int, wanted: Array, places: Array | None) -> tuple[Array, Array]:
        own = self._hashes.of(length, places)
        short = _short(wanted)
        self._table[short] = True
        near = np.flatnonzero(self._table[_short(own)])
        self._table[short] = False
        found = own[near]
        at = np.searchsorted(wanted, found)
        at[at == len(wanted)] = 0
        same = wanted[at] == found
        near = near[same]
        return at[same], near if places is None else places[near]


class _Hashes:
    """Hashes of all L-grams of codes (N,), for any L: sums of letters times powers of a base, modulo 2^64."""

    def __init__(self, codes: Array) -> None:
        letters = _mixed(codes.astype(np.uint64))
        self._sums = np.zeros(len(codes) + 1, np.uint64)
        np.cumsum(letters * _powers(_BASE, len(codes)), out=self._sums[1:])
        self._back = _powers(_INVERSE, len(codes))

    def of(self, length: int, places: Array | None = None) -> Array:
        """(N - length + 1,), empty where there is none that long; or of the L-grams at these places that are
        not cut off at the end."""
        n = max(0, len(self._sums) - length)
        if places is None:
            return (self._sums[length : length + n] - self._sums[:n]) * self._back[:n]
        places = places[: int(np.searchsorted(places, n))]
        return (self._sums[places + length] - self._sums[places]) * self._back[places]


def _look(codes: Sequence[Array], hashes: Sequence[_Hashes], best: Sequence[_Best], block: _Block) -> None:
    """Lengthens what was found by what this block holds."""
    # First one more than known, then twice that further, until it fails; then halving. All answers together:
    # those that ask for one length share a pass.
    low = [one.length for one in best]
    high: list[int | None] = [None] * len(codes)
    reach = [1] * len(codes)
    while True:
        asks: dict[int, list[int]] = {}
        for at, code in enumerate(codes):
            length = _next(low[at], high[at], reach[at], len(code))
            if length is not None:
                asks.setdefault(length, []).append(at)
        if not asks:
            return
        for length, group in asks.items():
            held = _held(length, [(at, codes[at], hashes[at]) for at in group], block)
            for at in group:
                if at in held:
                    start, place = held[at]
                    low[at], reach[at] = length, reach[at] * 2
                    best[at].length, best[at].start, best[at].source = length, start, block.name(place)
                else:
                    high[at] = length


def _next(low: int, high: int | None, reach: int, size: int) -> int | None:
    """The next length to ask for; None when the longest is known. `high` is too long."""
    most = size if high is None else high - 1
    if low >= most:
        return None
    return min(low + reach, most) if high is None else (low + high) // 2


def _held(
    length: int, asked: Sequence[tuple[int, Array, _Hashes]], block: _Block
) -> dict[int, tuple[int, int]]:
    """Answers with an L-gram in the block: number -> (start in the answer, place in the block)."""
    own = [hashes.of(length) for _, _, hashes in asked]
    numbers = np.repeat(np.arange(len(asked)), [len(h) for h in own])
    starts = np.concatenate([np.arange(len(h)) for h in own])
    wanted, back = np.unique(np.concatenate(own), return_inverse=True)
    at, places = block.holders(length, wanted)
    place_of = np.full(len(wanted), -1, np.int64)
    place_of[at] = places
    out: dict[int, tuple[int, int]] = {}
    for hit in np.flatnonzero(place_of[back] >= 0):
        number, code, _ = asked[numbers[hit]]
        if number in out:
            continue
        start, place = int(starts[hit]), int(place_of[back[hit]])
        if np.array_equal(code[start : start + length], block.codes[place : place + length]):
            out[number] = (start, place)
    return out


def _codes(text: str) -> Array:
    """(N,) the characters' numbers."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)


def _mixed(values: Array) -> Array:
    """Numbers spread over 64 bits, odd (splitmix64's finish)."""
    values = (values + np.uint64(1)) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return (values ^ (values >> np.uint64(31))) | np.uint64(1)


def _powers(base: np.uint64, n: int) -> Array:
    """1, base, base^2, ... (n,) modulo 2^64."""
    out = np.full(max(n, 1), base, np.uint64)
    out[0] = 1
    return np.cumprod(out)[:n]


def _short(hashes: Array) -> Array:
    """The upper bits: the lower ones of a sum modulo 2^64 say little."""
    return (hashes >> np.uint64(64 - _TABLE_BITS)).astype(np.intp)

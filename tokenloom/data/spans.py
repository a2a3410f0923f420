"""A text cut into words, as arrays: where each lies and a 64-bit hash of it. Not a tokenizer for a model.

English words are what stands between spaces; a Han character and a Chinese punctuation mark are each a
word of their own, so one rule serves both languages and mixtures of them. All is done on arrays of code
points: the rules that count, compare and look up words run many times faster than on lists of strings
(`loom bench` measures them).

Hashes are the same on every machine and in every process (Python's own are not): a polynomial modulo 2**64
over mixed code points, Karp and Rabin 1987, finished by splitmix64 (Steele et al. 2014).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np
import numpy.typing as npt

U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

SPACE, LETTER, HAN, MARK, WIDE_MARK = range(5)
"""Classes of code points: white space, letters and digits, Han, other marks, Chinese punctuation."""
TABLE = 0x40000
"""Code points from here on are private or unassigned planes; they share the last entry, a mark."""
BASE = np.uint64(0x9E3779B97F4A7C15 | 1)
STEP = np.uint64(0xD1B54A32D192ED03)
HELD = 1 << 18
"""Texts up to this many characters share one table of powers; for longer ones it is made each time."""


@dataclass(frozen=True, slots=True)
class Spans:
    """N words of a text: hash, first character, character after the last."""

    hashes: U64
    starts: I64
    ends: I64
    alpha: Mask
    """True where a word holds a letter."""
    solid: Mask
    """True where a word holds a letter or digit, that is, where it is more than punctuation."""
    n_han: int
    n_letters: int
    """Letters and digits of all scripts, Han among them."""

    @property
    def han_share(self) -> float:
        """Han characters among all letters and digits, 0..1."""
        return self.n_han / self.n_letters if self.n_letters else 0.0


@lru_cache(maxsize=2)
def words(text: str) -> Spans:
    """The words between spaces, punctuation left on them; what the quality rules count."""
    return _cut(text, fold=False)


@lru_cache(maxsize=2)
def folded(text: str) -> Spans:
    """The words in lower case, punctuation left out; what is compared between documents."""
    return _cut(text, fold=True)


def windows(hashes: U64, n: int) -> U64:
    """One hash for each run of `n` words: (N,) -> (N - n + 1,); empty where there are fewer than n."""
    count = len(hashes) - n + 1
    if count < 1:
        return np.zeros(0, np.uint64)
    total = hashes[:count].copy()
    for k in range(1, n):
        total *= STEP
        total += hashes[k : k + count]
    return _mix(total)


def count_present(few: U64, hashes: U64) -> int:
    """How many of a few hashes are among many."""
    return sum(bool((hashes == one).any()) for one in few)


def hash_words(each: Sequence[str]) -> U64:
    """The hash of each word, as `words` gives it; a word must hold no space."""
    found = np.zeros(len(each), np.uint64)
    for i, word in enumerate(each):
        spans = _cut(word, fold=False)
        if len(spans.hashes) != 1:
            raise ValueError(f"word: found {word!r}; allowed is one word without spaces")
        found[i] = spans.hashes[0]
    return found


def _mix(x: U64) -> U64:
    """splitmix64's finisher; changes x in place and returns it."""
    x ^= x >> np.uint64(30)
    x *= np.uint64(0xBF58476D1CE4E5B9)
    x ^= x >> np.uint64(27)
    x *= np.uint64(0x94D049BB133111EB)
    x ^= x >> np.uint64(31)
    return x


@cache
def _classes() -> npt.NDArray[np.uint8]:
    table = np.full(TABLE, MARK, np.uint8)
    for i in range(0x20000):
        c = chr(i)
        if c.isspace():
            table[i] = SPACE
        elif c.isalnum():
            table[i] = LETTER
    table[0x3001:0x3030] = WIDE_MARK  # 、。〈〉《》「」『』【】 ...
    table[0xFF01:0xFF10] = WIDE_MARK  # ！，． ...
    table[0xFF1A:0xFF21] = WIDE_MARK  # ：；？ ...
    table[0xFF3B:0xFF41] = WIDE_MARK
    table[0xFF5B:0xFF66] = WIDE_MARK
    for first, last in ((0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x323AF)):
        table[first : last + 1] = HAN
    table[0x3007] = HAN  # 〇
    return table


@cache
def _letters() -> Mask:
    """True for what `str.isalpha` calls a letter."""
    return np.array([chr(i).isalpha() for i in range(TABLE)], np.bool_)


@cache
def _values(fold: bool) -> U64:
    """A random-looking number for each code point; the same for both cases of a letter when folded."""
    codes = np.arange(TABLE, dtype=np.uint64)
    if fold:
        for i in range(0x20000):
            lower = chr(i).lower()
            if len(lower) == 1:
                codes[i] = ord(lower)
    return _mix((codes + np.uint64(1)) * BASE)


def _powers(size: int) -> tuple[U64, U64]:
    """Powers of STEP and of its inverse modulo 2**64, `size` of each."""
    if size > HELD:
        return _make_powers(size)
    forth, back = _held_powers()
    return forth[:size], back[:size]


@cache
def _held_powers() -> tuple[U64, U64]:
    return _make_powers(HELD)


def _make_powers(size: int) -> tuple[U64, U64]:
    inverse = np.uint64(pow(int(STEP), -1, 1 << 64))
    both = []
    for factor in (STEP, inverse):
        powers = np.full(size, factor, np.uint64)
        powers[0] = 1
        both.append(np.cumprod(powers))
    return both[0], both[1]


def _cut(text: str, *, fold: bool) -> Spans:
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4").astype(np.intp)
    size = len(codes)
    kind = _classes().take(codes, mode="clip")
    han = kind == HAN
    single = han if fold else han | (kind == WIDE_MARK)
    joined = (kind == LETTER) if fold else (kind == LETTER) | (kind == MARK)
    part = joined | single
    # A word starts where the character before does not join it, and ends where the one after does not.
    apart = ~joined
    first, last = part.copy(), part.copy()
    first[1:] &= single[1:] | apart[:-1]
    last[:-1] &= single[:-1] | apart[1:]
    starts, ends = np.flatnonzero(first), np.flatnonzero(last) + 1
    letters = (kind == LETTER) | han
    forth, back = _powers(size)
    sums = np.zeros(size + 1, np.uint64)
    np.cumsum(_values(fold).take(codes, mode="clip") * forth, out=sums[1:])
    hashes = _mix((sums[ends] - sums[starts]) * back[starts])
    alpha = _among(_letters().take(codes, mode="clip"), starts, ends)
    solid = _among(letters, starts, ends)
    return Spans(hashes, starts, ends, alpha, solid, int(han.sum()), int(letters.sum()))


def _among(mask: Mask, starts: I64, ends: I64) -> Mask:
    """Whether a word holds a character of the mask."""
    count = np.zeros(len(mask) + 1, np.int32)
    np.cumsum(mask, out=count[1:])
    return count[ends] > count[starts]

"""Documents that repeat themselves: the fractions of Gopher's table A1, counted on arrays.

Not duplicates between documents: those are `duplicates.py`'s. Source: Rae et al. 2021, arXiv:2112.11446,
appendix A.1.1 and table A1. The decisions are those of datatrove's GopherRepetitionFilter on the same words
(a test holds this); it is not used itself because its word splitter for English needs spaCy, and because it
builds each n-gram as a string: about 1 MB/s a core, a sixth of the speed of this one or less.

Chinese is counted in characters. A Chinese word has about 1.6 of them, so an n of the table becomes 1.6 n
(2, 3, 4 -> 3, 5, 6 and 5..10 -> 8, 10, 11, 13, 14, 16), and the limits are those that FineWeb-2 found for
Mandarin by its quantile method (Penedo et al. 2025, arXiv:2506.20920, its cmn_Hani configuration).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tokenloom.data.spans import I64, STEP, U64, Spans, words

TOP = ((2, 0.20), (3, 0.18), (4, 0.16))
DUPLICATE = ((5, 0.15), (6, 0.14), (7, 0.13), (8, 0.12), (9, 0.11), (10, 0.10))
HAN_TOP = ((3, 0.256), (5, 0.201), (6, 0.171))
HAN_DUPLICATE = ((8, 0.198), (10, 0.182), (11, 0.167), (13, 0.154), (14, 0.14), (16, 0.127))
MOSTLY_HAN = 0.5
"""From this share of Han characters among the letters on, a text is counted in characters."""


@dataclass(frozen=True)
class Repetition:
    """Gopher's rules against repetition (Rae et al. 2021, table A1)."""

    duplicate_lines: float = 0.30
    """Most that may be lines seen before in the document."""
    duplicate_paragraphs: float = 0.30
    """Most that may be paragraphs seen before in the document."""
    duplicate_line_characters: float = 0.20
    """Most of the characters that may lie in lines seen before."""
    duplicate_paragraph_characters: float = 0.20
    """Most of the characters that may lie in paragraphs seen before."""
    ngrams: bool = True
    """Whether the rules on repeated runs of words apply too."""


def repetition(text: str, rules: Repetition) -> str | None:
    """Why a text repeats itself too much, or None. Empty text is no repetition."""
    if not text:
        return None
    paragraphs = [p for p in map(_without_break, text.strip().split("\n\n")) if p] or [""]
    count, characters = _repeated(paragraphs)
    if count / len(paragraphs) > rules.duplicate_paragraphs:
        return "duplicate_paragraphs"
    if characters / len(text) > rules.duplicate_paragraph_characters:
        return "duplicate_paragraph_characters"
    lines = [line for line in text.split("\n") if line]
    lines += [""] * (text.startswith("\n") + text.endswith("\n"))  # as datatrove counts them
    count, characters = _repeated(lines)
    if count / len(lines) > rules.duplicate_lines:
        return "duplicate_lines"
    if characters / len(text) > rules.duplicate_line_characters:
        return "duplicate_line_characters"
    return _ngrams(words(text), len(text)) if rules.ngrams else None


def _without_break(paragraph: str) -> str:
    return paragraph.lstrip("\n")


def _repeated(parts: Sequence[str]) -> tuple[int, int]:
    """How many parts, and characters of them, were there before."""
    unique = set(parts)
    if len(unique) == len(parts):
        return 0, 0
    return len(parts) - len(unique), sum(map(len, parts)) - sum(map(len, unique))


def _ngrams(spans: Spans, size: int) -> str | None:
    """Gopher's two rules on n-grams. The runs looked at shrink as n grows: one that recurs has a shorter run
    at its place that recurs."""
    han = spans.han_share >= MOSTLY_HAN
    ends = np.cumsum(spans.ends - spans.starts)
    places, values, n = np.arange(len(spans.hashes)), spans.hashes, 1
    limits = [(True, *each) for each in (HAN_TOP if han else TOP)]
    limits += [(False, *each) for each in (HAN_DUPLICATE if han else DUPLICATE)]
    for top, wanted, most in limits:
        if wanted > len(spans.hashes):
            break
        while n < wanted:
            n += 1
            places = places[: np.searchsorted(places, len(spans.hashes) - n, "right")]
            values = values[: len(places)] * STEP + spans.hashes[places + (n - 1)]
        places, values = _recurring(places, values)
        if not top and not len(places):
            break
        covered = _top(places, values, ends, n, not han) if top else _duplicated(places, values, ends, n)
        if covered / size > most:
            return f"top_{n}_gram" if top else f"duplicate_{n}_grams"
    return None


def _recurring(places: I64, values: U64) -> tuple[I64, U64]:
    """Those of the runs that occur more than once, in the order of their places."""
    order = np.argsort(values)
    ordered = values[order]
    same = np.flatnonzero(ordered[1:] == ordered[:-1])
    recurs = np.zeros(len(places), np.bool_)
    recurs[order[same]] = True
    recurs[order[same + 1]] = True
    return places[recurs], values[recurs]


def _top(places: I64, values: U64, ends: I64, n: int, joined: bool) -> int:
    """Characters that the most frequent n-gram covers (with spaces between its words if `joined`)."""
    first, count = 0, 1
    if len(places):
        _, at, counts = np.unique(values, return_index=True, return_counts=True)
        count = int(counts.max())
        first = int(places[at[counts == count].min()])
    return count * (_length(ends, first, n) + (n - 1 if joined else 0))


def _duplicated(places: I64, values: U64, ends: I64, n: int) -> int:
    """Characters in n-grams that were there before, each character counted once (Gopher's second kind)."""
    seen: set[int] = set()
    characters, free = 0, 0
    for place, value in zip(places.tolist(), values.tolist(), strict=True):
        if place < free:
            continue
        if value in seen:
            characters += _length(ends, place, n)
            free = place + n
        else:
            seen.add(value)
    return characters


def _length(ends: I64, place: int, n: int) -> int:
    return int(ends[place + n - 1]) - (int(ends[place - 1]) if place else 0)

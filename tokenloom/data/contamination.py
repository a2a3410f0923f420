"""Training text that holds an evaluation's questions or answers: found by shared runs of words.

Not a proof of absence: a paraphrase or a translation passes. The rule is GPT-3's (Brown et al. 2020,
arXiv:2005.14165, appendix C): lower case, no punctuation, runs of N words, where N is the 5th percentile of
the set's lengths, kept within 8 and 13. Chinese is compared in characters: 20 for 13 words, 12 for 8. An item
shorter than N is not looked for, and the report says how many those are. GPT-3 let runs pass that lie in
more than ten training documents; that needs a second pass over all data and is not done here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from tokenloom.data.repetition import MOSTLY_HAN
from tokenloom.data.spans import I64, U64, folded, windows

WORD = 40
"""Characters to look for the end of a word; Chinese has no spaces to find."""


@dataclass(frozen=True)
class Contamination:
    """Which evaluation sets are kept out, and how."""

    sets: Mapping[str, str] = field(default_factory=dict)
    """Name = a file, folder or hub:org/name of the set."""
    fields: tuple[str, ...] = ("text",)
    """The fields of a set that are looked for, joined by a blank line, such as question and answer."""
    words: int = 13
    """Most words in a run."""
    min_words: int = 8
    """Least words in a run."""
    characters: int = 20
    """Most Han characters in a run."""
    min_characters: int = 12
    """Least Han characters in a run."""
    cut: bool = False
    """Cut the run and what is around it out, as GPT-3 did, where otherwise the document is dropped."""
    around: int = 200
    """Characters cut on each side, and least length of a piece that stays."""
    max_pieces: int = 10
    """A document that would fall into more pieces is dropped."""

    def __post_init__(self) -> None:
        for least, most in (("min_words", "words"), ("min_characters", "characters")):
            low, high = getattr(self, least), getattr(self, most)
            if not 1 <= low <= high:
                raise ValueError(f"clean.contamination.{least}: found {low}; allowed is 1 to {high} ({most})")
        for name, few in (("around", 0), ("max_pieces", 1)):
            if (found := getattr(self, name)) < few:
                raise ValueError(f"clean.contamination.{name}: found {found}; allowed is {few} or more")


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One evaluation set, as runs to look for."""

    name: str
    runs: tuple[tuple[int, U64], ...]
    """(N, sorted hashes of N words): one entry for words, one for Han characters, where there are such."""
    items: int
    too_short: int
    """Items with fewer than N words; they are not looked for."""


def evaluation(name: str, texts: Iterable[str], rules: Contamination) -> Evaluation:
    """The runs of a set's items."""
    hashes: dict[bool, list[U64]] = {False: [], True: []}
    for text in texts:
        spans = folded(text)
        hashes[spans.han_share >= MOSTLY_HAN].append(spans.hashes)
    runs: dict[int, list[U64]] = {}
    short = 0
    for han, items in hashes.items():
        if not items:
            continue
        low, high = (rules.min_characters, rules.characters) if han else (rules.min_words, rules.words)
        n = int(np.clip(np.percentile([len(i) for i in items], 5), low, high))
        short += sum(len(i) < n for i in items)
        runs.setdefault(n, []).extend(windows(i, n) for i in items)
    made = tuple((n, np.unique(np.concatenate(parts))) for n, parts in sorted(runs.items()))
    return Evaluation(name, tuple((n, r) for n, r in made if len(r)), sum(map(len, hashes.values())), short)


@dataclass(frozen=True, slots=True)
class Found:
    """Runs of a set in a text: the set's name and the characters (first, after the last) of each."""

    name: str
    places: tuple[tuple[int, int], ...]


def find(text: str, sets: Iterable[Evaluation]) -> list[Found]:
    """The sets whose runs a text holds."""
    spans = folded(text)
    made: dict[int, U64] = {}
    found: list[Found] = []
    for each in sets:
        places: list[tuple[int, int]] = []
        for n, runs in each.runs:
            if n not in made:
                made[n] = windows(spans.hashes, n)
            hits = _members(made[n], runs)
            places += [(int(spans.starts[i]), int(spans.ends[i + n - 1])) for i in hits.tolist()]
        if places:
            found.append(Found(each.name, tuple(sorted(places))))
    return found


def _members(hashes: U64, runs: U64) -> I64:
    """Places of hashes that are among the sorted runs."""
    at = np.searchsorted(runs, hashes)
    at[at == len(runs)] = 0
    return np.flatnonzero(runs[at] == hashes)


def cut(text: str, found: Iterable[Found], rules: Contamination) -> list[str]:
    """The pieces of a text that are left, each at least `around` characters; no word of up to 40 characters
    is cut apart."""
    pieces: list[str] = []
    start = 0
    for first, last in sorted(place for f in found for place in f.places):
        if (end := _before(text, first - rules.around)) > start:
            pieces.append(text[start:end])
        start = max(start, _behind(text, last + rules.around))
    pieces.append(text[start:])
    return [p for p in (piece.strip() for piece in pieces) if len(p) >= max(rules.around, 1)]


def _before(text: str, at: int) -> int:
    """The last white space before a place, or the place itself where there is none near."""
    if at <= 0 or text[at - 1].isspace() or text[at].isspace():
        return at
    return next((i for i in range(at - 1, max(0, at - WORD) - 1, -1) if text[i].isspace()), at)


def _behind(text: str, at: int) -> int:
    """The next white space from a place on, or the place itself where there is none near."""
    if at >= len(text) or text[at - 1].isspace():
        return at
    return next((i for i in range(at, min(len(text), at + WORD)) if text[i].isspace()), at)

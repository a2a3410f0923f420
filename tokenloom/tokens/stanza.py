"""What a poem shall look like, as a regular expression: its form's lines and lengths, heads, a beginning.

Not a judge (verse.py) and not a writer: an engine that follows the expression cannot write a malformed poem.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tokenloom.tokens.verse import (
    CI,
    CLAUSE_END,
    HAN,
    LETTERS,
    MIXED,
    OLD,
    REGULATED,
    SHI,
    arrangements,
    tunes,
)

DEFAULT_FORM = "七言绝句"
MAX_TITLE = 48
ANY = "[一-鿿]"
"""A character of the poem that the model chooses."""
FREE = "\0"
"""The place of such a character."""
_LONGEST = 20
"""Clauses of a form that leaves their number free."""
_SIMPLER = str.maketrans("絕詩詞雜", "绝诗词杂")
_LOOKS_LIKE_FORM = re.compile(r"[一二三四五六七八九]言.*|词·.*")
_TITLE = re.compile(f"[{LETTERS}{CLAUSE_END}·]*")
Clause = tuple[int, str]
"""Characters, and the mark behind them."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What is wanted of a poem."""

    title: str
    form: str
    acrostic: str = ""
    first: str = ""


def read_wish(poem: str, form: str = "", acrostic: str = "", first: str = "") -> Wish:
    """A wish from what a person wrote. ValueError names the field, what was found and what is allowed.

    poem: a title, a form (or a tune of ci), or both with a space between; form: instead of one in `poem`.
    """
    words = poem.split()
    named = [word for word in words if _form(word)]
    if not words:
        raise ValueError("poem is empty; give a title, a form such as 五言绝句, or both")
    if form and not _form(form):
        raise ValueError(f"form is {form!r}; allowed are {_forms()}")
    for word in words:
        if not _form(word) and _LOOKS_LIKE_FORM.fullmatch(word.translate(_SIMPLER)):
            raise ValueError(f"poem asks for the form {word!r}; allowed are {_forms()}")
    asked = form or (named[-1] if named else "")
    if form and named and _form(named[-1]) != _form(form):
        raise ValueError(f"form is {form!r}, but poem asks for {named[-1]!r}; give one form")
    rest = list(words)
    if named:
        del rest[len(rest) - 1 - rest[::-1].index(named[-1])]
    title = "·".join(rest)
    if not _TITLE.fullmatch(title):
        bad = next(letter for letter in title if not _TITLE.fullmatch(letter))
        raise ValueError(f"poem has {bad!r} in its title; Chinese characters are allowed")
    if len(title) > MAX_TITLE:
        raise ValueError(f"poem has a title of {len(title)} characters; at most {MAX_TITLE} are allowed")
    for name, text, marks in (("acrostic", acrostic, ""), ("first", first, CLAUSE_END + "\n 　")):
        odd = next((letter for letter in text if not HAN.fullmatch(letter) and letter not in marks), None)
        if odd is not None:
            allowed = "Chinese characters and their punctuation" if marks else "Chinese characters"
            raise ValueError(f"{name} has {odd!r}; {allowed} are allowed")
    return Wish(title, _form(asked) if asked else DEFAULT_FORM, acrostic, first.strip())


def _form(word: str) -> str:
    """The form that a word names, or "". A tune may stand without 词·."""
    word = word.translate(_SIMPLER)
    if word in SHI:
        return word
    tune = word.removeprefix(CI)
    return CI + tune if tune in tunes() else ""


def _forms() -> str:
    return f"{', '.join(SHI)}, and {len(tunes())} tunes of ci such as {', '.join(list(tunes())[:6])}"


def pattern(wish: Wish) -> str:
    """The regular expression that the body of a poem must match. ValueError where the wish cannot be met."""
    return "|".join(dict.fromkeys(_expression(slots) for slots in _filled(wish)))


def longest(wish: Wish) -> int:
    """Characters of the longest body that the wish allows, with marks and line breaks."""
    return max(len(slots) for slots in _filled(wish))


def _filled(wish: Wish) -> list[str]:
    """The bodies a poem may have, FREE where the model chooses."""
    known = _arrangements(wish.form)
    given = _clauses(wish.first)
    if wish.form == MIXED and given:
        known = [*known, _continued(given)]
    bodies, clash = [], ""
    for arrangement, starts in _headed(wish, known):
        if not _begins(given, arrangement, _ended(wish.first)):
            continue
        slots = _blank(arrangement)
        for at, letter in _places(given, arrangement):
            slots[at] = letter
        heads = _offsets(arrangement)
        for start, head in zip(starts, wish.acrostic, strict=True):
            at = heads[start]
            if slots[at] not in (FREE, head):
                clash = f"first has {slots[at]!r} where acrostic has {head!r}; they must be the same"
            slots[at] = head
        if not clash:
            bodies.append("".join(slots))
    if clash:
        raise ValueError(clash)
    if not bodies:
        found = ", ".join(str(len(clause)) for clause in given)
        allowed = "; or ".join(", ".join(str(n) for n, _ in one[: max(4, len(given))]) for one in known[:3])
        raise ValueError(
            f"first has clauses of {found} characters; a poem in the form {wish.form} begins with {allowed}"
        )
    return bodies


def _arrangements(form: str) -> list[list[Clause]]:
    """The arrangements of clauses that a form has."""
    if form in REGULATED:
        number, length = REGULATED[form]
        return [_couplets(length, number)]
    if form in OLD:
        taken = [number for number, length in REGULATED.values() if length == OLD[form]]
        return [_couplets(OLD[form], n) for n in range(4, _LONGEST + 1, 2) if n not in taken]
    usual = arrangements()[form.removeprefix(CI)]
    return [[(int(n), mark) for n, mark in re.findall(r"(\d+)(\D)", one)] for one in usual]


def _continued(given: Sequence[str]) -> list[Clause]:
    """Clauses of these lengths, whatever they are, and couplets of seven characters after them."""
    begun = [(max(len(clause), 2), "。" if at % 2 else "，") for at, clause in enumerate(given)]
    return [*begun, *([(7, "。")] if len(begun) % 2 else []), *_couplets(7, 4)]


def _couplets(length: int, number: int) -> list[Clause]:
    return [(length, "，"), (length, "。")] * (number // 2)


def _headed(wish: Wish, known: Sequence[list[Clause]]) -> Iterable[tuple[list[Clause], list[int]]]:
    """Arrangements that have a clause, or else a line, for each head; and which clauses the heads begin."""
    if not wish.acrostic:
        return [(one, []) for one in known]
    number = len(wish.acrostic)
    by_clause = [(one, list(range(number))) for one in known if len(one) == number]
    lines = [(one, _line_starts(one)) for one in known]
    found = by_clause or [(one, starts) for one, starts in lines if len(starts) == number]
    if not found:
        counts = sorted({len(one) for one in known} | {len(starts) for _, starts in lines})
        raise ValueError(
            f"acrostic has {number} characters; {wish.form} takes {_either(counts)}, one for each clause or "
            "for each line"
        )
    return found


def _either(counts: Sequence[int]) -> str:
    words = [str(count) for count in counts]
    return " or ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def _line_starts(arrangement: Sequence[Clause]) -> list[int]:
    """The clauses that begin a line."""
    return [at for at in range(len(arrangement)) if at == 0 or arrangement[at - 1][1] == "。"]


def _blank(arrangement: Sequence[Clause]) -> list[str]:
    text = "".join(FREE * length + mark + ("\n" if mark == "。" else "") for length, mark in arrangement)
    return list(text.removesuffix("\n"))


def _offsets(arrangement: Sequence[Clause]) -> list[int]:
    """Where each clause begins in the body."""
    found, at = [], 0
    for length, mark in arrangement:
        found.append(at)
        at += length + 1 + (mark == "。")
    return found


def _clauses(text: str) -> list[str]:
    return [clause for clause in re.split(rf"[{CLAUSE_END}\s]+", text) if clause]


def _ended(text: str) -> bool:
    return text[-1:] in CLAUSE_END


def _begins(given: Sequence[str], arrangement: Sequence[Clause], ended: bool) -> bool:
    """Whether these clauses, the last one maybe unfinished, can begin it."""
    if len(given) > len(arrangement):
        return False
    for at, clause in enumerate(given):
        whole = at + 1 < len(given) or ended
        if len(clause) > arrangement[at][0] or (whole and len(clause) < arrangement[at][0]):
            return False
    return True


def _places(given: Sequence[str], arrangement: Sequence[Clause]) -> list[tuple[int, str]]:
    starts = _offsets(arrangement)
    return [(starts[at] + i, letter) for at, clause in enumerate(given) for i, letter in enumerate(clause)]


def _expression(slots: str) -> str:
    """A body as a regular expression; free places that stand together are counted."""
    parts = []
    for run in re.findall(f"{FREE}+|[^{FREE}]+", slots):
        parts.append(f"{ANY}{{{len(run)}}}" if run[0] == FREE else run)
    return "".join(parts)

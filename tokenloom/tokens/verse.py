"""Chinese verse: its forms, the text a poem is learned as, and the rules of lines, lengths, rhyme and tones.

Not a model, and no judge of what a poem says. Rules: a form of shi has so many clauses of one length; from
the second clause on every other one rhymes; in regulated verse (绝句, 律诗) the tones of the second, fourth
and sixth characters alternate, oppose within a couplet and adhere between couplets, rhymes are level, and no
line ends in three level tones. A ci follows one of the arrangements its tune usually has (tunes.tsv).
Source: Wang Li 1958, 《汉语诗律学》, chapter 1; rhyme.py for the rhyme groups.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

from tokenloom.tokens.rhyme import LEVEL, OBLIQUE, rhyme, tones_of

TITLE, FORM, POEM, END = "<|title|>", "<|form|>", "<|poem|>", "<|end|>"
CONTROL = (TITLE, FORM, POEM, END)
"""The control tokens of a poem's text, in their order."""

REGULATED: Mapping[str, tuple[int, int]] = {
    "五言绝句": (4, 5),
    "七言绝句": (4, 7),
    "五言律诗": (8, 5),
    "七言律诗": (8, 7),
}
"""Form -> clauses, and characters of each."""
OLD: Mapping[str, int] = {"五言古诗": 5, "七言古诗": 7, "四言诗": 4, "六言诗": 6}
"""Form -> characters of each clause; their number is free."""
MIXED = "杂言诗"
SHI = (*REGULATED, *OLD, MIXED)
"""The forms of shi."""
CI = "词·"
"""A ci's form is this and the name of its tune."""

LETTERS = "㐀-䶿一-鿿豈-﫿\U00020000-\U000323af"
"""Chinese characters, as a range of a regular expression."""
HAN = re.compile(f"[{LETTERS}]")
CLAUSE_END = "，。？！；：、"
SENTENCE_END = "。？！"
MARKS = str.maketrans("？！；：", "。。，，")
"""The marks a tune's arrangement tells apart: full stop, comma, and 、."""
_CLAUSES = re.compile(f"[{CLAUSE_END}\n]+")


@dataclass(frozen=True, slots=True)
class Verdict:
    """Which rules of its form a poem keeps; None where the form has no such rule."""

    lines: bool | None
    """It has as many clauses as the form asks for."""
    lengths: bool | None
    """Each clause has its number of characters, and the last line is whole."""
    rhyme: bool | None
    tones: bool | None
    """The pattern of level and oblique tones."""

    @property
    def right(self) -> bool:
        """No rule is broken."""
        return False not in (self.lines, self.lengths, self.rhyme, self.tones)

    @property
    def kept(self) -> int:
        """Rules that are not broken, of four; one that the form does not have counts as kept."""
        return 4 - (self.lines, self.lengths, self.rhyme, self.tones).count(False)


def layout(title: str, form: str, body: str) -> str:
    """The text of a poem as a model learns it."""
    return f"{prompt(title, form)}{body}{END}"


def prompt(title: str, form: str) -> str:
    """The text that stands before a poem's first character; title and form may be empty."""
    return f"{TITLE}{title}{FORM}{form}{POEM}"


def parse(text: str) -> tuple[str, str, str]:
    """The inverse of `layout`: title, form, body. ValueError for a text of another shape."""
    pattern = f"{re.escape(TITLE)}(.*?){re.escape(FORM)}(.*?){re.escape(POEM)}(.*?)(?:{re.escape(END)})?"
    found = re.fullmatch(pattern, text, re.DOTALL)
    if not found:
        raise ValueError(f"text: found {text[:40]!r}; allowed: {layout('title', 'form', 'poem')}")
    return found[1], found[2], found[3]


def clauses(body: str) -> list[str]:
    """What stands between the marks of punctuation."""
    return [clause for clause in _CLAUSES.split(body) if clause]


def form_of(body: str) -> str:
    """The form of a shi, by the number and the length of its clauses."""
    lengths = [len(clause) for clause in clauses(body)]
    if len(set(lengths)) != 1:
        return MIXED
    for form, wanted in REGULATED.items():
        if wanted == (len(lengths), lengths[0]):
            return form
    return next((form for form, length in OLD.items() if length == lengths[0]), MIXED)


@cache
def tunes() -> Mapping[str, tuple[str, ...]]:
    """Tune -> its usual arrangements, the most usual first: 7。7。7。7，7。7。 Most usual tunes first."""
    return {tune: found for tune, found in arrangements().items() if tune != MIXED}


@cache
def arrangements() -> Mapping[str, tuple[str, ...]]:
    """As `tunes`, and what is usual among shi with clauses of several lengths."""
    table = (resources.files("tokenloom.tokens") / "tunes.tsv").read_text(encoding="utf-8")
    rows = (line.split("\t") for line in table.splitlines())
    return {row[0]: tuple(row[2:]) for row in rows}


def check(poem: str, form: str) -> Verdict:
    """Which rules of its form a poem keeps. ValueError for a form that is not known.

    poem: the body, clauses between marks of punctuation.
    """
    parts = clauses(poem)
    whole = poem.rstrip()[-1:] in SENTENCE_END and bool(poem.strip())
    if form in REGULATED:
        number, length = REGULATED[form]
        lines, lengths = len(parts) == number, whole and all(len(part) == length for part in parts)
        if not (lines and lengths):
            return Verdict(lines, lengths, False, False)
        return Verdict(lines, lengths, _rhymes_throughout(parts), _regulated_tones(parts))
    if form in OLD:
        lengths = whole and all(len(part) == OLD[form] for part in parts)
        ends = [part[-1] for part in parts[1::2]]
        return Verdict(bool(parts) and len(parts) % 2 == 0, lengths, _rhymes_in_turn(ends), None)
    if form == MIXED:
        return Verdict(None, whole, _rhymes_in_turn(_sentence_ends(poem)), None)
    if form.startswith(CI) and (usual := tunes().get(form.removeprefix(CI))):
        flat = "".join(poem.split()).translate(MARKS)
        found = [len(part) for part in clauses(flat)]
        known = [[int(n) for n in re.findall(r"\d+", one)] for one in usual]
        lines = any(len(one) == len(found) for one in known)
        return Verdict(lines, whole and found in known, _rhymes_in_turn(_sentence_ends(poem)), None)
    raise ValueError(f"form: found {form!r}; allowed: {', '.join(SHI)}, or {CI} and a tune such as {_some()}")


def _some() -> str:
    return ", ".join(list(tunes())[:5])


def _sentence_ends(poem: str) -> list[str]:
    return [sentence[-1] for sentence in re.split(f"[{SENTENCE_END}]", "".join(poem.split())) if sentence]


def _rhymes_throughout(parts: Sequence[str]) -> bool:
    """Every second clause ends in one rhyme group of the Pingshui book."""
    common = rhyme(parts[1][-1])
    for part in parts[3::2]:
        common = common & rhyme(part[-1])
    return bool(common)


def _rhymes_in_turn(ends: Sequence[str]) -> bool:
    """Each end rhymes with the one before or after it, in the wider classes; so a rhyme may change."""
    wide = [rhyme(end, wide=True) for end in ends]
    return len(wide) > 1 and all(
        any(wide[at] & wide[other] for other in (at - 1, at + 1) if 0 <= other < len(wide))
        for at in range(len(wide))
    )


def _regulated_tones(parts: Sequence[str]) -> bool:
    """A character read in both tones fits either."""
    tones = [[tones_of(letter) for letter in part] for part in parts]
    return any(_follows(tones, start) for start in (LEVEL, OBLIQUE))


def _follows(tones: Sequence[Sequence[frozenset[str]]], start: str) -> bool:
    """Whether the clauses keep the pattern whose first clause has this tone in the second place."""
    other = {LEVEL: OBLIQUE, OBLIQUE: LEVEL}
    for at, clause in enumerate(tones):
        tone = start if at % 4 in (0, 3) else other[start]
        wanted = {place: tone if place % 4 == 1 else other[tone] for place in range(1, len(clause) - 1, 2)}
        if at % 2:
            wanted[len(clause) - 1] = LEVEL
        elif at:
            wanted[len(clause) - 1] = OBLIQUE
        if all(wanted[place] in clause[place] for place in wanted):
            if all(LEVEL in letter and OBLIQUE not in letter for letter in clause[-3:]):
                return False
        elif at % 2 or not _eased(clause, wanted):
            return False
    return True


def _eased(clause: Sequence[frozenset[str]], wanted: Mapping[int, str]) -> bool:
    """平平仄平仄 for 平平平仄仄 at the end of a clause that does not rhyme (Wang Li, section 8.9)."""
    last = len(clause) - 1
    pattern = {last - 3: LEVEL, last - 2: OBLIQUE, last - 1: LEVEL, last: OBLIQUE}
    fits = all(tone in clause[place] for place, tone in pattern.items())
    before = all(tone in clause[place] for place, tone in wanted.items() if place < last - 1)
    return fits and before and wanted.get(last - 3) == LEVEL

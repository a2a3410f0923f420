"""The rules of C4, Gopher and FineWeb that tell prose from web debris, and StarCoder's for code.

Not the rules for Chinese (`chinese.py`), and not a classifier: each rule counts something and has a limit.
Sources, each beside its rules: Raffel et al. 2020, arXiv:1910.10683, section 2.2; Rae et al. 2021,
arXiv:2112.11446, appendix A.1.1; Penedo et al. 2024, arXiv:2406.17557, section 3; Li et al. 2023,
arXiv:2305.06161, section 3.

Why these are not datatrove's filters: those take words and sentences of English from spaCy and fail without
it; its C4 filter also takes the blank lines out, so that paragraphs run together, and knows only ASCII line
ends. Gopher's and FineWeb's decisions here are datatrove's on the same words (a test holds this).
C4's list of bad words is left out: it removes the writing of and about minorities (Dodge et al. 2021,
arXiv:2104.08758).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from tokenloom.data.spans import U64, count_present, hash_words, words

STOP_WORDS = ("the", "be", "to", "of", "and", "that", "have", "with")
LINE_ENDS = tuple(".!?\"'”’…。！？；：」』）》")
SENTENCE_END = re.compile(r"[.!?…][\"'”’)\]]*(?=\s|$)|[。！？…]+")
ENDS = (".", "?", "!", '"', "'", "”", "’", "。", "！", "？", "」", "』")
CITATION = re.compile(r"\[\d+\]|\[edit\]|\[citation needed\]")
POLICY = ("terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies")


@dataclass(frozen=True)
class C4:
    """C4's rules for lines and pages (Raffel et al. 2020, section 2.2)."""

    line_ends: bool = False
    """Drop lines that do not end in a mark such as a full stop. Off, as in FineWeb: it takes much."""
    min_line_words: int = 3
    """Lines with fewer words are dropped; 0 keeps all."""
    max_word_characters: int = 1000
    """Lines with a longer word are dropped."""
    min_sentences: int = 5
    """Documents with fewer sentences are dropped; 0 keeps all."""
    citations: bool = True
    """Take Wikipedia's [1], [edit] and [citation needed] out."""
    curly_brackets: bool = True
    """Drop documents with a curly bracket: they are mostly code."""
    boilerplate: bool = True
    """Drop lines about JavaScript, cookies and policies, and pages with "lorem ipsum"."""


@dataclass(frozen=True)
class Gopher:
    """Gopher's quality rules (Rae et al. 2021, appendix A.1.1)."""

    min_words: int = 50
    max_words: int = 0
    """0 is no limit. The paper has 100,000, which would drop every novel."""
    min_word_characters: float = 3
    """Least mean length of a word."""
    max_word_characters: float = 10
    """Greatest mean length of a word."""
    max_symbols: float = 0.1
    """Most hash signs, or ellipses, per word."""
    max_bullet_lines: float = 0.9
    max_ellipsis_lines: float = 0.3
    min_alphabetic: float = 0.8
    """Least share of words with a letter in them."""
    min_stop_words: int = 2
    """Least number of different words among the, be, to, of, and, that, have, with."""


@dataclass(frozen=True)
class FineWeb:
    """FineWeb's own rules (Penedo et al. 2024, section 3.5)."""

    min_ended_lines: float = 0.12
    """Least share of lines that end in a mark such as a full stop."""
    max_short_lines: float = 0.67
    """Most lines that may have at most `short_line` characters."""
    short_line: int = 30
    max_repeated_characters: float = 0.01
    """Most of the characters that may lie in lines seen before."""
    max_line_breaks: float = 0.3
    """Most line breaks per word."""


@dataclass(frozen=True)
class Code:
    """StarCoder's rules for source code (Li et al. 2023, section 3)."""

    max_mean_line: float = 100
    """Greatest mean length of a line, in characters."""
    max_line: int = 1000
    """Greatest length of a line."""
    min_alphanumeric: float = 0.25
    """Least share of letters and digits among the characters."""


def c4(text: str, rules: C4) -> tuple[str, str | None]:
    """The lines that stay, and why the document is dropped (None: it stays). Paragraphs stay apart."""
    lowered = text.lower()
    if rules.boilerplate and "lorem ipsum" in lowered:
        return text, "lorem_ipsum"
    if rules.curly_brackets and "{" in text:
        return text, "curly_bracket"
    policy = rules.boilerplate and ("javascript" in lowered or any(p in lowered for p in POLICY))
    kept = [line for line in _c4_lines(text, rules, policy) if line is not None]
    short = re.sub(r"\n{3,}", "\n\n", "\n".join(kept)).strip("\n")
    if short and text.endswith("\n"):
        short += "\n"
    if rules.min_sentences and _sentences(short, rules.min_sentences) < rules.min_sentences:
        return short, "few_sentences"
    return short, None if short else "no_lines"


def _c4_lines(text: str, rules: C4, policy: bool) -> list[str | None]:
    lines: list[str | None] = []
    citations = rules.citations and "[" in text
    for raw in text.split("\n"):
        line = raw.rstrip()
        if not line:
            lines.append("")
            continue
        parts = line.split()
        if len(parts) < rules.min_line_words or max(map(len, parts)) > rules.max_word_characters:
            lines.append(None)
            continue
        if citations:
            line = CITATION.sub("", line)
        if rules.line_ends and (not line.endswith(ENDS) or line.endswith("...")):
            lines.append(None)
            continue
        if policy:
            low = line.lower()
            if "javascript" in low or any(p in low for p in POLICY):
                lines.append(None)
                continue
        lines.append(line)
    return lines


def _sentences(text: str, enough: int) -> int:
    """Sentences, counted no further than `enough`; each line is one at least, as in C4's code."""
    count = 0
    for line in text.split("\n"):
        if line:
            count += max(1, len(SENTENCE_END.findall(line)))
            if count >= enough:
                break
    return count


@cache
def _stop_words() -> U64:
    return hash_words(STOP_WORDS)


def gopher(text: str, rules: Gopher) -> str | None:
    """Why a text is not prose by Gopher's rules, or None."""
    spans = words(text)
    n_solid = int(spans.solid.sum())
    n_words = len(spans.hashes)
    if n_solid < max(rules.min_words, 1):
        return "few_words"
    if rules.max_words and n_solid > rules.max_words:
        return "many_words"
    mean = float((spans.ends - spans.starts)[spans.solid].mean())
    if mean < rules.min_word_characters:
        return "short_words"
    if mean > rules.max_word_characters:
        return "long_words"
    if text.count("#") / n_words > rules.max_symbols:
        return "hash_signs"
    if (text.count("...") + text.count("…")) / n_words > rules.max_symbols:
        return "ellipses"
    if reason := bullets(text, rules.max_bullet_lines, rules.max_ellipsis_lines):
        return reason
    if int(spans.alpha.sum()) / n_words < rules.min_alphabetic:
        return "few_alphabetic_words"
    if rules.min_stop_words and count_present(_stop_words(), spans.hashes) < rules.min_stop_words:
        return "few_stop_words"
    return None


def bullets(text: str, most_bullets: float, most_ellipses: float) -> str | None:
    """Why lines begin or end as prose's do not: list marks in front, an ellipsis behind."""
    lines = text.splitlines()
    if sum(line.lstrip().startswith(("•", "-")) for line in lines) / len(lines) > most_bullets:
        return "bullet_lines"
    if sum(line.rstrip().endswith(("...", "…")) for line in lines) / len(lines) > most_ellipses:
        return "ellipsis_lines"
    return None


def fineweb(text: str, rules: FineWeb) -> str | None:
    """Why a text looks like a list or a menu by FineWeb's rules, or None."""
    lines = [line for line in text.split("\n") if line.strip()]
    if not lines:
        return "no_lines"
    if sum(line.rstrip().endswith(LINE_ENDS) for line in lines) / len(lines) < rules.min_ended_lines:
        return "lines_without_end"
    if sum(len(line) <= rules.short_line for line in lines) / len(lines) > rules.max_short_lines:
        return "short_lines"
    repeated = sum(map(len, lines)) - sum(map(len, set(lines)))
    if repeated / len(text.replace("\n", "")) > rules.max_repeated_characters:
        return "repeated_lines"
    if text.count("\n") / max(len(words(text).hashes), 1) > rules.max_line_breaks:
        return "line_breaks"
    return None


def code(text: str, rules: Code) -> str | None:
    """Why a file is not code that people write, or None: data, minified, generated."""
    lines = text.splitlines() or [""]
    if max(map(len, lines)) > rules.max_line:
        return "long_line"
    if len(text) / len(lines) > rules.max_mean_line:
        return "long_lines"
    if words(text).n_letters / max(len(text), 1) < rules.min_alphanumeric:
        return "few_letters"
    return None

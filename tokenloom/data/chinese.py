"""Rules for Chinese text: characters instead of words, Chinese marks, traditional and simplified.

Not segmentation into words: that is `words.py`, for classical uses. The rules are Gopher's, C4's and
FineWeb's (sources in `quality.py`) restated for a script without spaces; the limits on line ends and line
breaks are FineWeb-2's for Mandarin (Penedo et al. 2025, arXiv:2506.20920, its cmn_Hani configuration), its
line breaks per word divided by 1.6 characters a word.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import Any

from tokenloom.data.quality import LINE_ENDS, bullets
from tokenloom.data.spans import U64, count_present, hash_words, words

COMMON = tuple("的是在了和不有人我他这這为為之也其而以于於")
"""Frequent function characters, modern and classical, simplified and traditional."""
POLICY = ("使用条款", "使用條款", "隐私政策", "隱私政策", "隐私权政策", "版权所有", "版權所有", "备案号")
SCRIPT = re.compile("javascript", re.I)
CONVERSIONS = ("", "t2s", "s2t", "tw2s", "tw2sp", "s2tw", "s2twp", "hk2s", "s2hk", "t2tw", "t2hk")


@dataclass(frozen=True)
class Chinese:
    """Rules for documents that are mostly Chinese."""

    convert: str = ""
    """OpenCC's conversion: "t2s" to simplified, "s2t" to traditional, and others; empty leaves the text."""
    min_characters: int = 80
    """Documents with fewer Han characters are dropped (Gopher's 50 words at 1.6 characters)."""
    min_han: float = 0.5
    """Least share of Han characters among the words and marks, where each of them is a word."""
    min_common: int = 2
    """Least number of different function characters, such as 的 是 之 (Gopher's stop words)."""
    min_ended_lines: float = 0.106
    """Least share of lines that end in a mark such as 。"""
    max_short_lines: float = 1
    """Most lines that may have at most `short_line` characters; 1 is no limit, as in FineWeb-2."""
    short_line: int = 10
    """FineWeb's 30 letters of English are about six words: ten characters."""
    max_line_breaks: float = 0.11
    """Most line breaks per character."""
    max_repeated_characters: float = 0.1
    """Most of the characters that may lie in lines seen before (FineWeb-2; FineWeb has 0.01 for English)."""
    max_bullet_lines: float = 0.9
    max_ellipsis_lines: float = 0.3
    boilerplate: bool = True
    """Drop lines about JavaScript, policies and copyright (C4)."""

    def __post_init__(self) -> None:
        if self.convert not in CONVERSIONS:
            known = ", ".join(map(repr, CONVERSIONS))
            raise ValueError(f"clean.chinese.convert: found {self.convert!r}; allowed are {known}")


def chinese(text: str, rules: Chinese) -> tuple[str, str | None]:
    """The text without boilerplate lines, and why the document is dropped (None: it stays)."""
    if rules.boilerplate:
        text = _without_boilerplate(text)
    spans = words(text)
    if spans.n_han < rules.min_characters:
        return text, "few_characters"
    if spans.n_han < rules.min_han * len(spans.hashes):
        return text, "low_han_share"
    if rules.min_common and count_present(_common(), spans.hashes) < rules.min_common:
        return text, "few_common_characters"
    return text, _lines(text, rules)


def _lines(text: str, rules: Chinese) -> str | None:
    lines = [line for line in text.split("\n") if line.strip()]
    if not lines:
        return "no_lines"
    if sum(line.rstrip().endswith(LINE_ENDS) for line in lines) / len(lines) < rules.min_ended_lines:
        return "lines_without_end"
    if sum(len(line.strip()) <= rules.short_line for line in lines) / len(lines) > rules.max_short_lines:
        return "short_lines"
    size = sum(map(len, lines))
    if (size - sum(map(len, set(lines)))) / size > rules.max_repeated_characters:
        return "repeated_lines"
    if (len(lines) - 1) / size > rules.max_line_breaks:
        return "line_breaks"
    return bullets("\n".join(lines), rules.max_bullet_lines, rules.max_ellipsis_lines)


def _without_boilerplate(text: str) -> str:
    if not SCRIPT.search(text) and not any(p in text for p in POLICY):
        return text
    kept = [
        line for line in text.split("\n") if not SCRIPT.search(line) and not any(p in line for p in POLICY)
    ]
    return "\n".join(kept)


@cache
def _common() -> U64:
    return hash_words(COMMON)


def convert(text: str, how: str) -> str:
    """Traditional to simplified or back, by OpenCC's dictionaries; `how` as in `Chinese.convert`."""
    return _converter(how).convert(text) if how else text


@cache
def _converter(how: str) -> Any:
    from opencc import OpenCC

    return OpenCC(how)

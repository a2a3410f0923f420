"""What a finder gives, and what the finders share about a place in a text."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

CONTEXT = 24
"""How many characters before a find may say what it is."""


@dataclass(frozen=True, slots=True)
class Found:
    """One piece of private data: text[start:stop]."""

    kind: str
    start: int
    stop: int
    text: str


def free(text: str, start: int, stop: int, left: str = "", right: str = "", joins: str = ".-/:") -> bool:
    """Whether a number stands by itself: no ASCII letter, digit or underscore touches it, nor a mark
    of left and right, and across a mark that joins numbers (1.5, 2-3, 4/5, 6:7) there is no digit."""
    before, after = text[max(0, start - 2) : start], text[stop : stop + 2]
    if before and (wordy(before[-1]) or before[-1] in left):
        return False
    if before and before[-1] in joins and before[:-1].isdecimal():
        return False
    if after and (wordy(after[0]) or after[0] in right):
        return False
    return not (after and after[0] in joins and after[1:].isdecimal())


def wordy(char: str) -> bool:
    """Whether a character, if there is one, belongs to an ASCII word."""
    return char.isascii() and (char.isalnum() or char == "_")


def introduced(text: str, start: int, words: Iterable[str]) -> bool:
    """Whether one of the words (lower case) stands shortly before a place."""
    before = text[max(0, start - CONTEXT) : start].lower()
    return any(word in before for word in words)


def in_address(text: str, start: int) -> bool:
    """Whether a place lies in a web address, where long numbers are names of pages."""
    at = start
    low = max(0, start - 200)
    while at > low and "!" <= text[at - 1] <= "~" and text[at - 1] not in "\"'<>()[]{}|":
        at -= 1
    return "://" in text[at:start]

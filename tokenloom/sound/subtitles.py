"""Subtitles: what was said as SRT and WebVTT, in cues that can be read. Not the recognising.

A segment that is too long for two lines is cut between words, at the words' own times where they are known.
Source: W3C, WebVTT; SRT as SubRip writes it.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tokenloom.sound.recognise import Heard, Segment, Word

LINE, LINES = 42, 2
"""Characters of a line, a wide one counting twice, and lines of a cue."""
WIDE = 0x2E80
"""From this code point on letters are wide."""
SHORTEST_S = 0.1


@dataclass(frozen=True)
class Cue:
    start: float
    end: float
    text: str


def srt(heard: Heard) -> str:
    """The cues, numbered; "" where nothing was said."""
    blocks = [
        f"{number}\n{_time(cue.start, ',')} --> {_time(cue.end, ',')}\n{cue.text.replace('-->', '->')}\n"
        for number, cue in enumerate(cues(heard), 1)
    ]
    return "\n".join(blocks)


def vtt(heard: Heard) -> str:
    """The cues as WebVTT."""
    blocks = ["WEBVTT\n"]
    for cue in cues(heard):
        text = cue.text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        blocks.append(f"{_time(cue.start, '.')} --> {_time(cue.end, '.')}\n{text}\n")
    return "\n".join(blocks)


def cues(heard: Heard) -> list[Cue]:
    """What is shown at a time, in order, none overlapping the next."""
    found = [cue for segment in heard.segments for cue in _cues(segment)]
    out: list[Cue] = []
    for cue in found:
        start = max(cue.start, out[-1].end if out else 0.0)
        out.append(Cue(start, max(cue.end, start + SHORTEST_S), cue.text))
    return out


def _cues(segment: Segment) -> Iterator[Cue]:
    text = " ".join(segment.text.split())
    if not text:
        return
    if _width(text) <= LINE * LINES and "\n" not in _lines(text):
        yield Cue(segment.start, segment.end, text)
        return
    words = segment.words or _spread(segment)
    held: list[Word] = []
    for word in words:
        if held and _lines(_joined([*held, word])).count("\n") >= LINES:
            yield Cue(held[0].start, held[-1].end, _lines(_joined(held)))
            held = []
        held.append(word)
    if held:
        yield Cue(held[0].start, held[-1].end, _lines(_joined(held)))


def _joined(words: Sequence[Word]) -> str:
    return "".join(word.text for word in words).strip()


def _spread(segment: Segment) -> list[Word]:
    """A segment's words with times by their length, where none are known."""
    text = segment.text.strip()
    spaced = " " in text
    parts = [f" {part}" for part in text.split()] if spaced else list(text)
    whole = max(sum(map(len, parts)), 1)
    out, at = [], 0
    for part in parts:
        start = segment.start + (segment.end - segment.start) * at / whole
        at += len(part)
        out.append(Word(start, segment.start + (segment.end - segment.start) * at / whole, part, 0.0))
    return out


def _width(text: str) -> int:
    return sum(2 if ord(c) >= WIDE else 1 for c in text)


def _lines(text: str) -> str:
    """The text in lines of at most LINE characters, as even as they come."""
    limit = LINE if _width(text) == len(text) else LINE // 2
    return "\n".join(textwrap.wrap(text, limit, break_on_hyphens=False)) or text


def _time(seconds: float, mark: str) -> str:
    ms = round(max(seconds, 0.0) * 1000)
    return f"{ms // 3_600_000:02}:{ms // 60_000 % 60:02}:{ms // 1000 % 60:02}{mark}{ms % 1000:03}"

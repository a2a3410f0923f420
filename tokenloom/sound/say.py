"""A text made pieces to be spoken, one sentence each, and the pieces made sound. Not the voices.

A sentence is given to a voice as a whole and is heard as soon as it is made. Silence that a voice puts around
a sentence is cut, so that pauses are the text's: short after a sentence, longer after a paragraph.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tokenloom.sound.language import script_of
from tokenloom.sound.voices import Samples, Voice

SPEEDS = (0.25, 4.0)
SENTENCE_S, PARAGRAPH_S = 0.28, 0.65
"""Silence after a sentence and after a paragraph, at speed 1."""
LAST_S = 0.1
"""Silence after the last piece, at most."""
LONGEST = 320
"""Characters of a piece: a longer sentence is cut after a comma, else between words."""
EDGE_S = 0.04
"""Silence left before and after a piece."""
QUIET = 0.004
PIECES_MOST = 100_000
_PARAGRAPH = re.compile(r"\n\s*\n|\r\n\s*\r\n|[\u2028\u2029\f]")
_END = re.compile(r"(?:[.!?…]+[\"'”’)\]]*(?=\s)|[。！？…]+[”’』」）]*)\s*")
_CLAUSE = re.compile(r"(?<=[,;:—，；：、])\s*")
_LAST = re.compile(r"[^\W\d_]+(?:\.[^\W\d_]+)*$|\d+$")
_BEFORE_NAME = frozenset(
    [
        "mr",
        "mrs",
        "ms",
        "mx",
        "dr",
        "prof",
        "st",
        "mt",
        "ft",
        "gen",
        "gov",
        "sen",
        "rep",
        "capt",
        "lt",
        "col",
        "sgt",
        "cmdr",
        "rev",
        "hon",
        "pres",
        "maj",
        "adm",
        "fr",
        "messrs",
        "mme",
        "mlle",
        "vs",
        "cf",
        "al",
        "fig",
        "figs",
        "vol",
        "ch",
        "pp",
        "ed",
        "eds",
        "no",
        "nos",
        "approx",
        "est",
        "ca",
        "e.g",
        "i.e",
        "viz",
        "jan",
        "feb",
        "mar",
        "apr",
        "jun",
        "jul",
        "aug",
        "sep",
        "sept",
        "oct",
        "nov",
        "dec",
        "inc",
        "ltd",
        "co",
        "corp",
        "bros",
        "dept",
        "univ",
        "ave",
        "blvd",
        "rd",
    ]
)
"""Words whose full stop ends no sentence, where more follows that is no clear beginning."""
_ALWAYS = frozenset(
    [
        "mr",
        "mrs",
        "ms",
        "mx",
        "dr",
        "prof",
        "gen",
        "gov",
        "sen",
        "rep",
        "capt",
        "lt",
        "sgt",
        "cmdr",
        "rev",
        "hon",
        "messrs",
        "mme",
        "mlle",
        "vs",
        "cf",
        "e.g",
        "i.e",
        "viz",
        "fig",
        "no",
    ]
)


class NothingToSay(ValueError):
    """A text in which there is nothing that can be spoken."""


@dataclass(frozen=True)
class Piece:
    """What is spoken in one breath."""

    text: str
    pause_s: float = SENTENCE_S
    """Silence after it, at speed 1."""
    speed: float = 1.0
    gain: float = 1.0
    end: int = 0
    """Characters of the whole text that are spoken when it has been."""


def pieces_of(text: str) -> list[Piece]:
    """The pieces of a plain text, or of one that begins with <speak> (see `ssml`). NothingToSay, or
    ValueError for marks that are not known."""
    if not text.strip():
        raise NothingToSay("text: it is empty; give at least one word")
    if text.lstrip().startswith("<speak"):
        from tokenloom.sound.ssml import read_ssml

        found = read_ssml(text)
    else:
        found = list(plain(text))
    if not any(speakable(piece.text) for piece in found):
        raise NothingToSay(
            f"text: found {text.strip()[:40]!r}, in which no letter and no digit is to be spoken"
        )
    if len(found) > PIECES_MOST:
        raise ValueError(f"text: {len(found)} sentences; at most {PIECES_MOST} are spoken at once")
    return [p for p in found if speakable(p.text) or p.pause_s]


def speakable(text: str) -> bool:
    return any(c.isalnum() for c in text)


def plain(text: str, start: int = 0) -> Iterator[Piece]:
    """The sentences of a text without marks, each with the pause after it."""
    for first, last in _between(_PARAGRAPH, text):
        paragraph = text[first:last]
        spans = [(a, b) for a, b in sentences(paragraph) if speakable(paragraph[a:b])]
        for number, (a, b) in enumerate(spans):
            pause = PARAGRAPH_S if number == len(spans) - 1 else SENTENCE_S
            sentence = re.sub(r"\s+", " ", paragraph[a:b]).strip()
            parts = list(_short_enough(sentence))
            for part in parts[:-1]:
                yield Piece(part, 0.1, end=start + first + a)
            yield Piece(parts[-1], pause, end=start + first + b)


def sentences(paragraph: str) -> list[tuple[int, int]]:
    """(start, stop) of each sentence of a paragraph; they cover it."""
    spans, start = [], 0
    for found in _END.finditer(paragraph):
        if found.end() < len(paragraph) and _ends(paragraph, found.start(), found.end()):
            spans.append((start, found.end()))
            start = found.end()
    if start < len(paragraph):
        spans.append((start, len(paragraph)))
    return spans


def _ends(text: str, stop: int, after: int) -> bool:
    """Whether the marks at `stop` end a sentence, going by the word before and what comes after."""
    if text[stop] != ".":
        return not text[after].islower()
    last = _LAST.search(text, max(stop - 40, 0), stop)
    word = last[0].lower() if last else ""
    following = text[after]
    if following.islower() or following in ",;:":
        return False
    if word in _ALWAYS or (len(word) == 1 and word.isalpha() and word != "i"):
        return False
    if word in _BEFORE_NAME:
        return not following.isdigit() and not (following.isupper() and len(word) <= 2)
    return True


def _short_enough(sentence: str) -> Iterator[str]:
    if len(sentence) <= LONGEST:
        yield sentence
        return
    held = ""
    for clause in _CLAUSE.split(sentence):
        for part in _words(clause):
            if held and len(held) + len(part) + 1 > LONGEST:
                yield held
                held = part
            else:
                held = f"{held} {part}" if held else part
    if held:
        yield held


def _words(clause: str) -> Iterator[str]:
    """A clause in parts of at most LONGEST characters, cut between words where there are any."""
    while len(clause) > LONGEST:
        at = clause.rfind(" ", 1, LONGEST)
        at = at if at > 0 else LONGEST
        yield clause[:at]
        clause = clause[at:].lstrip()
    if clause:
        yield clause


def _between(mark: re.Pattern[str], text: str) -> Iterator[tuple[int, int]]:
    at = 0
    for found in mark.finditer(text):
        yield at, found.start()
        at = found.end()
    yield at, len(text)


def check_speed(speed: float) -> None:
    if not SPEEDS[0] <= speed <= SPEEDS[1]:
        raise ValueError(f"speed: found {speed}; allowed are {SPEEDS[0]} to {SPEEDS[1]:g}")


def utter(voice: Voice, piece: Piece, speed: float = 1.0, seed: int = 0) -> Samples:
    """One piece with the pause after it, (n,) float32 in [-1, 1] at the voice's rate."""
    check_speed(speed)
    sound = np.zeros(0, np.float32)
    if speakable(piece.text):
        pace = min(max(speed * piece.speed, SPEEDS[0]), SPEEDS[1])
        sound = np.asarray(voice.utter(piece.text, pace, seed), np.float32)
        sound = sound[heard_part(sound, voice.rate)]
    if piece.gain != 1.0:
        sound = np.clip(sound * piece.gain, -1.0, 1.0).astype(np.float32)
    return np.concatenate([sound, np.zeros(round(piece.pause_s / speed * voice.rate), np.float32)])


def heard_part(sound: Samples, rate: int) -> slice:
    """Where something is heard, with a little silence around it; empty where nothing is."""
    heard = np.flatnonzero(np.abs(sound) > QUIET)
    if not len(heard):
        return slice(0, 0)
    edge = round(EDGE_S * rate)
    return slice(max(int(heard[0]) - edge, 0), min(int(heard[-1]) + 2 * edge, len(sound)))


def seed_of(seed: int, number: int) -> int:
    """The seed of the piece of this number, so that each may be made by itself."""
    return (seed * 1_000_003 + number * 7919) % (1 << 32)


def say(
    voice: Voice, text: str | Sequence[Piece], *, speed: float = 1.0, seed: int = 0
) -> Iterator[tuple[Piece, Samples]]:
    """Each piece with its sound, as soon as it is made. The same seed, text and voice give the same sound."""
    check_speed(speed)
    pieces = pieces_of(text) if isinstance(text, str) else list(text)
    return _said(voice, pieces, speed, seed)


def _said(voice: Voice, pieces: Sequence[Piece], speed: float, seed: int) -> Iterator[tuple[Piece, Samples]]:
    for number, piece in enumerate(ending(pieces)):
        yield piece, utter(voice, piece, speed, seed_of(seed, number))


def ending(pieces: Sequence[Piece]) -> list[Piece]:
    """The pieces with little silence after the last."""
    last = pieces[-1]
    return [*pieces[:-1], replace(last, pause_s=min(last.pause_s, LAST_S))]


def unread(text: str, scripts: frozenset[str]) -> str:
    """The letters of a text that a voice of these scripts cannot read, each once, in order."""
    return "".join(dict.fromkeys(c for c in text if c.isalpha() and script_of(c) not in scripts))

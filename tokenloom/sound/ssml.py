"""SSML-light: a text that begins with <speak>, with pauses, emphasis and how a word is to be read.

Known: speak, p, s, break (time, strength), emphasis (level), say-as (interpret-as), sub (alias), prosody
(rate).
Anything else is refused with its name, never read aloud and never passed over.
Source: W3C, Speech Synthesis Markup Language 1.1.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from xml.parsers import expat

from tokenloom.sound.english import digits, spelled
from tokenloom.sound.say import PARAGRAPH_S, SENTENCE_S, Piece, plain, speakable

ATTRIBUTES = {
    "speak": ("version", "xml:lang", "xmlns"),
    "p": (),
    "s": (),
    "break": ("time", "strength"),
    "emphasis": ("level",),
    "say-as": ("interpret-as", "format"),
    "sub": ("alias",),
    "prosody": ("rate",),
}
STRENGTHS = {"none": 0.0, "x-weak": 0.1, "weak": 0.2, "medium": 0.4, "strong": 0.7, "x-strong": 1.2}
LEVELS = {"strong": (0.85, 1.5), "moderate": (0.92, 1.25), "none": (1.0, 1.0), "reduced": (1.08, 0.8)}
"""Of a level: the speed and the loudness, times those around it."""
RATES = {"x-slow": 0.6, "slow": 0.8, "medium": 1.0, "fast": 1.2, "x-fast": 1.5, "default": 1.0}
LONGEST_S = 30.0
SPELT = ("characters", "spell-out", "verbatim")
PLAIN = ("number", "cardinal", "ordinal", "time", "currency", "unit", "fraction", "address", "name")
MONTHS = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
]
_TIME = re.compile(r"(\d+(?:\.\d+)?)(ms|s)")
_DATE = re.compile(r"(\d{1,4})[-/.](\d{1,2})(?:[-/.](\d{1,4}))?")


@dataclass
class _Reader:
    """The state while elements open and close."""

    pieces: list[Piece] = field(default_factory=list)
    run: list[str] = field(default_factory=list)
    """Text not yet made pieces."""
    style: list[tuple[float, float]] = field(default_factory=lambda: [(1.0, 1.0)])
    held: list[tuple[str, dict[str, str], str]] = field(default_factory=list)


def read_ssml(text: str) -> list[Piece]:
    """The pieces of a marked text. ValueError names the mark that is not known, or where the XML breaks."""
    reader = _Reader()
    parser = expat.ParserCreate()
    parser.StartElementHandler = lambda name, given: _start(reader, name, given)
    parser.EndElementHandler = lambda name: _end(reader, name)
    parser.CharacterDataHandler = lambda words: _words(reader, words)
    parser.StartDoctypeDeclHandler = lambda *_: _refuse("a document type")
    parser.ProcessingInstructionHandler = lambda *_: _refuse("a processing instruction")
    try:
        parser.Parse(text.strip().encode(), True)
    except expat.ExpatError as error:
        raise ValueError(
            f"text: it begins with <speak> and is no XML: {expat.ErrorString(error.code)} at line "
            f"{error.lineno} column {error.offset + 1}"
        ) from error
    return [replace(piece, end=len(text)) for piece in reader.pieces]


def _refuse(what: str) -> None:
    raise ValueError(f"text: it holds {what}, which is not read; known are {', '.join(ATTRIBUTES)}")


def _start(reader: _Reader, name: str, given: dict[str, str]) -> None:
    if name not in ATTRIBUTES:
        _refuse(f"<{name}>")
    for key in given:
        if key not in ATTRIBUTES[name]:
            known = ", ".join(ATTRIBUTES[name]) or "none"
            raise ValueError(f"text: <{name}> has the attribute {key}, which is not read; known are {known}")
    if reader.held and name != "break":
        raise ValueError(f"text: <{name}> stands in <{reader.held[-1][0]}>, which may hold words alone")
    if name in ("say-as", "sub"):
        wanted = "interpret-as" if name == "say-as" else "alias"
        if wanted not in given:
            raise ValueError(f"text: <{name}> needs the attribute {wanted}")
        reader.held.append((name, given, ""))
    elif name in ("p", "s"):
        _flush(reader)
    elif name == "break":
        _flush(reader, pause=_pause(given), inside=True)
    elif name in ("emphasis", "prosody"):
        _flush(reader, pause=0.0, inside=True)
        speed, gain = reader.style[-1]
        by_speed, by_gain = _style(name, given)
        reader.style.append((speed * by_speed, gain * by_gain))


def _end(reader: _Reader, name: str) -> None:
    if name in ("say-as", "sub"):
        _, given, words = reader.held.pop()
        reader.run.append(given["alias"] if name == "sub" else said_as(words, given))
    elif name in ("emphasis", "prosody"):
        _flush(reader, pause=0.0, inside=True)
        reader.style.pop()
    elif name in ("p", "s", "speak"):
        _flush(reader, pause=PARAGRAPH_S if name == "p" else SENTENCE_S, ends=True)


def _words(reader: _Reader, words: str) -> None:
    if reader.held:
        name, given, before = reader.held[-1]
        reader.held[-1] = (name, given, before + words)
    else:
        reader.run.append(words)


def _flush(reader: _Reader, pause: float = SENTENCE_S, *, inside: bool = False, ends: bool = False) -> None:
    """Makes pieces of the text so far; the last has this pause after it."""
    text = "".join(reader.run)
    reader.run.clear()
    speed, gain = reader.style[-1]
    made = [replace(piece, speed=speed, gain=gain) for piece in plain(text)] if speakable(text) else []
    if made:
        made[-1] = replace(made[-1], pause_s=pause)
        reader.pieces += made
    elif inside and pause and reader.pieces:
        last = reader.pieces[-1]
        reader.pieces[-1] = replace(last, pause_s=min(max(last.pause_s, 0) + pause, LONGEST_S))
    elif inside and pause:
        reader.pieces.append(Piece("", pause))
    elif ends and reader.pieces:
        last = reader.pieces[-1]
        reader.pieces[-1] = replace(last, pause_s=max(last.pause_s, pause))


def _pause(given: dict[str, str]) -> float:
    if "time" not in given:
        strength = given.get("strength", "medium")
        if strength not in STRENGTHS:
            raise ValueError(f"text: <break> has strength {strength!r}; allowed are {', '.join(STRENGTHS)}")
        return STRENGTHS[strength]
    found = _TIME.fullmatch(given["time"].strip())
    seconds = float(found[1]) / (1000 if found[2] == "ms" else 1) if found else -1.0
    if not 0 <= seconds <= LONGEST_S:
        raise ValueError(
            f"text: <break> has time {given['time']!r}; allowed are 0ms to {LONGEST_S:g}s, as 500ms or 1.5s"
        )
    return seconds


def _style(name: str, given: dict[str, str]) -> tuple[float, float]:
    if name == "emphasis":
        level = given.get("level", "moderate")
        if level not in LEVELS:
            raise ValueError(f"text: <emphasis> has level {level!r}; allowed are {', '.join(LEVELS)}")
        return LEVELS[level]
    rate = given.get("rate", "medium")
    percent = re.fullmatch(r"(\d{2,3})%", rate)
    speed = int(percent[1]) / 100 if percent else RATES.get(rate, 0.0)
    if not 0.5 <= speed <= 2.0:
        raise ValueError(f"text: <prosody> has rate {rate!r}; allowed are 50% to 200% and {', '.join(RATES)}")
    return speed, 1.0


def said_as(words: str, given: dict[str, str]) -> str:
    """The words of <say-as>, written so that a voice reads them as asked."""
    kind, text = given["interpret-as"], words.strip()
    if kind in SPELT:
        return spelled(text)
    if kind in ("digits", "telephone"):
        return digits(text)
    if kind == "date":
        return _date(text, given.get("format", ""))
    if kind == "ordinal" and text.isdecimal():
        ends = {"1": "st", "2": "nd", "3": "rd"}
        return text + ("th" if text[-2:-1] == "1" else ends.get(text[-1], "th"))
    if kind in PLAIN:
        return text
    allowed = ", ".join((*SPELT, "digits", "telephone", "date", *PLAIN))
    raise ValueError(f"text: <say-as> has interpret-as {kind!r}; allowed are {allowed}")


def _date(text: str, order: str) -> str:
    """A date in figures with its month's name: "2024-05-17" -> "May 17, 2024". Words stay as they are."""
    found = _DATE.fullmatch(text)
    if not found:
        return text
    if order and sorted(order) not in (["d", "m", "y"], ["d", "m"], ["m", "y"]):
        raise ValueError(f"text: <say-as> has format {order!r}; allowed are mdy, dmy, ymd, md, dm, ym, my")
    numbers = [n for n in found.groups() if n]
    order = order or ("ymd" if len(numbers[0]) == 4 else "mdy")[: len(numbers)]
    if len(order) != len(numbers):
        raise ValueError(f"text: <say-as> has {text!r} as a date of format {order!r}, which does not fit")
    parts = dict(zip(order, numbers, strict=True))
    month = int(parts.get("m", 0))
    if not 1 <= month <= 12 or not 1 <= int(parts.get("d", 1)) <= 31:
        raise ValueError(f"text: <say-as> has {text!r}, which is no date of format {order}")
    day = f" {int(parts['d'])}" if "d" in parts else ""
    year = f"{',' if day else ''} {parts['y']}" if "y" in parts else ""
    return f"{MONTHS[month - 1]}{day}{year}"

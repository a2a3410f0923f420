"""The music code of ABC, read voice by voice into sounds, bar lines and changes. Repeats are still folded.

Source: the ABC standard 2.1, section 4 (the tune body). Grace notes, decorations, slurs, chord symbols,
annotations and lyrics are passed over: they are no notes of the melody.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from fractions import Fraction

from tokenloom.sound.abc_fields import (
    ACCIDENTALS,
    KeyField,
    read_key,
    read_length,
    read_metre,
    read_shift,
    read_tempo,
)
from tokenloom.sound.keys import STEPS


@dataclass
class Sound:
    """A note, a chord or a rest: (pitch, length, tied to the next) each, and the time until what follows.

    Lengths are in whole notes. Broken rhythm changes it after it was read, hence not frozen.
    """

    notes: list[tuple[int, Fraction, bool]]
    step: Fraction

    def stretched(self, factor: Fraction) -> None:
        self.notes = [(pitch, length * factor, tied) for pitch, length, tied in self.notes]
        self.step *= factor


@dataclass(frozen=True)
class Bar:
    """A bar line. `again` is how often the part before it is repeated, `start` begins a repeat, `heavy` is a
    double line."""

    again: int = 0
    start: bool = False
    heavy: bool = False


@dataclass(frozen=True)
class Ending:
    """The head of a variant ending, played in these turns."""

    turns: frozenset[int]


@dataclass(frozen=True)
class Change:
    """A field within the music: ("metre", (beats, unit)), ("key", (tonic, mode)) or ("tempo", quarters)."""

    what: str
    value: tuple[int, int] | tuple[str, str] | float


Item = Sound | Bar | Ending | Change


@dataclass
class Voice:
    """One voice while it is read: what is in force, and the items so far."""

    unit: Fraction
    metre: tuple[int, int] | None
    key: KeyField
    shift: int = 0
    name: str = ""
    program: int = 0
    drums: bool = False
    items: list[Item] = field(default_factory=list)
    in_bar: dict[tuple[str, int], int] = field(default_factory=dict)
    """Accidentals since the bar line, by letter and octave."""
    carry: str = "pitch"
    """How far an accidental reaches: `pitch`, to every octave until the bar line; `octave`; or `not`."""
    tied: dict[tuple[str, int], int] = field(default_factory=dict)
    held: dict[tuple[str, int], int] = field(default_factory=dict)
    """Accidentals of notes that are tied on: in this bar, and out of the last one to what begins this one."""
    last: Sound | None = None
    broken: Fraction | None = None
    tuplet: tuple[Fraction, int] = (Fraction(1), 0)
    elapsed: Fraction = Fraction(0)
    """Time since the bar line, and the longest of what `&` laid over it."""
    longest: Fraction = Fraction(0)


_SIZE = r"(?:\d{1,4})?(?:/\d{1,4}|/{0,6})"
_TURNS = r"\d+(?:[,\-]\d+)*"
_TOKEN = re.compile(
    rf"""\[(?P<field>[A-Za-z]):(?P<value>[^\]\n]*)\]
      |(?P<bar>\.?:*\[?\|[|\]:]*|:{{2,}}|:\])(?:[ ]?\[(?P<first>{_TURNS})|(?P<after>{_TURNS}))?
      |\[(?P<ending>{_TURNS})
      |\((?P<tuplet>[2-9])(?::(?P<q>\d?))?(?::(?P<r>\d{{0,2}}))?
      |\[(?P<chord>[^\]\n|]*)\](?P<size>{_SIZE})(?P<tie>-?)
      |(?P<note>(?:\^\^|\^|__|_|=)?[A-Ga-g][,']*{_SIZE}[ ]?-?)
      |[zx](?P<rest>{_SIZE})
      |[ZX](?P<whole>\d{{0,3}})
      |(?P<broken>>{{1,3}}|<{{1,3}})
      |(?P<overlay>&)
      |(?P<skip>Hx(?![\d/])|[\s\\`*;?@$)\-]+|\(|[\d,':/^_=\[\]}}#|]|"[^"\n]*"?|\{{[^}}\n]*\}}?|![A-Za-z0-9.+<>()\-]+!|\+[A-Za-z.]+\+|y\d*|[!+~.H-Wh-w])
      """,
    re.VERBOSE,
)
_NOTE = re.compile(rf"(\^\^|\^|__|_|=)?([A-Ga-g])([,']*)({_SIZE})\s?(-?)")
_THREE = {2: 3, 3: 2, 4: 3, 6: 2, 8: 3}
"""Notes of a tuplet: in the time of how many. Five, seven and nine depend on the metre."""
LONGEST_TUNE = 200_000
"""Items of a voice at most, repeats unfolded."""


def read_music(line: str, voice: Voice) -> None:
    """One line of music code onto a voice. ValueError names what cannot be read and where."""
    at = 0
    while at < len(line):
        found = _TOKEN.match(line, at)
        if not found or found.end() == at:
            raise ValueError(f"{line[at]!r} at place {at + 1} of the line {line[:60]!r} is no music code")
        at = found.end()
        if found["skip"] is None:
            _read_token(found, voice)


def _read_token(found: re.Match[str], voice: Voice) -> None:
    if found["note"]:
        _add(voice, [_read_note(_NOTE.fullmatch(found["note"]), voice)])
    elif found["bar"]:
        _end_bar(voice)
        voice.items.append(_read_bar(found["bar"]))
        if turns := found["first"] or found["after"]:
            voice.items.append(Ending(_read_turns(turns)))
    elif found["ending"]:
        voice.items.append(Ending(_read_turns(found["ending"])))
    elif found["rest"] is not None:
        _add(voice, [], _size(found["rest"]) * voice.unit)
    elif found["whole"] is not None:
        beats, unit = voice.metre or (4, 4)
        _add(voice, [], Fraction(beats, unit) * int(found["whole"] or 1))
    elif found["tuplet"]:
        voice.tuplet = _read_tuplet(found, voice)
    elif found["broken"]:
        _break(found["broken"], voice)
    elif found["field"]:
        read_field(found["field"], found["value"], voice)
    elif found["overlay"]:
        voice.longest = max(voice.longest, voice.elapsed)
        voice.items.append(Sound([], -voice.elapsed))
        voice.elapsed = Fraction(0)
    else:
        _read_chord(found, voice)


def read_field(letter: str, value: str, voice: Voice) -> None:
    """A field that stands within the tune; those that change no notes are passed over."""
    if letter == "K":
        shift, key = read_shift(value), read_key(value)
        voice.shift = voice.shift if shift is None else shift
        if key:
            voice.key = key
            if key.tonic:
                voice.items.append(Change("key", (key.tonic, key.mode)))
    elif letter == "M":
        voice.metre = read_metre(value)
        if voice.metre:
            voice.items.append(Change("metre", voice.metre))
    elif letter == "L":
        voice.unit = read_length(value)
    elif letter == "Q":
        tempo = read_tempo(value)
        if tempo:
            voice.items.append(Change("tempo", tempo))


def _size(text: str) -> Fraction:
    """A length's factor: "" is 1, "3/2" is three halves, "/" a half, "//" a quarter."""
    above, slash, below = text.partition("/")
    factor = Fraction(int(above) if above else 1)
    if not slash:
        return factor
    if below.strip("/"):
        if int(below) == 0:
            raise ValueError(f"the length {text!r} divides by 0")
        return factor / int(below)
    return factor / 2 ** (1 + len(below))


def _read_note(found: re.Match[str] | None, voice: Voice) -> tuple[int, Fraction, bool]:
    assert found is not None
    sign, letter, marks, size, tie = found.groups()
    octave = (1 if letter.islower() else 0) + marks.count("'") - marks.count(",")
    place = letter.upper(), octave
    reach = (place[0], 0 if voice.carry == "pitch" else octave)
    held = voice.held.pop(place, None) if voice.elapsed == 0 else None
    held = voice.tied.pop(place, held)
    usual = voice.key.altered.get(place[0], 0)
    semitones = ACCIDENTALS[sign] if sign else voice.in_bar.get(reach, usual) if held is None else held
    if sign and voice.carry != "not":
        voice.in_bar[reach] = semitones
    if tie and semitones != usual:
        voice.tied[place] = semitones
    pitch = 60 + 12 * octave + STEPS[place[0]] + semitones + voice.shift
    return pitch, _size(size) * voice.unit, bool(tie)


def _read_chord(found: re.Match[str], voice: Voice) -> None:
    notes = [
        _read_note(note, voice) for note in _NOTE.finditer(re.sub(r'"[^"]*"|![^!]*!', "", found["chord"]))
    ]
    if not notes:
        return
    factor, tied = _size(found["size"]), bool(found["tie"])
    _add(voice, [(pitch, length * factor, tie or tied) for pitch, length, tie in notes])


def _add(voice: Voice, notes: list[tuple[int, Fraction, bool]], step: Fraction | None = None) -> None:
    sound = Sound(notes, notes[0][1] if step is None else step)
    factor, left = voice.tuplet
    if left:
        sound.stretched(factor)
        voice.tuplet = factor, left - 1
    if voice.broken is not None:
        sound.stretched(voice.broken)
        voice.broken = None
    voice.items.append(sound)
    voice.last = sound
    voice.elapsed += sound.step


def _break(marks: str, voice: Voice) -> None:
    """`a>b`: the first keeps 3/2 of its length and the second 1/2; each further mark halves the short one."""
    if voice.last is None:
        return
    short = Fraction(1, 2 ** len(marks))
    factor = 2 - short if marks[0] == ">" else short
    before = voice.last.step
    voice.last.stretched(factor)
    voice.elapsed += voice.last.step - before
    voice.broken = 2 - factor


def _read_tuplet(found: re.Match[str], voice: Voice) -> tuple[Fraction, int]:
    p = int(found["tuplet"])
    beats = (voice.metre or (4, 4))[0]
    compound = beats % 3 == 0 and beats > 3
    q = int(found["q"] or 0) or _THREE.get(p, 3 if compound else 2)
    return Fraction(q, p), int(found["r"] or 0) or p


def _end_bar(voice: Voice) -> None:
    if voice.longest > voice.elapsed:
        voice.items.append(Sound([], voice.longest - voice.elapsed))
    if voice.elapsed or voice.longest:
        voice.held, voice.tied = voice.tied, {}
    voice.elapsed = voice.longest = Fraction(0)
    voice.in_bar.clear()


def _read_bar(text: str) -> Bar:
    if "|" not in text:
        return Bar(again=1, start=text != ":]", heavy=True)
    before, after = text[: text.index("|")].count(":"), text[text.rindex("|") :].count(":")
    inner = text.strip(".:[").count(":") if text.count("|") > 1 else 0
    return Bar(again=before, start=bool(after or (inner and not before)), heavy=text.strip(".") != "|")


def _read_turns(text: str) -> frozenset[int]:
    turns: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        if not 1 <= int(first) <= int(last or first) <= 20:
            raise ValueError(f"the ending {text!r}: allowed are turns from 1 to 20, as in 1,3 or 1-3")
        turns |= set(range(int(first), int(last or first) + 1))
    return frozenset(turns)

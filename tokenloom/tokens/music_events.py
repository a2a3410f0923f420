"""The events of music, numbered: what each id of the range `music` means.

Not the order in which they come (music_walk.py) and not the model's whole vocabulary (music.py). As in REMI,
time is bars and places within a bar; times are ticks, twelve to a quarter note, so that triplets and
sixteenths are exact. A pitch is counted from the tonic's pitch class, so a tune is the same ids in every key:
a key that is asked for is kept by what the ids mean, and a tune teaches all twelve keys at once.
Source: Huang and Yang 2020, arXiv:2002.00212, section 3 (bar, position, pitch, duration, velocity, tempo).
"""

from __future__ import annotations

from collections.abc import Sequence

from tokenloom.sound.keys import MODES, MOST, fifths_of
from tokenloom.sound.score import bar_ticks

LONGEST_BAR = 96
"""Ticks of a bar, and of a note, at most: two whole notes."""
KINDS = (
    *("", "reel", "jig", "slip jig", "hornpipe", "air", "march", "strathspey", "clog", "fling", "set dance"),
)
"""Sorts of pieces; "" for one that is none of them."""
MODE_NAMES = ("", *MODES)
TONICS = ("", *(letter + sign for letter in "CDEFGAB" for sign in ("", "#", "b")))
"""Spelled tonics; "" where no key is said, and then pitches are counted from C."""
TEMPOS = (*range(40, 121, 4), *range(126, 301, 6))
"""Quarter notes a minute."""
VELOCITIES = (*range(8, 121, 8), 127)
METRES = tuple(
    (beats, unit)
    for unit in (1, 2, 4, 8, 16)
    for beats in range(1, 17)
    if bar_ticks(beats, unit) <= LONGEST_BAR
)
BARS = tuple(range(65))
"""Whole bars of a piece, the pickup not counted; 0 where there are more than 64."""
DRUMS = 128
"""The program that stands for drums."""
TRACKS = 16

GROUPS: dict[str, Sequence[object]] = {
    "bar": (0,),  # a whole bar begins
    "short": range(1, LONGEST_BAR),  # a bar of so many ticks begins: a pickup, or an irregular one
    "hidden": (0,),  # what stands in this bar is not shown
    "place": range(LONGEST_BAR + 1),  # the time goes to this tick of the bar; a silence before it is a rest
    "duration": range(1, LONGEST_BAR + 1),  # of the notes from here on
    "pitch": range(-11, 128),  # a note, in semitones above the tonic's pitch class in MIDI's lowest octave
    "velocity": VELOCITIES,  # of the notes from here on
    "tempo": ("", *TEMPOS),
    "metre": METRES,
    "tonic": TONICS,
    "mode": MODE_NAMES,
    "kind": KINDS,
    "bars": BARS,
    "program": range(DRUMS + 1),  # the instrument of the next track, at the head
    "track": range(TRACKS),  # the notes from here on are of this track
}
"""Each group of events and what its members mean, in the order of their numbers."""


def _offsets() -> dict[str, int]:
    found, at = {}, 0
    for name, values in GROUPS.items():
        found[name], at = at, at + len(values)
    return {**found, "": at}


OFFSETS = _offsets()
SIZE = OFFSETS[""]
"""How many events there are."""
_INDEX = {name: {value: at for at, value in enumerate(values)} for name, values in GROUPS.items()}
_MEANING = tuple((name, value) for name, values in GROUPS.items() for value in values)


def number(name: str, value: object = 0) -> int:
    """The event's number. ValueError for what no event says."""
    found = _INDEX[name].get(value)
    if found is None:
        values = GROUPS[name]
        raise ValueError(f"{name}: found {value!r}; allowed: {values[0]!r} to {values[-1]!r} as listed")
    return OFFSETS[name] + found


def meaning(event: int) -> tuple[str, object]:
    """(group, what it means). ValueError for a number past the last."""
    if not 0 <= event < SIZE:
        raise ValueError(f"event: found {event}; allowed: 0 to {SIZE - 1}")
    return _MEANING[event]


def nearest(values: Sequence[int], wanted: float) -> int:
    """The member that is closest, the lower one of two."""
    return min(values, key=lambda value: (abs(value - wanted), value))


def tonics_of(mode: str) -> list[str]:
    """The tonics on which a mode has a signature of seven accidentals at most; [""] for no mode."""
    if not mode:
        return [""]
    return [tonic for tonic in TONICS if tonic and _has_signature(tonic, mode)]


def _has_signature(tonic: str, mode: str) -> bool:
    try:
        return abs(fifths_of(tonic, mode)) <= MOST
    except ValueError:
        return False

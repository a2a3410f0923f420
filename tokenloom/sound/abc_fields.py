"""The fields of ABC that music depends on: K: keys, M: metres, L: unit lengths, Q: tempos, V: voices.

Source: the ABC standard 2.1, sections 3 (information fields) and 7 (voices); names and words of a field that
only say how to draw it are passed over.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from tokenloom.sound.keys import fifths_of, signature
from tokenloom.sound.score import bar_ticks

MODES = {
    "": "major",
    "maj": "major",
    "ion": "major",
    "m": "minor",
    "min": "minor",
    "aeo": "minor",
    "dor": "dorian",
    "phr": "phrygian",
    "lyd": "lydian",
    "mix": "mixolydian",
    "loc": "locrian",
}
ACCIDENTALS = {"^^": 2, "^": 1, "=": 0, "_": -1, "__": -2}
_KEY = re.compile(r"([A-G])([#b]?)\s*(?!(?:clef|octave|transpose|middle|stafflines|staffscale)\b)([A-Za-z]*)")
_EXTRA = re.compile(r"(\^\^|\^|__|_|=)([A-Ga-g])")
_SHIFT = re.compile(r"(transpose|octave|clef)=([^\s]+)")
_LENGTH = re.compile(r"(\d{1,4})\s*/\s*(\d{1,4})")


@dataclass(frozen=True)
class KeyField:
    """What K: says. `tonic` is empty where there is no key; `altered` is semitones by letter."""

    tonic: str
    mode: str
    altered: dict[str, int]


def read_key(text: str) -> KeyField | None:
    """K:, without its letter. None where it only draws (a clef); ValueError for what is no key."""
    text = text.strip()
    if not text or text.lower().startswith("none"):
        return KeyField("", "major", _extra(text))
    if text.startswith("HP"):
        return KeyField("", "major", {})
    if text.startswith("Hp"):
        return KeyField("A", "mixolydian", {"F": 1, "C": 1})
    found = _KEY.match(text)
    if not found:
        if re.match(r"[a-z-]+=|(treble|alto|tenor|bass|perc)\b|[\^_=]", text):
            return None
        raise ValueError(
            f"K: {text!r} is no key; allowed: a tonic with a mode, as in D, Bb, F#m, Ador or Emix"
        )
    tonic, word = found[1] + found[2], found[3]
    if word in ("exp", "treble", "bass", "alto", "tenor", "perc"):
        mode = "major"
    else:
        short = word.lower()[:3]  # capitals say nothing here: EM is E minor
        if short not in MODES:
            raise ValueError(
                f"K: {text!r}: mode {word!r} is none; allowed: maj, m, ion, dor, phr, lyd, mix, aeo, loc"
            )
        mode = MODES[short]
    altered = {} if word == "exp" else signature(fifths_of(tonic, mode))
    return KeyField(tonic, mode, altered | _extra(text[found.end() :]))


def _extra(text: str) -> dict[str, int]:
    return {letter.upper(): ACCIDENTALS[sign] for sign, letter in _EXTRA.findall(text)}


def read_shift(text: str) -> int | None:
    """Semitones by which the clef, `octave=` and `transpose=` of K: or V: move the notes; None if unsaid."""
    total, said = 0, False
    for name, value in _SHIFT.findall(text):
        number = re.fullmatch(r"[+-]?\d{1,2}", value)
        if name != "clef" and number:
            total, said = total + int(value) * (12 if name == "octave" else 1), True
    octave = re.search(r"(?:treble|bass|alto|tenor)[1-5]?([+-])8", text)
    if octave:
        total, said = total + (12 if octave[1] == "+" else -12), True
    return total if said else None


def read_metre(text: str) -> tuple[int, int] | None:
    """M:, without its letter: (beats, unit); None for a free metre. ValueError for what is no metre."""
    text = text.strip().strip("()")
    if text.lower() in ("", "none"):
        return None
    if text.startswith("C|"):
        return 2, 2
    if text.startswith("C"):
        return 4, 4
    found = re.fullmatch(r"\(?(\d{1,3}(?:\s*\+\s*\d{1,3})*)\)?\s*/\s*(\d{1,2})", text)
    if not found:
        raise ValueError(f"M: {text!r} is no metre; allowed: 6/8, 2+3/8, C, C| or none")
    beats, unit = sum(int(part) for part in found[1].split("+")), int(found[2])
    bar_ticks(beats, unit)
    return beats, unit


def default_length(metre: tuple[int, int] | None) -> Fraction:
    """The unit length where L: says none: a sixteenth under metres below three quarters, else an eighth."""
    return Fraction(1, 16) if metre and Fraction(*metre) < Fraction(3, 4) else Fraction(1, 8)


def read_length(text: str) -> Fraction:
    """L:, without its letter, in whole notes."""
    found = re.match(r"\s*(\d{1,4})(?:\s*/\s*(\d{1,4}))?", text)
    if not found or int(found[1]) == 0 or int(found[2] or 1) == 0:
        raise ValueError(f"L: {text.strip()!r} is no length; allowed: 1/8 and the like")
    return Fraction(int(found[1]), int(found[2] or 1))


def read_tempo(text: str) -> float | None:
    """Q:, without its letter, in quarter notes a minute; None where it has words only.

    A bare number is taken as quarter notes, as today's programs take it.
    """
    text = re.sub(r'"[^"]*"', "", text).strip()
    found = re.search(r"=?\s*(\d{1,4}(?:\.\d{1,6})?)\s*$", text)
    if not found:
        return None
    beat = sum(Fraction(int(a), max(int(b), 1)) for a, b in _LENGTH.findall(text.partition("=")[0]))
    tempo = float(found[1]) * float(beat * 4 if "=" in text and beat else 1)
    if not 1 <= tempo <= 1000:
        raise ValueError(f"Q: {text!r} is {tempo:g} quarter notes a minute; allowed are 1 to 1000")
    return tempo

"""Keys and pitch names: tonics, modes, signatures and how the line of fifths spells them.

A signature is a number of fifths: 2 is two sharps, -3 is three flats. Not harmony: what key a tune is in is
said by its file, never guessed here.
"""

from __future__ import annotations

MODES = {
    "major": 0,
    "minor": -3,
    "dorian": -2,
    "phrygian": -4,
    "lydian": 1,
    "mixolydian": -1,
    "locrian": -5,
}
"""Mode: fifths between its signature and that of the major key on the same tonic."""
STEPS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
"""Semitones above C of the white keys."""
SHARPS = "FCGDAEB"
"""The order in which a signature's sharps appear; its flats appear in the reverse order."""
_FIFTHS = {letter: n for n, letter in enumerate(SHARPS, start=-1)}
MOST = 7
"""Accidentals of a signature at most."""


def fifths_of(tonic: str, mode: str) -> int:
    """Accidentals of the signature: sharps above 0, flats below. ValueError for no key, or one past seven."""
    if mode not in MODES:
        raise ValueError(f"mode {mode!r} is not known; allowed: {', '.join(MODES)}")
    letter, accidental = tonic[:1], tonic[1:]
    if letter not in _FIFTHS or accidental not in ("", "#", "b"):
        raise ValueError(f"tonic {tonic!r} is none; allowed: a letter A to G, perhaps with # or b, as in Bb")
    fifths = _FIFTHS[letter] + {"": 0, "#": 7, "b": -7}[accidental] + MODES[mode]
    if abs(fifths) > MOST:
        raise ValueError(
            f"{tonic} {mode} would have {abs(fifths)} accidentals; a signature has at most {MOST}"
        )
    return fifths


def tonic_of(fifths: int, mode: str) -> str:
    """The tonic of a mode under a signature: 2 sharps and dorian give E."""
    if abs(fifths) > MOST:
        raise ValueError(f"a signature of {fifths} fifths: allowed are {-MOST} to {MOST}")
    place = fifths - MODES[mode] + 1  # F is 0 on the line of fifths that starts there
    return SHARPS[place % 7] + {-1: "b", 0: "", 1: "#"}[place // 7]


def signature(fifths: int) -> dict[str, int]:
    """Letter: semitones that the signature adds to it; letters without an accidental are left out."""
    if fifths >= 0:
        return dict.fromkeys(SHARPS[:fifths], 1)
    return dict.fromkeys(SHARPS[::-1][:-fifths], -1)


def pitch_class(tonic: str) -> int:
    """0 for C to 11 for B."""
    return (STEPS[tonic[0]] + {"": 0, "#": 1, "b": -1}[tonic[1:]]) % 12


def moved(tonic: str, mode: str, semitones: int) -> str:
    """The tonic so many semitones higher, spelled with the fewest accidentals (flats where there are six)."""
    fifths = fifths_of(tonic, mode)
    places = [place for place in range(-MOST, MOST + 1) if (place - fifths - 7 * semitones) % 12 == 0]
    if semitones % 12 == 0:
        return tonic
    return tonic_of(min(places, key=lambda place: (abs(place), place)), mode)

"""Which key a melody is in, from how long each degree sounds and on which it ends.

Not harmony, and not certain: keys written over tunes are no certainty themselves. A key's likelihood is that
of the melody's degrees, of its last note, and of the mode; the tables are counted over 2,355 dance tunes and
airs of the collections in data/tunes.py, those that are learned from. On their 114 held-out tunes the written
key is found for 90 %, by Krumhansl and Kessler's profiles for 73 %.
Source of the form: Temperley 2007, Music and Probability, chapter 4 (a key by Bayes' rule).
"""

from __future__ import annotations

import math

import numpy as np

from tokenloom.sound.keys import fifths_of, pitch_class
from tokenloom.sound.score import Score
from tokenloom.tokens.music_events import tonics_of

DEGREES = {
    "major": (260, 1, 131, 1, 162, 80, 3, 176, 1, 99, 4, 82),
    "minor": (261, 1, 127, 138, 1, 110, 1, 169, 24, 15, 133, 19),
    "dorian": (209, 1, 143, 86, 10, 135, 2, 169, 2, 72, 162, 7),
    "mixolydian": (253, 2, 118, 6, 121, 111, 2, 171, 2, 119, 86, 9),
}
"""Thousandths of the time that each semitone above the tonic sounds."""
LAST = {
    "major": (797, 1, 50, 1, 17, 30, 1, 45, 1, 40, 1, 20),
    "minor": (846, 2, 23, 34, 2, 27, 2, 12, 2, 2, 41, 9),
    "dorian": (577, 13, 38, 64, 13, 90, 13, 13, 13, 38, 115, 13),
    "mixolydian": (700, 11, 33, 11, 33, 56, 11, 33, 11, 11, 56, 33),
}
"""Thousandths of the tunes that end on each."""
Key = tuple[str, str]
"""Tonic and mode."""
SHARE = {"major": 0.852, "minor": 0.118, "dorian": 0.014, "mixolydian": 0.017}
NOTES = 20.0
"""So many independent notes a tune's degrees count for: neighbours repeat one another."""


def pitch_classes(score: Score) -> np.ndarray:
    """float64 (12,): ticks for which each pitch class sounds, drums left out."""
    found = np.zeros(12)
    for track in score.tracks:
        for note in track.notes if not track.drums else ():
            found[note.pitch % 12] += note.duration
    return found


def key_of(score: Score) -> list[Key]:
    """All (tonic, mode) from the likeliest on; tonics are spelled with the fewest accidentals.

    ValueError for a score without notes.
    """
    weights = pitch_classes(score)
    if not weights.any():
        raise ValueError("score: found no notes; allowed: at least one, to tell a key from")
    notes = [note for track in score.tracks if not track.drums for note in track.notes]
    last = max(notes, key=lambda note: (note.start, -note.pitch)).pitch
    weights = weights / weights.sum()
    found: dict[Key, float] = {}
    for mode, degrees in DEGREES.items():
        logs = np.log(np.array(degrees) / sum(degrees))
        for tonic in _tonics(mode):
            at = pitch_class(tonic)
            ending = math.log(LAST[mode][(last - at) % 12] / 1000)
            found[tonic, mode] = NOTES * float(weights @ np.roll(logs, at)) + ending + math.log(SHARE[mode])
    return sorted(found, key=lambda key: -found[key])


def same_key(one: Key, other: Key) -> bool:
    """Of one tonic, however it is spelled, and one mode."""
    return pitch_class(one[0]) == pitch_class(other[0]) and one[1] == other[1]


def same_signature(one: Key, other: Key) -> bool:
    """Of the same accidentals: relative keys are."""
    return (fifths_of(*one) - fifths_of(*other)) % 12 == 0


def in_key(score: Score, key: Key) -> tuple[int, int]:
    """How well a melody is in a key, a greater value is better: whether it is the likeliest one, and whether
    the likeliest has its signature. (0, 0) for a score without notes.
    """
    if not pitch_classes(score).any():
        return 0, 0
    found = key_of(score)[0]
    return int(same_key(found, key)), int(same_signature(found, key))


def _tonics(mode: str) -> list[str]:
    """One spelling of each of the twelve."""
    best: dict[int, str] = {}
    for tonic in sorted(tonics_of(mode), key=lambda tonic: abs(fifths_of(tonic, mode))):
        best.setdefault(pitch_class(tonic), tonic)
    return [best[number] for number in sorted(best)]

"""Which key a melody is in, from how long each pitch class sounds and where the melody ends.

Not harmony, and not certain: a tune of five pitches fits several keys. The durations of the pitch classes,
those of the last note counted again, are correlated with a profile of each mode turned to each tonic; the
profiles of major and minor are Krumhansl and Kessler's, those of dorian and mixolydian are made of them by
exchanging the degrees that differ (the sixth, the seventh).
Source: Krumhansl 1990, Cognitive Foundations of Musical Pitch, table 2.1 and chapter 4.
"""

from __future__ import annotations

import numpy as np

from tokenloom.sound.keys import pitch_class
from tokenloom.sound.score import Score
from tokenloom.tokens.music_events import tonics_of

_MAJOR = (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88)
_MINOR = (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17)


def _exchanged(profile: tuple[float, ...], a: int, b: int) -> tuple[float, ...]:
    found = list(profile)
    found[a], found[b] = found[b], found[a]
    return tuple(found)


PROFILES = {
    "major": _MAJOR,
    "minor": _MINOR,
    "dorian": _exchanged(_MINOR, 8, 9),
    "mixolydian": _exchanged(_MAJOR, 11, 10),
}
CLOSING = 2.0
"""The last note counts this often again."""


def pitch_classes(score: Score) -> np.ndarray:
    """float64 (12,): ticks for which each pitch class sounds, drums left out."""
    found = np.zeros(12)
    for track in score.tracks:
        for note in track.notes if not track.drums else ():
            found[note.pitch % 12] += note.duration
    return found


def key_of(score: Score) -> list[tuple[str, str]]:
    """All (tonic, mode) from the likeliest on; tonics are spelled with the fewest accidentals.

    ValueError for a score without notes.
    """
    weights = pitch_classes(score)
    if not weights.any():
        raise ValueError("score: found no notes; allowed: at least one, to tell a key from")
    last = max(
        (note for track in score.tracks if not track.drums for note in track.notes), key=lambda n: n.start
    )
    weights[last.pitch % 12] += CLOSING * weights.mean()
    weights = weights - weights.mean()
    scores: dict[tuple[str, str], float] = {}
    for mode, profile in PROFILES.items():
        turned = np.array(profile) - np.mean(profile)
        for tonic in _tonics(mode):
            shifted = np.roll(turned, pitch_class(tonic))
            scores[tonic, mode] = float(weights @ shifted / np.linalg.norm(shifted))
    return sorted(scores, key=lambda key: -scores[key])


def _tonics(mode: str) -> list[str]:
    """One spelling of each of the twelve."""
    from tokenloom.sound.keys import fifths_of

    best: dict[int, str] = {}
    for tonic in sorted(tonics_of(mode), key=lambda tonic: abs(fifths_of(tonic, mode))):
        best.setdefault(pitch_class(tonic), tonic)
    return [best[number] for number in sorted(best)]

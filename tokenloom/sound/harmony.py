"""An accompaniment by rules: chords of the key under a melody, and a bass. Nothing is learned.

Each half bar (a whole one, where a bar has no half of whole beats) gets a triad of the key's scale, found as
the best path by dynamic programming: a chord is good where it has the melody's notes, most of all the one on
the stress; roots that fall by a fifth are good, and the piece ends on the tonic, after the dominant where the
melody allows it. Not counterpoint, and not what a musician would play: no inversions, sevenths or modulation.
Sources: Viterbi 1967 (the path); Simon, Morris and Basu 2008, MySong, doi:10.1145/1357054.1357169, section 3
(chords as hidden states, melody as what they emit). The weights here are chosen by hand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tokenloom.sound.keys import MODES, fifths_of, pitch_class, signature
from tokenloom.sound.score import WHOLE, Note, Score, Track, bar_numbers

SCALE = "CDEFGAB"
MISSED_STRESS = 8.0
"""Cost of a chord without the note on the stress: more than any good path can bring."""
USUAL = {0: 0.5, 3: 0.3, 4: 0.35, 1: 0.1, 5: 0.1, 6: 0.05, 2: 0.0}
"""How readily a degree's chord is taken."""
ENDING = 0.5
"""Of the dominant before the last chord."""
BASS, CHORDS = 32, 24
"""Programs: an acoustic bass and a guitar."""
LOW, MIDDLE = 36, 53
"""The lowest pitches of bass and chords."""


@dataclass(frozen=True)
class Chord:
    """A triad of a scale."""

    degree: int
    """0 for the tonic to 6."""
    pitches: tuple[int, int, int]
    """Pitch classes, the root first."""


@dataclass(frozen=True)
class Slot:
    """A stretch of ticks under one chord, which begins on a stress."""

    start: int
    stop: int
    beat: int
    """Ticks of its beats; three eighths in compound metres."""


def chords_of(tonic: str, mode: str) -> tuple[Chord, ...]:
    """The triads of a mode's scale, without diminished ones but the tonic's; minor's fifth one is major."""
    sharps = signature(fifths_of(tonic, mode))
    first = SCALE.index(tonic[0])
    letters = SCALE[first:] + SCALE[:first]
    classes = [(pitch_class(letter) + sharps.get(letter, 0)) % 12 for letter in letters]
    found = []
    for degree in range(7):
        root, third, fifth = (classes[(degree + step) % 7] for step in (0, 2, 4))
        if degree and (fifth - root) % 12 != 7:
            continue
        if mode == "minor" and degree == 4:
            third = (root + 4) % 12
        found.append(Chord(degree, (root, third, fifth)))
    return tuple(found)


def harmonised(score: Score) -> Score:
    """The score with a bass and chords under its first track that has notes, which stay as they are.

    ValueError for a score without notes or key; a key that changes later is not followed.
    """
    melody = next((track for track in score.tracks if track.notes and not track.drums), None)
    if melody is None:
        raise ValueError("harmonise: found no notes but drums; allowed: a score with a melody")
    if not score.keys:
        raise ValueError(f"harmonise: found no key; allowed: a score that states one, {', '.join(MODES)}")
    chords = chords_of(*score.keys[0][1:])
    slots = slots_of(score)
    if not slots:
        raise ValueError("harmonise: found no whole bar; allowed: a score with one or more")
    path = best_path(melody.notes, slots, chords)
    bass, strummed = [], []
    for at, (slot, chord) in enumerate(zip(slots, path, strict=True)):
        ends = at + 1 == len(slots)
        bass += _bass(slot, chord, ends)
        strummed += _strummed(slot, chord, ends)
    added = (Track(tuple(strummed), CHORDS, name="chords"), Track(tuple(bass), BASS, name="bass"))
    return replace(score, tracks=(*score.tracks, *added))


def slots_of(score: Score) -> list[Slot]:
    """Half bars, or whole ones where a half is no whole number of beats; a pickup has none."""
    found = []
    for number, (start, stop) in zip(bar_numbers(score), score.bars, strict=True):
        if number == 0:
            continue
        beats, unit = next(metre[1:] for metre in reversed(score.metres) if metre[0] <= start)
        one = WHOLE // unit
        beat = 3 * one if unit >= 8 and beats % 3 == 0 else one
        n = max(1, (stop - start) // beat)
        size = (stop - start) // 2 if n % 2 == 0 and n > 2 and (stop - start) % 2 == 0 else stop - start
        if beat != one and n == 2:
            size = beat
        found += [Slot(at, min(at + size, stop), beat) for at in range(start, stop, size)]
    return found


def best_path(notes: Sequence[Note], slots: Sequence[Slot], chords: Sequence[Chord]) -> list[Chord]:
    """The best chord of each slot, all in all; the last is the tonic's."""
    scores = [[_fit(notes, slot, chord) for chord in chords] for slot in slots]
    if len(slots) > 1:
        for place, chord in enumerate(chords):
            scores[-2][place] += ENDING * (chord.degree == _dominant(chords))
    total, back = scores[0], []
    for row in scores[1:]:
        best = [max(range(len(chords)), key=lambda b: total[b] + _step(chords[b], chord)) for chord in chords]
        total = [
            row[a] + total[b] + _step(chords[b], chords[a])
            for a, b in zip(range(len(chords)), best, strict=True)
        ]
        back.append(best)
    place = next(at for at, chord in enumerate(chords) if chord.degree == 0)
    path = [place]
    for best in reversed(back):
        path.append(best[path[-1]])
    return [chords[at] for at in reversed(path)]


def _dominant(chords: Sequence[Chord]) -> int:
    """The fifth degree where its chord is major; else the seventh, as in tunes of the older modes."""
    fifth = next((chord for chord in chords if chord.degree == 4), None)
    return 4 if fifth and (fifth.pitches[1] - fifth.pitches[0]) % 12 == 4 else 6


def _fit(notes: Sequence[Note], slot: Slot, chord: Chord) -> float:
    """How well a chord has what sounds: time inside less time outside, and the stress."""
    fit = USUAL[chord.degree]
    for note in notes:
        time = min(note.stop, slot.stop) - max(note.start, slot.start)
        if time <= 0:
            continue
        has = note.pitch % 12 in chord.pitches
        fit += (1.0 if has else -1.0) * time / (slot.stop - slot.start)
        if note.start <= slot.start and not has:
            fit -= MISSED_STRESS
    return fit


def _step(before: Chord, after: Chord) -> float:
    """How well one chord follows another: a falling fifth is best."""
    if before == after:
        return 0.1
    return {5: 0.3, 7: 0.15, 2: 0.05, 10: 0.05}.get((after.pitches[0] - before.pitches[0]) % 12, -0.1)


def _bass(slot: Slot, chord: Chord, ends: bool) -> list[Note]:
    """The root on the stress."""
    pitch = LOW + (chord.pitches[0] - LOW) % 12
    length = slot.stop - slot.start if ends else min(slot.beat, slot.stop - slot.start)
    return [Note(slot.start, length, pitch, 66)]


def _strummed(slot: Slot, chord: Chord, ends: bool) -> list[Note]:
    """The chord on each beat after the stress, or on the third part of each; held at the end."""
    pitches = [MIDDLE + (pitch - MIDDLE) % 12 for pitch in chord.pitches]
    if ends:
        spans = [(slot.start, slot.stop - slot.start)]
    elif slot.beat % 9 == 0:  # three eighths, or three sixteenths, to a beat
        part = slot.beat // 3
        spans = [(at + 2 * part, part) for at in range(slot.start, slot.stop - 2 * part, slot.beat)]
    else:
        spans = [(at, slot.beat) for at in range(slot.start + slot.beat, slot.stop, slot.beat)]
    return [
        Note(at, max(1, min(length, slot.stop - at)), pitch, 52) for at, length in spans for pitch in pitches
    ]

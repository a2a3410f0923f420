"""An accompaniment by rules: what it promises holds for melodies at random."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenloom.sound.abc import read_tune
from tokenloom.sound.harmony import Slot, best_path, chords_of, harmonised, slots_of
from tokenloom.sound.keys import MODES
from tokenloom.sound.score import Note, Score, Track, bar_ticks

WALTZ = "X:1\nM:3/4\nL:1/4\nK:G\nG|GBd|gdB|cea|d2c|BGA|G2|]\n"
SCALE = (62, 64, 66, 67, 69, 71, 73, 74, 76)
METRES = st.sampled_from([(4, 4), (3, 4), (6, 8), (9, 8), (2, 4), (2, 2), (5, 4), (12, 8), (3, 8), (1, 4)])


@st.composite
def tunes(draw: st.DrawFn) -> Score:
    metre = draw(METRES)
    size = bar_ticks(*metre)
    pitches = draw(st.lists(st.sampled_from(SCALE), min_size=size // 6, max_size=8 * size // 6))
    pickup = draw(st.sampled_from([0, 6])) if size > 6 else 0
    notes = tuple(Note(6 * at, 6, pitch) for at, pitch in enumerate(pitches + [62] * 4))
    return Score((Track(notes),), ((0, *metre),), ((0, "D", "major"),), pickup=pickup)


@settings(max_examples=80, deadline=None)
@given(tunes())
def test_consonant_on_the_stress_and_home_at_the_end(score: Score) -> None:
    slots = slots_of(score)
    path = best_path(score.tracks[0].notes, slots, chords_of("D", "major"))
    assert path[-1].degree == 0
    for slot, chord in list(zip(slots, path, strict=True))[:-1]:
        sounding = [note.pitch % 12 for note in score.tracks[0].notes if note.start <= slot.start < note.stop]
        assert all(pitch in chord.pitches for pitch in sounding)


@settings(max_examples=60, deadline=None)
@given(tunes())
def test_the_melody_stays_and_what_is_added_keeps_to_the_bars(score: Score) -> None:
    made = harmonised(score)
    melody, chords, bass = made.tracks
    assert melody == score.tracks[0]
    assert (made.metres, made.keys, made.pickup) == (score.metres, score.keys, score.pickup)
    bars = score.bars
    stresses = {start for start, _ in bars[bool(score.pickup) :]}
    assert stresses <= {note.start for note in bass.notes}
    for note in (*chords.notes, *bass.notes):
        assert any(start <= note.start and note.stop <= stop for start, stop in bars)
        assert note.start >= score.pickup
    assert all(36 <= note.pitch < 48 for note in bass.notes)


def test_slots_cover_the_whole_bars() -> None:
    score = read_tune(WALTZ)
    slots = slots_of(score)
    assert slots[0] == Slot(12, 48, 12)
    assert [(slot.start, slot.stop) for slot in slots] == list(score.bars[1:])


def test_a_cadence_where_the_melody_allows_it() -> None:
    """A fifth above the tonic is in both chords: before the end the dominant is taken."""
    score = read_tune("X:1\nM:2/4\nL:1/4\nK:C\nCE|GG|GG|CC|]\n")
    path = best_path(score.tracks[0].notes, slots_of(score), chords_of("C", "major"))
    assert [chord.degree for chord in path][-2:] == [4, 0]
    assert path[0].degree == 0


def test_chords_of_scales() -> None:
    major = {chord.degree: chord.pitches for chord in chords_of("C", "major")}
    assert major == {
        0: (0, 4, 7), 1: (2, 5, 9), 2: (4, 7, 11), 3: (5, 9, 0), 4: (7, 11, 2), 5: (9, 0, 4),
    }  # fmt: skip
    minor = {chord.degree: chord.pitches for chord in chords_of("A", "minor")}
    assert minor[4] == (4, 8, 11)
    assert 1 not in minor
    for mode in MODES:
        assert chords_of("D", mode)[0].degree == 0


@pytest.mark.parametrize(
    ("score", "said"),
    [
        (Score((Track((Note(0, 12, 40),), drums=True),)), "no notes but drums"),
        (Score((Track((Note(0, 12, 40),)),)), "no key"),
        (Score((Track((Note(0, 6, 40),)),), keys=((0, "C", "major"),), pickup=12), "no whole bar"),
    ],
)
def test_what_has_no_harmony(score: Score, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        harmonised(score)

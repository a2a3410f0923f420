"""The score: bars from metres and pickups, moving, cutting, joining; wrong values are named."""

from __future__ import annotations

import pytest

from tokenloom.sound.keys import MODES, fifths_of, moved, pitch_class, tonic_of
from tokenloom.sound.score import Note, Score, Track, cut, joined, merged, quantised, seconds_at, transposed


def line(*starts: int, duration: int = 6, pitch: int = 60) -> Track:
    return Track(tuple(Note(start, duration, pitch) for start in starts))


def test_bars_follow_metres_and_pickup() -> None:
    jig = Score((line(0, 6, 42, 78),), ((0, 6, 8),), pickup=6)
    assert jig.bars == ((0, 6), (6, 42), (42, 78), (78, 114))
    changed = Score((line(100),), ((0, 4, 4), (48, 3, 4), (60, 3, 4)))
    assert changed.bars == ((0, 48), (48, 60), (60, 96), (96, 132)), "a metre said anew begins a bar"
    assert Score(()).bars == ()


def test_seconds_follow_tempos() -> None:
    score = Score((line(0, 42),), tempos=((0, 60.0), (24, 120.0)))
    assert seconds_at(score, 24) == pytest.approx(2.0)
    assert score.seconds == pytest.approx(3.0)
    assert Score((line(42),)).seconds == pytest.approx(2.0), "120 a minute where none is said"


def test_transposing_moves_pitches_and_keys_and_leaves_drums() -> None:
    score = Score((line(0), Track((Note(0, 6, 36),), drums=True)), keys=((0, "D", "dorian"),))
    higher = transposed(score, 3)
    assert [track.notes[0].pitch for track in higher.tracks] == [63, 36]
    assert higher.keys == ((0, "F", "dorian"),)
    assert transposed(higher, -3) == score
    with pytest.raises(ValueError, match="pitch 160"):
        transposed(score, 100)


@pytest.mark.parametrize("mode", MODES)
def test_keys_and_signatures_agree(mode: str) -> None:
    for fifths in range(-7, 8):
        tonic = tonic_of(fifths, mode)
        assert fifths_of(tonic, mode) == fifths
        for semitones in range(-11, 12):
            other = moved(tonic, mode, semitones)
            assert (pitch_class(other) - pitch_class(tonic) - semitones) % 12 == 0
            assert abs(fifths_of(other, mode)) <= 6 or semitones == 0


def test_quantising_moves_to_the_nearest_place() -> None:
    score = Score((Track((Note(1, 4, 60), Note(5, 1, 62), Note(11, 2, 64), Note(12, 10, 64))),))
    notes = [(n.start, n.duration, n.pitch) for n in quantised(score, (2,)).tracks[0].notes]
    assert notes == [(0, 6, 60), (6, 6, 62), (12, 12, 64)]
    assert quantised(score, (12,)) == score
    assert quantised(quantised(score)) == quantised(score)
    with pytest.raises(ValueError, match="divisors of 12"):
        quantised(score, (5,))


def test_cutting_counts_bars_as_musicians_do() -> None:
    score = Score((line(0, 6, 54, 102, duration=12),), keys=((0, "G", "major"), (54, "D", "major")), pickup=6)
    assert cut(score, 0, 3) == score
    second = cut(score, 2, 2)
    assert second.pickup == 0
    assert [n.start for n in second.tracks[0].notes] == [0]
    assert second.keys == ((0, "D", "major"),)
    with pytest.raises(ValueError, match="the score has 0 to 3"):
        cut(score, 2, 9)


def test_a_held_note_is_cut_at_both_edges() -> None:
    held = Score((Track((Note(0, 144, 60),)),))
    assert cut(held, 2, 2).tracks[0].notes == (Note(0, 48, 60),)


@pytest.mark.parametrize("pickup", [0, 6])
def test_what_was_cut_joins_again(pickup: int) -> None:
    score = Score((line(*range(pickup, 240, 12)), line(*range(0, 240, 24))), ((0, 6, 8),), pickup=pickup)
    first = 0 if pickup else 1
    assert joined(cut(score, first, 3), cut(score, 4, 7)) == score


def test_joining_keeps_bars_whole() -> None:
    with_rest = Score((line(0, 12, 24),), ((0, 4, 4),))
    upbeat = Score((line(0, 12),), ((0, 4, 4),), pickup=12)
    whole = joined(with_rest, upbeat)
    assert whole.bars == ((0, 48), (48, 96))
    assert [n.start for n in whole.tracks[0].notes] == [0, 12, 24, 36, 48]
    full = joined(Score((line(0, 42),), ((0, 4, 4),)), upbeat)
    assert full.bars == ((0, 48), (48, 60), (60, 108))
    assert merged(with_rest, upbeat).tracks == with_rest.tracks + upbeat.tracks


def test_equal_notes_make_equal_tracks() -> None:
    assert Track((Note(6, 6, 60), Note(0, 6, 64), Note(0, 6, 60))) == Track(
        (Note(0, 6, 60), Note(0, 6, 64), Note(6, 6, 60))
    )


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: Note(-1, 6, 60), "start -1"),
        (lambda: Note(0, 0, 60), "duration 0"),
        (lambda: Note(0, 6, 128), "pitch 128"),
        (lambda: Note(0, 6, 60, 0), "velocity 0"),
        (lambda: Track((), program=128), "program 128"),
        (lambda: Score((), ((0, 3, 5),)), "metre 3/5"),
        (lambda: Score((), ((0, 1, 32),)), "grid"),
        (lambda: Score((), ((6, 4, 4),)), "first must stand at tick 0"),
        (lambda: Score((), ((0, 4, 4), (0, 3, 4))), "metres"),
        (lambda: Score((), pickup=48), "pickup 48"),
        (lambda: Score((), keys=((0, "H", "major"),)), "tonic 'H'"),
        (lambda: Score((), keys=((0, "C", "blue"),)), "mode 'blue'"),
        (lambda: Score((), keys=((0, "G#", "major"),)), "8 accidentals"),
        (lambda: Score((), tempos=((0, 0.0),)), "tempos"),
    ],
)
def test_wrong_values_are_named(make: object, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        make()  # type: ignore[operator]

"""MIDI files: what is written reads back the same, and damaged files say what is wrong with them."""

from __future__ import annotations

import struct
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenloom.sound.keys import MODES, tonic_of
from tokenloom.sound.midi import LARGEST, read_midi, write_midi
from tokenloom.sound.score import Note, Score, Track, needed_metres

pytest.importorskip("mido")

NOTES = st.lists(
    st.builds(Note, st.integers(0, 300), st.integers(1, 60), st.integers(0, 127), st.integers(1, 127)),
    max_size=30,
)
NAMES = st.text(st.characters(codec="utf-8", exclude_categories=["C"]), max_size=12)
METRE = st.sampled_from([(4, 4), (6, 8), (2, 2), (3, 4), (9, 8), (7, 16)])
KEY = st.builds(
    lambda fifths, mode: (tonic_of(fifths, mode), mode), st.integers(-7, 7), st.sampled_from([*MODES])
)


def without_nesting(notes: list[Note]) -> tuple[Note, ...]:
    """Notes of one pitch end in the order in which they begin: MIDI says no more of them than that."""
    kept: list[Note] = []
    for note in sorted(notes, key=lambda n: (n.start, n.pitch, n.duration)):
        same = [other for other in kept if other.pitch == note.pitch]
        if all(other.start < note.start and other.stop <= note.stop for other in same):
            kept.append(note)
    return tuple(kept)


@st.composite
def scores(draw: st.DrawFn) -> Score:
    def changes(values: st.SearchStrategy, first: bool) -> list[tuple]:
        found = {0: draw(values)} if first else {}
        found |= draw(st.dictionaries(st.integers(49, 200), values, max_size=3))
        ordered = sorted(found.items())
        return [
            event for place, event in enumerate(ordered) if not place or event[1] != ordered[place - 1][1]
        ]

    pickup = draw(st.sampled_from([0, 0, 3, 4, 6, 12, 18]))
    metres = needed_metres([(tick, *metre) for tick, metre in changes(METRE, True)], pickup)
    tracks = [
        Track(without_nesting(draw(NOTES)), draw(st.integers(0, 127)), draw(st.booleans()), draw(NAMES))
        for _ in range(draw(st.integers(1, 3)))
    ]
    return Score(
        tuple(tracks),
        metres,
        tuple((tick, *key) for tick, key in changes(KEY, False)),
        tuple(changes(st.integers(20, 400).map(float), False)),
        pickup,
        draw(NAMES),
        draw(NAMES),
    )


@settings(max_examples=60, deadline=None)
@given(scores())
def test_a_written_score_reads_back_the_same(score: Score) -> None:
    read = read_midi(write_midi(score))
    assert read.tracks == score.tracks
    assert (read.pickup, read.metres, read.keys) == (score.pickup, score.metres, score.keys)
    assert (read.title, read.kind) == (score.title, score.kind)
    assert [(tick, round(tempo, 2)) for tick, tempo in read.tempos] == list(score.tempos)
    assert write_midi(read) == write_midi(score)


def midi(*tracks: bytes, kind: int = 1, division: int = 480) -> bytes:
    chunks = b"".join(b"MTrk" + struct.pack(">I", len(track)) + track for track in tracks)
    return b"MThd" + struct.pack(">IHHH", 6, kind, len(tracks), division) + chunks


END = b"\x00\xff\x2f\x00"
RUNNING = b"\x00\x90\x3c\x40\x83\x60\x3c\x00\x00\x40\x40\x83\x60\x40\x00" + END


def starts(score: Score) -> list[list[tuple[int, int, int]]]:
    return [[(n.start, n.duration, n.pitch) for n in track.notes] for track in score.tracks]


def test_running_status_and_a_note_on_without_velocity() -> None:
    assert starts(read_midi(midi(RUNNING))) == [[(0, 12, 60), (12, 12, 64)]]


def test_times_round_to_the_grid() -> None:
    late = b"\x0a\x90\x3c\x40\x83\x50\x3c\x00" + END  # 10 and 464 of 480
    assert starts(read_midi(midi(late))) == [[(0, 12, 60)]]


def test_a_type_0_file_makes_a_track_of_each_channel() -> None:
    both = b"\x00\xc1\x28\x00\x91\x3c\x40\x00\x99\x24\x40\x83\x60\x81\x3c\x00\x00\x89\x24\x00" + END
    score = read_midi(midi(both, kind=0))
    assert [(t.program, t.drums, len(t.notes)) for t in score.tracks] == [(40, False, 1), (0, True, 1)]


def test_a_type_2_file_is_read_as_one_pattern_after_the_other() -> None:
    assert starts(read_midi(midi(RUNNING, RUNNING, kind=2)))[1] == [(24, 12, 60), (36, 12, 64)]


def test_smpte_time_is_read_as_seconds() -> None:
    score = read_midi(midi(b"\x00\x90\x3c\x40\x87\x68\x3c\x00" + END, division=0xE728))  # 25 frames of 40
    assert score.seconds == pytest.approx(1.0)


def test_a_note_that_is_never_ended_ends_with_its_track() -> None:
    assert starts(read_midi(midi(b"\x00\x90\x3c\x40\x83\x60\xff\x2f\x00"))) == [[(0, 12, 60)]]


@pytest.mark.parametrize(
    ("data", "named"),
    [
        (b"", "empty"),
        (b"X:1\nT:no MIDI\nK:C\nabc", "begins with b'X:1"),
        (b"MThd\x00", "truncated"),
        (midi(RUNNING)[:-5], "5 bytes of track 1 are missing"),
        (midi(RUNNING)[:20], "0 of its 1 tracks"),
        (midi(), "no tracks"),
        (midi(RUNNING, kind=7), "type 7"),
        (midi(RUNNING, division=0), "division"),
        (midi(b"\x00\x90\x3c"), "damaged"),
        (midi(b"\x3c\x3c\x3c\x3c"), "damaged"),
        (b"MThd" + bytes(LARGEST), "at most"),
    ],
)
def test_wrong_files_say_what_is_wrong(data: bytes, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        read_midi(data)


def test_a_hundred_megabytes_of_nonsense_are_not_read(tmp_path: Path) -> None:
    path = tmp_path / "large.mid"
    with path.open("wb") as file:
        file.truncate(100_000_000)
    with pytest.raises(ValueError, match="at most"):
        read_midi(path)
    path.write_text("a text named .mid")
    with pytest.raises(ValueError, match=r"large\.mid is no MIDI file"):
        read_midi(path)


def test_an_end_without_a_note_is_passed_over() -> None:
    assert starts(read_midi(midi(b"\x00\x81\x3c\x00" + RUNNING))) == [[(0, 12, 60), (12, 12, 64)]]


def test_a_key_that_is_none_is_named() -> None:
    with pytest.raises(ValueError, match="damaged MIDI file: Could not decode key with 8 sharps"):
        read_midi(midi(b"\x00\xff\x59\x02\x08\x00" + RUNNING))


def test_damage_raises_nothing_but_a_value_error() -> None:
    whole = midi(b"\x00\xff\x58\x04\x06\x03\x18\x08\x00\xff\x59\x02\x02\x00" + RUNNING, RUNNING)
    found: Counter[bool] = Counter()

    @settings(max_examples=150, deadline=None)
    @given(
        st.lists(st.tuples(st.integers(0, len(whole) - 1), st.integers(0, 255)), max_size=6),
        st.just(len(whole)) | st.integers(0, len(whole)),
    )
    def body(changes: list[tuple[int, int]], kept: int) -> None:
        data = bytearray(whole[:kept])
        for place, value in changes:
            if place < len(data):
                data[place] = value
        try:
            assert isinstance(read_midi(bytes(data)), Score)
            found[True] += 1
        except ValueError:
            found[False] += 1

    body()
    assert found[True]
    assert found[False]


def test_more_tracks_than_channels() -> None:
    many = Score(tuple(Track((Note(0, 6, 60),), place % 5) for place in range(20)))
    assert read_midi(write_midi(many)) == many
    with pytest.raises(ValueError, match="16 programs at once"):
        write_midi(Score(tuple(Track((Note(0, 6, 60),), place) for place in range(16))))

"""ABC that is written reads back as the same score: any notes on the grid, under any key and metre."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tokenloom.sound.abc import read_abc, write_abc
from tokenloom.sound.keys import MODES, tonic_of
from tokenloom.sound.score import Note, Score, Track, needed_metres

NAMES = st.text(
    st.characters(codec="utf-8", exclude_categories=["C", "Z"], exclude_characters='\\"'), max_size=8
)
METRE = st.sampled_from([(4, 4), (6, 8), (2, 2), (3, 4), (9, 8), (7, 16)])
KEY = st.builds(
    lambda fifths, mode: (tonic_of(fifths, mode), mode), st.integers(-7, 7), st.sampled_from([*MODES])
)


@st.composite
def tracks(draw: st.DrawFn) -> Track:
    """Notes that overlap as they like, but not with their own pitch, which ABC could not tell apart."""
    kept: list[Note] = []
    found = draw(
        st.lists(st.tuples(st.integers(0, 200), st.integers(1, 60), st.integers(24, 100)), max_size=20)
    )
    for start, duration, pitch in sorted(found):
        if all(other.stop < start or other.pitch != pitch for other in kept):
            kept.append(Note(start, duration, pitch))
    return Track(tuple(kept), draw(st.integers(0, 127)), draw(st.booleans()), draw(NAMES))


@st.composite
def scores(draw: st.DrawFn) -> Score:
    parts = tuple(draw(st.lists(tracks().filter(lambda t: t.notes), min_size=1, max_size=3)))
    length = min(note.stop for track in parts[:1] for note in track.notes)
    ticks = [tick for tick in draw(st.sets(st.integers(1, 150), max_size=3)) if tick < length]
    metre, pickup = draw(METRE), draw(st.sampled_from([0, 0, 6, 12]))
    metres = [(0, *metre)] + [(tick, *draw(METRE)) for tick in sorted(ticks) if tick > 24 + pickup]
    keys = {0: draw(KEY)} | {tick: draw(KEY) for tick in ticks}
    ordered = sorted(keys.items())
    changed = [event for n, event in enumerate(ordered) if not n or event[1] != ordered[n - 1][1]]
    return Score(
        parts,
        needed_metres(metres, pickup),
        tuple((tick, *key) for tick, key in changed),
        ((0, draw(st.integers(20, 400).map(float))),),
        pickup,
        draw(NAMES),
        draw(NAMES).lower(),
    )


@settings(max_examples=60, deadline=None)
@given(scores())
def test_what_is_written_reads_back_the_same(score: Score) -> None:
    [read] = read_abc(write_abc(score))
    assert read.tracks == score.tracks
    assert (read.keys, read.tempos) == (score.keys, score.tempos)
    assert (read.title, read.kind) == (score.title, score.kind)


def test_a_tune_is_written_as_people_write_it() -> None:
    text = """X:1
T:The Example
R:jig
M:6/8
L:1/8
Q:1/4=180
K:Ador
E | A2^G Aed | [Ac]3 (3gfe d | c/d/ecA2z |]
"""
    assert write_abc(read_abc(text)[0]).splitlines() == [
        *["X:1", "T:The Example", "R:jig", "M:6/8", "L:1/8", "Q:1/4=180", "K:Ador"],
        "E | A2^G Aed | [A3c3] (3gfed | c/d/ec A2z |]",
    ]


def test_names_and_pickups_survive() -> None:
    line = Track(tuple(Note(start, 6, 60) for start in range(6, 60, 6)), name='the "first" one')
    score = Score((line, line), ((0, 6, 8),), pickup=6, title="100 % mine")
    [read] = read_abc(write_abc(score))
    assert [track.name for track in read.tracks] == ["the 'first' one"] * 2
    assert (read.title, read.pickup, read.metres) == (score.title, 6, ((0, 6, 8),))


def test_a_score_without_notes_is_a_tune_of_rests() -> None:
    [read] = read_abc(write_abc(Score((Track(),))))
    assert read.tracks == (Track(),)

"""Music as ids: scores come back as they were, and whatever a model samples is a score."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tokenloom.sound.abc import read_tune
from tokenloom.sound.midi import read_midi, write_midi
from tokenloom.sound.score import Note, Score, Track, bar_ticks, transposed
from tokenloom.tokens.music import CLOSED, MusicAsk, MusicTokens, add_music, melody
from tokenloom.tokens.music_events import GROUPS, SIZE, meaning, number
from tokenloom.tokens.music_grammar import KNOWN_METRES, METRES_OF, Rules, follow
from tokenloom.tokens.music_key import key_of
from tokenloom.tokens.music_score import piece_of, score_of, snapped, split
from tokenloom.tokens.music_wish import Wish, parse_wish
from tokenloom.tokens.train import Plan, train_tokenizer

REEL = """X:1
T:Of the test
R:reel
M:4/4
L:1/8
K:Ador
ed|:cAAB cded|cAAB cdec|BGGF GABc|1 dBgB dBed:|2 dBgB d2 ed||
"""


@pytest.fixture(scope="module")
def tokens() -> MusicTokens:
    trained = train_tokenizer(["music"], Plan(vocab_size=258, characters=True, chat=False))
    tokenizer, vocabulary = add_music(trained.tokenizer, trained.vocabulary)
    return MusicTokens(tokenizer, vocabulary, 512)


NOTES = st.builds(Note, st.integers(0, 400), st.integers(1, 120), st.integers(0, 127), st.integers(1, 127))
TRACKS = st.lists(
    st.builds(Track, st.lists(NOTES, min_size=1, max_size=20).map(tuple), st.integers(0, 127), st.booleans()),
    min_size=1,
    max_size=3,
).map(tuple)
METRE = st.sampled_from([(4, 4), (6, 8), (3, 4), (2, 4), (9, 8)])
KEY = st.sampled_from([("D", "major"), ("A", "dorian"), ("Bb", "minor")])


def _changes(values: st.SearchStrategy, first: int) -> st.SearchStrategy:
    return st.dictionaries(st.integers(first, 300), values, max_size=3).map(lambda d: sorted(d.items()))


@st.composite
def scores(draw: st.DrawFn) -> Score:
    metre = draw(METRE)
    pickup = draw(st.integers(0, bar_ticks(*metre) - 1))
    return Score(
        draw(TRACKS),
        ((0, *metre), *((at, *then) for at, then in draw(_changes(METRE, pickup + 1)))),
        tuple((at, *key) for at, key in draw(_changes(KEY, 0))),
        tuple((at, tempo) for at, tempo in draw(_changes(st.floats(30, 320), 0))),
        pickup,
        "a title",
        draw(st.sampled_from(["reel", "", "of no kind"])),
    )


@settings(max_examples=150, deadline=None)
@given(scores())
def test_a_snapped_score_comes_back_as_it_was(score: Score) -> None:
    try:
        wanted = snapped(score)
    except ValueError as error:
        assume("first bar" not in str(error))
        raise
    assert snapped(wanted) == wanted
    piece = piece_of(wanted)
    assert split(piece.events) == piece
    assert score_of(piece) == wanted


@settings(max_examples=60, deadline=None)
@given(scores())
def test_midi_to_ids_to_midi(score: Score) -> None:
    try:
        wanted = replace(snapped(score), kind="")
    except ValueError as error:
        assume("first bar" not in str(error))
        raise
    file = write_midi(wanted)
    again = snapped(read_midi(file))
    back = score_of(split(piece_of(again).events))
    assert back == again
    assert write_midi(back) == write_midi(again)


def test_events_at_random_are_a_score_or_a_value_error() -> None:
    whole = piece_of(read_tune(REEL)).events
    found: Counter[bool] = Counter()
    some = st.sampled_from(whole) | st.integers(0, SIZE - 1)

    @settings(max_examples=200, deadline=None)
    @given(
        st.lists(st.tuples(st.integers(0, len(whole) - 1), some), max_size=4), st.just([]) | st.lists(some)
    )
    def body(changes: list[tuple[int, int]], more: list[int]) -> None:
        events = [*whole, *more]
        for place, event in changes:
            events[place] = event
        try:
            assert score_of(split(events)).metres
            found[True] += 1
        except ValueError:
            found[False] += 1

    body()
    assert found[True]
    assert found[False]


def test_a_tune_in_another_key_is_the_same_notes() -> None:
    score = snapped(read_tune(REEL))
    here, there = piece_of(score), piece_of(transposed(score, 2))
    assert (here.head.tonic, there.head.tonic) == ("A", "B")
    assert here.bars == there.bars


def test_a_running_melody_takes_one_event_a_note() -> None:
    score = snapped(read_tune(REEL))
    piece = piece_of(score)
    n_events = sum(len(bar) for bar in piece.bars)
    bars = len(piece.bars)
    assert n_events - bars < 1.3 * len(score.tracks[0].notes)


def test_ids_and_back(tokens: MusicTokens) -> None:
    score = snapped(read_tune(REEL))
    ids = tokens.ids_of(score)
    assert tokens.score_of(ids) == score
    with pytest.raises(ValueError, match="whole score"):
        tokens.score_of(ids[:-1])
    example = tokens.example_compose(score)
    assert example.ids == ids
    assert example.learned == [False] + [True] * (len(ids) - 1)


# --- whatever is sampled ----------------------------------------------------------------------------------


def sampled(tokens: MusicTokens, ask: MusicAsk, seed: int, sharp: float = 1.0) -> list[int]:
    """As the engine does it, with logits at random that favour some ids by chance."""
    rng = np.random.default_rng(seed)
    matcher = follow(ask.rules)
    liking = rng.normal(size=tokens.vocabulary.size) * sharp
    out: list[int] = []
    while not matcher.done:
        assert len(out) < ask.max_tokens
        mask = matcher.mask(tokens.vocabulary.size)
        assert mask.any()
        noise = rng.gumbel(size=len(mask))
        id = int(np.argmax(np.where(mask, liking + noise, -np.inf)))
        forced = matcher.forced(1)
        assert not forced or forced == [id]
        matcher.accept(id)
        out.append(id)
    assert out[-1] in ask.stop_ids
    return out[:-1]


KINDS_ASKED = st.one_of(st.none(), st.sampled_from(list(METRES_OF)))


@settings(max_examples=80, deadline=None)
@given(
    KINDS_ASKED,
    st.one_of(st.none(), st.sampled_from(KNOWN_METRES)),
    st.one_of(st.none(), KEY),
    st.one_of(st.none(), st.integers(1, 32)),
    st.integers(0, 2**32),
    st.sampled_from([0.0, 1.0, 8.0]),
)
def test_what_is_composed_is_what_was_asked(
    tokens: MusicTokens,
    kind: str | None,
    metre: tuple[int, int] | None,
    key: tuple[str, str] | None,
    bars: int | None,
    seed: int,
    sharp: float,
) -> None:
    tonic, mode = key or (None, None)
    ask = tokens.compose(Wish(kind, metre, mode, tonic, bars=bars, pace=1.1))
    score = tokens.score(ask, sampled(tokens, ask, seed, sharp))
    assert bars in (None, len(score.bars) - bool(score.pickup))
    assert metre in (None, score.metres[0][1:])
    assert len(score.metres) == 1
    assert kind in (None, score.kind)
    assert key in (None, score.keys[0][1:])
    assert len(score.keys) == 1
    assert snapped(score) == score
    assert read_midi(write_midi(score)).tracks
    notes = score.tracks[0].notes
    assert all(a.stop <= b.start for a, b in itertools.pairwise(notes))
    assert score.length <= score.bars[-1][1]
    for start, stop in score.bars[bool(score.pickup) :]:
        assert any(note.start < stop and note.stop > start for note in notes)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 5), st.integers(0, 4), st.integers(0, 2**32), st.sampled_from([0.0, 8.0]))
def test_infilling_leaves_the_rest(
    tokens: MusicTokens, first: int, more: int, seed: int, sharp: float
) -> None:
    score = melody(snapped(read_tune(REEL)))
    last = min(first + more, len(score.bars) - 1)
    ask = tokens.infill(score, first, last)
    made = tokens.score(ask, sampled(tokens, ask, seed, sharp))
    assert made.bars == score.bars
    assert made.keys == score.keys
    begin, end = score.bars[first][0], score.bars[last][1]

    def outside(one: Score) -> list[Note]:
        return [note for note in one.tracks[0].notes if not begin <= note.start < end]

    assert outside(made) == outside(score)
    assert all(note.stop <= end for note in made.tracks[0].notes if begin <= note.start < end)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 16), st.integers(0, 2**32))
def test_continuing_keeps_what_is_given(tokens: MusicTokens, more: int, seed: int) -> None:
    score = melody(snapped(read_tune(REEL)))
    bars = len(score.bars) - 1
    ask = tokens.go_on(score, bars + more)
    made = tokens.score(ask, sampled(tokens, ask, seed))
    given_notes = score.tracks[0].notes
    assert made.tracks[0].notes[: len(given_notes)] == given_notes
    assert len(made.bars) - 1 == bars + more
    assert made.pickup == score.pickup


def test_few_ids_are_enough(tokens: MusicTokens) -> None:
    ask = tokens.compose(Wish("reel", bars=32))
    short = replace(Rules.of(ask.rules), most=32 * 3 + 8 + 7)
    tight = replace(ask, rules=short.text(), max_tokens=short.most)
    score = tokens.score(tight, sampled(tokens, tight, 3))
    assert len(score.bars) - bool(score.pickup) == 32


def test_an_infilling_example_is_what_is_asked(tokens: MusicTokens) -> None:
    score = melody(snapped(read_tune(REEL)))
    example = tokens.example_infill(score, range(2, 4))
    ask = tokens.infill(score, 2, 3)
    assert example.ids[: len(ask.ids)] == list(ask.ids)
    assert example.learned.index(True) == len(ask.ids)
    matcher = follow(ask.rules)
    for id in example.ids[len(ask.ids) :]:
        matcher.accept(id)
    assert matcher.done
    assert tokens.score(ask, example.ids[len(ask.ids) : -1]) == score


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"first": 0, "last": 99}, "infill"),
        ({"first": 4, "last": 2}, "infill"),
    ],
)
def test_bars_that_are_not_there(tokens: MusicTokens, change: dict[str, int], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        tokens.infill(read_tune(REEL), **change)


def test_what_cannot_be_asked(tokens: MusicTokens) -> None:
    score = read_tune(REEL)
    with pytest.raises(ValueError, match="bars: found 3"):
        tokens.go_on(score, 3)
    with pytest.raises(ValueError, match="as the model has"):
        MusicTokens(tokens.tokenizer, tokens.vocabulary, 120).compose(Wish("reel", bars=64))
    with pytest.raises(ValueError, match="D# major"):
        tokens.compose(Wish(tonic="D#", mode="major"))
    with pytest.raises(ValueError, match="no notes but drums"):
        melody(Score((Track((Note(0, 12, 40),), drums=True),)))
    for text in ("", "{}", "[]", '{"start": 1}', "null"):
        with pytest.raises(ValueError, match="rules of music"):
            follow(text)


# --- words --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("a lively reel in D", Wish("reel", mode="major", tonic="D", pace=1.1)),
        ("A slow air in A minor, 16 bars", Wish("air", mode="minor", tonic="A", bars=16)),
        ("slip jig in E dorian at 120 bpm", Wish("slip jig", mode="dorian", tonic="E", tempo=120)),
        ("Jigs in F# minor, 6/8", Wish("jig", (6, 8), "minor", "F#")),
        ("hornpipe in Bb", Wish("hornpipe", mode="major", tonic="Bb")),
        ("a march in Gm", Wish("march", mode="minor", tonic="G")),
        ("一首D大调的里尔舞曲", Wish("reel", mode="major", tonic="D")),
        ("欢快的降B大调号笛舞曲，三十二小节", Wish("hornpipe", mode="major", tonic="Bb", pace=1.1, bars=32)),
        ("A小调进行曲，八分之六拍，16小节", Wish("march", (6, 8), "minor", "A", bars=16)),
        ("四三拍的曲调", Wish("air", (3, 4))),
        ("", Wish()),
    ],
)
def test_words_become_tags(text: str, wanted: Wish) -> None:
    assert parse_wish(text) == wanted


def test_words_that_are_not_known_are_said() -> None:
    assert parse_wish("a heavy metal reel in D").unknown == ("heavy", "metal")
    assert parse_wish("a polka").unknown == ("polka",)
    assert parse_wish("一首忧郁的里尔舞曲").unknown == ("忧郁",)


@pytest.mark.parametrize(
    ("text", "field"),
    [("a reel and a jig", "kind"), ("in D, no, in G", "tonic"), ("a reel of 900 bars", "bars")],
)
def test_a_wish_that_contradicts_itself(text: str, field: str) -> None:
    with pytest.raises(ValueError, match=field):
        parse_wish(text)


def test_a_flag_goes_over_the_words() -> None:
    both = Wish(tonic="G", bars=8).over(parse_wish("a lively reel in D minor"))
    assert both == Wish("reel", mode="major", tonic="G", pace=1.1, bars=8)


def test_a_key_is_told_by_its_pitches() -> None:
    scale = [62, 64, 66, 67, 69, 71, 73, 74, 69, 66, 62, 66, 69, 74, 66, 62]
    score = Score((Track(tuple(Note(at * 6, 6, pitch) for at, pitch in enumerate(scale))),))
    assert key_of(score)[0] == ("D", "major")
    assert key_of(transposed(score, 5))[0] == ("G", "major")


def test_numbers_of_events_are_all_different() -> None:
    seen = {number(name, value) for name, values in GROUPS.items() for value in values}
    assert seen == set(range(SIZE))
    assert all(number(*meaning(event)) == event for event in range(SIZE))
    assert CLOSED

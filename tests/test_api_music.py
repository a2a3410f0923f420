"""Music in the Python API, by the composer that comes with Tokenloom."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tiny_composer import ABC

import tokenloom as tl
from tokenloom.api_music import Composed
from tokenloom.sound.abc import read_tune
from tokenloom.sound.midi import read_midi
from tokenloom.sound.score import Score
from tokenloom.tasks.music import MusicError
from tokenloom.tokens.music_key import key_of
from tokenloom.trust import verify


@pytest.fixture(scope="module")
def model() -> Iterator[tl.Model]:
    with tl.load("composer") as loaded:
        yield loaded


def melody(score: Score) -> list[tuple[int, int, int]]:
    return [(note.start, note.duration, note.pitch) for note in score.tracks[0].notes]


def test_words_are_kept(model: tl.Model) -> None:
    """What is asked is there: kind, metre, bars, and, of the drafts that are made, the key."""
    made = model.music.compose("a lively reel in D", bars=8, n=3, seed=1)
    for one in made:
        assert (one.score.kind, one.score.metres, one.unknown) == ("reel", ((0, 4, 4),), ())
        assert len(one.score.bars) - bool(one.score.pickup) == 8
        assert key_of(one.score)[0] == ("D", "major")
    assert len({str(melody(one.score)) for one in made}) == 3
    chinese = model.music.compose("D大调里尔舞曲", bars=8, seed=1)[0]
    assert chinese.score.keys[0][1:] == ("D", "major")


def test_a_seed_is_the_same_tune_however_many_are_asked_for(model: tl.Model) -> None:
    one, same, other = (model.music.compose("a jig in G", bars=4, seed=seed) for seed in (5, 5, 6))
    assert one == same
    assert melody(one[0].score) != melody(other[0].score)
    assert model.music.compose("a jig in G", bars=4, seed=5, n=2)[0].score == one[0].score


def test_what_is_gone_on_with_stays_in_front(model: tl.Model) -> None:
    given = read_tune(ABC)
    made = model.music.go_on(given, 4, seed=2)[0].score
    assert melody(made)[: len(melody(given))] == melody(given)
    assert len(made.bars) == len(given.bars) + 4


def test_only_the_bars_that_are_named_change(model: tl.Model) -> None:
    given = model.music.compose("a hornpipe in G", bars=8, seed=3)[0].score
    made = model.music.infill(given, 3, 4, seed=4)[0].score
    first = bool(given.pickup)
    start, stop = given.bars[first + 2][0], given.bars[first + 3][1]

    def outside(score: Score) -> list[tuple[int, int, int]]:
        return [note for note in melody(score) if not start <= note[0] < stop]

    assert outside(made) == outside(given)
    assert melody(made) != melody(given)


def test_files_are_labelled_and_are_the_tune(model: tl.Model, tmp_path: Path) -> None:
    made: Composed = model.music.compose("an air in A minor", bars=4, seed=7)[0]
    for name in ("air.mid", "air.abc", "air.wav", "air.svg"):
        report = verify(made.save(tmp_path / name))
        assert (report.ok, report.visible) == (True, True)
    assert melody(read_midi(tmp_path / "air.mid")) == melody(made.score)
    assert len(made.accompanied().score.tracks) == 3


@pytest.mark.parametrize(
    ("words", "options", "said"),
    [
        ("a polka", {}, "prompt: found 'a polka'"),
        ("a reel", {"drafts": 0}, "drafts: found 0"),
        ("a reel", {"drafts": 9}, "drafts: found 9"),
        ("a reel", {"bars": 0}, "bars: found 0"),
        ("a reel", {"n": 17}, "n: found 17"),
    ],
)
def test_what_cannot_be_is_said(model: tl.Model, words: str, options: dict[str, int], said: str) -> None:
    with pytest.raises(MusicError, match=said):
        model.music.compose(words, **options)

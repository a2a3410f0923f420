"""How a composer is judged: figures that are known beforehand."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from random import Random

import numpy as np
import pytest

from tokenloom.data.tune_set import Split
from tokenloom.data.tunes import Tune
from tokenloom.evals.ask import Pair, Progress, Scored
from tokenloom.evals.music import (
    BEFORE,
    count_tunes,
    fit_ngrams,
    fit_tunes,
    judge,
    longest_runs,
    overlap,
    whole_bars,
    wishes,
)
from tokenloom.evals.score import StepScorer
from tokenloom.sound.score import Note, Score, Track, transposed
from tokenloom.tokens.music import MusicTokens, add_music
from tokenloom.tokens.train import Plan, train_tokenizer

SCALE = (62, 64, 66, 67, 69, 71, 73, 74)


@pytest.fixture(scope="module")
def tokens() -> MusicTokens:
    trained = train_tokenizer(["music"], Plan(vocab_size=258, characters=True, chat=False))
    return MusicTokens(*add_music(trained.tokenizer, trained.vocabulary))


def tune(seed: int, bars: int = 8) -> Score:
    """D major: each bar goes from D to D."""
    rng = Random(seed)
    pitches = [
        p for _ in range(bars) for p in (62, *rng.choices(SCALE, k=3), 69, *rng.choices(SCALE, k=2), 62)
    ]
    notes = tuple(Note(6 * at, 6, pitch) for at, pitch in enumerate(pitches))
    return Score((Track(notes),), keys=((0, "D", "major"),), tempos=((0, 198.0),), kind="reel")


REAL = Split(
    tuple(Tune(tune(at), f"a {at}") for at in range(30)),
    tuple(Tune(tune(at), f"b {at}") for at in range(100, 106)),
    {},
)


class Even(StepScorer):
    """A scorer to which all ids are equally likely."""

    def __init__(self) -> None:
        """Without a compute path."""

    def score(self, pairs: Sequence[Pair], progress: Progress | None = None) -> list[Scored]:
        return [Scored(np.full(len(pair.continuation), -math.log(50)), False) for pair in pairs]


def test_nats_are_of_the_bars(tokens: MusicTokens) -> None:
    found = fit_tunes(Even(), REAL.held, tokens)
    assert found.value == pytest.approx(math.log(50))
    ids = tokens.ids_of(REAL.held[0].score)
    assert tokens.tokenizer.token_text(ids[BEFORE - 1]) == "<|music|>"


def test_more_context_foretells_more(tokens: MusicTokens) -> None:
    one, five = (fit_ngrams(count_tunes(REAL.train, tokens, n), REAL.held, tokens).value for n in (1, 5))
    assert 0 < five < one < math.log(tokens.vocabulary.size)


def test_real_tunes_are_judged_as_real(tokens: MusicTokens) -> None:
    asked = wishes(REAL.held, 6, 1)
    made = [tune(200 + at) for at in range(6)]
    found = judge(asked, made, REAL)
    assert found.key.value == found.metre.value == found.bars.value == 1
    assert found.key_of_real.value == 1
    assert found.scale.value == 1
    assert found.pitches > 0.9
    assert found.durations == 1
    assert found.longest < 20
    moved = judge(asked, [transposed(score, 1) for score in made], REAL)
    assert moved.key.value == 0
    assert found.facts()["key"]["value"] == 1


def test_a_copy_is_found_in_any_key() -> None:
    copied = transposed(REAL.train[3].score, 5)
    found = judge(wishes(REAL.held, 1, 1), [copied], REAL)
    assert found.longest == len(copied.tracks[0].notes)
    assert found.verbatim.value == 1
    assert longest_runs([tune(300)], [copied])[0] < 20


def test_bars_that_are_not_whole() -> None:
    score = tune(1)
    assert whole_bars(score) == 8
    notes = score.tracks[0].notes
    hole = Score((Track(notes[:8] + notes[16:]),), keys=score.keys)
    assert whole_bars(hole) == -1


def test_overlap_of_histograms() -> None:
    assert overlap(Counter("aabb"), Counter("ab")) == 1
    assert overlap(Counter("a"), Counter("b")) == 0
    assert overlap(Counter("ab"), Counter("aabc")) == 0.75
    with pytest.raises(ValueError, match="empty"):
        overlap(Counter(), Counter("a"))


def test_what_cannot_be_judged() -> None:
    with pytest.raises(ValueError, match="found 0 tunes for 0 wishes"):
        judge([], [], REAL)

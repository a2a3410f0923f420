"""Bits per byte and perplexity: the windows, one pass = many, hand-computed sums, wrong inputs."""

from __future__ import annotations

import math
import random
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parents[1] / "engine"))
from fake_step import FakeStep, logits_after

from tokenloom.engine.core import Core
from tokenloom.evals import score
from tokenloom.evals.ask import ModelFailed, Pair
from tokenloom.evals.score import CoreScorer, StepScorer
from tokenloom.evals.window import Document, fit, pairs


def plainly(context: Sequence[int], continuation: Sequence[int], vocab: int = 24) -> list[float]:
    """The log-probabilities of a FakeStep's model, one id after the other."""
    out, ids = [], list(context)
    for id in continuation:
        logits = logits_after(ids, vocab).astype(np.float64)
        out.append(float(logits[id] - np.log(np.exp(logits).sum())))
        ids.append(id)
    return out


def some_pairs(n: int, seed: int = 3) -> list[Pair]:
    draw = random.Random(seed)
    contexts = [tuple(draw.choices(range(24), k=draw.randint(1, 30))) for _ in range(max(1, n // 3))]
    return [
        Pair(draw.choice(contexts), tuple(draw.choices(range(24), k=draw.randint(1, 20)))) for _ in range(n)
    ]


@pytest.mark.parametrize("slots", [1, 3, 8])
def test_scores_are_those_of_one_id_after_the_other(slots: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(score, "STEP_TOK", 13)
    monkeypatch.setattr(score, "WIDE_BYTES", 5 * 4 * 24)
    asked = some_pairs(40)
    for scorer in (StepScorer(FakeStep(slots)), CoreScorer(Core(FakeStep(slots), grid=16))):
        for pair, found in zip(asked, scorer.score(asked), strict=True):
            np.testing.assert_allclose(found.logprobs, plainly(pair.context, pair.continuation), atol=1e-5)


def test_greedy_says_whether_each_id_is_the_likeliest() -> None:
    ids = [5]
    for _ in range(4):
        ids.append(int(logits_after(ids, 24).argmax()))
    other = (ids[-1] + 1) % 24
    asked = [Pair((5,), tuple(ids[1:])), Pair((5,), (*ids[1:-1], other)), Pair((5,), (ids[1],))]
    assert [s.greedy for s in StepScorer(FakeStep()).score(asked)] == [True, False, True]


def test_a_shared_context_is_computed_once() -> None:
    step = FakeStep(2)
    context = tuple(range(20))
    StepScorer(step).score([Pair(context, (i, 3)) for i in range(5)])
    assert sum(len(row.ids) for run in step.runs for row in run) == 20 + 5


def test_a_core_gives_its_slots_back_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    core = Core(FakeStep(4), grid=16)
    CoreScorer(core).score(some_pairs(9))
    assert core.scheduler.lent == {}
    poisoned = Core(FakeStep(4, poison=7), grid=16)
    with pytest.raises(ModelFailed, match="not numbers"):
        CoreScorer(poisoned).score([Pair((1, 7), (2,))])
    assert poisoned.scheduler.lent == {}


def test_fewer_slots_than_asked_where_the_cache_is_small() -> None:
    core = Core(FakeStep(4), grid=16, budget_tok=64)
    asked = [Pair((i,) * 30, (1, 2)) for i in range(6)]
    for pair, found in zip(asked, CoreScorer(core).score(asked), strict=True):
        np.testing.assert_allclose(found.logprobs, plainly(pair.context, pair.continuation), atol=1e-5)


@pytest.mark.parametrize(
    ("pair", "said"),
    [
        (Pair((), (1,)), "empty"),
        (Pair((1,), ()), "empty"),
        (Pair((1,) * 60, (1,) * 6), "65 positions; the model's context holds 64"),
        (Pair((1,), (24,)), "allowed: 0 to 23"),
    ],
)
def test_a_pair_that_cannot_be_scored_is_refused_by_its_number(pair: Pair, said: str) -> None:
    for scorer in (StepScorer(FakeStep()), CoreScorer(Core(FakeStep(), grid=16))):
        with pytest.raises(ValueError, match=r"pairs\[1\]") as error:
            scorer.score([Pair((1,), (1,)), pair])
        assert said in str(error.value)


@pytest.mark.parametrize(
    ("n", "window", "stride"), [(2, 8, 4), (8, 8, 4), (9, 8, 1), (100, 8, 7), (57, 10, 3)]
)
def test_windows_score_every_id_but_the_first_once_with_enough_before_it(
    n: int, window: int, stride: int
) -> None:
    ids = list(range(n))
    cut = list(pairs(ids, window, stride))
    assert [id for pair in cut for id in pair.continuation] == ids[1:]
    for number, pair in enumerate(cut):
        row = [*pair.context, *pair.continuation]
        assert row == list(range(row[0], row[0] + len(row)))
        assert len(row) <= window
        assert number == 0 or len(pair.context) >= window - stride


def test_windows_by_hand() -> None:
    assert list(pairs([0, 1, 2, 3, 4, 5, 6], 4, 2)) == [
        Pair((0,), (1, 2, 3)),
        Pair((2, 3), (4, 5)),
        Pair((4, 5), (6,)),
    ]


def test_a_short_text_is_one_pass() -> None:
    ids = tuple(random.Random(0).choices(range(24), k=40))
    want = -sum(plainly(ids[:1], ids[1:]))
    for stride in (1, 17, 39):
        found = fit(StepScorer(FakeStep()), [Document(ids, 80, 40)], window=40, stride=stride)
        assert found.nats == pytest.approx(want, abs=1e-4)
    assert found.tokens == 39
    assert found.bits_per_byte.value == pytest.approx(want / math.log(2) / 80, abs=1e-6)
    assert found.bits_per_character.value == pytest.approx(want / math.log(2) / 40, abs=1e-6)
    assert found.perplexity.value == pytest.approx(math.exp(want / 39), rel=1e-6)
    assert (found.bits_per_byte.low, found.bits_per_byte.high) == (None, None)


def test_a_long_text_is_the_sum_of_its_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tokenloom.evals.window.BATCH_TOK", 50)
    ids = tuple(random.Random(1).choices(range(24), k=333))
    want = 0.0
    for begin in range(0, 333, 16):
        end = min(begin + 48, 333)
        first = 1 if begin == 0 else min(begin - 16 + 48, 333)
        want -= sum(plainly(ids[begin:first], ids[first:end]))
        if end == 333:
            break
    told: list[tuple[int, int]] = []
    found = fit(
        StepScorer(FakeStep()),
        [Document(ids, 1, 1)],
        window=48,
        stride=16,
        progress=lambda *a: told.append(a),
    )
    assert found.nats == pytest.approx(want, abs=1e-3)
    assert told[-1] == (332, 332)


def test_the_interval_is_drawn_over_documents() -> None:
    draw = random.Random(2)
    texts = [Document(tuple(draw.choices(range(24), k=k)), k, k) for k in (5, 20, 60, 9, 33)]
    found = fit(StepScorer(FakeStep()), texts)
    bits = found.bits_per_byte
    assert bits.low is not None
    assert bits.high is not None
    assert bits.low < bits.value < bits.high
    again = fit(StepScorer(FakeStep()), texts)
    assert again == found
    assert found.facts()["bits_per_byte"]["n"] == 5


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"window": 65}, "context holds 64"),
        ({"window": 1}, "2 or more"),
        ({"window": 8, "stride": 8}, "1 to 7"),
        ({"window": 8, "stride": 0}, "1 to 7"),
        ({"level": 1.0}, "between 0 and 1"),
    ],
)
def test_wrong_numbers_are_refused(options: dict[str, float], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        fit(StepScorer(FakeStep()), [Document((1, 2, 3), 3, 3)], **options)  # type: ignore[arg-type]


def test_no_documents_is_an_error() -> None:
    with pytest.raises(ValueError, match="found none"):
        fit(StepScorer(FakeStep()), [])

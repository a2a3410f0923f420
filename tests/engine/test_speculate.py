"""Drafts out of the text itself: never another answer, fewer steps where text repeats, else off."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from fake_step import FakeStep
from plain_answer import drive, plain

from tokenloom.engine.core import Core
from tokenloom.engine.request import Constraint, Request, Sampling
from tokenloom.engine.speculate import EXPLORE, STEP_IDS, TRIALS, Lookup, Payoff, most


def test_a_draft_is_what_followed_last_time() -> None:
    lookup = Lookup()
    lookup.extend([1, 2, 3, 4, 5, 1, 2, 3])
    assert lookup.draft(3) == [4, 5, 1]
    assert lookup.draft(0) == []
    lookup.extend([9])
    assert lookup.draft(3) == []
    lookup.extend([1, 2, 3])
    assert lookup.draft(2) == [9, 1]


def test_a_crowd_is_not_guessed_for() -> None:
    assert [most(8, rows) for rows in (1, 2, 4, 8, 9, 16, 40)] == [8, 7, 3, 1, 0, 0, 0]
    assert most(0, 1) == 0
    step = FakeStep(20, context=200, vocab_size=24, habit=7.0)
    ticks = itertools.count()
    loom = Core(step, grid=8, speculate=8, clock=lambda: float(next(ticks)))
    drive(loom, *(Request(f"r{i}", "m", (i, *range(7)), max_tokens=60) for i in range(12)))
    drafted = [rows for rows in step.runs if any(row.want > 1 for row in rows)]
    assert all(sum(len(row.ids) for row in rows) <= STEP_IDS for rows in drafted)
    assert all(row.want <= 1 for rows in step.runs if len(rows) > STEP_IDS // 2 for row in rows)


def test_what_was_written_in_a_crowd_is_looked_up_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ids are kept for the lookup only when it is asked, and none is left out."""
    known: list[list[int]] = []
    draft = Lookup.draft
    monkeypatch.setattr(Lookup, "draft", lambda self, most: known.append([*self.ids]) or draft(self, most))
    step = FakeStep(20, context=200, vocab_size=24, habit=7.0)
    ticks = itertools.count()
    loom = Core(step, grid=8, speculate=8, clock=lambda: float(next(ticks)))
    requests = [Request(f"r{i}", "m", (i, *range(7)), max_tokens=120 if i == 0 else 30) for i in range(12)]
    whole = [*requests[0].ids, *drive(loom, *requests).answer("r0").ids]
    assert len(known) > 10
    assert len(known[0]) > 30, "a crowd before"
    assert all(ids == whole[: len(ids)] for ids in known)


def test_each_way_is_measured_and_the_better_one_taken() -> None:
    for gain in (0.5, 2.0):
        payoff = Payoff()
        taken = []
        for _ in range(20 * EXPLORE):
            way = payoff.draft()
            payoff.note(way, 1, 1 / gain if way else 1.0)
            taken.append(way)
        assert sum(taken[:TRIALS]) == TRIALS
        share = np.mean([way == (gain > 1) for way in taken])
        assert 0.95 < share < 1.0


class Fewer:
    """A matcher that ends after 30 ids, none of them 4."""

    def __init__(self) -> None:
        self.seen = 0

    @property
    def done(self) -> bool:
        return self.seen == 30

    @property
    def may_end(self) -> bool:
        return False

    def forced(self, most: int) -> list[int]:
        return []

    def mask(self, vocab: int) -> np.ndarray:
        return np.arange(vocab) != 4

    def accept(self, id: int) -> None:
        assert id != 4
        self.seen += 1


KINDS: dict[str, dict[str, object]] = {
    "greedy": {"sampling": Sampling(temperature=0.0)},
    "sampled": {},
    "choices": {"n": 3},
    "penalised": {"sampling": Sampling(repetition_penalty=1.2, frequency_penalty=0.3)},
    "stop": {"stop_ids": (5,), "min_tokens": 30},
    "sliced": {"allowed": ((3, 9), (12, 20))},
    "logprobs": {"logprobs": 2},
    "scored": {"prompt_logprobs": 0},
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_answer_is_the_one_without_drafts(kind: str) -> None:
    request = Request(
        "r",
        "m",
        tuple(range(8)),
        **{"max_tokens": 100, "seed": 7, **KINDS[kind]},  # type: ignore[arg-type]
    )
    step = FakeStep(4, context=200, vocab_size=24, habit=7.0)
    ticks = itertools.count()  # every step takes the same time, so drafts pay
    loom = Core(step, grid=8, speculate=4, clock=lambda: float(next(ticks)))
    inbox = drive(loom, request)
    for i in range(request.n):
        expected = plain(request, i, context=200, habit=7.0)
        assert inbox.answer("r", i) == expected
        assert inbox.done["r", i].logprobs == pytest.approx(expected.logprobs)
    assert loom.stats()["drafted_tokens"] > 5
    assert len(step.runs) < loom.stats()["new_tokens"]


def test_a_constraint_sees_every_drafted_id() -> None:
    request = Request("r", "m", tuple(range(8)), max_tokens=100, constraint=Constraint("json"))
    answers = []
    for speculate in (0, 4):
        step = FakeStep(4, context=200, habit=7.0)
        loom = Core(step, grid=8, speculate=speculate, compile_constraint=lambda _: Fewer())
        answers.append(drive(loom, request).answer("r"))
    assert answers[0] == answers[1]
    assert len(answers[0].ids) == 30
    assert answers[0].finish == "stop"


def test_no_draft_is_made_unless_asked() -> None:
    step = FakeStep(habit=7.0)
    drive(Core(step, grid=8), Request("r", "m", tuple(range(8)), max_tokens=50))
    assert all(len(row.ids) == 1 for rows in step.runs[1:] for row in rows)


def test_drafts_stay_within_the_answer_the_block_and_the_context() -> None:
    """Rows never go past the last position the request may take, nor past the block that is paid for."""
    step = FakeStep(2, context=40, vocab_size=8, habit=9.0)
    ticks = itertools.count()
    loom = Core(step, grid=8, speculate=6, clock=lambda: float(next(ticks)))
    for request in (
        Request("short", "m", tuple(range(8)) * 2, max_tokens=7, sampling=Sampling(temperature=0.0)),
        Request("long", "m", tuple(range(8)) * 2, max_tokens=100, sampling=Sampling(temperature=0.0)),
    ):
        step.runs.clear()
        assert drive(loom, request).answer(request.id) == plain(request, vocab=8, context=40, habit=9.0)
        rows = [row for rows in step.runs for row in rows]
        drafted = [row for row in rows if row.want > 1]
        assert drafted
        assert max(row.start + len(row.ids) for row in rows) <= min(16 + request.max_tokens, 40) - 1
        assert all((row.start + len(row.ids) - 1) // 8 == row.start // 8 for row in drafted)

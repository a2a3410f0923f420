"""Requests of every kind arrive, are aborted and end in any order, each answered as if it were alone."""

from __future__ import annotations

import itertools
from functools import cache

import pytest
from fake_step import FakeStep
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from plain_answer import Answer, Inbox, close, drive, plain, plain_scores

from tokenloom.engine.core import Core
from tokenloom.engine.request import Request, Sampling

CONTEXT = 40

PROMPTS = st.tuples(st.integers(0, 1), st.integers(0, 20), st.lists(st.integers(0, 2), max_size=10)).map(
    lambda parts: tuple([*[parts[0]] * parts[1], *parts[2]] or [9])
)
REQUESTS = st.builds(
    Request,
    id=st.just("?"),
    model=st.just("m"),
    ids=PROMPTS,
    max_tokens=st.integers(0, 30),
    sampling=st.sampled_from(
        [Sampling(), Sampling(temperature=0.0), Sampling(top_k=4, presence_penalty=1.0)]
    ),
    seed=st.integers(0, 3),
    n=st.sampled_from([1, 1, 1, 3]),
    stop_ids=st.sampled_from([(), (), (5,), (5, 6, 7)]),
    priority=st.integers(0, 1),
)


@cache
def beams_alone(request: Request, habit: float) -> list[tuple[Answer, float | None]]:
    inbox = drive(Core(FakeStep(4, CONTEXT, habit=habit), grid=4), request)
    return [(inbox.answer(request.id, i), inbox.done[request.id, i].score) for i in range(request.n)]


class Fuzz(RuleBasedStateMachine):
    @initialize(
        n_slots=st.integers(2, 5),
        step_tok=st.integers(1, 24),
        budget=st.sampled_from([80, 100, 140]),
        park=st.sampled_from([0, 60, 1000]),
        grid=st.sampled_from([3, 4]),
        speculate=st.sampled_from([0, 3]),
    )
    def start(self, n_slots: int, step_tok: int, budget: int, park: int, grid: int, speculate: int) -> None:
        self.habit = 5.0 if speculate else 0.0
        self.step_ = FakeStep(n_slots, CONTEXT, habit=self.habit)
        ticks = itertools.count()
        self.core = Core(
            self.step_,
            grid=grid,
            step_tok=step_tok,
            budget_tok=budget,
            park_tok=park,
            adapters=("a",),
            speculate=speculate,
            clock=lambda: float(next(ticks)),
        )
        self.inbox = Inbox()
        self.asked: dict[str, Request] = {}
        self.aborted: set[str] = set()

    @rule(
        request=REQUESTS,
        kind=st.sampled_from(
            ["", "", "guidance", "beams", "forced", "allowed", "scored", "adapter", "logprobs"]
        ),
        data=st.data(),
    )
    def add(self, request: Request, kind: str, data: st.DataObject) -> None:
        changes: dict[str, object] = {"id": str(len(self.asked))}
        if kind == "guidance":
            changes |= {"guidance": 1.5, "negative": data.draw(PROMPTS), "n": 1}
        elif kind == "beams":
            changes |= {"beams": 2, "n": 2, "sampling": Sampling()}
        elif kind == "forced":
            forced = data.draw(st.lists(st.sampled_from([-1, 3, 3, 5]), max_size=request.max_tokens))
            changes["forced"] = tuple(forced)
        elif kind == "allowed":
            changes["allowed"] = data.draw(st.sampled_from([((2, 9),), ((0, 3), (4, 20))]))
        elif kind == "scored":
            changes["prompt_logprobs"] = 1
        elif kind == "adapter":
            changes["adapter"] = "a"
        elif kind == "logprobs":
            changes |= {"logprobs": 1, "min_tokens": request.max_tokens // 2}
        request = request.replace(**changes)
        try:
            self.core.add(request)
        except ValueError:
            rows = request.beams * (2 if request.negative else 1)
            assert rows > 1 or request.max_tokens == 0
            assert rows * CONTEXT > 72 or request.max_tokens == 0
            return
        self.asked[request.id] = request

    @precondition(lambda self: self.asked)
    @rule(data=st.data())
    def abort(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.asked)))
        self.core.abort(name)
        self.aborted.add(name)

    @rule(times=st.integers(1, 6))
    def step(self, times: int) -> None:
        for _ in range(times):
            before = len(self.step_.runs)
            open_ = bool(self.core._jobs)
            self.inbox.take(self.core.step())
            assert (len(self.step_.runs) > before) == open_, "a step without work, or none with work"

    def teardown(self) -> None:
        if not hasattr(self, "core"):
            return
        for _ in range(4000):
            if not self.core.busy:
                break
            self.inbox.take(self.core.step())
        assert not self.core.busy
        stats = self.core.stats()
        assert not any(stats[k] for k in ("requests", "running", "waiting", "parked", "parked_tok"))
        assert stats["slots_idle"] + len(self.core.scheduler.free) == stats["slots"]
        assert not self.core._owner
        assert not self.core._parked
        for name, request in self.asked.items():
            for i in range(request.n):
                self.compare(name, i, request)

    def compare(self, name: str, i: int, request: Request) -> None:
        got = self.inbox.done[name, i]
        if request.beams > 1:
            answer, score = beams_alone(request.replace(id="r", priority=0), self.habit)[i]
        else:
            answer, score = plain(request, i, context=CONTEXT, habit=self.habit), None
        if got.finish == "abort":
            assert name in self.aborted
            assert answer.ids[: len(got.ids)] == got.ids
            return
        assert self.inbox.answer(name, i) == answer
        assert got.score == score
        assert len(got.logprobs) == (len(got.ids) if request.logprobs is not None else 0)
        if request.prompt_logprobs is not None and i == 0:
            assert all(map(close, got.prompt, plain_scores(request, habit=self.habit)))
            assert len(got.prompt) == len(request.ids)


def runs(examples: int) -> settings:
    return settings(
        max_examples=examples,
        stateful_step_count=30,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


class TestCoreFuzz(Fuzz.TestCase):
    settings = runs(40)


@pytest.mark.slow
class TestCoreFuzzLong(Fuzz.TestCase):
    settings = runs(800)

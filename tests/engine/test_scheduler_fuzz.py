"""Arrivals, aborts, priorities, beams and twins under tiny budgets, in any order, against a cache made of
lists."""

from __future__ import annotations

import pytest
from fake_slots import Slots
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tokenloom.engine.plan import Group, Seq
from tokenloom.engine.scheduler import WAIT_PLANS, Scheduler

PROMPTS = st.tuples(
    st.integers(0, 2).map(lambda i: [i] * 11), st.lists(st.integers(0, 2), max_size=14), st.integers(0, 11)
).map(lambda parts: [*parts[0][: parts[2]], *parts[1]] or [9])
"""Short prompts that often share a beginning."""


class Fuzz(RuleBasedStateMachine):
    @initialize(
        n_slots=st.integers(1, 4),
        grid=st.sampled_from([1, 3, 4]),
        step_tok=st.integers(1, 20),
        budget=st.integers(51, 120),
        park=st.sampled_from([0, 30, 1000]),
        wide=st.integers(1, 20),
    )
    def start(self, n_slots: int, grid: int, step_tok: int, budget: int, park: int, wide: int) -> None:
        self.scheduler = Scheduler(
            n_slots, grid=grid, step_tok=step_tok, budget_tok=budget, park_tok=park, wide_tok=wide
        )
        self.slots = Slots(self.scheduler)
        self.live: list[Group] = []
        self.beams: set[Group] = set()
        self.made = 0

    def enter(self, seqs: tuple[Seq, ...], priority: int, beams: bool = False) -> None:
        self.made += 1
        group = Group(seqs, priority, self.made)
        try:
            self.scheduler.add(group)
        except ValueError:
            assert (
                len(seqs) > self.scheduler.n_slots
                or sum(s.most + 3 for s in seqs) > self.scheduler.budget_tok
            )
            return
        self.live.append(group)
        if beams:
            self.beams.add(group)

    @rule(
        ids=PROMPTS,
        new=st.integers(0, 12),
        priority=st.integers(0, 1),
        adapter=st.sampled_from([None, None, "a"]),
        reuse=st.booleans(),
        wide=st.booleans(),
        times=st.sampled_from([1, 1, 3]),
    )
    def choices(
        self,
        ids: list[int],
        new: int,
        priority: int,
        adapter: str | None,
        reuse: bool,
        wide: bool,
        times: int,
    ) -> None:
        for _ in range(times):
            self.enter((Seq(list(ids), len(ids) + new, adapter, reuse, wide),), priority)

    @rule(ids=PROMPTS, other=PROMPTS, new=st.integers(0, 12), priority=st.integers(0, 1))
    def twins(self, ids: list[int], other: list[int], new: int, priority: int) -> None:
        self.enter(tuple(Seq(list(x), len(x) + new) for x in (ids, other)), priority)

    @rule(ids=PROMPTS, new=st.integers(0, 12), width=st.integers(2, 3))
    def search(self, ids: list[int], new: int, width: int) -> None:
        rows = [Seq(list(ids), len(ids) + new), *(Seq([], len(ids) + new) for _ in range(width - 1))]
        self.enter(tuple(rows), 0, beams=True)

    @precondition(lambda self: self.live)
    @rule(data=st.data())
    def abort(self, data: st.DataObject) -> None:
        self.leave(data.draw(st.sampled_from(self.live)))

    def leave(self, group: Group) -> None:
        self.slots.remove(group)
        self.live.remove(group)
        self.beams.discard(group)
        self.slots.check()

    @rule(length=st.integers(1, 48))
    def lend(self, length: int) -> None:
        slot = self.scheduler.lend(length)
        self.slots.move(self.scheduler.flush())
        self.slots.check()
        assert self.scheduler.used_tok <= self.scheduler.budget_tok
        self.slots.cache[slot] = [(-1, None)] * length
        self.scheduler.take_back(slot)
        self.slots.move(self.scheduler.flush())

    @rule(seed=st.integers(0, 1 << 20), run=st.integers(1, 3))
    def step(self, seed: int, run: int) -> None:
        plan = self.scheduler.plan()
        rows = self.slots.run(plan)
        assert bool(rows) == bool(self.live)
        ran = {row.seq for row in rows}
        left = [
            seq for group in self.scheduler.running for seq in group.seqs if seq not in ran and seq.remaining
        ]
        prefill = [row.seq for row in rows if row.stop - row.start > 1]
        assert all(seq.remaining > 1 for seq in left), "a decoding row was passed over"
        assert prefill or not left or self.scheduler.grid == 1, "no prompt went on"
        for group in list(self.live):
            if group.state == "running" and not any(seq.remaining for seq in group.seqs):
                self.grow(group, seed, run)

    def grow(self, group: Group, seed: int, run: int) -> None:
        first = group.seqs[0]
        if max(len(seq.ids) + run - seq.most for seq in group.seqs) > 0:
            self.leave(group)
        elif group in self.beams:
            known = sum(bool(seq.ids) for seq in group.seqs)
            width = 1 + seed % len(group.seqs)
            parents = [(seed >> (3 * j)) % known for j in range(width)]
            expected = [[*group.seqs[p].ids, j] for j, p in enumerate(parents)]
            self.slots.move(self.scheduler.branch(group, parents, list(range(width))))
            assert [seq.ids for seq in group.seqs if seq.ids] == expected
        else:
            for seq in group.seqs:
                self.scheduler.extend(seq, [(seed + len(first.ids) + i) % 3 for i in range(run)])

    @invariant()
    def whole(self) -> None:
        if hasattr(self, "slots"):
            self.slots.check()
            assert len(self.live) == len(self.scheduler.running) + len(self.scheduler.queue)
            assert all(group.waited <= WAIT_PLANS for group in self.live)

    def teardown(self) -> None:
        """Whatever happened, everything comes to its end."""
        if not hasattr(self, "slots"):
            return
        for _ in range(3000):
            if not self.live:
                break
            self.step(5, 1)
        assert not self.live
        assert not self.slots.parked
        assert self.scheduler.parked_tok == 0
        assert len(self.scheduler.free) + len(self.scheduler.donors) == self.scheduler.n_slots


def runs(examples: int) -> settings:
    return settings(
        max_examples=examples,
        stateful_step_count=40,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


class TestFuzz(Fuzz.TestCase):
    settings = runs(100)


@pytest.mark.slow
class TestFuzzLong(Fuzz.TestCase):
    settings = runs(2000)

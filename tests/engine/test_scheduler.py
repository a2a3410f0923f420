"""The scheduler's promises one by one, without a model. The first four were reported against nano-vllm."""

from __future__ import annotations

import subprocess
import sys

import pytest
from fake_slots import Slots

from tokenloom.engine.plan import Chunk, Copy, Group, Park, Release, Seq, Unpark
from tokenloom.engine.scheduler import WAIT_PLANS, Scheduler

GRID = 4


def make(n_slots: int = 4, budget: int = 64, **more: int) -> tuple[Scheduler, Slots]:
    scheduler = Scheduler(n_slots, grid=GRID, budget_tok=budget, **{"step_tok": 16, "park_tok": 64, **more})
    return scheduler, Slots(scheduler)


ARRIVALS = iter(range(1_000_000))


def group(*prompts: list[int], new: int = 8, priority: int = 0, **more: object) -> Group:
    seqs = [Seq(list(ids), len(prompts[0]) + new, **more) for ids in prompts]  # type: ignore[arg-type]
    return Group(tuple(seqs), priority, next(ARRIVALS))


def step(scheduler: Scheduler, slots: Slots, new: int = 1) -> list[Chunk]:
    """One plan; every row that has come to its end gets `new` ids."""
    rows = slots.run(scheduler.plan())
    for seq in [row.seq for row in rows if row.seq.remaining == 0]:
        if len(seq.ids) + new <= seq.most:
            scheduler.extend(seq, [100 + len(seq.ids) + i for i in range(new)])
    slots.check()
    return rows


def spans(rows: list[Chunk]) -> list[tuple[int, int]]:
    return [(row.start, row.stop) for row in rows]


def test_it_imports_neither_torch_nor_numpy() -> None:
    code = (
        "import sys, tokenloom.engine.scheduler; print([m for m in ('torch', 'numpy') if m in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


def test_a_fully_cached_prompt_computes_its_last_block_again() -> None:
    scheduler, slots = make()
    first = group(list(range(8)))
    scheduler.add(first)
    step(scheduler, slots)
    slots.remove(first)
    assert len(scheduler.donors) == 1
    again = group(list(range(8)))
    scheduler.add(again)
    assert spans(step(scheduler, slots)) == [(4, 8)]
    assert again.seqs[0].reused == 4


def test_preempted_with_a_prefix_in_use_comes_back_where_it_was() -> None:
    """Two rows share a prefix; the cache fills; the younger is parked and resumes without computing anew."""
    scheduler, slots = make(n_slots=2, budget=32)
    older, younger = group(list(range(9)), new=12), group(list(range(9)), new=12)
    scheduler.add(older)
    step(scheduler, slots)
    scheduler.add(younger)
    rows = step(scheduler, slots)
    assert younger.seqs[0].reused == 8
    seen: list[int] = []
    while len(rows) == 2:
        rows = step(scheduler, slots)
    assert younger.state == "parked"
    at = younger.seqs[0].computed
    while younger.state == "parked":
        seen += [row.start for row in step(scheduler, slots) if row.seq is younger.seqs[0]]
        if len(older.seqs[0].ids) == 21:
            slots.remove(older)
    assert seen == [at]
    assert younger.seqs[0].reused == 8


def test_an_exhausted_cache_drops_what_may_not_be_kept_and_computes_it_again() -> None:
    scheduler, slots = make(n_slots=2, budget=32, park_tok=0)
    older, younger = group(list(range(9)), new=12), group(list(range(50, 59)), new=12)
    scheduler.add(older)
    scheduler.add(younger)
    while younger.state != "waiting" or older.state != "running":
        step(scheduler, slots)
    known = list(younger.seqs[0].ids)
    assert scheduler.n_dropped == 1
    slots.remove(older)
    rows = step(scheduler, slots)
    assert spans(rows) == [(0, len(known))]
    assert younger.seqs[0].ids[: len(known)] == known


def test_decoding_never_stops_for_a_prompt_nor_a_prompt_for_decoding() -> None:
    scheduler, slots = make(n_slots=4, budget=400, step_tok=2)
    decoding = [group([i], new=60) for i in range(3)]
    for one in decoding:
        scheduler.add(one)
    step(scheduler, slots)
    scheduler.add(group(list(range(40))))
    for at in range(10):
        rows = step(scheduler, slots)
        assert {id(g.seqs[0]) for g in decoding} <= {id(row.seq) for row in rows}
        assert spans(rows)[-1] == (4 * at, 4 * at + 4)


def test_chunks_end_on_the_grid_whatever_the_budget() -> None:
    scheduler, slots = make(step_tok=11, budget=128)
    scheduler.add(group(list(range(30))))
    seen = [spans(step(scheduler, slots))[0] for _ in range(4)]
    assert seen == [(0, 8), (8, 16), (16, 24), (24, 30)]


def test_choices_of_one_prompt_compute_it_once() -> None:
    scheduler, slots = make(budget=400)
    for _ in range(4):
        scheduler.add(group(list(range(30))))
    while any(g.state != "running" for g in scheduler.running) or scheduler.queue:
        step(scheduler, slots)
    step(scheduler, slots)
    assert slots.computed <= 30 + 3 * 2 + 20
    assert [g.seqs[0].reused for g in scheduler.running] == [0, 28, 28, 28]


def test_waiting_for_a_prefix_is_bounded() -> None:
    scheduler, slots = make(budget=400)
    scheduler.add(group(list(range(30))))
    later = group(list(range(30)))
    scheduler.add(later)
    for _ in range(WAIT_PLANS):
        slots.move(scheduler.plan().moves)  # a step that is never committed
        assert later.state == "waiting"
    scheduler.plan()
    assert later.state == "running"


def test_a_row_of_another_adapter_shares_nothing() -> None:
    scheduler, slots = make()
    first = group(list(range(12)), adapter="a")
    scheduler.add(first)
    step(scheduler, slots)
    other = group(list(range(12)))
    scheduler.add(other)
    assert (0, 12) in spans(step(scheduler, slots))
    slots.remove(first)
    same = group(list(range(12)), adapter="a")
    scheduler.add(same)
    step(scheduler, slots)
    assert same.seqs[0].reused == 8


def test_a_row_without_reuse_computes_everything() -> None:
    scheduler, slots = make()
    first = group(list(range(12)))
    scheduler.add(first)
    step(scheduler, slots)
    slots.remove(first)
    scheduler.add(group(list(range(12)), reuse=False))
    assert spans(step(scheduler, slots)) == [(0, 12)]


def test_a_donor_is_copied_when_it_holds_more_and_taken_over_when_it_does_not() -> None:
    scheduler, slots = make()
    first = group(list(range(13)))
    scheduler.add(first)
    step(scheduler, slots)
    slot = first.seqs[0].slot
    slots.remove(first)
    branch = group([*range(6), 99, 98, 97])
    scheduler.add(branch)
    plan = scheduler.plan()
    assert Copy(slot, branch.seqs[0].slot, 4) in plan.moves
    slots.run(plan)
    scheduler.extend(branch.seqs[0], [1])
    follow = group([*range(13), 20, 21])
    scheduler.add(follow)
    plan = scheduler.plan()
    assert not [move for move in plan.moves if isinstance(move, Copy)]
    assert follow.seqs[0].slot == slot
    slots.run(plan)
    slots.check()


def test_donors_go_first_least_recently_used() -> None:
    scheduler, slots = make(n_slots=3, budget=24)
    for base in (0, 20, 40):
        one = group(list(range(base, base + 8)), new=0)
        scheduler.add(one)
        slots.run(scheduler.plan())
        slots.remove(one)
    assert [donor.ids[0] for donor in scheduler.donors.values()] == [0, 20, 40]
    scheduler.add(group(list(range(60, 72)), new=4))
    plan = scheduler.plan()
    assert sum(isinstance(move, Release) for move in plan.moves) == 2
    assert [donor.ids[0] for donor in scheduler.donors.values()] == [40]
    assert scheduler.n_preempted == 0


def test_priority_then_arrival_and_the_lowest_youngest_is_put_out() -> None:
    scheduler, slots = make(n_slots=1)
    low, high, late = group([1]), group([2], priority=1), group([3], priority=1)
    for one in (low, late, high):
        scheduler.add(one)
    order = []
    while scheduler.queue or scheduler.running:
        step(scheduler, slots)
        order += scheduler.running
        slots.remove(scheduler.running[0])
    assert order == [high, late, low]

    scheduler, slots = make(n_slots=3, budget=36)
    high, old, young = group([*range(5)], priority=1), group([*range(10, 15)]), group([*range(20, 25)])
    for one in (high, old, young):
        scheduler.add(one)
    while len(scheduler.running) < 3 and scheduler.n_preempted == 0:
        step(scheduler, slots)
    while scheduler.n_preempted == 0:
        step(scheduler, slots)
    assert young.state != "running"
    assert high.state == old.state == "running"


def test_groups_go_in_and_out_together() -> None:
    scheduler, slots = make(n_slots=3, budget=48)
    pair = group([*range(9)], [*range(30, 33)], new=12)
    single = group([*range(60, 69)], new=12, priority=1)
    scheduler.add(pair)
    step(scheduler, slots)
    scheduler.add(single)
    parked = []
    while scheduler.n_preempted == 0:
        plan = scheduler.plan()
        parked += [move for move in plan.moves if isinstance(move, Park)]
        for row in slots.run(plan):
            if row.seq.remaining == 0:
                scheduler.extend(row.seq, [7])
    assert {move.seq for move in parked} == set(pair.seqs)
    slots.remove(single)
    plan = scheduler.plan()
    assert {move.seq for move in plan.moves if isinstance(move, Unpark)} == set(pair.seqs)
    slots.run(plan)
    slots.check()


def test_beams_branch_without_a_copy_reading_what_was_overwritten() -> None:
    scheduler, slots = make()
    beams = Group((Seq([1, 2, 3, 4, 5], 20), Seq([], 20), Seq([], 20)), 0, next(ARRIVALS))
    scheduler.add(beams)
    slots.run(scheduler.plan())
    slots.move(scheduler.branch(beams, [0, 0, 0], [10, 11, 12]))
    for parents in ([1, 1, 0], [2, 0, 1], [2, 2, 2], [0, 1], [1, 0, 0]):
        rows = slots.run(scheduler.plan())
        assert len(rows) == len([seq for seq in beams.seqs if seq.ids])
        expected = [[*beams.seqs[p].ids, 20 + i] for i, p in enumerate(parents)]
        slots.move(scheduler.branch(beams, parents, [20 + i for i in range(len(parents))]))
        assert [seq.ids for seq in beams.seqs if seq.ids] == expected
        slots.check()


def test_abort_frees_at_once_in_every_state() -> None:
    scheduler, slots = make(n_slots=2, budget=32)
    running, parked, waiting = (group([*range(b, b + 9)], new=12) for b in (0, 20, 40))
    for one in (running, parked, waiting):
        scheduler.add(one)
    while parked.state != "parked":
        step(scheduler, slots)
    assert waiting.state == "waiting"
    for one in (waiting, parked, running):
        slots.remove(one)
        slots.check()
    assert not slots.parked
    assert scheduler.parked_tok == 0
    assert not scheduler.queue
    assert not scheduler.running
    assert len(scheduler.free) + len(scheduler.donors) == 2


@pytest.mark.parametrize(
    ("prompts", "new", "said"),
    [
        ([[1] * 60], 10, ["72", "64"]),
        ([[1] * 30, [2] * 30], 10, ["80", "64"]),
        ([[1]] * 5, 1, ["5 rows", "4 slots"]),
    ],
)
def test_what_can_never_fit_is_refused_with_the_numbers(
    prompts: list[list[int]], new: int, said: list[str]
) -> None:
    scheduler, _ = make()
    with pytest.raises(ValueError) as refused:
        scheduler.add(group(*prompts, new=new))
    assert all(number in str(refused.value) for number in said)
    assert not scheduler.queue


@pytest.mark.parametrize(
    "bad", [{"n_slots": 0}, {"step_tok": 0}, {"budget_tok": 3}, {"park_tok": -1}, {"grid": 0}]
)
def test_impossible_settings_are_refused_by_name(bad: dict[str, int]) -> None:
    settings = {"n_slots": 2, "grid": 4, "budget_tok": 16, **bad}
    with pytest.raises(ValueError, match=next(iter(bad))):
        Scheduler(**settings)

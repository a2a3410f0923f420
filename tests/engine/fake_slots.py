"""A cache made of lists, for the scheduler's tests: does a plan's moves and rows, and checks each of them."""

from __future__ import annotations

from tokenloom.engine.plan import Chunk, Copy, Group, Park, Plan, Release, Seq, Unpark
from tokenloom.engine.scheduler import Scheduler


class Slots:
    """Holds what each slot would hold; asserts that every row continues exactly its own sequence."""

    def __init__(self, scheduler: Scheduler) -> None:
        self.scheduler = scheduler
        self.cache: dict[int, list[tuple[int, str | None]]] = {slot: [] for slot in range(scheduler.n_slots)}
        self.parked: dict[Seq, list[tuple[int, str | None]]] = {}
        self.computed = 0

    def move(self, moves: tuple[object, ...] | list[Copy]) -> None:
        for move in moves:
            if isinstance(move, Copy):
                assert move.source != move.target
                assert 0 < move.length <= len(self.cache[move.source])
                self.cache[move.target] = self.cache[move.source][: move.length]
            elif isinstance(move, Park):
                assert len(self.cache[move.slot]) >= move.length
                assert move.seq not in self.parked
                self.parked[move.seq] = self.cache[move.slot][: move.length]
            elif isinstance(move, Unpark):
                self.cache[move.slot] = self.parked.pop(move.seq)
            else:
                assert isinstance(move, Release)
                self.cache[move.slot] = []

    def run(self, plan: Plan) -> list[Chunk]:
        """Does the plan and commits it; answers its rows."""
        s = self.scheduler
        self.move(plan.moves)
        assert s.used_tok <= s.budget_tok
        slots = [row.seq.slot for row in plan.rows]
        assert len(set(slots)) == len(slots)
        for row in plan.rows:
            assert row.start < row.stop <= len(row.seq.ids)
            assert row.stop == len(row.seq.ids) or row.stop % s.grid == 0
            held = [(i, row.seq.adapter) for i in row.seq.ids]
            assert self.cache[row.seq.slot][: row.start] == held[: row.start]
            self.cache[row.seq.slot] = held[: row.stop]
            self.computed += row.stop - row.start
        decodes = sum(row.seq.remaining == 1 for row in plan.rows)
        wide = sum(row.stop - row.start for row in plan.rows if row.seq.wide and row.seq.remaining > 1)
        rest = sum(row.stop - row.start for row in plan.rows) - decodes
        assert rest <= max(s.step_tok - decodes, s.grid)
        assert wide <= max(s.wide_tok, s.grid)
        s.commit(plan)
        return list(plan.rows)

    def remove(self, group: Group) -> None:
        for seq in self.scheduler.remove(group):
            del self.parked[seq]
        self.move(self.scheduler.flush())

    def check(self) -> None:
        """Nothing leaked: each slot is in exactly one place, contents are what they are said to be."""
        s = self.scheduler
        running = [seq.slot for group in s.running for seq in group.seqs]
        assert sorted([*running, *s.donors, *s.free, *s.lent]) == list(range(s.n_slots))
        assert s.parked_tok <= s.park_tok
        for slot, donor in s.donors.items():
            assert len(donor.ids) % s.grid == 0
            assert self.cache[slot][: len(donor.ids)] == [(i, donor.adapter) for i in donor.ids]
        for slot in s.free:
            assert self.cache[slot] == []
        parked = {seq for group in s.queue if group.state == "parked" for seq in group.seqs if seq.computed}
        assert parked == set(self.parked)
        for group in s.running:
            for seq in group.seqs:
                assert self.cache[seq.slot][: seq.computed] == [
                    (i, seq.adapter) for i in seq.ids[: seq.computed]
                ]

"""Continuous batching: which rows run in the next step, and where their cache is.

Not the computation: a plan says what to copy, park and run; `engine.core` does it and reports back. Plain
Python, neither torch nor numpy, so that it is fuzzed alone.

What holds:
- Every step runs all rows that decode, then prefill chunks under `step_tok`; at least one grid block of
  prefill always fits, so neither starves the other. Chunks end on multiples of `grid` or at the end of what
  is known.
- Running rows and idle contents together hold at most `budget_tok` positions, counted in whole blocks. When
  decoding outgrows it, idle contents go first (least recently used), then the youngest group of the lowest
  priority is parked with its contents kept; beyond `park_tok` they are dropped and computed again.
- Groups enter by priority, then arrival; the head of the queue is never passed by one that needs less room,
  only while it waits for a prefix that a running row is computing (for at most WAIT_PLANS plans).
- A finished row's contents stay as a donor until the slot is needed. Reuse is in whole blocks, among rows
  with the same adapter, and the last known id is always computed anew (its logits are needed).

Sources: Yu et al. 2022, Orca (OSDI 22), for iteration-level batching; Agrawal et al. 2024,
arXiv:2403.02310, for chunked prefill beside decode; Zheng et al. 2024, arXiv:2312.07104, for the reuse of
prefixes.
"""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from dataclasses import dataclass

from tokenloom.engine.plan import (
    Chunk,
    Copy,
    Group,
    Move,
    Park,
    Plan,
    Release,
    Seq,
    Unpark,
    ceil_to,
    floor_to,
    shared,
)

WAIT_PLANS = 256
"""Plans a group is held back at most for a prefix that is being computed."""


@dataclass(eq=False, slots=True)
class Donor:
    """What a slot still holds of a sequence that left it, cut to whole blocks."""

    ids: list[int]
    adapter: str | None


class Scheduler:
    """Slots, their contents, the queue and the running groups of one model."""

    def __init__(
        self,
        n_slots: int,
        *,
        budget_tok: int,
        grid: int = 64,
        step_tok: int = 512,
        park_tok: int = 0,
        wide_tok: int | None = None,
    ) -> None:
        for name, value, least in (
            ("n_slots", n_slots, 1),
            ("grid", grid, 1),
            ("step_tok", step_tok, 1),
            ("budget_tok", budget_tok, grid),
            ("park_tok", park_tok, 0),
        ):
            if value < least:
                raise ValueError(f"{name} is {value}; it must be at least {least}")
        self.n_slots = n_slots
        self.grid = grid
        self.step_tok = step_tok
        self.budget_tok = floor_to(budget_tok, grid)
        self.park_tok = park_tok
        self.wide_tok = step_tok if wide_tok is None else wide_tok
        self.queue: list[Group] = []
        """Waiting and parked groups, in the order they go in."""
        self.running: list[Group] = []
        """In the same order."""
        self.donors: dict[int, Donor] = {}
        """Slot -> contents, least recently used first."""
        self.free: list[int] = list(range(n_slots - 1, -1, -1))
        """Slots that hold nothing, the next one last."""
        self.lent: dict[int, int] = {}
        """Slot -> positions, of slots used outside the plan."""
        self.parked_tok = 0
        self.n_preempted = 0
        self.n_dropped = 0
        self._moves: list[Move] = []

    # What comes in and goes out

    def check(self, most: Sequence[int]) -> None:
        """Refuses a group whose rows may take this many positions each, if it could never run."""
        if len(most) > self.n_slots:
            raise ValueError(
                f"the request needs {len(most)} rows at once; the engine has {self.n_slots} slots"
            )
        need = sum(ceil_to(length, self.grid) for length in most)
        if need > self.budget_tok:
            raise ValueError(
                f"the request may need {need} cache positions (rows of {', '.join(map(str, most))} in blocks "
                f"of {self.grid}); the cache holds {self.budget_tok}: shorten the prompt or ask for less"
            )

    def add(self, group: Group) -> None:
        """Queues a group. ValueError if it can never run, with the numbers."""
        assert group.state == "new"
        self.check([seq.most for seq in group.seqs])
        self._enqueue(group, "waiting")

    def remove(self, group: Group) -> list[Seq]:
        """Finished or aborted, in any state: frees at once. Answers the sequences whose parked value is
        void."""
        void = [seq for seq in group.seqs if group.state == "parked" and seq.computed]
        if group.state == "running":
            self.running.remove(group)
            for seq in group.seqs:
                self._leave(seq)
        elif group.state in ("waiting", "parked"):
            self.queue.remove(group)
            if group.state == "parked":
                self.parked_tok -= self._held(group)
        group.state = "gone"
        return void

    def plan(self) -> Plan:
        """The next step. The moves count as done from here on, the rows only when committed."""
        self._shrink()
        self._admit()
        return Plan(self.flush(), tuple(self._chunks()))

    def flush(self) -> tuple[Move, ...]:
        """The moves that are due without a plan: slots emptied by `remove`."""
        moves, self._moves = tuple(self._moves), []
        return moves

    def commit(self, plan: Plan) -> None:
        """The plan's rows were computed."""
        for row in plan.rows:
            assert row.seq.slot >= 0
            assert row.seq.computed == row.start
            row.seq.computed = row.stop

    def extend(self, seq: Seq, ids: Sequence[int], computed: int = 0) -> None:
        """Appends chosen ids; the first `computed` of them are in the cache already (a verified draft)."""
        assert seq.remaining == 0
        seq.ids.extend(ids)
        seq.computed += computed
        assert len(seq.ids) <= seq.most

    def branch(self, group: Group, parents: Sequence[int], ids: Sequence[int]) -> list[Copy]:
        """Beams: row j becomes row parents[j] followed by ids[j]; rows beyond become empty.

        A parent's first child keeps its slot, the others take slots that nobody keeps; so no copy reads a
        slot that another has written.
        """
        seqs = group.seqs
        old = [(seq.ids, seq.computed, seq.slot) for seq in seqs]
        kept: dict[int, int] = {}
        for child, parent in enumerate(parents):
            kept.setdefault(parent, child)
        spare = [slot for row, (_, _, slot) in enumerate(old) if row not in kept]
        copies: list[Copy] = []
        for child, seq in enumerate(seqs):
            if child >= len(parents):
                seq.ids, seq.computed, seq.slot = [], 0, spare.pop()
                continue
            known, computed, slot = old[parents[child]]
            assert len(known) == computed
            if kept[parents[child]] != child:
                source, slot = slot, spare.pop()
                copies.append(Copy(source, slot, computed))
            seq.ids, seq.computed, seq.slot = [*known, ids[child]], computed, slot
        return copies

    @property
    def used_tok(self) -> int:
        """Positions held by running rows, donors and lent slots, in whole blocks."""
        return self._running_tok() + sum(len(donor.ids) for donor in self.donors.values())

    def lend(self, length: int) -> int:
        """A slot for `length` positions outside the plan, until taken back; rows are parked if need be."""
        need, limit = ceil_to(length, self.grid), self.budget_tok - sum(self.lent.values())
        if need > limit or len(self.lent) == self.n_slots:
            raise ValueError(
                f"a slot of {need} cache positions is asked for; {limit} and {self.n_slots - len(self.lent)} "
                "slots can be lent"
            )
        self._make_room(need)
        while self.used_tok + need > self.budget_tok or not (self.free or self.donors):
            self._preempt(self.running[-1])
        slot = self._take()
        self.lent[slot] = need
        return slot

    def take_back(self, slot: int) -> None:
        del self.lent[slot]
        self._vacate(slot)

    # Room

    def _held(self, group: Group) -> int:
        """Positions a group takes, in whole blocks; a beam that does not exist yet counts as the first."""
        first = len(group.seqs[0].ids)
        return sum(ceil_to(len(seq.ids) or first, self.grid) for seq in group.seqs)

    def _running_tok(self) -> int:
        return sum(map(self._held, self.running)) + sum(self.lent.values())

    def _enqueue(self, group: Group, state: str) -> None:
        group.state = state
        bisect.insort(self.queue, group, key=lambda g: g.order)

    def _leave(self, seq: Seq) -> None:
        """Empties a running sequence's slot, keeping what others may reuse."""
        slot, kept = seq.slot, seq.ids[: floor_to(seq.computed, self.grid)]
        seq.slot, seq.computed = -1, 0
        same = [donor for donor in self.donors.values() if donor.adapter == seq.adapter]
        if kept and not any(shared(donor.ids, kept, len(kept), self.grid) == len(kept) for donor in same):
            for other, donor in list(self.donors.items()):
                whole = len(donor.ids)
                if donor.adapter == seq.adapter and shared(donor.ids, kept, whole, self.grid) == whole:
                    self._evict(other)
            self.donors[slot] = Donor(kept, seq.adapter)
        else:
            self._vacate(slot)

    def _vacate(self, slot: int) -> None:
        self._moves.append(Release(slot))
        self.free.append(slot)

    def _evict(self, slot: int) -> None:
        del self.donors[slot]
        self._vacate(slot)

    def _shrink(self) -> None:
        while self.used_tok > self.budget_tok:
            if self.donors:
                self._evict(next(iter(self.donors)))
            else:
                assert len(self.running) > 1 or self.lent
                self._preempt(self.running[-1])

    def _preempt(self, group: Group) -> None:
        """Puts a running group back into the queue, with its contents if there is room to keep them."""
        self.running.remove(group)
        self.n_preempted += 1
        size = self._held(group)
        keep = self.parked_tok + size <= self.park_tok
        for seq in group.seqs:
            if keep and seq.computed:
                self._moves.append(Park(seq, seq.slot, seq.computed))
            if not keep:
                self.n_dropped += seq.computed > 0
                seq.computed = 0
            self._vacate(seq.slot)
            seq.slot = -1
        self.parked_tok += size if keep else 0
        self._enqueue(group, "parked" if keep else "waiting")

    # Admission

    def _admit(self) -> None:
        held_back = 0
        for group in list(self.queue):
            if held_back == self.n_slots or len(self.free) + len(self.donors) < len(group.seqs):
                return
            spare = self.grid * len(self.running)  # room to grow, or the newcomer is soon put out again
            need = self._held(group)
            if self._running_tok() + need + (spare if self.running else 0) > self.budget_tok:
                return
            if group.state == "parked":
                self._resume(group, need)
            elif self._worth_waiting(group):
                group.waited += 1
                held_back += 1  # a long queue is not compared with every slot at every step
                continue
            else:
                for seq in group.seqs:
                    self._place(seq, need)
            self.queue.remove(group)
            group.state = "running"
            bisect.insort(self.running, group, key=lambda g: g.order)

    def _resume(self, group: Group, need: int) -> None:
        self._make_room(need)
        self.parked_tok -= need
        for seq in group.seqs:
            seq.slot = self._take()
            if seq.computed:
                self._moves.append(Unpark(seq, seq.slot))

    def _worth_waiting(self, group: Group) -> bool:
        """A running row of no lower priority is computing a longer prefix than any that is there."""
        if group.waited >= WAIT_PLANS:
            return False
        for seq in group.seqs:
            if not seq.reuse or len(seq.ids) <= self.grid:
                continue
            _, there = self._best(seq)
            for other in self.running:
                if other.priority < group.priority:
                    continue
                for row in other.seqs:
                    coming = row.adapter == seq.adapter and row.remaining > 0
                    if coming and shared(row.ids, seq.ids, len(seq.ids) - 1, self.grid) > there:
                        return True
        return False

    def _best(self, seq: Seq) -> tuple[int, int]:
        """(slot, length) of the longest prefix in any slot; (-1, 0) if none."""
        slot, best, limit = -1, 0, len(seq.ids) - 1
        for group in self.running:
            for row in group.seqs:
                if row.adapter == seq.adapter and row.computed > best:
                    length = shared(row.ids, seq.ids, min(limit, row.computed), self.grid)
                    if length > best:
                        slot, best = row.slot, length
        for at, donor in self.donors.items():
            if donor.adapter == seq.adapter and len(donor.ids) > best:
                length = shared(donor.ids, seq.ids, limit, self.grid)
                if length > best:
                    slot, best = at, length
        return slot, best

    def _place(self, seq: Seq, need: int) -> None:
        """Gives a sequence its slot, with the longest prefix that is there; `need` is its whole group's."""
        source, length = self._best(seq) if seq.reuse and seq.ids else (-1, 0)
        donor = self.donors.get(source)
        if donor is not None:
            alone = not self.free and next(iter(self.donors)) == source
            tight = self._running_tok() + need + len(donor.ids) > self.budget_tok
            if length == len(donor.ids) or alone or tight:
                del self.donors[source]
                self._make_room(need)
                seq.slot = source
            else:
                del self.donors[source]
                self.donors[source] = donor  # used just now: the last to be evicted
        if seq.slot < 0:
            self._make_room(need)
            seq.slot = self._take()
            if length:
                self._moves.append(Copy(source, seq.slot, length))
        seq.computed = seq.reused = length

    def _make_room(self, need: int) -> None:
        """Evicts donors, least recently used first, until `need` more positions fit."""
        while self.donors and self.used_tok + need > self.budget_tok:
            self._evict(next(iter(self.donors)))

    def _take(self) -> int:
        if not self.free:
            self._evict(next(iter(self.donors)))
        return self.free.pop()

    # The rows of one step

    def _chunks(self) -> list[Chunk]:
        rows = [seq for group in self.running for seq in group.seqs]
        chunks = [Chunk(seq, seq.computed, len(seq.ids)) for seq in rows if seq.remaining == 1]
        room = max(self.step_tok - len(chunks), self.grid)
        wide = max(self.wide_tok, self.grid)
        for seq in rows:
            if seq.remaining > 1:
                limit = min(room, wide) if seq.wide else room
                stop = len(seq.ids)
                if seq.remaining > limit:
                    stop = floor_to(seq.computed + limit, self.grid)
                if stop > seq.computed:
                    chunks.append(Chunk(seq, seq.computed, stop))
                    room -= stop - seq.computed
                    wide -= stop - seq.computed if seq.wide else 0
        return chunks

"""The engine of one model: requests in, ids out, one step at a time.

It ties the scheduler, a compute path (`step.Step`), the sampler and constraints together; it knows neither
text nor torch, starts no thread and waits for nothing. Whoever owns it calls `step` while `busy`.

What a request gets does not depend on what else runs: noise is keyed by (seed, choice, position), the cache's
contents by position, and pre-emption keeps or recomputes them. A row that fails (logits that are not
numbers, a constraint that cannot go on) ends its own request with finish "error" and no other.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np

from tokenloom.engine.beam import BeamSearch
from tokenloom.engine.check import BadRequest, check
from tokenloom.engine.choice import Choice, Matcher, RowError
from tokenloom.engine.job import Job, Part
from tokenloom.engine.plan import Chunk, Copy, Group, Move, Park, Seq, Unpark
from tokenloom.engine.request import Constraint, Delta, Finish, Request
from tokenloom.engine.sampling import RowState, choose
from tokenloom.engine.scheduler import Scheduler
from tokenloom.engine.speculate import Payoff, most
from tokenloom.step import Row, Step

WIDE_BYTES = 64 << 20
"""Logits of one step that scores prompts take about this much at most."""


class Core:
    """One model's requests. Not thread-safe: one owner."""

    def __init__(
        self,
        step: Step,
        *,
        eos_ids: Sequence[int] = (),
        grid: int = 64,
        step_tok: int = 512,
        budget_tok: int | None = None,
        park_tok: int | None = None,
        compile_constraint: Callable[[Constraint], Matcher] | None = None,
        speculate: int = 0,
        adapters: Collection[str] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`budget_tok` is the cache's size in positions (None: all slots full), `park_tok` what pre-empted
        rows may hold beside it (None: as much again). `eos_ids` end a constrained answer; otherwise the
        request's stop_ids
        alone do. `adapters` are the names a request may ask for."""
        self._step = step
        self._eos_ids = tuple(eos_ids)
        self._compile = compile_constraint
        self._speculate = speculate
        self._payoffs: defaultdict[int, Payoff] = defaultdict(Payoff)
        """By the number of rows that decode together."""
        self._adapters = adapters
        self._clock = clock
        full = step.n_slots * -(-step.context // grid) * grid
        budget = full if budget_tok is None else budget_tok
        self.scheduler = Scheduler(
            step.n_slots,
            grid=grid,
            step_tok=step_tok,
            budget_tok=budget,
            park_tok=budget if park_tok is None else park_tok,
            wide_tok=WIDE_BYTES // (4 * step.vocab_size),
        )
        self._jobs: dict[str, Job] = {}
        self._owner: dict[Seq, tuple[Job, Part]] = {}
        self._parked: dict[Seq, Any] = {}
        self._out: list[Delta] = []
        self._arrivals = 0
        self._totals = {
            "steps": 0,
            "prompt_tokens": 0,
            "cached_tokens": 0,
            "computed_tokens": 0,
            "new_tokens": 0,
            "drafted_tokens": 0,
        }

    @property
    def context(self) -> int:
        """Positions that prompt and answer may take together."""
        return self._step.context

    @property
    def vocab_size(self) -> int:
        return self._step.vocab_size

    @property
    def runner(self) -> Step:
        """The compute path, for rows of one's own on a borrowed slot, between steps."""
        return self._step

    def borrow_slot(self, length: int | None = None) -> int:
        """A slot for `length` positions (None: the whole context) outside the schedule; give it back soon.

        Idle contents make room, then running rows are parked. ValueError if the cache is smaller.
        """
        slot = self.scheduler.lend(self.context if length is None else length)
        self._move(self.scheduler.flush())
        return slot

    def return_slot(self, slot: int) -> None:
        self.scheduler.take_back(slot)
        self._move(self.scheduler.flush())

    def close(self) -> None:
        """Frees the model; requests that are open get no further news."""
        self._jobs.clear()
        self._owner.clear()
        self._parked.clear()
        self._out.clear()
        self._step.close()

    @property
    def busy(self) -> bool:
        """There is something to compute or to say."""
        return bool(self._jobs or self._out)

    def add(self, request: Request) -> None:
        """Queues a request. ValueError with the field, what was found and what is allowed, if it can never
        run."""
        if request.id in self._jobs:
            raise BadRequest(f"id {request.id!r} is in use by a request that has not ended")
        if request.adapter is not None and request.adapter not in self._adapters:
            known = ", ".join(sorted(self._adapters)) or "none is loaded"
            raise BadRequest(f"adapter {request.adapter!r} is unknown; known: {known}")
        check(request, vocab_size=self._step.vocab_size, context=self._step.context)
        parts = self._parts(request)
        for part in parts:
            self.scheduler.check([seq.most for seq in part.group.seqs])
        job = Job(request, self._clock(), parts)
        self._jobs[request.id] = job
        self._totals["prompt_tokens"] += len(request.ids)
        for part in parts:
            if isinstance(part, Choice) and part.finish is not None:
                continue  # nothing to compute: every id is forced, or none is asked for
            self._owner.update((seq, (job, part)) for seq in part.group.seqs)
            self.scheduler.add(part.group)
        for part in parts:
            if isinstance(part, Choice) and part.finish is not None:
                self._report(job, part, self._out)

    def abort(self, request_id: str) -> None:
        """Ends a request and frees what it holds at once; no effect if it has ended already."""
        job = self._jobs.get(request_id)
        if job is not None:
            self._close(job, "abort", None, self._out)

    def step(self) -> list[Delta]:
        """One step of everything that runs; [] if idle."""
        out, self._out = self._out, []
        if not self._jobs:
            return out
        plan = self.scheduler.plan()
        self._move(plan.moves)
        if plan.rows:
            began, before = self._clock(), self._totals["new_tokens"]
            decoding = all(chunk.decodes for chunk in plan.rows)
            ahead = most(self._speculate, len(plan.rows)) if decoding else 0
            payoff = self._payoffs[len(plan.rows)] if ahead else None
            if payoff is not None and not payoff.draft():
                ahead = 0
            rows = [self._row(chunk, ahead, began) for chunk in plan.rows]
            computing = self._clock()  # a prompt is indexed once, in its first row: no cost of a draft
            answers = self._step.run(rows)
            self.scheduler.commit(plan)
            self._totals["steps"] += 1
            self._totals["computed_tokens"] += sum(len(row.ids) for row in rows)
            self._advance(self._receive(plan.rows, answers, out), out)
            if payoff is not None:
                drafted = any(len(row.ids) > 1 for row in rows)
                payoff.note(drafted, self._totals["new_tokens"] - before, self._clock() - computing)
        self._move(self.scheduler.flush())
        return out

    def stats(self) -> dict[str, int]:
        """Gauges (requests, slots, cache positions) and counters since the start."""
        s = self.scheduler
        return {
            "requests": len(self._jobs),
            "running": len(s.running),
            "waiting": sum(group.state == "waiting" for group in s.queue),
            "parked": sum(group.state == "parked" for group in s.queue),
            "slots": s.n_slots,
            "slots_running": sum(len(group.seqs) for group in s.running),
            "slots_idle": len(s.donors),
            "cache_tok": s.used_tok,
            "cache_budget_tok": s.budget_tok,
            "parked_tok": s.parked_tok,
            "preempted": s.n_preempted,
            "dropped": s.n_dropped,
            **self._totals,
        }

    # Parts of a request

    def _parts(self, request: Request) -> list[Part]:
        """The state of each answer; arrival numbers go up by one per group."""
        vocab, context = self._step.vocab_size, self._step.context
        if request.beams > 1:
            self._arrivals += 1
            return [BeamSearch(request, vocab_size=vocab, context=context, arrival=self._arrivals)]
        choices: list[Part] = []
        for index in range(request.n):
            matcher = None
            if request.constraint is not None:
                if self._compile is None:
                    raise BadRequest(
                        "constraint is set; this engine was started without a constraint compiler"
                    )
                matcher = self._compile(request.constraint)
            self._arrivals += 1
            choices.append(
                Choice(
                    request,
                    index,
                    vocab_size=vocab,
                    context=context,
                    arrival=self._arrivals,
                    eos_ids=self._eos_ids,
                    matcher=matcher,
                    speculate=self._speculate > 0,
                )
            )
        return choices

    # What a step brought

    def _row(self, chunk: Chunk, ahead: int, now: float) -> Row:
        """The step's row of a chunk, with a draft of at most `ahead` ids that fit into its last block."""
        job, part = self._owner[chunk.seq]
        job.admitted = now if job.admitted is None else job.admitted
        if isinstance(part, Choice):
            part.look_ahead(min(ahead, -chunk.stop % self.scheduler.grid))
        return part.row(chunk)

    def _receive(
        self, chunks: Sequence[Chunk], answers: Sequence[np.ndarray | None], out: list[Delta]
    ) -> list[tuple[Job, Part]]:
        """Hands every row's logits to its owner; answers the owners that live."""
        touched: dict[int, tuple[Job, Part]] = {}
        for chunk, answer in zip(chunks, answers, strict=True):
            owner = self._owner.get(chunk.seq)
            if owner is None:
                continue  # its request has failed on a row before
            job, part = owner
            try:
                part.receive(chunk, answer)
            except RowError as error:
                self._close(job, "error", str(error), out)
            else:
                touched[id(part)] = owner
        return [owner for owner in touched.values() if owner[0].open]

    def _advance(self, touched: Sequence[tuple[Job, Part]], out: list[Delta]) -> None:
        """Chooses the next ids of every part whose rows have all answered, and says what is new."""
        ready: list[tuple[Job, Choice]] = []
        for job, part in touched:
            if isinstance(part, Choice):
                ready += [(job, part)] if part.ready else []
            elif part.ready:
                try:
                    self._search(job, part, out)
                except RowError as error:
                    self._close(job, "error", str(error), out)
        while ready:  # once, and again for those whose draft goes on to hold
            ready = self._sample(ready, out)
        for job, part in touched:
            if isinstance(part, Choice) and job.open:
                self._report(job, part, out)

    def _sample(self, ready: Sequence[tuple[Job, Choice]], out: list[Delta]) -> list[tuple[Job, Choice]]:
        """Chooses one id for each; answers those whose logits for the one after are there already."""
        states: list[tuple[Job, Choice, np.ndarray, RowState]] = []
        for job, part in ready:
            try:
                taken = part.take_logits() if job.open else None
                if taken is not None:
                    states.append((job, part, *taken))
            except RowError as error:
                self._close(job, "error", str(error), out)
        again = []
        chosen = choose([s[2] for s in states], [s[3] for s in states])
        for (job, part, _, _), pick in zip(states, chosen, strict=True):
            try:
                new = part.apply(pick) if job.open else []
                known = part.confirm(new)
            except RowError as error:
                self._close(job, "error", str(error), out)
                continue
            if new:
                for seq in part.group.seqs:
                    self.scheduler.extend(seq, new, computed=int(known))
            if known:
                self._totals["drafted_tokens"] += 1
                again.append((job, part))
        return again

    def _search(self, job: Job, part: BeamSearch, out: list[Delta]) -> None:
        parents, ids = part.advance()
        if not part.over:
            self._move(self.scheduler.branch(part.group, parents, ids))
            return
        self._drop(part.group)
        for delta in part.deltas():
            self._say(job, delta, out)

    def _report(self, job: Job, part: Choice, out: list[Delta]) -> None:
        delta = part.delta()
        if delta is not None:
            if delta.finish is not None:
                self._drop(part.group)
            self._say(job, delta, out)

    def _say(self, job: Job, delta: Delta, out: list[Delta]) -> None:
        """Sends a delta, and forgets a request whose last choice has ended."""
        out.append(job.tell(delta, self._clock()))
        self._totals["new_tokens"] += len(delta.ids)
        if not job.open:
            self._totals["cached_tokens"] += job.cached
            del self._jobs[job.request.id]

    def _close(self, job: Job, finish: Finish, error: str | None, out: list[Delta]) -> None:
        """Ends every open choice of a request, keeping nothing."""
        for part in job.parts:
            self._drop(part.group)
        for choice in sorted(job.open):
            self._say(job, Delta(job.request.id, choice, finish=finish, error=error), out)
        self._move(self.scheduler.flush())

    # The cache

    def _drop(self, group: Group) -> None:
        for seq in self.scheduler.remove(group):
            del self._parked[seq]
        for seq in group.seqs:
            self._owner.pop(seq, None)

    def _move(self, moves: Sequence[Move]) -> None:
        for move in moves:
            if isinstance(move, Copy):
                self._step.copy(move.source, move.target, move.length)
            elif isinstance(move, Park):
                self._parked[move.seq] = self._step.park(move.slot, move.length)
            elif isinstance(move, Unpark):
                self._step.unpark(self._parked.pop(move.seq), move.slot)
            else:
                self._step.release(move.slot)

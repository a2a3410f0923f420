"""The engine of one model: requests in, ids out, one step at a time.

It ties the scheduler, a compute path (`step.Step`), the sampler and constraints together; it knows neither
text nor torch, starts no thread and waits for nothing. Whoever owns it calls `step` while `busy`.

What a request gets does not depend on what else runs: noise is keyed by (seed, choice, position), the cache's
contents by position, and pre-emption keeps or recomputes them. A row that fails (logits that are not
numbers, a constraint that cannot go on) ends its own request with finish "error" and no other.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from tokenloom.engine.beam import BeamSearch
from tokenloom.engine.check import BadRequest, check
from tokenloom.engine.choice import Choice, Matcher, RowError
from tokenloom.engine.plan import Copy, Group, Move, Park, Seq, Unpark
from tokenloom.engine.request import Constraint, Delta, Request, Usage
from tokenloom.engine.sampling import choose
from tokenloom.engine.scheduler import Scheduler
from tokenloom.step import Step

WIDE_BYTES = 64 << 20
"""Logits of one step that scores prompts take about this much at most."""


@dataclass(eq=False, slots=True)
class Job:
    """One request and its answers that are still open."""

    request: Request
    arrived: float
    parts: list[Choice] | list[BeamSearch]
    open: set[int]
    """Choices that have not ended."""
    admitted: float | None = None
    first: dict[int, float] = field(default_factory=dict)
    """Choice -> when its first id came."""
    counts: dict[int, int] = field(default_factory=dict)
    """Choice -> ids sent."""


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
        self._owner: dict[Seq, tuple[Job, Choice | BeamSearch]] = {}
        self._parked: dict[Seq, Any] = {}
        self._out: list[Delta] = []
        self._arrivals = 0
        self._totals = {
            "steps": 0,
            "prompt_tokens": 0,
            "cached_tokens": 0,
            "computed_tokens": 0,
            "new_tokens": 0,
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
        indices = range(request.n)
        job = Job(request, self._clock(), parts, set(indices), counts=dict.fromkeys(indices, 0))
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
            now = self._clock()
            rows = []
            for chunk in plan.rows:
                job, part = self._owner[chunk.seq]
                job.admitted = now if job.admitted is None else job.admitted
                rows.append(part.row(chunk))
            logits = self._step.run(rows)
            self.scheduler.commit(plan)
            self._totals["steps"] += 1
            self._totals["computed_tokens"] += sum(len(row.ids) for row in rows)
            touched: dict[int, tuple[Job, Choice | BeamSearch]] = {}
            for chunk, answer in zip(plan.rows, logits, strict=True):
                owner = self._owner.get(chunk.seq)
                if owner is None:
                    continue  # its request has failed on a row before
                job, part = owner
                try:
                    part.receive(chunk, answer)
                except RowError as error:
                    self._close(job, "error", str(error), out)
                else:
                    touched[id(part)] = (job, part)
            self._advance(
                [(job, part) for job, part in touched.values() if job.request.id in self._jobs], out
            )
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

    def _parts(self, request: Request) -> list[Choice] | list[BeamSearch]:
        """The state of each answer; arrival numbers go up by one per group."""
        vocab, context = self._step.vocab_size, self._step.context
        if request.beams > 1:
            self._arrivals += 1
            return [BeamSearch(request, vocab_size=vocab, context=context, arrival=self._arrivals)]
        choices = []
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
                )
            )
        return choices

    # What a step brought

    def _advance(self, touched: Sequence[tuple[Job, Choice | BeamSearch]], out: list[Delta]) -> None:
        """Chooses the next ids of every part whose rows have all answered, and says what is new."""
        sampled: list[tuple[Job, Choice]] = []
        logits: list[np.ndarray] = []
        states = []
        for job, part in touched:
            if not part.ready or job.request.id not in self._jobs:
                continue
            try:
                if isinstance(part, BeamSearch):
                    self._search(job, part, out)
                else:
                    row, state = part.take_logits()
                    sampled.append((job, part))
                    logits.append(row)
                    states.append(state)
            except RowError as error:
                self._close(job, "error", str(error), out)
        for (job, part), chosen in zip(sampled, choose(logits, states) if states else [], strict=True):
            if job.request.id not in self._jobs:
                continue
            try:
                new = part.apply(chosen)
            except RowError as error:
                self._close(job, "error", str(error), out)
                continue
            for seq in part.group.seqs:
                if new:
                    self.scheduler.extend(seq, new)
        for job, part in touched:
            if isinstance(part, Choice) and job.request.id in self._jobs:
                self._report(job, part, out)

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
        """Adds timing and usage, and forgets a request whose last choice has ended."""
        now = self._clock()
        if delta.ids:
            job.first.setdefault(delta.choice, now)
            job.counts[delta.choice] += len(delta.ids)
            self._totals["new_tokens"] += len(delta.ids)
        if delta.finish is not None:
            delta = replace(delta, usage=self._usage(job, delta.choice, now))
            job.open.discard(delta.choice)
            if not job.open:
                del self._jobs[job.request.id]
        out.append(delta)

    def _usage(self, job: Job, choice: int, now: float) -> Usage:
        prompt = len(job.request.ids)
        cached = min(job.parts[0].group.seqs[0].reused, prompt)
        if not job.open - {choice}:
            self._totals["cached_tokens"] += cached
        return Usage(
            prompt_tokens=prompt,
            cached_tokens=cached,
            completion_tokens=job.counts[choice],
            queue_s=(now if job.admitted is None else job.admitted) - job.arrived,
            ttft_s=job.first.get(choice, now) - job.arrived,
            total_s=now - job.arrived,
        )

    def _close(self, job: Job, finish: Any, error: str | None, out: list[Delta]) -> None:
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

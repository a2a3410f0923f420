"""Beam search over one prompt: a fixed number of hypotheses, the best finished ones returned.

Not sampled and not the cache: the scheduler moves slots, the core copies them. The semantics are those of
transformers' generate(num_beams=..., early_stopping=False): of the (1 + stop ids) * beams best
continuations (twice the beams at least) those among the first `beams` that end are finished hypotheses with
score sum / length ** length_penalty (the stop id counts), the best others go on; it ends when the best
running score at its present length is no better than the worst of `beams` finished ones. Source: Wu et al.
2016, arXiv:1609.08144, section 7, for the shape of the score.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tokenloom.engine.check import room
from tokenloom.engine.choice import RowError, finite, stop_set
from tokenloom.engine.plan import Chunk, Group, Seq
from tokenloom.engine.request import Delta, Finish, Request, TokenLogprob
from tokenloom.engine.sampling import beam_candidates, log_softmax, token_logprobs
from tokenloom.step import Row


@dataclass(frozen=True, slots=True)
class Hypothesis:
    ids: tuple[int, ...] = ()
    total: float = 0.0
    """Summed log-probability."""
    logprobs: tuple[TokenLogprob, ...] = ()


@dataclass(frozen=True, slots=True)
class Finished:
    hypothesis: Hypothesis
    score: float
    finish: Finish
    stop_id: int | None


class BeamSearch:
    """State of one request's search; its rows are the running hypotheses."""

    def __init__(self, request: Request, *, vocab_size: int, context: int, arrival: int) -> None:
        self.request = request
        self.stops = stop_set(request, ())
        self.limit = room(request, context)
        self.running = [Hypothesis()]
        self.finished: list[Finished] = []
        """At most `beams`, best first."""
        self.over = False
        self._last: dict[Seq, np.ndarray] = {}
        self._barred: np.ndarray | None = None
        if request.allowed is not None:
            self._barred = np.ones(vocab_size, dtype=bool)
            for start, stop in request.allowed:
                self._barred[start:stop] = False
        most = len(request.ids) + self.limit - 1
        rows = [Seq(list(request.ids), most, request.adapter)]
        rows += [Seq([], most, request.adapter) for _ in range(request.beams - 1)]
        self.group = Group(tuple(rows), request.priority, arrival)

    def row(self, chunk: Chunk) -> Row:
        seq = chunk.seq
        want = 1 if chunk.stop == len(seq.ids) else 0
        return Row(seq.slot, chunk.start, seq.ids[chunk.start : chunk.stop], want, None, seq.adapter)

    def receive(self, chunk: Chunk, logits: np.ndarray | None) -> None:
        """Keeps what the step answered for one of its rows. RowError if it is not numbers."""
        if logits is not None:
            finite(logits)
            self._last[chunk.seq] = logits[-1]

    @property
    def ready(self) -> bool:
        return not self.over and len(self._last) == len(self.running)

    def advance(self) -> tuple[list[int], list[int]]:
        """One step of the search: (parents, ids) of the rows that go on, none when it is over."""
        logits = np.stack([self._last.pop(seq) for seq in self.group.seqs[: len(self.running)]])
        raw = log_softmax(logits)
        length = len(self.running[0].ids) + 1
        barred = np.zeros(raw.shape[1], dtype=bool) if self._barred is None else self._barred.copy()
        if length <= self.request.min_tokens:
            barred[list(self.stops)] = True
        masked = np.where(barred, -np.inf, raw)
        beams = self.request.beams
        totals, parents, ids = beam_candidates(
            masked,
            np.array([h.total for h in self.running]),
            min(max(2, 1 + len(self.stops)) * beams, masked.size),
        )
        on: list[int] = []
        candidates: list[Hypothesis] = []
        for rank, (total, parent, id) in enumerate(zip(totals, parents, ids, strict=True)):
            if not np.isfinite(total):
                break
            h = self._child(self.running[parent], int(id), float(total), logits[parent])
            ends = int(id) in self.stops or length >= self.limit
            if ends and rank < beams:
                self._end(h, length)
            if not ends and len(on) < beams:
                on.append(int(parent))
                candidates.append(h)
        self.running = candidates
        best = max((h.total for h in candidates), default=-np.inf) / length**self.request.length_penalty
        full = len(self.finished) == beams
        self.over = not candidates or (full and best <= self.finished[-1].score)
        if self.over and not self.finished:
            raise RowError("no id may come next: the allowed ranges and min_tokens exclude each other")
        return ([], []) if self.over else (on, [h.ids[-1] for h in candidates])

    def deltas(self) -> list[Delta]:
        """The n best, when it is over."""
        out = []
        for index in range(self.request.n):
            if index >= len(self.finished):
                error = f"beam search found {len(self.finished)} sequences, fewer than n {self.request.n}"
                out.append(Delta(self.request.id, index, finish="error", error=error))
                continue
            best = self.finished[index]
            ids = best.hypothesis.ids if best.stop_id is None else best.hypothesis.ids[:-1]
            out.append(
                Delta(
                    self.request.id,
                    index,
                    ids,
                    best.hypothesis.logprobs[: len(ids)],
                    finish=best.finish,
                    stop_id=best.stop_id,
                    score=best.score,
                )
            )
        return out

    def _child(self, parent: Hypothesis, id: int, total: float, logits: np.ndarray) -> Hypothesis:
        logprobs = parent.logprobs
        if self.request.logprobs is not None:
            logprobs += tuple(token_logprobs(logits[None], np.array([id]), self.request.logprobs))
        return Hypothesis((*parent.ids, id), total, logprobs)

    def _end(self, hypothesis: Hypothesis, length: int) -> None:
        last = hypothesis.ids[-1]
        stopped = last in self.stops
        score = hypothesis.total / length**self.request.length_penalty
        self.finished.append(
            Finished(hypothesis, score, "stop" if stopped else "length", last if stopped else None)
        )
        self.finished.sort(key=lambda f: -f.score)
        del self.finished[self.request.beams :]

"""One sampled answer to a request: what it needs of a step, what it makes of the logits, when it ends.

Not the schedule (it is told which chunk ran) and not the sampler (`engine.sampling`). With guidance it has
two rows, the prompt's and the negative prompt's, which receive the same ids.

Which logits are asked for: the last position's once a row's ids are all in the cache; every position's
while the prompt is being scored. The output layer is sliced to `allowed` unless log-probabilities are asked
for, because those are of the whole vocabulary; then the ranges act as a mask.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Protocol

import numpy as np

from tokenloom.engine.check import room
from tokenloom.engine.plan import Chunk, Group, Seq
from tokenloom.engine.request import Delta, Finish, Request, TokenLogprob
from tokenloom.engine.sampling import Chosen, RowState, mix_guidance, token_logprobs
from tokenloom.engine.speculate import Lookup
from tokenloom.step import Range, Row


class Matcher(Protocol):
    """A compiled constraint at its place in one output."""

    @property
    def done(self) -> bool:
        """The text is complete; nothing may follow."""
        ...

    @property
    def may_end(self) -> bool:
        """The text is complete as it is."""
        ...

    def mask(self, vocab: int) -> np.ndarray:
        """(vocab,) bool: the ids that may come next. ValueError if it cannot be followed further."""
        ...

    def forced(self, most: int) -> list[int]:
        """The ids that must come next, at most so many; often none."""
        ...

    def accept(self, id: int) -> None:
        """Takes a chosen id. ValueError if it does not fit."""
        ...


class RowError(ValueError):
    """One request cannot go on; the others are not touched."""


def stop_set(request: Request, eos_ids: Sequence[int]) -> frozenset[int]:
    """`stop_ids` alone decide; a constraint may always end with the model's own end ids too."""
    return frozenset(request.stop_ids) | (
        frozenset(eos_ids) if request.constraint is not None else frozenset()
    )


def finite(logits: np.ndarray) -> None:
    """Refuses logits (.., V) of which nothing can be chosen: NaN, infinite, all masked."""
    best = logits.max(axis=-1)
    if not (math.isfinite(best.item()) if best.size == 1 else np.isfinite(best).all()):  # one: twice as fast
        raise RowError(
            "the model computed logits that are not numbers (NaN or infinite); its weights may be damaged"
        )


@contextmanager
def _followed(what: str) -> Iterator[None]:
    """A matcher's failure is that of its row."""
    try:
        yield
    except ValueError as error:
        raise RowError(f"the constraint {what}: {error}") from error


class Choice:
    """State of answer `index` of a request."""

    def __init__(
        self,
        request: Request,
        index: int,
        *,
        vocab_size: int,
        context: int,
        arrival: int,
        eos_ids: Sequence[int] = (),
        matcher: Matcher | None = None,
        speculate: bool = False,
    ) -> None:
        self.request = request
        self.index = index
        self.vocab_size = vocab_size
        self.matcher = matcher
        self.stops = stop_set(request, eos_ids)
        self.limit = room(request, context)
        self.prompt = np.asarray(request.ids, dtype=np.int64)
        self.output: list[int] = []
        self.finish: Finish | None = None
        self.stop_id: int | None = None
        self._sent = 0
        self._logprobs: list[TokenLogprob] = []
        self._scoring = request.prompt_logprobs is not None and index == 0
        self._scores: list[TokenLogprob | None] = [None]
        self._last: dict[Seq, np.ndarray] = {}
        self._draft: list[int] = []
        self._ahead: list[np.ndarray] = []
        """Logits after each id of the draft."""
        sliced = request.allowed is not None and request.logprobs is None and request.prompt_logprobs is None
        self._sliced = request.allowed if sliced else None
        self._columns = _columns(tuple(request.allowed)) if request.allowed is not None else None
        if self.limit == 0 and index > 0:
            self.finish = "length"
        elif request.logprobs is None and not self._scoring:
            self._force()
        row = Seq(
            [*request.ids, *self.output],
            most=len(request.ids) + max(self.limit - 1, 0),
            adapter=request.adapter,
            reuse=request.prompt_logprobs is None,
            wide=self._scoring,
        )
        seqs = [row]
        if request.negative:
            most = len(request.negative) + max(self.limit - 1, 0)
            seqs.append(Seq([*request.negative, *self.output], most, request.adapter, row.reuse))
        self.group = Group(tuple(seqs), request.priority, arrival)
        plain = not (request.negative or request.forced)
        self._lookup = Lookup() if speculate and plain and self.limit > 1 else None

    # Before the step

    def look_ahead(self, most: int) -> None:
        """Drafts at most this many ids for the row that decodes next."""
        assert not self._draft  # what it held was confirmed or dropped with the last ids
        if self._lookup is not None and most > 0:
            self._lookup.extend(self.group.seqs[0].ids[len(self._lookup.ids) :])
            self._draft = self._lookup.draft(min(most, self.limit - len(self.output) - 1))

    def row(self, chunk: Chunk) -> Row:
        seq = chunk.seq
        ids = seq.ids[chunk.start : chunk.stop] + self._draft
        want = 1 + len(self._draft) if chunk.stop == len(seq.ids) and self.limit > 0 else 0
        if self._scores_missing(chunk):
            want = len(ids)
        return Row(seq.slot, chunk.start, ids, want, self._sliced, seq.adapter)

    def _scores_missing(self, chunk: Chunk) -> bool:
        return self._scoring and chunk.seq is self.group.seqs[0] and len(self._scores) < len(self.prompt)

    # After the step

    def receive(self, chunk: Chunk, logits: np.ndarray | None) -> None:
        """Keeps what the step answered for one of its rows. RowError if it is not numbers."""
        if logits is not None:
            finite(logits[: len(logits) - len(self._draft)])
        if logits is not None and self._scores_missing(chunk):
            # A row dropped half-way comes by again: what was scored before stays.
            have, end = len(self._scores), min(chunk.stop + 1, len(self.prompt))
            wanted = self.prompt[have:end]
            part = logits[have - 1 - chunk.start : end - 1 - chunk.start]
            if len(wanted):
                self._scores += token_logprobs(part, wanted, self.request.prompt_logprobs or 0)
        if chunk.stop < len(chunk.seq.ids):
            return
        if self.limit == 0:
            self.finish = "length"
        else:
            assert logits is not None
            at = len(logits) - 1 - len(self._draft)
            self._last[chunk.seq] = logits[at]
            self._ahead = list(logits[at + 1 :])

    @property
    def ready(self) -> bool:
        """Every row of the group has its logits for the next id."""
        return self.finish is None and len(self._last) == len(self.group.seqs)

    def take_logits(self) -> tuple[np.ndarray, RowState] | None:
        """The logits (columns,) of the next id and what the sampler must know; None if the constraint's text
        is complete and nothing may follow. RowError if nothing may be chosen."""
        cond, *uncond = (self._last.pop(seq) for seq in self.group.seqs)
        logits = mix_guidance(cond, uncond[0], self.request.guidance) if uncond else cond
        forced = self._forced()
        mask = self._mask() if forced < 0 else None
        if mask is not None and not (mask[self._columns] if self._columns is not None else mask).any():
            if (
                self.matcher is not None
                and self.matcher.may_end
                and len(self.output) >= self.request.min_tokens
            ):
                self.finish = "stop"
                return None
            raise RowError(
                "no id may come next: the constraint, the allowed ranges and min_tokens exclude each other"
            )
        return logits, RowState(
            sampling=self.request.sampling,
            seed=self.request.seed,
            choice=self.index,
            position=len(self.prompt) + len(self.output),
            prompt=self.prompt,
            output=self.output,
            mask=mask,
            columns=self._columns if self._sliced is not None else None,
            forced=forced,
            logprobs=self.request.logprobs,
        )

    def apply(self, chosen: Chosen) -> list[int]:
        """Takes the chosen id. Answers the ids to feed next: that one and a forced run; none if it was the
        last."""
        before = len(self.output)
        self._accept(chosen.id)
        if chosen.logprob is not None and len(self.output) > before:
            self._logprobs.append(chosen.logprob)
        if self.finish is None and self.request.logprobs is None:
            self._force()
        return self.output[before:] if self.finish is None else []

    def confirm(self, new: Sequence[int]) -> bool:
        """Whether the ids just fed are the draft's next one, so that the logits after it are there: then they
        are taken, else the rest of the draft is dropped. RowError if they are not numbers."""
        if not self._draft or list(new) != self._draft[:1]:
            self._draft = []
            return False
        finite(self._ahead[0])
        self._last[self.group.seqs[0]] = self._ahead.pop(0)
        del self._draft[0]
        return True

    def delta(self) -> Delta | None:
        """What is new since the last one; None if nothing."""
        ids, self._sent = tuple(self.output[self._sent :]), len(self.output)
        logprobs, self._logprobs = tuple(self._logprobs), []
        prompt: tuple[TokenLogprob | None, ...] = ()
        if self._scoring and len(self._scores) == len(self.prompt):
            prompt, self._scoring = tuple(self._scores), False
        if not (ids or prompt or self.finish):
            return None
        return Delta(
            self.request.id,
            self.index,
            ids,
            logprobs,
            prompt,
            finish=self.finish,
            stop_id=self.stop_id,
        )

    def _mask(self) -> np.ndarray | None:
        mask = None
        if self.matcher is not None:
            with _followed("goes no further"):
                mask = np.array(self.matcher.mask(self.vocab_size), dtype=bool)
        if self.stops and len(self.output) < self.request.min_tokens:
            mask = np.ones(self.vocab_size, dtype=bool) if mask is None else mask
            mask[list(self.stops)] = False
        if self._columns is not None and self._sliced is None:
            inside = np.zeros(self.vocab_size, dtype=bool)
            inside[self._columns] = True
            mask = inside if mask is None else mask & inside
        return mask

    def _forced(self) -> int:
        """The id that must come next by the request or by the constraint; -1 if the model is free."""
        at = len(self.output)
        if at < len(self.request.forced) and self.request.forced[at] >= 0:
            return self.request.forced[at]
        if self.matcher is not None and self.request.allowed is None:
            with _followed("goes no further"):
                for id in self.matcher.forced(1):
                    return -1 if id in self.stops and at < self.request.min_tokens else id
        return -1

    def _force(self) -> None:
        """Takes the forced ids that come next, as many as follow one another."""
        while self.finish is None and (id := self._forced()) >= 0:
            self._accept(id)

    def _accept(self, id: int) -> None:
        if id in self.stops:
            self.finish, self.stop_id = "stop", id
            return
        if self.matcher is not None:
            with _followed(f"does not accept id {id}"):
                self.matcher.accept(id)
        self.output.append(id)
        if self.matcher is not None and self.matcher.done:
            self.finish = "stop"
        elif len(self.output) >= self.limit:
            self.finish = "length"


@lru_cache(maxsize=64)
def _columns(ranges: tuple[Range, ...]) -> np.ndarray:
    """The ids of a sliced output layer's columns: one array for all requests that ask for the same."""
    ids = np.concatenate([np.arange(*part) for part in ranges])
    ids.setflags(write=False)
    return ids

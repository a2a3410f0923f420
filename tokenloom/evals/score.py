"""Log-probabilities of continuations on a compute path, its own or an engine's core's.

Pairs with one context share its cache, many contexts run together, and no step's logits outgrow the memory.
Not the windows over a long text (`evals.window`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from tokenloom.evals.ask import ModelFailed, Pair, Progress, Scored
from tokenloom.step import Row, Step

if TYPE_CHECKING:
    from tokenloom.engine.core import Core

STEP_TOK = 512
"""Positions one step computes at most."""
WIDE_BYTES = 64 << 20
"""Logits of one step take about this much at most."""


class StepScorer:
    """Scores on a compute path that nobody else uses meanwhile."""

    def __init__(self, step: Step, adapter: str | None = None) -> None:
        """adapter: the name of a LoRA adapter that the step holds; None = the base model."""
        self._rows = _Rows(step, adapter)

    @property
    def context(self) -> int:
        return self._rows.step.context

    def score(self, pairs: Sequence[Pair], progress: Progress | None = None) -> list[Scored]:
        _check(pairs, self.context, self._rows.step.vocab_size)
        if not pairs:
            return []
        with self._slots(pairs) as slots:
            return _score(self._rows, slots, pairs, progress)

    @contextmanager
    def _slots(self, pairs: Sequence[Pair]) -> Iterator[Sequence[int]]:
        """The slots to compute on; all are free."""
        yield range(self._rows.step.n_slots)


class CoreScorer(StepScorer):
    """Scores on slots borrowed from a core, between its steps; its owner alone may call this."""

    def __init__(self, core: Core, adapter: str | None = None) -> None:
        """adapter: the name of a LoRA adapter that the core holds; None = the base model."""
        super().__init__(core.runner, adapter)
        self._core = core

    @contextmanager
    def _slots(self, pairs: Sequence[Pair]) -> Iterator[Sequence[int]]:
        """As many slots as there are contexts, or as fit into the cache."""
        schedule = self._core.scheduler
        longest = max(len(pair.context) + len(pair.continuation) - 1 for pair in pairs)
        room = schedule.budget_tok // (-(-longest // schedule.grid) * schedule.grid)
        wanted = min(len({pair.context for pair in pairs}), schedule.n_slots, room)
        slots: list[int] = []
        try:
            while len(slots) < max(wanted, 1):
                slots.append(self._core.borrow_slot(longest))
            yield slots
        finally:
            for slot in slots:
                self._core.return_slot(slot)


def _check(pairs: Sequence[Pair], context: int, vocab_size: int) -> None:
    for at, pair in enumerate(pairs):
        if not pair.context or not pair.continuation:
            raise ValueError(
                f"pairs[{at}]: its context or its continuation is empty; both need an id or more"
            )
        if (length := len(pair.context) + len(pair.continuation) - 1) > context:
            raise ValueError(f"pairs[{at}]: takes {length} positions; the model's context holds {context}")
        low, high = min(*pair.context, *pair.continuation), max(*pair.context, *pair.continuation)
        if low < 0 or high >= vocab_size:
            raise ValueError(f"pairs[{at}]: ids from {low} to {high}; allowed: 0 to {vocab_size - 1}")


@dataclass(frozen=True)
class _Rows:
    """A compute path with the adapter that all rows are for."""

    step: Step
    adapter: str | None


@dataclass
class _Group:
    """Pairs with one context, which is computed once."""

    context: tuple[int, ...]
    pairs: list[int] = field(default_factory=list)
    slot: int = -1


def _score(
    step: _Rows, slots: Sequence[int], pairs: Sequence[Pair], progress: Progress | None
) -> list[Scored]:
    """Groups of one context share its cache: each continuation overwrites the last one's positions."""
    groups: dict[tuple[int, ...], _Group] = {}
    for at, pair in enumerate(pairs):
        groups.setdefault(pair.context, _Group(pair.context)).pairs.append(at)
    out: list[Scored | None] = [None] * len(pairs)
    # The longest first: what runs together is then of about one length.
    order = sorted(groups.values(), key=lambda group: -len(group.context))
    done = 0
    for at in range(0, len(order), len(slots)):
        wave = order[at : at + len(slots)]
        for group, slot in zip(wave, slots, strict=False):
            group.slot = slot
        firsts = _contexts(step, wave)
        for turn in range(max(len(group.pairs) for group in wave)):
            live = [group for group in wave if turn < len(group.pairs)]
            for group, scored in zip(live, _continuations(step, live, firsts, pairs, turn), strict=True):
                out[group.pairs[turn]] = scored
            done += len(live)
            if progress is not None:
                progress(done, len(pairs))
    return [scored for scored in out if scored is not None]


def _contexts(step: _Rows, wave: Sequence[_Group]) -> dict[int, np.ndarray]:
    """Logits (V,) after each group's context, by slot."""
    asked = [(group.slot, 0, group.context, 1) for group in wave]
    return {slot: logits[-1] for (slot, _, _, _), logits in zip(asked, _run(step, asked), strict=True)}


def _continuations(
    step: _Rows, live: Sequence[_Group], firsts: dict[int, np.ndarray], pairs: Sequence[Pair], turn: int
) -> list[Scored]:
    texts = [pairs[group.pairs[turn]].continuation for group in live]
    asked = [
        (group.slot, len(group.context), text[:-1], len(text) - 1)
        for group, text in zip(live, texts, strict=True)
        if len(text) > 1
    ]
    # Reduced step by step: the whole of the logits may be larger than the memory.
    parts = {
        group.slot: [_best(firsts[group.slot][None], text[:1])]
        for group, text in zip(live, texts, strict=True)
    }
    wanted = {group.slot: text[1:] for group, text in zip(live, texts, strict=True)}
    seen = dict.fromkeys(wanted, 0)

    def take(slot: int, logits: np.ndarray) -> None:
        at = seen[slot]
        parts[slot].append(_best(logits, wanted[slot][at : at + len(logits)]))
        seen[slot] = at + len(logits)

    _each(step, asked, take)
    return [
        Scored(np.concatenate([p[0] for p in parts[group.slot]]), all(p[1] for p in parts[group.slot]))
        for group in live
    ]


def _best(logits: np.ndarray, ids: Sequence[int]) -> tuple[np.ndarray, bool]:
    """Log-probabilities (T,) of ids under logits (T, V), and whether each is the first likeliest."""
    if not np.isfinite(logits.max(axis=-1)).all():
        raise ModelFailed("the model computed logits that are not numbers; its weights may be damaged")
    at = np.arange(len(ids))
    top = logits.max(axis=1, keepdims=True)
    own = logits[at, ids].astype(np.float64) - top[:, 0]
    spread = np.log(np.exp(logits - top).sum(axis=1, dtype=np.float64))
    return own - spread, bool((logits.argmax(axis=1) == np.asarray(ids)).all())


Asked = tuple[int, int, Sequence[int], int]
"""slot, first position, ids, how many of the last ones need logits"""


def _run(step: _Rows, asked: Sequence[Asked]) -> list[np.ndarray]:
    """The wanted logits of each, in order."""
    parts: dict[int, list[np.ndarray]] = {slot: [] for slot, _, _, _ in asked}
    _each(step, asked, lambda slot, logits: parts[slot].append(logits))
    return [np.concatenate(parts[slot]) for slot, _, _, _ in asked]


def _each(step: _Rows, asked: Sequence[Asked], take: Callable[[int, np.ndarray], None]) -> None:
    """Runs what is asked in steps of bounded size, and hands over the logits piece by piece."""
    left = [(slot, start, list(ids), want) for slot, start, ids, want in asked]
    wide = max(1, WIDE_BYTES // (4 * step.step.vocab_size))
    while left:
        rows: list[Row] = []
        rest: list[tuple[int, int, list[int], int]] = []
        room, logits = STEP_TOK, wide
        for slot, start, ids, want in left:
            plain = len(ids) - want
            n = min(room, len(ids), plain + logits)
            if n <= 0:
                rest.append((slot, start, ids, want))
                continue
            answered = max(0, n - plain)
            rows.append(Row(slot, start, ids[:n], answered, adapter=step.adapter))
            room, logits = room - n, logits - answered
            if n < len(ids):
                rest.append((slot, start + n, ids[n:], want - answered))
        for row, found in zip(rows, step.step.run(rows), strict=True):
            if found is not None:
                take(row.slot, found)
        left = rest

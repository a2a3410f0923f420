"""What evaluations ask of a model: the log-probability of a continuation, and answers to prompts.

`Scorer` and `Writer` say what is asked; `StepScorer`, `CoreScorer` and `CoreWriter` ask it of a compute path
or an engine's core. Not the metrics.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np

from tokenloom.engine.request import Delta, Request, Sampling
from tokenloom.step import Row, Step
from tokenloom.tokens.stream import TextStream

if TYPE_CHECKING:
    from pathlib import Path

    from tokenloom.engine.core import Core
    from tokenloom.tokens.text import Tokenizer

STEP_TOK = 512
"""Positions one step computes at most."""
WIDE_BYTES = 64 << 20
"""Logits of one step take about this much at most."""
GREEDY = Sampling(temperature=0.0)
ADAPTER = "adapter"
"""What the adapter under evaluation is called in the core."""
Progress = Callable[[int, int], None]
"""Told how much is done, of how much."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A continuation to be scored after its context; neither is empty."""

    context: tuple[int, ...]
    continuation: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Scored:
    """What a model says of one pair."""

    logprobs: np.ndarray
    """(T,) float64: natural log-probability of each id of the continuation."""
    greedy: bool
    """Each id is the likeliest one at its place."""

    @property
    def total(self) -> float:
        return float(self.logprobs.sum())


@dataclass(frozen=True, slots=True)
class Answer:
    """One text a model wrote."""

    text: str
    ids: tuple[int, ...]
    """Without the id that ended it."""
    finish: str
    """stop or length"""


class Scorer(Protocol):
    """Log-probabilities of continuations."""

    @property
    def context(self) -> int:
        """Context and continuation together have at most one id more than this."""
        ...

    def score(self, pairs: Sequence[Pair], progress: Progress | None = None) -> list[Scored]:
        """In the order given. ValueError for a pair that is empty or too long."""
        ...


class Writer(Protocol):
    """Answers to prompts."""

    @property
    def context(self) -> int: ...

    def write(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        max_tokens: int,
        stop: Sequence[str] = (),
        sampling: Sampling = GREEDY,
        seed: int = 0,
        n: int = 1,
        progress: Progress | None = None,
    ) -> list[list[Answer]]:
        """n answers to each prompt, in the order given; they run together."""
        ...


class ModelFailed(RuntimeError):
    """The model could not answer; the message says why."""


class StepScorer:
    """Scores on a compute path that nobody else uses meanwhile."""

    def __init__(self, step: Step, adapter: str | None = None) -> None:
        """adapter: the name of a LoRA adapter that the step holds; None = the base model."""
        self._step = step
        self._adapter = adapter

    @property
    def context(self) -> int:
        return self._step.context

    def score(self, pairs: Sequence[Pair], progress: Progress | None = None) -> list[Scored]:
        _check(pairs, self.context, self._step.vocab_size)
        return _score(_Rows(self._step, self._adapter), range(self._step.n_slots), pairs, progress)


class CoreScorer:
    """Scores on slots borrowed from a core, between its steps; its owner alone may call this."""

    def __init__(self, core: Core, adapter: str | None = None) -> None:
        """adapter: the name of a LoRA adapter that the core holds; None = the base model."""
        self._core = core
        self._adapter = adapter

    @property
    def context(self) -> int:
        return self._core.context

    def score(self, pairs: Sequence[Pair], progress: Progress | None = None) -> list[Scored]:
        _check(pairs, self.context, self._core.vocab_size)
        if not pairs:
            return []
        with self._slots(pairs) as slots:
            return _score(_Rows(self._core.runner, self._adapter), slots, pairs, progress)

    @contextmanager
    def _slots(self, pairs: Sequence[Pair]) -> Iterator[list[int]]:
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


class CoreWriter:
    """Writes with a core that this thread owns; answers run together, as many as the core takes."""

    def __init__(
        self,
        core: Core,
        tokenizer: Tokenizer,
        *,
        stop_ids: Sequence[int] | None = None,
        adapter: str | None = None,
    ) -> None:
        """stop_ids: end an answer; None = the tokenizer's own end tokens. adapter: as in CoreScorer."""
        self._adapter = adapter
        self._core = core
        self._tokenizer = tokenizer
        self._stop_ids = tuple(tokenizer.eos_ids if stop_ids is None else stop_ids)
        # Never one twice: the core may still have news of an answer that a stop text ended.
        self._names = itertools.count()

    @property
    def context(self) -> int:
        return self._core.context

    def write(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        max_tokens: int,
        stop: Sequence[str] = (),
        sampling: Sampling = GREEDY,
        seed: int = 0,
        n: int = 1,
        progress: Progress | None = None,
    ) -> list[list[Answer]]:
        if max_tokens < 1:
            raise ValueError(f"max_tokens: found {max_tokens}; allowed: 1 or more")
        drafts: dict[str, list[_Draft]] = {}
        try:
            for ids in prompts:
                name = f"evals-{next(self._names)}"
                self._core.add(
                    Request(
                        name,
                        "evals",
                        tuple(ids),
                        max_tokens,
                        sampling,
                        seed,
                        n,
                        stop_ids=self._stop_ids,
                        adapter=self._adapter,
                    )
                )
                drafts[name] = [_Draft(TextStream(self._tokenizer, stop)) for _ in range(n)]
            self._drive(drafts, progress)
        finally:
            for name, rows in drafts.items():
                if any(row.finish is None for row in rows):
                    self._core.abort(name)
        return [[row.answer() for row in rows] for rows in drafts.values()]

    def _drive(self, drafts: dict[str, list[_Draft]], progress: Progress | None) -> None:
        left = sum(len(rows) for rows in drafts.values())
        whole = left
        while left:
            for delta in self._core.step():
                rows = drafts.get(delta.request)
                if rows is None or rows[delta.choice].finish is not None:
                    continue
                rows[delta.choice].take(delta)
                if rows[delta.choice].finish is not None:
                    left -= 1
                    if delta.finish is None and all(row.finish is not None for row in rows):
                        self._core.abort(delta.request)
                    if progress is not None:
                        progress(whole - left, whole)


@dataclass
class _Draft:
    """One answer that is being written."""

    stream: TextStream
    text: list[str] = field(default_factory=list)
    ids: list[int] = field(default_factory=list)
    finish: str | None = None

    def take(self, delta: Delta) -> None:
        if delta.finish == "error":
            raise ModelFailed(str(delta.error))
        piece = self.stream.push(delta.ids)
        self.ids += delta.ids[: piece.n_ids]
        self.text.append(piece.text)
        if piece.stopped is not None:
            self.finish = "stop"
        elif delta.finish is not None:
            last = self.stream.finish()
            self.text.append(last.text)
            self.finish = "stop" if last.stopped is not None else delta.finish

    def answer(self) -> Answer:
        assert self.finish is not None
        return Answer("".join(self.text), tuple(self.ids), self.finish)


@dataclass(frozen=True)
class Opened:
    """A model made ready for evaluation."""

    name: str
    path: Path
    core: Core
    tokenizer: Tokenizer
    scorer: CoreScorer
    writer: CoreWriter

    def close(self) -> None:
        self.core.close()

    def __enter__(self) -> Opened:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_model(
    name: str | Path,
    *,
    dtype: str = "auto",
    device: str = "auto",
    n_slots: int | None = None,
    context: int | None = None,
    adapter: str | Path | None = None,
) -> Opened:
    """A model of this machine by name, folder or file. ValueError or OSError for what cannot be opened.

    dtype, device, n_slots, context: as in `engine.load.prepare`. adapter: the folder of a LoRA adapter to
    evaluate on top of it.
    """
    from tokenloom import hub
    from tokenloom.engine.load import prepare
    from tokenloom.tokens.text import load_tokenizer

    found = hub.find(str(name))
    tokenizer = load_tokenizer(found.path)
    named = {} if adapter is None else {ADAPTER: str(adapter)}
    plan = prepare(found.path, dtype=dtype, device=device, n_slots=n_slots, context=context, adapters=named)
    core, use = plan.open(), ADAPTER if named else None
    scorer, writer = CoreScorer(core, use), CoreWriter(core, tokenizer, adapter=use)
    return Opened(found.name, found.path, core, tokenizer, scorer, writer)

"""Answers to prompts by an engine's core, as many at a time as it takes.

Not what is asked (`evals.answers`) and not how an answer is judged.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tokenloom.engine.request import Delta, Request, Sampling
from tokenloom.evals.ask import GREEDY, Answer, ModelFailed, Progress
from tokenloom.tokens.stream import TextStream

if TYPE_CHECKING:
    from tokenloom.engine.core import Core
    from tokenloom.tokens.text import Tokenizer


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

"""A picture model's drawing, editing, restyling and describing, many at a time: what the measures call.

Not the road that one person's wish takes (tasks.pictures): here hundreds of prompts run together in one core.
Of drawings no candidate is chosen, so that what is measured is the model; restyling and describing are
measured with and without the choice that their tasks make. Every picture has a seed of its own.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from tokenloom.engine.request import Request, Sampling
from tokenloom.evals.ask import GREEDY, ModelFailed
from tokenloom.tokens.image import RESTYLING, Ask, PictureTokens, masked_codes

if TYPE_CHECKING:
    from tokenloom.codec.folder import Codec
    from tokenloom.data.picture_words import Lang
    from tokenloom.engine.core import Core

ROWS = 64
"""Pictures of one pass through the codec, and requests that are in the core at once."""
Bar = Callable[[int, int], None]


@dataclass(frozen=True)
class Artist:
    """A picture model: its core, which this thread owns, its layouts and its codec."""

    core: Core
    tokens: PictureTokens
    codec: Codec
    guidance: float = 1.0
    sampling: Sampling = field(default_factory=Sampling)
    bar: Bar | None = None
    """Told of finished answers, of how many."""

    def at(self, guidance: float | None = None, sampling: Sampling | None = None) -> Artist:
        """The same model, drawing otherwise."""
        return replace(
            self,
            guidance=self.guidance if guidance is None else guidance,
            sampling=self.sampling if sampling is None else sampling,
        )

    def draw(self, prompts: Sequence[str], styles: Sequence[str], seeds: Sequence[int]) -> np.ndarray:
        """(N, S, S, 4) uint8. A style that the model has no token for is left out."""
        known = self._styles(styles)
        asks = [self.tokens.draw(text, style) for text, style in zip(prompts, known, strict=True)]
        return self._pictures(asks, seeds)

    def restyle(
        self, pictures: np.ndarray, styles: Sequence[str], seeds: Sequence[int], drafts: int = 1
    ) -> np.ndarray:
        """Drafts (N, drafts, S, S, 4) uint8 of the pictures (N, S, S, 4) uint8 in other styles, with the
        guidance and at the temperature of the task."""
        guidance, temperature = RESTYLING
        codes = self.encode(pictures)
        asks = [self.tokens.restyle(row, style) for row, style in zip(codes, styles, strict=True)]
        every = [ask for ask in asks for _ in range(drafts)]
        made = self.at(guidance, replace(self.sampling, temperature=temperature))._pictures(
            every, [seed * drafts + at for seed in seeds for at in range(drafts)]
        )
        return made.reshape(len(pictures), drafts, *made.shape[1:])

    def edit(
        self, pictures: np.ndarray, masks: np.ndarray, words: Sequence[str], seeds: Sequence[int]
    ) -> np.ndarray:
        """The pictures (N, S, S, 4) uint8 with what is masked (N, S, S) bool drawn anew, by the codec
        throughout: nothing of the source is pasted over what comes out of it."""
        places = self.codec.places
        asks = [
            self.tokens.edit(row, masked_codes(mask, places, self.tokens.per_picture), text)
            for row, mask, text in zip(self.encode(pictures), masks, words, strict=True)
        ]
        return self._pictures(asks, seeds)

    def describe(self, pictures: np.ndarray, langs: Sequence[Lang], likeliest: int = 1) -> list[list[str]]:
        """The likeliest words for each picture, several of them best first."""
        codes = self.encode(pictures)
        asks = [self.tokens.describe(row, lang) for row, lang in zip(codes, langs, strict=True)]
        answers = self._write(asks, range(len(asks)), 1.0, GREEDY, likeliest)
        return [[self.tokens.tokenizer.decode(ids).strip() for ids in some] for some in answers]

    def encode(self, pictures: np.ndarray) -> np.ndarray:
        """int64 (N, P)."""
        parts = [self.codec.encode(pictures[at : at + ROWS]) for at in range(0, len(pictures), ROWS)]
        return np.concatenate(parts)

    def _styles(self, styles: Sequence[str]) -> list[str | None]:
        known = self.tokens.tokenizer.special
        return [style if f"<|style:{style}|>" in known else None for style in styles]

    def _pictures(self, asks: Sequence[Ask], seeds: Sequence[int]) -> np.ndarray:
        answers = self._write(asks, seeds, self.guidance, self.sampling)
        codes = np.stack([self.tokens.codes_of(ids) for (ids,) in answers])
        return np.concatenate([self.codec.decode(codes[at : at + ROWS]) for at in range(0, len(codes), ROWS)])

    def _write(
        self,
        asks: Sequence[Ask],
        seeds: Sequence[int],
        guidance: float,
        sampling: Sampling,
        likeliest: int = 1,
    ) -> list[list[list[int]]]:
        """The ids of every answer; of each ask one, or the likeliest ones. Raises ModelFailed."""
        answers: list[list[list[int]]] = [[[] for _ in range(likeliest)] for _ in asks]
        waiting = iter(list(zip(asks, seeds, strict=True)))
        running: dict[str, int] = {}
        numbers, done = itertools.count(), 0
        try:
            while done < len(asks):
                for ask, seed in itertools.islice(waiting, ROWS - len(running)):
                    at = next(numbers)
                    running[f"{id(answers)}-{at}"] = at
                    options = ask.options(guidance if ask.negative else 1.0)
                    name = f"{id(answers)}-{at}"
                    request = Request(name, "evals", **options, seed=seed, sampling=sampling)
                    self.core.add(request.replace(n=likeliest, beams=likeliest))
                for delta in self.core.step():
                    if delta.request not in running:
                        continue
                    if delta.finish == "error":
                        raise ModelFailed(str(delta.error))
                    answers[running[delta.request]][delta.choice] += delta.ids
                    if delta.finish is not None and delta.choice == likeliest - 1:
                        del running[delta.request]
                        done += 1
                        if self.bar is not None:
                            self.bar(done, len(asks))
        finally:
            for name in running:
                self.core.abort(name)
        return answers

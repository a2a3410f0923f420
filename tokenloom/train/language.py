"""The run of a language model's recipe: pretraining and fine-tuning.

Not the putting together (train.start), which this only turns into what every run is (train.kinds).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenloom.data.shards import Shards
from tokenloom.train.evaluate import held_out, sample_texts
from tokenloom.train.fit import Evaluation, Outcome, Samples
from tokenloom.train.kinds import Pace
from tokenloom.train.loop import Trainer
from tokenloom.train.lora import plain
from tokenloom.train.progress import measuring_bar
from tokenloom.train.publish import publish
from tokenloom.train.recipe import Recipe
from tokenloom.train.scale import Sizes
from tokenloom.train.start import Parts, assemble
from tokenloom.train.survey import Survey, best, flops, surveyed


@dataclass(frozen=True)
class LanguageRun:
    """See train.kinds.Run."""

    parts: Parts

    @property
    def recipe(self) -> Recipe:
        return self.parts.recipe

    @property
    def sizes(self) -> Sizes:
        return self.parts.sizes

    @property
    def trainer(self) -> Trainer:
        return self.parts.trainer

    @property
    def evaluate(self) -> Evaluation | None:
        return self._evaluate if self.parts.held_out or self.parts.watched else None

    @property
    def samples(self) -> Samples | None:
        return self._samples if self.recipe.run.samples else None

    def pace(self) -> Pace:
        read = round(self.sizes.batch_tokens * self.parts.batches.filled)
        return Pace("tokens", "tok", read, flops(self.parts), best(self.parts))

    def survey(self) -> Survey:
        return surveyed(self.parts)

    def before(self) -> Mapping[str, Any]:
        if self.parts.watched is None:
            return {}
        found = self._watch(say=True)
        return {"watched": {"bits_per_byte": found, "text": self.parts.watched[1]}}

    def publish(self, folder: Path, outcome: Outcome) -> None:
        publish(self.parts, folder, outcome)

    def _evaluate(self) -> dict[str, float]:
        parts = self.parts
        names = [Path(path).stem for path in self.recipe.data.held_out]
        names = names if len(set(names)) == len(names) > 1 else []
        most = self.recipe.run.eval_tokens
        figures = self._measure("held-out text", parts.held_out, most, names) if parts.held_out else {}
        if parts.watched is not None:
            figures["watched_bits_per_byte"] = self._watch()
        return figures

    def _samples(self) -> list[Mapping[str, str]]:
        run, parts = self.recipe.run, self.parts
        return sample_texts(
            plain(parts.model), parts.tokenizer, run.samples, run.sample_tokens, self.recipe.seed
        )

    def _measure(
        self, what: str, sets: list[Shards], most: int, names: Sequence[str] = (), say: bool = False
    ) -> dict[str, float]:
        sizes, objective = self.sizes, self.parts.objective
        with measuring_bar(what, say) as told:
            return held_out(objective, "model", sets, sizes.context, sizes.rows, most, names, told)

    def _watch(self, say: bool = False) -> float:
        assert self.parts.watched is not None
        most = self.recipe.data.watch_tokens
        return self._measure("what may be forgotten", self.parts.watched[0], most, say=say)["bits_per_byte"]


def language_run(recipe: Recipe) -> LanguageRun:
    """Reads and checks what a recipe names. Raises ValueError naming the field."""
    return LanguageRun(assemble(recipe))

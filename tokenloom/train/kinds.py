"""What the run of a recipe is, whatever it trains; and which recipe makes which run.

Not the steps (train.fit) and not what is particular to one medium (train.language, train.codec_run). A new
objective is one more line in `KINDS` and in `PARTS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from tokenloom.train.fit import Evaluation, Outcome, Samples
from tokenloom.train.loop import Trainer
from tokenloom.train.recipe import Recipe
from tokenloom.train.scale import Sizes

if TYPE_CHECKING:
    import numpy as np
    from rich.console import RenderableType


@dataclass(frozen=True)
class Pace:
    """What a step reads, for the rates told."""

    reads: str
    """In the plural, as the log calls it: tokens, pictures."""
    unit: str
    """One of them, in rates: tok/s."""
    step: int
    """How many a step reads; 0 = as many as it learns."""
    flops: float = 0.0
    """Operations for one, forward and backward; 0 = not known."""
    peak: float = 0.0
    """Operations a second this machine can do; 0 = not known."""


class Survey(Protocol):
    """What a run would do, before it does."""

    def check(self) -> None:
        """Raises ValueError where the run is not worth starting."""
        ...

    def json(self) -> dict[str, Any]:
        """All of it as JSON values."""
        ...

    def table(self) -> RenderableType:
        """All of it for a terminal."""
        ...


class Run(Protocol):
    """A recipe put together and checked, ready to be trained."""

    @property
    def recipe(self) -> Recipe:
        """With every number written out."""
        ...

    @property
    def sizes(self) -> Sizes: ...
    @property
    def trainer(self) -> Trainer: ...
    @property
    def evaluate(self) -> Evaluation | None:
        """What is measured between the steps; None = nothing."""
        ...

    @property
    def samples(self) -> Samples | None: ...
    def pace(self) -> Pace: ...
    def survey(self) -> Survey: ...
    def before(self) -> Mapping[str, Any]:
        """What is logged before the first step of a new run; empty = nothing."""
        ...

    def publish(self, folder: Path, outcome: Outcome) -> None:
        """Writes what a finished run leaves into its folder."""
        ...


Compare = Callable[["np.ndarray", "np.ndarray"], Mapping[str, float]]
"""Real and made works -> figures by name: pictures uint8 (N, S, S, 4), or sounds float32 (N, samples)."""


def assembled(recipe: Recipe, compare: Compare | None = None) -> Run:
    """Reads and checks what a recipe names. Raises ValueError naming the field.

    compare: what a codec's evaluations tell of its works beside their own figures.
    """
    own = PARTS[recipe.objective]
    default = {field.name: getattr(Recipe(recipe.name), field.name) for field in fields(Recipe)}
    for name in dict.fromkeys(name for names in PARTS.values() for name in names):
        if name not in own and getattr(recipe, name) != default[name]:
            raise ValueError(
                f"{name}: has no effect with objective = {recipe.objective!r}; leave the section out"
            )
    return KINDS[recipe.objective](recipe, compare)


def _language(recipe: Recipe, compare: Compare | None) -> Run:
    from tokenloom.train.language import language_run

    return language_run(recipe)


def _codec(recipe: Recipe, compare: Compare | None) -> Run:
    from tokenloom.train.codec_run import codec_run

    return codec_run(recipe, compare)


def _audio_codec(recipe: Recipe, compare: Compare | None) -> Run:
    from tokenloom.train.audio_run import audio_codec_run

    return audio_codec_run(recipe, compare)


def _match(recipe: Recipe, compare: Compare | None) -> Run:
    from tokenloom.train.match_run import match_run

    return match_run(recipe)


KINDS: Mapping[str, Callable[[Recipe, Compare | None], Run]] = {
    "pretrain": _language,
    "sft": _language,
    "codec": _codec,
    "audio-codec": _audio_codec,
    "match": _match,
}
_TEXT = ("model", "data", "lora")
PARTS: Mapping[str, tuple[str, ...]] = {
    "pretrain": _TEXT,
    "sft": _TEXT,
    "codec": ("pictures", "codec", "losses", "adversary"),
    "audio-codec": ("speech", "audio_codec", "audio_losses", "adversary"),
    "match": ("judge",),
}
"""The sections that are an objective's own; optim and run are everyone's."""

"""What a run would do, before it does: its size, memory and time, and for conversations the preflight.

Not the judging of conversations (train.preflight) nor the counting of bytes (train.memory), but both.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch

from tokenloom.hub import find
from tokenloom.train.memory import Memory, flops_of, memory_of, seconds_of
from tokenloom.train.peak import peak
from tokenloom.train.preflight import Preflight, preflight, survey_of
from tokenloom.train.progress import duration
from tokenloom.train.start import Parts
from tokenloom.train.timing import Measuring, measuring

if TYPE_CHECKING:
    from rich.console import RenderableType


@dataclass(frozen=True)
class Survey:
    """A run in numbers."""

    weights: int
    trained: int
    documents: int
    ids: int
    filled: float
    """Share of the rows' places that hold an id."""
    steps: int
    batch_tokens: int
    lr: float
    epochs: float
    memory: Memory
    seconds: float
    """Of the steps and of what is measured beside them."""
    measuring: Measuring
    watched: str | None
    """Fine-tunes: of what text it is measured what is forgotten; "" = of none. None: it is no fine-tune."""
    preflight: Preflight | None
    """Conversations: what would be learned."""

    def check(self) -> None:
        """Raises PreflightRefused where the run is not worth starting."""
        if self.preflight is not None:
            self.preflight.check()

    def json(self) -> dict[str, Any]:
        """All of it as JSON values."""
        plain = asdict(self)
        plain["preflight"] = None if self.preflight is None else self.preflight.json()
        return plain

    def table(self) -> RenderableType:
        """All of it for a terminal."""
        from rich.console import Group

        from tokenloom.train.preflight_table import facts_table

        beside = self.measuring.seconds
        facts = {
            "weights": f"{self.weights:,}"
            + (f", {self.trained:,} trained" if self.trained != self.weights else ""),
            "data": f"{self.documents:,} documents, {self.ids:,} ids, rows {self.filled:.1%} full",
            "run": f"{self.steps:,} steps of {self.batch_tokens:,} ids ({_times(self.epochs)} the data)",
            "learning rate": f"{self.lr:.3g}",
            "memory": f"about {self.memory.peak / 1e9:.1f} GB, {self.memory.resume / 1e9:.1f} GB to resume",
            "time": f"about {duration(self.seconds)}"
            + (f", {duration(beside)} of it to measure" if beside else ""),
        }
        if self.watched is not None:
            facts["forgetting"] = self._forgetting()
        rows = facts_table(facts)
        return rows if self.preflight is None else Group(self.preflight.table(), rows)

    def _forgetting(self) -> str:
        if not self.watched:
            return "not measured (data.watch_tokens is 0)"
        often, takes = self.measuring.times, duration(self.measuring.watched)
        return f"measured {often} times, about {takes}, on {self.watched}"


def _times(epochs: float) -> str:
    return f"{epochs:,.0f} times" if epochs >= 10 else f"{epochs:.2g} times"


def surveyed(parts: Parts) -> Survey:
    """What the assembled run would do."""
    recipe, found = parts.recipe, parts.sizes
    bfloat16 = parts.objective.dtype == torch.bfloat16
    memory = memory_of(parts.model.config, recipe, bfloat16, found.passes)
    beside = measuring(parts)
    seconds = seconds_of(found.tokens, flops(parts), best(parts)) + beside.seconds
    looked = None
    if parts.conversations is not None:
        survey = survey_of(parts.tokenizer, parts.conversations.rows, parts.conversations.dropped)
        start = find(recipe.model.start).path if recipe.model.start else None
        looked = preflight(survey, start, max_dropped=recipe.data.max_dropped, memory=memory)
    return Survey(
        weights=parts.model.config.n_params,
        trained=sum(p.numel() for p in parts.model.parameters() if p.requires_grad),
        documents=parts.batches.n_documents,
        ids=parts.batches.tokens_per_epoch,
        filled=parts.batches.filled,
        steps=found.steps,
        batch_tokens=found.batch_tokens,
        lr=found.lr,
        epochs=found.tokens * parts.batches.filled / parts.batches.tokens_per_epoch,
        memory=memory,
        seconds=seconds,
        measuring=beside,
        watched=(parts.watched[1] if parts.watched else "") if recipe.model.start else None,
        preflight=looked,
    )


def flops(parts: Parts) -> float:
    """Operations for one id, forward and backward."""
    recipe = parts.recipe
    return flops_of(
        parts.model.config, parts.sizes.context, bool(recipe.lora.rank), recipe.run.checkpoint_activations
    )


def best(parts: Parts) -> float:
    """The machine's measured peak for the run's arithmetic."""
    dtype = "float32" if parts.objective.dtype == torch.float32 else "bfloat16"
    return peak(dtype, str(parts.model.device)).flops

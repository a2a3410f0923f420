"""What is learned, as a sum and a count, so that gradients do not depend on how a batch is cut into passes.

An objective names its players (one for a language model, two for a codec and its adversary) and answers, for
one of them and one batch: the summed loss, over how many items, and figures to log. A reference model is the
objective's own; rollouts are made in `prepare`, which may ask an engine.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import nn

from tokenloom.data.pack import Rows
from tokenloom.model.transformer import Transformer
from tokenloom.train.loss import summed_loss

Figures = dict[str, float]


class Objective(Protocol):
    """One way to learn."""

    @property
    def players(self) -> Mapping[str, nn.Module]:
        """Modules with an optimizer each, in the order in which they move."""
        ...

    def prepare(self, batch: Any, step: int) -> Any:
        """The batch a step learns from: itself, or something made of it (rollouts of the present weights)."""
        ...

    def loss(self, player: str, batch: Any) -> tuple[torch.Tensor, int, Figures]:
        """(sum, count, figures); the gradient of a step is that of all sums over all counts."""
        ...


class NextId:
    """Pretraining and supervised fine-tuning: the negative log-likelihood of the ids that are learned."""

    def __init__(self, model: Transformer, dtype: torch.dtype, loss_rows: int, compile: bool = False) -> None:
        self.model, self.dtype, self.loss_rows = model, dtype, loss_rows
        self._hidden = torch.compile(model.hidden, dynamic=False) if compile else model.hidden

    @property
    def players(self) -> Mapping[str, nn.Module]:
        return {"model": self.model}

    def prepare(self, batch: Rows, step: int) -> Rows:
        return batch

    def loss(self, player: str, batch: Rows) -> tuple[torch.Tensor, int, Figures]:
        """batch of data.pack; nats."""
        device = self.model.device
        ids = torch.from_numpy(batch.ids).to(device)
        targets = torch.from_numpy(batch.targets).to(device)
        # Rows of one document each need no mask: plain causal attention is quicker.
        documents = torch.from_numpy(batch.documents).to(device) if batch.documents.any() else None
        with torch.autocast(device.type, self.dtype, enabled=self.dtype != torch.float32):
            hidden = self._hidden(ids, None, documents)
        learned = targets.flatten() >= 0
        count = int(learned.sum())
        states, wanted = hidden.flatten(0, 1)[learned], targets.flatten()[learned]
        total = summed_loss(
            states,
            self.model.output_weight,
            wanted,
            self.dtype,
            self.loss_rows,
            self.model.config.logit_softcap,
        )
        return total, count, {}

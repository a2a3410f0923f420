"""The one training loop: steps of any objective, with any number of players.

It knows neither media nor files of data nor how a run is shown: batches are a function of their number,
evaluations and what happens between steps are arguments. A step's gradient is that of all sums over all
counts, so eight passes of one row are one pass of eight, however uneven their masks.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tokenloom.train.checkpoint import load_checkpoint, save_checkpoint
from tokenloom.train.objective import Figures, Objective
from tokenloom.train.optim import SHARE, make_optimisers, rate
from tokenloom.train.recipe import OptimPart
from tokenloom.train.scale import Sizes


class NotFinite(RuntimeError):
    """Loss or gradient of a step is no number. `batch` caused it; the player's weights are those before."""

    def __init__(self, message: str, step: int, batch: Any) -> None:
        super().__init__(message)
        self.step, self.batch = step, batch


@dataclass(frozen=True)
class Step:
    """What one step did; losses are means over what was learned, in nats for language.

    Loss, count and norm are those of the first player; the others' are among the figures.
    """

    number: int
    """Steps done, this one included."""
    loss: float
    count: int
    lr: float
    grad_norm: float
    seconds: float
    figures: Figures = field(default_factory=dict)


class Trainer:
    """Players, their optimizers and the step number."""

    def __init__(
        self,
        objective: Objective,
        batch: Callable[[int], Any],
        sizes: Sizes,
        part: OptimPart,
        average: float = 0.0,
    ) -> None:
        """batch(n): pass n of the run, from 0 on. average: decay of the weights' average, 0 = off."""
        self.objective, self.batch, self.sizes, self.part = objective, batch, sizes, part
        self.optimisers = {name: make_optimisers(m, part, sizes.lr) for name, m in objective.players.items()}
        self.decay = average
        self.average: dict[str, torch.Tensor] = {}
        if average:
            self.average = {name: p.detach().clone() for name, p in self._moving().items()}
        self.step_number = 0

    def _moving(self) -> dict[str, nn.Parameter]:
        return {
            f"{player}/{name}": p
            for player, module in self.objective.players.items()
            for name, p in module.named_parameters()
            if p.requires_grad
        }

    def step(self, lr: float | None = None) -> Step:
        """One optimizer step of every player. lr: None = the schedule's. Raises NotFinite before any weight
        of that player moves."""
        start, number = time.perf_counter(), self.step_number
        if lr is None:
            lr = self.sizes.lr * rate(number, self.sizes.steps, self.sizes.warmup, self.part)
        first = number * self.sizes.passes
        batches = [self.objective.prepare(self.batch(first + k), number) for k in range(self.sizes.passes)]
        told: list[tuple[float, int, float]] = []
        figures: Figures = {}
        for player, module in self.objective.players.items():
            module.train()
            loss, learned, more = self._gradient(player, batches, number)
            told.append((loss, learned, self._norm(player, number, batches)))
            figures |= more
            for optimiser in self.optimisers[player]:
                for group in optimiser.param_groups:
                    group["lr"] = lr * group.get(SHARE, 1.0)
                optimiser.step()
                optimiser.zero_grad(set_to_none=True)
        if self.decay:
            with torch.no_grad():
                for name, p in self._moving().items():
                    self.average[name].lerp_(p, 1 - min(self.decay, (1 + number) / (10 + number)))
        self.step_number += 1
        seconds = time.perf_counter() - start
        loss, learned, norm = told[0]
        return Step(self.step_number, loss, learned, lr, norm, seconds, figures)

    def _gradient(self, player: str, batches: list[Any], number: int) -> tuple[float, int, Figures]:
        """Leaves the mean's gradient in the player's weights; answers mean loss, count, mean figures."""
        total, count = 0.0, 0
        figures: dict[str, list[float]] = {}
        self._forget(player)  # what another player's loss left in these weights
        for batch in batches:
            loss, n, more = self.objective.loss(player, batch)
            value = float(loss.detach())
            if not math.isfinite(value):
                self._forget(player)
                raise NotFinite(f"step {number + 1}: the loss of {player} is {value}", number + 1, batch)
            if n:
                loss.backward()
            total, count = total + value, count + n
            for name, figure in more.items():
                figures.setdefault(name, []).append(figure)
        grads = [p.grad for p in self.objective.players[player].parameters() if p.grad is not None]
        if count and grads:
            torch._foreach_mul_(grads, 1.0 / count)
        return total / max(1, count), count, {k: sum(v) / len(v) for k, v in figures.items()}

    def _norm(self, player: str, number: int, batches: list[Any]) -> float:
        weights = [p for p in self.objective.players[player].parameters() if p.grad is not None]
        limit = self.part.clip or math.inf
        norm = float(torch.nn.utils.clip_grad_norm_(weights, limit)) if weights else 0.0
        if not math.isfinite(norm):
            self._forget(player)
            raise NotFinite(f"step {number + 1}: the gradient of {player} is {norm}", number + 1, batches[0])
        return norm

    def _forget(self, player: str) -> None:
        for optimiser in self.optimisers[player]:
            optimiser.zero_grad(set_to_none=True)

    # --- averaged weights, checkpoints ----------------------------------------------------------------------

    def averaged(self) -> _Swap:
        """Context in which the players hold the averaged weights; without an average, their own."""
        return _Swap(self._moving(), self.average)

    def save(self, folder: Path, progress: Mapping[str, Any], keep: int) -> Path:
        """See train.checkpoint."""
        return save_checkpoint(
            folder, self.step_number, self.objective.players, self.optimisers, self.average, progress, keep
        )

    def load(self, place: Path) -> dict[str, Any]:
        """Goes on from a checkpoint; answers its `progress`."""
        found = load_checkpoint(place, self.objective.players, self.optimisers, self.average)
        self.step_number = found.step
        return found.progress


class _Swap:
    def __init__(self, weights: Mapping[str, nn.Parameter], other: Mapping[str, torch.Tensor]) -> None:
        self._weights, self._other = weights, other

    def _exchange(self) -> None:
        with torch.no_grad():
            for name, held in self._other.items():
                own = self._weights[name]
                kept = own.detach().clone()
                own.copy_(held)
                held.copy_(kept)

    def __enter__(self) -> None:
        self._exchange()

    def __exit__(self, *_: object) -> None:
        self._exchange()

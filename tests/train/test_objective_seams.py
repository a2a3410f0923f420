"""The loop's seams, each proved by a toy: two players, a reference model, rollouts from the engine."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tokenloom.data.pack import Rows
from tokenloom.engine.core import Core
from tokenloom.engine.request import Request
from tokenloom.model.features import ModelConfig
from tokenloom.model.step import TorchStep
from tokenloom.model.transformer import Transformer, init_weights
from tokenloom.train.loop import Trainer
from tokenloom.train.objective import Figures
from tokenloom.train.recipe import OptimPart
from tokenloom.train.scale import Sizes

CONFIG = ModelConfig(
    n_layer=1, n_head=2, n_kv_head=2, dim=32, head_dim=16, ffn_dim=64, vocab_size=16, context=16, tied=True
)


def small() -> Transformer:
    model = Transformer(CONFIG)
    init_weights(model, 0, std=0.1)
    return model


def sizes(steps: int, lr: float, passes: int = 1) -> Sizes:
    return Sizes(steps, passes, 4, 8, lr, 1)


class Forger:
    """Two players: one shifts noise to where the other cannot tell it from the real points (hinge loss)."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.maker, self.judge = nn.Linear(1, 1), nn.Sequential(nn.Linear(1, 16), nn.Tanh(), nn.Linear(16, 1))

    @property
    def players(self) -> Mapping[str, nn.Module]:
        return {"judge": self.judge, "maker": self.maker}

    def prepare(self, batch: torch.Tensor, step: int) -> torch.Tensor:
        return batch

    def loss(self, player: str, batch: torch.Tensor) -> tuple[torch.Tensor, int, Figures]:
        made = self.maker(batch.flip(0) - 3)
        if player == "judge":
            real, fake = self.judge(batch), self.judge(made.detach())
            return (
                (F.relu(1 - real) + F.relu(1 + fake)).sum(),
                len(batch),
                {"gap": float((real - fake).detach().mean())},
            )
        return -self.judge(made).sum(), len(batch), {}


def test_two_players_move_in_turn() -> None:
    objective = Forger()

    def real(n: int) -> torch.Tensor:
        return 3 + torch.randn(64, 1, generator=torch.Generator().manual_seed(n))

    part = OptimPart(kind="adamw", weight_decay=0.0, schedule="constant", clip=0.0, beta1=0.5)
    trainer = Trainer(objective, real, sizes(400, 0.02, passes=2), part)
    places = []
    for _ in range(400):
        step = trainer.step()
        places.append(float(objective.maker.bias.detach()))
    assert "gap" in step.figures
    assert abs(places[0] - 3) > 1.5
    assert abs(sum(places[200:]) / 200 - 3) < 0.5  # the two circle around the answer


class Preference:
    """DPO (Rafailov et al. 2023, arXiv:2305.18290, equation 7) with a frozen copy."""

    def __init__(self, model: Transformer, beta: float = 0.5) -> None:
        self.model, self.beta = model, beta
        self.reference = copy.deepcopy(model).requires_grad_(False)

    @property
    def players(self) -> Mapping[str, nn.Module]:
        return {"model": self.model}

    def prepare(self, batch: torch.Tensor, step: int) -> torch.Tensor:
        return batch

    def _says(self, model: Transformer, ids: torch.Tensor) -> torch.Tensor:
        logp = model(ids[:, :-1]).log_softmax(-1)
        return logp.gather(2, ids[:, 1:, None]).sum((1, 2))

    def loss(self, player: str, batch: torch.Tensor) -> tuple[torch.Tensor, int, Figures]:
        """batch (2, B, T): chosen, rejected."""
        with torch.no_grad():
            base = [self._says(self.reference, ids) for ids in batch]
        chosen, rejected = (self._says(self.model, ids) - b for ids, b in zip(batch, base, strict=True))
        margin = self.beta * (chosen - rejected)
        return -F.logsigmoid(margin).sum(), batch.shape[1], {"margin": float(margin.detach().mean())}


def test_a_reference_model_stays_and_the_preferred_wins() -> None:
    objective = Preference(small())
    frozen = {k: v.clone() for k, v in objective.reference.state_dict().items()}
    pair = torch.tensor([[[1, 2, 3, 4], [5, 2, 3, 4]], [[1, 2, 3, 9], [5, 2, 3, 9]]])
    trainer = Trainer(
        objective, lambda n: pair, sizes(20, 3e-3), OptimPart(kind="adamw", schedule="constant")
    )
    steps = [trainer.step() for _ in range(20)]
    assert steps[0].loss == pytest.approx(math.log(2), abs=1e-6)  # the two passes may round apart
    assert steps[-1].figures["margin"] > 1
    assert all(torch.equal(frozen[k], v) for k, v in objective.reference.state_dict().items())


@dataclass(frozen=True)
class Rollouts:
    rows: Rows
    advantage: np.ndarray


class Reward:
    """Policy gradient on groups of rollouts (Shao et al. 2024, arXiv:2402.03300, section 4.1.2, one update a
    group, so the ratio is 1)."""

    def __init__(self, model: Transformer) -> None:
        self.model = model
        self.seen: list[float] = []

    @property
    def players(self) -> Mapping[str, nn.Module]:
        return {"model": self.model}

    def prepare(self, batch: tuple[int, ...], step: int) -> Rollouts:
        core = Core(TorchStep(self.model.eval(), 8, 16, pack=False))
        core.add(Request(id="r", model="", ids=batch, max_tokens=6, n=8, seed=step))
        answers: dict[int, list[int]] = {i: [] for i in range(8)}
        while core.busy:
            for delta in core.step():
                answers[delta.choice] += delta.ids
        ids = np.array([[*batch, *answers[i]] for i in range(8)])
        reward = (ids[:, len(batch) :] == 7).mean(1)
        self.seen.append(float(reward.mean()))
        targets = np.full_like(ids, -100)
        targets[:, len(batch) - 1 : -1] = ids[:, len(batch) :]
        return Rollouts(
            Rows(ids, targets, np.zeros_like(ids)), (reward - reward.mean()) / (reward.std() + 1e-4)
        )

    def loss(self, player: str, batch: Rollouts) -> tuple[torch.Tensor, int, Figures]:
        targets = torch.from_numpy(batch.rows.targets)
        logp = self.model(torch.from_numpy(batch.rows.ids)).log_softmax(-1)
        said = logp.gather(2, targets.clamp_min(0)[..., None])[..., 0] * (targets >= 0)
        weight = torch.from_numpy(batch.advantage).float()[:, None]
        return -(said * weight).sum(), int((targets >= 0).sum()), {}


def test_rollouts_of_the_present_weights_learn_what_is_rewarded() -> None:
    objective = Reward(small())
    part = OptimPart(kind="adamw", schedule="constant", weight_decay=0.0)
    trainer = Trainer(objective, lambda n: (1, 2), sizes(40, 1e-2), part)
    for _ in range(40):
        trainer.step()
    assert np.mean(objective.seen[:3]) < 0.3
    assert np.mean(objective.seen[-3:]) > 0.8

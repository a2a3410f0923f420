"""Optimizers and learning rates by step: torch's own, put together. Not a new one.

Muon (Jordan et al. 2024, "Muon: an optimizer for hidden layers"; scaled as in Liu et al. 2025,
arXiv:2502.16982, section 2.2) for the layers' matrices; AdamW (Loshchilov and Hutter 2019, arXiv:1711.05101)
for embeddings, the output layer and vectors. WSD: Hu et al. 2024, arXiv:2404.06395, section 4.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from tokenloom.train.recipe import OptimPart

SHARE = "share"
"""A group's own rate as a share of the run's; a group without it takes the run's."""
ENDS = ("encoder.0.weight", "last.weight", "layers.0.weight", "head.weight", "narrow.weight", "widen.weight")
"""Kernels that AdamW moves."""


def make_optimisers(model: nn.Module, part: OptimPart, lr: float) -> list[torch.optim.Optimizer]:
    """What moves the weights of `model` that require a gradient."""
    moving = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    if not moving:
        raise ValueError("model: no weight is to be trained")
    layers = [p for name, p in moving if part.kind == "muon" and _hidden_matrix(name, p)]
    kernels = [p for name, p in moving if part.kind == "muon" and _hidden_kernel(name, p)]
    taken = {id(p) for p in [*layers, *kernels]}
    rest = [p for _, p in moving if id(p) not in taken]
    found: list[torch.optim.Optimizer] = []
    for weights, kind in ((layers, torch.optim.Muon), (kernels, KernelMuon)):
        if weights:
            found.append(
                kind(
                    weights,
                    lr=lr,
                    weight_decay=part.weight_decay,
                    momentum=part.momentum,
                    adjust_lr_fn="match_rms_adamw",
                )
            )
    if rest:
        found.append(_adamw(rest, part, lr))
    return found


def _hidden_matrix(name: str, weight: torch.Tensor) -> bool:
    return weight.dim() == 2 and "embed" not in name and "lm_head" not in name and "lora" not in name


def _hidden_kernel(name: str, weight: torch.Tensor) -> bool:
    """Not the first and the last layer of a network: those speak of the medium's own values."""
    return weight.dim() == 4 and not name.endswith(ENDS)


class KernelMuon(torch.optim.Muon):
    """Muon for the kernels of convolutions: each is the matrix (channels out, all that one of them sees).

    Source: Jordan et al. 2024, as Muon; flattened like this in the same author's CIFAR-10 record.
    """

    def __init__(self, weights: Iterable[nn.Parameter], **settings: Any) -> None:
        self._kernels = list(weights)
        # Views of one storage: what moves the matrix moves the kernel.
        super().__init__([nn.Parameter(p.data.view(len(p), -1)) for p in self._kernels], **settings)

    def _matrices(self) -> list[nn.Parameter]:
        return [p for group in self.param_groups for p in group["params"]]

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        for matrix, kernel in zip(self._matrices(), self._kernels, strict=True):
            matrix.grad = None if kernel.grad is None else kernel.grad.reshape(matrix.shape)
        found = super().step(closure)
        for matrix in self._matrices():
            matrix.grad = None
        return found

    def zero_grad(self, set_to_none: bool = True) -> None:
        for kernel in self._kernels:
            if set_to_none:
                kernel.grad = None
            elif kernel.grad is not None:
                kernel.grad.zero_()


def _adamw(weights: Iterable[nn.Parameter], part: OptimPart, lr: float) -> torch.optim.AdamW:
    weights = list(weights)
    groups: list[dict[str, Any]] = [
        {"params": [p for p in weights if p.dim() >= 2], "weight_decay": part.weight_decay},
        {"params": [p for p in weights if p.dim() < 2], "weight_decay": 0.0},
    ]
    if part.kind == "muon":
        groups = [group | {SHARE: part.adamw_share} for group in groups]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]], lr=lr, betas=(part.beta1, part.beta2), fused=True
    )


def rate(step: int, steps: int, warmup: int, part: OptimPart) -> float:
    """Share of the peak learning rate in step `step` of `steps` (counted from 0)."""
    if step < warmup:
        return (step + 1) / warmup
    if part.schedule == "constant":
        return 1.0
    if part.schedule == "cosine":
        done = (step - warmup) / max(1, steps - warmup)
        return part.floor + (1 - part.floor) * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
    falling = max(1, round(part.decay * steps))
    left = (steps - step) / falling
    return part.floor + (1 - part.floor) * min(1.0, left)

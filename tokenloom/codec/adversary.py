"""The adversary: a second network that learns to tell decoded works from real ones, and its losses.

What looks at a medium is its own: PatchAdversary at pictures, codec.sound_adversary at sound.
Sources: PatchGAN: Isola et al. 2017, arXiv:1611.07004, section 3.2.2; hinge loss: Lim and Ye 2017,
arXiv:1705.02894, section 2; feature matching: Salimans et al. 2016, arXiv:1606.03498, section 3.1, as L1 in
Wang et al. 2018, arXiv:1711.11585, section 3.2; adaptive weight: Esser et al. 2021, arXiv:2012.09841,
equation 7.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call

Opinion = tuple[torch.Tensor, list[torch.Tensor]]
"""What a critic says of N works: scores (N, ...), higher for real ones, and its layers' features."""


class Adversary(nn.Module, ABC):
    """One or more critics with the losses of both sides; each counts as much as the others."""

    MOST = 1e4
    """Largest adaptive weight (as in the paper's program)."""

    def __init__(self, begins: int, weight: float = 0.1, matching: float = 1.0) -> None:
        """begins: the first step (from 0) in which it plays. weight: of the adversarial term, before it is
        adapted; matching: of the features', as a share of that."""
        super().__init__()
        self.begins, self.weight, self.matching = begins, weight, matching

    def plays(self, step: int) -> bool:
        """Whether it is on in this step, counted from 0."""
        return step >= self.begins

    @abstractmethod
    def forward(self, x: torch.Tensor) -> list[Opinion]:
        """Works (N, ...) as the codec's network has them -> what each critic says."""

    def judging(self, real: torch.Tensor, made: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The adversary's own loss, (N,): the hinge on both; and how much higher it scores real works."""
        said = [scores.chunk(2) for scores, _ in self(torch.cat([real, made.detach()]))]
        hinge = torch.stack([_mean(F.relu(1 - true)) + _mean(F.relu(1 + false)) for true, false in said])
        apart = torch.stack([true.mean() - false.mean() for true, false in said])
        return hinge.mean(0), apart.mean().detach()

    def convincing(self, real: torch.Tensor, made: torch.Tensor) -> torch.Tensor:
        """What the codec wants of it, (N,): scored as real, features as the real work's. No gradient reaches
        the adversary's own weights."""
        fixed = {name: p.detach() for name, p in self.named_parameters()}
        with torch.no_grad():
            wanted = functional_call(self, fixed, (real,))
        losses = []
        for (scores, features), (_, known) in zip(functional_call(self, fixed, (made,)), wanted, strict=True):
            loss = -_mean(scores)
            if self.matching:
                for mine, true in zip(features, known, strict=True):
                    loss = loss + self.matching / len(features) * _mean((mine - true).abs().float())
            losses.append(loss)
        return torch.stack(losses).mean(0)

    def balanced(
        self, reconstruction: torch.Tensor, convincing: torch.Tensor, made: torch.Tensor, last: torch.Tensor
    ) -> tuple[torch.Tensor, float]:
        """Both losses as one scalar, and the adaptive weight that was given to `convincing`.

        The weight is the ratio of the two gradients' norms at `last`, the codec's last layer. Both losses are
        followed back to `made` once: the scalar has their sum's value and the gradient of their sum.
        """
        (pull,) = torch.autograd.grad(reconstruction, made, retain_graph=True)
        (push,) = torch.autograd.grad(convincing, made)
        norms = [
            torch.autograd.grad(made, last, g, retain_graph=True)[0].float().norm() for g in (pull, push)
        ]
        adapted = (norms[0] / (norms[1] + 1e-4)).clamp(0, self.MOST) * self.weight
        gradient = pull + adapted * push
        through = (made * gradient).sum()
        value = reconstruction + adapted * convincing
        return through + (value - through).detach(), float(adapted)


def _mean(x: torch.Tensor) -> torch.Tensor:
    """(N, ...) -> (N,)."""
    return x.flatten(1).mean(1)


class PatchAdversary(Adversary):
    """PatchGAN on premultiplied RGBA: one critic, patch by patch."""

    def __init__(
        self, begins: int, width: int = 32, n_layers: int = 3, weight: float = 0.1, matching: float = 1.0
    ) -> None:
        """begins, weight, matching: as `Adversary`."""
        super().__init__(begins, weight, matching)
        widths = [4, *(width * 2**i for i in range(n_layers))]
        self.layers = nn.ModuleList(nn.Conv2d(a, b, 4, stride=2, padding=1) for a, b in pairwise(widths))
        self.norms = nn.ModuleList(nn.GroupNorm(1, b) for b in widths[2:])
        self.head = nn.Conv2d(widths[-1], 1, 3, padding=1)

    def forward(self, x: torch.Tensor) -> list[Opinion]:
        """x (N, 4, S, S) in [-1, 1] -> a score for each patch (N, 1, h, w), features of each layer."""
        features = []
        x = x.contiguous(memory_format=torch.channels_last)
        for i, layer in enumerate(self.layers):
            x = layer(x)
            x = F.leaky_relu(self.norms[i - 1](x) if i else x, 0.2)
            features.append(x)
        return [(self.head(x).float(), features)]

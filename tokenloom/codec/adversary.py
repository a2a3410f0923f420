"""The adversary: a second network that learns to tell decoded pictures from real ones, patch by patch.

Sources: PatchGAN: Isola et al. 2017, arXiv:1611.07004, section 3.2.2; hinge loss: Lim and Ye 2017,
arXiv:1705.02894, section 2; feature matching: Salimans et al. 2016, arXiv:1606.03498, section 3.1, as L1 in
Wang et al. 2018, arXiv:1711.11585, section 3.2; adaptive weight: Esser et al. 2021, arXiv:2012.09841,
equation 7.
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call


class Adversary(nn.Module):
    """PatchGAN on premultiplied RGBA, with the losses of both sides."""

    MOST = 1e4
    """Largest adaptive weight (as in the paper's program)."""

    def __init__(
        self, begins: int, width: int = 32, n_layers: int = 3, weight: float = 0.1, matching: float = 1.0
    ) -> None:
        """begins: the first step (from 0) in which it plays. weight: of the adversarial term, before it is
        adapted; matching: of the features', as a share of that."""
        super().__init__()
        self.begins, self.weight, self.matching = begins, weight, matching
        widths = [4, *(width * 2**i for i in range(n_layers))]
        self.layers = nn.ModuleList(nn.Conv2d(a, b, 4, stride=2, padding=1) for a, b in pairwise(widths))
        self.norms = nn.ModuleList(nn.GroupNorm(1, b) for b in widths[2:])
        self.head = nn.Conv2d(widths[-1], 1, 3, padding=1)

    def plays(self, step: int) -> bool:
        """Whether it is on in this step, counted from 0."""
        return step >= self.begins

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """x (N, 4, S, S) in [-1, 1] -> (a score for each patch (N, 1, h, w), features of each layer)."""
        features = []
        x = x.contiguous(memory_format=torch.channels_last)
        for i, layer in enumerate(self.layers):
            x = layer(x)
            x = F.leaky_relu(self.norms[i - 1](x) if i else x, 0.2)
            features.append(x)
        return self.head(x).float(), features

    def judging(self, real: torch.Tensor, made: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The adversary's own loss, (N,): the hinge on both; and how much higher it scores real patches."""
        scores, _ = self(torch.cat([real, made.detach()]))
        true, false = scores.chunk(2)
        hinge = F.relu(1 - true).mean((1, 2, 3)) + F.relu(1 + false).mean((1, 2, 3))
        return hinge, (true.mean() - false.mean()).detach()

    def convincing(self, real: torch.Tensor, made: torch.Tensor) -> torch.Tensor:
        """What the codec wants of it, (N,): patches scored as real, features as the real picture's. No
        gradient reaches the adversary's own weights."""
        fixed = {name: p.detach() for name, p in self.named_parameters()}
        with torch.no_grad():
            _, wanted = functional_call(self, fixed, (real,))
        scores, features = functional_call(self, fixed, (made,))
        loss = -scores.mean((1, 2, 3))
        if self.matching:
            for mine, true in zip(features, wanted, strict=True):
                loss = loss + self.matching / len(features) * (mine - true).abs().float().mean((1, 2, 3))
        return loss

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

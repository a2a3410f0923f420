"""Quantisers: a grid of vectors -> codes, and back. Not the networks around them (codec.image).

- FSQ: finite scalar quantisation, Mentzer et al. 2023, arXiv:2309.15505, section 3 and appendix A.1.
- VQ: a learned codebook on the unit sphere, narrow look-ups; van den Oord et al. 2017, arXiv:1711.00937,
  section 3.2; Yu et al. 2022, arXiv:2110.04627, section 3.2. Codes no one uses are revived.
- Residual: several quantisers, each on what those before left; Zeghidour et al. 2021, arXiv:2107.03312,
  section III.C.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

# Shapes: N pictures, C channels of the network, H x W places, D codes a place, K codes in a book


@dataclass(frozen=True)
class Quantised:
    """What a quantiser makes of z."""

    z_q: torch.Tensor
    """(N, C, H, W) float32, with the gradient of z (straight through)."""
    codes: torch.Tensor
    """(N, H, W) int64; (N, H, W, D) for a residual one."""
    loss: torch.Tensor
    """What the quantiser itself wants learned: a mean over places, a scalar; 0 for FSQ."""


class Quantiser(nn.Module, ABC):
    """What all quantisers do: `forward` (z -> Quantised) and `decode` (codes -> z_q)."""

    size: int
    """Codes in the book: 0 ... size - 1."""
    depth: int = 1
    """Codes of one place."""

    @abstractmethod
    def forward(self, z: torch.Tensor) -> Quantised:
        """z (N, C, H, W)."""

    @abstractmethod
    def decode(self, codes: torch.Tensor) -> torch.Tensor:
        """codes (N, H, W[, D]) int64 in range -> (N, C, H, W) float32, what `forward` called z_q."""


def straight_through(value: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """`value` with the gradient of `like` (Bengio et al. 2013, arXiv:1308.3432, section 4.2)."""
    return like + (value - like).detach()


class FSQ(Quantiser):
    """Each of a few channels is bounded and rounded to one of its levels; a code numbers the combination."""

    EPS = 1e-3

    def __init__(self, channels: int, levels: Sequence[int] = (8, 5, 5, 5)) -> None:
        """channels: width of the network, mapped to len(levels) and back by linear maps."""
        super().__init__()
        if not levels or min(levels) < 2:
            raise ValueError(f"levels: found {tuple(levels)}; allowed: one or more numbers, each 2 or more")
        self.levels = tuple(levels)
        self.size = math.prod(levels)
        self.narrow = nn.Conv2d(channels, len(levels), 1)
        self.widen = nn.Conv2d(len(levels), channels, 1)
        count = torch.tensor(self.levels, dtype=torch.float32)
        self.register_buffer("_half", (count - 1) * (1 - self.EPS) / 2, persistent=False)
        self.register_buffer("_offset", torch.where(count % 2 == 1, 0.0, 0.5), persistent=False)
        self.register_buffer("_width", (count // 2), persistent=False)
        strides = [math.prod(self.levels[:i]) for i in range(len(levels))]
        self.register_buffer("_stride", torch.tensor(strides), persistent=False)
        self._half: torch.Tensor
        self._offset: torch.Tensor
        self._width: torch.Tensor
        self._stride: torch.Tensor

    def bound(self, z: torch.Tensor) -> torch.Tensor:
        """z (..., len(levels)) -> values whose rounding takes each of the levels (appendix A.1)."""
        shift = torch.tan(self._offset / self._half)
        return torch.tanh(z + shift) * self._half - self._offset

    def quantise(self, z: torch.Tensor) -> torch.Tensor:
        """z (..., len(levels)) -> the nearest grid point, each channel in [-1, 1], straight through."""
        bounded = self.bound(z)
        return straight_through(bounded.round(), bounded) / self._width

    def number(self, points: torch.Tensor) -> torch.Tensor:
        """Grid points (..., len(levels)) -> codes (...) int64, the first level running fastest."""
        whole = (points * self._width + self._width).round().long()
        return (whole * self._stride).sum(-1)

    def points(self, codes: torch.Tensor) -> torch.Tensor:
        """Codes (...) int64 -> grid points (..., len(levels)) float32."""
        count = torch.tensor(self.levels, device=codes.device)
        whole = torch.div(codes[..., None], self._stride, rounding_mode="floor") % count
        return (whole - self._width) / self._width

    def forward(self, z: torch.Tensor) -> Quantised:
        with torch.autocast(z.device.type, enabled=False):
            points = self.quantise(self.narrow(z.float()).permute(0, 2, 3, 1))
            codes = self.number(points.detach())
            return Quantised(
                self.widen(points.permute(0, 3, 1, 2)), codes, z.new_zeros((), dtype=torch.float)
            )

    def decode(self, codes: torch.Tensor) -> torch.Tensor:
        with torch.autocast(codes.device.type, enabled=False):
            return self.widen(self.points(codes).permute(0, 3, 1, 2).contiguous())


class VQ(Quantiser):
    """The nearest of `size` unit vectors; what is looked up is narrow (8 wide) and on the unit sphere."""

    COMMIT = 0.25
    """Weight of the encoder's pull to its code (van den Oord et al. 2017, equation 3)."""
    DECAY = 0.99
    DEAD = 0.03
    """A code used less than this share of an even use is put where the pictures are."""

    def __init__(self, channels: int, size: int = 1000, dim: int = 8) -> None:
        super().__init__()
        if size < 2:
            raise ValueError(f"size: found {size}; allowed: 2 or more")
        self.size = size
        self.narrow = nn.Conv2d(channels, dim, 1)
        self.widen = nn.Conv2d(dim, channels, 1)
        self.book = nn.Parameter(F.normalize(torch.randn(size, dim), dim=-1))
        self.register_buffer("use", torch.full((size,), 1.0 / size))
        self.use: torch.Tensor
        """Share of the places each code took lately."""

    def forward(self, z: torch.Tensor) -> Quantised:
        with torch.autocast(z.device.type, enabled=False):
            flat = F.normalize(self.narrow(z.float()).permute(0, 2, 3, 1), dim=-1)
            vectors = flat.flatten(0, 2)
            book = F.normalize(self.book, dim=-1)
            codes = (vectors.detach() @ book.detach().T).argmax(-1)
            found = book[codes]
            # On the sphere the squared distance is 2 - 2 cos; means over places.
            pull = (vectors.detach() - found).square().sum(-1).mean()
            commit = (vectors - found.detach()).square().sum(-1).mean()
            if self.training and torch.is_grad_enabled():
                self._follow(codes, vectors.detach())
            z_q = straight_through(found.detach(), vectors).view(flat.shape).permute(0, 3, 1, 2)
            return Quantised(self.widen(z_q), codes.view(flat.shape[:3]), pull + self.COMMIT * commit)

    @torch.no_grad()
    def _follow(self, codes: torch.Tensor, vectors: torch.Tensor) -> None:
        """Keeps count of use; a dead code becomes one of the batch's vectors and counts as used evenly."""
        share = torch.bincount(codes, minlength=self.size).float() / len(codes)
        self.use.lerp_(share, 1 - self.DECAY)
        dead = (self.use < self.DEAD / self.size).nonzero().flatten()
        if len(dead):
            drawn = torch.randint(len(vectors), (len(dead),)).to(vectors.device)
            # The book is what autograd keeps for the backward pass: changed out of its sight, values only.
            self.book.data[dead] = vectors[drawn]
            self.use[dead] = 1.0 / self.size

    def decode(self, codes: torch.Tensor) -> torch.Tensor:
        with torch.autocast(self.book.device.type, enabled=False):
            found = F.normalize(self.book, dim=-1)[codes]
            return self.widen(found.permute(0, 3, 1, 2).contiguous())


class Residual(Quantiser):
    """Quantisers in a row, each given what the ones before did not say; z_q is the sum of theirs."""

    def __init__(self, stages: Sequence[Quantiser]) -> None:
        super().__init__()
        if not stages or len({s.size for s in stages}) != 1 or any(s.depth != 1 for s in stages):
            raise ValueError("stages: allowed: one or more plain quantisers of one size")
        self.stages = nn.ModuleList(stages)
        self.size, self.depth = stages[0].size, len(stages)

    def forward(self, z: torch.Tensor) -> Quantised:
        left, total, loss = (
            z.float(),
            torch.zeros_like(z, dtype=torch.float32),
            z.new_zeros((), dtype=torch.float),
        )
        codes = []
        for stage in self.stages:
            found = stage(left)
            total, loss = total + found.z_q, loss + found.loss
            left = left - found.z_q.detach()
            codes.append(found.codes)
        return Quantised(total, torch.stack(codes, -1), loss)

    def decode(self, codes: torch.Tensor) -> torch.Tensor:
        found = [stage.decode(codes[..., i]) for i, stage in enumerate(self._each())]
        return torch.stack(found).sum(0) if len(found) == 1 else sum(found[1:], found[0])

    def _each(self) -> list[Quantiser]:
        return [stage for stage in self.stages if isinstance(stage, Quantiser)]

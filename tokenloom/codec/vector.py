"""The plain autoencoder: features in, a narrower code out, features back. No quantiser, no picture.

The teaching case and a compressor of feature vectors, 1,000 -> 500 values say. Where the hidden width is 0 it
is linear, and what it learns then is the span of the principal components (Baldi and Hornik 1989, "Neural
networks and principal component analysis"). Source: Hinton and Salakhutdinov 2006, "Reducing the
dimensionality of data with neural networks".
"""

from __future__ import annotations

import torch
from torch import nn


class VectorAutoencoder(nn.Module):
    """(N, features) -> (N, code) -> (N, features)."""

    def __init__(self, features: int = 1000, code: int = 500, hidden: int = 0) -> None:
        """hidden: width of one layer with GELU on each side; 0 = none. Raises ValueError naming the field."""
        super().__init__()
        if code < 1 or code > features:
            raise ValueError(f"code: found {code}; allowed: 1 to features ({features})")
        if hidden < 0:
            raise ValueError(f"hidden: found {hidden}; allowed: 0 (linear) or a width")
        self.features, self.code = features, code
        self.encoder = _map(features, hidden, code)
        self.decoder = _map(code, hidden, features)

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        """x (N, features) float -> (N, code). Raises ValueError for another width."""
        if x.dim() != 2 or x.shape[1] != self.features:
            raise ValueError(f"x: found shape {tuple(x.shape)}; allowed: (N, {self.features})")
        found: torch.Tensor = self.encoder(x)
        return found

    def decode(self, code: torch.Tensor) -> torch.Tensor:
        """code (N, code) float -> (N, features)."""
        if code.dim() != 2 or code.shape[1] != self.code:
            raise ValueError(f"code: found shape {tuple(code.shape)}; allowed: (N, {self.code})")
        found: torch.Tensor = self.decoder(code)
        return found

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """What is left of x after the code."""
        return self.decode(self.encode(x))

    def loss(self, x: torch.Tensor) -> torch.Tensor:
        """Mean squared error of each row, (N,)."""
        return (self(x) - x).square().mean(1)


def _map(a: int, hidden: int, b: int) -> nn.Module:
    if not hidden:
        return nn.Linear(a, b)
    return nn.Sequential(nn.Linear(a, hidden), nn.GELU(), nn.Linear(hidden, b))

"""The adversary of sound: critics of spectra in several resolutions, and of samples folded by periods.

The losses are those of any adversary (codec.adversary). It is small: a codec that learns in an hour on one
core cannot pay for the critics of the papers, whose layers are 32 to 1,024 wide.
Sources: complex spectra in several resolutions: Defossez et al. 2022, arXiv:2210.13438, section 3.4; periods:
Kong et al. 2020, arXiv:2010.05646, section 2.3; both together: Siuzdak 2023, arXiv:2306.00814, section 3.3.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from tokenloom.codec.adversary import Adversary, Opinion
from tokenloom.codec.spectra import hann


class _Critic(nn.Module):
    """Convolutions that halve one side of what is seen, then a score for each place."""

    def __init__(self, given: int, width: int, n_layers: int, kernel: tuple[int, int], step: int) -> None:
        super().__init__()
        pad = (kernel[0] // 2, kernel[1] // 2)
        widths = [given, *(width * min(4, 2**i) for i in range(n_layers))]
        self.layers = nn.ModuleList(
            nn.Conv2d(widths[i], widths[i + 1], kernel, stride=(step, 1), padding=pad)
            for i in range(n_layers)
        )
        self.norms = nn.ModuleList(nn.GroupNorm(1, b) for b in widths[2:])
        self.head = nn.Conv2d(widths[-1], 1, (3, kernel[1]), padding=(1, kernel[1] // 2))

    def forward(self, x: torch.Tensor) -> Opinion:
        """x (N, given, long side, short side)."""
        features = []
        x = x.contiguous(memory_format=torch.channels_last)
        for i, layer in enumerate(self.layers):
            x = layer(x)
            x = F.leaky_relu(self.norms[i - 1](x) if i else x, 0.2)
            features.append(x)
        return self.head(x).float(), features


class SoundAdversary(Adversary):
    """One critic for each window of a spectrum and one for each period of the samples."""

    def __init__(
        self,
        begins: int,
        width: int = 8,
        n_layers: int = 4,
        windows: Sequence[int] = (1024, 512, 256),
        periods: Sequence[int] = (3, 7),
        weight: float = 0.1,
        matching: float = 1.0,
    ) -> None:
        """begins, weight, matching: as `Adversary`. width: channels of the first layers; windows: samples of
        each spectrum, half a window apart; periods: samples of a row. ValueError where there is neither."""
        super().__init__(begins, weight, matching)
        if not windows and not periods:
            raise ValueError("adversary: found neither windows nor periods; allowed: one or more of them")
        for name, values, least in (("windows", windows, 16), ("periods", periods, 2)):
            if values and min(values) < least:
                raise ValueError(f"adversary.{name}: found {min(values)}; allowed: {least} or more")
        self.windows, self.periods = tuple(windows), tuple(periods)
        self.seeing = nn.ModuleList(_Critic(2, width, n_layers, (9, 3), 2) for _ in self.windows)
        self.counting = nn.ModuleList(_Critic(1, width, n_layers, (5, 1), 3) for _ in self.periods)

    def forward(self, x: torch.Tensor) -> list[Opinion]:
        """x (N, S) in [-1, 1]."""
        said = [critic(_spectrum(x, w)) for critic, w in zip(self.seeing, self.windows, strict=True)]
        return said + [critic(_folded(x, p)) for critic, p in zip(self.counting, self.periods, strict=True)]


def _spectrum(x: torch.Tensor, window: int) -> torch.Tensor:
    """x (N, S) -> real and imaginary part, (N, 2, F, T), compressed: the root of the size, the angle kept."""
    found = torch.stft(
        x.float(),
        window,
        window // 2,
        window=hann(window).to(x.device),
        center=True,
        pad_mode="constant",
        return_complex=True,
    )
    parts = torch.view_as_real(found) * (4 / window)
    size = parts.square().sum(-1, keepdim=True) + 1e-6
    return (parts / size.sqrt().sqrt()).permute(0, 3, 1, 2)


def _folded(x: torch.Tensor, period: int) -> torch.Tensor:
    """x (N, S) -> (N, 1, S / period, period); the last row is filled with silence."""
    return F.pad(x, (0, -x.shape[1] % period)).view(len(x), 1, -1, period)

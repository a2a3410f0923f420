"""The picture codec: a convolutional autoencoder around a quantiser.

The picture is folded into patches first, so that no layer works at full size: most of the weights are where
the codes are. The decoder is the heavier half, as it must invent what the codes do not say. Not its training
(train.codec) and not the folder it is kept in (codec.folder).
Sources: van den Oord et al. 2017, arXiv:1711.00937 (autoencoder of codes); He et al. 2016, arXiv:1603.05027
(blocks: activation before the convolution); Shi et al. 2016, arXiv:1609.05158 (pixel shuffle); Esser et al.
2021, arXiv:2012.09841, section 3.1 (attention at the coarsest grid).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from tokenloom.codec.config import ImageCodecConfig
from tokenloom.codec.quantise import FSQ, VQ, Quantised, Quantiser, Residual

# Shapes: N pictures, S x S pixels, H x W places, D codes a place


class Block(nn.Module):
    """x + two convolutions of it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(8, width)
        self.one = nn.Conv2d(width, width, 3, padding=1)
        self.two = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.two(F.silu(self.one(F.silu(self.norm(x)))))
        return x + found


class Attention(nn.Module):
    """x + what each place gathers from all others."""

    HEAD = 32

    def __init__(self, width: int) -> None:
        super().__init__()
        self.heads = max(1, width // self.HEAD)
        self.norm = nn.GroupNorm(8, width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, c, h, w = x.shape
        flat = self.norm(x).flatten(2).transpose(1, 2)  # N, HW, C
        q, k, v = self.qkv(flat).view(n, h * w, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        # Few places: written out it is quicker on a CPU than the fused kernel, whose way back is slow there.
        seen = ((q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)).float().softmax(-1).to(v.dtype)
        found = (seen @ v).transpose(1, 2).reshape(n, h * w, c)
        return x + self.out(found).transpose(1, 2).reshape(n, c, h, w)


class Halve(nn.Module):
    """Four places become one: unfolded into channels, then mixed."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.mix = nn.Conv2d(4 * width, out, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.mix(F.pixel_unshuffle(x, 2))
        return found


class Double(nn.Module):
    """One place becomes four: mixed, then folded out."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.mix = nn.Conv2d(width, 4 * out, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.pixel_shuffle(self.mix(x), 2)


class ImageCodec(nn.Module):
    """Encoder, quantiser, decoder."""

    def __init__(self, config: ImageCodecConfig) -> None:
        super().__init__()
        self.config = config
        widths, patch = config.widths, 4 * config.patch**2
        places: list[nn.Module] = [Attention(widths[-1]) for _ in range(config.attention)]
        down: list[nn.Module] = [nn.Conv2d(patch, widths[0], 3, padding=1)]
        for i, width in enumerate(widths):
            if i:
                down.append(Halve(widths[i - 1], width))
            down += [Block(width) for _ in range(config.encoder[i])]
        self.encoder = nn.Sequential(*down, *places, nn.GroupNorm(8, widths[-1]))
        self.quantiser = _quantiser(config)
        again: list[nn.Module] = [Attention(widths[-1]) for _ in range(config.attention)]
        up: list[nn.Module] = []
        for i in reversed(range(len(widths))):
            blocks = [Block(widths[i]) for _ in range(config.decoder[i])]
            up += [*blocks[:1], *again, *blocks[1:]]
            again = []
            if i:
                up.append(Double(widths[i], widths[i - 1]))
        self.decoder = nn.Sequential(*up, nn.GroupNorm(8, widths[0]), nn.SiLU())
        self.last = nn.Conv2d(widths[0], patch, 3, padding=1)
        self._start()

    def _start(self) -> None:
        """Blocks begin as the identity, nearly: what they add starts small (Zhang et al. 2019)."""
        for part in self.modules():
            if isinstance(part, nn.Conv2d | nn.Linear) and part.bias is not None:
                nn.init.zeros_(part.bias)
            if isinstance(part, Block):
                nn.init.zeros_(part.two.weight)
            elif isinstance(part, Attention):
                nn.init.zeros_(part.out.weight)

    def encode_images(self, x: torch.Tensor) -> Quantised:
        """x (N, 4, S, S) float in [-1, 1], premultiplied."""
        patches = F.pixel_unshuffle(x, self.config.patch).contiguous(memory_format=torch.channels_last)
        found: Quantised = self.quantiser(self.encoder(patches))
        return found

    def decode_features(self, z_q: torch.Tensor) -> torch.Tensor:
        """z_q (N, C, H, W) -> x (N, 4, S, S) float32."""
        z_q = z_q.contiguous(memory_format=torch.channels_last)
        return F.pixel_shuffle(self.last(self.decoder(z_q)).float(), self.config.patch)

    def decode_codes(self, codes: torch.Tensor) -> torch.Tensor:
        """codes (N, H, W) int64, (N, H, W, D) if residual -> x (N, 4, S, S) float32."""
        return self.decode_features(self.quantiser.decode(codes))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, Quantised]:
        """x as in `encode_images` -> (what is decoded, what was said)."""
        found = self.encode_images(x)
        return self.decode_features(found.z_q), found


def _quantiser(config: ImageCodecConfig) -> Quantiser:
    width = config.widths[-1]

    def one() -> Quantiser:
        if config.quantiser == "fsq":
            return FSQ(width, config.levels)
        return VQ(width, config.codes, config.code_dim)

    return one() if config.depth == 1 else Residual([one() for _ in range(config.depth)])

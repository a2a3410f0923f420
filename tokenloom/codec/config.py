"""The settings of codecs: sizes of the networks and weights of the losses, as recipes and folders say them.

Not the networks. No torch here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

from tokenloom.config import fill


@dataclass(frozen=True)
class ImageCodecConfig:
    """The sizes of a codec; written to config.json."""

    size: int = 64
    """Pixels along a side of the picture."""
    down: int = 8
    """Pixels along a side of a place: (size / down) squared places."""
    patch: int = 4
    """Pixels along a side of the patches the first layer sees."""
    widths: tuple[int, ...] = (96, 256)
    """Channels of each grid from the patches' to the places', each half as fine as the one before."""
    encoder: tuple[int, ...] = (1, 2)
    """Blocks of each of these grids in the encoder."""
    decoder: tuple[int, ...] = (3, 4)
    """The same in the decoder."""
    attention: int = 1
    """Blocks of attention among the places, in the encoder and in the decoder each."""
    quantiser: Literal["fsq", "vq"] = "fsq"
    levels: tuple[int, ...] = (8, 5, 5, 5)
    """fsq: levels of each channel."""
    codes: int = 1000
    """vq: codes in the book."""
    code_dim: int = 8
    """vq: width of a code."""
    depth: int = 1
    """Codes of a place: more than one are residual."""

    def __post_init__(self) -> None:
        for name in ("size", "down", "patch", "codes", "code_dim", "depth"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: found {getattr(self, name)}; allowed: 1 or more")
        if self.size % self.down:
            raise ValueError(f"down: found {self.down}; allowed: a divisor of size {self.size}")
        steps = math.log2(self.down / self.patch)
        if steps < 0 or steps != int(steps):
            raise ValueError(f"patch: found {self.patch}; allowed: down ({self.down}) halved some times")
        for name in ("widths", "encoder", "decoder"):
            if len(getattr(self, name)) != int(steps) + 1:
                raise ValueError(
                    f"{name}: found {len(getattr(self, name))} numbers; allowed: one for each of the "
                    f"{int(steps) + 1} grids between patch {self.patch} and down {self.down}"
                )
        if any(w < 8 or w % 8 for w in self.widths):
            raise ValueError(f"widths: found {self.widths}; allowed: multiples of 8")

    @property
    def side(self) -> int:
        """Places along a side."""
        return self.size // self.down

    @property
    def n_codes(self) -> int:
        """Codes in the book."""
        return math.prod(self.levels) if self.quantiser == "fsq" else self.codes

    @staticmethod
    def read(table: Mapping[str, Any]) -> ImageCodecConfig:
        """From config.json's values. Raises ValueError naming a key that is missing or not known."""
        lacking = sorted({field.name for field in fields(ImageCodecConfig)} - set(table))
        if lacking:
            raise ValueError(f"{lacking[0]}: missing in the codec's settings")
        return fill(ImageCodecConfig, table)


@dataclass(frozen=True)
class Losses:
    """How much each term of the reconstruction counts; 0 leaves it out (codec.losses)."""

    pixels: float = 1.0
    """L1 at full size and halved `scales` - 1 times, each as much as the other."""
    squares: float = 0.0
    """Squared error at full size: what PSNR measures."""
    edges: float = 1.0
    """L1 of the differences between neighbours."""
    spectrum: float = 0.1
    """L1 of the amplitudes of the frequencies."""
    scales: int = 3

"""The settings of codecs: sizes of the networks and weights of the losses, as recipes and folders say them.

Not the networks. No torch here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, TypeVar, cast

from tokenloom.config import fill

Settings = TypeVar("Settings")


def whole(kind: type[Settings], table: Mapping[str, Any]) -> Settings:
    """Settings from a table that must name each of them. Raises ValueError naming the key."""
    lacking = sorted({field.name for field in fields(cast(Any, kind))} - set(table))
    if lacking:
        raise ValueError(f"{lacking[0]}: missing in the codec's settings")
    return fill(kind, table)


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
        return whole(ImageCodecConfig, table)


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


@dataclass(frozen=True)
class AudioCodecConfig:
    """The sizes of a codec of sound; written to config.json."""

    rate: int = 16_000
    """Samples a second, one channel."""
    hop: int = 320
    """Samples of a frame: one place in which it is said."""
    window: int = 512
    """Samples under each spectrum the encoder sees."""
    slices: int = 2
    """Spectra of a frame, spread evenly over it."""
    bands: int = 64
    """Mel bands of a spectrum."""
    kernel: int = 7
    """Frames that a block sees: its own and those before."""
    ahead: int = 2
    """Frames after its own that the encoder waits for, and the decoder again."""
    width: int = 128
    """Channels of the encoder."""
    blocks: int = 4
    wide: int = 192
    """Channels of the decoder, the heavier half."""
    deep: int = 6
    """Blocks of the decoder."""
    expand: int = 3
    """Width inside a block, as a multiple."""
    levels: tuple[int, ...] = (5, 5, 5, 5, 5)
    """Levels of each channel of a code (FSQ)."""
    depth: int = 1
    """Codes of a frame: more than one are residual."""

    def __post_init__(self) -> None:
        for name in ("rate", "hop", "window", "slices", "bands", "kernel", "width", "blocks", "wide", "deep"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: found {getattr(self, name)}; allowed: 1 or more")
        if self.expand < 1 or self.depth < 1:
            name = "expand" if self.expand < 1 else "depth"
            raise ValueError(f"{name}: found {getattr(self, name)}; allowed: 1 or more")
        if self.hop % (2 * self.slices):
            raise ValueError(
                f"hop: found {self.hop}; allowed: a multiple of twice the slices ({self.slices})"
            )
        if self.window % 2 or self.window < self.hop // self.slices:
            raise ValueError(
                f"window: found {self.window}; allowed: an even number from {self.hop // self.slices} on, so "
                "that no sample is left out"
            )
        if not 0 <= self.ahead < self.kernel:
            raise ValueError(
                f"ahead: found {self.ahead}; allowed: 0 to {self.kernel - 1}, less than the kernel"
            )

    @property
    def n_codes(self) -> int:
        """Codes in the book."""
        return math.prod(self.levels)

    @property
    def frames_hz(self) -> float:
        """Frames a second."""
        return self.rate / self.hop

    @property
    def delay(self) -> int:
        """Samples that must follow one before it is said and heard again: what a stream waits at least."""
        return (self.window - self.hop // self.slices) // 2 + (2 * self.ahead + 1) * self.hop

    @staticmethod
    def read(table: Mapping[str, Any]) -> AudioCodecConfig:
        """From config.json's values. Raises ValueError naming a key that is missing or not known."""
        return whole(AudioCodecConfig, table)


@dataclass(frozen=True)
class AudioLosses:
    """How much each term of a sound's reconstruction counts; 0 leaves it out (codec.spectra)."""

    mel: float = 1.0
    """L1 of the logarithms of mel spectra, the mean over `windows`."""
    magnitude: float = 0.0
    """L1 of the magnitudes themselves, over the same windows: what is loud counts more."""
    windows: tuple[int, ...] = (64, 128, 256, 512, 1024, 2048)
    """Samples under a spectrum, each a quarter apart; a window has a sixth as many bands, at most 80."""

    def __post_init__(self) -> None:
        if not self.windows or min(self.windows) < 16 or any(w % 4 for w in self.windows):
            raise ValueError(f"windows: found {self.windows}; allowed: one or more multiples of 4 from 16 on")

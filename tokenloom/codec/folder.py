"""A codec of pictures as a folder (codec.files); and one that is open. Not the training."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tokenloom.codec.config import ImageCodecConfig
from tokenloom.codec.files import BadCodec, read_codec, write_codec
from tokenloom.codec.image import ImageCodec
from tokenloom.codec.pixels import checked, to_pixels, to_tensor
from tokenloom.version import __version__

if TYPE_CHECKING:
    import torch

__all__ = ["BadCodec", "Codec", "open_codec", "save_codec"]

MODEL_TYPE = "image_codec"
MOST = 16
"""Pictures computed at a time."""
LEAST = 2
"""So many are always computed: PyTorch goes another way for one alone, whose last digits differ."""


def save_codec(
    codec: ImageCodec,
    folder: str | Path,
    *,
    card: str = "",
    dtype: str = "float16",
    overwrite: bool = False,
) -> Path:
    """Writes `codec` to `folder` and returns it; beside first, then renamed.

    card: README.md; empty = a short one. dtype: of the weights on disk. overwrite: replace a folder that
    holds a codec. Raises ValueError naming the argument, FileExistsError.
    """
    folder = Path(folder)
    write_codec(codec, codec.config, MODEL_TYPE, folder, card or _card(codec, dtype), dtype, overwrite)
    return folder


def open_codec(folder: str | Path, device: str = "cpu") -> Codec:
    """Opens what `save_codec` wrote. Raises BadCodec saying what is missing or wrong, FileNotFoundError."""
    model, sha256 = read_codec(
        Path(folder), MODEL_TYPE, lambda table: ImageCodec(ImageCodecConfig.read(table)), device
    )
    return Codec(model, sha256)


class Codec:
    """An open codec: pictures -> codes -> pictures, in float32, whatever the batch."""

    def __init__(self, model: ImageCodec, sha256: str) -> None:
        self.model, self.sha256 = model, sha256
        config = model.config
        self.size = config.size
        """Pixels along a side."""
        self.places = config.side**2
        self.depth = config.depth
        self.n_codes = config.n_codes
        self.per_picture = self.places * config.depth
        """Codes of one picture."""

    def encode(self, pictures: np.ndarray) -> np.ndarray:
        """uint8 (N, size, size, 4) RGBA -> int64 (N, per_picture), row by row, a place's codes side by side.

        Raises ValueError naming what was found for another type, shape or size.
        """
        import torch

        checked(pictures, self.size)
        found = np.empty((len(pictures), self.per_picture), np.int64)
        with torch.inference_mode():
            for i in range(0, len(pictures), MOST):
                x = to_tensor(_filled(pictures[i : i + MOST])).to(self._device)
                codes = self.model.encode_images(x).codes.flatten(1).cpu().numpy()
                found[i : i + MOST] = codes[: len(found) - i]
        return found

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """int64 (N, per_picture) in 0 ... n_codes - 1 -> uint8 (N, size, size, 4).

        Raises ValueError naming what was found for another type, shape or code.
        """
        import torch

        self._check(codes)
        side = self.model.config.side
        shape = (-1, side, side) if self.depth == 1 else (-1, side, side, self.depth)
        found = np.empty((len(codes), self.size, self.size, 4), np.uint8)
        with torch.inference_mode():
            for i in range(0, len(codes), MOST):
                some = torch.from_numpy(_filled(codes[i : i + MOST])).long().to(self._device)
                pixels = to_pixels(self.model.decode_codes(some.view(shape)))
                found[i : i + MOST] = pixels[: len(found) - i]
        return found

    def _check(self, codes: np.ndarray) -> None:
        if not isinstance(codes, np.ndarray) or not np.issubdtype(codes.dtype, np.integer):
            found = codes.dtype if isinstance(codes, np.ndarray) else type(codes).__name__
            raise ValueError(f"codes: found {found}; allowed: an array of whole numbers")
        if codes.ndim != 2 or codes.shape[1] != self.per_picture:
            raise ValueError(f"codes: found shape {codes.shape}; allowed: (N, {self.per_picture})")
        if codes.size and (codes.min() < 0 or codes.max() >= self.n_codes):
            worst = codes.min() if codes.min() < 0 else codes.max()
            raise ValueError(f"codes: found {worst}; allowed: 0 to {self.n_codes - 1}")

    @property
    def _device(self) -> torch.device:
        return next(self.model.parameters()).device


def _filled(rows: np.ndarray) -> np.ndarray:
    """Rows up to LEAST, zeros behind."""
    lacking = max(LEAST - len(rows), 0)
    return np.concatenate([rows, np.zeros((lacking, *rows.shape[1:]), rows.dtype)]) if lacking else rows


def _card(codec: ImageCodec, dtype: str) -> str:
    config = codec.config
    weights = sum(p.numel() for p in codec.parameters())
    return (
        f"# A picture codec\n\n{weights / 1e6:.1f} M weights in {dtype}: {config.size} x {config.size} "
        f"pixels RGBA, {config.side} x {config.side} places of {config.depth} codes out of {config.n_codes} "
        f"({config.quantiser}). Saved by Tokenloom {__version__}.\n"
    )

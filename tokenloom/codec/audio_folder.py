"""A codec of sound as a folder (codec.files); and one that is open. Not the training (train.audio)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tokenloom.codec.audio import AudioCodec
from tokenloom.codec.audio_stream import Decoding, Encoding, Samples
from tokenloom.codec.config import AudioCodecConfig
from tokenloom.codec.files import read_codec, write_codec
from tokenloom.version import __version__

MODEL_TYPE = "audio_codec"


def save_audio_codec(
    codec: AudioCodec,
    folder: str | Path,
    *,
    card: str = "",
    dtype: str = "float16",
    overwrite: bool = False,
) -> Path:
    """Writes `codec` to `folder` and returns it; arguments and errors as codec.folder.save_codec."""
    folder = Path(folder)
    write_codec(codec, codec.config, MODEL_TYPE, folder, card or _card(codec, dtype), dtype, overwrite)
    return folder


def open_audio_codec(folder: str | Path) -> SoundCodec:
    """Opens what `save_audio_codec` wrote. Raises BadCodec saying what is missing or wrong,
    FileNotFoundError."""
    model, sha256 = read_codec(
        Path(folder), MODEL_TYPE, lambda table: AudioCodec(AudioCodecConfig.read(table))
    )
    return SoundCodec(model, sha256)


class SoundCodec:
    """An open codec: samples -> codes -> samples, in float32 on the CPU, the same however they come."""

    def __init__(self, model: AudioCodec, sha256: str) -> None:
        self.model, self.sha256 = model, sha256
        config = model.config
        self.rate, self.hop, self.depth = config.rate, config.hop, config.depth
        self.n_codes = config.n_codes
        self.codes_hz = config.frames_hz * config.depth
        """Codes a second."""

    def encode(self, samples: Samples, rate: int | None = None) -> NDArray[np.int64]:
        """float32 (n,) in [-1, 1] -> int64, `depth` codes for each frame of `hop` samples, side by side.

        A last frame that is not full is filled with silence; no samples are no codes. rate: of the samples,
        where it is known. Raises ValueError naming what was found for another type, shape or rate.
        """
        self._check_samples(samples, rate)
        stream = Encoding(self.model)
        return np.concatenate([stream.push(samples), stream.finish()])

    def decode(self, codes: NDArray[np.int64]) -> Samples:
        """int64 (n,) in 0 ... n_codes - 1 -> float32 (n / depth x hop,) in [-1, 1].

        Raises ValueError naming what was found for another type, shape or code.
        """
        self.check_codes(codes)
        if len(codes) % self.depth:
            raise ValueError(f"codes: found {len(codes)}; allowed: {self.depth} for each frame")
        stream = Decoding(self.model)
        return np.concatenate([stream.push(codes), stream.finish()])

    def encoding(self) -> Encoding:
        """A stream of samples into codes; `encode` is one that comes at once."""
        return Encoding(self.model)

    def decoding(self) -> Decoding:
        """A stream of codes into samples; `decode` is one that comes at once."""
        return Decoding(self.model)

    def _check_samples(self, samples: Samples, rate: int | None) -> None:
        if not isinstance(samples, np.ndarray) or samples.dtype != np.float32:
            found = samples.dtype if isinstance(samples, np.ndarray) else type(samples).__name__
            raise ValueError(f"samples: found {found}; allowed: an array of float32")
        if samples.ndim != 1:
            channels = f", {samples.shape[1]} channels" if samples.ndim == 2 else ""
            raise ValueError(f"samples: found the shape {samples.shape}{channels}; allowed: (n,), mono")
        if rate is not None and rate != self.rate:
            raise ValueError(f"rate: found {rate}; allowed: {self.rate}, as the codec has learned")
        if not np.isfinite(samples).all():
            raise ValueError("samples: some are not finite")

    def check_codes(self, codes: NDArray[np.int64]) -> None:
        """ValueError for what are no codes of this codec."""
        if not isinstance(codes, np.ndarray) or not np.issubdtype(codes.dtype, np.integer):
            found = codes.dtype if isinstance(codes, np.ndarray) else type(codes).__name__
            raise ValueError(f"codes: found {found}; allowed: an array of whole numbers")
        if codes.ndim != 1:
            raise ValueError(f"codes: found the shape {codes.shape}; allowed: (n,)")
        if codes.size and (codes.min() < 0 or codes.max() >= self.n_codes):
            worst = codes.min() if codes.min() < 0 else codes.max()
            raise ValueError(f"codes: found {worst}; allowed: 0 to {self.n_codes - 1}")


def _card(codec: AudioCodec, dtype: str) -> str:
    config = codec.config
    weights = sum(p.numel() for p in codec.parameters())
    return (
        f"# A codec of sound\n\n{weights / 1e6:.2f} M weights in {dtype}: {config.rate:,} samples a second "
        f"become {config.frames_hz * config.depth:g} codes out of {config.n_codes:,}. Saved by Tokenloom "
        f"{__version__}.\n"
    )

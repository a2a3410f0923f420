"""How near a sound is to the one it was made of: intelligibility, loudness of bands, words that are heard.

Not a judge of taste: nothing here was trained on opinions. STOI counts how the loudness of bands moves
together over 384 ms, from 0 (apart) to 1 (the same); above about 0.75 speech is mostly understood.
Source: Taal et al. 2011, "An Algorithm for Intelligibility Prediction of Time-Frequency Weighted Noisy
Speech", section II; word errors: Levenshtein's distance over words.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from tokenloom.sound.audio import resample

if TYPE_CHECKING:
    from tokenloom.sound.recognise import Recogniser

Samples = NDArray[np.float32]

RATE, FRAME, FFT = 10_000, 256, 512
BANDS, LOWEST = 15, 150.0
"""Third octaves, and the middle of the first in Hz."""
SPAN = 30
"""Frames of one comparison: 384 ms."""
QUIET_DB = 40.0
"""Frames so far below the loudest are left out."""
SILENT_DB = -100.0
"""A frame below this is silent, whatever the loudest is."""
CLIP = 1 + 10 ** (15 / 20)
"""The made sound counts as at most so many times as loud as the real one: beta = -15 dB."""
_APART = re.compile(r"[^\w'.%$:]+|(?<!\d)[.:]|[.:](?!\d)")


def stoi(real: Samples, made: Samples, rate: int) -> float:
    """Short-time objective intelligibility of `made` (n,) beside `real` (n,), both at `rate`.

    ValueError for other shapes, and where less than 384 ms of `real` are loud enough to be compared.
    """
    if real.ndim != 1 or real.shape != made.shape:
        raise ValueError(f"made: found the shape {made.shape}; allowed: that of the real one, {real.shape}")
    pair = [resample(x, rate, RATE).astype(np.float64) for x in (real, made)]
    true, mine = _loud(*pair)
    spectra = [_third_octaves(x) for x in (true, mine)]
    frames = spectra[0].shape[1]
    if frames < SPAN:
        raise ValueError(
            f"real: found {frames} frames that are loud enough; allowed: {SPAN} or more (384 ms)"
        )
    # (bands, spans, SPAN)
    x, y = (np.lib.stride_tricks.sliding_window_view(s, SPAN, axis=1) for s in spectra)
    tiny = np.finfo(np.float64).eps
    scale = np.linalg.norm(x, axis=2, keepdims=True) / (np.linalg.norm(y, axis=2, keepdims=True) + tiny)
    y = np.minimum(y * scale, x * CLIP)
    x, y = (s - s.mean(2, keepdims=True) for s in (x, y))
    sizes = np.linalg.norm(x, axis=2) * np.linalg.norm(y, axis=2)
    return float(((x * y).sum(2) / (sizes + tiny)).mean())


def _frames(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """(frames, FRAME), half a frame apart, windowed."""
    window = np.hanning(FRAME + 2)[1:-1]
    return np.lib.stride_tricks.sliding_window_view(x, FRAME)[:: FRAME // 2] * window


def _loud(
    real: NDArray[np.float64], made: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Both without the frames in which the real one is quiet, laid over one another again."""
    if len(real) < FRAME:
        return real[:0], made[:0]
    parts = [_frames(x) for x in (real, made)]
    energy = 20 * np.log10(np.linalg.norm(parts[0], axis=1) + np.finfo(np.float64).eps)
    heard = energy > max(energy.max() - QUIET_DB, SILENT_DB)
    return _laid(parts[0][heard]), _laid(parts[1][heard])


def _laid(parts: NDArray[np.float64]) -> NDArray[np.float64]:
    half = FRAME // 2
    found = np.zeros((len(parts) + 1) * half)
    found[:-half] += parts[:, :half].reshape(-1)
    found[half:] += parts[:, half:].reshape(-1)
    return found


def _third_octaves(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Loudness (BANDS, frames)."""
    if len(x) < FRAME:
        return np.zeros((BANDS, 0))
    power = np.abs(np.fft.rfft(_frames(x), FFT)) ** 2
    frequencies = np.linspace(0, RATE / 2, FFT // 2 + 1)
    middles = LOWEST * 2 ** (np.arange(BANDS) / 3)
    edges = [np.abs(frequencies[:, None] - middles * 2 ** (s / 6)).argmin(0) for s in (-1, 1)]
    bands = [power[:, low:high].sum(1) for low, high in zip(*edges, strict=True)]
    return np.sqrt(np.stack(bands))


def mean_stoi(real: NDArray[np.float32], made: NDArray[np.float32], rate: int) -> float:
    """The mean over pairs of sounds (N, samples), without those that are nearly silent. NaN if all are."""
    found = []
    for one, other in zip(real, made, strict=True):
        try:
            found.append(stoi(one, other, rate))
        except ValueError:
            continue  # too little of it sounds to be compared
    return float(np.mean(found)) if found else float("nan")


def plain_words(text: str) -> list[str]:
    """The words of a text without case and marks; those within numbers and times stay."""
    return [word for word in _APART.sub(" ", text.lower()).split() if word.strip("'%$")]


def word_errors(said: str, heard: str) -> tuple[int, int]:
    """(errors, words said): words to be put in, left out or exchanged."""
    a, b = plain_words(said), plain_words(heard)
    row = list(range(len(b) + 1))
    for i, word in enumerate(a, 1):
        above, row = row, [i]
        for j, other in enumerate(b, 1):
            row.append(min(above[j] + 1, row[-1] + 1, above[j - 1] + (word != other)))
    return row[-1], len(a)


# --- who listens ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Listener:
    """A recogniser that writes English down, for samples (N,) at a rate."""

    name: str
    recogniser: Recogniser
    rate: int

    def __call__(self, samples: Samples) -> str:
        from tokenloom.sound.recognise import RATE, Ask

        return self.recogniser.hear(resample(samples, self.rate, RATE), Ask(language="en")).text


def listener(name: str | None, rate: int, tell: Callable[[str], object], threads: int = 0) -> Listener | None:
    """The recogniser of a name or folder, or the one that is here. None where none was named and none is
    here, which `tell` is told; CannotHear, NotInstalled or UnknownModel where the named one cannot be had."""
    from tokenloom.hub import NotInstalled, UnknownModel
    from tokenloom.sound.recognise import CannotHear, Recogniser, recogniser_folder

    try:
        folder = recogniser_folder(name)
        return Listener(folder.name, Recogniser(folder, threads), rate)
    except (CannotHear, NotInstalled, UnknownModel) as error:
        if name is not None:
            raise
        tell(f"Words are not counted: {error}")
        return None


# --- a codec, or a voice, over a set ----------------------------------------------------------------------


class Codec(Protocol):
    """Who makes codes of sound and sound of codes."""

    rate: int
    n_codes: int

    def encode(self, samples: Samples, rate: int | None = None) -> NDArray[np.int64]: ...
    def decode(self, codes: NDArray[np.int64]) -> Samples: ...


@dataclass(frozen=True)
class Spoken:
    """A text that was said, and the sound."""

    text: str
    samples: Samples
    """(n,) float32."""


def codec_figures(
    codec: Codec,
    some: Sequence[Spoken],
    far: Callable[[Samples, Samples], float],
    progress: Callable[[int], None] | None = None,
) -> tuple[dict[str, float], list[Samples]]:
    """What a codec makes of sounds at its rate; and those. far: mean distance of mel bands in dB."""
    made, distances, clear = [], [], []
    used: set[int] = set()
    spent = [0.0, 0.0]
    for number, one in enumerate(some):
        begun = time.perf_counter()
        codes = codec.encode(one.samples)
        halfway = time.perf_counter()
        heard = codec.decode(codes)[: len(one.samples)]
        spent[0] += halfway - begun
        spent[1] += time.perf_counter() - halfway
        used.update(codes.tolist())
        made.append(heard)
        distances.append(far(heard, one.samples))
        clear.append(mean_stoi(one.samples[None], heard[None], codec.rate))
        if progress is not None:
            progress(number + 1)
    seconds = sum(len(one.samples) for one in some) / codec.rate
    return {
        "n": len(some),
        "seconds": round(seconds, 1),
        "mel_db": float(np.mean(distances)),
        "stoi": float(np.nanmean(clear)),
        "codes_used": len(used),
        "n_codes": codec.n_codes,
        "encode_x_real_time": seconds / spent[0],
        "decode_x_real_time": seconds / spent[1],
    }, made


def heard_figures(
    some: Sequence[Spoken],
    made: Sequence[Samples],
    hear: Callable[[Samples], str],
    progress: Callable[[int], None] | None = None,
) -> Mapping[str, float]:
    """A recogniser's word errors in what was made, beside those in what it was made of.

    words: of what is heard in the originals, which is the measure of "words_apart", so that how numbers are
    spelt does not count. The two others are against the texts as they are written.
    """
    errors, words, apart = [0, 0], 0, [0, 0]
    for number, (one, other) in enumerate(zip(some, made, strict=True)):
        real, again = hear(one.samples), hear(other)
        for place, heard in enumerate((real, again)):
            wrong, n = word_errors(one.text, heard)
            errors[place] += wrong
        words += n
        wrong, n = word_errors(real, again)
        apart[0], apart[1] = apart[0] + wrong, apart[1] + n
        if progress is not None:
            progress(number + 1)
    return {
        "word_errors_original": errors[0] / max(1, words),
        "word_errors_made": errors[1] / max(1, words),
        "words_apart": apart[0] / max(1, apart[1]),
        "words": words,
    }

"""How loud a sound is: peak, true peak, mean, offset, loudness; and bringing it to a loudness unclipped.

Not a meter for surround: all channels weigh alike, which is right for mono and stereo.
Source: ITU-R BS.1770-4, annex 1 (K-weighting, gating) and annex 2 (true peak). The K-weighting's two filters
are designed anew for each rate from their analogue prototypes; the standard prints them for 48 kHz alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]

BLOCK_S, HOP_S = 0.4, 0.1
SILENT_LUFS = -70.0
GATE_LU = -10.0
PIECE = 1 << 20
"""Samples filtered at a time, so that an hour needs no hour's memory."""
SHELF = (1681.974450955533, 3.999843853973347, 0.7071752369554196)
"""Hz, dB, Q of the head's shelf."""
HIGH_PASS = (38.13547087602444, 0.5003270373238773)
"""Hz, Q of the low cut."""


@dataclass(frozen=True, slots=True)
class Levels:
    """Decibels relative to full scale; -inf for silence. `dc` is the mean of the worst channel, linear."""

    peak_db: float
    true_peak_db: float
    rms_db: float
    dc: float
    loudness: float
    """LUFS, gated; -inf for what is silent or shorter than 0.4 s."""


def decibels(value: float) -> float:
    return 20 * math.log10(value) if value > 0 else -math.inf


def levels(samples: Samples, rate: int) -> Levels:
    """The levels of samples (n,) or (n, channels). ValueError for other shapes and for NaN."""
    table = as_table(samples)
    if not len(table):
        return Levels(-math.inf, -math.inf, -math.inf, 0.0, -math.inf)
    if not np.isfinite(table).all():
        raise ValueError("samples: some are not finite")
    rms = math.sqrt(float(np.mean(np.square(table, dtype=np.float64))))
    dc = max((float(np.mean(channel, dtype=np.float64)) for channel in table.T), key=abs)
    peak = float(np.abs(table).max())
    return Levels(
        decibels(peak), decibels(true_peak(table)), decibels(rms), dc, loudness(table, rate)
    )  # fmt: skip


def as_table(samples: Samples) -> Samples:
    """(n, channels) float32. ValueError for other ranks."""
    if samples.ndim not in (1, 2):
        raise ValueError(f"samples of shape {samples.shape}: allowed are (n,) and (n, channels)")
    table = samples[:, None] if samples.ndim == 1 else samples
    return np.asarray(table, np.float32)


def k_weighting(rate: int) -> NDArray[np.float64]:
    """(2, 6) second-order sections of the K-weighting at a rate."""
    hz, gain_db, q = SHELF
    k = math.tan(math.pi * hz / rate)
    high, mid = 10 ** (gain_db / 20), 10 ** (gain_db / 20 * 0.4996667741545416)
    norm = 1 + k / q + k * k
    shelf = [
        (high + mid * k / q + k * k) / norm,
        2 * (k * k - high) / norm,
        (high - mid * k / q + k * k) / norm,
        1.0,
        2 * (k * k - 1) / norm,
        (1 - k / q + k * k) / norm,
    ]
    hz, q = HIGH_PASS
    k = math.tan(math.pi * hz / rate)
    norm = 1 + k / q + k * k
    low_cut = [1.0, -2.0, 1.0, 1.0, 2 * (k * k - 1) / norm, (1 - k / q + k * k) / norm]
    return np.array([shelf, low_cut])


def _hop_powers(table: Samples, rate: int) -> NDArray[np.float64]:
    """(hops,) the K-weighted power of each 0.1 s, channels added; the last part of a hop is left out."""
    from scipy.signal import sosfilt

    hop = round(HOP_S * rate)
    sections = k_weighting(rate)
    state: Any = np.zeros((2, 2, table.shape[1]))
    powers = []
    step = max(hop, PIECE - PIECE % hop)
    for at in range(0, len(table), step):
        weighted, state = sosfilt(sections, table[at : at + step], axis=0, zi=state)
        whole = len(weighted) - len(weighted) % hop
        squares = np.square(weighted[:whole], dtype=np.float64).sum(axis=1)
        powers.append(squares.reshape(-1, hop).mean(axis=1))
    return np.concatenate(powers)


def loudness(samples: Samples, rate: int) -> float:
    """Integrated loudness in LUFS of (n,) or (n, channels); -inf for silence and for less than 0.4 s."""
    table = as_table(samples)
    if rate < 1000:
        raise ValueError(f"rate {rate}: allowed are 1000 Hz and more")
    if len(table) < round(BLOCK_S * rate):
        return -math.inf
    hops = _hop_powers(table, rate)
    width = round(BLOCK_S / HOP_S)
    blocks = np.convolve(hops, np.full(width, 1 / width), "valid")
    blocks = blocks[blocks > 10 ** ((SILENT_LUFS + 0.691) / 10)]
    if not len(blocks):
        return -math.inf
    kept = blocks[blocks > blocks.mean() * 10 ** (GATE_LU / 10)]
    return -0.691 + 10 * math.log10(float(kept.mean()))


def true_peak(samples: Samples, above: float = 0.5) -> float:
    """The highest value between the samples too, linear: four times oversampled around the tall ones.

    Only windows where a sample passes `above` times the highest are looked at: what is lower rings less.
    """
    from scipy.signal import resample_poly

    table = as_table(samples)
    if not len(table):
        return 0.0
    highest = float(np.abs(table).max())
    if highest == 0.0:
        return 0.0
    size = 256
    peaks = np.abs(table).max(axis=1)
    peaks = np.pad(peaks, (0, -len(peaks) % size)).reshape(-1, size).max(axis=1)
    found = highest
    for place in np.argsort(-peaks)[:200]:
        if peaks[place] < above * highest:
            break
        part = table[max(0, place * size - 32) : (place + 1) * size + 32]
        found = max(found, float(np.abs(resample_poly(part, 4, 1, axis=0)).max()))
    return found


def limited(samples: Samples, rate: int, ceiling: float, reach_s: float = 0.005) -> Samples:
    """The samples (n, channels) with every one within `ceiling`, by a gain that moves slowly over `reach_s`.

    A gain below one at a peak holds over its neighbourhood before the mean is taken, so the mean never lets a
    peak through. Samples that need no limiting come back as they are.
    """
    from scipy.ndimage import minimum_filter1d, uniform_filter1d

    size = 16
    peaks = np.abs(samples).max(axis=1)
    if not len(peaks) or peaks.max() <= ceiling:
        return samples
    padded = np.pad(peaks, (0, -len(peaks) % size)).reshape(-1, size).max(axis=1)
    gains = np.minimum(1.0, ceiling / np.maximum(padded, 1e-9))
    reach = max(1, round(reach_s * rate / size)) * 2 + 1
    held = minimum_filter1d(gains, reach + 2, mode="nearest")
    smooth = uniform_filter1d(held, reach, mode="nearest")
    places = np.arange(len(samples), dtype=np.float32)
    middles = np.arange(len(smooth), dtype=np.float32) * size + (size - 1) / 2
    gain = np.interp(places, middles, smooth).astype(np.float32)
    return samples * gain[:, None]


def mastered(samples: Samples, rate: int, target: float, ceiling_db: float, most_db: float = 40.0) -> Samples:
    """The samples (n, channels) near a loudness in LUFS, no true peak above `ceiling_db`. Silence stays.

    At most `most_db` are added, so that a faint sound does not become its own noise.
    """
    ceiling = 10 ** (ceiling_db / 20)
    now = loudness(samples, rate)
    if now == -math.inf:
        return _below(samples, ceiling)
    out = samples
    for _ in range(2):  # the limiter takes a little loudness: once more with what it took
        out = limited(_louder(out, target - now, most_db), rate, 0.92 * ceiling)
        now = loudness(out, rate)
    return _below(out, ceiling)


def _louder(samples: Samples, gain_db: float, most_db: float) -> Samples:
    return samples * np.float32(10 ** (min(gain_db, most_db) / 20))


def _below(samples: Samples, ceiling: float) -> Samples:
    highest = true_peak(samples)
    return samples if highest <= ceiling else samples * np.float32(0.999 * ceiling / highest)

"""Single tones, as numbers: a plucked string, a sum of partials, noise in a band. Not notes, not instruments.

Every tone is a float32 (samples,) array that depends on nothing but its arguments and the generator given.
Nothing is made above `TOP` of half the rate: what is not there cannot fold back.
Sources: Karplus and Strong, "Digital Synthesis of Plucked-String and Drum Timbres", CMJ 7(2), 1983; Jaffe and
Smith, "Extensions of the Karplus-Strong Plucked-String Algorithm", CMJ 7(2), 1983 (all-pass tuning, decay
shortening and stretching, place of the pick).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Wave = NDArray[np.float32]
Table = NDArray[np.float64]

TOP = 0.9
BLOCK = 64
"""Samples over which a partial's level moves in a straight line."""


def loss_filter(hz: float, rate: int, low_s: float, high_s: float, high_hz: float) -> tuple[float, float]:
    """(gain, blend) of a string's loop: its fundamental falls 60 dB in `low_s` s, `high_hz` in `high_s`.

    One turn of the loop multiplies by gain * |1 - blend + blend / z|; the blend is at most a half, the
    two-point mean of Karplus and Strong, and the gain at most 1.
    """
    low, high = 10 ** (-3 / (hz * low_s)), 10 ** (-3 / (hz * min(high_s, low_s)))
    bend = 1 - math.cos(2 * math.pi * min(high_hz, 0.45 * rate) / rate)
    fall = min(0.5, (1 - (high / low) ** 2) / bend)
    blend = (1 - math.sqrt(max(0.0, 1 - 2 * fall))) / 2
    at_low = math.sqrt(1 - 2 * blend * (1 - blend) * (1 - math.cos(2 * math.pi * hz / rate)))
    return min(low / at_low, 0.99999), blend


def tuning(hz: float, rate: int, blend: float) -> tuple[int, float]:
    """(whole samples, all-pass coefficient) of a loop that sounds at `hz` in spite of the filters in it."""
    w = 2 * math.pi * hz / rate
    in_filter = math.atan2(blend * math.sin(w), 1 - blend + blend * math.cos(w)) / w
    left = rate / hz - in_filter
    whole = math.floor(left - 0.2)  # the all-pass then delays by 0.2 to 1.2 samples, where it is well-behaved
    rest = left - whole
    return whole, math.sin((1 - rest) * w / 2) / math.sin((1 + rest) * w / 2)


def pluck(size: int, place: float, soft_hz: float, rate: int, rng: np.random.Generator) -> Table:
    """(size,) one period of a string let go at `place` of its length: random phases, levels that are not.

    A random burst, as in the first paper, gives each note another timbre; here only the phases are random.
    """
    k = np.arange(1, size // 2 + 1)
    spectrum = np.zeros(size // 2 + 1, complex)
    hz = k * rate / size
    shape = np.abs(np.sin(np.pi * k * place)) + 0.05
    level = shape / np.sqrt(k) / np.sqrt(1 + (hz / soft_hz) ** 4) * (hz < TOP * rate / 2)
    spectrum[1:] = level * np.exp(2j * np.pi * rng.random(len(k)))
    if size % 2 == 0:
        spectrum[-1] = 0
    return np.asarray(np.fft.irfft(spectrum, size) * size, np.float64)


def plucked(
    hz: float,
    samples: int,
    rate: int,
    rng: np.random.Generator,
    *,
    low_s: float,
    high_s: float,
    place: float = 0.13,
    soft_hz: float = 4000.0,
    high_hz: float = 4000.0,
) -> Wave:
    """A plucked string. low_s and high_s: seconds to fall 60 dB at the fundamental and at `high_hz`.

    A period is filtered at a time: what the loop gives back within it depends on the period before alone.
    """
    from scipy.signal import lfilter

    gain, blend = loss_filter(hz, rate, low_s, high_s, high_hz)
    size, c = tuning(hz, rate, blend)
    if size < 2:
        raise ValueError(f"a string of {hz:.0f} Hz at {rate} samples a second: give a higher rate")
    b: Any = gain * np.convolve([1 - blend, blend], [c, 1.0])
    a: Any = [1.0, c]
    block: Any = pluck(size, place, soft_hz, rate, rng)
    state: Any = np.zeros(2)
    out = np.empty(samples + size, np.float32)
    for at in range(0, samples, size):
        out[at : at + size] = block
        block, state = lfilter(b, a, block, zi=state)
    return out[:samples]


def partials(hz: Table, levels: Table, samples: int, rate: int, phases: Table) -> Wave:
    """A sum of sinusoids. hz (K,), levels (M + 1, K) at the edges of 64-sample blocks, phases (K,) in turns.

    Within a block a level moves in a straight line, so cos(a + b) = cos a cos b - sin a sin b makes the whole
    sum one product of matrices, (M, 4K) by (4K, 64). Partials above the band are left out.
    """
    kept = hz < TOP * rate / 2
    hz, phases, levels = hz[kept], phases[kept], levels[:, kept]
    blocks = -(-samples // BLOCK)
    if levels.shape[0] < blocks + 1:
        raise ValueError(f"levels for {levels.shape[0] - 1} blocks: {blocks} are needed")
    if not len(hz):
        return np.zeros(samples, np.float32)
    turns = np.outer(np.arange(blocks), hz * BLOCK / rate) + phases
    start = 2 * np.pi * (turns - np.floor(turns))
    cos, sin = np.cos(start), np.sin(start)
    now, step = levels[:blocks], np.diff(levels[: blocks + 1], axis=0) / BLOCK
    left = np.concatenate([now * cos, now * sin, step * cos, step * sin], axis=1).astype(np.float32)
    within = np.arange(BLOCK)
    inner = 2 * np.pi * np.outer(hz / rate, within)
    c, s = np.cos(inner), -np.sin(inner)
    right = np.concatenate([c, s, within * c, within * s], axis=0).astype(np.float32)
    return (left @ right).reshape(-1)[:samples]


def edges(samples: int, rate: int) -> Table:
    """(M + 1,) seconds at the edges of the blocks of `partials`."""
    return np.asarray(np.arange(-(-samples // BLOCK) + 1) * (BLOCK / rate), np.float64)


def stirred(wave: Wave, delay: Table) -> Wave:
    """The wave read at places that move by `delay` (samples,): vibrato. Hermite cubics between samples."""
    places = np.clip(np.arange(len(wave)) - delay, 1, max(1, len(wave) - 3))
    whole = places.astype(np.int64)
    t = (places - whole).astype(np.float32)
    before, here, there, after = (wave[np.minimum(whole + k, len(wave) - 1)] for k in (-1, 0, 1, 2))
    c1 = 0.5 * (there - before)
    c2 = before - 2.5 * here + 2 * there - 0.5 * after
    c3 = 0.5 * (after - before) + 1.5 * (here - there)
    return np.asarray(((c3 * t + c2) * t + c1) * t + here, np.float32)


def band_noise(samples: int, rate: int, low_hz: float, high_hz: float, rng: np.random.Generator) -> Wave:
    """Noise between two frequencies, of mean power 1."""
    from scipy.signal import butter, sosfilt

    top = min(high_hz, TOP * rate / 2)
    sections = butter(2, [min(low_hz, 0.7 * top), top], "bandpass", fs=rate, output="sos")
    skip = 512  # the filter's own beginning
    noise = sosfilt(sections, rng.standard_normal(samples + skip).astype(np.float32))[skip:]
    power = math.sqrt(float(np.mean(np.square(noise)))) if samples else 1.0
    return (noise / max(power, 1e-9)).astype(np.float32)

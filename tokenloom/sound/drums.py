"""Drums of General MIDI's percussion keys: heads that fall in pitch, metal, wood, noise. Not recordings."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tokenloom.sound.tones import Wave, band_noise, edges, partials


@dataclass(frozen=True)
class Drum:
    """A blow: a head (Hz, falling to it from `drop` times as high), noise in a band, partials of metal."""

    seconds: float
    hz: float = 0.0
    drop: float = 1.0
    head: float = 0.0
    noise: float = 0.0
    low_hz: float = 1000.0
    high_hz: float = 9000.0
    noise_s: float = 0.1
    ratios: tuple[float, ...] = ()
    metal: float = 0.0
    pan: float = 0.0
    gain_db: float = 0.0
    rattle: bool = False
    """Whether it begins softly, as grains in a shaker do."""


CYMBAL = (1.0, 1.34, 1.52, 1.93, 2.21, 2.63, 3.05, 3.71, 4.14, 5.43)
TWO = (1.0, 1.48)
WOODEN = (1.0, 2.6, 4.3)

KICK = Drum(0.45, 52, 3.2, 1.0, 0.25, 1500, 5000, 0.012, gain_db=4)
SNARE = Drum(0.35, 190, 1.4, 0.5, 0.8, 900, 9000, 0.13, gain_db=1)
RIM = Drum(0.12, 900, 1.0, 0.0, 0.3, 2000, 8000, 0.01, WOODEN, 1.0, -0.1, -3)
CLAP = Drum(0.3, noise=1.0, low_hz=900, high_hz=4500, noise_s=0.11, pan=0.1, gain_db=-2)
HAT = Drum(
    0.09,
    3100,
    noise=0.8,
    low_hz=6500,
    high_hz=15_000,
    noise_s=0.03,
    ratios=CYMBAL,
    metal=0.3,
    pan=0.3,
    gain_db=-8,
)
OPEN_HAT = Drum(
    0.7,
    3100,
    noise=0.8,
    low_hz=6500,
    high_hz=15_000,
    noise_s=0.28,
    ratios=CYMBAL,
    metal=0.3,
    pan=0.3,
    gain_db=-8,
)
CRASH = Drum(
    2.4,
    1600,
    noise=0.9,
    low_hz=3000,
    high_hz=15_000,
    noise_s=0.9,
    ratios=CYMBAL,
    metal=0.4,
    pan=-0.35,
    gain_db=-5,
)
RIDE = Drum(
    1.8,
    2400,
    noise=0.4,
    low_hz=5000,
    high_hz=14_000,
    noise_s=0.5,
    ratios=CYMBAL,
    metal=0.6,
    pan=0.4,
    gain_db=-8,
)
SHAKER = Drum(0.12, noise=1.0, low_hz=4500, high_hz=13_000, noise_s=0.04, pan=-0.3, gain_db=-9, rattle=True)
BELL = Drum(0.5, 560, ratios=TWO, metal=1.0, pan=0.2, gain_db=-5)
BLOCK = Drum(0.15, 780, ratios=WOODEN, metal=1.0, pan=0.25, gain_db=-4)
CLAVES = Drum(0.12, 2500, ratios=(1.0,), metal=1.0, pan=-0.2, gain_db=-5)
TRIANGLE = Drum(1.6, 4100, ratios=(1.0, 1.57, 2.22), metal=1.0, pan=-0.3, gain_db=-11)
TAMBOURINE = Drum(
    0.3,
    4800,
    noise=0.6,
    low_hz=5500,
    high_hz=14_000,
    noise_s=0.1,
    ratios=CYMBAL,
    metal=0.5,
    pan=-0.2,
    gain_db=-8,
    rattle=True,
)


def _skin(hz: float, pan: float, seconds: float = 0.5) -> Drum:
    return Drum(seconds, hz, 1.5, 1.0, 0.12, 800, 5000, 0.02, pan=pan)


KIT: dict[int, Drum] = {
    35: KICK, 36: KICK, 37: RIM, 38: SNARE, 39: CLAP, 40: SNARE, 42: HAT, 44: HAT, 46: OPEN_HAT,
    41: _skin(82, 0.45, 0.7), 43: _skin(98, 0.35, 0.7), 45: _skin(122, 0.2, 0.6), 47: _skin(148, 0.05, 0.6),
    48: _skin(176, -0.1), 50: _skin(208, -0.25), 49: CRASH, 52: CRASH, 55: CRASH, 57: CRASH,
    51: RIDE, 53: RIDE, 59: RIDE, 54: TAMBOURINE, 56: BELL, 58: OPEN_HAT,
    60: _skin(330, 0.3, 0.25), 61: _skin(250, 0.3, 0.3), 62: _skin(300, -0.3, 0.18),
    63: _skin(290, -0.3, 0.35),
    64: _skin(200, -0.3, 0.4), 65: _skin(380, 0.2, 0.3), 66: _skin(280, 0.2, 0.35), 67: BELL, 68: BELL,
    69: SHAKER, 70: SHAKER, 73: SHAKER, 74: SHAKER, 75: CLAVES, 76: BLOCK, 77: BLOCK, 80: TRIANGLE,
    81: TRIANGLE,
    82: SHAKER,
}  # fmt: skip
PLAIN = BLOCK
"""What a key without a drum of its own sounds as."""


def drum_of(key: int) -> Drum:
    return KIT.get(key, PLAIN)


def blow(drum: Drum, rate: int, force: float, rng: np.random.Generator) -> Wave:
    """(samples,) of one blow, its tallest sample about 1 times the drum's gain."""
    samples = round(drum.seconds * rate)
    t = np.arange(samples) / rate
    wave = np.zeros(samples)
    if drum.head:
        falling = drum.hz * (1 + (drum.drop - 1) * np.exp(-t / 0.03))
        wave += drum.head * np.sin(2 * np.pi * np.cumsum(falling) / rate) * np.exp(-5.5 * t / drum.seconds)
    if drum.noise:
        grains = np.minimum(1, t / 0.012) if drum.rattle else np.minimum(1, t / 0.0006)
        band = band_noise(samples, rate, drum.low_hz, drum.high_hz * (0.6 + 0.4 * force), rng)
        wave += 0.35 * drum.noise * band * np.exp(-t / drum.noise_s * 2.2) * grains
    if drum.metal:
        ratios = np.array(drum.ratios)
        at = edges(samples, rate)[:, None]
        levels = np.exp(-5.5 * at / drum.seconds * ratios**0.3) / len(ratios) * np.ones(len(ratios))
        levels[0] = 0.0
        wave += drum.metal * partials(drum.hz * ratios, levels, samples, rate, rng.random(len(ratios)))
    wave *= np.minimum(1, (drum.seconds - t) / (0.2 * drum.seconds))
    wave -= wave.mean()  # no offset; what the ends then lack is below hearing and faded
    highest = max(float(np.abs(wave).max()), 1e-9)
    return (wave * np.minimum(1, t / 0.0004) / highest * 10 ** (drum.gain_db / 20)).astype(np.float32)


WORDS = {
    35: "kick", 36: "kick", 37: "rim", 38: "snare", 39: "clap", 40: "snare", 41: "tom", 42: "hat",
    43: "tom", 44: "pedal hat", 45: "tom", 46: "open hat", 47: "tom", 48: "tom", 49: "crash", 50: "tom",
    51: "ride", 52: "crash", 53: "ride", 54: "tamb.", 55: "splash", 56: "cowbell", 57: "crash", 59: "ride",
    60: "bongo", 61: "bongo", 62: "conga", 63: "conga", 64: "conga", 65: "timbale", 66: "timbale",
    67: "agogo", 68: "agogo", 69: "cabasa", 70: "maracas", 75: "claves", 76: "block", 77: "block",
    80: "triangle", 81: "triangle", 82: "shaker",
}  # fmt: skip


def word_of(key: int) -> str:
    """A short name of a percussion key; its number where it has none."""
    return WORDS.get(key, str(key))

"""The 128 programs of General MIDI as three sorts of instrument, and one tone of each. Not the drums.

Plucked strings are Karplus and Strong's; struck things are partials that fall; blown, bowed and sung ones are
partials that last, with vibrato and breath. None is a recording of an instrument: they are simple, clean, in
tune and told apart by ear. Decay times and brightness are those of the A above middle C.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tokenloom.sound.tones import TOP, Table, Wave, band_noise, edges, partials, plucked, stirred

Formants = tuple[tuple[float, float, float], ...]
"""(Hz, width in Hz, gain in dB) of resonances that stay where they are when the pitch moves."""


@dataclass(frozen=True)
class Plucked:
    """A string let go. Seconds to fall 60 dB: low_s at its fundamental, high_s at 4 kHz."""

    low_s: float
    high_s: float
    place: float = 0.13
    soft_hz: float = 3500.0
    release_s: float = 0.12
    courses: tuple[float, ...] = (0.0,)
    """Cents by which strings sounding together differ."""
    body: Formants = ()
    gain_db: float = 0.0
    rings: bool = False
    """Whether it is left to ring when its note ends."""


@dataclass(frozen=True)
class Struck:
    """Partials that fall. `ratios` of the pitch, or a stiff string's harmonics where there are none."""

    low_s: float
    fall: float = 1.0
    """A partial of n times the pitch falls n**fall times as fast."""
    ratios: tuple[tuple[float, float], ...] = ()
    """(frequency, level)."""
    slope: float = 1.2
    soft_hz: float = 3000.0
    stiffness: float = 0.0
    release_s: float = 0.15
    knock: float = 0.0
    """Level of the blow's own noise."""
    tremolo_hz: float = 0.0
    gain_db: float = 0.0
    rings: bool = False


@dataclass(frozen=True)
class Held:
    """Partials that last. Levels fall as n**-slope, the even ones times `even`."""

    slope: float = 1.2
    even: float = 1.0
    attack_s: float = 0.05
    release_s: float = 0.12
    soft_hz: float = 5000.0
    blare: float = 0.0
    """How much later a high partial enters than a low one: brass."""
    vibrato_cents: float = 0.0
    vibrato_hz: float = 5.4
    breath: float = 0.0
    voices: tuple[float, ...] = (0.0,)
    """Cents by which voices sounding together differ."""
    formants: Formants = ()
    drawbars: tuple[tuple[float, float], ...] = ()
    """(frequency as a ratio, level) in place of harmonics: an organ's ranks."""
    wanders: float = 0.15
    """How far levels move by themselves."""
    gain_db: float = 0.0


Timbre = Plucked | Struck | Held

GUITAR: Formants = ((105, 40, 5), (210, 70, 4), (420, 160, 2))
VIOLIN: Formants = ((290, 90, 4), (480, 140, 5), (1000, 400, 2), (2600, 900, 5))
AH: Formants = ((700, 130, 14), (1150, 160, 10), (2700, 300, 6))
BELL = ((0.5, 0.4), (1.0, 1.0), (1.19, 0.6), (1.5, 0.35), (2.0, 0.7), (2.74, 0.3), (3.76, 0.2), (5.2, 0.12))
BAR = ((1.0, 1.0), (3.93, 0.22), (9.2, 0.06))
THIN_BAR = ((1.0, 1.0), (2.76, 0.35), (5.4, 0.16), (8.93, 0.07))
WOOD = ((1.0, 1.0), (3.0, 0.3), (6.2, 0.1))
PIPES = ((0.5, 0.25), (1.0, 1.0), (2.0, 0.7), (3.0, 0.3), (4.0, 0.4), (6.0, 0.15), (8.0, 0.2))
BARS = ((0.5, 0.7), (1.0, 1.0), (1.5, 0.4), (2.0, 0.6), (3.0, 0.25), (4.0, 0.3))

TIMBRES: dict[str, Timbre] = {
    "piano": Struck(7.0, 0.75, slope=0.9, soft_hz=2200, stiffness=3.5e-4, knock=0.03, release_s=0.16),
    "electric piano": Struck(5.0, 0.9, ((1, 1), (2, 0.3), (3, 0.12), (4, 0.1), (14, 0.05)), tremolo_hz=4.5),
    "harpsichord": Plucked(2.6, 1.2, 0.11, 12_000, 0.08, (0.0, 1.2), gain_db=-1),
    "clavinet": Plucked(1.6, 0.5, 0.2, 5000, 0.05),
    "bells": Struck(3.5, 0.6, THIN_BAR, rings=True, release_s=1.2, gain_db=-3),
    "vibraphone": Struck(5.0, 0.8, BAR, tremolo_hz=5.5, release_s=0.4),
    "marimba": Struck(1.1, 0.5, BAR, knock=0.05, rings=True, release_s=0.4),
    "xylophone": Struck(0.6, 0.4, WOOD, knock=0.08, rings=True, release_s=0.3),
    "tubular bells": Struck(5.0, 0.5, BELL, rings=True, release_s=1.5),
    "dulcimer": Plucked(2.4, 1.0, 0.09, 7000, 1.0, (-1.5, 0.0, 1.5), rings=True),
    "organ": Held(drawbars=BARS, attack_s=0.012, release_s=0.06, wanders=0.03),
    "church organ": Held(drawbars=PIPES, attack_s=0.05, release_s=0.2, wanders=0.05, voices=(0.0, 2.5)),
    "accordion": Held(0.9, attack_s=0.04, release_s=0.08, soft_hz=3800, voices=(-4.0, 5.0), wanders=0.08),
    "harmonica": Held(0.8, attack_s=0.04, release_s=0.08, soft_hz=3500, vibrato_cents=12, breath=0.02),
    "nylon guitar": Plucked(4.0, 0.45, 0.22, 2200, 0.12, body=GUITAR),
    "steel guitar": Plucked(5.0, 1.0, 0.13, 4500, 0.14, body=GUITAR),
    "electric guitar": Plucked(6.0, 0.9, 0.18, 2600, 0.10),
    "lead guitar": Held(0.75, attack_s=0.012, release_s=0.1, soft_hz=2600, vibrato_cents=10),
    "bass": Plucked(5.0, 0.3, 0.2, 1400, 0.08, gain_db=2),
    "synth bass": Struck(2.5, 1.1, slope=1.0, soft_hz=1400, release_s=0.06, gain_db=1),
    "fiddle": Held(1.0, 0.9, 0.055, 0.12, 5500, 0.2, 16, 5.6, 0.012, formants=VIOLIN),
    "cello": Held(1.05, 0.9, 0.08, 0.15, 3500, 0.3, 14, 5.2, 0.012, formants=((220, 80, 4), (420, 150, 4))),
    "pizzicato": Plucked(0.7, 0.25, 0.2, 2500, 0.25, body=VIOLIN[:2], rings=True),
    "harp": Plucked(5.0, 0.6, 0.35, 2600, 0.9, rings=True),
    "timpani": Struck(1.6, 0.4, ((1, 1), (1.5, 0.6), (1.99, 0.4), (2.44, 0.25)), knock=0.1, rings=True),
    "strings": Held(1.1, 0.95, 0.12, 0.3, 4500, 0.3, 10, 5.1, voices=(-9, -3, 4, 10), formants=VIOLIN[:2]),
    "voices": Held(1.2, attack_s=0.1, release_s=0.25, vibrato_cents=14, voices=(-8, 0, 7), formants=AH),
    "brass": Held(0.75, attack_s=0.05, release_s=0.1, soft_hz=2600, blare=1.0, vibrato_cents=6),
    "horn": Held(1.3, attack_s=0.06, release_s=0.14, soft_hz=1300, blare=1.0, wanders=0.1),
    "brass section": Held(0.8, 1, 0.06, 0.12, 2600, 1.0, 5, voices=(-6, 0, 6)),
    "saxophone": Held(
        0.9, 0.95, 0.05, 0.1, 2600, 0.5, 14, 5.0, 0.03, formants=((600, 200, 5), (1400, 400, 3))
    ),
    "oboe": Held(0.7, 0.9, 0.05, 0.09, 4200, 0.3, 10, formants=((1100, 300, 10), (2900, 500, 6))),
    "bassoon": Held(0.8, 0.95, 0.05, 0.1, 2200, 0.3, 6, formants=((480, 140, 10), (1150, 300, 4))),
    "clarinet": Held(0.8, 0.12, 0.045, 0.09, 2600, 0.4, breath=0.01),
    "flute": Held(2.0, 0.8, 0.06, 0.12, 3000, 0.2, 9, 5.0, 0.06),
    "whistle": Held(2.4, 0.7, 0.02, 0.06, 4500, 0.1, 3, 5.0, 0.045, gain_db=-1),
    "square lead": Held(1.0, 0.0, 0.01, 0.06, 4500, vibrato_cents=5, wanders=0.0),
    "saw lead": Held(1.0, 1.0, 0.01, 0.06, 5000, vibrato_cents=5, voices=(-3, 3), wanders=0.0),
    "pad": Held(1.3, 1.0, 0.35, 0.6, 2200, voices=(-8, -2, 3, 9)),
    "sitar": Plucked(3.5, 1.6, 0.08, 7000, 0.3, (0.0, 3.0)),
    "banjo": Plucked(0.9, 0.6, 0.09, 7000, 0.08, body=((320, 120, 5), (900, 300, 3))),
    "koto": Plucked(2.2, 0.8, 0.1, 5500, 0.4, rings=True),
    "kalimba": Struck(1.4, 0.6, ((1, 1), (5.4, 0.15), (12.1, 0.03)), knock=0.03, rings=True, release_s=0.4),
    "bagpipe": Held(0.55, 0.95, 0.015, 0.03, 4200, formants=((1200, 400, 6),), wanders=0.04),
    "steel drum": Struck(1.2, 0.5, ((1, 1), (2, 0.6), (3.01, 0.3), (4.2, 0.12)), rings=True, release_s=0.4),
    "wood block": Struck(0.12, 0.3, WOOD, knock=0.15, rings=True, release_s=0.1),
    "tom": Struck(0.5, 0.4, ((1, 1), (1.59, 0.5), (2.14, 0.3)), knock=0.2, rings=True, release_s=0.3),
    "wind": Held(3.0, attack_s=0.2, release_s=0.4, breath=1.0),
}

FAMILIES: tuple[tuple[int, str], ...] = (
    (4, "piano"), (6, "electric piano"), (7, "harpsichord"), (8, "clavinet"), (11, "bells"),
    (12, "vibraphone"),
    (13, "marimba"), (14, "xylophone"), (15, "tubular bells"), (16, "dulcimer"), (19, "organ"),
    (21, "church organ"), (22, "accordion"), (23, "harmonica"), (24, "accordion"), (25, "nylon guitar"),
    (26, "steel guitar"), (29, "electric guitar"), (31, "lead guitar"), (32, "electric guitar"), (38, "bass"),
    (40, "synth bass"), (42, "fiddle"), (44, "cello"), (45, "strings"), (46, "pizzicato"), (47, "harp"),
    (48, "timpani"), (52, "strings"), (55, "voices"), (56, "strings"), (60, "brass"), (61, "horn"),
    (64, "brass section"), (68, "saxophone"), (70, "oboe"), (71, "bassoon"), (72, "clarinet"), (74, "flute"),
    (75, "flute"), (80, "whistle"), (81, "square lead"), (88, "saw lead"), (104, "pad"), (105, "sitar"),
    (106, "banjo"), (108, "koto"), (109, "kalimba"), (110, "bagpipe"), (111, "fiddle"), (112, "oboe"),
    (114, "bells"), (115, "steel drum"), (116, "wood block"), (120, "tom"), (128, "wind"),
)  # fmt: skip
"""(first program that is no longer it, timbre), in order."""


def name_of(program: int) -> str:
    """The timbre a General MIDI program (0 to 127) sounds with here."""
    return next(name for stop, name in FAMILIES if program < stop)


def tone(timbre: Timbre, hz: float, samples: int, rate: int, force: float, rng: np.random.Generator) -> Wave:
    """(samples,) one tone held all along, of mean power about 1. force: 0 soft to 1 hard, for its colour."""
    if isinstance(timbre, Plucked):
        wave = _pluck(timbre, hz, samples, rate, force, rng)
    elif isinstance(timbre, Struck):
        wave = _strike(timbre, hz, samples, rate, force, rng)
    else:
        wave = _hold(timbre, hz, samples, rate, force, rng)
    return _evened(wave, rate, timbre.gain_db + 1.5 * math.log2(440 / hz) / 2)


def _evened(wave: Wave, rate: int, gain_db: float) -> Wave:
    """The wave with the mean power of its first 0.3 s made 1, times a gain."""
    begin = wave[: round(0.3 * rate)]
    power = math.sqrt(float(np.mean(np.square(begin)))) if len(begin) else 0.0
    return wave * np.float32(10 ** (gain_db / 20) / max(power, 1e-9))


def _pluck(
    timbre: Plucked, hz: float, samples: int, rate: int, force: float, rng: np.random.Generator
) -> Wave:
    lasts = (440 / hz) ** 0.4
    soft = timbre.soft_hz * (0.45 + 0.9 * force) * (hz / 440) ** 0.3
    wave = np.zeros(samples, np.float32)
    for cents in timbre.courses:
        wave += plucked(
            hz * 2 ** (cents / 1200),
            samples,
            rate,
            rng,
            low_s=timbre.low_s * lasts,
            high_s=timbre.high_s * lasts,
            place=timbre.place,
            soft_hz=soft,
        )
    wave = _resonant(wave, timbre.body, rate)
    begin = min(samples, round(0.001 * rate))
    wave[:begin] *= np.linspace(0, 1, begin, dtype=np.float32)
    return wave


def _resonant(wave: Wave, body: Formants, rate: int) -> Wave:
    """The wave after a body's resonances: peaking filters (Bristow-Johnson's cookbook)."""
    from scipy.signal import sosfilt

    if not body:
        return wave
    sections = []
    for hz, width, gain_db in body:
        w = 2 * math.pi * hz / rate
        a = 10 ** (gain_db / 40)
        alpha = math.sin(w) * width / hz / 2
        above = [1 + alpha * a, -2 * math.cos(w), 1 - alpha * a]
        below = [1 + alpha / a, -2 * math.cos(w), 1 - alpha / a]
        sections.append([value / below[0] for value in (*above, *below)])
    return sosfilt(np.array(sections), wave).astype(np.float32)


def _harmonics(hz: float, rate: int, top_hz: float = 14_000.0, most: int = 60) -> Table:
    return np.arange(1.0, max(2, min(most, int(min(top_hz, TOP * rate / 2) / hz)) + 1))


def _strike(
    timbre: Struck, hz: float, samples: int, rate: int, force: float, rng: np.random.Generator
) -> Wave:
    soft = timbre.soft_hz * (0.35 + 1.1 * force)
    if timbre.ratios:
        ratios = np.array([r for r, _ in timbre.ratios], float)
        level = np.array([v for _, v in timbre.ratios]) * np.where(ratios > 1, 0.5 + force, 1.0)
    else:
        n = _harmonics(hz, rate, 9000.0, 44)
        ratios = n * np.sqrt(1 + timbre.stiffness * (hz / 261.6) ** 0.6 * n * n)
        level = n**-timbre.slope * (0.15 + np.abs(np.sin(np.pi * n / 8.2)))
        level /= 1 + (n * hz / soft) ** 2
    t = edges(samples, rate)[:, None]
    rate_of_fall = 6.91 / (timbre.low_s * (440 / hz) ** 0.5) * ratios**timbre.fall
    if timbre.ratios:
        fall = np.exp(-t * rate_of_fall)
    else:  # strings of one key fall fast together, then slowly against each other
        fall = 0.75 * np.exp(-1.7 * t * rate_of_fall) + 0.25 * np.exp(-0.55 * t * rate_of_fall)
    levels = level * fall
    if timbre.tremolo_hz:
        levels = levels * (1 - 0.18 * (1 - np.cos(2 * np.pi * timbre.tremolo_hz * t)))
    levels[0] = 0.0  # a rise over the first block
    wave = partials(hz * ratios, levels, samples, rate, rng.random(len(ratios)))
    if timbre.knock:
        size = min(samples, round(0.03 * rate))
        blow = band_noise(size, rate, 150, 2500, rng) * np.exp(-np.arange(size) / (0.006 * rate))
        wave[:size] += (timbre.knock * (0.5 + force) * float(np.abs(level).sum()) * blow).astype(np.float32)
    return wave


def _hold(timbre: Held, hz: float, samples: int, rate: int, force: float, rng: np.random.Generator) -> Wave:
    if timbre.drawbars:
        n = np.array([r for r, _ in timbre.drawbars], float)
        level = np.array([v for _, v in timbre.drawbars], float)
    else:
        n = _harmonics(hz, rate)
        level = n**-timbre.slope * np.where(n % 2 == 0, timbre.even, 1.0)
        level /= 1 + (n * hz / (timbre.soft_hz * (0.5 + force))) ** 2
    for centre, width, gain_db in timbre.formants:
        level = level * (1 + (10 ** (gain_db / 20) - 1) / (1 + ((n * hz - centre) / width) ** 2))
    t = edges(samples, rate)[:, None]
    later = timbre.attack_s * (1 + timbre.blare * 0.35 * np.minimum(n - 1, 8))
    rise = 1 - np.exp(-3 * t / later * np.minimum(1, t / (0.4 * later) + 0.2))
    count = len(timbre.voices)
    cents = np.repeat(np.array(timbre.voices), len(n))
    all_n, all_levels = np.tile(n, count), np.tile(level * rise, count)
    if timbre.wanders:
        all_levels = all_levels * _wander(len(t), len(all_n), timbre.wanders, rng)
    pitch = hz * all_n * 2 ** (cents / 1200)
    wave = partials(pitch, all_levels, samples, rate, rng.random(len(all_n)))
    if timbre.vibrato_cents:
        wave = stirred(wave, _vibrato(timbre, samples, rate, rng))
    if timbre.breath:
        breath = band_noise(samples, rate, max(80.0, 0.7 * hz), min(9000.0, 5 * hz + 1500), rng)
        power = math.sqrt(count * float(np.sum(level**2)) / 2)
        wave = wave + (timbre.breath * power * breath * np.minimum(1, np.arange(samples) / (0.02 * rate)))
    return wave.astype(np.float32)


def _wander(blocks: int, count: int, depth: float, rng: np.random.Generator) -> Table:
    """(blocks, count) gains about 1 that move slowly, each by itself."""
    step = 40  # blocks of 64 samples: about 17 a second
    knots = 1 + depth * rng.standard_normal((blocks // step + 3, count)).clip(-2, 2)
    places = np.arange(blocks) / step
    whole = places.astype(int)
    t = (places - whole)[:, None]
    t = t * t * (3 - 2 * t)
    return knots[whole] * (1 - t) + knots[whole + 1] * t


def _vibrato(timbre: Held, samples: int, rate: int, rng: np.random.Generator) -> Table:
    """(samples,) the delay in samples whose change is the vibrato; it begins after a quarter of a second."""
    t = np.arange(samples) / rate
    speed = timbre.vibrato_hz * (1 + 0.06 * rng.uniform(-1, 1))
    depth = (2 ** (timbre.vibrato_cents / 1200) - 1) / (2 * math.pi * speed) * rate
    grows = np.clip((t - 0.18) / 0.35, 0, 1)
    return depth * grows * np.sin(2 * np.pi * speed * np.maximum(0, t - 0.18))

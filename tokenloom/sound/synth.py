"""A score becomes sound: tones, placed in stereo, in a light room, at an even loudness. Without samples.

A tone is made once for a pitch, a strength and one of two takes, as long as the longest note that needs it;
a note is its beginning, faded where the note ends. The same score, rate and seed give the same samples.
"""

from __future__ import annotations

import math
import zlib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tokenloom.sound.drums import blow, drum_of
from tokenloom.sound.instruments import TIMBRES, Held, Timbre, name_of, tone
from tokenloom.sound.levels import mastered
from tokenloom.sound.score import BPM, TICKS, Note, Score, Track
from tokenloom.sound.tones import Wave

Stereo = NDArray[np.float32]

LOUDNESS = -17.0
"""LUFS of what is rendered."""
CEILING_DB = -1.2
TAIL_S = 1.5
"""How long the room is listened to after the last note."""
LONGEST_S = 1800.0
RATES = (8000, 192_000)
ROOM_S, ROOM_DB = 1.1, -15.0
TAKES = 2
STRENGTHS = 4
PLACES = (0.0, -0.32, 0.32, -0.55, 0.55, -0.15, 0.15, -0.7, 0.7)
"""Where tracks stand, -1 left to 1 right; a single one in the middle."""


def render(score: Score, rate: int = 44_100, seed: int = 0) -> Stereo:
    """The sound of a score, (samples, 2) float32 within -1 and 1, about -17 LUFS, true peak under -1 dBFS.

    It lasts as long as the score and a tail of 1.5 s. ValueError for a score without notes, one longer than
    half an hour, a rate that is not 8,000 to 192,000, or a missing package.
    """
    check(score, rate)
    rng_seed = seed & 0xFFFFFFFF
    size = math.ceil((score.seconds + TAIL_S) * rate)
    mix = np.zeros((size, 2), np.float32)
    sounding = [track for track in score.tracks if track.notes]
    for place, track in enumerate(sounding):
        pan = 0.0 if len(sounding) == 1 else PLACES[place % len(PLACES)]
        play = _play_drums if track.drums else _play
        play(mix, track, score, rate, pan, (rng_seed, place))
    mix = in_room(mix, rate, rng_seed)
    mix = without_offset(mix, rate)
    fade = min(size, round(0.25 * rate))
    mix[size - fade :] *= np.linspace(1, 0, fade, dtype=np.float32)[:, None] ** 2
    return mastered(mix, rate, LOUDNESS, CEILING_DB)


def check(score: Score, rate: int) -> None:
    """ValueError where a score or a rate cannot be rendered."""
    if not any(track.notes for track in score.tracks):
        raise ValueError("score: it has no notes, so there is nothing to hear")
    if not RATES[0] <= rate <= RATES[1]:
        raise ValueError(f"rate {rate}: allowed are {RATES[0]} to {RATES[1]} samples a second")
    if score.seconds > LONGEST_S:
        raise ValueError(
            f"score: it lasts {score.seconds:.0f} s, at most {LONGEST_S:.0f} are rendered; cut it into parts"
        )
    try:
        import scipy.signal  # noqa: F401
    except ImportError as error:
        raise ValueError("scipy: not installed; rendering needs it: pip install scipy") from error


class Clock:
    """Ticks to samples, by the score's tempos."""

    def __init__(self, score: Score, rate: int) -> None:
        ticks, seconds, tempo = [0], [0.0], BPM
        for at, value in score.tempos:
            seconds.append(seconds[-1] + (at - ticks[-1]) * 60 / (tempo * TICKS))
            ticks.append(at)
            tempo = value
        self.ticks, self.seconds, self.rate, self.last = ticks, seconds, rate, 60 / (tempo * TICKS)

    def at(self, tick: int) -> int:
        """The sample at which a tick falls."""
        beyond = max(0, tick - self.ticks[-1]) * self.last
        return round((float(np.interp(tick, self.ticks, self.seconds)) + beyond) * self.rate)


@dataclass(frozen=True, slots=True)
class Sounding:
    """A note in samples."""

    start: int
    stop: int
    note: Note
    take: int


def _soundings(track: Track, clock: Clock) -> Iterator[Sounding]:
    for count, note in enumerate(track.notes):
        start = clock.at(note.start)
        yield Sounding(start, max(clock.at(note.stop), start + 1), note, count % TAKES)


def _play(mix: Stereo, track: Track, score: Score, rate: int, pan: float, seed: tuple[int, int]) -> None:
    name = name_of(track.program)
    timbre = TIMBRES[name]
    release = round(timbre.release_s * rate)
    groups: dict[tuple[int, int, int], list[Sounding]] = defaultdict(list)
    for sounding in _soundings(track, Clock(score, rate)):
        strength = (sounding.note.velocity - 1) * STRENGTHS // 127
        groups[sounding.note.pitch, strength, sounding.take].append(sounding)
    for (pitch, strength, take), notes in groups.items():
        rng = np.random.default_rng([*seed, zlib.crc32(name.encode()), pitch, strength, take])
        longest = max(sounding.stop - sounding.start for sounding in notes) + release
        hz = 440 * 2 ** ((pitch - 69) / 12)
        force = (strength + 0.5) / STRENGTHS
        wide = [tone(timbre, hz, longest, rate, force, rng) for _ in range(_channels(timbre))]
        here = pan + (0.25 * (pitch - 64) / 40 if name == "piano" else 0.0)
        sound = _placed(wide, min(0.9, max(-0.9, here)))
        for sounding in notes:
            _add(mix, sound, sounding, release, timbre)


def _channels(timbre: Timbre) -> int:
    """Two for what is wide by itself: many voices."""
    return 2 if isinstance(timbre, Held) and len(timbre.voices) > 2 else 1


def _placed(channels: list[Wave], pan: float) -> Stereo:
    """(samples, 2) of a tone at a place, its power the same everywhere."""
    angle = (pan + 1) * math.pi / 4
    left, right = channels[0], channels[-1]
    return np.stack([left * np.float32(math.cos(angle)), right * np.float32(math.sin(angle))], axis=1)


def _add(mix: Stereo, sound: Stereo, sounding: Sounding, release: int, timbre: Timbre) -> None:
    held = sounding.stop - sounding.start
    part = sound[: min(held + release, len(mix) - sounding.start)]
    gain = np.full(len(part), strength_of(sounding.note.velocity), np.float32)
    fade = gain[held:]
    fade *= np.linspace(1, 0, release, dtype=np.float32)[: len(fade)] ** 2
    mix[sounding.start : sounding.start + len(part)] += part * gain[:, None]


def strength_of(velocity: int) -> float:
    """The gain of a velocity: 80 is 1."""
    return float((velocity / 80) ** 1.4)


def _play_drums(
    mix: Stereo, track: Track, score: Score, rate: int, pan: float, seed: tuple[int, int]
) -> None:
    made: dict[tuple[int, int, int], Stereo] = {}
    for sounding in _soundings(track, Clock(score, rate)):
        note = sounding.note
        strength = (note.velocity - 1) * STRENGTHS // 127
        key = note.pitch, strength, sounding.take
        drum = drum_of(note.pitch)
        if key not in made:
            rng = np.random.default_rng([*seed, *key])
            wave = blow(drum, rate, (strength + 0.5) / STRENGTHS, rng)
            made[key] = _placed([wave], drum.pan) * np.float32(3.0)
        part = made[key][: len(mix) - sounding.start]
        mix[sounding.start : sounding.start + len(part)] += part * np.float32(strength_of(note.velocity))


def room(rate: int, seed: int) -> Stereo:
    """(samples, 2) a small hall's answer, without the sound itself: a few echoes, then noise that fades."""
    from scipy.signal import butter, sosfilt

    rng = np.random.default_rng([seed, 7])
    size = round(ROOM_S * rate)
    t = np.arange(size) / rate
    low, high = rng.standard_normal((2, size, 2))
    low = sosfilt(butter(1, min(2500, 0.4 * rate), fs=rate, output="sos"), low, axis=0)
    answer = (
        low * np.exp(-6.9 * t / ROOM_S)[:, None] + 0.3 * high * np.exp(-6.9 * t / (0.35 * ROOM_S))[:, None]
    )
    answer *= np.clip((t - 0.012) / 0.03, 0, 1)[:, None]
    answer = sosfilt(butter(1, 180, "highpass", fs=rate, output="sos"), answer, axis=0)
    answer /= np.sqrt(np.sum(np.square(answer), axis=0))
    for delay_s, left, right in (
        (0.0113, 0.3, 0.15),
        (0.0179, 0.12, 0.28),
        (0.0271, 0.2, 0.1),
        (0.0337, 0.1, 0.2),
    ):
        answer[round(delay_s * rate)] += (left, right)
    return (answer * 10 ** (ROOM_DB / 20)).astype(np.float32)


def in_room(mix: Stereo, rate: int, seed: int) -> Stereo:
    """The mix with what the room answers to it."""
    from scipy.signal import oaconvolve

    answer = room(rate, seed)
    send = mix.mean(axis=1)
    for channel in range(2):
        mix[:, channel] += oaconvolve(send, answer[:, channel])[: len(mix)]
    return mix


def without_offset(mix: Stereo, rate: int) -> Stereo:
    """The mix without what lies below 20 Hz."""
    from scipy.signal import butter, sosfilt

    sections = butter(2, 20, "highpass", fs=rate, output="sos")
    return sosfilt(sections, mix, axis=0).astype(np.float32)

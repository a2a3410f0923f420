"""A score through a SoundFont that the user has: recorded instruments in place of the built-in ones.

No SoundFont comes with this program. It is played by TinySoundFont through tinysoundfont (MIT), which reads
SF2, SF3 and SFO; the sound is then brought to the same loudness as the built-in one.
"""

from __future__ import annotations

import math
import struct
from pathlib import Path
from typing import Any

import numpy as np

from tokenloom.sound.audio import needed
from tokenloom.sound.levels import mastered
from tokenloom.sound.score import Score, Track
from tokenloom.sound.synth import CEILING_DB, LOUDNESS, TAIL_S, Clock, Stereo, check, without_offset

MARK = (b"RIFF", b"sfbk")
MOST_BYTES = 2 << 30
PIECE = 1 << 16
VOICES = 512
DRUM_BANK = 128
HEADROOM_DB = -12.0

Event = tuple[int, bool, int, int]
"""(sample, whether it begins, pitch, velocity): at one sample, ends come first."""


def render_with(score: Score, font: Path | str, rate: int = 44_100) -> Stereo:
    """The sound of a score played by a SoundFont, (samples, 2) float32, as `synth.render` gives it.

    ValueError for a file that is no SoundFont, an instrument that it lacks, a missing package, and all that
    `synth.render` refuses.
    """
    check(score, rate)
    name, data = Path(font).name, _font(Path(font))
    # The package asks for PyAudio, a sound device's library, which playing into memory does not need.
    player = needed("tinysoundfont", "playing a SoundFont", "--no-deps tinysoundfont")
    synth = player.Synth(gain=HEADROOM_DB, samplerate=rate)
    try:
        loaded = synth.sfload(data, max_voices=VOICES)
    except (RuntimeError, player.SoundFontException) as error:
        raise ValueError(f"{name}: this SoundFont cannot be read ({error})") from error
    mix = np.zeros((math.ceil((score.seconds + TAIL_S) * rate), 2), np.float32)
    for track in score.tracks:
        if track.notes:
            bank, preset = _preset(synth, loaded, track, name)
            synth.program_select(0, loaded, bank, preset, track.drums)
            _play(synth, mix, _events(track, Clock(score, rate)))
    if not mix.any():
        raise ValueError(f"{name}: this SoundFont is silent for every note of the score")
    fade = min(len(mix), round(0.25 * rate))
    mix[len(mix) - fade :] *= np.linspace(1, 0, fade, dtype=np.float32)[:, None] ** 2
    return mastered(without_offset(mix, rate), rate, LOUDNESS, CEILING_DB)


def _font(path: Path) -> bytes:
    if not path.is_file():
        raise ValueError(
            f"{path}: there is no such SoundFont; give an .sf2 file, such as that of Debian's package "
            "timgm6mb-soundfont, or leave it out for the built-in instruments"
        )
    if path.stat().st_size > MOST_BYTES:
        raise ValueError(f"{path.name}: {path.stat().st_size} bytes; at most {MOST_BYTES} are read")
    data = path.read_bytes()
    if (data[:4], data[8:12]) != MARK:
        raise ValueError(f"{path.name}: it is no SoundFont: it does not begin with RIFF and sfbk")
    if struct.unpack_from("<I", data, 4)[0] + 8 > len(data) + 1:
        raise ValueError(f"{path.name}: this SoundFont is cut off")
    return data


def _preset(synth: Any, loaded: int, track: Track, name: str) -> tuple[int, int]:
    """(bank, preset) of a track's instrument; drums that have no kit of their program take the first kit."""
    bank = DRUM_BANK if track.drums else 0
    for preset in (track.program, 0) if track.drums else (track.program,):
        if synth.sfpreset_name(loaded, bank, preset) is not None:
            return bank, preset
    what = "drums" if track.drums else f"instrument for program {track.program}"
    raise ValueError(f"{name}: this SoundFont has no {what}")


def _events(track: Track, clock: Clock) -> list[Event]:
    """Beginnings and ends; a note that another of its pitch interrupts ends where that one begins."""
    events: list[Event] = []
    latest: dict[int, int] = {}
    for note in reversed(track.notes):
        start = clock.at(note.start)
        stop = max(start + 1, min(clock.at(note.stop), latest.get(note.pitch, 1 << 62)))
        latest[note.pitch] = start
        events += [(start, True, note.pitch, note.velocity), (stop, False, note.pitch, 0)]
    return sorted(events)


def _play(synth: Any, mix: Stereo, events: list[Event]) -> None:
    """Adds a track to the mix."""
    at = 0
    for sample, begins, pitch, velocity in [*events, (len(mix), False, 0, 0)]:
        while at < sample:
            size = min(sample - at, PIECE)
            played = np.frombuffer(synth.generate_simple(size), np.float32).reshape(-1, 2)
            mix[at : at + size] += played
            at += size
        if begins:
            synth.noteon(0, pitch, velocity)
        elif at < len(mix):
            synth.noteoff(0, pitch)
    synth.sounds_off(0)

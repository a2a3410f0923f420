"""MIDI files to scores and back, on the grid of twelve ticks to a quarter.

Reading takes every type (0, 1, 2), running status and SMPTE time, makes a track of each channel that plays
in a track, and rounds times to the grid. Writing gives type 1: a first track with title, metres, keys and
tempos, then one for each of the score's. Not kept: controllers, pitch bend, pressure, lyrics. mido parses the
bytes: it is plain Python, so a damaged file raises and cannot crash; symusic reads large files faster, but
writes no title or text and refuses SMPTE time.
Source: MIDI 1.0, Standard MIDI Files (RP-001); a pickup is a first bar of its own metre, as notation programs
write it.
"""

from __future__ import annotations

import io
import struct
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

from tokenloom.sound.keys import MODES, fifths_of, tonic_of
from tokenloom.sound.score import LONGEST, TICKS, WHOLE, Metre, Note, Score, Track, bar_ticks, needed_metres

LARGEST = 4_000_000
"""Bytes of a MIDI file at most: about an hour of a full orchestra."""
DRUMS = 9
"""The channel of drums, counted from 0."""
_CHANNELS = [channel for channel in range(16) if channel != DRUMS]
_MAJORS = {fifths: tonic_of(fifths, "major") for fifths in range(-7, 8)}
_MINORS = {fifths: tonic_of(fifths, "minor") + "m" for fifths in range(-7, 8)}
_KIND, _MODE = "kind: ", "mode: "
"""Heads of the texts that keep a score's kind, and a mode other than major and minor."""


@dataclass
class _File:
    """What is gathered from all tracks, times in ticks of the grid."""

    metres: dict[int, tuple[int, int]] = field(default_factory=dict)
    keys: dict[int, tuple[str, str]] = field(default_factory=dict)
    tempos: dict[int, float] = field(default_factory=dict)
    modes: dict[int, str] = field(default_factory=dict)
    title: str = ""
    kind: str = ""
    tracks: list[Track] = field(default_factory=list)


def read_midi(source: Path | str | bytes) -> Score:
    """A MIDI file or its bytes as a score. ValueError says what is wrong with one that cannot be read."""
    data = source if isinstance(source, bytes) else _bytes(Path(source))
    name = "the MIDI data" if isinstance(source, bytes) else f"{source}"
    _check(data, name)
    import mido

    try:
        parsed = mido.MidiFile(file=io.BytesIO(data), clip=True)
    except (
        EOFError,
        OSError,
        ValueError,
        LookupError,
        TypeError,
        struct.error,
        mido.KeySignatureError,
    ) as error:
        raise ValueError(f"{name} is a damaged MIDI file: {error or 'it ends too soon'}") from error
    return _score(parsed)


def _bytes(path: Path) -> bytes:
    if path.stat().st_size > LARGEST:
        raise ValueError(f"{path} has {path.stat().st_size} bytes; a MIDI file of at most {LARGEST} is read")
    return path.read_bytes()


def _check(data: bytes, name: str) -> None:
    """The header and the lengths of the chunks, so that what is wrong is said in words."""
    if len(data) > LARGEST:
        raise ValueError(f"{name} has {len(data)} bytes; a MIDI file of at most {LARGEST} is read")
    if not data:
        raise ValueError(f"{name} is empty, no MIDI file")
    if not data.startswith(b"MThd"):
        raise ValueError(f"{name} is no MIDI file: it begins with {data[:4]!r}, not with b'MThd'")
    if len(data) < 14:
        raise ValueError(f"{name} is a truncated MIDI file: {len(data)} bytes, its header alone has 14")
    kind, tracks, division = struct.unpack(">HHH", data[8:14])
    if kind > 2:
        raise ValueError(f"{name} is a MIDI file of type {kind}; allowed are 0, 1 and 2")
    if not tracks:
        raise ValueError(f"{name} is a MIDI file of no tracks")
    if not division or (division & 0x8000 and not division & 0xFF):
        raise ValueError(f"{name} is a MIDI file whose time unit (division) is 0")
    at = 8 + int.from_bytes(data[4:8])
    found = 0
    while found < tracks:
        if at + 8 > len(data):
            raise ValueError(f"{name} is a truncated MIDI file: {found} of its {tracks} tracks are there")
        size = int.from_bytes(data[at + 4 : at + 8])
        if at + 8 + size > len(data):
            missing = at + 8 + size - len(data)
            raise ValueError(
                f"{name} is a truncated MIDI file: {missing} bytes of track {found + 1} are missing"
            )
        found += data[at : at + 4] == b"MTrk"
        at += 8 + size


def _score(parsed: Any) -> Score:
    division = parsed.ticks_per_beat
    if division < 0:  # SMPTE: frames a second and ticks a frame; half a second is a quarter note at 120
        frames, ticks = -(division >> 8), division & 0xFF
        division = Fraction(30000 if frames == 29 else frames * 1000, 1000) * ticks / 2
    file = _File()
    start = 0
    for place, messages in enumerate(parsed.tracks):
        end = _read_track(messages, Fraction(TICKS) / division, file, place, start)
        if parsed.type == 2:  # patterns that follow one another
            start = -(-end // TICKS) * TICKS
    metres, pickup = _metres(file.metres)
    keys = []
    for tick, (tonic, mode) in sorted(file.keys.items()):
        named = file.modes.get(tick, mode)
        keys.append((tick, tonic if named == mode else tonic_of(fifths_of(tonic, mode), named), named))
    return Score(
        tuple(file.tracks),
        metres,
        tuple(_changes(keys)),
        tuple(_changes([(tick, tempo) for tick, tempo in sorted(file.tempos.items())])),
        pickup,
        file.title,
        file.kind,
    )


def _changes(events: list[Any]) -> Iterable[Any]:
    last = None
    for event in events:
        if event[1:] != last:
            yield event
        last = event[1:]


def _read_track(messages: Any, scale: Fraction, file: _File, place: int, start: int) -> int:
    """One track's notes by channel, and its metas, onto the file; the tick of its end."""
    time = 0
    sounding: dict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
    notes: dict[int, list[Note]] = {}
    programs: dict[int, int] = {}
    name = ""
    top = scale.numerator
    bottom = 2 * scale.denominator
    tick = start
    for message in messages:
        time += message.time
        tick = start + (2 * time * top + scale.denominator) // bottom  # to the nearest, halves up
        if tick > LONGEST:
            raise ValueError(f"track {place + 1} is damaged: an event at quarter note {tick // TICKS}")
        if message.type in ("note_on", "note_off"):
            key = message.channel, message.note
            if message.type == "note_on" and message.velocity:
                notes.setdefault(message.channel, [])
                sounding[key].append((tick, message.velocity))
            elif held := sounding.get(key):
                begin, velocity = held.pop(0)
                notes[message.channel].append(Note(begin, max(tick - begin, 1), message.note, velocity))
        elif message.type == "program_change":
            programs.setdefault(message.channel, message.program)
        elif message.type == "track_name" and not name:
            name = _text(message.name)
        elif message.is_meta:
            _read_meta(message, tick, file)
    for (channel, pitch), held in sounding.items():  # notes that are never ended end with the track
        notes[channel] += [Note(begin, max(tick - begin, 1), pitch, velocity) for begin, velocity in held]
    for channel, played in sorted(notes.items()):
        program = programs.get(channel, 0)
        file.tracks.append(Track(tuple(played), program, channel == DRUMS, name))
    if not notes and not programs and place == 0:
        file.title = name
    elif not notes and programs:
        channel, program = next(iter(programs.items()))
        file.tracks.append(Track((), program, channel == DRUMS, name))
    return tick


def _text(text: str) -> str:
    data = text.encode("latin-1")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return text


def _read_meta(message: Any, tick: int, file: _File) -> None:
    if message.type == "set_tempo" and message.tempo:
        file.tempos[tick] = min(max(round(60_000_000 / message.tempo, 3), 1.0), 1000.0)
    elif message.type == "time_signature":
        beats, unit = message.numerator, message.denominator
        if 1 <= beats <= 128 and unit <= 64 and WHOLE * beats % unit == 0:
            file.metres[tick] = beats, unit
    elif message.type == "key_signature":
        minor = message.key.endswith("m")
        file.keys[tick] = message.key.removesuffix("m"), "minor" if minor else "major"
    elif message.type == "text":
        text = _text(message.text)
        if text.startswith(_KIND):
            file.kind = file.kind or text.removeprefix(_KIND)
        elif text.startswith(_MODE) and text.removeprefix(_MODE) in MODES:
            file.modes[tick] = text.removeprefix(_MODE)


def _metres(found: dict[int, tuple[int, int]]) -> tuple[tuple[Metre, ...], int]:
    """Metres that change something, and the pickup that a short first one stands for."""
    events = sorted((tick, *metre) for tick, metre in found.items())
    if not events or events[0][0] > 0:
        events.insert(0, (0, 4, 4))
    pickup = 0
    if len(events) > 1:
        (_, *first), (at, beats, unit) = events[:2]
        if at < bar_ticks(beats, unit) and at <= bar_ticks(*first):
            events[:2] = [(0, beats, unit)]
            pickup = at
    return needed_metres(events, pickup), pickup


def write_midi(score: Score) -> bytes:
    """The score as a MIDI file of type 1 with 12 ticks to a quarter. read_midi gives it back.

    ValueError for more than 15 programs at once: MIDI has sixteen channels, one of them the drums'.
    """
    import mido

    file = mido.MidiFile(type=1, ticks_per_beat=TICKS, charset="utf-8")
    file.tracks.append(_conductor(score, mido))
    for track, channel in zip(score.tracks, _assigned(score.tracks), strict=True):
        events: list[tuple[int, int, Any]] = [
            (0, 0, mido.Message("program_change", channel=channel, program=track.program))
        ]
        if track.name:
            events.append((0, 0, mido.MetaMessage("track_name", name=track.name)))
        for note in track.notes:
            on = mido.Message("note_on", channel=channel, note=note.pitch, velocity=note.velocity)
            off = mido.Message("note_off", channel=channel, note=note.pitch, velocity=0)
            events += [(note.start, 2, on), (note.stop, 1, off)]
        file.tracks.append(_timed(events, mido))
    out = io.BytesIO()
    file.save(file=out)
    return out.getvalue()


def _assigned(tracks: Iterable[Track]) -> list[int]:
    """A channel for each track: its own while there are some, then one with the same program."""
    tracks = list(tracks)
    melodic = [track for track in tracks if not track.drums]
    if len(melodic) <= len(_CHANNELS):
        free = iter(_CHANNELS)
        return [DRUMS if track.drums else next(free) for track in tracks]
    programs = list(dict.fromkeys(track.program for track in melodic))
    if len(programs) > len(_CHANNELS):
        raise ValueError(
            f"tracks: {len(programs)} programs at once; MIDI has {len(_CHANNELS)} channels for them"
        )
    return [DRUMS if track.drums else _CHANNELS[programs.index(track.program)] for track in tracks]


def _conductor(score: Score, mido: Any) -> Any:
    events: list[tuple[int, int, Any]] = []
    if score.title:
        events.append((0, 0, mido.MetaMessage("track_name", name=score.title)))
    if score.kind:
        events.append((0, 0, mido.MetaMessage("text", text=_KIND + score.kind)))
    metres = list(score.metres)
    if score.pickup:
        short = next((unit for unit in (4, 8, 16) if score.pickup % (WHOLE // unit) == 0), 0)
        first = (score.pickup * short // WHOLE, short) if short else metres[0][1:]
        metres[:1] = [(0, *first), (score.pickup, *metres[0][1:])]
    for tick, beats, unit in metres:
        sign = mido.MetaMessage("time_signature", numerator=beats, denominator=unit)
        events.append((tick, 0, sign))
    for tick, tonic, mode in score.keys:
        fifths = fifths_of(tonic, mode)
        if mode not in ("major", "minor"):
            events.append((tick, 0, mido.MetaMessage("text", text=_MODE + mode)))
        name = _MINORS[fifths] if mode == "minor" else _MAJORS[fifths]
        events.append((tick, 0, mido.MetaMessage("key_signature", key=name)))
    for tick, tempo in score.tempos:
        events.append(
            (tick, 0, mido.MetaMessage("set_tempo", tempo=min(round(60_000_000 / tempo), 0xFFFFFF)))
        )
    return _timed(events, mido)


def _timed(events: list[tuple[int, int, Any]], mido: Any) -> Any:
    """A track of messages with the times between them; what ends comes before what begins."""
    track = mido.MidiTrack()
    now = 0
    for tick, _, message in sorted(events, key=lambda event: event[:2]):
        track.append(message.copy(time=tick - now))
        now = tick
    track.append(mido.MetaMessage("end_of_track", time=0))
    return track

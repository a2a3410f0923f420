"""Events taken one by one: where in which bar one is, and the notes that come of them.

Not which events may be chosen when a model composes (music_grammar.py), and not ids (music.py). The order:

    head    kind metre mode tonic tempo bars [program of each track, where it is not one piano]
    a bar   bar | short    [metre] [mode tonic] [tempo]    [track] notes ...
    a note  [place] [duration] [velocity] pitch

A note begins where the one before it ended, unless a place is said; it is as long and as loud as the one
before it, unless a duration or velocity is said. So a note of a running melody is one event, and every score
has exactly one spelling. With one track a bar is full: a rest at its end is the place of its end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tokenloom.sound.score import Note, bar_ticks
from tokenloom.tokens.music_events import meaning, number, tonics_of

HEAD = ("kind", "metre", "mode", "tonic", "tempo", "bars")
LOUD = 80
"""The velocity of notes until one is said."""
_NONE = (-1, -1)
_SAYS_MORE = ("duration", "velocity")
"""After these a note is still to come."""


@dataclass(frozen=True)
class Head:
    """What stands before the bars."""

    kind: str
    metre: tuple[int, int]
    mode: str
    tonic: str
    tempo: int | None
    bars: int
    """Whole bars; 0 where there are more than 64."""

    @property
    def events(self) -> list[int]:
        tempo = "" if self.tempo is None else self.tempo
        values = (self.kind, self.metre, self.mode, self.tonic, tempo, self.bars)
        return [number(name, value) for name, value in zip(HEAD, values, strict=True)]

    @staticmethod
    def of(events: Sequence[int]) -> Head:
        """ValueError unless they are a head's."""
        found = [meaning(event) for event in events]
        if tuple(name for name, _ in found) != HEAD:
            names = ", ".join(name for name, _ in found)
            raise ValueError(f"head: found {names or 'nothing'}; allowed: {', '.join(HEAD)}")
        values: dict[str, Any] = dict(found)
        if values["tonic"] not in tonics_of(values["mode"]):
            key = f"{values['tonic']!r} {values['mode']!r}"
            raise ValueError(f"head: found the key {key}; allowed: a tonic of that mode, or neither")
        return Head(**{**values, "tempo": values["tempo"] or None})


@dataclass
class Voice:
    """Where one track is."""

    cursor: int = 0
    """Ticks of the bar that are said."""
    duration: int = 0
    velocity: int = LOUD
    last: tuple[int, int] = _NONE
    """Start within the bar and pitch of the bar's last note."""


@dataclass
class Walk:
    """State while events come; `take` changes it and collects the notes."""

    length: int
    """Ticks of a whole bar."""
    pitch_class: int = 0
    """Of the tonic."""
    n_tracks: int = 1
    start: int = 0
    """Tick at which the bar begins."""
    bar: int = -1
    """Bars begun before this one; -1 before the first."""
    ticks: int = 0
    """Of this bar."""
    short: bool = False
    """This bar is a pickup, or an irregular one."""
    sounded: bool = False
    """A note sounds in this bar."""
    hidden: bool = False
    """This bar's notes are not shown."""
    said: str = ""
    """The last event's group."""
    track: int = 0
    voices: list[Voice] = field(default_factory=list)
    notes: list[list[Note]] = field(default_factory=list)
    """By track."""
    metres: list[tuple[int, int, int]] = field(default_factory=list)
    keys: list[tuple[int, str, str]] = field(default_factory=list)
    tempos: list[tuple[int, float]] = field(default_factory=list)
    pickup: int = 0
    shorts: list[int] = field(default_factory=list)
    """Ticks at which an irregular bar ends."""

    def __post_init__(self) -> None:
        self.voices = [Voice() for _ in range(self.n_tracks)]
        self.notes = [[] for _ in range(self.n_tracks)]

    @property
    def voice(self) -> Voice:
        return self.voices[self.track]

    @property
    def full(self) -> bool:
        """Nothing is left to say of this bar, with one track."""
        return self.bar < 0 or self.hidden or self.voice.cursor >= self.ticks

    def take(self, event: int) -> None:
        """ValueError for an event that cannot stand here; the walk is of no use afterwards."""
        name, value = meaning(event)
        found: Any = value
        match name:
            case "bar":
                self._begin(self.length)
            case "short":
                self._short(found)
            case "hidden":
                self._hide()
            case "metre" | "mode" | "tonic" | "tempo":
                self._change(name, found)
            case "track":
                self._switch(found)
            case "place":
                self._move(found)
            case "duration":
                self._say("duration", found, _SAYS_MORE)
            case "velocity":
                self._say("velocity", found, ("velocity",))
            case "pitch":
                self._sound(found + self.pitch_class)
            case _:
                raise self._wrong(name)
        self.said = name

    def end(self) -> None:
        """ValueError unless the last bar is whole."""
        self._close("the end")

    def forget(self) -> None:
        """What comes next says its duration and velocity anew: it stands beside what is not shown."""
        for voice in self.voices:
            voice.duration, voice.velocity = 0, LOUD

    def _wrong(self, what: str) -> ValueError:
        return ValueError(f"events: found {what} after {self.said or 'the head'}, in bar {self.bar + 1}")

    def _close(self, what: str) -> None:
        if self.short and self.ticks >= self.length:
            raise ValueError(f"events: a short bar of {self.ticks} ticks; allowed: 1 to {self.length - 1}")
        if self.said in _SAYS_MORE or (self.said == "place" and self.n_tracks > 1):
            raise self._wrong(what)
        if self.n_tracks == 1 and not self.full:
            raise ValueError(
                f"events: bar {self.bar + 1} is said up to tick {self.voice.cursor} of {self.ticks}"
            )

    def _begin(self, ticks: int) -> None:
        self._close("a bar")
        self.short = False
        for voice in self.voices:
            voice.cursor = 0 if self.hidden else max(0, voice.cursor - self.ticks)
            voice.last = _NONE
        self.start += self.ticks
        self.ticks = ticks
        self.bar += 1
        self.track = 0
        self.hidden = False
        self.sounded = any(voice.cursor for voice in self.voices)

    def _short(self, ticks: int) -> None:
        self._begin(ticks)
        self.short = True
        if self.bar:
            self.shorts.append(self.start + ticks)
        else:
            self.pickup = ticks

    def _hide(self) -> None:
        if self.said not in ("bar", "short"):
            raise self._wrong("hidden")
        self.hidden = True
        self.forget()

    def _change(self, name: str, value: Any) -> None:
        if self.bar < 0 or self.said not in ("bar", "short", "metre", "mode", "tonic", "tempo"):
            raise self._wrong(name)
        if (name == "tonic") != (self.said == "mode"):
            raise self._wrong(name)
        if name == "metre":
            self.length = bar_ticks(*value)
            self.ticks = self.ticks if self.short else self.length
            self.metres.append((self.start, *value))
        elif name == "mode":
            self.keys.append((self.start, "", value))
        elif name == "tonic":
            mode = self.keys.pop()[2]
            if not value or value not in tonics_of(mode):
                raise self._wrong(f"the key {value!r} {mode!r}")
            self.keys.append((self.start, value, mode))
        else:
            if not value:
                raise self._wrong("no tempo")
            self.tempos.append((self.start, float(value)))

    def _may_sound(self, what: str) -> Voice:
        voice = self.voice
        if self.bar < 0 or self.hidden or self.said == "mode":
            raise self._wrong(what)
        return voice

    def _switch(self, track: int) -> None:
        self._may_sound("track")
        if track >= self.n_tracks or self.n_tracks == 1 or self.said in ("place", *_SAYS_MORE):
            raise self._wrong(f"track {track} of {self.n_tracks}")
        self.track = track

    def _move(self, place: int) -> None:
        voice = self._may_sound("place")
        if self.said in ("place", *_SAYS_MORE):
            raise self._wrong("place")
        if place == voice.cursor or place > self.ticks or place < voice.last[0]:
            raise ValueError(f"events: place {place} after {voice.cursor} in a bar of {self.ticks} ticks")
        voice.cursor = place

    def _say(self, name: str, value: int, after: tuple[str, ...]) -> None:
        voice = self._may_sound(name)
        if voice.cursor >= self.ticks or self.said in after or getattr(voice, name) == value:
            raise self._wrong(f"{name} {value}")
        setattr(voice, name, value)

    def _sound(self, pitch: int) -> None:
        voice = self._may_sound("pitch")
        if not voice.duration or not 0 <= pitch <= 127 or voice.cursor >= self.ticks:
            raise self._wrong(f"pitch {pitch} of {voice.duration} ticks at {voice.cursor} of {self.ticks}")
        if (voice.cursor, pitch) <= voice.last:
            raise self._wrong(f"pitch {pitch} at {voice.cursor}")
        note = Note(self.start + voice.cursor, voice.duration, pitch, voice.velocity)
        self.notes[self.track].append(note)
        voice.last = voice.cursor, pitch
        voice.cursor += voice.duration
        self.sounded = True

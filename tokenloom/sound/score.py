"""A score: notes on a grid of ticks, with metres, keys and tempos. What every music file becomes here.

Not a page: no stems, slurs, dynamics or words; a slurred or ornamented note is a note. Not a recording:
times are whole ticks, twelve to a quarter note, which holds sixteenths and triplets of eighths exactly.
Bars follow from `metres` and `pickup`: a metre begins a bar at its tick, so one that is said anew where the
grid would have no bar line marks an irregular bar before it, as tunes written by hand have them.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tokenloom.sound.keys import fifths_of, moved

TICKS = 12
"""Ticks of a quarter note: sixteenths (3) and triplets of eighths (4) are whole."""
WHOLE = 4 * TICKS
BPM = 120.0
"""Quarter notes a minute where a score says none, as MIDI has it."""
LONGEST = 10_000_000
"""Ticks of a score at most: five days at 120 quarter notes a minute. Past it a file is damaged."""

Metre = tuple[int, int, int]
"""(tick, beats, unit): 6, 8 for six eighths in a bar."""
Key = tuple[int, str, str]
"""(tick, tonic, mode): "Bb", "dorian"."""
Tempo = tuple[int, float]
"""(tick, quarter notes a minute)."""


@dataclass(frozen=True, slots=True)
class Note:
    """Start and duration in ticks, a MIDI pitch (60 is middle C) and a velocity of 1 to 127."""

    start: int
    duration: int
    pitch: int
    velocity: int = 80

    def __post_init__(self) -> None:
        if not 0 <= self.start <= LONGEST:
            raise ValueError(f"start {self.start}: allowed are 0 to {LONGEST} ticks")
        if not 1 <= self.duration <= LONGEST:
            raise ValueError(f"duration {self.duration}: allowed are 1 to {LONGEST} ticks")
        if not 0 <= self.pitch <= 127:
            raise ValueError(f"pitch {self.pitch}: allowed are 0 to 127")
        if not 1 <= self.velocity <= 127:
            raise ValueError(f"velocity {self.velocity}: allowed are 1 to 127")

    @property
    def stop(self) -> int:
        """The tick at which it ends."""
        return self.start + self.duration


def _order(note: Note) -> tuple[int, int, int, int]:
    return note.start, note.pitch, note.duration, note.velocity


@dataclass(frozen=True)
class Track:
    """Notes of one instrument, kept in order of start, then pitch. `program` is General MIDI's, from 0."""

    notes: tuple[Note, ...] = ()
    program: int = 0
    drums: bool = False
    name: str = ""

    def __post_init__(self) -> None:
        if not 0 <= self.program <= 127:
            raise ValueError(f"program {self.program}: allowed are 0 to 127")
        object.__setattr__(self, "notes", tuple(sorted(self.notes, key=_order)))


@dataclass(frozen=True)
class Score:
    """Tracks under common metres, keys and tempos.

    `keys` and `tempos` may be empty: the source says none. `pickup` is the ticks before the first whole bar,
    less than a bar. `kind` is the sort of piece (reel, jig, air), as its source names it, in lower case.
    """

    tracks: tuple[Track, ...]
    metres: tuple[Metre, ...] = ((0, 4, 4),)
    keys: tuple[Key, ...] = ()
    tempos: tuple[Tempo, ...] = ()
    pickup: int = 0
    title: str = ""
    kind: str = ""

    def __post_init__(self) -> None:
        if not self.metres or self.metres[0][0] != 0:
            raise ValueError(f"metres {self.metres[:1]}: the first must stand at tick 0")
        for tick, beats, unit in self.metres:
            bar_ticks(beats, unit)
            if tick and tick <= self.pickup:
                raise ValueError(f"metres: one at tick {tick} lies within the pickup of {self.pickup} ticks")
        if not 0 <= self.pickup < bar_ticks(*self.metres[0][1:]):
            raise ValueError(
                f"pickup {self.pickup}: allowed are 0 to less than a bar of {self.metres[0][1:]}"
            )
        for _, tonic, mode in self.keys:
            fifths_of(tonic, mode)
        for _, tempo in self.tempos:
            if not 1 <= tempo <= 1000:
                raise ValueError(f"tempos: {tempo} quarter notes a minute; allowed are 1 to 1000")
        for name in ("metres", "keys", "tempos"):
            ticks = [event[0] for event in getattr(self, name)]
            if any(tick < 0 for tick in ticks) or any(b <= a for a, b in itertools.pairwise(ticks)):
                raise ValueError(f"{name}: ticks must rise from 0 up, found {ticks[:8]}")

    @property
    def length(self) -> int:
        """The tick at which the last note ends; 0 without notes."""
        return max((note.stop for track in self.tracks for note in track.notes), default=0)

    @property
    def bars(self) -> tuple[tuple[int, int], ...]:
        """(start, stop) of every bar up to the end of the last note, the pickup first where there is one."""
        return tuple(_bars(self.metres, self.pickup, self.length))

    @property
    def seconds(self) -> float:
        """How long it sounds at its tempos."""
        return seconds_at(self, self.length)


def bar_ticks(beats: int, unit: int) -> int:
    """Ticks of a bar. ValueError for a metre that is none or does not fall on the grid."""
    if unit not in (1, 2, 4, 8, 16, 32, 64) or not 1 <= beats <= 128:
        raise ValueError(f"metre {beats}/{unit}: allowed are 1 to 128 over 1, 2, 4, 8, 16, 32 or 64")
    if WHOLE * beats % unit:
        raise ValueError(f"metre {beats}/{unit} does not fall on the grid of {TICKS} ticks to a quarter note")
    return WHOLE * beats // unit


def needed_metres(metres: Iterable[Metre], pickup: int) -> tuple[Metre, ...]:
    """Metres in order, without those that say again what is in force where a bar begins anyway."""
    kept: list[Metre] = []
    for metre in metres:
        begin = kept[-1][0] if len(kept) > 1 else pickup
        if not kept or metre[1:] != kept[-1][1:] or (metre[0] - begin) % bar_ticks(*metre[1:]):
            kept.append(metre)
    return tuple(kept)


def _bars(metres: Sequence[Metre], pickup: int, length: int) -> Iterable[tuple[int, int]]:
    start = 0
    if pickup and length:
        yield 0, pickup
        start = pickup
    for place, (_, beats, unit) in enumerate(metres):
        size = bar_ticks(beats, unit)
        last = metres[place + 1][0] if place + 1 < len(metres) else None
        while start < length and (last is None or start < last):
            stop = start + size if last is None else min(start + size, last)
            yield start, stop
            start = stop


def seconds_at(score: Score, tick: int) -> float:
    """Seconds from the beginning to a tick."""
    total, since, tempo = 0.0, 0, BPM
    for at, value in score.tempos:
        if at >= tick:
            break
        total += (at - since) * 60 / (tempo * TICKS)
        since, tempo = at, value
    return total + (tick - since) * 60 / (tempo * TICKS)


def transposed(score: Score, semitones: int) -> Score:
    """Every pitch so many semitones higher, drums as they were; keys move too, spelled with few accidentals.

    ValueError where a note would leave MIDI's 0 to 127.
    """
    tracks = tuple(
        track if track.drums else replace(track, notes=tuple(_higher(n, semitones) for n in track.notes))
        for track in score.tracks
    )
    keys = tuple((tick, moved(tonic, mode, semitones), mode) for tick, tonic, mode in score.keys)
    return replace(score, tracks=tracks, keys=keys)


def _higher(note: Note, semitones: int) -> Note:
    return Note(note.start, note.duration, note.pitch + semitones, note.velocity)


def quantised(score: Score, parts: Sequence[int] = (4, 3)) -> Score:
    """Starts and ends moved to the nearest of the places that cut a quarter note in so many parts.

    The default allows sixteenths and triplets of eighths; (2,) eighths alone. A note keeps at least one step,
    and notes of a pitch that then begin together become one, the longest. Parts must divide 12.
    """
    if not parts or any(part < 1 or TICKS % part for part in parts):
        raise ValueError(f"parts {tuple(parts)}: allowed are divisors of {TICKS}")
    places = [*sorted({step * (TICKS // part) for part in parts for step in range(part)}), TICKS]
    nearest = [min(places, key=lambda place: abs(place - tick)) for tick in range(TICKS)]
    after = [min(place for place in places if place > tick) for tick in range(TICKS)]

    def snapped(tick: int) -> int:
        return tick - tick % TICKS + nearest[tick % TICKS]

    tracks = []
    for track in score.tracks:
        found: dict[tuple[int, int], Note] = {}
        for note in track.notes:
            start = snapped(note.start)
            stop = max(snapped(note.stop), start - start % TICKS + after[start % TICKS])
            longer = Note(start, stop - start, note.pitch, note.velocity)
            other = found.get((start, note.pitch))
            if other is None or other.duration < longer.duration:
                found[start, note.pitch] = longer
        tracks.append(replace(track, notes=tuple(found.values())))
    return replace(score, tracks=tuple(tracks))


def bar_numbers(score: Score) -> range:
    """The numbers of its bars as musicians count: a pickup is bar 0, the first whole bar is bar 1."""
    first = 0 if score.pickup else 1
    return range(first, first + len(score.bars))


def cut(score: Score, first: int, last: int) -> Score:
    """Bars `first` to `last`, both included, counted from 1 (a pickup is bar 0).

    Notes are cut at both edges; the metre, key and tempo in force at the beginning stand at tick 0.
    ValueError names the bars that there are.
    """
    numbers = bar_numbers(score)
    if first not in numbers or last not in numbers or first > last:
        found = f"{numbers[0]} to {numbers[-1]}" if len(numbers) else "none"
        raise ValueError(f"bars {first} to {last}: the score has {found}")
    bars = score.bars
    begin, end = bars[first - numbers[0]][0], bars[last - numbers[0]][1]
    tracks = tuple(replace(track, notes=tuple(_within(track.notes, begin, end))) for track in score.tracks)
    return replace(
        score,
        tracks=tracks,
        metres=_events_within(score.metres, begin, end),
        keys=_events_within(score.keys, begin, end),
        tempos=_events_within(score.tempos, begin, end),
        pickup=score.pickup if begin == 0 and end > score.pickup else 0,
    )


def _within(notes: Iterable[Note], begin: int, end: int) -> Iterable[Note]:
    for note in notes:
        start, stop = max(note.start, begin), min(note.stop, end)
        if start < stop:
            yield Note(start - begin, stop - start, note.pitch, note.velocity)


def _events_within(events: tuple[Any, ...], begin: int, end: int) -> tuple[Any, ...]:
    """Those from `begin` on, moved to start at 0, after the last one before it."""
    earlier = [event for event in events if event[0] <= begin][-1:]
    later = [event for event in events if begin < event[0] < end]
    return tuple((max(event[0] - begin, 0), *event[1:]) for event in [*earlier, *later])


def joined(*scores: Score) -> Score:
    """One after the other, at bar lines; the first gives title and kind, tracks are joined by their place.

    A pickup sounds in the rest at the end of the last bar before it where there is room, else as a short bar.
    """
    if not scores:
        raise ValueError("joined: no score given")
    whole = scores[0]
    for score in scores[1:]:
        whole = _followed(whole, score)
    return whole


def _followed(score: Score, other: Score) -> Score:
    end = score.bars[-1][1] if score.bars else 0
    start = end - other.pickup if score.length <= end - other.pickup else end
    line = start + other.pickup  # where the other's first whole bar begins
    metres = [*score.metres]
    if line != end or other.metres[0][1:] != metres[-1][1:]:
        metres.append((line, *other.metres[0][1:]))
    metres += [(start + tick, beats, unit) for tick, beats, unit in other.metres[1:]]
    tracks = []
    for place in range(max(len(score.tracks), len(other.tracks))):
        mine = score.tracks[place] if place < len(score.tracks) else None
        new = other.tracks[place] if place < len(other.tracks) else Track()
        notes = tuple(Note(n.start + start, n.duration, n.pitch, n.velocity) for n in new.notes)
        tracks.append(replace(new, notes=notes) if mine is None else replace(mine, notes=mine.notes + notes))
    return replace(
        score,
        tracks=tuple(tracks),
        metres=tuple(metres) if score.bars else other.metres,
        pickup=score.pickup if score.bars else other.pickup,
        keys=_appended(score.keys, other.keys, start),
        tempos=_appended(score.tempos, other.tempos, start),
    )


def _appended(events: tuple[Any, ...], others: tuple[Any, ...], start: int) -> tuple[Any, ...]:
    kept = [event for event in events if event[0] < start]
    for event in others:
        if not kept or kept[-1][1:] != event[1:]:
            kept.append((event[0] + start, *event[1:]))
    return tuple(kept)


def merged(*scores: Score) -> Score:
    """All sounding together from tick 0: every track, under the first one's metres, keys and tempos."""
    if not scores:
        raise ValueError("merged: no score given")
    return replace(scores[0], tracks=tuple(track for score in scores for track in score.tracks))

"""A score <-> its events, bar by bar.

Not ids and not layouts (music.py). What events cannot say is settled first, by `snapped`: a tempo or a
velocity becomes the nearest that has an event, a change of tempo or key moves to its bar's beginning, a
note is cut at 96 ticks, titles and names go. A snapped score comes back as it was.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tokenloom.sound.keys import pitch_class
from tokenloom.sound.score import Note, Score, Track, bar_ticks
from tokenloom.tokens.music_events import (
    BARS,
    DRUMS,
    KINDS,
    LONGEST_BAR,
    METRES,
    TEMPOS,
    TRACKS,
    VELOCITIES,
    meaning,
    nearest,
    number,
)
from tokenloom.tokens.music_walk import HEAD, LOUD, Head, Walk


@dataclass(frozen=True)
class Piece:
    """A score's events."""

    head: Head
    programs: tuple[int, ...]
    """Events of the tracks' instruments; none for one piano."""
    bars: tuple[tuple[int, ...], ...]
    """The pickup first, where there is one."""

    @property
    def events(self) -> list[int]:
        return [*self.head.events, *self.programs, *(event for bar in self.bars for event in bar)]


def snapped(score: Score) -> Score:
    """The score as its events say it. ValueError for a metre or a number of tracks that has no events."""
    tracks = [track for track in score.tracks if track.notes]
    if not tracks:
        raise ValueError("score: found no notes; allowed: at least one")
    if len(tracks) > TRACKS:
        raise ValueError(f"score: found {len(tracks)} tracks with notes; allowed: {TRACKS}")
    for _, beats, unit in score.metres:
        if (beats, unit) not in METRES:
            raise ValueError(
                f"metre: found {beats}/{unit}; allowed: bars of at most two whole notes, "
                "1 to 16 over 1, 2, 4, 8 or 16"
            )
    tracks = [_plain(track) for track in tracks]
    score = replace(score, tracks=tuple(tracks))
    bars = score.bars
    pickup, metres = _begun(score.pickup, _metres(score, bars), bars[0][1])
    keys = _at_bars(score.keys, bars)
    tempos = _at_bars([(at, float(nearest(TEMPOS, tempo))) for at, tempo in score.tempos], bars)
    kind = score.kind if score.kind in KINDS else ""
    return Score(score.tracks, metres, keys, tempos, pickup, kind=kind)


def _plain(track: Track) -> Track:
    notes: dict[tuple[int, int], Note] = {}
    for note in track.notes:
        short = Note(
            note.start,
            min(note.duration, LONGEST_BAR),
            note.pitch,
            nearest(VELOCITIES, note.velocity),
        )
        other = notes.get((note.start, note.pitch))
        if other is None or short.duration > other.duration:
            notes[note.start, note.pitch] = short
    return Track(tuple(notes.values()), 0 if track.drums else track.program, track.drums)


def _metres(score: Score, bars: Sequence[tuple[int, int]]) -> list[tuple[int, int, int]]:
    """Those that change something: the metre, or where a bar begins."""
    ends = {stop: stop - start for start, stop in bars}
    starts = {start for start, _ in bars}
    kept = [score.metres[0]]
    for at, beats, unit in score.metres[1:]:
        irregular = at in ends and ends[at] != bar_ticks(*kept[-1][1:])
        if at in starts and ((beats, unit) != kept[-1][1:] or irregular):
            kept.append((at, beats, unit))
    return kept


def _begun(
    pickup: int, metres: list[tuple[int, int, int]], first: int
) -> tuple[int, tuple[tuple[int, int, int], ...]]:
    """An irregular first bar is a pickup of the metre after it, where it is shorter.

    first: ticks of the first bar. ValueError where it is neither that nor a bar of any metre.
    """
    if pickup or len(metres) == 1 or first == bar_ticks(*metres[0][1:]):
        return pickup, tuple(metres)
    then = metres[1]
    if first < bar_ticks(*then[1:]):
        return first, ((0, *then[1:]), *metres[2:])
    for beats, unit in METRES:
        if bar_ticks(beats, unit) == first:
            return 0, ((0, beats, unit), *metres[1:])
    raise ValueError(f"score: found a first bar of {first} ticks; allowed: a pickup, or a bar of some metre")


def _at_bars(events: Iterable[tuple[Any, ...]], bars: Sequence[tuple[int, int]]) -> tuple[Any, ...]:
    """Moved to the beginning of their bar; of several there the last, and none that changes nothing."""
    found: dict[int, tuple[Any, ...]] = {}
    for at, *values in events:
        for start, stop in bars:
            if start <= at < stop:
                found[start] = (start, *values)
    kept: list[tuple[Any, ...]] = []
    for event in found.values():
        if not kept or kept[-1][1:] != event[1:]:
            kept.append(event)
    return tuple(kept)


def tonic_class(tonic: str) -> int:
    """The pitch class from which pitches are counted; C's where no key is said."""
    return pitch_class(tonic) if tonic else 0


def piece_of(score: Score, forget: Container[int] = ()) -> Piece:
    """The events of a score, which is snapped first.

    forget: places in `bars` whose notes say their durations anew. ValueError as `snapped`.
    """
    score = snapped(score)
    bars = score.bars
    whole = len(bars) - bool(score.pickup)
    key = next((key for key in score.keys if key[0] == 0), (0, "", ""))
    tempo = next((int(tempo) for at, tempo in score.tempos if at == 0), None)
    head = Head(score.kind, score.metres[0][1:], key[2], key[1], tempo, whole if whole <= BARS[-1] else 0)
    programs = tuple(DRUMS if track.drums else track.program for track in score.tracks)
    said = () if programs == (0,) else tuple(number("program", program) for program in programs)
    return Piece(head, said, tuple(_bars(score, bars, forget)))


def _bars(score: Score, bars: Sequence[tuple[int, int]], forget: Container[int]) -> Iterable[tuple[int, ...]]:
    changes = _changes(score)
    length = bar_ticks(*score.metres[0][1:])
    lines = [
        _Line(track.notes, tonic_class(score.keys[0][1] if _keyed(score) else "")) for track in score.tracks
    ]
    for place, (start, stop) in enumerate(bars):
        if place in forget:
            for line in lines:
                line.forget()
        new = [(beats, unit) for at, beats, unit in score.metres[1:] if at == start]
        length = bar_ticks(*new[0]) if new else length
        changed = bool(new) and new[0] != _metre_before(score, start)
        short = stop - start != length
        events = [number("short", stop - start) if short else number("bar")]
        if changed:
            events.append(number("metre", new[0]))
        events += changes.get(start, [])
        for index, line in enumerate(lines):
            said = line.bar(start, stop, filled=len(lines) == 1)
            if said and len(lines) > 1 and index:
                events.append(number("track", index))
            events += said
        yield tuple(events)


def _keyed(score: Score) -> bool:
    return bool(score.keys) and score.keys[0][0] == 0


def _metre_before(score: Score, start: int) -> tuple[int, int]:
    return next((beats, unit) for at, beats, unit in reversed(score.metres) if at < start)


def _changes(score: Score) -> dict[int, list[int]]:
    """By bar: changes of key and tempo after the head's."""
    found: dict[int, list[int]] = {}
    for at, tonic, mode in score.keys:
        if at:
            found.setdefault(at, []).extend([number("mode", mode), number("tonic", tonic)])
    for at, tempo in score.tempos:
        if at:
            found.setdefault(at, []).append(number("tempo", int(tempo)))
    return found


class _Line:
    """The notes of a track, said bar by bar."""

    def __init__(self, notes: Sequence[Note], tonic: int) -> None:
        self.notes, self.tonic = notes, tonic
        self.at = 0
        self.cursor = 0  # a tick of the score, at which the last note ended
        self.forget()

    def forget(self) -> None:
        self.duration, self.velocity = 0, LOUD

    def bar(self, start: int, stop: int, filled: bool) -> list[int]:
        events: list[int] = []
        self.cursor = max(self.cursor, start)
        while self.at < len(self.notes) and self.notes[self.at].start < stop:
            note = self.notes[self.at]
            if note.start != self.cursor:
                events.append(number("place", note.start - start))
            if note.duration != self.duration:
                events.append(number("duration", note.duration))
            if note.velocity != self.velocity:
                events.append(number("velocity", note.velocity))
            events.append(number("pitch", note.pitch - self.tonic))
            self.duration, self.velocity, self.cursor = note.duration, note.velocity, note.stop
            self.at += 1
        if filled and self.cursor < stop:
            events.append(number("place", stop - start))
            self.cursor = stop
        return events


def split(events: Sequence[int]) -> Piece:
    """Events in a row as a piece. ValueError where the head is none; bars are not looked into."""
    head = Head.of(events[: len(HEAD)])
    programs: list[int] = []
    bars: list[list[int]] = []
    for event in events[len(HEAD) :]:
        name = meaning(event)[0]
        if name in ("bar", "short"):
            bars.append([event])
        elif name == "program" and not bars:
            programs.append(event)
        elif bars:
            bars[-1].append(event)
        else:
            raise ValueError(f"events: found {name} before the first bar")
    return Piece(head, tuple(programs), tuple(tuple(bar) for bar in bars))


def walk_of(piece: Piece, forget: Container[int] = ()) -> Walk:
    """A walk that has taken all bars. ValueError where an event cannot stand."""
    head = piece.head
    walk = Walk(bar_ticks(*head.metre), tonic_class(head.tonic), max(1, len(piece.programs)))
    for place, bar in enumerate(piece.bars):
        for at, event in enumerate(bar):
            walk.take(event)
            if not at and place in forget:
                walk.forget()
    return walk


def score_of(piece: Piece, forget: Container[int] = ()) -> Score:
    """The score that events say. ValueError where they are no score's."""
    if not piece.bars:
        raise ValueError("events: found no bar; allowed: at least one")
    walk, head = walk_of(piece, forget), piece.head
    walk.end()
    if walk.hidden or any(number("hidden") in bar for bar in piece.bars):
        raise ValueError("events: found a hidden bar; allowed: bars that are shown")
    programs = [int(str(meaning(event)[1])) for event in piece.programs] or [0]
    tracks = tuple(
        Track(tuple(notes), 0 if program == DRUMS else program, program == DRUMS)
        for notes, program in zip(walk.notes, programs, strict=True)
    )
    metres = {0: (0, *head.metre), **{at: (at, beats, unit) for at, beats, unit in walk.metres}}
    for at in walk.shorts:  # an irregular bar is one after which the metre is said anew
        before = [metre for metre in sorted(metres.values()) if metre[0] <= at][-1]
        metres.setdefault(at, (at, *before[1:]))
    keys = ([(0, head.tonic, head.mode)] if head.mode else []) + walk.keys
    tempos = ([(0, float(head.tempo))] if head.tempo else []) + walk.tempos
    end = max((note.stop for track in tracks for note in track.notes), default=0)
    return Score(
        tracks,
        tuple(metre for metre in sorted(metres.values()) if metre[0] < max(end, 1)),
        tuple(keys),
        tuple(tempos),
        walk.pickup,
        kind=head.kind,
    )

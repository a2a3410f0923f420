"""Folded items of an ABC voice into notes, metres, keys and tempos on the grid: repeats and endings played.

Source: the ABC standard 2.1, sections 4.8 to 4.10. A repeat without a head goes back to the last double bar
or the last repeat's end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from tokenloom.sound.abc_body import Bar, Change, Ending, Item, Sound
from tokenloom.sound.barlines import metres_of
from tokenloom.sound.score import Key, Metre, Note, Tempo

MOST = 1_000_000
"""Items of a voice at most once its repeats are unfolded."""


def unfolded(items: Sequence[Item]) -> list[Item]:
    """The items in the order in which they sound. ValueError where repeats would make too many."""
    out: list[Item] = []
    at = start = 0
    turn, headed, inside = 1, False, False
    while at < len(items):
        item = items[at]
        if len(out) > MOST:
            raise ValueError(f"repeats unfold to more than {MOST} notes and bar lines")
        if isinstance(item, Ending):
            if inside and turn + 1 in item.turns and turn not in item.turns:
                at, turn, inside = start, turn + 1, False  # the ending before it lacks its repeat sign
                continue
            if turn not in item.turns:
                at, ended = _next_ending(items, at, turn)
                if ended:
                    out.append(Bar())
                    start, turn, headed, inside = at, 1, ended.start, False
                continue
            inside = True
        elif isinstance(item, Bar):
            out.append(item)
            if item.again and turn <= max([item.again, *(n - 1 for n in _turns(items, start) if inside)]):
                at, turn, inside = start, turn + 1, False
                continue
            if item.again or item.start or (item.heavy and (not headed or (inside and turn > 1))):
                start, turn, headed, inside = at + 1, 1, item.start, False
        else:
            out.append(item)
        at += 1
    return out


def _turns(items: Sequence[Item], start: int) -> set[int]:
    """The turns that the endings of the part from `start` on name."""
    turns: set[int] = set()
    for item in items[start:]:
        if isinstance(item, Bar) and item.start:
            break
        if isinstance(item, Ending):
            turns |= item.turns
    return turns


def _next_ending(items: Sequence[Item], at: int, turn: int) -> tuple[int, Bar | None]:
    """Where a turn goes on that does not play the ending at `at`; with the bar line that ends the part."""
    for place in range(at + 1, len(items)):
        item = items[place]
        if isinstance(item, Ending) and turn in item.turns:
            return place, None
        if isinstance(item, Bar) and (item.start or item.again) and not _ending_follows(items, place):
            return place + 1, item
    return len(items), Bar()


def _ending_follows(items: Sequence[Item], at: int) -> bool:
    """Whether an ending begins after the bar line at `at`, perhaps after more bar lines, as `:|` and `|2`."""
    for item in items[at + 1 :]:
        if not isinstance(item, Bar) or item.start or item.again:
            return isinstance(item, Ending)
    return False


@dataclass
class Played:
    """A voice on the grid."""

    notes: list[Note] = field(default_factory=list)
    metres: tuple[Metre, ...] = ()
    keys: list[Key] = field(default_factory=list)
    tempos: list[Tempo] = field(default_factory=list)
    pickup: int = 0


def _tick(time: Fraction) -> int:
    """Whole notes to ticks, halves up."""
    return int(time * 48 + Fraction(1, 2))


def played(items: Sequence[Item], metre: tuple[int, int] | None) -> Played:
    """Unfolded items with times. A note keeps at least one tick."""
    voice = Played()
    now = Fraction(0)
    lines: list[int] = []
    changes: list[Metre] = []
    sounding: list[tuple[Fraction, Fraction, int]] = []
    tied: dict[tuple[int, Fraction], int] = {}
    for item in items:
        if isinstance(item, Sound):
            for pitch, length, tie in item.notes:
                earlier = tied.pop((pitch, now), None)
                place = len(sounding) if earlier is None else earlier
                if earlier is None:
                    sounding.append((now, now + length, pitch))
                else:
                    sounding[earlier] = (sounding[earlier][0], now + length, pitch)
                if tie:
                    tied[pitch, now + length] = place
            now += item.step
        elif isinstance(item, Bar):
            lines.append(_tick(now))
        elif isinstance(item, Change):
            _change(item, _tick(now), voice, changes)
    for start, stop, pitch in sounding:
        at = _tick(start)
        voice.notes.append(Note(at, max(_tick(stop) - at, 1), pitch))
    voice.metres, voice.pickup = metres_of(lines, changes, metre or (4, 4))
    return voice


def _change(item: Change, tick: int, voice: Played, changes: list[Metre]) -> None:
    places: dict[str, list[Any]] = {"metre": changes, "key": voice.keys, "tempo": voice.tempos}
    events = places[item.what]
    event = (tick, *item.value) if isinstance(item.value, tuple) else (tick, item.value)
    while events and events[-1][0] >= tick:
        events.pop()
    if item.what == "metre" or not events or events[-1][1:] != event[1:]:
        events.append(event)

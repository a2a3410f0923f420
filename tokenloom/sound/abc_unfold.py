"""Folded items of an ABC voice into notes, metres, keys and tempos on the grid: repeats and endings played.

Source: the ABC standard 2.1, sections 4.8 to 4.10. A repeat without a head goes back to the last double bar
or the last repeat's end. A bar that neither fills its metre nor completes the one before it is irregular, and
the metre is said anew after it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from tokenloom.sound.abc_body import Bar, Change, Ending, Item, Sound
from tokenloom.sound.score import Key, Metre, Note, Tempo, bar_ticks

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
            if turn not in item.turns:
                at, ended = _next_ending(items, at, turn)
                if ended:
                    out.append(Bar())
                    start, turn, headed, inside = at, 1, ended.start, False
                continue
            inside = True
        elif isinstance(item, Bar):
            out.append(item)
            if item.again and (turn + 1 in _turns(items, start) if inside else turn <= item.again):
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
        follows = place + 1 < len(items) and isinstance(items[place + 1], Ending)
        if isinstance(item, Bar) and (item.start or item.again) and not follows:
            return place + 1, item
    return len(items), Bar()


@dataclass
class Played:
    """A voice on the grid."""

    notes: list[Note] = field(default_factory=list)
    metres: list[Metre] = field(default_factory=list)
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
    voice.metres, voice.pickup = _grid(lines, changes, metre or (4, 4))
    return voice


def _change(item: Change, tick: int, voice: Played, changes: list[Metre]) -> None:
    places: dict[str, list[Any]] = {"metre": changes, "key": voice.keys, "tempo": voice.tempos}
    events = places[item.what]
    event = (tick, *item.value) if isinstance(item.value, tuple) else (tick, item.value)
    while events and events[-1][0] >= tick:
        events.pop()
    if item.what == "metre" or not events or events[-1][1:] != event[1:]:
        events.append(event)


def _grid(lines: Sequence[int], changes: Sequence[Metre], first: tuple[int, int]) -> tuple[list[Metre], int]:
    """Metres that put bars where the bar lines are, and the pickup."""
    metres: list[Metre] = [(0, *first)]
    ahead = list(changes)
    if ahead and ahead[0][0] == 0:
        metres = [ahead.pop(0)]
    size = bar_ticks(*metres[0][1:])
    begin = pickup = 0  # where the last bar on the grid begins
    pending = None  # a bar line since then that is not on the grid
    seen = [line for line in lines if line > 0]
    if (
        seen
        and seen[0] < size
        and (len(seen) == 1 or seen[1] != size)
        and not (ahead and ahead[0][0] <= seen[0])
    ):
        begin = pickup = seen[0]
    for line in sorted({*seen, *(tick for tick, _, _ in ahead)}):
        if line <= begin:
            continue
        if (line - begin) % size and line - begin > size:
            here = begin + (line - begin) // size * size if pending is None else pending
            if pending is None and not any(change[0] == line for change in ahead):
                here = line
            metres.append((here, *metres[-1][1:]))
            begin, pending = here, None
        if ahead and ahead[0][0] == line:
            change = ahead.pop(0)
            if change[1:] != metres[-1][1:] or (line - begin) % size:
                if metres[-1][0] == line:
                    metres.pop()
                metres.append(change)
            size, begin, pending = bar_ticks(*change[1:]), line, None
        elif (line - begin) % size == 0:
            begin, pending = line, None
        else:
            pending = line
    return metres, pickup

"""Which event may come next when a model composes: an automaton, so that a malformed score cannot exist.

Not the walk over events itself (music_walk.py), which says what they mean. What holds whatever is sampled, at
any temperature: the head is what was asked and agrees with itself; there are exactly as many bars as asked;
each is filled to its last tick and has a note; one note sounds at a time; no note is longer than to the end
of the next bar, or of the piece; pitches stay in range; and the piece ends within the ids it has. Where those
run short, the rest of each bar becomes one note.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tokenloom.sound.score import bar_ticks
from tokenloom.tokens.music_events import (
    BARS,
    GROUPS,
    LONGEST_BAR,
    MODE_NAMES,
    OFFSETS,
    SIZE,
    TEMPOS,
    meaning,
    nearest,
    number,
    tonics_of,
)
from tokenloom.tokens.music_score import tonic_class
from tokenloom.tokens.music_walk import HEAD, Head, Walk

METRES_OF: dict[str, tuple[tuple[int, int], ...]] = {
    "reel": ((4, 4),),
    "jig": ((6, 8), (12, 8)),
    "slip jig": ((9, 8),),
    "hornpipe": ((4, 4),),
    "air": ((4, 4), (3, 4), (6, 8), (2, 4), (9, 8), (3, 8)),
    "march": ((4, 4), (2, 4), (6, 8)),
    "strathspey": ((4, 4),),
    "clog": ((4, 4),),
    "fling": ((4, 4),),
    "set dance": ((4, 4), (6, 8), (2, 4)),
}
"""Metres a kind is written in, from which a metre that is not asked for is taken."""
KNOWN_METRES = tuple(dict.fromkeys(metre for metres in METRES_OF.values() for metre in metres))
CUSTOMARY = {
    "": 112,
    "reel": 200,
    "jig": 168,
    "slip jig": 168,
    "hornpipe": 160,
    "air": 84,
    "march": 112,
    "strathspey": 120,
    "clog": 150,
    "fling": 130,
    "set dance": 150,
}
"""Quarter notes a minute at which a kind is played by custom, where a score says none."""
DURATIONS = (2, 3, 4, 6, 8, 9, 12, 15, 18, 21, 24, 27, 30, 33, 36, 42, 45, 48, 54, 60, 66, 72, 84, 96)
"""Ticks a composed note may have, unless ids run short."""
PICKUPS = (2, 3, 4, 6, 9, 12, 18, 24)
LOW, HIGH = 53, 93
"""MIDI pitches of composed notes: a fiddle's G string and a tone below, to high A."""
BAR_NEED = 3
"""Ids a bar needs at least: its beginning, a duration and a note."""


@dataclass(frozen=True)
class Rules:
    """What an answer must be; as JSON it is the text of a `music` constraint."""

    start: int
    """The id of event 0."""
    opened: int
    """The id of <|music|>, which stands before the bars."""
    closed: int
    """The id of <|/music|>, which ends them."""
    most: int
    """Ids of the answer at most, its end among them."""
    head: tuple[int, ...] = ()
    """Events of the head that the prompt holds."""
    asked: tuple[tuple[int, ...], ...] = ((),) * len(HEAD)
    """Events allowed at each place of the head; () = any."""
    pace: float | None = None
    """A tempo by its ratio to the custom of the kind."""
    given: tuple[int, ...] | None = None
    """Events of the bars that the prompt holds; None where it does not hold <|music|> either."""
    lengths: tuple[int, ...] = ()
    """Ticks of each bar that is wanted; () = as the head says, behind the given ones."""
    cursor: int = 0
    """Ticks of the first of them that a note from before it takes."""

    def text(self) -> str:
        return json.dumps(asdict(self), separators=(",", ":"))

    @staticmethod
    def of(text: str) -> Rules:
        """ValueError for a text that is no rules."""
        try:
            found = json.loads(text)
            rules = Rules(
                start=int(found["start"]),
                opened=int(found["opened"]),
                closed=int(found["closed"]),
                most=int(found["most"]),
                head=_events(found["head"]),
                asked=tuple(_events(slot) for slot in found["asked"]),
                pace=None if found["pace"] is None else float(found["pace"]),
                given=None if found["given"] is None else _events(found["given"]),
                lengths=_events(found["lengths"]),
                cursor=int(found["cursor"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"rules of music: {error!r}; allowed: what Rules.text gives") from error
        if len(rules.asked) != len(HEAD) or len(rules.head) > len(HEAD):
            raise ValueError(f"rules of music: asked for {len(rules.asked)} parts of a head of {len(HEAD)}")
        return rules


def _events(found: Any) -> tuple[int, ...]:
    return tuple(int(event) for event in found)


def need(bars: int) -> int:
    """Ids that always suffice for so many bars and their end, but for the head."""
    return BAR_NEED * bars + 8


class Following:
    """Rules at their place in one answer: what the engine asks for a mask and tells the chosen ids."""

    def __init__(self, rules: Rules) -> None:
        """ValueError for a prompt that cannot be, or for too few ids."""
        self.rules = rules
        self.done = False
        self._head = list(rules.head)
        self._open = rules.given is not None
        self._left = rules.most
        self._walk: Walk | None = None
        self._lengths: tuple[int, ...] = ()
        self._pickup_free = False
        self._at = 0  # bars of _lengths begun
        self._next: np.ndarray | None = None
        if self._open:
            self._begin()

    @property
    def may_end(self) -> bool:
        """It ends with its last id alone."""
        return self.done

    def mask(self, vocab: int) -> np.ndarray:
        """(vocab,) bool: ids that may come next."""
        found = np.zeros(vocab, dtype=bool)
        found[self.allowed()] = True
        return found

    def forced(self, most: int = 1) -> list[int]:
        """The id that must come next; none where there is a choice."""
        if self.done or most < 1:
            return []
        ids = self.allowed()
        return [int(ids[0])] if len(ids) == 1 else []

    def accept(self, id: int) -> None:
        """Takes a chosen id. ValueError if it does not fit."""
        if id not in self.allowed():
            raise ValueError(f"id {id} cannot stand here")
        self._left -= 1
        self._next = None
        if id == self.rules.closed:
            self.done = True
        elif id == self.rules.opened:
            self._open = True
            self._begin()
        elif not self._open:
            self._head.append(id - self.rules.start)
        else:
            assert self._walk is not None
            event = id - self.rules.start
            self._at += meaning(event)[0] in ("bar", "short") and not self._is_free_pickup(event)
            self._walk.take(event)

    def allowed(self) -> np.ndarray:
        """Ids that may come next, int64, in order; none after the end."""
        if self._next is None:
            self._next = np.array(sorted(self._ids()), dtype=np.int64)
        return self._next

    # --- parts ----------------------------------------------------------------------------------------------

    def _ids(self) -> list[int]:
        rules = self.rules
        if self.done:
            return []
        if not self._open:
            if len(self._head) == len(HEAD):
                return [rules.opened]
            return [rules.start + event for event in self._heads()]
        assert self._walk is not None
        if self._walk.full and self._at == len(self._lengths):
            return [rules.closed]
        return [rules.start + event for event in self._events(self._walk)]

    def _heads(self) -> list[int]:
        """Events of the head's next place."""
        name = HEAD[len(self._head)]
        asked = self.rules.asked[len(self._head)]
        known = dict(meaning(event) for event in self._head)
        events = list(asked) or [number(name, value) for value in GROUPS[name]]
        fit: Sequence[object] = GROUPS[name]
        if name == "metre":
            fit = METRES_OF.get(str(known["kind"]), KNOWN_METRES)
        elif name == "mode":
            fit = MODE_NAMES[1:]
        elif name == "tonic":
            fit = tonics_of(str(known["mode"]))
        elif name == "tempo":
            customary = CUSTOMARY[str(known["kind"])]
            fit = TEMPOS
            if self.rules.pace is not None:
                fit = [nearest(TEMPOS, customary * self.rules.pace)]
        elif name == "bars":
            fit = [bars for bars in BARS if bars and need(bars) + 2 <= self._left]
        fitting = [event for event in events if meaning(event)[1] in fit]
        return fitting or events

    def _begin(self) -> None:
        rules = self.rules
        head = Head.of(self._head)
        walk = Walk(bar_ticks(*head.metre), tonic_class(head.tonic))
        for event in rules.given or ():
            walk.take(event)
        if rules.lengths:
            self._lengths = rules.lengths
            walk.voice.cursor, walk.ticks = rules.cursor, 0
        else:
            done = sum(meaning(event)[0] == "bar" for event in rules.given or ())
            self._lengths = (walk.length,) * (head.bars - done)
            self._pickup_free = not rules.given
        if not self._lengths:
            raise ValueError(f"bars: found {head.bars}, which are there already; allowed: more")
        self._walk = walk
        if self._left < need(len(self._lengths)):
            wanted = need(len(self._lengths))
            raise ValueError(f"bars: {len(self._lengths)} need {wanted} ids; allowed are {self._left}")

    def _is_free_pickup(self, event: int) -> bool:
        return self._pickup_free and not self._at and meaning(event)[0] == "short"

    @property
    def _hurried(self) -> bool:
        return self._left <= need(len(self._lengths) - self._at)

    def _events(self, walk: Walk) -> list[int]:
        if walk.full:
            return self._bar(walk)
        limit = walk.ticks
        if self._at < len(self._lengths):
            limit += self._lengths[self._at]
        room = limit - walk.voice.cursor
        said = walk.said
        if said == "duration":
            return self._pitches(walk)
        if self._hurried:
            return self._shortest(walk)
        events = self._pitches(walk) if 0 < walk.voice.duration <= room else []
        events += [
            number("duration", ticks) for ticks in DURATIONS if ticks <= room and ticks != walk.voice.duration
        ]
        if said != "place":
            events += self._rests(walk)
        return events or self._shortest(walk)

    def _bar(self, walk: Walk) -> list[int]:
        wanted = self._lengths[self._at]
        events = [number("bar") if wanted == walk.length else number("short", wanted)]
        if self._pickup_free and walk.bar < 0 and not self._hurried:
            events += [number("short", ticks) for ticks in PICKUPS if 2 * ticks <= walk.length]
        return events

    def _pitches(self, walk: Walk) -> list[int]:
        first = OFFSETS["pitch"] - GROUPS["pitch"][0] - walk.pitch_class  # type: ignore[operator]
        return [first + pitch for pitch in range(LOW, HIGH + 1)]

    def _rests(self, walk: Walk) -> list[int]:
        cursor, ticks = walk.voice.cursor, walk.ticks
        places = [at for at in range(cursor + 1, ticks - 1) if at % 2 == 0 or at % 3 == 0]
        return [number("place", at) for at in [*places, *([ticks] if walk.sounded else [])]]

    def _shortest(self, walk: Walk) -> list[int]:
        """One note or rest, to the end of the bar."""
        rest = walk.ticks - walk.voice.cursor
        if walk.sounded and walk.said != "place":
            return [number("place", walk.ticks)]
        if walk.voice.duration == rest:
            return self._pitches(walk)
        return [number("duration", rest)]


def follow(text: str) -> Following:
    """A `music` constraint's text, at the start. ValueError for what is no rules or cannot be followed."""
    rules = Rules.of(text)
    low = min(rules.start, rules.opened, rules.closed)
    if low < 0 or any(not 0 <= event < SIZE for event in (*rules.head, *(rules.given or ()))):
        raise ValueError("rules of music: found an id below 0 or an event that is none")
    if any(not 0 < ticks <= LONGEST_BAR for ticks in rules.lengths):
        raise ValueError(f"rules of music: found bars of {rules.lengths}; allowed: 1 to {LONGEST_BAR} ticks")
    return Following(rules)

"""Music as ids: the layouts in which one Transformer composes a piece, goes on with one and mends one.

Not the events (music_events.py, music_walk.py), not the words that ask (music_wish.py), and not the engine,
which is handed a `MusicAsk`. A score stands between two marks, and what it shall be stands before it:

    compose   <|compose|> head <|music|> bars <|/music|>
    continue  the same, where the prompt holds the first bars
    infill    <|infill|> head <|music|> bars, those wanted hidden <|/music|> <|music|> those <|/music|>

The head is kind, metre, mode, tonic, tempo and number of bars. The model learns to write it, too: what is not
asked for it chooses, and what is asked for is forced, by the rules of music_grammar.py, which also make each
answer a score that can be read.
Sources: Huang and Yang 2020, arXiv:2002.00212 (events); Bavarian et al. 2022, arXiv:2207.14255 (what is
missing is learned behind what surrounds it).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tokenloom.sound.score import Note, Score, Track
from tokenloom.tokens.layout import Example, add_layout, check_layout, read_layout
from tokenloom.tokens.music_events import BARS, SIZE, TEMPOS, meaning, nearest, number, tonics_of
from tokenloom.tokens.music_grammar import METRES_OF, Rules, need
from tokenloom.tokens.music_score import Piece, piece_of, score_of, snapped, split, walk_of
from tokenloom.tokens.music_walk import HEAD
from tokenloom.tokens.music_wish import Wish
from tokenloom.tokens.text import Tokenizer
from tokenloom.tokens.vocabulary import Medium, Vocabulary

MUSIC = "music"
"""The name of the range of events."""
KIND = "a model that composes"
COMPOSE, INFILL = "<|compose|>", "<|infill|>"
MUSIC_MARKS = (COMPOSE, INFILL)
"""The layouts' marks, in the order of their ids; <|music|> and <|/music|> come after them."""
OPENED, CLOSED = Medium(MUSIC, 1).marks
BAR_IDS = 26
"""Ids that a composed bar may take on average: a bar of sixteenths and some to spare."""


@dataclass(frozen=True)
class MusicAsk:
    """What the engine is asked: `Request(ids=..., max_tokens=..., stop_ids=...)` with
    `constraint=Constraint("music", ask.rules)`."""

    ids: tuple[int, ...]
    max_tokens: int
    rules: str
    stop_ids: tuple[int, ...]
    around: Piece | None = None
    """Of an infilling: the piece, in which the hidden bars are to be replaced."""
    hidden: tuple[int, ...] = ()
    """Places of the hidden bars in it."""


def add_music(tokenizer: Tokenizer, vocabulary: Vocabulary | None = None) -> tuple[Tokenizer, Vocabulary]:
    """A text tokenizer with the layouts' marks and the events behind its own tokens, and its vocabulary.

    vocabulary: the tokenizer's, if it has been extended before.
    """
    return add_layout(tokenizer, Medium(MUSIC, SIZE), MUSIC_MARKS, vocabulary)


def melody(score: Score, track: int | None = None) -> Score:
    """One line of a score: the highest note of each moment of a track, each cut where the next begins.

    track: its place in `tracks`; None: the first that has notes and is no drums. Notes are cut at the end of
    the last bar. ValueError where there is none.
    """
    places = [at for at, some in enumerate(score.tracks) if some.notes and not some.drums]
    if track is None and places:
        track = places[0]
    if track not in places:
        allowed = ", ".join(map(str, places)) or "none: the score has no notes but drums"
        raise ValueError(f"track: found {track}; allowed: {allowed}")
    assert track is not None
    highest: dict[int, Note] = {}
    for note in score.tracks[track].notes:
        if note.start not in highest or note.pitch > highest[note.start].pitch:
            highest[note.start] = note
    notes = [highest[start] for start in sorted(highest)]
    stops = [note.start for note in notes[1:]] + [notes[-1].stop]
    line = [
        Note(note.start, min(note.duration, stop - note.start), note.pitch, 80)
        for note, stop in zip(notes, stops, strict=True)
    ]
    return replace(score, tracks=(Track(tuple(line)),))


@dataclass(frozen=True)
class MusicTokens:
    """Scores and wishes <-> ids of one model."""

    tokenizer: Tokenizer
    vocabulary: Vocabulary
    context: int | None = None
    """Positions of the model: what does not fit is refused. None: not asked."""

    def __post_init__(self) -> None:
        start, stop = check_layout(self.tokenizer, self.vocabulary, MUSIC, MUSIC_MARKS, KIND)
        if stop - start != SIZE:
            raise ValueError(f"vocabulary: found {stop - start} events; allowed: {SIZE}, as this version has")

    @staticmethod
    def open(folder: Path | str) -> MusicTokens:
        """Of a music model's folder, or of a tokenizer's. ValueError for a folder of another kind."""
        return MusicTokens(*read_layout(Path(folder), MUSIC, "events of music", KIND))

    @property
    def start(self) -> int:
        """The id of event 0."""
        return self.vocabulary.range(MUSIC)[0]

    # --- what the engine is asked ---------------------------------------------------------------------------

    def compose(self, wish: Wish) -> MusicAsk:
        """A piece as wished; what the wish leaves open the model chooses. ValueError for what cannot be."""
        asked = _asked(wish)
        known = self._head_known(asked)
        ids = self._ids([COMPOSE, *known])
        bars = wish.bars or BARS[-1]
        most = self._room(len(ids), need(bars) + len(HEAD) - len(known) + 1, BAR_IDS * bars + len(HEAD) + 1)
        rules = self._rules(most, head=tuple(known), asked=asked, pace=wish.pace)
        return MusicAsk(tuple(ids), most, rules.text(), (self._mark(CLOSED),))

    def go_on(self, score: Score, bars: int, wish: Wish | None = None) -> MusicAsk:
        """The melody of a score, and more behind its last bar, `bars` whole bars in all.

        wish: a kind, where the score says none. ValueError where there are as many bars already.
        """
        piece = piece_of(self._line(score, wish))
        whole = sum(meaning(bar[0])[0] == "bar" for bar in piece.bars)
        if not whole < bars < len(BARS):
            raise ValueError(f"bars: found {bars}; allowed: {whole + 1} to {BARS[-1]}, as {whole} are given")
        head = tuple(replace(piece.head, bars=bars).events)
        given = tuple(event for bar in piece.bars for event in bar)
        ids = self._ids([COMPOSE, *head, OPENED, *given])
        most = self._room(len(ids), need(bars - whole), BAR_IDS * (bars - whole))
        rules = self._rules(most, head=head, given=given)
        return MusicAsk(tuple(ids), most, rules.text(), (self._mark(CLOSED),))

    def infill(self, score: Score, first: int, last: int, wish: Wish | None = None) -> MusicAsk:
        """The melody of a score with bars `first` to `last` (from 1; a pickup is 0) to be written anew."""
        line = self._line(score, wish)
        numbers = range(0 if line.pickup else 1, (0 if line.pickup else 1) + len(line.bars))
        if first not in numbers or last not in numbers or first > last:
            raise ValueError(
                f"infill: found bars {first} to {last}; allowed: {numbers[0]} to {numbers[-1]}, in order"
            )
        hidden = range(first - numbers[0], last - numbers[0] + 1)
        line = _without_ties(line, line.bars[hidden[-1]][1])
        piece = piece_of(line, forget=(hidden[0], hidden[-1] + 1))
        ids, cursor = self._shown(piece, hidden)
        bars = line.bars
        lengths = tuple(stop - start for start, stop in (bars[place] for place in hidden))
        most = self._room(len(ids), need(len(lengths)), BAR_IDS * len(lengths))
        rules = self._rules(most, head=tuple(piece.head.events), given=(), lengths=lengths, cursor=cursor)
        return MusicAsk(
            tuple(ids), most, rules.text(), (self._mark(CLOSED),), around=piece, hidden=tuple(hidden)
        )

    def score(self, ask: MusicAsk, ids: Sequence[int]) -> Score:
        """The whole piece that an answer makes of what was asked. ValueError where its ids are not whole."""
        marks = {self._mark(mark) for mark in (COMPOSE, INFILL, OPENED, CLOSED)}
        if ask.around is None:
            events = [id - self.start for id in (*ask.ids, *ids) if id not in marks]
            return score_of(split(events))
        events = [id - self.start for id in ids if id not in marks]
        new = split([*ask.around.head.events, *events]).bars
        if len(new) != len(ask.hidden):
            raise ValueError(f"ids: found {len(new)} bars; allowed: {len(ask.hidden)}")
        bars = list(ask.around.bars)
        bars[ask.hidden[0] : ask.hidden[-1] + 1] = new
        return score_of(replace(ask.around, bars=tuple(bars)), (ask.hidden[0], ask.hidden[-1] + 1))

    # --- what is learned ------------------------------------------------------------------------------------

    def ids_of(self, score: Score) -> list[int]:
        """<|compose|> head <|music|> bars <|/music|> of a whole score."""
        piece = piece_of(score)
        bars = [event for bar in piece.bars for event in bar]
        return self._ids([COMPOSE, *piece.head.events, OPENED, *piece.programs, *bars, CLOSED])

    def score_of(self, ids: Sequence[int]) -> Score:
        """The inverse of `ids_of`, of a snapped score. ValueError where they are none."""
        marks = [self._mark(mark) for mark in (COMPOSE, OPENED, CLOSED)]
        if [id for id in ids if not self.start <= id < self.start + SIZE] != marks:
            raise ValueError("ids: found no whole score; allowed: what ids_of gives")
        return score_of(split([id - self.start for id in ids if id >= self.start]))

    def example_compose(self, score: Score) -> Example:
        """A whole piece; all but the first mark is learned."""
        ids = self.ids_of(score)
        return Example(ids, [False] + [True] * (len(ids) - 1))

    def example_infill(self, score: Score, hidden: range) -> Example:
        """A piece whose bars at these places are hidden, and behind it those bars, which are learned."""
        score = snapped(score)
        score = _without_ties(score, score.bars[hidden[-1]][1])
        piece = piece_of(score, forget=(hidden[0], hidden[-1] + 1))
        asked, _ = self._shown(piece, hidden)
        said = self._ids([*(event for place in hidden for event in piece.bars[place]), CLOSED])
        return Example(asked + said, [False] * len(asked) + [True] * len(said))

    # --- parts ----------------------------------------------------------------------------------------------

    def _shown(self, piece: Piece, hidden: range) -> tuple[list[int], int]:
        """The prompt of an infilling, and the ticks that the note before the hidden bars takes of them."""
        shown = [
            (bar[0], number("hidden")) if place in hidden else bar for place, bar in enumerate(piece.bars)
        ]
        before = walk_of(replace(piece, bars=piece.bars[: hidden[0]]))
        cursor = max(0, before.voice.cursor - before.ticks)
        bars = [event for bar in shown for event in bar]
        return self._ids([INFILL, *piece.head.events, OPENED, *bars, CLOSED, OPENED]), cursor

    def _line(self, score: Score, wish: Wish | None) -> Score:
        """A melody as the model has learned them: one piano, one metre at the head, a key and a tempo."""
        line = snapped(melody(score))
        beats, unit = line.metres[0][1:]
        if (beats, unit) == (2, 2):
            line = replace(line, metres=((0, 4, 4), *line.metres[1:]))
        if not line.keys or line.keys[0][0]:
            tonic, mode = guessed_key(line)
            line = replace(line, keys=((0, tonic, mode), *line.keys))
        if wish is not None and wish.kind is not None:
            line = replace(line, kind=wish.kind)
        return snapped(line)

    def _rules(self, most: int, **parts: Any) -> Rules:
        return Rules(self.start, self._mark(OPENED), self._mark(CLOSED), most, **parts)

    def _head_known(self, asked: Sequence[tuple[int, ...]]) -> list[int]:
        """The head's events up to the first that is open."""
        known: list[int] = []
        for slot in asked:
            if len(slot) != 1:
                break
            known += slot
        return known

    def _room(self, prompt: int, least: int, wanted: int) -> int:
        """Ids an answer may have. ValueError where the model has not even room for the least."""
        room = wanted if self.context is None else min(wanted, self.context - prompt)
        if room < least:
            raise ValueError(
                f"bars: what is given and what is asked for take {prompt} and at least {least} ids; allowed: "
                f"{self.context} together, as the model has"
            )
        return max(room, least)

    def _mark(self, mark: str) -> int:
        return self.tokenizer.special[mark]

    def _ids(self, parts: Sequence[int | str]) -> list[int]:
        """Events by number and marks by text -> ids."""
        return [self._mark(part) if isinstance(part, str) else self.start + part for part in parts]


def _asked(wish: Wish) -> tuple[tuple[int, ...], ...]:
    """The events allowed at each place of the head."""
    kinds: tuple[int, ...] = ()
    if wish.kind is not None:
        kinds = (number("kind", wish.kind),)
    elif wish.metre is not None:
        fit = [kind for kind, metres in METRES_OF.items() if wish.metre in metres]
        kinds = tuple(number("kind", kind) for kind in (*fit, ""))
    tempo = () if wish.tempo is None else (number("tempo", nearest(TEMPOS, wish.tempo)),)
    mode, tonic = wish.mode, wish.tonic
    if mode and tonic and tonic not in tonics_of(mode):
        raise ValueError(f"key: found {tonic} {mode}; allowed: {', '.join(tonics_of(mode))} {mode}")
    return (
        kinds,
        () if wish.metre is None else (number("metre", wish.metre),),
        () if mode is None else (number("mode", mode),),
        () if tonic is None else (number("tonic", tonic),),
        tempo,
        () if wish.bars is None else (number("bars", wish.bars),),
    )


def _without_ties(score: Score, at: int) -> Score:
    """Notes that sound across a tick end there."""
    tracks = tuple(
        replace(
            track,
            notes=tuple(
                replace(note, duration=at - note.start) if note.start < at < note.stop else note
                for note in track.notes
            ),
        )
        for track in score.tracks
    )
    return replace(score, tracks=tracks)


def guessed_key(score: Score) -> tuple[str, str]:
    """Tonic and mode of a score that says none, from how long each pitch class sounds."""
    from tokenloom.tokens.music_key import key_of

    return key_of(score)[0]

"""Tunes on their way: the bars that are whole while the rest is being written.

Of several drafts of a version the first is shown; another may be kept in the end, and chords that rules add
come at the end, so what counts is the finished score. Not the writing (engine) and not the road (music.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from tokenloom.sound.score import Note, Score, Track, bar_numbers
from tokenloom.tokens.music import CLOSED, MusicAsk, MusicTokens
from tokenloom.tokens.music_events import SIZE, meaning
from tokenloom.tokens.music_score import Piece, score_of, split, walk_of
from tokenloom.tokens.music_walk import HEAD, Head


@dataclass(frozen=True)
class Bar:
    """A bar and the notes that begin in it; ticks of the score, a pickup is number 0."""

    number: int
    start: int
    stop: int
    notes: tuple[Note, ...] = ()


def so_far(tokens: MusicTokens, ask: MusicAsk, ids: Sequence[int]) -> tuple[Score, int] | None:
    """The piece that the whole bars of an unfinished answer make, and how many they are; None before there is
    one.

    A note may sound on into a bar behind them, whose length nobody knows. Of an infilling: the piece around,
    where bars that are not written yet are empty.
    """
    events = _events(tokens, ids)
    ended = tokens.tokenizer.special[CLOSED] in ids
    if ask.around is not None:
        new = _whole(split([*ask.around.head.events, *events]), events, ended).bars
        return _mended(ask, new), len(ask.around.bars)
    events = [*_events(tokens, ask.ids), *events]
    if len(events) < len(HEAD):
        return None
    piece = _whole(split(events), ids, ended)
    return (score_of(piece), len(piece.bars)) if piece.bars else None


def bars_to_be(tokens: MusicTokens, ask: MusicAsk, ids: Sequence[int]) -> int:
    """Whole bars that the piece shall have, as its head says; 0 where it says none, or more than 64."""
    if ask.around is not None:
        return ask.around.head.bars
    events = _events(tokens, (*ask.ids, *ids))[: len(HEAD)]
    return Head.of(events).bars if len(events) == len(HEAD) else 0


def _events(tokens: MusicTokens, ids: Sequence[int]) -> list[int]:
    return [id - tokens.start for id in ids if tokens.start <= id < tokens.start + SIZE]


def _whole(piece: Piece, written: Sequence[int], ended: bool) -> Piece:
    """Without the bar under way, which ends where the next one begins."""
    return piece if ended or not written else replace(piece, bars=piece.bars[:-1])


def _mended(ask: MusicAsk, new: tuple[tuple[int, ...], ...]) -> Score:
    around, first, last = ask.around, ask.hidden[0], ask.hidden[-1]
    assert around is not None
    forget = (first, last + 1)
    score = score_of(around, forget)
    up_to = walk_of(replace(around, bars=around.bars[: last + 1]), forget)
    front = walk_of(replace(around, bars=(*around.bars[:first], *new)), forget)
    behind = [note for note in score.tracks[0].notes if note.start >= up_to.start + up_to.ticks]
    return replace(score, tracks=(Track((*front.notes[0], *behind)),))


@dataclass(frozen=True)
class News:
    """What is new of a version."""

    score: Score
    """The piece so far."""
    bars: tuple[Bar, ...]
    """Those that were not told yet, or not so."""
    of: int
    """Whole bars that the piece shall have; 0: it is not known."""


@dataclass
class Watch:
    """What has been shown of each version; changes as answers grow."""

    tokens: MusicTokens
    ask: MusicAsk
    drafts: int
    """Of each version; their answers stand side by side."""
    _read: dict[int, int] = field(default_factory=dict)
    """By version: ids that were looked at."""
    _told: dict[int, dict[int, Bar]] = field(default_factory=dict)

    def due(self, answers: Sequence[Sequence[int]]) -> list[int]:
        """The versions in whose first draft a bar has begun since the last call, so another may be whole."""
        found = []
        for version, at in enumerate(range(0, len(answers), self.drafts)):
            new = _events(self.tokens, answers[at][self._read.get(version, 0) :])
            self._read[version] = len(answers[at])
            if any(meaning(event)[0] in ("bar", "short") for event in new):
                found.append(version)
        return found

    def news(self, version: int, answers: Sequence[Sequence[int]]) -> News | None:
        """What is new since the last call; None where nothing is."""
        ids = answers[version * self.drafts]
        found = so_far(self.tokens, self.ask, ids)
        if found is None:
            return None
        score, whole = found
        told = self._told.setdefault(version, {})
        bars = tuple(bar for bar in bars_of(score)[:whole] if told.get(bar.number) != bar)
        told.update({bar.number: bar for bar in bars})
        return News(score, bars, bars_to_be(self.tokens, self.ask, ids)) if bars else None


def bars_of(score: Score) -> list[Bar]:
    """The bars of a score's first track."""
    notes = score.tracks[0].notes
    return [
        Bar(number, start, stop, tuple(note for note in notes if start <= note.start < stop))
        for number, (start, stop) in zip(bar_numbers(score), score.bars, strict=True)
    ]

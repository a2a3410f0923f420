"""Folk tunes out of the music21 wheel, a zip: O'Neill's Music of Ireland and Ryan's Mammoth Collection.

Not the whole corpus of that wheel: only these two collections, printed in 1903 and 1883, whose transcriptions
state no restriction; others there are for non-commercial use (Essen), carry a copyright line (the chorales,
`PDF (c) Margaret Greentree, used by permission`; the Humdrum ones, rights reserved) or leave it open. What a
tune is comes of its fields: R: and its title, else its number in O'Neill's, which is ordered by kinds; the
mode of K:; how it goes of N:. A reel or hornpipe written in 2/4 by sixteenths is set in 4/4 by eighths, cut
time as 4/4. Repeats are played once (`folded`); what is left of the page's irregular bars is dropped.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from tokenloom.sound.abc import read_tune, split_abc
from tokenloom.sound.score import Note, Score, Track, bar_ticks
from tokenloom.tokens.music_events import TEMPOS, nearest
from tokenloom.tokens.music_grammar import CUSTOMARY, METRES_OF
from tokenloom.tokens.music_score import snapped

COLLECTIONS = {"O'Neill": "music21/corpus/oneills1850/", "Ryan": "music21/corpus/ryansMammoth/"}
KIND_OF = (
    ("slip jig", ("slip jig", "slipjig", "slip-jig", "hop jig")),
    ("strathspey", ("strathspey",)),
    ("hornpipe", ("hornpipe",)),
    ("reel", ("reel",)),
    ("clog", ("clog",)),
    ("fling", ("fling",)),
    ("march", ("march", "quickstep", "quick step")),
    ("jig", ("double jig", "jig")),
    ("air", ("air", "song", "planxty", "o'carolan")),
)
"""Kinds and the words of R: and titles that tell them; the first that fits."""
SECTIONS = ((625, "air"), (700, "air"), (1115, "jig"), (1175, "slip jig"), (1555, "reel"), (1755, "hornpipe"))
"""The last number of each part of O'Neill's 1,850 and its kind; what comes after is set dances, marches."""
WIDE = ("reel", "hornpipe", "clog", "fling", "strathspey")
"""Kinds that are set in 4/4 by eighths where they are written in 2/4 by sixteenths."""
PACES = (
    (0.7, ("very slow", "slow", "tender", "plaintive", "mournful", "grave", "lament", "pathetic")),
    (1.25, ("very fast", "fast", "quick")),
    (1.1, ("lively", "spirit", "cheerful", "gay", "bold", "playful", "brisk", "animated", "merr", "quick")),
    (0.85, ("moderate", "with feeling", "with expression", "gracefu", "steady")),
)
"""Ratios to the customary tempo and the words of N: that tell them; the first that fits."""
REPEATED = (16, 8, 4)
"""Bars of a part that may be repeated, the longest first."""


@dataclass(frozen=True)
class Tune:
    """A tune and where it comes from."""

    score: Score
    """Snapped: one melody, its kind, key and tempo said; repeats played once."""
    source: str
    """Collection, file and number, as `O'Neill 0001-0050.abc 7`."""


def read_tunes(
    wheel: Path | str,
    dropped: Callable[[str], None] = lambda why: None,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[Tune]:
    """All tunes of both collections, in their order; `dropped` is told why one is left out.

    ValueError for a file that is no such wheel.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            names = [name for name in archive.namelist() if name.endswith(".abc")]
            files = [
                (collection, name)
                for collection, folder in COLLECTIONS.items()
                for name in sorted(names)
                if name.startswith(folder)
            ]
            if not files:
                raise ValueError(f"wheel: found no tunes in {wheel}; allowed: the wheel of music21")
            for at, (collection, name) in enumerate(files):
                if progress is not None:
                    progress(at, len(files))
                for text in split_abc(archive.read(name).decode("utf-8", errors="replace")):
                    source = f"{collection} {name.rsplit('/', 1)[1]} {_field(text, 'X')}"
                    tune = _read(text, collection, source, dropped)
                    if tune is not None:
                        yield tune
            if progress is not None:
                progress(len(files), len(files))
    except (zipfile.BadZipFile, OSError) as error:
        raise ValueError(f"wheel: {wheel} is not to be read as a zip: {error}") from error


def _read(text: str, collection: str, source: str, dropped: Callable[[str], None]) -> Tune | None:
    try:
        score = read_tune(text)
    except ValueError:
        dropped("not to be read")
        return None
    found = as_learned(score, kind_of(text, collection), pace_of(text))
    if isinstance(found, str):
        dropped(found)
        return None
    return Tune(found, source)


def as_learned(score: Score, kind: str, pace: float) -> Score | str:
    """A score as the composer learns it, or why it is left out.

    One melody under one metre and one key, bars whole but for the pickup, repeats played once.
    """
    if len(score.tracks) != 1 or not score.tracks[0].notes:
        return "not one voice"
    if len(score.keys) != 1:
        return "no key, or several"
    beats = {metre[1:] for metre in score.metres}
    if len(beats) != 1:
        return "several metres"
    score = replace(score, tracks=(Track(_line(score.tracks[0].notes)),))
    if kind in WIDE and beats == {(2, 4)}:
        score = _stretched(score)
    score = _in_common_time(_even(score))
    if len(score.metres) != 1:
        return "irregular bars"
    if kind not in METRES_OF or score.metres[0][1:] not in METRES_OF[kind]:
        kind = ""
    tempo = nearest(TEMPOS, CUSTOMARY[kind] * pace)
    score = folded(replace(score, kind=kind, tempos=((0, float(tempo)),)))
    bars = len(score.bars) - bool(score.pickup)
    if not 4 <= bars <= 64:
        return "fewer than 4 bars, or more than 64"
    pitches = [note.pitch for note in score.tracks[0].notes]
    if min(pitches) < 50 or max(pitches) > 96 or len(pitches) < 16:
        return "fewer than 16 notes, or out of a fiddle's range"
    try:
        return snapped(score)
    except ValueError:
        return "nothing that events say"


def _line(notes: tuple[Note, ...]) -> tuple[Note, ...]:
    """The highest note of each chord, each cut where the next begins."""
    highest: dict[int, Note] = {}
    for note in notes:
        if note.start not in highest or note.pitch > highest[note.start].pitch:
            highest[note.start] = note
    starts = sorted(highest)
    found = []
    for start, then in zip(starts, [*starts[1:], None], strict=True):
        note = highest[start]
        duration = note.duration if then is None else min(note.duration, then - start)
        found.append(Note(start, duration, note.pitch))
    return tuple(found)


def _stretched(score: Score) -> Score:
    """Twice as long, in 4/4."""
    notes = tuple(Note(2 * n.start, 2 * n.duration, n.pitch) for n in score.tracks[0].notes)
    return replace(
        score,
        tracks=(Track(notes),),
        metres=tuple((2 * at, 4, 4) for at, _, _ in score.metres),
        pickup=2 * score.pickup,
    )


def _in_common_time(score: Score) -> Score:
    if score.metres[0][1:] != (2, 2):
        return score
    return replace(score, metres=tuple((at, 4, 4) for at, _, _ in score.metres))


def _even(score: Score) -> Score:
    """Without the marks of short bars that make whole ones together, as a part's last and the next's pickup.

    A metre said anew moves the bar lines after it; one that would not move them, counted from the first whole
    bar, is dropped.
    """
    length = bar_ticks(*score.metres[0][1:])
    kept = [score.metres[0]]
    moved = 0
    for metre in score.metres[1:]:
        off = (metre[0] - score.pickup) % length
        if off != moved:
            kept.append(metre)
            moved = off
    if moved == 0 and len(kept) <= 2:
        kept = kept[:1]
    return replace(score, metres=tuple(kept))


def folded(score: Score) -> Score:
    """Parts that are repeated at once are kept once, the second time, which has the ending that goes on.

    Parts are whole bars of one metre; two are the same if all bars but the last are.
    """
    bars = score.bars[bool(score.pickup) :]
    track = score.tracks[0]
    said = [
        tuple((n.start - start, n.duration, n.pitch) for n in track.notes if start <= n.start < stop)
        for start, stop in bars
    ]
    kept: list[int] = []
    at = 0
    while at < len(bars):
        size = next((size for size in REPEATED if _repeats(said, at, size)), 0)
        at += size
        kept += range(at, min(at + (size or 1), len(bars)))
        at += size or 1
    length = bar_ticks(*score.metres[0][1:])
    notes = [note for note in track.notes if note.start < score.pickup]
    for new, old in enumerate(kept):
        begin = score.pickup + new * length
        for start, duration, pitch in said[old]:
            notes.append(Note(begin + start, duration, pitch))
    return replace(score, tracks=(Track(_line(tuple(notes))),))


def _repeats(said: list[tuple[tuple[int, int, int], ...]], at: int, size: int) -> bool:
    first, second = said[at : at + size], said[at + size : at + 2 * size]
    return len(second) == size and first[:-1] == second[:-1] and any(first[:-1])


def kind_of(text: str, collection: str) -> str:
    """The kind by R:, else by the title, else by the number in O'Neill's; "" where nothing tells."""
    for words in (_field(text, "R").lower(), _titles(text).lower()):
        for kind, marks in KIND_OF:
            if any(re.search(rf"\b{mark}s?\b", words) for mark in marks):
                return kind
    number = re.search(r"O'?Neill'?s\s+(\d+)", text)
    if collection != "O'Neill" or not (number or _field(text, "X").isdecimal()):
        return ""
    place = int(number[1] if number else _field(text, "X"))
    if place > SECTIONS[-1][0]:
        return "set dance" if place <= 1795 else "march"
    return next(kind for last, kind in SECTIONS if place <= last)


def pace_of(text: str) -> float:
    """How fast by the notes of the transcriber; 1.0 where nothing is said."""
    words = " ".join(re.findall(r"(?m)^[NQ]:(.*)$", text)).lower()
    return next((pace for pace, marks in PACES if any(mark in words for mark in marks)), 1.0)


def _field(text: str, letter: str) -> str:
    found = re.search(rf"(?m)^{letter}:\s*(.*?)\s*$", text)
    return found[1] if found else ""


def _titles(text: str) -> str:
    return " ".join(re.findall(r"(?m)^T:(.*)$", text))

"""Tunes through the file formats: 500 made up, 500 real ones, and another program's reading of some.

The real ones are O'Neill's and Ryan's collections in the corpus of music21: out of its wheel, where
TOKENLOOM_MUSIC21_WHEEL names the file, else out of the package, where it is installed; else they are skipped.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import io
import os
import random
import zipfile
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from tokenloom.sound.abc import read_abc, read_tune, split_abc, write_abc
from tokenloom.sound.keys import MODES, tonic_of
from tokenloom.sound.midi import read_midi, write_midi
from tokenloom.sound.score import TICKS, Note, Score, Track, bar_ticks

pytest.importorskip("mido")
COLLECTIONS = ("music21/corpus/oneills1850/", "music21/corpus/ryansMammoth/")
RHYTHMS = ((6, 6), (9, 3), (3, 9), (12,), (4, 4, 4), (3, 3, 6), (6, 3, 3), (24,), (18, 6))
"""Ticks of the notes that fill a beat or two."""


def made_up(seed: int) -> Score:
    """A tune of four bars in a key and a metre, with upbeats, rests and chords."""
    dice = random.Random(seed)
    beats, unit = dice.choice([(4, 4), (3, 4), (2, 4), (6, 8), (9, 8), (2, 2)])
    pickup = dice.choice([0, 6, 12])
    end = pickup + 4 * bar_ticks(beats, unit)
    notes: list[Note] = []
    now = dice.choice([0, pickup])
    while now < end:
        for ticks in dice.choice(RHYTHMS):
            pitches = set() if dice.random() < 0.05 else {dice.randint(55, 88)}
            if dice.random() < 0.1:
                pitches |= {dice.randint(40, 54)}
            if now + ticks <= end:
                notes += [Note(now, ticks, pitch, dice.randint(1, 127)) for pitch in pitches]
            now += ticks
    mode = dice.choice([*MODES])
    return Score(
        (Track(tuple(notes), dice.randrange(128), dice.random() < 0.1, f"voice {seed}"),),
        ((0, beats, unit),),
        ((0, tonic_of(dice.randint(-7, 7), mode), mode),),
        ((0, float(dice.randint(40, 240))),),
        pickup,
        f"tune {seed}",
        dice.choice(["reel", "jig", ""]),
    )


def assert_identity(score: Score) -> None:
    """MIDI to score to MIDI is the same file, and the same score."""
    data = write_midi(score)
    read = read_midi(data)
    assert write_midi(read) == data
    assert (read.tracks, read.metres, read.keys) == (score.tracks, score.metres, score.keys)
    assert (read.pickup, read.title, read.kind) == (score.pickup, score.title, score.kind)
    assert [(tick, round(tempo, 2)) for tick, tempo in read.tempos] == [
        (tick, round(tempo, 2)) for tick, tempo in score.tempos
    ]


def test_five_hundred_made_up_tunes_survive_midi() -> None:
    for seed in range(500):
        assert_identity(made_up(seed))


def real_tunes() -> list[str]:
    """The ABC texts of both collections, one a tune, in order."""
    if wheel := os.environ.get("TOKENLOOM_MUSIC21_WHEEL"):
        with zipfile.ZipFile(wheel) as archive:
            names = sorted(n for n in archive.namelist() if n.startswith(COLLECTIONS) and n.endswith(".abc"))
            files = [archive.read(name) for name in names]
    else:
        try:
            package = importlib.metadata.distribution("music21")
        except importlib.metadata.PackageNotFoundError:
            pytest.skip("no corpus of music21: neither TOKENLOOM_MUSIC21_WHEEL nor the package is there")
        folders = [Path(str(package.locate_file(folder))) for folder in COLLECTIONS]
        files = [path.read_bytes() for folder in folders for path in sorted(folder.glob("*.abc"))]
    tunes = [tune for data in files for tune in split_abc(data.decode("utf-8", errors="replace"))]
    assert len(tunes) > 2000
    return tunes


@pytest.mark.slow
def test_five_hundred_real_tunes_survive_midi_and_abc() -> None:
    """Those of the sample that cannot be read as ABC are few; all others come back the same."""
    read, refused = 0, 0
    for text in random.Random(6).sample(real_tunes(), 520):
        try:
            score = read_tune(text)
        except ValueError:
            refused += 1
            continue
        assert_identity(score)
        [again] = read_abc(write_abc(score))
        assert again.tracks == score.tracks, text
        assert (again.keys, again.title, again.kind) == (score.keys, score.title, score.kind)
        read += 1
        if read == 500:
            break
    assert read == 500
    assert refused <= 10


Heard = list[tuple[int, int, int]]
"""(start, duration, pitch) in ticks, in order."""


def judged(text: str) -> Heard | None:
    """How music21 reads and unfolds the tune; None where it cannot."""
    from music21 import converter  # type: ignore[import-not-found]
    from music21.exceptions21 import Music21Exception  # type: ignore[import-not-found]

    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            stream = converter.parse("%abc-2.1\n" + text, format="abc").expandRepeats()
    except (Music21Exception, IndexError, KeyError, TypeError, ValueError):
        return None
    sounding: dict[tuple[int, Fraction], tuple[Fraction, Fraction]] = {}
    for part in stream.parts or [stream]:
        for element in part.flatten().notes:
            if type(element).__name__ in ("Note", "Chord") and not element.duration.isGrace:
                _gather(element, sounding)
    return sorted(
        (_grid(start), max(_grid(stop) - _grid(start), 1), pitch)
        for (pitch, _), (start, stop) in sounding.items()
    )


def _gather(element: Any, sounding: dict[tuple[int, Fraction], tuple[Fraction, Fraction]]) -> None:
    """A note or chord onto what sounds, by pitch and end; what is tied on joins what it continues."""
    at = Fraction(element.offset).limit_denominator(96)
    end = at + Fraction(element.quarterLength).limit_denominator(96)
    for note in getattr(element, "notes", [element]):
        tie = note.tie or element.tie
        begin = at
        if tie is not None and tie.type in ("stop", "continue"):
            begin = sounding.pop((note.pitch.midi, at), (at, at))[0]
        sounding[note.pitch.midi, end] = begin, end


def _grid(quarters: Fraction) -> int:
    return int(quarters * TICKS + Fraction(1, 2))


@pytest.mark.slow
def test_music21_reads_most_raw_tunes_as_we_do() -> None:
    """Untouched tunes. It loses notes before decorations by letter, implied repeats and `(3` with dots."""
    pytest.importorskip("music21")
    same, compared = 0, 0
    for text in random.Random(21).sample(real_tunes(), 60):
        theirs = judged(text)
        if theirs is not None:
            compared += 1
            notes = [note for track in read_tune(text).tracks for note in track.notes]
            same += theirs == sorted((note.start, note.duration, note.pitch) for note in notes)
    assert compared >= 50
    assert same / compared >= 0.6

"""Tunes out of a wheel of collections: kinds, keys, repeats, and a split that no melody crosses."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from random import Random

import numpy as np
import pytest

from tokenloom.data.shards import open_shards
from tokenloom.data.tune_set import (
    Mix,
    examples,
    groups,
    intervals,
    open_tunes,
    split_tunes,
    with_repeats,
    write_tune_set,
    write_tunes,
)
from tokenloom.data.tunes import Tune, folded, kind_of, pace_of, read_tunes
from tokenloom.sound.abc import read_tune
from tokenloom.sound.score import Score, transposed
from tokenloom.tokens.music import MusicTokens
from tokenloom.tokens.music_score import snapped

LETTERS = "DEFGABcdefg"


def abc(number: int, seed: int, head: str = "M:C|\nL:1/8\nK:D", tail: str = "") -> str:
    """A tune of two parts of eight bars at random, each repeated."""
    rng = Random(seed)

    def part() -> str:
        bars = ["".join(rng.choice(LETTERS) for _ in range(8)) for _ in range(8)]
        return "|:" + "|".join(bars) + ":|"

    return f"X:{number}\nT:Tune {number}\n{head}\n{part()}\n{part()}\n{tail}\n"


def wheel(folder: Path, files: dict[str, str]) -> Path:
    place = folder / "music21-0-py3-none-any.whl"
    with zipfile.ZipFile(place, "w") as archive:
        for name, text in files.items():
            archive.writestr(f"music21/corpus/{name}", text)
    return place


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("tunes")
    book = "\n".join(abc(1180 + at, at) for at in range(60))
    moved = "\n".join(abc(at, at, "R:reel\nM:C|\nL:1/8\nK:D") for at in range(5))
    files = {
        "oneills1850/1180-1239.abc": book,
        "ryansMammoth/Some.abc": moved,
        "essenFolksong/x.abc": abc(1, 99),
    }
    write_tunes(wheel(place, files), place / "tunes")
    write_tune_set(place / "tunes", Mix(keys=2, infills=1))
    return place / "tunes"


def test_only_the_two_collections_are_read(folder: Path) -> None:
    tunes = open_tunes(folder)
    assert len(tunes) == 65
    assert {tune.source.split()[0] for tune in tunes} == {"O'Neill", "Ryan"}
    assert {tune.score.kind for tune in tunes} == {"reel"}
    assert all(len(tune.score.bars) == 16 for tune in tunes)
    assert all(tune.score.metres == ((0, 4, 4),) for tune in tunes)


def test_a_wheel_of_something_else(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="found no tunes"):
        list(read_tunes(wheel(tmp_path, {"essenFolksong/x.abc": abc(1, 1)})))
    (tmp_path / "no.whl").write_text("no zip")
    with pytest.raises(ValueError, match="not to be read as a zip"):
        list(read_tunes(tmp_path / "no.whl"))
    with pytest.raises(ValueError, match="loom data tunes"):
        open_tunes(tmp_path)


def test_what_is_left_out_is_told(tmp_path: Path) -> None:
    why: list[str] = []
    several = abc(1, 1, tail="K:G\nGABc dedB|")
    short = "X:2\nT:Short\nM:4/4\nL:1/8\nK:D\nDEFG ABcd|\n"
    place = wheel(tmp_path, {"oneills1850/a.abc": several + "\n" + short})
    assert list(read_tunes(place, why.append)) == []
    assert len(why) == 2
    assert "no key, or several" in why


@pytest.mark.parametrize(
    ("text", "collection", "kind"),
    [
        ("X:1\nT:A Song\nR:Slip Jig\n", "Ryan", "slip jig"),
        ("X:1\nT:Somebody's Hornpipe -- Reel\nR:hornpipe\n", "Ryan", "hornpipe"),
        ("X:1\nT:The Boston Clog\n", "Ryan", "clog"),
        ("X:1\nT:No kind\n", "Ryan", ""),
        ("X:3\nT:An old one\n", "O'Neill", "air"),
        ("X:3\nB: \"O'Neill's 800\"\n", "O'Neill", "jig"),
        ("X:1840\nT:The end\n", "O'Neill", "march"),
    ],
)
def test_kinds(text: str, collection: str, kind: str) -> None:
    assert kind_of(text, collection) == kind


def test_paces() -> None:
    assert pace_of('X:1\nN:"Very slow" "collected by F. O\'Neill"\n') == 0.7
    assert pace_of("X:1\nN:With spirit\n") == 1.1
    assert pace_of("X:1\nT:Slow\n") == 1.0


def test_repeats_are_folded_and_unfolded() -> None:
    once = "DEFG ABcd|e2e2 f2f2|g2g2 f2f2|e2d2 c2B2|A2A2 B2B2|c2c2 d2d2|e2f2 g2f2|e4 d4"
    played = snapped(read_tune(f"X:1\nM:4/4\nL:1/8\nK:D\n|:{once}:|\n"))
    written = snapped(read_tune(f"X:1\nM:4/4\nL:1/8\nK:D\n{once}|]\n"))
    assert len(played.bars) == 16
    assert folded(played) == written
    assert with_repeats(written) == played
    endings = read_tune(f"X:1\nM:4/4\nL:1/8\nK:D\n|:{once.rsplit('|', 1)[0]}|1 e2d2 d4:|2 e4 d4|]\n")
    assert folded(snapped(endings)) == written


def test_a_reel_in_sixteenths_is_set_in_eighths(tmp_path: Path) -> None:
    place = wheel(tmp_path, {"ryansMammoth/a.abc": abc(1, 3, "R:reel\nM:2/4\nL:1/16\nK:A")})
    (tune,) = read_tunes(place)
    assert tune.score.metres == ((0, 4, 4),)
    assert {note.duration for note in tune.score.tracks[0].notes} == {6}
    assert tune.score.keys == ((0, "A", "major"),)


def test_melodies_that_are_alike_stay_together(folder: Path) -> None:
    tunes = open_tunes(folder)
    found = groups(tunes)
    assert sorted(at for group in found for at in group) == list(range(len(tunes)))
    together = {frozenset(group) for group in found if len(group) > 1}
    assert together == {frozenset((at, 60 + at)) for at in range(5)}
    moved = [Tune(transposed(tunes[0].score, 3), "moved"), *tunes]
    assert [0, 1, 61] in groups(moved)


def test_the_split_shares_no_melody(folder: Path) -> None:
    tunes = open_tunes(folder)
    found = split_tunes(tunes)
    held = {intervals(tune.score) for tune in found.held}
    assert found.held
    assert len(found.held) < 12
    assert not held & {intervals(tune.score) for tune in found.train}
    assert len({intervals(tune.score) for tune in found.train}) == len(found.train)
    assert split_tunes(tunes) == found


def test_examples_of_a_tune(folder: Path) -> None:
    tokens = MusicTokens.open(folder / "tokenizer")
    tune = open_tunes(folder)[0]
    first = list(examples(tune, tokens, Mix(keys=3, repeated=0.0, infills=2), 1))
    assert first == list(examples(tune, tokens, Mix(keys=3, repeated=0.0, infills=2), 1))
    assert len(first) == 5
    assert tokens.score_of(first[0].ids) == tune.score
    bars = {tuple(one.ids[8:]) for one in first[:3]}
    octaves = {tuple(note.pitch for note in tokens.score_of(one.ids).tracks[0].notes) for one in first[:3]}
    assert len(octaves) == 3
    assert 1 <= len(bars) <= 3
    assert all(sum(one.learned) < len(one.learned) / 1.5 for one in first[3:])


def test_the_set_on_disk(folder: Path) -> None:
    tokens = MusicTokens.open(folder / "tokenizer")
    train, held = open_shards(folder / "train"), open_shards(folder / "held")
    about = json.loads((folder / "about.json").read_text("utf-8"))
    assert about["tunes"]["train"] * 3 == train.n_documents
    assert about["tunes"]["held"] == held.n_documents
    assert train.tokenizer_hash == tokens.tokenizer.hash
    score = tokens.score_of([int(id) for id in held.document(0)])
    assert isinstance(score, Score)
    learned = held.learned(0)
    assert learned is not None
    assert np.flatnonzero(~np.asarray(learned, bool)).tolist() == [0]

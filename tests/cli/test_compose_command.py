"""`loom compose` with a composer of random weights, and music in the Python API."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from tiny_composer import ABC, tiny_composer
from typer.testing import CliRunner

import tokenloom
from tokenloom.api import Model
from tokenloom.cli.compose import compose
from tokenloom.sound.abc import read_tune
from tokenloom.sound.midi import read_midi
from tokenloom.trust import read_label
from tokenloom.trust.notation import labels_in

app = typer.Typer()
app.command()(compose)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_composer(tmp_path_factory.mktemp("models") / "composer")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.abc").write_text(ABC)
    return tmp_path


def run(folder: Path, *words: str) -> Any:
    return CliRunner().invoke(app, [*words, "-m", str(folder)])


def test_a_reel(folder: Path, here: Path) -> None:
    asked = ("a lively reel in D", "--bars", "4", "--seed", "3")
    found = run(folder, *asked, "-o", "reel.mid", "-o", "reel.abc", "--json")
    assert found.exit_code == 0, found.output
    (facts,) = json.loads(found.stdout)
    assert (facts["key"], facts["bars"], facts["seed"]) == ("D major", 4, 3)
    assert facts["files"] == ["reel.mid", "reel.abc"]
    score = read_midi(here / "reel.mid")
    assert score.kind == "reel"
    assert labels_in((here / "reel.abc").read_bytes(), "abc")
    again = run(folder, *asked, "-o", "again.mid")
    assert again.exit_code == 0
    assert (here / "again.mid").read_bytes() == (here / "reel.mid").read_bytes()


def test_versions_and_sound(folder: Path, here: Path) -> None:
    found = run(
        folder, "jig", "--bars", "1", "-n", "2", "--seed", "1", "-o", "a.svg", "--wav", "--tempo", "240"
    )
    assert found.exit_code == 0, found.output
    assert sorted(path.name for path in here.glob("a-*")) == ["a-1.svg", "a-1.wav", "a-2.svg", "a-2.wav"]
    assert read_label(here / "a-1.wav") is not None


def test_words_that_are_not_known_are_said(folder: Path, here: Path) -> None:
    found = run(folder, "a heavy reel", "--bars", "1", "--seed", "1")
    assert found.exit_code == 0, found.output
    assert "without effect: heavy" in found.stderr
    assert (here / "tune.mid").is_file()


def test_going_on_writing_anew_and_chords(folder: Path, here: Path) -> None:
    given = read_tune(ABC)
    done = run(folder, "--continue", "in.abc", "--bars", "2", "--seed", "1", "-o", "longer.mid")
    assert done.exit_code == 0, done.output
    assert len(read_midi(here / "longer.mid").bars) == len(given.bars) + 2
    done = run(folder, "--in", "in.abc", "--infill", "2", "--seed", "1", "--harmonise", "-o", "anew.mid")
    assert done.exit_code == 0, done.output
    anew = read_midi(here / "anew.mid")
    assert len(anew.tracks) == 3
    assert [n for n in anew.tracks[0].notes if n.start >= 96] == [
        n for n in given.tracks[0].notes if n.start >= 96
    ]
    done = run(Path("no-model"), "--in", "in.abc", "--harmonise", "-o", "under.mid")
    assert done.exit_code == 0, done.output
    assert read_midi(here / "under.mid").tracks[0].notes == given.tracks[0].notes


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["a polka"], "prompt"),
        (["-o", "a.doc"], "a.doc"),
        (["-o", "nowhere/a.mid"], "nowhere"),
        (["--key", "H"], "key"),
        (["--infill", "1-2"], "--in"),
        (["--in", "in.abc"], "--in: found alone"),
        (["--in", "in.abc", "--infill", "1-99"], "infill"),
        (["--continue", "in.abc", "--infill", "1"], "--continue"),
        (["--continue", "none.mid"], "none.mid"),
        (["--continue", "in.abc", "--key", "G"], "key"),
        (["--soundfont", "none.sf2"], "soundfont"),
        (["--label", "loud"], "label"),
        (["--temperature", "9"], "temperature"),
    ],
)
def test_what_cannot_be_asked(folder: Path, here: Path, words: list[str], said: str) -> None:
    found = run(folder, *words)
    assert isinstance(found.exception, ValueError), found.output
    assert said in str(found.exception)
    assert not list(here.glob("*.mid"))


def test_python(folder: Path, here: Path) -> None:
    with tokenloom.load(folder) as model:
        assert isinstance(model, Model)
        one: Any = model.compose("an air in G", bars=2, seed=1)
        assert read_midi(one.midi).keys == one.score.keys
        assert one.roll(640).size[0] == 640
        assert one.samples(8000).shape[1] == 2
        two: Any = model.compose("an air in G", bars=2, seed=1, n=2)
        assert two[0].score == one.score
        assert one.accompanied().score.tracks[0] == one.score.tracks[0]
        again = model.music.go_on(one.score, 2, seed=1)[0]
        assert again.score.tracks[0].notes[0].start == one.score.tracks[0].notes[0].start
        assert one.save(here / "one.abc").is_file()
        with pytest.raises(ValueError, match="bars"):
            model.compose("an air", bars=99)

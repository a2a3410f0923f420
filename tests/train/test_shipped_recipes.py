"""Recipes that come along are found by name, after files; what is neither is refused with the names."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tiny_training import tiny_recipe
from typer.testing import CliRunner

from tokenloom.cli import app
from tokenloom.config import read_recipe, to_toml
from tokenloom.train.recipe import Recipe
from tokenloom.train.shipped import FOLDER, recipe_file, shipped_recipes

NAMES = ["couplets/pretrain", "couplets/sft", "docstrings", "poet"]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_every_shipped_recipe_has_its_name() -> None:
    found = shipped_recipes()
    assert set(NAMES) <= set(found)
    assert "couplets/words" not in found
    for name in NAMES:
        assert found[name] == FOLDER / f"{name}.toml"
        assert read_recipe(Recipe, found[name]).name == name.split("/")[-1]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_found_with_its_ending_and_without(name: str) -> None:
    assert recipe_file(name) == recipe_file(f"{name}.toml") == FOLDER / f"{name}.toml"


def test_a_file_goes_before_a_name_and_a_folder_does_not(tmp_path: Path) -> None:
    (tmp_path / "docstrings").mkdir()  # as `loom data docstrings docstrings` makes it
    assert recipe_file("docstrings") == FOLDER / "docstrings.toml"
    (tmp_path / "poet.toml").write_text('name = "own"')
    assert recipe_file("poet.toml") == Path("poet.toml")
    (tmp_path / "poet").write_text('name = "own"')
    assert recipe_file("poet") == Path("poet")


@pytest.mark.parametrize("asked", ["poets", "", "../recipes/poet", "couplets/words", "none.toml"])
def test_what_is_neither_is_refused_with_the_names(asked: str) -> None:
    with pytest.raises(ValueError, match=re.escape(", ".join(NAMES[:2]))) as error:
        recipe_file(asked)
    assert all(name in str(error.value) for name in NAMES)


def test_a_run_without_resume_is_said(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    with pytest.raises(ValueError, match="run is a folder; a run in it goes on with --resume"):
        recipe_file("run")


def test_the_command_takes_a_name_and_reads_its_data_from_the_folder_it_is_called_in(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["train", "poet", "--dry"])
    assert isinstance(done.exception, (ValueError, OSError))
    assert f"poems/tokenizer is not there; the head of {FOLDER / 'poet.toml'} says" in str(done.exception)
    done = CliRunner().invoke(app, ["train", "poets"])
    assert isinstance(done.exception, ValueError)
    assert "nothing at poets" in str(done.exception)
    done = CliRunner().invoke(app, ["train", str(FOLDER / "poet.toml"), "--set", "run.steps=x"])
    assert "run.steps" in str(done.exception)


def test_what_is_no_run_is_not_gone_on_with(tmp_path: Path) -> None:
    (tmp_path / "my.toml").write_text('name = "own"')
    (tmp_path / "run").mkdir()
    for asked, found in (
        ("my.toml", "run: my.toml is a file; allowed: a run's folder, its name, or latest"),
        ("run", "run: run is a folder without recipe.toml"),
        ("no", "run: found none called 'no' in "),
        ("latest", "run: found none in "),
    ):
        done = CliRunner().invoke(app, ["train", asked, "--resume"])
        assert isinstance(done.exception, ValueError)
        assert found in str(done.exception)
    done = CliRunner().invoke(app, ["train", "poet", "--root", "runs"])
    assert "--root: is for --resume" in str(done.exception)


def test_a_run_goes_on_by_its_name_or_as_the_latest(tmp_path: Path) -> None:
    asked = tiny_recipe(tmp_path, **{"run.root": "", "run.steps": 3, "run.minutes": 1e-9})
    (tmp_path / "r.toml").write_text(to_toml(asked))
    assert CliRunner().invoke(app, ["train", "r.toml"]).exit_code == 0
    (run,) = (tmp_path / "home" / "runs").iterdir()
    for name, minutes, said in ((run.name, "0.000000001", "at step 2"), ("latest", "0", "(3 steps")):
        done = CliRunner().invoke(app, ["train", name, "--resume", "--minutes", minutes])
        assert done.exit_code == 0, done.output
        assert said in done.stdout
    done = CliRunner().invoke(app, ["train", "tiny", "--resume", "--root", str(tmp_path)])
    assert "run: found none called 'tiny'" in str(done.exception)


@pytest.mark.parametrize(
    ("objective", "offered"),
    [("pretrain", "'model.context' or 'data.context'?"), ("match", "'judge.context'?")],
)
def test_a_misspelt_key_is_answered_with_those_of_its_objective(
    tmp_path: Path, objective: str, offered: str
) -> None:
    (tmp_path / "my.toml").write_text(f'name = "own"\nobjective = "{objective}"\ncontxt = 3')
    said = str(CliRunner().invoke(app, ["train", "my.toml"]).exception)
    assert (
        f"contxt: unknown key, did you mean {offered} allowed in [{offered[1:].split('.')[0]}]: context, "
        in said
    )
    (tmp_path / "my.toml").write_text(f'name = "own"\nobjective = "{objective}"\nzzz = 3')
    said = str(CliRunner().invoke(app, ["train", "my.toml"]).exception)
    assert ("lora" in said) == ("judge" not in said) == (objective == "pretrain")
    assert "codec" not in said
    assert said.endswith("run")

"""`loom runs`: the list, one run in full, two compared, and what damaged files do not break."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from tokenloom.cli.runs import app, model_of, value_at
from tokenloom.train.run import RunFolder

Runs = Callable[..., Result]
RECIPE = '[model]\nfamily = "qwen3"\nn_layer = {layers}\ndim = 64\n[data]\ntrain = ["[bold]a"]\n'


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> Runs:
    monkeypatch.setenv("COLUMNS", "160")

    def run(*words: str) -> Result:
        return CliRunner().invoke(app, list(words))

    return run


@pytest.fixture
def two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """The names of two runs under the home."""
    import tokenloom.train.run

    monkeypatch.setattr(tokenloom.train.run, "_board", lambda folder, step: tokenloom.train.run._NoBoard())
    names = []
    for name, layers, steps in (("small", 2, 20), ("large", 4, 10)):
        with RunFolder.create(name, RECIPE.format(layers=layers)) as run:
            for step in range(1, steps + 1):
                more = {"eval": {"held_out_loss": 1.0 + layers}} if step == steps else {}
                loss = 8.0 / layers + 1.0 / step
                run.log({"step": step, "loss": loss, "tok_s": 100.0 * layers, "lr": 1e-3, **more})
            if name == "large":
                run.close("stopped", "interrupted")
        names.append(run.path.name)
    return names[0], names[1]


def test_an_empty_list_says_what_makes_a_run(runs: Runs) -> None:
    done = runs()
    assert done.exit_code == 0
    assert "There is no run in" in done.stdout
    assert "loom train" in done.stdout


def test_the_list(runs: Runs, two: tuple[str, str], home: Path) -> None:
    lines = runs().stdout.splitlines()
    assert lines[0].split() == ["name", "model", "step", "loss", "tok/s", "state", "when"]
    rows = {line.split()[0]: line.split() for line in lines[1:]}
    assert rows[two[0]][1:7] == ["qwen3", "2x64", "20", "4.0500", "200", "finished"]
    assert rows[two[1]][1:7] == ["qwen3", "4x64", "10", "2.1000", "400", "stopped"]
    facts = [json.loads(line) for line in runs("--json").stdout.splitlines()]
    assert {fact["name"] for fact in facts} == set(two)
    assert next(f for f in facts if f["state"] == "stopped")["why"] == "interrupted"
    assert runs("--root", str(home / "runs")).stdout.splitlines() == lines
    assert "There is no run" in runs("--root", str(home)).stdout


def test_damage_is_told_and_passed_over(runs: Runs, two: tuple[str, str], home: Path) -> None:
    log = home / "runs" / two[0] / "log.jsonl"
    log.write_bytes(log.read_bytes().replace(b'{"step": 7', b'{"step": '))
    (home / "runs" / two[1] / "environment.json").write_bytes(b"\xff")
    done = runs()
    assert done.exit_code == 0
    assert "log.jsonl:7: not JSON" in done.stderr
    assert "environment.json: not JSON" in done.stderr
    assert "4.0500" in done.stdout
    assert runs("show", two[1]).exit_code == 0


def test_one_run(runs: Runs, two: tuple[str, str], tmp_path: Path) -> None:
    done = runs("show", "small", "--png", str(tmp_path / "loss.png"))
    assert done.exit_code == 0, done.output
    said = done.stdout
    assert f"{two[0]}: finished, step 20" in said
    assert "model    qwen3 2x64" in said
    assert "machine  " in said
    assert "loss 4.05" in said
    assert "eval.held_out_loss 3" in said
    assert len(said.splitlines()) > 15, "a curve is drawn"
    assert (tmp_path / "loss.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert "stopped (interrupted)" in runs("show", "large").stdout
    assert runs("show", "latest").exit_code == 0


@pytest.mark.parametrize(("objective", "said"), [("codec", "picture codec"), ("match", "picture judge")])
def test_a_run_of_no_transformer_says_what_it_is(
    runs: Runs, home: Path, objective: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tokenloom.train.run

    monkeypatch.setattr(tokenloom.train.run, "_board", lambda folder, step: tokenloom.train.run._NoBoard())
    with RunFolder.create("art", f'objective = "{objective}"\n' + RECIPE.format(layers=2)) as run:
        run.log({"step": 1, "loss": 1.0})
    assert f"model    {said}\n" in runs("show", "art").stdout
    assert "qwen3" not in runs().stdout


def test_what_cannot_be_shown(runs: Runs, two: tuple[str, str], tmp_path: Path) -> None:
    for words in (("show", "nothing"), ("compare", "small", "nothing")):
        done = runs(*words)
        assert isinstance(done.exception, ValueError)
        assert "found none called 'nothing'" in str(done.exception)
    done = runs("show", "small", "--key", "colour", "--png", str(tmp_path / "x.png"))
    assert "no curve of colour" in str(done.exception)
    assert not (tmp_path / "x.png").exists()


def test_two_runs_beside_each_other(runs: Runs, two: tuple[str, str]) -> None:
    done = runs("compare", "small", "large")
    assert done.exit_code == 0, done.output
    rows = {line.split("  ")[0].strip(): line.split() for line in done.stdout.splitlines()}
    assert rows["model.n_layer"][-2:] == ["2", "4"]
    assert "model.dim" not in rows, "what is equal is not told"
    assert "data.train" not in rows
    assert rows["state"][-2:] == ["finished", "stopped"]
    assert rows["loss at step 10"][-2:] == ["4.1", "2.1"]
    assert rows["loss at step 1"][-2:] == ["5", "3"]
    assert rows["eval.held_out_loss"][-2:] == ["3", "5"]
    assert rows["tok/s, median"][-2:] == ["200", "400"]


@pytest.mark.parametrize(
    ("recipe", "words"),
    [
        ({}, ""),
        ({"model": {"start": "/a/b/smollm2", "n_layer": 3}}, "smollm2"),
        ({"model": {"family": "llama", "depth": 6}}, "llama 6"),
        ({"model": "x"}, ""),
        ({"objective": "sft", "model": {"family": "qwen3"}}, "qwen3"),
        ({"objective": "codec", "codec": {"size": 64}, "model": {"family": "qwen3"}}, "picture codec 64 px"),
        ({"objective": "codec", "model": {"family": "qwen3"}}, "picture codec"),
        ({"objective": "match", "codec": {"size": 64}, "model": {"family": "qwen3"}}, "picture judge"),
        ({"objective": "another", "model": {"family": "qwen3"}}, "another"),
    ],
)
def test_what_a_recipe_trains(recipe: dict[str, object], words: str) -> None:
    assert model_of(recipe) == words


def test_a_curve_is_smoothed_where_it_is_compared() -> None:
    curve = [(float(step), float(step % 2)) for step in range(1, 201)]
    assert value_at(curve, 200) == 0.5
    assert value_at(curve, 0) is None
    assert value_at(curve, 1) == 1.0

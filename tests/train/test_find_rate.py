"""The learning-rate finder on a model whose right rate is known to be between two bounds."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_training import tiny_recipe
from typer.testing import CliRunner

from tokenloom.cli import app
from tokenloom.config import to_toml
from tokenloom.train.find import find_rate
from tokenloom.train.progress import TrainingBar
from tokenloom.train.start import assemble


def test_the_rate_found_is_below_the_one_that_breaks(tmp_path: Path) -> None:
    parts = assemble(tiny_recipe(tmp_path, **{"optim.kind": "adamw"}))
    with TrainingBar(60) as bar:
        found = find_rate(parts.trainer, 60, 1e-6, 10.0, bar)
    assert 1e-4 < found.suggested <= found.steepest < 1.0
    assert found.rates[-1] > found.steepest
    assert len(found.rates) == len(found.losses) >= 3


@pytest.mark.parametrize(("steps", "low", "high", "says"), [(60, 1.0, 0.1, "low"), (3, 1e-6, 1.0, "steps")])
def test_bounds_that_are_none_are_refused(
    tmp_path: Path, steps: int, low: float, high: float, says: str
) -> None:
    parts = assemble(tiny_recipe(tmp_path))
    with TrainingBar(60) as bar, pytest.raises(ValueError, match=says):
        find_rate(parts.trainer, steps, low, high, bar)


def test_the_command_tells_it_and_keeps_nothing(tmp_path: Path) -> None:
    file = tmp_path / "r.toml"
    file.write_text(to_toml(tiny_recipe(tmp_path)))
    result = CliRunner().invoke(app, ["train", str(file), "--find-rate", "20"])
    assert result.exit_code == 0, result.output
    assert "Suggested: optim.lr=" in result.output
    assert not (tmp_path / "runs").exists()

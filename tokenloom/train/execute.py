"""Runs a recipe from its start, or from where it stopped, into a run folder with what it made at the end.

Not the putting together (train.kinds) and not the steps (train.fit).
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tokenloom.config import read_recipe, to_toml
from tokenloom.train.checkpoint import checkpoints
from tokenloom.train.fit import Outcome, fit
from tokenloom.train.kinds import Compare, Run, Survey, assembled
from tokenloom.train.progress import TrainingBar
from tokenloom.train.recipe import Recipe
from tokenloom.train.run import RunFolder


def train(
    recipe: Recipe,
    resume: Path | None = None,
    show: Callable[[Survey], None] | None = None,
    compare: Compare | None = None,
) -> tuple[Path, Outcome]:
    """Runs a recipe to its end, or goes on with the run in `resume`; answers the run's folder.

    show: is handed what the preflight found, before the first step of a new run. compare: see train.kinds. A
    finished run's folder holds the model. Raises ValueError (PreflightRefused among them) and OSError as its
    parts do.
    """
    run = assembled(recipe, compare)
    survey = run.survey()
    if resume is None and show is not None:
        show(survey)
    survey.check()
    step, progress = 0, None
    if resume is not None:
        found = checkpoints(resume / "checkpoints")
        if found:
            progress = run.trainer.load(found[-1])
            step = run.trainer.step_number
        folder = RunFolder.open(resume, step)
    else:
        root = Path(recipe.run.root).expanduser() if recipe.run.root else None
        folder = RunFolder.create(recipe.name, to_toml(run.recipe), root, seeds={"seed": recipe.seed})
        (folder.path / "preflight.json").write_text(json.dumps(survey.json(), indent=2), encoding="utf-8")
    with folder:
        outcome = _fit(run, folder, step, progress)
        if outcome.finished:
            run.publish(folder.path, outcome)
        else:
            folder.close("stopped", outcome.why)
    return folder.path, outcome


def _fit(run: Run, folder: RunFolder, step: int, progress: Mapping[str, Any] | None) -> Outcome:
    before = run.before() if step == 0 else {}
    if before:
        folder.log({"step": 0, **before})
    pace = run.pace()
    with TrainingBar(
        run.sizes.steps, step, flops_per_token=pace.flops, peak_flops=pace.peak, unit=pace.unit
    ) as bar:
        return fit(
            run.trainer,
            folder,
            run.recipe.run,
            bar,
            evaluate=run.evaluate,
            samples=run.samples,
            progress=progress,
            step_tokens=pace.step,
            reads=pace.reads,
            unit=pace.unit,
        )


def resumed(folder: Path, changes: Mapping[str, Any]) -> Recipe:
    """The recipe of a run that is gone on with; only what does not change its result may differ."""
    recipe = read_recipe(Recipe, folder / "recipe.toml")
    return dataclasses.replace(recipe, run=dataclasses.replace(recipe.run, **changes))

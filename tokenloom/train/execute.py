"""Runs a recipe from its start, or from where it stopped, into a run folder with a model at the end.

Not the putting together (train.start) and not the steps (train.fit).
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tokenloom.config import read_recipe, to_toml
from tokenloom.data.shards import Shards
from tokenloom.train.checkpoint import checkpoints
from tokenloom.train.evaluate import held_out, sample_texts
from tokenloom.train.fit import Outcome, fit
from tokenloom.train.lora import plain
from tokenloom.train.progress import TrainingBar
from tokenloom.train.publish import publish
from tokenloom.train.recipe import Recipe
from tokenloom.train.run import RunFolder
from tokenloom.train.start import Parts, assemble
from tokenloom.train.survey import Survey, best, flops, surveyed


def train(
    recipe: Recipe, resume: Path | None = None, show: Callable[[Survey], None] | None = None
) -> tuple[Path, Outcome]:
    """Runs a recipe to its end, or goes on with the run in `resume`; answers the run's folder.

    show: is handed what the preflight found, before the first step of a new run. A finished run's folder
    holds the model. Raises ValueError (PreflightRefused among them) and OSError as its parts do.
    """
    parts = assemble(recipe)
    survey = surveyed(parts)
    if resume is None and show is not None:
        show(survey)
    survey.check()
    step, progress = 0, None
    if resume is not None:
        found = checkpoints(resume / "checkpoints")
        if found:
            progress = parts.trainer.load(found[-1])
            step = parts.trainer.step_number
        folder = RunFolder.open(resume, step)
    else:
        root = Path(recipe.run.root).expanduser() if recipe.run.root else None
        folder = RunFolder.create(recipe.name, to_toml(parts.recipe), root, seeds={"seed": recipe.seed})
        (folder.path / "preflight.json").write_text(json.dumps(survey.json(), indent=2), encoding="utf-8")
    with folder:
        outcome = _fit(parts, folder, step, progress)
        if outcome.finished:
            publish(parts, folder.path, outcome)
        else:
            folder.close("stopped", outcome.why)
    return folder.path, outcome


def _fit(parts: Parts, folder: RunFolder, step: int, progress: Mapping[str, Any] | None) -> Outcome:
    run, found = parts.recipe.run, parts.sizes

    def evaluate() -> dict[str, float]:
        figures = _measure(parts, parts.held_out, run.eval_tokens) if parts.held_out else {}
        if parts.watched is not None:
            figures["watched_bits_per_byte"] = _watch(parts)
        return figures

    def samples() -> list[Mapping[str, str]]:
        model = plain(parts.model)
        return sample_texts(model, parts.tokenizer, run.samples, run.sample_tokens, parts.recipe.seed)

    if step == 0 and parts.watched is not None:
        before = {"bits_per_byte": _watch(parts), "text": parts.watched[1]}
        folder.log({"step": 0, "watched": before})
    with TrainingBar(found.steps, step, flops_per_token=flops(parts), peak_flops=best(parts)) as bar:
        return fit(
            parts.trainer,
            folder,
            run,
            bar,
            evaluate=evaluate if parts.held_out or parts.watched else None,
            samples=samples if run.samples else None,
            progress=progress,
            step_tokens=round(found.batch_tokens * parts.batches.filled),
        )


def _measure(parts: Parts, sets: list[Shards], most: int) -> dict[str, float]:
    return held_out(parts.objective, "model", sets, parts.sizes.context, parts.sizes.rows, most)


def _watch(parts: Parts) -> float:
    assert parts.watched is not None
    return _measure(parts, parts.watched[0], 0)["bits_per_byte"]


def resumed(folder: Path, changes: Mapping[str, Any]) -> Recipe:
    """The recipe of a run that is gone on with; only what does not change its result may differ."""
    recipe = read_recipe(Recipe, folder / "recipe.toml")
    return dataclasses.replace(recipe, run=dataclasses.replace(recipe.run, **changes))

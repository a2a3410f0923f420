"""`loom train`: runs a recipe, or goes on with a run that stopped."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    import numpy as np

    from tokenloom.train.kinds import Compare
    from tokenloom.train.recipe import Recipe


def train(
    recipe: Annotated[
        str,
        typer.Argument(
            help="The recipe: a TOML file, or the name of one that comes along, such as poet or "
            "couplets/sft. With --resume a run to go on with: as `loom runs` lists it, the start of its "
            "name, its folder, or `latest`."
        ),
    ],
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", help="Changes a value of the recipe, such as run.steps=100. May be repeated."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with this run from its last checkpoint.")
    ] = False,
    root: Annotated[
        Path | None,
        typer.Option(
            help="With --resume: where runs lie; without it the home's folder runs.", show_default=False
        ),
    ] = None,
    dry: Annotated[
        bool, typer.Option("--dry", help="Only show what would be learned, and what it would take.")
    ] = False,
    find_rate: Annotated[
        int,
        typer.Option(
            help="Do not train: search a learning rate in so many steps (100 is usual) and tell it.", min=0
        ),
    ] = 0,
    minutes: Annotated[
        float,
        typer.Option(help="Stop with a checkpoint after so many minutes, to be resumed. 0: never.", min=0),
    ] = 0.0,
) -> None:
    """Train a model by a recipe: from nothing, or on from a model that is there.

    Paths in a recipe are relative to the folder this is called in, wherever the recipe lies.

    The run's folder holds the recipe with every number written out, the log, checkpoints and, at the end, the
    model. Ctrl-C stops after the step at hand, with a checkpoint; `loom train RUN --resume` goes on as if
    nothing had happened.
    """
    from rich.console import Console

    from tokenloom.config import read_recipe
    from tokenloom.train.recipe import Recipe
    from tokenloom.train.shipped import recipe_file

    if resume:
        if changes:
            raise ValueError("--set: a resumed run keeps its recipe; start a new one to change it")
        from tokenloom.train.record import find_run

        folder: Path | None = find_run(recipe, root)
        asked = None
    elif root is not None:
        raise ValueError("--root: is for --resume; a new run lies where the recipe's run.root says")
    else:  # a misspelt key is said before PyTorch is loaded, which takes seconds
        folder = None
        added = [f"run.minutes={minutes}"] if minutes else []
        file = recipe_file(recipe)
        asked = read_recipe(Recipe, file, [*(changes or []), *added], _matters)
        if not Path(recipe).is_file():
            _check_data_is_made(asked, file)
    from tokenloom.train.execute import resumed
    from tokenloom.train.execute import train as run
    from tokenloom.train.kinds import assembled

    if folder is not None:
        asked = resumed(folder, {"minutes": minutes})
    assert asked is not None
    if find_rate:
        _find_rate(asked, find_rate)
        return
    if dry:
        survey = assembled(asked).survey()
        Console().print(survey.table())
        survey.check()
        return
    place, outcome = run(
        asked, folder, lambda survey: Console(stderr=True).print(survey.table()), _comparing(asked)
    )
    last = ", ".join(f"{k} {v:.4g}" for k, v in outcome.last.items())
    if outcome.finished:
        typer.echo(f"Done: {place} ({outcome.step} steps{'; ' + last if last else ''}).")
    else:
        typer.echo(f"Stopped ({outcome.why}) at step {outcome.step}; go on with: loom train {place} --resume")


def _matters(table: Mapping[str, Any]) -> list[str]:
    """The keys of a recipe that its objective looks at; asked only for an error, since it loads PyTorch."""
    from dataclasses import fields

    from tokenloom.train.kinds import PARTS
    from tokenloom.train.recipe import Recipe

    own = PARTS.get(str(table.get("objective", "pretrain")))
    others = {name for names in PARTS.values() for name in names}
    return [
        field.name for field in fields(Recipe) if own is None or field.name in own or field.name not in others
    ]


def _check_data_is_made(recipe: Recipe, file: Path) -> None:
    """ValueError where a recipe that comes along finds no data, naming the place that says how it is made."""
    for place in (recipe.model.tokenizer, *recipe.data.train):
        if place and not Path(place).exists():
            raise ValueError(f"{place} is not there; the head of {file} says how it is made")


def _comparing(recipe: Recipe) -> Compare:
    """What a codec's evaluations tell of its works beside their own figures."""

    def pictures(real: np.ndarray, made: np.ndarray) -> dict[str, float]:
        from tokenloom.evals.pictures import ms_ssim, ssim

        return {"ssim": float(ssim(real, made).mean()), "ms_ssim": float(ms_ssim(real, made).mean())}

    def sounds(real: np.ndarray, made: np.ndarray) -> dict[str, float]:
        from tokenloom.evals.sound import mean_stoi

        return {"stoi": mean_stoi(real, made, recipe.audio_codec.rate)}

    return sounds if recipe.objective == "audio-codec" else pictures


def _find_rate(recipe: Recipe, steps: int) -> None:
    from tokenloom.evals.plot import terminal_curve
    from tokenloom.train.find import find_rate
    from tokenloom.train.kinds import assembled
    from tokenloom.train.progress import TrainingBar

    parts = assembled(recipe)
    with TrainingBar(steps) as bar:
        found = find_rate(parts.trainer, steps, 1e-6, 1.0, bar)
    points = [(math.log10(rate), loss) for rate, loss in zip(found.rates, found.losses, strict=True)]
    typer.echo(terminal_curve({"loss": points}, 70, 16, "loss by log10 of the learning rate"))
    typer.echo(f"Steepest at {found.steepest:.3g}. Suggested: optim.lr={found.suggested:.3g}")
    typer.echo(f"The rule would give {parts.sizes.lr:.3g}. Nothing was kept.")

"""`loom data tunes` and `loom data tune-set`: what a composer learns from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.progress import Progress


def data_tunes(
    wheel: Annotated[Path, typer.Argument(help="The wheel of music21, a file; it is read as it is.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder to write.")] = Path("tunes"),
) -> None:
    """Read the tunes of O'Neill's and Ryan's collections and write their notes, a tune a line.

    The last line of the output is JSON: how many tunes of which kind, and why others were left out.
    """
    from tokenloom.data.tune_set import write_tunes

    with _bar() as bar:
        task = bar.add_task("tunes", total=None)
        facts = write_tunes(wheel, out, lambda done, of: bar.update(task, completed=done, total=of))
    _say({"what": "tunes", "folder": str(out), **facts})


def data_tune_set(
    folder: Annotated[Path, typer.Argument(help="The folder that `loom data tunes` wrote.")] = Path("tunes"),
    keys: Annotated[int, typer.Option(help="Keys in which a tune is learned.", min=1, max=12)] = 3,
    repeated: Annotated[
        float, typer.Option(help="Share of the tunes whose parts are played twice.", min=0, max=1)
    ] = 0.2,
    infills: Annotated[int, typer.Option(help="Times that bars of a tune are hidden.", min=0)] = 2,
    longest: Annotated[int, typer.Option(help="Ids of a document at most.", min=64)] = 512,
    seed: Annotated[int, typer.Option(help="Of keys, repeats and hidden bars.")] = 1,
) -> None:
    """Make a tokenizer, a training and a held-out set of tunes.

    Tunes that are alike, in whatever key, are in one of the sets alone. The last line of the output is JSON.
    """
    from tokenloom.data.tune_set import Mix, write_tune_set

    with _bar() as bar:
        task = bar.add_task("tune set", total=None)
        facts = write_tune_set(
            folder,
            Mix(keys, repeated, infills, longest),
            seed,
            lambda done, of: bar.update(task, completed=done, total=of),
        )
    _say({"what": "tune set", "folder": str(folder), **facts})


def _bar() -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


def _say(facts: dict[str, Any]) -> None:
    import json

    typer.echo(json.dumps(facts, ensure_ascii=False))

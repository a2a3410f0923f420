"""`loom data speech` and `loom data speech-set`: what a codec of sound and a model that speaks learn from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.progress import Progress


def data_speech(
    out: Annotated[Path, typer.Argument(help="The folder to write.")] = Path("speech"),
    n: Annotated[int, typer.Option("-n", "--n", help="How many texts are spoken.", min=2)] = 4000,
    seed: Annotated[int, typer.Option(help="The same seed says the same, the same way.")] = 1,
    voice: Annotated[
        str, typer.Option(help="The embedded voice, or another of its kind that is here.")
    ] = "heart",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a folder of speech.")] = False,
) -> None:
    """Have the embedded voice say numbers, dates, times, prices and short commands.

    Written are 16 kHz samples with texts, phonemes and the times of words. One text of 25 is held out. The
    last line of the output is JSON.
    """
    from tokenloom.data.speech import write_speech
    from tokenloom.sound.timed import TimedVoice

    with _bar() as bar:
        task = bar.add_task("speech", total=n)
        facts = write_speech(
            out, n, seed, TimedVoice(voice), lambda done, of: bar.update(task, completed=done), overwrite
        )
    typer.echo(json.dumps({"what": "speech", "folder": str(out), **facts}))


def _bar() -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)

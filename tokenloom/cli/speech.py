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

    with bar() as shown:
        task = shown.add_task("speech", total=n)
        facts = write_speech(
            out, n, seed, TimedVoice(voice), lambda done, of: shown.update(task, completed=done), overwrite
        )
    typer.echo(json.dumps({"what": "speech", "folder": str(out), **facts}))


def data_speech_set(
    folder: Annotated[Path, typer.Argument(help="The folder that `loom data speech` wrote.")] = Path(
        "speech"
    ),
    codec: Annotated[Path, typer.Option("--codec", help="The folder of a codec of sound.")] = Path("codec"),
    out: Annotated[Path, typer.Option("--output", "-o", help="The folder to write.")] = Path("speech-set"),
    longest: Annotated[int, typer.Option(help="Ids of a document at most.", min=64)] = 512,
    seed: Annotated[int, typer.Option(help="Of the order of the documents.")] = 1,
) -> None:
    """Say speech in a codec's codes: a tokenizer, a training and a held-out set of a model that speaks.

    Each word's phonemes stand before its codes. The last line of the output is JSON.
    """
    from tokenloom.codec.audio_folder import open_audio_codec
    from tokenloom.data.speech import open_speech
    from tokenloom.data.speech_set import write_speech_set

    speech, opened = open_speech(folder), open_audio_codec(codec)
    with bar() as shown:
        task = shown.add_task("speech set", total=len(speech.utterances))
        facts = write_speech_set(
            out,
            speech,
            opened,
            longest=longest,
            seed=seed,
            progress=lambda done, of: shown.update(task, completed=done),
        )
    typer.echo(json.dumps({"what": "speech set", "folder": str(out), **facts}))


def bar() -> Progress:
    """A bar of counted steps on stderr."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)

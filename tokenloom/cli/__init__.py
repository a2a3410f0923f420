"""`loom`: the terminal's commands. Each imports what it needs when it runs, so `loom --help` is quick.

Errors a user can mend are one sentence on stderr and exit status 1; Ctrl-C is 130.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from typing import Annotated

import typer

from tokenloom.cli import (
    ask,
    audio,
    bench,
    compose,
    data,
    evals,
    examples,
    export,
    image,
    image_join,
    models,
    picture,
    picture_eval,
    picture_set,
    poem,
    runs,
    serve,
    sound,
    speech,
    sprites,
    tokenizer,
    train,
    tune_eval,
    tunes,
    walk,
)
from tokenloom.tasks import tasks, typer_command
from tokenloom.version import __version__

app = typer.Typer(
    name="loom",
    help="Tokenloom: make, train, judge and serve models that write, draw, compose and speak.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(ask.chat)
app.command("write")(poem.with_poem(typer_command(tasks()["write"], ask.write)))
app.command()(picture.draw)
app.command()(picture.edit)
app.command()(picture.restyle)
app.command()(picture.describe)
app.command()(compose.compose)
app.command()(sound.speak)
app.command()(sound.voices)
app.command()(sound.transcribe)
app.command()(serve.studio)
app.command()(serve.serve)
app.command()(models.pull)
app.command("models")(models.models)
app.command()(models.remove)
app.command()(models.verify)
data.app.command()(examples.poems)
data.app.command()(examples.docstrings)
data.app.command("docstring-scores")(examples.docstring_scores)
data.app.command()(sprites.sprites)
data.app.command()(sprites.scenes)
data.app.command("speech")(speech.data_speech)
data.app.command("speech-set")(speech.data_speech_set)
data.app.command("tunes")(tunes.data_tunes)
data.app.command("tune-set")(tunes.data_tune_set)
app.add_typer(data.app, name="data")
app.add_typer(tokenizer.app, name="tokenizer")
app.command()(train.train)
image_app = typer.Typer(
    name="image",
    help="Make a picture model of your own: its codec, what it learns from, its judge, its figures.",
    no_args_is_help=True,
)
_IMAGE: dict[str, Callable[..., None]] = {
    "encode": image.encode,
    "decode": image.decode,
    "score": image.score,
    "outlines": image.outlines,
    "tokenizer": picture_set.image_tokenizer,
    "set": picture_set.image_set,
    "train": train.train,
    "join": image_join.image_join,
    "judge": picture_eval.image_judge,
    "eval": picture_eval.image_eval,
}
for _name, _command in _IMAGE.items():
    image_app.command(_name)(_command)
app.add_typer(image_app)
audio_app = typer.Typer(
    name="audio",
    help="A codec of sound by itself: sound as codes and back, and how near it is.",
    no_args_is_help=True,
)
for _command in (audio.encode, audio.decode, audio.score):
    audio_app.command()(_command)
app.add_typer(audio_app)
app.add_typer(runs.app, name="runs")
app.command("eval")(evals.evaluate)
app.command()(evals.report)
app.command("eval-tunes")(tune_eval.tune_eval)
app.add_typer(export.app, name="export")
app.command()(walk.walk)
app.command()(bench.bench)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"tokenloom {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", help="Say on stderr what is going on.")] = False,
) -> None:
    """Tokenloom: make, train, judge and serve models that write, draw, compose and speak."""
    if verbose:
        logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s", stream=sys.stderr)


def main() -> None:
    """The program: runs a command, turns errors into one sentence and an exit status."""
    try:
        app()
    except (ValueError, OSError) as error:
        print(f"loom: {error}", file=sys.stderr)
        sys.exit(1)

"""`loom export`: a model as a GGUF file, or as a folder in the Hub's layout."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from tokenloom.hub import Found

app = typer.Typer(help="Write a model in a form that other programs read.", no_args_is_help=True)

Model = Annotated[
    str,
    typer.Argument(
        help="A name from `loom models`, a path to a model folder or .gguf file, or a training's folder."
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Replace what is there.")]


@app.command("gguf")
def gguf(
    model: Model,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="The file; without it NAME.TYPE.gguf here.", show_default=False),
    ] = None,
    kind: Annotated[
        str,
        typer.Option(
            "--type",
            help="What matrices are written as: f32, f16, bf16, q8_0, q5_1, q5_0, q4_1 or q4_0. In the types "
            "of 4 and 5 bits the embedding and the output layer have 8.",
        ),
    ] = "f16",
    force: Force = False,
) -> None:
    """Write a model as a GGUF file, which llama.cpp and programs built on it run.

    An interrupted or failed export leaves no file, and an older one as it was.
    """
    import torch

    from tokenloom.model.export import export_gguf
    from tokenloom.model.load import open_sources
    from tokenloom.tokens.gguf_export import tokenizer_meta
    from tokenloom.tokens.text import load_tokenizer

    found = _found(model)
    path = out or Path(f"{_plain(found)}.{kind.upper()}.gguf")
    config, sources = open_sources(found.path, torch.float32)
    keys, lost = tokenizer_meta(load_tokenizer(found.path), config.vocab_size)
    with _bar(f"writing {path.name}") as progress:
        done = export_gguf(
            config, sources, path, kind, meta=_about(found) | keys, overwrite=force, progress=progress
        )
    for note in (*done.notes, *lost):
        typer.echo(f"Note: {note}")
    typer.echo(f"{done.path} is written: {_megabytes(done.size)} in {done.kind}")


@app.command("hub")
def hub_folder(
    model: Model,
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder.")],
    dtype: Annotated[
        str, typer.Option(help="What weights are written as: bfloat16, float16 or float32.")
    ] = "bfloat16",
    force: Force = False,
) -> None:
    """Write a model as a folder in the Hub's layout, to fine-tune it or to open it in transformers.

    Quantised weights become plain ones; what the quantising lost stays lost.
    """
    from tokenloom.hub.store import bytes_in
    from tokenloom.model.load import DTYPES
    from tokenloom.model.save import save_model

    found = _found(model)
    if dtype not in DTYPES:
        raise ValueError(f"dtype: found {dtype!r}; allowed: {', '.join(DTYPES)}")
    with _bar(f"writing {out.name}") as progress:
        weights, files = _opened(found, dtype)
        progress(1, 2)
        save_model(weights, out, files=files, dtype=dtype, overwrite=force)
    size = bytes_in(out)
    typer.echo(f"{out} is written: {_megabytes(size)} in {dtype}")


def _found(model: str) -> Found:
    """The model of this name; of a training the one that it made."""
    from dataclasses import replace

    from tokenloom import hub

    run = Path(model)
    if not (run / "recipe.toml").is_file():
        return hub.find(model)
    if (run / "model").is_dir():
        return replace(hub.find(str((run / "model").absolute())), name=run.absolute().name)
    if (run / "adapter").is_dir():
        raise ValueError(
            f"model: {run} is a training that made an adapter alone; with lora.merge = true in its recipe it "
            "makes a whole model, too"
        )
    raise ValueError(f"model: {run} is a training without a model yet; `loom train {run} --resume` goes on")


def _opened(found: Found, dtype: str) -> tuple[Any, dict[str, str]]:
    """The model with all ids that end a turn in its settings, and the files of its tokenizer."""
    import dataclasses

    from tokenloom.model.load import load_model
    from tokenloom.tokens.folder import tokenizer_files
    from tokenloom.tokens.text import load_tokenizer

    tokenizer = load_tokenizer(found.path)
    model = load_model(found.path, dtype, "cpu")
    ends = tuple(dict.fromkeys((*tokenizer.eos_ids, *model.config.eos_ids)))
    model.config = dataclasses.replace(model.config, eos_ids=ends)
    return model, tokenizer_files(tokenizer)


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.0f} MB" if size >= 10e6 else f"{size / 1e6:.2g} MB"


def _plain(found: Found) -> str:
    """A model's name as a file's: the last part of it, without an ending."""
    name = found.path.stem if found.kind == "gguf" else found.path.name
    return name if "/" in found.name or found.kind == "gguf" else found.name


def _about(found: Found) -> dict[str, str]:
    """What the file says of itself beside its settings."""
    from tokenloom.hub.card import card_of_folder
    from tokenloom.weights.gguf import open_gguf

    if found.kind == "hub":
        licence = card_of_folder(found.path).licence
        return {"general.name": _plain(found), **({"general.license": licence} if licence else {})}
    with open_gguf(found.path) as file:
        kept = {key: file.meta.get(key) for key in ("general.name", "general.license", "general.basename")}
    return {key: value for key, value in kept.items() if isinstance(value, str) and value}


@contextmanager
def _bar(title: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on stderr where that is a terminal; yields what moves it."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)

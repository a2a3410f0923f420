"""`loom image tokenizer` and `loom image set`: what a picture model learns from, as ids."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.progress import Progress

_SPRITES = Annotated[Path, typer.Argument(help="The folder of sprites, as `loom data sprites` makes it.")]
_CODEC = Annotated[Path, typer.Option("--codec", help="The folder of the trained codec.")]
_CAPTIONS = Annotated[int, typer.Option(help="Captions the tokenizer is learned from.", min=100)]
_VOCAB = Annotated[int, typer.Option(help="Ids of text; marks and codes come on top.", min=300)]


def image_tokenizer(
    sprites: _SPRITES,
    codec: _CODEC,
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder to write.")] = Path(
        "pictures/tokenizer"
    ),
    captions: _CAPTIONS = 200_000,
    vocab_size: _VOCAB = 2560,
    seed: Annotated[int, typer.Option(help="Of the scenes whose captions are read.")] = 0,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a tokenizer that is there.")
    ] = False,
) -> None:
    """Learn the tokenizer of a picture model: words of both languages, marks of layouts, the codec's codes.

    `loom image set` makes it where it is missing. The last line of the output is JSON.
    """
    from tokenloom.tokens.train import check_place

    check_place(out, overwrite)
    with _bar() as bar:
        facts = _tokenizer(sprites, codec, out, captions, vocab_size, seed, bar, overwrite)
    _say(facts)


def image_set(
    sprites: _SPRITES,
    codec: _CODEC,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="The folder of tokenizer, training set and held-out sets.")
    ] = Path("pictures"),
    n: Annotated[int, typer.Option("-n", help="Examples to learn from.", min=1)] = 150_000,
    held_out: Annotated[int, typer.Option(help="Examples of each held-out set; 0 for none.", min=0)] = 2000,
    seed: Annotated[int, typer.Option(help="Of scenes, words and kinds.")] = 1,
    workers: Annotated[
        int | None,
        typer.Option(help="Processes; when not given one for each core.", min=1, show_default=False),
    ] = None,
    mix: Annotated[
        str,
        typer.Option(
            help="What examples are for, in shares that make one; a share left out is 0. With whole=0.8 so "
            "many of those described or restyled show one whole emoji; with varied=0.6 so many of those "
            "restyled are mirrored or have other hues."
        ),
    ] = "draw=0.55,describe=0.15,edit=0.15,restyle=0.15",
    tokenizer: Annotated[
        Path | None,
        typer.Option(
            help="The tokenizer of another set, for a model that is to learn more; without it one is made.",
            show_default=False,
        ),
    ] = None,
    captions: _CAPTIONS = 200_000,
    vocab_size: _VOCAB = 2560,
) -> None:
    """Compose pictures, encode them and write them as ids for a model that draws, describes and edits.

    Written are tokenizer, train, and held-out sets: of new scenes, and of emoji, pairs of emoji and style,
    combinations and a style that training never sees. What is finished is kept and what was broken off is
    gone on with, so the same command may be given again. The last line of the output is JSON.
    """
    import time

    from tokenloom.data.picture_set import PictureSet, mix_of, set_is_there, write_picture_set
    from tokenloom.data.picture_splits import SPLITS
    from tokenloom.data.shards import open_shards
    from tokenloom.data.workers import cores

    words = tokenizer or out / "tokenizer"
    if tokenizer is not None and not (words / "tokenloom.json").is_file():
        raise ValueError(f"tokenizer: {words} holds no tokenizer of pictures; loom image tokenizer makes one")
    plans = {"train": PictureSet(sprites, codec, words, n, "train", seed, mix_of(mix))}
    for split in SPLITS if held_out else ():
        plans[f"held/{'new' if split == 'train' else split}"] = PictureSet(
            sprites, codec, words, held_out, split, seed + 1
        )
    facts: dict[str, Any] = {"what": "image set", "folder": str(out), "sets": {}}
    with _bar() as bar:
        if not (words / "tokenloom.json").is_file():
            facts["tokenizer"] = _tokenizer(sprites, codec, words, captions, vocab_size, 0, bar)
        for name, plan in plans.items():
            begun, task = time.monotonic(), bar.add_task(name, total=plan.n)
            there = set_is_there(plan, out / name)
            shards = (
                open_shards(out / name)
                if there
                else write_picture_set(
                    plan,
                    out / name,
                    workers or cores(),
                    lambda done, of, task=task: bar.update(task, completed=done),  # type: ignore[misc]
                )
            )
            bar.update(task, completed=plan.n)
            facts["sets"][name] = {
                "examples": shards.n_documents,
                "tokens": shards.n_tokens,
                "kinds": shards.manifest["about"]["kinds"],
                "seconds": 0.0 if there else round(time.monotonic() - begun, 1),
            }
    _say(facts)


def _tokenizer(
    sprites: Path,
    codec: Path,
    out: Path,
    captions: int,
    vocab_size: int,
    seed: int,
    bar: Progress,
    overwrite: bool = False,
) -> dict[str, Any]:
    from tokenloom.codec.folder import open_codec
    from tokenloom.data.picture_tokenizer import picture_tokenizer
    from tokenloom.data.sprites import open_sprites
    from tokenloom.tokens.train import write_tokenizer

    opened = open_codec(codec)
    task = bar.add_task("tokenizer", total=captions)
    trained = picture_tokenizer(
        open_sprites(sprites),
        opened.n_codes,
        opened.sha256,
        n=captions,
        seed=seed,
        vocab_size=vocab_size,
        progress=lambda done, of: bar.update(task, completed=done),
    )
    write_tokenizer(out, trained, overwrite)
    bar.update(task, completed=captions)
    ranges = {part.name: [part.start, part.stop] for part in trained.vocabulary.ranges}
    return {"folder": str(out), "vocab_size": trained.tokenizer.vocab_size, "ranges": ranges}


def _bar() -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


def _say(facts: dict[str, Any]) -> None:
    import json

    typer.echo(json.dumps(facts, ensure_ascii=False))

"""`loom data sprites` and `loom data scenes`: what pictures are made of, and a look at them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def sprites(
    packages: Annotated[
        list[Path],
        typer.Argument(
            help="Unpacked packages, .tgz files, or folders that hold them: emojibase-data for the labels, "
            "one or more of @lobehub/fluent-emoji-3d, emoji-datasource-google, @discordapp/twemoji, "
            "openmoji, and clip art, Debian's package openclipart-svg unpacked with dpkg-deb -x."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder to write to.")] = Path("sprites"),
    tones: Annotated[bool, typer.Option("--tones", help="Skin-tone variants too.")] = False,
) -> None:
    """Make the sprites that pictures are composed of from packages of emoji and clip art.

    Nothing is fetched: npm pack --ignore-scripts NAME@VERSION gets a package, and what is missing is named.
    """
    import json

    from rich.console import Console
    from rich.progress import Progress, TaskID

    from tokenloom.data.sprite_packages import make_sprites

    console = Console(stderr=True)
    tasks: dict[str, TaskID] = {}
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:

        def on_step(style: str, done: int, total: int) -> None:
            if style not in tasks:
                tasks[style] = bar.add_task(style, total=total)
            bar.update(tasks[style], completed=done)

        counts = make_sprites(packages, out, tones=tones, on_step=on_step)
    typer.echo(json.dumps({"folder": str(out), "sprites": counts}))


def scenes(
    folder: Annotated[Path, typer.Argument(help="A folder of sprites that loom data sprites wrote.")],
    out: Annotated[
        Path,
        typer.Option(
            "--out", "-o", help="A sheet (.png), or a folder for pictures with a file captions.jsonl."
        ),
    ] = Path("scenes.png"),
    n: Annotated[int, typer.Option("--n", help="How many pictures.")] = 64,
    seed: Annotated[int, typer.Option("--seed", help="The same seed makes the same pictures.")] = 1,
    split: Annotated[
        str, typer.Option("--split", help="train, emoji, pairs, combinations or style: what is held out.")
    ] = "train",
    edits: Annotated[
        bool, typer.Option("--edits", help="Edit pairs instead: before, what is masked, after.")
    ] = False,
) -> None:
    """Compose pictures as a model learns from them, with captions in English and Chinese, to look at."""
    from random import Random

    from tokenloom.data.captions import caption
    from tokenloom.data.contact_sheet import write_edits, write_pictures, write_sheet
    from tokenloom.data.scenes import compose
    from tokenloom.data.sprites import open_sprites

    if n < 1:
        raise ValueError(f"--n: found {n}; allowed is 1 or more")
    sprites = open_sprites(folder)
    made = (compose(sprites, seed, index, split) for index in range(n))
    if edits:
        if out.suffix.lower() != ".png":
            raise ValueError(f"--out: found {out}; edits are written as one sheet, a file .png")
        write_edits(sprites, made, out)
    else:
        told = (
            (scene, tuple(caption(scene.record, lang, Random(f"{seed}/{number}")) for lang in ("en", "zh")))
            for number, scene in enumerate(made)
        )
        if out.suffix.lower() == ".png":
            pairs = list(told)
            write_sheet(
                [scene.pixels for scene, _ in pairs],
                [(f"[{scene.record.style}] {said[0]}", said[1]) for scene, said in pairs],
                out,
            )
        else:
            write_pictures(told, out)
    typer.echo(f"{n} pictures in {out}")

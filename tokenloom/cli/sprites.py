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
            "and one or more of @lobehub/fluent-emoji-3d, emoji-datasource-google, @discordapp/twemoji, "
            "openmoji."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder to write to.")] = Path("sprites"),
    tones: Annotated[bool, typer.Option("--tones", help="Skin-tone variants too.")] = False,
) -> None:
    """Make the sprites that pictures are composed of from packages of emoji.

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

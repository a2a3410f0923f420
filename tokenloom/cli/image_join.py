"""`loom image join`: the three networks of a picture model in one folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def image_join(
    model: Annotated[
        str, typer.Argument(help="The Transformer that writes codes: its folder, or the run that trained it.")
    ],
    codec: Annotated[
        str,
        typer.Option(
            "--codec", help="The codec whose codes it learned: a folder, a run, or a picture model."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder to write, as `painter`.")],
    judge: Annotated[
        str | None,
        typer.Option(
            help="The judge, trained with the same tokenizer: a folder, a run, or a picture model. Without "
            "one candidates cannot be ranked (--best-of).",
            show_default=False,
        ),
    ] = None,
    guidance: Annotated[
        float | None,
        typer.Option(help="The guidance to recommend, 0 to 20, such as 1.5.", show_default=False),
    ] = None,
    temperature: Annotated[
        float | None, typer.Option(help="The temperature to recommend, 0 to 2.", show_default=False)
    ] = None,
    top_k: Annotated[
        int | None, typer.Option(help="The top-k to recommend; 0 is all codes.", show_default=False)
    ] = None,
    dtype: Annotated[
        str | None,
        typer.Option(
            help="bfloat16 or float16 for the Transformer's weights; without it they stay as they are.",
            show_default=False,
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a picture model there.")] = False,
) -> None:
    """Join a picture model: `loom image join RUN --codec codec --judge RUN -o painter`.

    What was not made for each other is refused: a codec whose codes the model did not learn, a judge with
    another tokenizer. `loom draw --model` takes the folder.
    """
    from tokenloom.tokens.joined import join_pictures

    told = {"guidance_scale": guidance, "temperature": temperature, "top_k": top_k}
    place = join_pictures(
        _part("model", model, ("model",)),
        _part("codec", codec, ("codec",)),
        out,
        judge=None if judge is None else _part("judge", judge, ("judge", "model")),
        sampling={name: value for name, value in told.items() if value is not None},
        dtype=dtype,
        overwrite=overwrite,
    )
    typer.echo(f"Joined: {place} (loom draw --model {place})")


def _part(name: str, asked: str, inner: tuple[str, ...]) -> Path:
    """The folder of a part: the one that is named, or what lies in the run or picture model that is named."""
    from tokenloom.train.record import find_run

    place = Path(asked).expanduser()
    if not place.is_dir():
        try:
            place = find_run(asked)
        except ValueError as error:
            raise ValueError(
                f"{name}: found neither a folder {asked} nor a run of that name ({error})"
            ) from None
    return next((place / one for one in inner if (place / one / "config.json").is_file()), place)

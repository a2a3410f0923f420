"""The options that drawing, editing and restyling share, said once; not what is done with them."""

from __future__ import annotations

import dataclasses
import inspect
import re
import typing
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

PAINTER = "painter"

Name = Annotated[str, typer.Option("--model", "-m", help="A picture model's name or folder.")]
Style = Annotated[
    str | None,
    typer.Option(
        help="The style: fluent, noto, twemoji or clipart; without it the model's choice.", show_default=False
    ),
]
Count = Annotated[int, typer.Option("--n", "-n", help="How many pictures, at most 64.", min=1, max=64)]
Seed = Annotated[int | None, typer.Option(help="The same seed gives the same pictures.", show_default=False)]
Guidance = Annotated[
    float | None,
    typer.Option(
        help="How strongly the words hold, 0 to 20: 1 is as learned, 2 to 3 is clearer and less varied. "
        "Without it as the model's makers recommend; of another style 1.75.",
        show_default=False,
    ),
]
Temperature = Annotated[
    float | None,
    typer.Option(
        help="How freely codes are chosen, 0 to 2; 0 always takes the likeliest. Without it as the model's "
        "makers recommend; of another style 0.55.",
        show_default=False,
    ),
]
TopK = Annotated[
    int | None, typer.Option(help="Only the so many likeliest codes; 0 is all.", min=0, show_default=False)
]
BestOf = Annotated[
    int, typer.Option(help="Draw so many candidates for each picture and let the judge choose.", min=1)
]
Size = Annotated[
    str | None,
    typer.Option(
        help="Pixels along a side of the file, 64 to 1024, else 512; under 256 the label stands below. Of a "
        "diffusion model also width x height, as 768x512: multiples of 8, else the size that it learned.",
        show_default=False,
    ),
]
Steps = Annotated[
    int | None,
    typer.Option(help="Steps from noise to the picture; of a diffusion model.", min=1, show_default=False),
]
Negative = Annotated[
    str | None,
    typer.Option(
        help="What the picture shall not show; of a diffusion model.",
        show_default=False,
    ),
]
Strength = Annotated[
    float | None,
    typer.Option(
        help="How far from the given picture, above 0 to 1; of a diffusion model.", show_default=False
    ),
]
Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        help="The file, ending in .png, .webp or .jpg, labelled as AI-generated; several pictures become "
        "fox-1.png, fox-2.png and so on. Without it a name that is free, here.",
        show_default=False,
    ),
]
Fit = Annotated[
    str,
    typer.Option(
        help="A picture that is not square: pad puts clear margins around it, crop takes its middle."
    ),
]
Image = Annotated[
    Path, typer.Argument(help="A PNG, JPEG, WebP, GIF or BMP file of at most 40 million pixels.")
]
Lang = Annotated[
    str | None,
    typer.Option(help="en or zh; without it the terminal's language.", show_default=False),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print files, seed and scores as JSON.")]
Dtype = Annotated[str, typer.Option(help="auto, or float32, bfloat16, float16 to compute with PyTorch.")]
Device = Annotated[str, typer.Option(help="auto, cpu, or cuda.")]


@dataclass(frozen=True)
class How:
    """How pictures are drawn, as the options say."""

    n: Count = 1
    seed: Seed = None
    guidance: Guidance = None
    temperature: Temperature = None
    top_k: TopK = None
    steps: Steps = None
    negative: Negative = None
    size: Size = None
    output: Output = None
    model: Name = PAINTER
    lang: Lang = None
    as_json: AsJson = False
    dtype: Dtype = "auto"
    device: Device = "auto"

    def wish(self, best_of: int | None = None, strength: float | None = None) -> dict[str, Any]:
        """The keywords of api_pictures, checked before anything loads."""
        from tokenloom.tasks.picture_wish import Wish

        names = ("n", "seed", "guidance", "temperature", "top_k", "steps")
        wish: dict[str, Any] = {name: getattr(self, name) for name in names}
        wish |= {"best_of": best_of, "strength": strength}
        Wish(**wish)
        return wish if self.negative is None else {**wish, "negative": self.negative}

    @property
    def shape(self) -> tuple[int, int] | None:
        """Width and height of --size; ValueError for what names none."""
        if self.size is None:
            return None
        found = re.fullmatch(r"(\d{1,5})(?:x(\d{1,5}))?", self.size)
        if not found:
            raise ValueError(f"size: found {self.size!r}; allowed: pixels along a side, as 512, or 768x512")
        return int(found[1]), int(found[2] or found[1])


def with_how(command: Callable[..., None]) -> Callable[..., None]:
    """The command whose last parameter is `how`, with the options of How in its place."""
    signature = inspect.signature(command, eval_str=True)
    own = [one for name, one in signature.parameters.items() if name != "how"]
    hints = typing.get_type_hints(How, include_extras=True)
    shared = [
        inspect.Parameter(
            field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=hints[field.name]
        )
        for field in dataclasses.fields(How)
    ]

    def spread(**given: Any) -> None:
        how = How(**{field.name: given.pop(field.name) for field in dataclasses.fields(How)})
        command(**given, how=how)

    spread.__name__ = command.__name__
    spread.__doc__ = command.__doc__
    spread.__signature__ = signature.replace(parameters=[*own, *shared])  # type: ignore[attr-defined]
    spread.__annotations__ = {one.name: one.annotation for one in (*own, *shared)}
    return spread

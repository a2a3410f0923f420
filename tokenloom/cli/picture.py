"""`loom draw`, `edit`, `restyle`, `describe`: pictures from words and back, in this process."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from tokenloom.api import Model
    from tokenloom.api_pictures import Picture

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
        "Without it as the model's makers recommend.",
        show_default=False,
    ),
]
Temperature = Annotated[
    float | None,
    typer.Option(
        help="How freely codes are chosen, 0 to 2; 0 always takes the likeliest.", show_default=False
    ),
]
TopK = Annotated[
    int | None, typer.Option(help="Only the so many likeliest codes; 0 is all.", min=0, show_default=False)
]
BestOf = Annotated[
    int, typer.Option(help="Draw so many candidates for each picture and let the judge choose.", min=1)
]
Size = Annotated[
    int, typer.Option(help="Pixels along a side of the file, 64 to 1024; under 256 the label stands below.")
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


def draw(
    prompt: Annotated[str, typer.Argument(help="What the picture shows, in English or Chinese.")],
    style: Style = None,
    n: Count = 1,
    seed: Seed = None,
    guidance: Guidance = None,
    temperature: Temperature = None,
    top_k: TopK = None,
    best_of: BestOf = 1,
    size: Size = 512,
    output: Output = None,
    model: Name = PAINTER,
    lang: Lang = None,
    as_json: AsJson = False,
    dtype: Dtype = "auto",
    device: Device = "auto",
) -> None:
    """Draw pictures from words: `loom draw "a red fox" --style fluent -n 4 -o fox.png`."""
    wish = _wish(n, seed, best_of, guidance, temperature, top_k)
    files = _files(output, Path("drawing.png"), n)
    _check(size, lang, style)
    with _load(model, dtype, device) as loaded:
        _deliver(loaded.draw(prompt, style=style, **wish), files, size, lang, as_json)


def edit(
    image: Image,
    prompt: Annotated[str, typer.Argument(help="What the marked part shall show, in English or Chinese.")],
    mask: Annotated[
        Path | None,
        typer.Option(
            help="A picture of the same size, white (or clear) where something new is to be drawn. Without "
            "it what is clear in the picture itself.",
            show_default=False,
        ),
    ] = None,
    style: Style = None,
    n: Count = 1,
    seed: Seed = None,
    guidance: Guidance = None,
    temperature: Temperature = None,
    top_k: TopK = None,
    best_of: BestOf = 1,
    size: Size = 512,
    fit: Fit = "pad",
    output: Output = None,
    model: Name = PAINTER,
    lang: Lang = None,
    as_json: AsJson = False,
    dtype: Dtype = "auto",
    device: Device = "auto",
) -> None:
    """Draw a part of a picture anew: `loom edit in.png --mask mask.png "with a hat"`. The rest stays."""
    from tokenloom.tasks.pictures_in import open_picture, own_mask, read_mask, read_picture

    wish = _wish(n, seed, best_of, guidance, temperature, top_k)
    files = _files(output, image.with_name(f"{image.stem}-edit.png"), n)
    _check(size, lang, style, fit)
    source, marks = read_picture(image), None if mask is None else read_picture(mask)
    opened = open_picture(source, str(image))  # wrong pictures are said before the model loads
    if marks is None:
        own_mask(opened, "--mask")
    else:
        read_mask(marks, opened, str(mask))
    with _load(model, dtype, device) as loaded:
        drawn = loaded.edit(source, prompt, mask=marks, style=style, fit=fit, size=size, **wish)
        _deliver(drawn, files, size, lang, as_json)


def restyle(
    image: Image,
    style: Annotated[str, typer.Option(help="The style: fluent, noto, twemoji or clipart.")],
    n: Count = 1,
    seed: Seed = None,
    guidance: Guidance = None,
    temperature: Temperature = None,
    top_k: TopK = None,
    size: Size = 512,
    fit: Fit = "pad",
    output: Output = None,
    model: Name = PAINTER,
    lang: Lang = None,
    as_json: AsJson = False,
    dtype: Dtype = "auto",
    device: Device = "auto",
) -> None:
    """Draw a picture again in another style: `loom restyle in.png --style twemoji`."""
    from tokenloom.tasks.pictures_in import open_picture, read_picture

    wish = _wish(n, seed, 1, guidance, temperature, top_k)
    _check(size, lang, style, fit)
    files = _files(output, image.with_name(f"{image.stem}-{style}.png"), n)
    source = read_picture(image)
    open_picture(source, str(image))
    with _load(model, dtype, device) as loaded:
        _deliver(loaded.restyle(source, style, fit=fit, **wish), files, size, lang, as_json)


def describe(
    image: Image,
    lang: Lang = None,
    fit: Fit = "pad",
    temperature: Annotated[
        float, typer.Option(help="How freely words are chosen, 0 to 2; 0 always takes the likeliest.")
    ] = 0.0,
    seed: Seed = None,
    model: Name = PAINTER,
    as_json: Annotated[bool, typer.Option("--json", help="Print text, language and seed as JSON.")] = False,
    dtype: Dtype = "auto",
    device: Device = "auto",
) -> None:
    """Say what a picture shows, in English or Chinese: `loom describe in.png --lang zh`."""
    from tokenloom.tasks.pictures_in import open_picture, read_picture

    spoken = _check(64, lang, None, fit)
    source = read_picture(image)
    open_picture(source, str(image))
    with _load(model, dtype, device) as loaded:
        found = loaded.describe(source, spoken, fit=fit, temperature=temperature, seed=seed)
    if as_json:
        print(json.dumps({"text": found.text, "lang": spoken, "seed": found.seed}, ensure_ascii=False))
    else:
        print(found.text)


def _wish(
    n: int,
    seed: int | None,
    best_of: int,
    guidance: float | None,
    temperature: float | None,
    top_k: int | None,
) -> dict[str, Any]:
    """The options as api_pictures takes them, checked before anything loads."""
    from tokenloom.tasks.pictures import Wish

    wish = {"n": n, "seed": seed, "best_of": best_of, "guidance": guidance}
    wish |= {"temperature": temperature, "top_k": top_k}
    Wish(**wish)  # type: ignore[arg-type]
    return wish


def _check(size: int, lang: str | None, style: str | None, fit: str = "pad") -> str:
    """ValueError names the option at fault; answers the language."""
    from tokenloom.tasks.declare import LANGS
    from tokenloom.tasks.pictures import check_style
    from tokenloom.tasks.pictures_in import check_fit
    from tokenloom.tasks.pictures_out import check_size
    from tokenloom.tasks.terminal import terminal_lang

    check_size(size)
    check_style(style)
    check_fit(fit)
    spoken = terminal_lang() if lang is None else lang
    if spoken not in LANGS:
        raise ValueError(f"lang: found {lang!r}; allowed: {', '.join(LANGS)}")
    return spoken


def _files(output: Path | None, default: Path, n: int) -> list[Path]:
    from tokenloom.tasks.pictures_out import check_place, free, numbered
    from tokenloom.trust import check_producer

    if output is not None:
        files = numbered(output, n)
    else:
        files = [free(path) for path in numbered(default, n)]
    for path in files:
        check_place(path)
    check_producer()
    return files


def _deliver(
    drawn: Sequence[Picture], files: Sequence[Path], size: int, lang: str | None, as_json: bool
) -> None:
    spoken = _check(size, lang, None)
    for picture, path in zip(drawn, files, strict=True):
        picture.save(path, size=size, lang=spoken)
        score = "" if picture.score is None else f", the judge's score {picture.score:.3f}"
        if as_json:
            facts = {"file": str(path), "seed": picture.seed, "score": picture.score, "size": size}
            print(json.dumps({**facts, "prompt": picture.prompt}, ensure_ascii=False), flush=True)
        else:
            print(f"written to {path} (seed {picture.seed}{score})", flush=True)


def _load(name: str, dtype: str, device: str) -> Model:
    """The picture model; one that is not here yet is fetched under a progress bar. ValueError for another."""
    from tokenloom import api, hub
    from tokenloom.hub.card import has_codec

    try:
        found = hub.find(name)
    except hub.NotInstalled:
        from tokenloom.cli.models import pull

        pull(name)
        found = hub.find(name)
    if not has_codec(found.path):
        raise ValueError(
            f"model: {name} draws no pictures and sees none; allowed: a picture model, such as {PAINTER}"
        )
    loaded = api.load(name, dtype=dtype, device=device)
    loaded.pictures.begin()
    return loaded

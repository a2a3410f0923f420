"""`loom draw`, `edit`, `restyle`, `describe`: pictures from words and back, in this process."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tokenloom.cli.picture_options import (
    PAINTER,
    BestOf,
    Device,
    Dtype,
    Fit,
    How,
    Image,
    Lang,
    Name,
    Seed,
    Strength,
    Style,
    with_how,
)

if TYPE_CHECKING:
    from tokenloom.api import Model
    from tokenloom.api_pictures import Diffusion, Picture
    from tokenloom.engine.diffusion import Stroke
    from tokenloom.hub import Found


@with_how
def draw(
    prompt: Annotated[str, typer.Argument(help="What the picture shows, in English or Chinese.")],
    style: Style = None,
    best_of: BestOf = 1,
    *,
    how: How,
) -> None:
    """Draw pictures from words: `loom draw "a red fox" --style fluent -n 4 -o fox.png`."""
    wish = how.wish(best_of)
    files = _files(how.output, Path("drawing.png"), how.n)
    shape, spoken = how.shape, _check(how.lang)
    wish |= _own(how.model, shape, style)
    with _load(how.model, how.dtype, how.device) as loaded:
        _deliver(loaded.draw(prompt, style=style, **wish), files, _side(shape), spoken, how.as_json)


@with_how
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
    best_of: BestOf = 1,
    strength: Strength = None,
    fit: Fit = "pad",
    *,
    how: How,
) -> None:
    """Draw a part of a picture anew: `loom edit in.png --mask mask.png "with a hat"`. The rest stays.

    A diffusion model draws the whole anew, from the picture and the words, where nothing is marked.
    """
    from tokenloom.tasks.pictures_in import open_picture, own_mask, read_mask, read_picture

    wish = how.wish(best_of, strength)
    files = _files(how.output, image.with_name(f"{image.stem}-edit.png"), how.n)
    shape, spoken = how.shape, _check(how.lang, fit)
    source, marks = read_picture(image), None if mask is None else read_picture(mask)
    opened = open_picture(source, str(image))  # wrong pictures are said before the model loads
    if marks is not None:
        read_mask(marks, opened, str(mask))
    elif not _diffuses(how.model):
        own_mask(opened, "--mask")
    wish |= {"size": _side(shape), "fit": fit, "style": style}
    if _diffuses(how.model):
        wish["size"] = shape
    else:
        _own(how.model, shape, style)
    with _load(how.model, how.dtype, how.device) as loaded:
        drawn = loaded.edit(source, prompt, mask=marks, **wish)
        _deliver(drawn, files, _side(shape), spoken, how.as_json)


@with_how
def restyle(
    image: Image,
    style: Annotated[
        str,
        typer.Option(
            help="The style: fluent, noto, twemoji or clipart; a diffusion model takes any words for it."
        ),
    ],
    best_of: Annotated[
        int | None,
        typer.Option(
            help="Draw so many drafts of each picture and keep the best: like the others, near to the "
            "picture given, and, for the judge, what it would be in that style; without it 64, of more than "
            "four pictures 256 in all.",
            min=1,
            show_default=False,
        ),
    ] = None,
    strength: Strength = None,
    fit: Fit = "pad",
    *,
    how: How,
) -> None:
    """Draw a picture again in another style: `loom restyle in.png --style twemoji`."""
    from tokenloom.tasks.pictures_in import open_picture, read_picture

    wish = how.wish(best_of, strength)
    shape, spoken = how.shape, _check(how.lang, fit)
    diffuses = _diffuses(how.model)
    wish |= {**_own(how.model, shape, None if diffuses else style), "fit": fit}
    files = _files(how.output, image.with_name(f"{image.stem}-{'style' if diffuses else style}.png"), how.n)
    source = read_picture(image)
    open_picture(source, str(image))
    with _load(how.model, how.dtype, how.device) as loaded:
        _deliver(loaded.restyle(source, style, **wish), files, _side(shape), spoken, how.as_json)


def describe(
    image: Image,
    lang: Lang = None,
    fit: Fit = "pad",
    temperature: Annotated[
        float, typer.Option(help="How freely words are chosen, 0 to 2; 0 always takes the likeliest.")
    ] = 0.0,
    best_of: Annotated[
        int | None,
        typer.Option(
            help="Write so many descriptions and let the judge choose; without it 8, or 1 above "
            "temperature 0 and where the model has no judge.",
            min=1,
            max=16,
            show_default=False,
        ),
    ] = None,
    seed: Seed = None,
    model: Name = PAINTER,
    as_json: Annotated[bool, typer.Option("--json", help="Print text, language and seed as JSON.")] = False,
    dtype: Dtype = "auto",
    device: Device = "auto",
) -> None:
    """Say what a picture shows, in English or Chinese: `loom describe in.png --lang zh`."""
    from tokenloom.tasks.pictures_in import open_picture, read_picture

    spoken = _check(lang, fit)
    source = read_picture(image)
    open_picture(source, str(image))
    options: dict[str, Any] = {"fit": fit, "temperature": temperature, "seed": seed, "best_of": best_of}
    with _load(model, dtype, device) as loaded:
        found = loaded.describe(source, lang=spoken, **options)
    if as_json:
        print(json.dumps({"text": found.text, "lang": spoken, "seed": found.seed}, ensure_ascii=False))
    else:
        print(found.text)


def _side(shape: tuple[int, int] | None) -> int:
    """Pixels along a side of what is delivered of a model that draws squares."""
    from tokenloom.tasks.pictures_out import SIZE

    return SIZE if shape is None else shape[0]


def _own(model: str, shape: tuple[int, int] | None, style: str | None) -> dict[str, Any]:
    """The size as a diffusion model takes it. ValueError for a size or style that another has not."""
    from tokenloom.tasks.picture_wish import check_style
    from tokenloom.tasks.pictures_out import check_size

    if _diffuses(model):
        return {} if shape is None else {"size": shape}
    check_style(style)
    check_size(_side(shape))
    if shape is not None and shape[0] != shape[1]:
        raise ValueError("size: found {}x{}; pictures of this model are square".format(*shape))
    return {}


def _diffuses(model: str) -> bool:
    """Whether it is a diffusion model."""
    from tokenloom.hub.pipeline import has_pipeline

    return has_pipeline(_found(model).path)


def _found(name: str) -> Found:
    """The model; one that is not here yet is fetched under a progress bar."""
    from tokenloom import hub

    try:
        return hub.find(name)
    except hub.NotInstalled:
        from tokenloom.cli.models import pull

        pull(name)
        return hub.find(name)


def _check(lang: str | None, fit: str = "pad") -> str:
    """ValueError names the option at fault; answers the language."""
    from tokenloom.tasks.declare import LANGS
    from tokenloom.tasks.pictures_in import check_fit
    from tokenloom.tasks.terminal import terminal_lang

    check_fit(fit)
    spoken = terminal_lang() if lang is None else lang
    if spoken not in LANGS:
        raise ValueError(f"lang: found {lang!r}; allowed: {', '.join(LANGS)}")
    return spoken


def _files(output: Path | None, default: Path, n: int) -> list[Path]:
    from tokenloom.tasks.pictures_out import kind_of
    from tokenloom.tasks.places import check_place, free, numbered
    from tokenloom.trust import check_producer

    if output is not None:
        files = numbered(output, n)
    else:
        files = [free(path) for path in numbered(default, n)]
    for path in files:
        kind_of(path)
        check_place(path)
    check_producer()
    return files


def _deliver(drawn: Sequence[Picture], files: Sequence[Path], size: int, spoken: str, as_json: bool) -> None:
    for picture, path in zip(drawn, files, strict=True):
        picture.save(path, size=size, lang=spoken)
        score = "" if picture.score is None else f", the judge's score {picture.score:.3f}"
        if as_json:
            shown = "{1}x{0}".format(*picture.pixels.shape) if picture.whole else size
            facts = {"file": str(path), "seed": picture.seed, "score": picture.score, "size": shown}
            print(json.dumps({**facts, "prompt": picture.prompt}, ensure_ascii=False), flush=True)
        else:
            held = "; black: the model's own safety checker held it back" if picture.withheld else ""
            print(f"written to {path} (seed {picture.seed}{score}){held}", flush=True)


def _load(name: str, dtype: str, device: str) -> Model | Diffusion:
    """The picture model, of either kind. ValueError for another."""
    from tokenloom import api
    from tokenloom.hub.card import has_codec

    found = _found(name)
    if _diffuses(name):
        return _load_diffusion(found, dtype, device)
    if not has_codec(found.path):
        raise ValueError(
            f"model: {name} draws no pictures and sees none; allowed: a picture model, such as {PAINTER}"
        )
    loaded = api.load(name, dtype=dtype, device=device)
    loaded.pictures.begin()
    return loaded


def _load_diffusion(found: Found, dtype: str, device: str) -> Diffusion:
    """A diffusion model, which tells its steps in a bar on stderr."""
    from rich.console import Console
    from rich.progress import Progress

    from tokenloom.api_pictures import Diffusion

    bar = Progress(console=Console(stderr=True), transient=True)
    task = bar.add_task("")

    def tell(stroke: Stroke) -> None:
        if stroke.step == 1:
            bar.start()
        what = f"picture {stroke.picture + 1}"
        bar.update(task, description=what, total=stroke.steps, completed=stroke.step)
        if stroke.step == stroke.steps:
            bar.stop()

    return Diffusion(found.name, found.path, dtype=dtype, device=device, news=tell)

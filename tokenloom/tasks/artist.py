"""Who draws: a picture model that writes codes (tasks.pictures) or a diffusion model, on the same roads.

What one of them has and the other has not is refused here, by the name of the field. Not the networks: a road
asks for a Paint, and engine.diffusion does it.
"""

# Shapes: H W pixels

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tokenloom.engine.diffusion import Paint, Painted
from tokenloom.hub.pipeline import has_pipeline, read_pipeline
from tokenloom.tasks import pictures
from tokenloom.tasks.picture_wish import PictureError, Wish
from tokenloom.tasks.pictures import Described, Drawn, Painter, Road

SIDES = (64, 2048)
"""Pixels along a side of what a diffusion model draws; the least (but for what it learned) and the most."""
STEP = 8
"""Width and height are multiples of this."""
DIFFUSION = ("negative_prompt", "steps", "strength", "width and height")
CODES = ("style", "best_of", "temperature", "top_k", "top_p")


@dataclass(frozen=True)
class Diffuser:
    """What is known of a diffusion model without its weights."""

    name: str
    size: int
    """Pixels along a side of the pictures that it learned."""
    only_edits: bool = False
    """It draws marked parts anew and nothing else."""

    @staticmethod
    def open(folder: Path, name: str = "") -> Diffuser:
        """Of a folder of diffusers; ValueError names what keeps it from being opened."""
        found = read_pipeline(folder)
        return Diffuser(name or folder.name, found.size, found.only_edits)

    def frame(self, wish: Wish) -> tuple[int, int]:
        """Width and height of what is drawn. PictureError where they cannot be."""
        if wish.size is None:
            return self.size, self.size
        low = min(SIDES[0], self.size)
        for side in wish.size:
            if not low <= side <= SIDES[1] or side % STEP:
                found = "x".join(map(str, wish.size))
                raise PictureError(
                    f"size: found {found}; allowed: {low} to {SIDES[1]} pixels along a side, multiples of "
                    f"{STEP}"
                )
        return wish.size


Artist = Painter | Diffuser


def open_artist(folder: Path, name: str = "") -> Artist:
    """The picture model of a folder, of either kind; PictureError for a folder of another model."""
    return Diffuser.open(folder, name) if has_pipeline(folder) else Painter.open(folder, name)


def options(artist: Artist) -> tuple[str, ...]:
    """The options that it has and the other kind has not."""
    return DIFFUSION if isinstance(artist, Diffuser) else CODES


def frame(artist: Artist, wish: Wish) -> tuple[int, int]:
    """Width and height at which pictures are given to it."""
    return artist.frame(wish) if isinstance(artist, Diffuser) else (artist.size, artist.size)


def draw(artist: Artist, prompt: str, style: str | None = None, wish: Wish = Wish()) -> Road[Drawn]:
    """Pictures of these words. PictureError names the field at fault."""
    _check(artist, style, wish)
    if isinstance(artist, Painter):
        return pictures.draw(artist, prompt, style, wish)
    if wish.strength is not None:
        raise PictureError("strength: there is no picture to begin from; leave it out")
    return _paint(artist, _words(prompt), wish)


def edit(
    artist: Artist,
    source: np.ndarray,
    marked: np.ndarray | None,
    prompt: str,
    style: str | None = None,
    wish: Wish = Wish(),
) -> Road[Drawn]:
    """The picture `source` uint8 (H, W, 4) of the artist's frame, drawn anew where `marked` bool (H, W) is.

    marked: None draws the whole anew, from the picture and the words; a diffusion model alone does that.
    """
    _check(artist, style, wish)
    if isinstance(artist, Painter):
        if marked is None:
            raise PictureError(f"mask: missing; {artist.name} draws marked parts anew")
        return pictures.edit(artist, source, marked, prompt, style, wish)
    if marked is not None and not marked.any():
        raise PictureError("mask: nothing is marked; allowed: any part of the picture")
    return _paint(artist, _words(prompt), wish, source, marked)


def restyle(artist: Artist, source: np.ndarray, style: str, wish: Wish = Wish()) -> Road[Drawn]:
    """The picture `source` in another style; to a diffusion model the style is words like any."""
    if isinstance(artist, Painter):
        _check(artist, style, wish)
        return pictures.restyle(artist, source, style, wish)
    _check(artist, None, wish)
    if not style.strip():
        raise PictureError("style: it is empty; say how the picture shall look")
    return _paint(artist, style, wish, source)


def vary(artist: Artist, source: np.ndarray, style: str | None = None, wish: Wish = Wish()) -> Road[Drawn]:
    """Other pictures of what `source` shows. A diffusion model begins from the picture, without words."""
    _check(artist, style, wish)
    if isinstance(artist, Painter):
        return pictures.vary(artist, source, style, wish)
    return _paint(artist, "", wish, source)


def describe(artist: Artist, source: np.ndarray, lang: str, **options: Any) -> Road[Described]:
    """What the picture shows; PictureError for a diffusion model, which sees nothing in it."""
    return pictures.describe(seeing(artist), source, lang, **options)


def seeing(artist: Artist) -> Painter:
    """The artist, if it can describe."""
    if isinstance(artist, Diffuser):
        raise PictureError(
            f"model: {artist.name} is a diffusion model, which draws and describes nothing; allowed: a "
            "picture model that sees, such as painter"
        )
    return artist


def _check(artist: Artist, style: str | None, wish: Wish) -> None:
    """Refuses what only the other kind has."""
    if isinstance(artist, Diffuser):
        given = {"style": style, "temperature": wish.temperature, "top_k": wish.top_k, "top_p": wish.top_p}
        given["best_of"] = wish.best_of if wish.candidates() > 1 else None
        why = "is a diffusion model and has none: say it in the prompt, or leave it out"
    else:
        given = {
            "negative_prompt": wish.negative or None,
            "steps": wish.steps,
            "strength": wish.strength,
            "size": None if wish.size is None else "x".join(map(str, wish.size)),
        }
        why = "writes codes, at one size and without steps; diffusion models alone take this"
    for name, value in given.items():
        if value is not None:
            raise PictureError(f"{name}: found {value!r}; {artist.name} {why}")


def _words(prompt: str) -> str:
    if not prompt.strip():
        raise PictureError("prompt: it is empty; say what the picture shall show")
    return prompt.strip()


def _paint(
    artist: Diffuser,
    words: str,
    wish: Wish,
    source: np.ndarray | None = None,
    marked: np.ndarray | None = None,
) -> Road[Drawn]:
    """A road with one need; what can be refused is refused before it is walked."""
    if artist.only_edits and marked is None:
        raise PictureError(
            f"mask: missing; {artist.name} draws marked parts of a picture anew and nothing else"
        )
    size = artist.frame(wish)
    seed = wish.drawn_seed()
    paint = Paint(
        words,
        wish.negative,
        wish.n,
        seed,
        wish.steps,
        wish.guidance,
        size if source is None else None,
        source,
        marked,
        wish.strength,
    )

    def road() -> Road[Drawn]:
        done: Painted = yield paint
        nothing = np.zeros((wish.n, 0), np.int64)
        return Drawn(done.pixels, nothing, seed, prompt=words, withheld=done.withheld)

    return road()

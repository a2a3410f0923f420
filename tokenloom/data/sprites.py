"""A set of sprites: emoji of several styles, one size, with labels in English and Chinese, in one folder.

    sprites/sprites.json    what each is, where it came from, its licence
    sprites/pixels.npy      uint8 (N, 96, 96, 4) RGBA, not premultiplied, memory-mapped

Each fills the square with its longer side and stands in the middle. Made by sprite_packages.py.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tokenloom.data.picture_words import CLIPART, key_of

if TYPE_CHECKING:
    from tokenloom.data.recolour import Paint

SIDE = 96
SCHEMA = 1
_LIST, _PIXELS = "sprites.json", "pixels.npy"


@dataclass(frozen=True, slots=True)
class Sprite:
    hexcode: str
    """Lower case, without fe0f."""
    style: str
    """fluent, noto, twemoji, openmoji or clipart."""
    en: str
    zh: str
    """Labels of Unicode's CLDR."""
    tags_en: tuple[str, ...]
    tags_zh: tuple[str, ...]
    group: str
    subgroup: str
    box: tuple[int, int, int, int]
    """Left, top, right, bottom of what is seen, in pixels of SIDE."""
    colour: str | None = None
    """The colour word that is true of it: of three fifths of its pixels or more."""
    paint: tuple[float, float, float] | None = None
    """Hue, lightness and chroma of the area that may be recoloured."""
    colours: tuple[str, ...] = ()
    """Words that are true of it when it is recoloured so."""

    @property
    def area(self) -> Paint | None:
        from tokenloom.data.recolour import Paint

        return Paint(*self.paint) if self.paint else None


class Sprites:
    """Sprites with their pixels, and where they stand by emoji and style. Read only."""

    def __init__(
        self, sprites: Sequence[Sprite], pixels: NDArray[np.uint8], packages: Sequence[Any] = ()
    ) -> None:
        if pixels.shape != (len(sprites), SIDE, SIDE, 4) or pixels.dtype != np.uint8:
            raise ValueError(
                f"pixels: found {pixels.dtype} {pixels.shape}; allowed: uint8 {(len(sprites), SIDE, SIDE, 4)}"
            )
        self.sprites = tuple(sprites)
        self.packages = tuple(packages)
        self._pixels = pixels
        self._at: dict[tuple[str, str], int] = {}
        for row, sprite in enumerate(self.sprites):
            self._at.setdefault((sprite.hexcode, sprite.style), row)
        self.styles = tuple(dict.fromkeys(s.style for s in self.sprites))
        own: dict[str, set[str]] = defaultdict(set)
        for sprite in self.sprites:
            if sprite.colour and sprite.style != CLIPART:
                own[key_of(sprite.hexcode)].add(sprite.colour)
        self.own_colours: Mapping[str, frozenset[str]] = {key: frozenset(v) for key, v in own.items()}
        """Thing -> colours it has of itself in some style of emoji; these are never held out for it."""
        self.pools: dict[tuple[str, str], Any] = {}
        """Choices a composer has made for (style, split), kept for the next picture."""

    def __len__(self) -> int:
        return len(self.sprites)

    def pixels(self, row: int) -> NDArray[np.uint8]:
        """(96, 96, 4) uint8 RGBA, not premultiplied; not to be written to."""
        return self._pixels[row]

    def find(self, hexcode: str, style: str) -> int | None:
        """The row of an emoji in a style, the first where clip art has several; or None."""
        return self._at.get((hexcode, style))


def save_sprites(
    folder: Path, sprites: Sequence[Sprite], pixels: NDArray[np.uint8], packages: Sequence[Any]
) -> None:
    """Writes the two files into a folder that exists."""
    np.save(folder / _PIXELS, pixels)
    rows = [
        {name: value for name, value in asdict(sprite).items() if value not in (None, (), "")}
        for sprite in sprites
    ]
    facts = {"schema": SCHEMA, "side": SIDE, "packages": list(packages), "sprites": rows}
    (folder / _LIST).write_text(json.dumps(facts, ensure_ascii=False, indent=None), encoding="utf-8")


def open_sprites(folder: str | Path) -> Sprites:
    """The sprites of a folder. Raises ValueError naming the file where there are none or they are damaged."""
    folder = Path(folder)
    listed = folder / _LIST
    try:
        facts = json.loads(listed.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ValueError(
            f"sprites: nothing at {listed}; make them with: loom data sprites FOLDER... -o {folder}"
        ) from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"sprites: {listed} is not JSON: {error}") from error
    if facts.get("schema") != SCHEMA or facts.get("side") != SIDE:
        raise ValueError(
            f"sprites: found schema {facts.get('schema')} and side {facts.get('side')} in {listed}; allowed: "
            f"{SCHEMA} and {SIDE}; make them again with loom data sprites"
        )
    try:
        pixels = np.load(folder / _PIXELS, mmap_mode="r")
    except (OSError, ValueError) as error:
        raise ValueError(f"sprites: {folder / _PIXELS} is not to be read: {error}") from error
    return Sprites([_sprite(row) for row in facts["sprites"]], pixels, facts["packages"])


def _sprite(row: dict[str, Any]) -> Sprite:
    lists = ("tags_en", "tags_zh", "colours", "box", "paint")
    values: dict[str, Any] = {"tags_en": (), "tags_zh": (), "group": "", "subgroup": ""} | row
    values |= {name: tuple(values[name]) for name in lists if values.get(name)}
    return Sprite(**values)

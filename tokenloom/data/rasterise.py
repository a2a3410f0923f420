"""A picture's file -> the square of a sprite: drawn where it is an SVG, trimmed, fitted."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tokenloom.data.sprites import SIDE

if TYPE_CHECKING:
    from PIL.Image import Image

_SEEN = 16
"""What is all but transparent (a shadow's last trace) does not count for the frame."""
_ZOOM = 8
_DPI = 90
"""Units to the inch of the editors that clip art was made with, before SVG and CSS agreed on 96."""


class SvgError(ValueError):
    """An SVG that cannot be drawn."""


def rasterise(data: bytes, suffix: str, name: str) -> NDArray[np.uint8] | None:
    """A picture's file -> (96, 96, 4) uint8, trimmed and fitted; None where nothing is to be seen."""
    picture = _opened(_png_of(data, name) if suffix == ".svg" else data, name)
    box = _box(picture)
    return None if box is None else _fitted(picture, box)


def rasterise_page(svg: bytes, name: str) -> NDArray[np.uint8] | None:
    """The same of a drawing that may be small on a large page: drawn again, larger, where it is."""
    width = 2 * SIDE
    picture = _opened(_png_of(svg, name, width, _DPI), name)
    box = _box(picture)
    if box is None:
        return None
    side = max(box[2] - box[0], box[3] - box[1])
    if side < SIDE:
        width *= min(_ZOOM, -(-3 * SIDE // (2 * side)))
        picture = _opened(_png_of(svg, name, width, _DPI), name)
        box = _box(picture)
    return None if box is None else _fitted(picture, box)


def _opened(data: bytes, name: str) -> Image:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(data)) as opened:
            return opened.convert("RGBA")
    except (UnidentifiedImageError, OSError) as error:
        raise ValueError(f"sprites: {name} is not a picture: {error}") from error


def _box(picture: Image) -> tuple[int, int, int, int] | None:
    return picture.getchannel("A").point(lambda alpha: 255 if alpha >= _SEEN else 0).getbbox()


def _fitted(picture: Image, box: tuple[int, int, int, int]) -> NDArray[np.uint8]:
    from PIL import Image

    picture = picture.crop(box)
    scale = SIDE / max(picture.size)
    width, height = (max(1, round(side * scale)) for side in picture.size)
    square = Image.new("RGBA", (SIDE, SIDE))
    square.paste(
        picture.resize((width, height), Image.Resampling.LANCZOS), ((SIDE - width) // 2, (SIDE - height) // 2)
    )
    return np.array(square)


def _png_of(svg: bytes, name: str, width: int = 2 * SIDE, dpi: float = 0) -> bytes:
    try:
        import resvg_py
    except ModuleNotFoundError as error:
        raise ValueError("resvg-py: not installed; SVG sprites need it: pip install resvg-py") from error
    try:
        made: bytes = resvg_py.svg_to_bytes(
            svg_string=svg.decode("utf-8"), width=width, dpi=dpi, skip_system_fonts=True
        )
    except ValueError as error:
        raise SvgError(f"sprites: {name} is not an SVG that can be drawn: {error}") from error
    return bytes(made)

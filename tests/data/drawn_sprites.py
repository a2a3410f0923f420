"""A small set of drawn sprites: discs, squares, crosses and rings in the four styles, no package needed."""

from __future__ import annotations

import numpy as np

from tokenloom.data.picture_words import nouns
from tokenloom.data.sprite_packages import describe_colours
from tokenloom.data.sprites import SIDE, Sprite, Sprites

STYLES = ("fluent", "noto", "twemoji", "openmoji")
_COLOURS = ((200, 40, 40), (60, 160, 60), (60, 110, 220), (240, 190, 40), (240, 130, 30), (140, 80, 200))


def drawn(shape: int, colour: tuple[int, int, int], style: int) -> np.ndarray:
    """(96, 96, 4) uint8: one of four shapes, drawn a little otherwise in each style."""
    y, x = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    radius = np.hypot(x, y)
    seen = (
        radius < 47,
        (abs(x) < 47) & (abs(y) < 30 + 3 * style),
        (abs(x) < 14 + 2 * style) | (abs(y) < 14),
        (radius < 47) & (radius > 20 + 3 * style),
    )[shape % 4]
    picture = np.zeros((SIDE, SIDE, 4), np.uint8)
    picture[..., :3] = np.array(colour) - 5 * style
    picture[..., 3] = 255 * (seen & (np.maximum(abs(x), abs(y)) < 48))
    return picture


def drawn_sprites(known: int = 120, others: int = 60) -> Sprites:
    """`known` of the well-known things and `others` that are not, each in four styles."""
    hexcodes = [(noun.hexcodes[0], noun.key, noun.zh) for noun in nouns().values()][:known]
    hexcodes += [(f"{0xE000 + i:x}", f"odd thing {i}", f"怪东西{i}") for i in range(others)]
    sprites, pixels = [], []
    for style, name in enumerate(STYLES):
        for row, (hexcode, en, zh) in enumerate(hexcodes):
            picture = drawn(row, _COLOURS[row % len(_COLOURS)], style)
            ys, xs = np.nonzero(picture[..., 3])
            box = (int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1)
            group = "animals-nature" if row < known else "symbols"
            sprite = Sprite(hexcode, name, en, zh, (), (), group, "", box)
            sprites.append(describe_colours(sprite, picture))
            pixels.append(picture)
    return Sprites(sprites, np.stack(pixels))

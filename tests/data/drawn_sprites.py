"""A small set of drawn sprites: discs, squares, crosses and rings in the four styles, no package needed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tokenloom.data.picture_words import nouns
from tokenloom.data.scene_edits import HATS
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


def drawn_sprites(others: int = 60) -> Sprites:
    """Every second of the well-known things, all hats, and `others` that are not known, in four styles."""
    known = [n for i, n in enumerate(nouns().values()) if i % 2 == 0 or n.key in HATS]
    hexcodes = [(noun.hexcodes[0], noun.key, noun.zh) for noun in known]
    hexcodes += [(f"{0xE000 + i:x}", f"odd thing {i}", f"怪东西{i}") for i in range(others)]
    looks = len(_COLOURS) * 2  # shapes and colours repeat after so many
    sprites, pixels = [], []
    for style, name in enumerate(STYLES):
        pictures = [drawn(look, _COLOURS[look % len(_COLOURS)], style) for look in range(looks)]
        models = []
        for picture in pictures:
            ys, xs = np.nonzero(picture[..., 3])
            box = (int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1)
            known_one = known[0].hexcodes[0]
            sprite = Sprite(known_one, name, "", "", (), (), "animals-nature", "", box)
            models.append(describe_colours(sprite, picture))
        for row, (hexcode, en, zh) in enumerate(hexcodes):
            model = replace(models[row % looks], hexcode=hexcode, en=en, zh=zh)
            odd = replace(model, group="symbols", paint=None, colours=())
            sprites.append(model if row < len(known) else odd)
            pixels.append(pictures[row % looks])
    return Sprites(sprites, np.stack(pixels))

"""Made pictures: a record and the sprites -> 64 x 64 pixels; the same scene in another style; edits of one.

The data is made, not found: `compose` is a pure function of the sprites, the seed and the index, so no
picture is kept in a file. What is shown is chosen in layouts.py, in words it is put in captions.py.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tokenloom.data.grounds import paint_ground
from tokenloom.data.layouts import choose, paintable, standing_on
from tokenloom.data.picture_record import Kind, Record, Slot, Thing
from tokenloom.data.picture_splits import checked, split_of
from tokenloom.data.picture_words import CLIPART
from tokenloom.data.recolour import recolour
from tokenloom.data.sprites import SIDE, Sprites

_FITTED = 3000
"""Resized sprites a process keeps, about 8 MB."""


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    record: Record
    pixels: NDArray[np.uint8]
    """(64, 64, 4) RGBA, not premultiplied, sRGB."""


def compose(sprites: Sprites, seed: int, index: int, split: str = "train", kind: Kind | None = None) -> Scene:
    """Picture `index` of an endless set: a pure function of its arguments.

    kind: one of picture_record.KINDS, without it any. Raises ValueError where the sprites hold nothing of
    the split.
    """
    return draw(sprites, choose(sprites, seed, index, split, kind))


def draw(sprites: Sprites, record: Record) -> Scene:
    """The picture of a record."""
    canvas = paint_ground(record.ground)
    # From the last to the first: what is named first stands in front.
    for thing in reversed(record.things):
        for slot in thing.slots:
            _put(canvas, fitted(sprites, thing, slot.side), slot)
    return Scene(record, canvas)


class _Kept:
    """The last sprites that were resized, of one set; oldest out first."""

    def __init__(self) -> None:
        self.kept: OrderedDict[tuple[int, str | None, int], NDArray[np.uint8]] = OrderedDict()


def fitted(sprites: Sprites, thing: Thing, side: int) -> NDArray[np.uint8]:
    """A thing's sprite at a side in its colour: (side, side, 4) uint8, not premultiplied."""
    kept: _Kept = sprites.pools.setdefault(("", "fitted"), _Kept())
    key = (thing.sprite, thing.colour if thing.recoloured else None, side)
    found = kept.kept.get(key)
    if found is not None:
        kept.kept.move_to_end(key)
        return found
    from PIL import Image

    picture = Image.fromarray(sprites.pixels(thing.sprite))
    if side != SIDE:
        # Pillow weighs colours by alpha here, so edges take no colour from what is not seen.
        picture = picture.resize((side, side), Image.Resampling.BICUBIC)
    found = np.array(picture)
    if thing.recoloured:
        area = sprites.sprites[thing.sprite].area
        assert area is not None
        assert thing.colour is not None
        found = recolour(found, area, thing.colour)
    kept.kept[key] = found
    if len(kept.kept) > _FITTED:
        kept.kept.popitem(last=False)
    return found


def _put(canvas: NDArray[np.uint8], sprite: NDArray[np.uint8], slot: Slot) -> None:
    """Draws a sprite over the canvas where the slot is: Porter and Duff's "over", 8-bit."""
    part = canvas[slot.y : slot.y + slot.side, slot.x : slot.x + slot.side]
    over = sprite[..., 3:].astype(np.float32) / 255
    under = part[..., 3:].astype(np.float32) / 255 * (1 - over)
    alpha = over + under
    colour = sprite[..., :3] * over + part[..., :3] * under
    part[..., :3] = colour / np.maximum(alpha, 1e-6) + 0.5
    part[..., 3:] = alpha * 255 + 0.5


def twin(sprites: Sprites, scene: Scene, styles: Iterable[str]) -> Scene | None:
    """The same scene in the first of these styles in which it can be drawn; its own is no twin."""
    others = (style for style in styles if style != scene.record.style)
    return next((found for style in others if (found := alike(sprites, scene, style)) is not None), None)


def alike(sprites: Sprites, scene: Scene, style: str) -> Scene | None:
    """The same scene drawn with another style's sprites, or None where that cannot be.

    It cannot where that style lacks one of the emoji, cannot take one of the colours, or has the ground's
    colour there; nor between clip art and another style where a thing's colour is not the same; nor, for
    training, where a (thing, style) pair is held out. For a held-out split the twin may be of any split.
    """
    record = scene.record
    things = []
    for thing in record.things:
        row = sprites.find(thing.hexcode, style)
        if row is None:
            return None
        sprite = sprites.sprites[row]
        if thing.recoloured and thing.colour not in paintable(sprites, sprite, checked("style")):
            return None
        colour = thing.colour if thing.recoloured else sprite.colour
        if CLIPART in (style, record.style) and colour != thing.colour:
            return None
        if colour is not None and colour == record.ground.colour:  # it would not be seen
            return None
        things.append(replace(thing, sprite=row, colour=colour))
    if record.relation == "on":
        boxes = [sprites.sprites[thing.sprite].box for thing in things]
        upper = standing_on(things[0].slots[0], boxes[0], things[1].slots[0], boxes[1])
        things[0] = replace(things[0], slots=(upper,))
    other = replace(record, style=style, things=tuple(things))
    if record.split == "train" and split_of(other) != "train":
        return None
    return draw(sprites, other)

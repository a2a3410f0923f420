"""Grounds of made pictures: plain, gradient, stripes, dots, checks and small sceneries, drawn by numpy.

A ground's first colour is the one that is named and covers the larger part, so that the word stays true.
"""

from __future__ import annotations

from functools import lru_cache
from random import Random

import numpy as np
from numpy.typing import NDArray

from tokenloom.data.picture_record import Ground
from tokenloom.data.picture_words import COLOURS
from tokenloom.data.recolour import shade_of

SIZE = 64
PATTERNS = ("gradient", "stripes", "dots", "checks")
SCENERIES = ("meadow", "sky", "sea", "night", "desert")
SCENERY_COLOURS = {
    "meadow": ("green", "blue"),
    "sky": ("blue", "white"),
    "sea": ("blue",),
    "night": ("black", "blue", "purple"),
    "desert": ("yellow", "orange", "blue"),
}
"""Colours a thing must not have to be seen there."""
_SCENERY_TONES = {
    "meadow": ((124, 190, 84), (168, 214, 244)),
    "sky": ((120, 186, 240), (245, 250, 255)),
    "sea": ((44, 118, 190), (170, 216, 244)),
    "night": ((24, 28, 62), (246, 232, 150)),
    "desert": ((232, 196, 122), (160, 212, 244)),
}
# Colours that people name a ground by; brown and grey are rarer.
_USUAL = (*(c for c in COLOURS if c not in ("brown", "grey")), "white", "blue", "green", "yellow", "pink")


@lru_cache(4096)
def _tone(colour: str, lightness: int, vivid: int) -> tuple[int, int, int]:
    return shade_of(colour, lightness / 2, vivid / 2)


def choose_ground(rng: Random, avoid: frozenset[str], *, transparent: float = 0.0) -> Ground:
    """A ground on which things of the colours `avoid` are seen. transparent: the share without a ground."""
    draw = rng.random()
    if draw < transparent:
        return Ground("none")
    draw = rng.random()
    if draw < 0.15:
        fitting = [name for name in SCENERIES if avoid.isdisjoint(SCENERY_COLOURS[name])]
        if fitting:
            name = rng.choice(fitting)
            return Ground(name, _SCENERY_TONES[name], phase=rng.randrange(64))
    usual = [c for c in _USUAL if c not in avoid]
    colour = rng.choice(usual or list(COLOURS))
    first = _tone(colour, rng.randint(-2, 2), rng.randint(-2, 2))
    if draw < 0.70:
        return Ground("plain", (first,), colour)
    kind = rng.choice(PATTERNS)
    if kind == "gradient":
        # Two shades of one word: the word stays true all over.
        ends = (_tone(colour, -2, 1), _tone(colour, 2, -1))
        return Ground(kind, ends if rng.random() < 0.5 else ends[::-1], colour, rng.randrange(3))
    return Ground(kind, (first, _lighter(colour, first)), colour, rng.randrange(16))


def _lighter(colour: str, first: tuple[int, int, int]) -> tuple[int, int, int]:
    """A pattern's second tone: the first towards white, and towards grey where the first is white or near."""
    if colour in ("white", "yellow"):
        red, green, blue = (int(v * 0.86) for v in first)
    else:
        red, green, blue = (int(v + (255 - v) * 0.38) for v in first)
    return red, green, blue


def paint_ground(ground: Ground) -> NDArray[np.uint8]:
    """(64, 64, 4) uint8 RGBA; all zero where the ground is none."""
    picture = np.zeros((SIZE, SIZE, 4), np.uint8)
    if ground.kind == "none":
        return picture
    picture[..., 3] = 255
    picture[..., :3] = ground.colours[0]
    rgb = picture[..., :3]
    phase = ground.phase
    if ground.kind == "gradient":
        ends = np.array(ground.colours, np.float32)
        ramp = np.linspace(0, 1, SIZE, dtype=np.float32)
        share = (ramp[:, None] + 0 * ramp, 0 * ramp[:, None] + ramp, (ramp[:, None] + ramp) / 2)[phase]
        rgb[:] = ends[0] + share[..., None] * (ends[1] - ends[0])
    elif ground.kind in PATTERNS:
        rgb[_pattern(ground.kind, phase)] = ground.colours[1]
    elif ground.kind in SCENERIES:
        _scenery(ground, rgb)
    return picture


@lru_cache(128)
def _pattern(kind: str, phase: int) -> NDArray[np.bool_]:
    y, x = np.mgrid[:SIZE, :SIZE]
    if kind == "stripes":
        along = (x, y, x + y)[phase % 3]
        return (along + phase) % 16 < 7
    if kind == "dots":
        shifted = x + (((y + phase) // 12) % 2) * 6
        return np.hypot((shifted + phase) % 12 - 5.5, (y + phase) % 12 - 5.5) < 3.4
    return ((x + phase) // 8 + (y + phase) // 8) % 2 == 0


@lru_cache(1)
def _grid() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    y, x = np.mgrid[:SIZE, :SIZE].astype(np.float32)
    return y, x


def _scenery(ground: Ground, rgb: NDArray[np.uint8]) -> None:
    """Draws into rgb (64, 64, 3): land or water below a sky, clouds, stars."""
    y, x = _grid()
    far = ground.colours[1]
    if ground.kind in ("meadow", "desert"):
        line = 34 + 3 * np.sin((x + ground.phase) / 9) + (0 if ground.kind == "meadow" else 5)
        rgb[y < line] = far
    elif ground.kind == "sea":
        rgb[y < 22] = far
        rgb[(y > 26) & ((y + 2 * np.sin((x + ground.phase) / 4)) % 10 < 1.2)] = (120, 178, 226)
    elif ground.kind == "sky":
        for number in range(3):
            middle_x, middle_y = (
                (ground.phase * 7 + 29 * number) % 64,
                (ground.phase * 3 + 23 * number) % 56 + 4,
            )
            cloud = np.hypot((x - middle_x) / 9, (y - middle_y) / 3.4) < 1
            rgb[cloud | (np.hypot(x - middle_x - 2, y - middle_y + 2) < 4)] = far
    else:
        for number in range(14):
            spot = (ground.phase * 5 + 37 * number) % 64, (ground.phase * 11 + 23 * number) % 64
            rgb[spot] = far

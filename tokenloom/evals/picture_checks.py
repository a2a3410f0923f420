"""Colour, count and place of what a picture shows, computed from its pixels alone: no network judges.

Not fit for every picture: they hold for things on a clear or plain ground, and even there a thing in several
parts counts as several. So each figure is told beside the same check on real pictures of the same captions,
and beside its chance. A thing's own colour is the commonest colour name among its pixels; a count is of parts
that do not touch; a place is where the middle of all that is not ground lies.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tokenloom.codec.pixels import checked, flatten
from tokenloom.data.picture_words import COLOURS
from tokenloom.data.recolour import colour_shares

PLACES = {
    "top-left": (0, 0), "top": (0, 1), "top-right": (0, 2), "left": (1, 0), "middle": (1, 1), "right": (1, 2),
    "bottom-left": (2, 0), "bottom": (2, 1), "bottom-right": (2, 2),
}  # fmt: skip
"""Name -> row and column of nine fields."""
MOST = 4
"""Counts asked for: 1 to this; chance is 1 in this."""
CHANCE = {"colour": 1 / len(COLOURS), "count": 1 / MOST, "place": 1 / len(PLACES)}
APART = 40
"""How much a colour of three times 256 steps must differ from the ground's in one of them to be no ground."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What a caption says that pixels can show; None where it says nothing."""

    colour: str | None = None
    """One of COLOURS."""
    count: int | None = None
    place: str | None = None
    """One of PLACES."""

    def __post_init__(self) -> None:
        if self.colour is not None and self.colour not in COLOURS:
            raise ValueError(f"colour: found {self.colour!r}; allowed: {', '.join(COLOURS)}")
        if self.place is not None and self.place not in PLACES:
            raise ValueError(f"place: found {self.place!r}; allowed: {', '.join(PLACES)}")
        if self.count is not None and not 1 <= self.count <= MOST:
            raise ValueError(f"count: found {self.count}; allowed: 1 to {MOST}")


def check(picture: np.ndarray, wish: Wish) -> dict[str, bool]:
    """Attribute -> whether the pixels of (H, W, 4) uint8 show it, for each one that is wished."""
    mask = foreground(picture)
    found: dict[str, bool] = {}
    if wish.colour is not None:
        found["colour"] = main_colour(picture, mask) == wish.colour
    if wish.count is not None:
        found["count"] = count(mask) == wish.count
    if wish.place is not None:
        found["place"] = place(mask) == wish.place
    return found


def foreground(picture: np.ndarray) -> np.ndarray:
    """(H, W) bool: what is not ground.

    The ground is what is clear where most of the picture's edge is clear; else what is near the edge's median
    colour.
    """
    rim = np.ones(picture.shape[:2], bool)
    rim[2:-2, 2:-2] = False
    solid = checked(picture[None])[0, ..., 3] >= 128
    if solid[rim].mean() < 0.5:
        return np.asarray(solid)
    colours = flatten(picture[None])[0].astype(np.int64)
    ground = np.median(colours[rim], axis=0)
    return np.asarray(np.abs(colours - ground).max(2) > APART)


# --- colour -----------------------------------------------------------------------------------------------


def main_colour(picture: np.ndarray, mask: np.ndarray) -> str | None:
    """The word that fits most of a mask's pixels, by the rule that names the colours of sprites
    (data.recolour); None where no word fits any."""
    fitting = colour_shares(flatten(picture[None])[0], mask)
    return max(fitting, key=fitting.__getitem__, default=None)


# --- count and place --------------------------------------------------------------------------------------


def count(mask: np.ndarray, least: float = 0.25) -> int:
    """Parts that touch at no side or corner and have at least `least` of the largest one's pixels; specks
    under 8 pixels are none."""
    sizes = parts(mask)
    floor = max(8.0, least * max(sizes, default=0))
    return sum(size >= floor for size in sizes)


def parts(mask: np.ndarray) -> list[int]:
    """Pixels of each connected part (eight neighbours), the largest first."""
    left = mask.copy()
    sizes = []
    while left.any():
        start = divmod(int(left.argmax()), left.shape[1])
        sizes.append(_take(left, start))
    return sorted(sizes, reverse=True)


def _take(left: np.ndarray, start: tuple[int, int]) -> int:
    """Clears the part that `start` is of; answers its pixels."""
    left[start] = False
    edge, size = [start], 0
    while edge:
        row, column = edge.pop()
        size += 1
        for near in _around(row, column, left.shape):
            if left[near]:
                left[near] = False
                edge.append(near)
    return size


def _around(row: int, column: int, shape: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    for y in range(max(0, row - 1), min(shape[0], row + 2)):
        for x in range(max(0, column - 1), min(shape[1], column + 2)):
            yield y, x


def place(mask: np.ndarray) -> str | None:
    """The one of nine fields where the middle of the mask's pixels lies; None for an empty mask.

    The fields' borders are at 2/5 and 3/5 of a side, since a thing's own breadth keeps its middle off the
    rim.
    """
    ys, xs = np.nonzero(mask)
    if not len(ys):
        return None
    middle = (ys.mean() + 0.5) / mask.shape[0], (xs.mean() + 0.5) / mask.shape[1]
    row, column = (int(part >= 0.4) + int(part >= 0.6) for part in middle)
    return next(name for name, at in PLACES.items() if at == (row, column))


def shares(checks: Sequence[Mapping[str, bool]]) -> dict[str, list[bool]]:
    """Attribute -> its verdicts; and "all": whether everything that a picture was asked for holds."""
    found: dict[str, list[bool]] = {}
    for verdicts in checks:
        if verdicts:
            found.setdefault("all", []).append(all(verdicts.values()))
        for name, held in verdicts.items():
            found.setdefault(name, []).append(held)
    return found

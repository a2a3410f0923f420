"""What a made picture shows, as values: things, ground, relation. Not how it is drawn or put into words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["one", "sticker", "count", "pair", "row"]
Size = Literal["small", "big"]
KINDS: tuple[Kind, ...] = ("one", "sticker", "count", "pair", "row")


@dataclass(frozen=True, slots=True)
class Slot:
    """A square place for one sprite in a picture of 64 x 64: left edge, top edge, side, in pixels."""

    x: int
    y: int
    side: int


@dataclass(frozen=True, slots=True)
class Thing:
    sprite: int
    """Its row in the sprites."""
    hexcode: str
    en: str
    zh: str
    """The labels of Unicode's CLDR; a well-known thing is called by its noun (picture_words.noun_of)."""
    slots: tuple[Slot, ...]
    """One for each time it is shown; those of a count are alike."""
    colour: str | None = None
    """The colour word that is true of its pixels, or None where none is."""
    recoloured: bool = False
    """Whether the colour is not its own: then a caption has to say it."""
    size: Size | None = None
    place: str | None = None
    """left, right, top, bottom, middle or a corner such as top-left; None where no word is true."""

    @property
    def count(self) -> int:
        return len(self.slots)


@dataclass(frozen=True, slots=True)
class Ground:
    """kind: none (transparent), plain, gradient, stripes, dots, checks, or a scenery's name."""

    kind: str
    colours: tuple[tuple[int, int, int], ...] = ()
    """sRGB, the first is the one that is named."""
    colour: str | None = None
    """The word of the first colour; None for none and for sceneries."""
    phase: int = 0
    """Where a pattern begins, in pixels."""


@dataclass(frozen=True, slots=True)
class Record:
    """Things in the order in which they are named; relation holds of the first to the second."""

    kind: Kind
    style: str
    things: tuple[Thing, ...]
    ground: Ground
    relation: str | None = None
    seed: int = 0
    index: int = 0
    split: str = "train"

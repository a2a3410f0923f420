"""How pictures are to be drawn: a wish, checked before anything loads. Not what they show (pictures.py)."""

from __future__ import annotations

import math
import secrets
from dataclasses import dataclass

from tokenloom.data.picture_words import UNSEEN_STYLE
from tokenloom.tokens.image import STYLES

MAX_N = 64
MAX_CANDIDATES = 256
MAX_GUIDANCE = 20.0
MAX_STEPS = 500
SEEDS = 2**63


class PictureError(ValueError):
    """A wish that no picture can be made of; the message names the field, what was found, what is allowed."""


@dataclass(frozen=True)
class Wish:
    """How pictures are to be drawn, whatever they show. None: as the model's makers recommend, of a picture
    in another style by tokens.image.RESTYLING."""

    n: int = 1
    seed: int | None = None
    """The same seed gives the same pictures; None draws one."""
    best_of: int | None = None
    """Each picture is chosen out of so many: of words by the judge, of a picture in another style as
    tokens.image.best_restyled does. None: DRAFTS of the latter (MAX_CANDIDATES in all), else 1."""
    guidance: float | None = None
    """How strongly the words hold; 1 = no more than the model learned."""
    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    negative: str = ""
    """What shall not be seen. This and all that follow are a diffusion model's alone (tasks.artist)."""
    steps: int | None = None
    strength: float | None = None
    """How far from a given picture, above 0 to 1."""
    size: tuple[int, int] | None = None
    """Width and height in pixels."""

    def __post_init__(self) -> None:
        check_whole("n", self.n, 1, MAX_N)
        if self.best_of is not None:
            check_whole("best_of", self.best_of, 1, MAX_CANDIDATES // self.n)
        check_number("guidance", self.guidance, 0.0, MAX_GUIDANCE)
        check_number("temperature", self.temperature, 0.0, 2.0)
        check_number("top_p", self.top_p, 0.0, 1.0)
        if self.top_p == 0:
            raise PictureError("top_p: found 0; allowed: above 0, to 1")
        if self.top_k is not None:
            check_whole("top_k", self.top_k, 0, 2**31)
        if self.steps is not None:
            check_whole("steps", self.steps, 1, MAX_STEPS)
        check_number("strength", self.strength, 0.0, 1.0)
        if self.strength == 0:
            raise PictureError("strength: found 0; allowed: above 0, to 1")
        if self.seed is not None:
            check_whole("seed", self.seed, -SEEDS, SEEDS - 1)

    def candidates(self, usual: int = 1) -> int:
        """How many are drawn of each picture; usual: where it is not said."""
        return min(usual, MAX_CANDIDATES // self.n) if self.best_of is None else self.best_of

    def drawn_seed(self) -> int:
        return secrets.randbits(31) if self.seed is None else self.seed % (2 * SEEDS)


def check_whole(name: str, value: object, low: int, high: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise PictureError(f"{name}: found {value!r}; allowed: a whole number from {low} to {high}")


def check_number(name: str, value: object, low: float, high: float) -> None:
    if value is None:
        return
    fits = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not (fits and low <= value <= high):  # type: ignore[operator]
        raise PictureError(f"{name}: found {value!r}; allowed: a number from {low:g} to {high:g}")


def check_style(style: str | None) -> str | None:
    if style is not None and style not in STYLES:
        why = ", which is kept out of training and cannot be drawn" if style == UNSEEN_STYLE else ""
        raise PictureError(f"style: found {style!r}{why}; allowed: {', '.join(STYLES)}")
    return style

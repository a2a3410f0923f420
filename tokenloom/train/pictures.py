"""The pictures a codec learns from: a batch is a pure function of (seed, number), so a run resumes exactly.

Not the sprites and scenes themselves (data.sprites, data.scenes) and not the learning (train.codec). Emoji,
pairs and the style that are held out (data.picture_splits) are never among them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from tokenloom.data.picture_splits import emoji_held_out, pair_held_out
from tokenloom.data.picture_words import UNSEEN_STYLE
from tokenloom.data.scenes import compose
from tokenloom.data.sprites import Sprites

SCENE_SIDE = 64
"""Pixels along a side of what data.scenes composes."""
WHOLE = 0.5
"""Share of the single sprites that fill the picture; the others are smaller, down to LEAST of it."""
LEAST = 0.3
CLEAR = 0.5
"""Share of the single sprites that stand on nothing; the others stand on a plain ground."""
SWAPPED = 0.15
"""Share of the single sprites whose colours are exchanged, red for blue say: hues emoji seldom have."""


class Pictures(Protocol):
    """Where a codec's training looks."""

    def batch(self, number: int) -> np.ndarray:
        """uint8 (rows, S, S, 4); the same for the same number."""
        ...

    def held_out(self) -> np.ndarray:
        """uint8 (N, S, S, 4): what only evaluations see."""
        ...

    def unseen(self) -> np.ndarray:
        """The same of a style that is never trained on; may be empty."""
        ...


@dataclass
class MadePictures:
    """Single sprites, moved and mirrored, mixed with composed scenes."""

    sprites: Sprites
    size: int
    rows: int
    seed: int
    scenes: int
    """How many scenes are kept; they are composed at the first batch, some hundred a second."""
    scene_share: float
    held: int
    """Pictures an evaluation looks at, of each kind."""

    def __post_init__(self) -> None:
        if not 0 <= self.scene_share <= 1:
            raise ValueError(f"pictures.scene_share: found {self.scene_share}; allowed: 0 to 1")
        if self.scene_share and self.scenes < 1:
            raise ValueError(f"pictures.scenes: found {self.scenes}; allowed with scene_share: 1 or more")
        if self.scene_share and self.size != SCENE_SIDE:
            raise ValueError(
                f"pictures.scene_share: found {self.scene_share}; scenes are {SCENE_SIDE} pixels wide, so it "
                f"is to be 0 for codec.size {self.size}"
            )
        each = list(enumerate(self.sprites.sprites))
        self._train = [
            i
            for i, s in each
            if s.style != UNSEEN_STYLE
            and not emoji_held_out(s.hexcode)
            and not pair_held_out(s.hexcode, s.style)
        ]
        if not self._train:
            raise ValueError("pictures.sprites: holds no sprite that may be trained on")
        self._held = [i for i, s in each if s.style != UNSEEN_STYLE and emoji_held_out(s.hexcode)]
        self._unseen = [i for i, s in each if s.style == UNSEEN_STYLE]
        self._pool: np.ndarray | None = None

    def __len__(self) -> int:
        """Sprites that are trained on."""
        return len(self._train)

    def batch(self, number: int) -> np.ndarray:
        rng = np.random.default_rng((self.seed, number))
        found = np.empty((self.rows, self.size, self.size, 4), np.uint8)
        for row in found:
            row[:] = self._scene(rng) if rng.random() < self.scene_share else self._single(rng)
        return found

    def held_out(self) -> np.ndarray:
        return self._evenly(self._held)

    def unseen(self) -> np.ndarray:
        return self._evenly(self._unseen)

    def _evenly(self, rows: list[int]) -> np.ndarray:
        """Whole sprites, spread over the set so that each style has its share."""
        some = [rows[i] for i in np.linspace(0, len(rows) - 1, min(self.held, len(rows))).astype(int)]
        found = [resized(self.sprites.pixels(i), self.size) for i in some]
        return np.stack(found) if found else np.empty((0, self.size, self.size, 4), np.uint8)

    def _scene(self, rng: np.random.Generator) -> np.ndarray:
        if self._pool is None:
            self._pool = _composed(self.sprites, self.seed, self.scenes)
        found: np.ndarray = self._pool[rng.integers(len(self._pool))]
        return found[:, ::-1] if rng.random() < 0.5 else found

    def _single(self, rng: np.random.Generator) -> np.ndarray:
        size = self.size
        side = size if rng.random() < WHOLE else int(rng.integers(int(LEAST * size), size + 1))
        sprite = resized(self.sprites.pixels(self._train[rng.integers(len(self._train))]), side)
        if rng.random() < 0.5:
            sprite = sprite[:, ::-1]
        if rng.random() < SWAPPED:
            sprite = sprite[..., [*rng.permutation(3), 3]]
        top, left = rng.integers(0, size - side + 1, 2)
        found = np.zeros((size, size, 4), np.uint8)
        found[top : top + side, left : left + side] = sprite
        if rng.random() < CLEAR:
            return found
        opacity = found[..., 3:].astype(np.float32) / 255
        ground = rng.integers(0, 256, 3).astype(np.float32)
        found[..., :3] = np.rint(found[..., :3] * opacity + ground * (1 - opacity))
        found[..., 3] = 255
        return found


def resized(sprite: np.ndarray, side: int) -> np.ndarray:
    """uint8 (S, S, 4) not premultiplied -> (side, side, 4); colours weighed by opacity."""
    from PIL import Image

    if side == len(sprite):
        return np.array(sprite)
    return np.array(Image.fromarray(sprite).resize((side, side), Image.Resampling.BICUBIC))


def _composed(sprites: Sprites, seed: int, n: int) -> np.ndarray:
    from rich.console import Console
    from rich.progress import track

    found = np.empty((n, SCENE_SIDE, SCENE_SIDE, 4), np.uint8)
    for i in track(range(n), "composing scenes", console=Console(stderr=True), transient=True):
        found[i] = compose(sprites, seed, i).pixels
    return found

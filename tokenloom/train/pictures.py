"""The pictures a codec learns from: a batch is a pure function of (seed, number), so a run resumes exactly.

Not the sprites and scenes themselves (data.sprites, data.scenes) and not the learning (train.codec). Emoji,
pairs and the style that are held out (data.picture_splits) are never among them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
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
REDRAWN = 0.7
"""Share of the pictures by other hands that are sprites with outlines; the others are shapes and lines."""
FURTHER = 0.65
"""Share of them that are the further pictures a recipe names, where it names some."""
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


@dataclass(frozen=True)
class Mix:
    """What shares of the pictures are what; the rest are single sprites."""

    scenes: int
    """How many are kept to draw from."""
    scene_share: float
    drawn: int
    drawn_share: float

    def check(self, size: int) -> None:
        """Raises ValueError naming the field."""
        for name, share, n in (
            ("scene", self.scene_share, self.scenes),
            ("drawn", self.drawn_share, self.drawn),
        ):
            if not 0 <= share <= 1:
                raise ValueError(f"pictures.{name}_share: found {share}; allowed: 0 to 1")
            if share and n < 1:
                field = "scenes" if name == "scene" else "drawn"
                raise ValueError(f"pictures.{field}: found {n}; allowed with {name}_share: 1 or more")
        if self.scene_share + self.drawn_share > 1:
            raise ValueError("pictures: scene_share and drawn_share are more than 1 together")
        if self.scene_share and size != SCENE_SIDE:
            raise ValueError(
                f"pictures.scene_share: found {self.scene_share}; scenes are {SCENE_SIDE} pixels wide, so it "
                f"is to be 0 for codec.size {size}"
            )


class MadePictures:
    """Single sprites, moved and mirrored, mixed with composed scenes and with drawings by other hands."""

    def __init__(
        self,
        sprites: Sprites,
        size: int,
        rows: int,
        seed: int,
        mix: Mix,
        held: int,
        further: Sequence[np.ndarray] = (),
    ) -> None:
        """held: pictures an evaluation looks at, of each kind. further: uint8 (N, S, S, 4) of any S, mixed
        into the drawings by other hands. Pools of scenes and drawings are made at the
        first batch. Raises ValueError naming the field."""
        mix.check(size)
        self.sprites, self.size, self.rows, self.seed, self.mix, self.held = (
            sprites,
            size,
            rows,
            seed,
            mix,
            held,
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
        self._further = [picture for some in further for picture in some]
        self._scenes: np.ndarray | None = None
        self._drawn: np.ndarray | None = None

    def __len__(self) -> int:
        """Sprites that are trained on."""
        return len(self._train)

    def batch(self, number: int) -> np.ndarray:
        rng = np.random.default_rng((self.seed, number))
        mix = self.mix
        found = np.empty((self.rows, self.size, self.size, 4), np.uint8)
        for row in found:
            kind = rng.random()
            if kind < mix.scene_share:
                row[:] = _kept(self.scenes(), rng)
            elif kind < mix.scene_share + mix.drawn_share:
                row[:] = _swapped(_kept(self.drawn(), rng), rng)
            else:
                row[:] = self._single(self._sprite(rng), rng)
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

    def scenes(self) -> np.ndarray:
        """uint8 (mix.scenes, S, S, 4): the scenes to draw from, made at the first call."""
        if self._scenes is None:
            self._scenes = np.empty((self.mix.scenes, self.size, self.size, 4), np.uint8)
            for i in _counted(self.mix.scenes, "composing scenes"):
                self._scenes[i] = compose(self.sprites, self.seed, i).pixels
        return self._scenes

    def drawn(self) -> np.ndarray:
        """uint8 (mix.drawn, S, S, 4): the drawings by other hands, made at the first call."""
        if self._drawn is None:
            self._drawn = np.empty((self.mix.drawn, self.size, self.size, 4), np.uint8)
            for i in _counted(self.mix.drawn, "drawing"):
                rng = np.random.default_rng((self.seed, i, 1))
                if self._further and rng.random() < FURTHER:
                    some = self._further[rng.integers(len(self._further))]
                    self._drawn[i] = self._single(some, rng)
                elif rng.random() < REDRAWN:
                    self._drawn[i] = self._single(outlined(self._sprite(rng), rng), rng)
                else:
                    self._drawn[i] = shapes(rng, self.size)
        return self._drawn

    def _sprite(self, rng: np.random.Generator) -> np.ndarray:
        return self.sprites.pixels(self._train[rng.integers(len(self._train))])

    def _single(self, sprite: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """A sprite at some size and place, on nothing or on a plain ground."""
        size = self.size
        side = size if rng.random() < WHOLE else int(rng.integers(int(LEAST * size), size + 1))
        small = resized(sprite, side)
        if rng.random() < 0.5:
            small = small[:, ::-1]
        top, left = rng.integers(0, size - side + 1, 2)
        found = np.zeros((size, size, 4), np.uint8)
        found[top : top + side, left : left + side] = _swapped(small, rng)
        return found if rng.random() < CLEAR else on_ground(found, rng.integers(0, 256, 3))


def _kept(pool: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One of a pool, mirrored half the time."""
    found: np.ndarray = pool[rng.integers(len(pool))]
    return found[:, ::-1] if rng.random() < 0.5 else found


def _swapped(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return picture[..., [*rng.permutation(3), 3]] if rng.random() < SWAPPED else picture


def _counted(n: int, what: str) -> Iterable[int]:
    from rich.console import Console
    from rich.progress import track

    return track(range(n), what, console=Console(stderr=True), transient=True)


def further_pictures(paths: Sequence[str]) -> list[np.ndarray]:
    """The .npy files that a recipe names, memory-mapped. Raises ValueError naming the file."""
    found = []
    for path in paths:
        try:
            some = np.load(Path(path).expanduser(), mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise ValueError(f"pictures.further: {path} is not to be read: {error}") from error
        square = some.ndim == 4 and some.shape[1] == some.shape[2] and some.shape[3] == 4
        if some.dtype != np.uint8 or not square:
            raise ValueError(
                f"pictures.further: found {some.dtype} {some.shape} in {path}; allowed: uint8 (N, S, S, 4)"
            )
        found.append(some)
    return found


def on_ground(picture: np.ndarray, ground: np.ndarray) -> np.ndarray:
    """uint8 (S, S, 4) over a plain colour (3,), opaque."""
    opacity = picture[..., 3:].astype(np.float32) / 255
    found = np.full_like(picture, 255)
    found[..., :3] = np.rint(picture[..., :3] * opacity + ground.astype(np.float32) * (1 - opacity))
    return found


def outlined(sprite: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The sprite as of another hand: few flat colours, or none, and a dark line where they meet."""
    step = int(rng.choice([48, 64, 96]))
    colour = (sprite[..., :3].astype(np.int16) // step * step + step // 2).clip(0, 255)
    solid = sprite[..., 3] > 127
    known = np.where(solid[..., None], colour, -300)
    line = np.zeros(solid.shape, bool)
    for axis in (0, 1):
        apart = np.abs(np.diff(known, axis=axis)).sum(-1) > rng.choice([90, 140, 250])
        line[(slice(1, None), slice(None)) if axis == 0 else (slice(None), slice(1, None))] |= apart
    for _ in range(rng.integers(1, 4)):  # wider by a pixel each time
        line[:-1] |= line[1:]
        line[:, :-1] |= line[:, 1:]
    found = np.zeros_like(sprite)
    if rng.random() < 0.8:
        found[..., :3] = colour
        found[..., 3] = 255 * solid
    found[line] = (*rng.integers(0, 40, 3), 255) if rng.random() < 0.3 else (0, 0, 0, 255)
    found[found[..., 3] == 0] = 0
    return found


def shapes(rng: np.random.Generator, size: int) -> np.ndarray:
    """Shapes and lines at random, most with dark outlines, on nothing or on a ground: (size, size, 4)."""
    from PIL import Image, ImageDraw

    fine = 2 * size
    canvas = Image.new("RGBA", (fine, fine))
    brush = ImageDraw.Draw(canvas)
    for _ in range(rng.integers(1, 7)):
        (left, top), (wide, high) = rng.integers(-fine // 6, fine, 2), rng.integers(fine // 8, fine, 2)
        box = (int(left), int(top), int(left + wide), int(top + high))
        ink = (0, 0, 0, 255) if rng.random() < 0.7 else (*map(int, rng.integers(0, 256, 3)), 255)
        fill = (*map(int, rng.integers(0, 256, 3)), 255) if rng.random() < 0.7 else None
        width = int(rng.integers(2, 7))
        kind = rng.integers(5)
        if kind == 0:
            brush.ellipse(box, fill=fill, outline=ink, width=width)
        elif kind == 1:
            brush.rounded_rectangle(box, int(rng.integers(0, fine // 8)), fill=fill, outline=ink, width=width)
        elif kind == 2:
            points = [tuple(map(int, p)) for p in rng.integers(0, fine, (rng.integers(3, 6), 2))]
            brush.polygon(points, fill=fill, outline=ink, width=width)
        elif kind == 3:
            points = [tuple(map(int, p)) for p in rng.integers(0, fine, (rng.integers(2, 5), 2))]
            brush.line(points, fill=ink, width=width, joint="curve")
        else:
            begin = int(rng.integers(0, 360))
            brush.arc(box, begin, begin + int(rng.integers(60, 300)), fill=ink, width=width)
    found = resized(np.array(canvas), size)
    return found if rng.random() < CLEAR else on_ground(found, rng.integers(0, 256, 3))


def resized(sprite: np.ndarray, side: int) -> np.ndarray:
    """uint8 (S, S, 4) not premultiplied -> (side, side, 4); colours weighed by opacity."""
    from PIL import Image

    if side == len(sprite):
        return np.array(sprite)
    return np.array(Image.fromarray(sprite).resize((side, side), Image.Resampling.BICUBIC))

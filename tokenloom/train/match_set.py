"""What a dual encoder learns from: composed pictures with captions in two languages, some of them damaged.

Not the composing (data.scenes) and not the loss (train.match). Batches are a function of their number, so a
run that is gone on with sees what a straight one would. What it will judge was drawn through a codec, so a
share of its pictures is blurred, made noisy, or sent through a codec where one is at hand.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from random import Random

import numpy as np

from tokenloom.data.captions import caption, styled
from tokenloom.data.picture_record import Kind
from tokenloom.data.picture_words import LANGS
from tokenloom.data.scenes import Scene, compose, twin
from tokenloom.data.sprites import Sprites
from tokenloom.tokens.image import STYLES
from tokenloom.tokens.text import Tokenizer
from tokenloom.train.match import Pairs

Through = Callable[[np.ndarray], np.ndarray]
"""Pictures uint8 (N, H, W, 4) -> what a codec leaves of them."""
STYLED = 0.25
"""Share of the captions that name the style, where there is no twin."""
TWINS = 0.5
"""Chance of two rows to be twins, where the first has one: the same scene in two styles, both named. Only
what differs in little else makes a style worth seeing."""
MOVED = 4
"""Pixels by which a picture is moved at most, each way: no word tells of so little, and drawings are few."""
STICKERS = 0.2
"""Share of the pictures that are surely one sprite on no ground: there are thousands of them to know."""


class MatchBatches:
    """Batch n of an endless set. Each picture comes `again` times, with other words and other damage, but
    where the one before it has a twin in its place."""

    def __init__(
        self,
        sprites: Sprites,
        tokenizer: Tokenizer,
        rows: int,
        seed: int,
        *,
        split: str = "train",
        context: int = 48,
        damaged: float = 0.5,
        again: int = 1,
        block: int = 16,
        twins: float = TWINS,
        moved: int = MOVED,
        through: Through | None = None,
    ) -> None:
        """damaged: share of the pictures that are not clean. again: composing takes time, so the pictures of
        `block` batches are shuffled and used so often before new ones come. Raises ValueError naming the
        field.
        """
        for name, value in (("rows", rows), ("again", again), ("block", block), ("context", context)):
            if value < 1:
                raise ValueError(f"{name}: found {value}; allowed: 1 or more")
        if moved < 0:
            raise ValueError(f"moved: found {moved}; allowed: 0 or more")
        for name, share in (("damaged", damaged), ("twins", twins)):
            if not 0 <= share <= 1:
                raise ValueError(f"{name}: found {share}; allowed: 0 to 1")
        self.sprites, self.tokenizer, self.rows, self.seed = sprites, tokenizer, rows, seed
        self.split, self.context, self.damaged, self.twins = split, context, damaged, twins
        self.moved = moved
        self.again, self.block, self.through = again, block if again > 1 else 1, through
        self._scenes: OrderedDict[int, Scene] = OrderedDict()

    def batch(self, n: int) -> Pairs:
        """(rows) pairs; a function of n."""
        rng = Random(f"{self.seed}/{self.split}/match/{n}")
        scenes: list[Scene] = []
        texts: list[str] = []
        indices = self.indices(n)
        for at in range(0, self.rows, 2):
            shown, twins = self._couple(indices[at : at + 2], rng)
            scenes += shown
            texts += self._captions(shown, twins, rng)
        pictures = shifted(np.stack([scene.pixels for scene in scenes]), rng, self.moved)
        spoiled = np.array([rng.random() < self.damaged for _ in scenes])
        if spoiled.any():
            pictures[spoiled] = damage(pictures[spoiled], rng, self.through)
        return packed(self.tokenizer, texts, pictures, self.context)

    def indices(self, n: int) -> list[int]:
        """The pictures of batch n: each of a block's comes once in each of its rounds."""
        part, within = divmod(n, self.block * self.again)
        turn, at = divmod(within, self.block)
        size = self.block * self.rows
        order = list(range(part * size, (part + 1) * size))
        if turn:
            Random(f"{self.seed}/order/{part}/{turn}").shuffle(order)
        return order[at * self.rows : (at + 1) * self.rows]

    def _scene(self, index: int) -> Scene:
        found = self._scenes.get(index)
        if found is None:
            sticker = Random(f"{self.seed}/kind/{index}").random() < STICKERS
            kind: Kind | None = "sticker" if sticker else None
            found = compose(self.sprites, self.seed, index, self.split, kind)
            if self.again > 1:
                self._scenes[index] = found
                while len(self._scenes) > self.block * self.rows:
                    self._scenes.popitem(last=False)
        return found

    def _couple(self, indices: Sequence[int], rng: Random) -> tuple[list[Scene], bool]:
        """Two scenes, and whether the second is the first in another style."""
        first = self._scene(indices[0])
        if len(indices) > 1 and rng.random() < self.twins:
            styles = list(STYLES)
            rng.shuffle(styles)
            other = twin(self.sprites, first, styles)
            if other is not None:
                return [first, other], True
        return [first, *(self._scene(index) for index in indices[1:])], False

    def _captions(self, scenes: Sequence[Scene], twins: bool, rng: Random) -> list[str]:
        """Of twins in one language and one wording, so that hardly more than the styles' names tells them
        apart."""
        texts: list[str] = []
        wording = rng.getrandbits(64)
        for at, scene in enumerate(scenes):
            own, record = Random(wording + (0 if twins else at)), scene.record
            lang = own.choice(LANGS if record.things[0].zh else ("en",))
            text = caption(record, lang, own)
            named = own.random() < STYLED or twins
            texts.append(styled(text, record.style, lang) if named else text)
        return texts


def packed(tokenizer: Tokenizer, texts: Sequence[str], pictures: np.ndarray, context: int) -> Pairs:
    """Captions and pictures as a batch; captions of one spelling have one key."""
    rows = [tokenizer.encode(text)[:context] for text in texts]
    lengths = np.array([len(row) for row in rows], np.int64)
    ids = np.zeros((len(rows), int(lengths.max())), np.int64)
    for row, found in zip(ids, rows, strict=True):
        row[: len(found)] = found
    keys = [int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "big") for text in texts]
    return Pairs(ids, lengths, pictures, np.array(keys, np.int64))


def shifted(pictures: np.ndarray, rng: Random, most: int) -> np.ndarray:
    """Pictures uint8 (N, H, W, 4), each moved by up to `most` pixels both ways, its edge going on where it
    was. A function of its arguments."""
    if not most:
        return pictures
    high, wide = pictures.shape[1:3]
    out = np.empty_like(pictures)
    for row, picture in zip(out, pictures, strict=True):
        y, x = (rng.randint(-most, most) for _ in range(2))
        row[:] = picture[np.clip(np.arange(high) - y, 0, high - 1)][
            :, np.clip(np.arange(wide) - x, 0, wide - 1)
        ]
    return out


def damage(pictures: np.ndarray, rng: Random, through: Through | None = None) -> np.ndarray:
    """Pictures uint8 (N, H, W, 4) as drawing may leave them: each is blurred, or noisy and blurred, or goes
    through the codec where there is one (half of them, then). A function of its arguments."""
    import torch
    import torch.nn.functional as F

    from tokenloom.codec.pixels import to_pixels, to_tensor

    out = pictures.copy()
    kinds = np.array([rng.randrange(4 if through is not None else 2) for _ in pictures])
    side = pictures.shape[1]
    noise = np.random.default_rng(rng.getrandbits(64))
    for kind in (0, 1):
        # One strength for each third of them: they are resized together.
        for rows in np.array_split(np.flatnonzero(kinds == kind), 3):
            if not len(rows):
                continue
            x = to_tensor(pictures[rows])
            if kind:
                x = x + torch.from_numpy(noise.normal(0, rng.uniform(0.02, 0.12), x.shape)).float()
            small = max(8, round(side / rng.uniform(1.2, 2.4)))
            x = F.interpolate(x, (small, small), mode="area")
            x = F.interpolate(x, (side, side), mode="bicubic", align_corners=False)
            out[rows] = to_pixels(x)
    rows = np.flatnonzero(kinds > 1)
    if through is not None and len(rows):
        out[rows] = through(pictures[rows])
    return out

"""What a picture model is asked for when it is measured: captions with their real pictures, by split.

Not what comes of it (picture_drawn, picture_turned). Everything is composed by a seed that training does not
use (data.scenes), so a set is the same on every machine that has the same sprites. Captions stand in English
and Chinese by turns.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random

import numpy as np

from tokenloom.data.captions import caption, styled
from tokenloom.data.picture_record import Ground, Kind, Record, Slot, Thing
from tokenloom.data.picture_splits import emoji_held_out, pair_held_out
from tokenloom.data.picture_words import (
    CLIPART,
    TRAINED_STYLES,
    UNSEEN_STYLE,
    Lang,
    base_hexcode,
    key_of,
    word,
)
from tokenloom.data.scenes import Scene, compose, draw
from tokenloom.data.sprites import Sprites
from tokenloom.evals.picture_checks import Wish

SEED = 7_919
"""Of the sets; another than any recipe's."""
SPLITS = {
    "seen captions": "train",
    "held-out pairs": "pairs",
    "held-out combinations": "combinations",
    "held-out emoji": "emoji",
}
"""How the report calls a split of drawing."""


@dataclass(frozen=True)
class Asked:
    """Captions and what they are captions of, in one order."""

    name: str
    scenes: tuple[Scene, ...]
    texts: tuple[str, ...]
    langs: tuple[Lang, ...]
    keys: np.ndarray
    """(N,) int64: scenes of one meaning have one key, whatever the words."""

    @property
    def pictures(self) -> np.ndarray:
        """(N, 64, 64, 4) uint8: the real ones."""
        return np.stack([scene.pixels for scene in self.scenes])

    @property
    def styles(self) -> list[str]:
        return [scene.record.style for scene in self.scenes]

    def __len__(self) -> int:
        return len(self.scenes)

    def said(self) -> list[str]:
        """The captions with their styles in words, as a judge that is given no style apart reads them."""
        return [styled(t, s, lang) for t, s, lang in zip(self.texts, self.styles, self.langs, strict=True)]


def asked(
    sprites: Sprites, split: str, n: int, *, name: str = "", kind: Kind | None = None, seed: int = SEED
) -> Asked:
    """n scenes of a split. Raises ValueError where the sprites hold nothing of it."""
    return of_scenes(name or split, [compose(sprites, seed, index, split, kind) for index in range(n)], seed)


def of_scenes(name: str, scenes: Sequence[Scene], seed: int = SEED) -> Asked:
    """Scenes with captions, English and Chinese by turns (English where there is no Chinese label)."""
    if not scenes:
        raise ValueError(f"{name}: found no scenes; allowed: one or more")
    langs: list[Lang] = []
    texts = []
    for at, scene in enumerate(scenes):
        lang: Lang = "en" if at % 2 == 0 or not all(thing.zh for thing in scene.record.things) else "zh"
        langs.append(lang)
        texts.append(caption(scene.record, lang, Random(f"{seed}/words/{name}/{at}")))
    meanings = [meaning(scene.record) for scene in scenes]
    place = {found: at for at, found in enumerate(dict.fromkeys(meanings))}
    keys = np.array([place[found] for found in meanings], np.int64)
    return Asked(name, tuple(scenes), tuple(texts), tuple(langs), keys)


def meaning(record: Record) -> tuple[object, ...]:
    """What a caption of a record may say, but for its style: records of one meaning are no wrong answers for
    each other."""
    things = tuple(
        (key_of(t.hexcode), t.count, t.colour if t.recoloured else None, t.size, t.place)
        for t in record.things
    )
    ground = None if record.ground.kind == "none" else (record.ground.kind, record.ground.colour)
    return record.relation, things, ground


# --- one sprite each --------------------------------------------------------------------------------------


def stickers(
    sprites: Sprites, which: str, most: int = 0, *, skins: bool = False, seed: int = SEED
) -> list[Scene]:
    """Sprites as they are, filling the picture, no ground: all of "emoji" (held out in every style), "pairs"
    (held out in this style), "style" (the unseen one), "clipart" (clip art of held-out emoji; no other has
    any of it) or "train", in an order that `seed` shuffles.

    most: at most so many; 0 = all. skins: with the variants of skin tone. ValueError for another `which`, and
    where there are none.
    """
    rows = [
        row for row in range(len(sprites)) if _is(sprites, row, which) and (skins or _plain(sprites, row))
    ]
    if not rows:
        raise ValueError(f"sprites: found none of {which}; allowed: a set made with all styles")
    Random(f"{seed}/stickers/{which}").shuffle(rows)
    return [sticker(sprites, row, which) for row in (rows[:most] if most else rows)]


def sticker(sprites: Sprites, row: int, split: str = "train") -> Scene:
    """One sprite as a scene."""
    one = sprites.sprites[row]
    thing = Thing(row, one.hexcode, one.en, one.zh, (Slot(2, 2, 60),), one.colour)
    return draw(sprites, Record("sticker", one.style, (thing,), Ground("none"), split=split))


def _is(sprites: Sprites, row: int, which: str) -> bool:
    one = sprites.sprites[row]
    if one.style == UNSEEN_STYLE:
        return which == "style"
    if one.style == CLIPART:
        return which == "clipart" and emoji_held_out(one.hexcode)
    if one.style not in TRAINED_STYLES:
        return False
    emoji, pair = emoji_held_out(one.hexcode), pair_held_out(one.hexcode, one.style)
    match which:
        case "emoji":
            return emoji
        case "pairs":
            return pair and not emoji
        case "train":
            return not emoji and not pair
        case "style" | "clipart":
            return False
    raise ValueError(f"which: found {which!r}; allowed: emoji, pairs, style, clipart, train")


def _plain(sprites: Sprites, row: int) -> bool:
    """No variant of skin tone."""
    hexcode = sprites.sprites[row].hexcode
    return base_hexcode(hexcode) == hexcode


# --- what pixels can check --------------------------------------------------------------------------------


def checkable(
    sprites: Sprites, n: int, split: str = "combinations", seed: int = SEED
) -> tuple[Asked, list[Wish]]:
    """n scenes of one thing, or of several of it, on a clear or plain ground, whose captions say a colour, a
    count or a place that pixels can show; and what they say."""
    scenes: list[Scene] = []
    for scene in _candidates(sprites, split, seed, most=60 * n):
        if scene.record.ground.kind in ("none", "plain") and scene.record.kind in ("one", "count"):
            scenes.append(scene)
        if len(scenes) == n:
            break
    else:
        raise ValueError(f"sprites: found {len(scenes)} checkable scenes of {split}; allowed: {n} or more")
    made = of_scenes("attributes", scenes, seed)
    return made, [wish(s.record, t, lang) for s, t, lang in zip(scenes, made.texts, made.langs, strict=True)]


def _candidates(sprites: Sprites, split: str, seed: int, most: int) -> Iterator[Scene]:
    kinds: tuple[Kind, ...] = ("one", "count")
    for index in range(most):
        yield compose(sprites, seed + 1, index, split, kinds[index % 2])


def wish(record: Record, text: str, lang: Lang) -> Wish:
    """What a caption of one thing says of it; a colour of its own, and a count of one, are no wishes."""
    thing = record.things[0]
    placed = thing.place is not None and word("places", thing.place, lang) in text
    return Wish(
        thing.colour if thing.recoloured else None,
        thing.count if thing.count > 1 else None,
        thing.place if placed and thing.count == 1 else None,
    )

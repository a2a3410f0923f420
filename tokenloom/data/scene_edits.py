"""Edits of made pictures: before, the masked part, after, and words for what comes into that part.

Things that come, go, change into another or change colour, and hats that are put on. Outside the mask both
pictures are equal to the last bit, so a model learns to leave alone what is not asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tokenloom.data.captions import phrase
from tokenloom.data.grounds import SIZE
from tokenloom.data.layouts import paintable, pool
from tokenloom.data.picture_record import Record, Slot, Thing
from tokenloom.data.picture_splits import checked, split_of
from tokenloom.data.picture_words import LANGS, Lang, key_of, noun_of, words
from tokenloom.data.scenes import Scene, draw
from tokenloom.data.sprites import SIDE, Sprites

PLACE = 8
"""Side in pixels of one place of a code; masks are made of whole places."""
LEAST = 4
"""Places a mask holds at least."""
HATS = ("top hat", "crown", "sun hat", "cap", "helmet")
EditKind = Literal["add", "remove", "swap", "recolour", "hat"]
_KINDS: dict[EditKind, float] = {"add": 0.3, "remove": 0.2, "swap": 0.2, "recolour": 0.15, "hat": 0.15}


@dataclass(frozen=True, slots=True, eq=False)
class Change:
    """An edit pair. before, after (64, 64, 4) uint8; mask (64, 64) bool, whole places of 8 x 8."""

    kind: EditKind
    before: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    after: NDArray[np.uint8]
    en: str
    zh: str
    """What comes into the masked part."""
    record: Record
    """The scene the edit was made of; for all but a hat that is what is seen after or before."""

    def words(self, lang: Lang) -> str:
        return self.en if lang == "en" else self.zh


def changed(sprites: Sprites, scene: Scene, kind: EditKind | None = None) -> Change | None:
    """An edit of a scene: a pure function of the sprites, the scene's record and the kind.

    Without a kind, one is chosen that can be made. None where the scene allows none of it: a sticker has
    nothing to put on, no thing of it takes another colour.
    """
    record = scene.record
    rng = Random(f"edit/{record.split}/{record.seed}/{record.index}/{record.style}")
    kinds = list(_KINDS)
    if kind is None:
        # Weighted order without repeats: the first that can be made is taken.
        kinds.sort(key=lambda k: rng.random() ** (1 / _KINDS[k]), reverse=True)
    else:
        kinds = [kind]
    for each in kinds:
        made = _MAKERS[each](sprites, scene, rng)
        if made is not None:
            return made
    return None


def _finish(
    kind: EditKind, before: Scene, after: Scene, said: Thing | None, rng: Random, *, spare: bool = True
) -> Change | None:
    """The pair with its mask: the places that differ, a box around them, or some more; at least LEAST."""
    differs = (before.pixels != after.pixels).any(-1)
    places = differs.reshape(SIZE // PLACE, PLACE, SIZE // PLACE, PLACE).any((1, 3))
    if not places.any() or places.mean() > 0.75:
        return None
    shape = rng.choice(("exact", "grown", "box")) if spare else "exact"
    if shape == "grown":
        places = _grown(places)
    elif shape == "box":
        places = places.any(1)[:, None] & places.any(0)
    while places.sum() < LEAST:
        places = _grown(places)
    mask = places.repeat(PLACE, 0).repeat(PLACE, 1)
    if said is None:
        en, zh = rng.choice(words()["empty"]["words"])
    else:
        en, zh = (phrase(said, lang, rng) for lang in LANGS)
    record = after.record if kind != "remove" else before.record
    return Change(kind, before.pixels, mask, after.pixels, en, zh, record)


def _grown(places: NDArray[np.bool_]) -> NDArray[np.bool_]:
    grown = places.copy()
    grown[1:] |= places[:-1]
    grown[:-1] |= places[1:]
    wide = grown.copy()
    wide[:, 1:] |= grown[:, :-1]
    wide[:, :-1] |= grown[:, 1:]
    return wide


def _without(scene: Scene, sprites: Sprites, rng: Random) -> tuple[Scene, Thing] | None:
    """The scene without one of its things (or one of a count), and that thing."""
    record = scene.record
    number = rng.randrange(len(record.things))
    thing = record.things[number]
    gone = replace(thing, slots=(rng.choice(thing.slots),), size=None, place=None)
    rest = tuple(slot for slot in thing.slots if slot not in gone.slots)
    things = [*record.things]
    things[number : number + 1] = [replace(thing, slots=rest)] if rest else []
    if not things and record.ground.kind == "none":
        return None
    return draw(sprites, replace(record, things=tuple(things), relation=None)), gone


def _add(sprites: Sprites, scene: Scene, rng: Random) -> Change | None:
    found = _without(scene, sprites, rng)
    return _finish("add", found[0], scene, found[1], rng) if found else None


def _remove(sprites: Sprites, scene: Scene, rng: Random) -> Change | None:
    found = _without(scene, sprites, rng)
    return _finish("remove", scene, found[0], None, rng) if found else None


def _replaced(sprites: Sprites, scene: Scene, number: int, thing: Thing) -> Scene | None:
    """The scene with another thing in the place of one, or None where its split forbids that."""
    record = scene.record
    things = (*record.things[:number], thing, *record.things[number + 1 :])
    after = replace(record, things=things)
    if record.split == "train" and split_of(after) != "train":
        return None
    return draw(sprites, after)


def _swap(sprites: Sprites, scene: Scene, rng: Random) -> Change | None:
    record = scene.record
    number = rng.randrange(len(record.things))
    old = record.things[number]
    row = rng.choice(pool(sprites, record.style, checked(record.split)).known)
    sprite = sprites.sprites[row]
    if old.count > 1 or key_of(sprite.hexcode) in {key_of(thing.hexcode) for thing in record.things}:
        return None
    new = Thing(row, sprite.hexcode, sprite.en, sprite.zh, old.slots, sprite.colour, size=old.size)
    after = _replaced(sprites, scene, number, new)
    return _finish("swap", scene, after, replace(new, size=None), rng) if after else None


def _recolour(sprites: Sprites, scene: Scene, rng: Random) -> Change | None:
    record = scene.record
    number = rng.randrange(len(record.things))
    old = record.things[number]
    sprite = sprites.sprites[old.sprite]
    colours = [
        c
        for c in paintable(sprites, sprite, checked(record.split))
        if c not in (old.colour, record.ground.colour)
    ]
    if not colours:
        return None
    new = replace(old, colour=rng.choice(colours), recoloured=True)
    after = _replaced(sprites, scene, number, new)
    return _finish("recolour", scene, after, replace(new, size=None), rng, spare=False) if after else None


def _hat(sprites: Sprites, scene: Scene, rng: Random) -> Change | None:
    record = scene.record
    hats = [r for r in pool(sprites, record.style, checked(record.split)).known if _key(sprites, r) in HATS]
    wearer = record.things[0]
    noun = noun_of(wearer.hexcode)
    wears = (noun is not None and noun.kind in ("animals", "faces")) or wearer.en.endswith(" face")
    if not hats or not wears or record.kind not in ("one", "sticker") or wearer.slots[0].side < 30:
        return None
    slot = wearer.slots[0]
    # Room is made above the head: the wearer is drawn smaller and lower, before and after alike.
    side = max(28, round(slot.side * 0.72))
    lower = Slot(
        min(slot.x + (slot.side - side) // 2, SIZE - side), min(slot.y + slot.side - side, SIZE - side), side
    )
    wearing = replace(wearer, slots=(lower,))
    row = rng.choice(hats)
    hat = sprites.sprites[row]
    middle, top = _head(sprites, wearer.sprite)
    wide = max(16, round(side * 0.55))
    x = lower.x + round(middle * side / SIDE) - wide // 2
    y = lower.y + top * side // SIDE + max(2, side // 10) - hat.box[3] * wide // SIDE
    placed = Slot(min(max(x, 0), SIZE - wide), min(max(y, 0), SIZE - wide), wide)
    worn = Thing(row, hat.hexcode, hat.en, hat.zh, (placed,), hat.colour)
    before = draw(sprites, replace(record, things=(wearing,)))
    after = draw(sprites, replace(record, kind="pair", things=(worn, wearing), relation=None))
    made = _finish("hat", before, after, worn, rng)
    if made is None:
        return None
    return replace(made, en=f"with {made.en}", zh=f"戴着{made.zh}", record=before.record)


def _head(sprites: Sprites, row: int) -> tuple[int, int]:
    """Middle and top of the upper fifth of what is seen of a sprite, in pixels of SIDE."""
    seen = sprites.pixels(row)[..., 3] >= 128
    top = sprites.sprites[row].box[1]
    columns = np.flatnonzero(seen[top : top + SIDE // 5].any(0))
    return (int(columns.mean()) if len(columns) else SIDE // 2), top


def _key(sprites: Sprites, row: int) -> str:
    return key_of(sprites.sprites[row].hexcode)


_MAKERS: dict[EditKind, Callable[[Sprites, Scene, Random], Change | None]] = {
    "add": _add,
    "remove": _remove,
    "swap": _swap,
    "recolour": _recolour,
    "hat": _hat,
}

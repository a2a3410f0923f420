"""What a made picture shows: things, colours, counts, places, relations, chosen by a seeded generator.

Only the choice, as a record; scenes.py draws it. A choice is made within a split: what the split forbids is
not chosen, and for the splits of held-out things nothing else is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from random import Random

from tokenloom.data.grounds import SIZE, choose_ground
from tokenloom.data.picture_record import Ground, Kind, Record, Size, Slot, Thing
from tokenloom.data.picture_splits import (
    Split,
    checked,
    combination_held_out,
    emoji_held_out,
    pair_held_out,
    split_of,
)
from tokenloom.data.picture_words import CLIPART, TRAINED_STYLES, UNSEEN_STYLE, key_of, noun_of
from tokenloom.data.sprites import SIDE, Sprite, Sprites

RELATIONS = ("left", "right", "above", "below", "on", "next")
PLACES = {
    "left": (14, 32),
    "right": (50, 32),
    "top": (32, 14),
    "bottom": (32, 50),
    "middle": (32, 32),
    "top-left": (14, 14),
    "top-right": (50, 14),
    "bottom-left": (14, 50),
    "bottom-right": (50, 50),
}
"""Where a thing's middle is, in pixels."""
SIDES: dict[Size | None, tuple[int, int]] = {"small": (20, 25), None: (38, 50), "big": (54, 62)}
"""How wide a thing is, in pixels: less than 20, two and a half codes, blurs when it is decoded."""
_KINDS: dict[Kind, float] = {"one": 0.36, "sticker": 0.22, "count": 0.16, "pair": 0.22, "row": 0.04}
_NOVEL: tuple[Kind | None, ...] = (None, "count", "pair")
_TRIES = 200


@dataclass(frozen=True, slots=True)
class Pool:
    """Rows of sprites to choose from: well-known things, and the rest."""

    known: tuple[int, ...]
    others: tuple[int, ...]


def pool(sprites: Sprites, style: str, split: Split) -> Pool:
    """The sprites of a style that a split is made of."""
    found: Pool | None = sprites.pools.get((style, split))
    if found is None:
        rows = [
            row
            for row, sprite in enumerate(sprites.sprites)
            if sprite.style == style and _belongs(sprites, sprite, split)
        ]
        known = tuple(row for row in rows if noun_of(sprites.sprites[row].hexcode))
        others = tuple(row for row in rows if not noun_of(sprites.sprites[row].hexcode))
        found = sprites.pools[style, split] = Pool(known, others)
    return found


def _belongs(sprites: Sprites, sprite: Sprite, split: Split) -> bool:
    if split == "emoji":
        return emoji_held_out(sprite.hexcode)
    if split == "pairs":
        return pair_held_out(sprite.hexcode, sprite.style)
    if sprite.style == CLIPART and sprite.colour is not None:
        # A drawing may have of itself a colour in which its thing is held out.
        key = key_of(sprite.hexcode)
        if sprite.colour not in sprites.own_colours.get(key, ()) and combination_held_out(
            "colour", sprite.colour, key
        ):
            return False
    return not emoji_held_out(sprite.hexcode) and not pair_held_out(sprite.hexcode, sprite.style)


def choose(sprites: Sprites, seed: int, index: int, split: str = "train", kind: Kind | None = None) -> Record:
    """The record of picture `index`: a pure function of the sprites, the seed, the index and the split.

    Raises ValueError where the sprites hold nothing of that split.
    """
    wanted = checked(split)
    rng = Random(f"{wanted}/{seed}/{index}")
    styles = [UNSEEN_STYLE] if wanted == "style" else [s for s in TRAINED_STYLES if s in sprites.styles]
    if CLIPART in sprites.styles and wanted != "style":
        styles = [*styles, *styles, CLIPART]  # a seventh: it has fewer things
    styles = [s for s in styles if pool(sprites, s, wanted).known]
    if not styles:
        raise ValueError(
            f"split: the sprites hold nothing of {wanted}; they have {', '.join(sprites.styles)}"
        )
    # Colours, counts and relations are a third each of the combinations, and one is new at a time.
    novel = rng.choice(_NOVEL) if wanted == "combinations" and kind is None else None
    painted: Split = "train" if novel else wanted
    for _ in range(_TRIES):
        style = rng.choice(styles)
        chosen = kind or novel or rng.choices(tuple(_KINDS), tuple(_KINDS.values()))[0]
        record = _CHOICES[chosen](_Choice(sprites, pool(sprites, style, wanted), rng, painted, style))
        if record is not None:
            record = replace(record, seed=seed, index=index, split=wanted)
            if split_of(record) == wanted:
                return record
    raise ValueError(f"split: the sprites hold too little of {wanted} to compose a picture in {_TRIES} tries")


@dataclass(frozen=True, slots=True)
class _Choice:
    sprites: Sprites
    pool: Pool
    rng: Random
    split: Split
    style: str

    def known(self, n: int) -> list[int]:
        """n rows of well-known things of different nouns, or fewer where there are not so many."""
        rows: list[int] = []
        keys: set[str] = set()
        for _ in range(10 * n):
            row = self.rng.choice(self.pool.known)
            key = key_of(self.sprites.sprites[row].hexcode)
            if key not in keys:
                keys.add(key)
                rows.append(row)
            if len(rows) == n:
                break
        return rows

    def any(self, known: float) -> int:
        """A row of any sprite; flags are many and say little: two of three are drawn again."""
        if self.rng.random() < known or not self.pool.others:
            return self.rng.choice(self.pool.known)
        row = self.rng.choice(self.pool.others)
        for _ in range(3):
            if self.sprites.sprites[row].group == "flags" and self.rng.random() < 0.66:
                row = self.rng.choice(self.pool.others)
        return row

    def thing(self, row: int, slots: Sequence[Slot], recoloured: float = 0.0) -> Thing:
        """A thing with its own colour or, with the chance `recoloured`, another that is true of it."""
        sprite = self.sprites.sprites[row]
        thing = Thing(row, sprite.hexcode, sprite.en, sprite.zh, tuple(slots), sprite.colour)
        if sprite.colours and self.rng.random() < recoloured:
            allowed = paintable(self.sprites, sprite, self.split)
            if allowed:
                return replace(thing, colour=self.rng.choice(allowed), recoloured=True)
        return thing

    def record(
        self, kind: Kind, things: Sequence[Thing], ground: Ground, relation: str | None = None
    ) -> Record:
        return Record(kind, self.style, tuple(things), ground, relation)

    def ground(self, things: Sequence[Thing], transparent: float = 0.0) -> Ground:
        avoid = frozenset(thing.colour for thing in things if thing.colour)
        transparent = 0.0 if "white" in avoid else transparent
        return choose_ground(self.rng, avoid, transparent=transparent)


def paintable(sprites: Sprites, sprite: Sprite, split: Split) -> list[str]:
    """Colour words a sprite may be recoloured to in a split: none that the thing has of itself."""
    key = key_of(sprite.hexcode)
    own = sprites.own_colours.get(key, frozenset())
    words = [c for c in sprite.colours if c not in own]
    if split == "train":
        return [c for c in words if not combination_held_out("colour", c, key)]
    if split == "combinations":
        return [c for c in words if combination_held_out("colour", c, key)]
    return words


def _one(c: _Choice) -> Record | None:
    sizes: tuple[Size | None, ...] = (None, "small", "big")
    size = c.rng.choices(sizes, (0.6, 0.2, 0.2))[0]
    # A well-known thing may be anywhere; the others are only shown whole and in the middle.
    row = c.any(0.75)
    known = noun_of(c.sprites.sprites[row].hexcode) is not None
    if not known:
        side = c.rng.randint(38, 54)
        slot = around(32, 32, side)
        thing = c.thing(row, [slot])
        return c.record("one", [thing], c.ground([thing], 0.1))
    place = None
    side = c.rng.randint(*SIDES[size])
    if size != "big" and c.rng.random() < 0.55:
        place = c.rng.choice(tuple(PLACES))
        side = min(side, 34) if place != "middle" else side
    x, y = PLACES[place or "middle"]
    jitter = 2 if place else (32 - side // 2) // 3
    slot = around(x + c.rng.randint(-jitter, jitter), y + c.rng.randint(-jitter, jitter), side)
    thing = replace(c.thing(row, [slot], 0.7), size=size, place=place)
    return c.record("one", [thing], c.ground([thing], 0.1))


def _sticker(c: _Choice) -> Record | None:
    slot = around(32, 32, c.rng.randint(58, 64))
    thing = c.thing(c.any(0.4), [slot], 0.4)
    if thing.recoloured and thing.colour == "white":  # it would not be seen on a white page
        return None
    return c.record("sticker", [thing], Ground("none"))


def _count(c: _Choice) -> Record | None:
    n = c.rng.choice((2, 3, 4))
    row = c.known(1)[0]
    thing = c.thing(row, count_slots(n, c.rng), 0.6)
    return c.record("count", [thing], c.ground([thing], 0.1))


def count_slots(n: int, rng: Random) -> tuple[Slot, ...]:
    """Places of n things of one size that do not touch."""
    side = rng.randint(27, 30)
    if n == 4:
        middles = [(16, 16), (48, 16), (16, 48), (48, 48)]
    elif n == 3 and rng.random() < 0.7:
        middles = [(32, 16), (16, 47), (48, 47)]
    else:
        step = 64 / n
        side = min(side, int(step))
        middles = [(round(step * (i + 0.5)), 32) for i in range(n)]
    dx, dy = rng.randint(-1, 1), rng.randint(-2, 2)
    return tuple(around(x + dx, y + dy, side) for x, y in middles)


def _pair(c: _Choice) -> Record | None:
    relation = c.rng.choice(RELATIONS)
    rows = c.known(2)
    if len(rows) < 2:
        return None
    slots = pair_slots(relation, [c.sprites.sprites[row].box for row in rows], c.rng)
    things = [c.thing(row, [slot], 0.5) for row, slot in zip(rows, slots, strict=True)]
    return c.record("pair", things, c.ground(things, 0.08), relation)


def pair_slots(relation: str, boxes: Sequence[tuple[int, int, int, int]], rng: Random) -> list[Slot]:
    """Places of two things of which the relation is true. boxes: what is seen of their sprites."""
    sides = [rng.randint(26, 30) for _ in range(2)]
    near, far = 16 + rng.randint(-1, 1), 48 + rng.randint(-1, 1)
    cross = 32 + rng.randint(-4, 4)
    if relation == "next":
        relation = rng.choice(("left", "right"))
    if relation in ("left", "right"):
        xs = (near, far) if relation == "left" else (far, near)
        return [around(x, cross + rng.randint(-2, 2), side) for x, side in zip(xs, sides, strict=True)]
    if relation in ("above", "below"):
        # A clear gap tells above from on.
        sides = [min(side, 26) for side in sides]
        ys = (near - 2, far + 2) if relation == "above" else (far + 2, near - 2)
        return [around(cross + rng.randint(-2, 2), y, side) for y, side in zip(ys, sides, strict=True)]
    lower = around(cross, 64 - sides[1] // 2 - rng.randint(2, 5), sides[1])
    return [standing_on(around(cross, 16, sides[0]), boxes[0], lower, boxes[1]), lower]


def standing_on(
    upper: Slot, box: tuple[int, int, int, int], lower: Slot, lower_box: tuple[int, int, int, int]
) -> Slot:
    """The upper slot moved so that what is seen in it touches what is seen in the lower one."""
    top = lower.y + lower_box[1] * lower.side // SIDE
    sunk = 2
    y = top + sunk - -(-box[3] * upper.side // SIDE)
    return replace(upper, y=max(0, y))


def _row(c: _Choice) -> Record | None:
    rows = c.known(3)
    if len(rows) < 3:
        return None
    y = 32 + c.rng.randint(-6, 6)
    slots = [around(11 + 21 * i, y + c.rng.randint(-1, 1), c.rng.randint(20, 21)) for i in range(3)]
    things = [c.thing(row, [slot], 0.35) for row, slot in zip(rows, slots, strict=True)]
    return c.record("row", things, c.ground(things, 0.08))


def around(x: int, y: int, side: int) -> Slot:
    """The slot with that middle, moved so that it lies inside the picture."""
    left, top = (min(max(v - side // 2, 0), SIZE - side) for v in (x, y))
    return Slot(left, top, side)


_CHOICES: dict[Kind, Callable[[_Choice], Record | None]] = {
    "one": _one,
    "sticker": _sticker,
    "count": _count,
    "pair": _pair,
    "row": _row,
}

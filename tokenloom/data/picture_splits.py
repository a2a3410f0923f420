"""What a picture model never sees in training: whole emoji, (emoji, style) pairs, combinations, one style.

All are pure functions of names by SHA-256, so they hold on any machine and for any set of sprites. Emoji
that are one thing in other colours or skin tones fall together. Not a split of pictures: those are made.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import lru_cache
from typing import Literal

from tokenloom.data.picture_record import Record
from tokenloom.data.picture_words import TRAINED_STYLES, UNSEEN_STYLE, base_hexcode, family, key_of

Split = Literal["train", "emoji", "pairs", "combinations", "style"]
SPLITS: tuple[Split, ...] = ("train", "emoji", "pairs", "combinations", "style")
HELD_OUT = 10
"""One of so many is held out, of each kind."""
_EMOJI = "emoji 31"
# The first number by which what people ask for before all else (dog, star, rose, circle) is trained on.


@lru_cache(200_000)
def _number(text: str, purpose: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{purpose}\0{text}".encode()).digest()[:8], "big")


_TURNED = {"right": "left", "below": "above"}


def checked(split: str) -> Split:
    """`split` if there is such a one. Raises ValueError."""
    for each in SPLITS:
        if each == split:
            return each
    raise ValueError(f"split: found {split!r}; allowed: {', '.join(SPLITS)}")


@lru_cache(20_000)
def emoji_held_out(hexcode: str) -> bool:
    """Whether an emoji is kept out of training in every style."""
    return _number(family(hexcode), _EMOJI) % HELD_OUT == 0


@lru_cache(20_000)
def style_held_out(hexcode: str) -> str | None:
    """The one style in which a trained emoji is kept out of training: a tenth of all pairs, or None."""
    if emoji_held_out(hexcode):
        return None
    base = base_hexcode(hexcode)
    if _number(base, "pair") % HELD_OUT >= len(TRAINED_STYLES):
        return None
    return TRAINED_STYLES[_number(base, "style of the pair") % len(TRAINED_STYLES)]


def pair_held_out(hexcode: str, style: str) -> bool:
    return style_held_out(hexcode) == style


def combination_held_out(kind: Literal["colour", "count", "relation"], *names: str) -> bool:
    """colour: word, thing; count: number, thing; relation: left, above, on or next, thing, other thing.

    A thing is named by picture_words.key_of. One's own colour is never a combination (see `combinations`).
    """
    return _number("\0".join(names), kind) % HELD_OUT == 0


def combinations(record: Record) -> Iterator[tuple[Literal["colour", "count", "relation"], tuple[str, ...]]]:
    """The combinations a record shows: colours that are not a thing's own, counts from two, relations."""
    for thing in record.things:
        if thing.recoloured and thing.colour is not None:
            yield "colour", (thing.colour, key_of(thing.hexcode))
        if thing.count > 1:
            yield "count", (str(thing.count), key_of(thing.hexcode))
    if record.relation is not None:
        first, second = (key_of(thing.hexcode) for thing in record.things)
        yield "relation", _relation(record.relation, first, second)


def _relation(word: str, first: str, second: str) -> tuple[str, ...]:
    """One name for one arrangement: a cat right of a tree is a tree left of a cat."""
    if word in _TURNED:
        return _TURNED[word], second, first
    return (word, *sorted((first, second))) if word == "next" else (word, first, second)


def held_combinations(record: Record) -> list[tuple[str, tuple[str, ...]]]:
    """The held-out ones of a record's combinations: what a check of such a picture has to look at."""
    return [(kind, names) for kind, names in combinations(record) if combination_held_out(kind, *names)]


def split_of(record: Record) -> Split:
    """Where a record belongs: style before emoji before pairs before combinations; else train."""
    if record.style == UNSEEN_STYLE:
        return "style"
    if any(emoji_held_out(thing.hexcode) for thing in record.things):
        return "emoji"
    if any(pair_held_out(thing.hexcode, record.style) for thing in record.things):
        return "pairs"
    if held_combinations(record):
        return "combinations"
    return "train"

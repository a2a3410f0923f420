"""Beginnings of texts that every peer is asked to go on with, so that what they write is text and not noise.

Endless and seeded: drawn from parts, so that no two begin alike and no cache of prefixes helps.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokenloom.tokens.text import Tokenizer

KIND = (
    "Here is a short story about the", "Last week the newspaper wrote that the",
    "Dear friend, do you know that the", "The chapter begins on the day when the",
    "A report for the council: yesterday the", "Question: what happened after the",
    "My grandmother used to say that the", "The first thing to learn from the case in which the",
)  # fmt: skip
WHO = (
    "old sailor", "young doctor", "village teacher", "clock maker", "tired postman", "night baker",
    "lost child", "retired judge", "street painter", "shy gardener", "railway guard", "bee keeper",
)  # fmt: skip
DID = (
    "found a map", "lost a letter", "heard a song", "built a boat", "wrote a report", "mended a radio",
    "planted a tree", "counted the stars", "opened a shop", "missed a train", "told a joke",
)  # fmt: skip
WHERE = (
    "under the stone bridge", "behind the market", "near the frozen lake", "in the empty library",
    "at the edge of town", "on the northern road", "beside the power station", "in a small kitchen",
    "above the harbour", "inside the old museum",
)  # fmt: skip


def openings(tokenizer: Tokenizer, count: int, length: int, seed: int) -> list[list[int]]:
    """`count` beginnings of `length` ids each, all different; the same seed gives the same. ValueError if the
    tokenizer knows no English."""
    draw = random.Random(seed)
    found: dict[tuple[int, ...], None] = {}
    for _ in range(100 * count):
        if len(found) == count:
            break
        sentences = (" ".join(draw.choice(part) for part in (KIND, WHO, DID, WHERE)) for _ in range(length))
        ids = tokenizer.encode(". ".join(sentences))
        start = draw.randrange(length)
        found[tuple(ids[start : start + length])] = None
    if len(found) < count or any(len(ids) < length for ids in found):
        raise ValueError("tokenizer: it gives too few ids for English text to measure with")
    return [list(ids) for ids in found]

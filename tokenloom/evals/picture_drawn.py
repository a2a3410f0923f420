"""How well pictures are drawn from words: does the judge find the right caption, do the pixels hold what was
asked.

The drawing comes as a function of prompts, styles and seeds, so nothing here knows an engine. Beside every
figure stands the same one of real pictures: a judge is no better than what it says of those. Intervals are of
95 %, over pictures (interval).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from tokenloom.evals.interval import mean
from tokenloom.evals.picture_checks import Wish, check, shares
from tokenloom.evals.picture_features import AMONG, frechet, group_recall, nearest_pictures, right_among
from tokenloom.evals.picture_sets import Asked
from tokenloom.evals.pictures import rms

Draw = Callable[[Sequence[str], Sequence[str], Sequence[int]], np.ndarray]
"""Prompts, styles and seeds, one each a picture -> (N, 64, 64, 4) uint8."""
Facts = dict[str, Any]


class Sees(Protocol):
    """What judges (engine.judge.Judge)."""

    def texts(self, texts: Sequence[str]) -> np.ndarray: ...
    def pictures(self, pictures: np.ndarray) -> np.ndarray: ...


def right_captions(judge: Sees, asked: Asked, pictures: np.ndarray, texts: Sequence[str] = ()) -> np.ndarray:
    """(N,) bool: whether each picture's own caption is the best of 20. texts: others than the asked ones."""
    captions = judge.texts(list(texts) or asked.texts)
    return right_among(captions, judge.pictures(pictures), np.arange(len(asked)), asked.keys)


def drawing(judge: Sees, asked: Asked, drawn: np.ndarray, retrieved: np.ndarray | None = None) -> Facts:
    """The right caption among 20 of drawn and of real pictures, what share of the judge's own score that is,
    and the Frechet distance on the judge's features.

    retrieved: for each caption the training picture that fits it best (see `retrieve`), the baseline of a
    model that only remembers.
    """
    kept = right_captions(judge, asked, drawn)
    real = right_captions(judge, asked, asked.pictures)
    seen, shown = judge.pictures(drawn), judge.pictures(asked.pictures)
    half = len(asked) // 2
    facts: Facts = {
        "n": len(asked),
        "right_among_20": mean(kept).facts(),
        "real_right_among_20": mean(real).facts(),
        "share_of_real": float(kept.mean() / real.mean()) if real.any() else None,
        "chance": 1 / AMONG,
        "frechet_on_the_judges_features": frechet(seen, shown),
        "frechet_of_two_real_halves": frechet(shown[:half], shown[half:]) if half > 1 else None,
        "by_language": {
            lang: float(kept[[one == lang for one in asked.langs]].mean())
            for lang in sorted(set(asked.langs))
        },
    }
    if retrieved is not None:
        facts["retrieved_right_among_20"] = mean(right_captions(judge, asked, retrieved)).facts()
        facts["retrieved_frechet_on_the_judges_features"] = frechet(judge.pictures(retrieved), shown)
    return facts


def retrieve(judge: Sees, texts: Sequence[str], known: np.ndarray) -> np.ndarray:
    """For each caption the one of known (M, H, W, 4) that the judge finds to fit it best."""
    return known[(judge.texts(texts) @ judge.pictures(known).T).argmax(1)]


def attributes(wishes: Sequence[Wish], drawn: np.ndarray, real: np.ndarray, seed: int = 0) -> Facts:
    """Colour, count and place by pixels: of drawn pictures, of real ones, and by chance.

    Chance is measured: each wish is held against another wish's picture. "any" is over all checks, "all"
    counts pictures of which every check holds.
    """
    order = np.random.default_rng(seed).permutation(len(drawn))
    # A cycle through a random order: nobody keeps their own picture.
    others = np.empty_like(order)
    others[order] = np.roll(order, 1)
    found = {
        "drawn": _held(wishes, drawn),
        "real": _held(wishes, real),
        "chance": _held(wishes, drawn[others]),
    }
    return {
        name: {of: mean(np.array(held[name], float)).facts() for of, held in found.items() if name in held}
        for name in ("any", "all", "colour", "count", "place")
        if name in found["real"]
    }


def _held(wishes: Sequence[Wish], pictures: np.ndarray) -> dict[str, list[bool]]:
    each = [check(picture, wish) for picture, wish in zip(pictures, wishes, strict=True)]
    return shares(each) | {"any": [held for one in each for held in one.values()]}


def groups(
    judge: Sees,
    pictures: Mapping[str, np.ndarray],
    own: Sequence[str],
    known: np.ndarray,
    known_of: Sequence[str],
) -> Facts:
    """Balanced accuracy of the emoji's groups, for each of several sets of pictures of the same things.

    pictures: such as "drawn" and "real" -> (N, H, W, 4); own (N,): their groups; known: training pictures and
    their groups, whose five nearest tell a picture's.
    """
    features = judge.pictures(known)
    facts: Facts = {"n": len(own), "groups": len(set(known_of)), "chance": 1 / len(set(known_of))}
    for name, some in pictures.items():
        recall = group_recall(judge.pictures(some), own, features, known_of)
        facts[name] = {"balanced_accuracy": float(np.mean(list(recall.values()))), "by_group": recall}
    return facts


def copies(drawn: np.ndarray, real: np.ndarray, known: np.ndarray, rebuilt: np.ndarray) -> Facts:
    """How far drawn pictures are from the nearest training picture, and how many are near copies of it.

    A near copy is as near to a training picture as 19 of 20 pictures are to what the codec makes of them.
    real (N, H, W, 4): held-out real pictures, which cannot be copies: the figure beside. rebuilt (M, H, W,
    4): `known` through the codec.
    """
    limit = float(np.quantile(rms(known, rebuilt), 0.95))
    facts: Facts = {"n": len(drawn), "known": len(known), "near_copy_below_rms": limit}
    for name, some in (("drawn", drawn), ("real", real)):
        found = nearest_pictures(some, known)
        facts[name] = {
            "median_rms": float(np.median(found.rms)),
            "near_copies": mean((found.rms <= limit).astype(float)).facts(),
        }
    return facts


def sweep(judge: Sees, asked: Asked, ways: Mapping[str, Draw], seed: int = 0) -> list[Facts]:
    """The right caption among 20, and the Frechet distance, of each way to draw (guidance, temperature,
    ...)."""
    shown = judge.pictures(asked.pictures)
    rows = []
    for name, draw in ways.items():
        drawn = draw(asked.texts, asked.styles, range(seed, seed + len(asked)))
        rows.append(
            {
                "way": name,
                "right_among_20": mean(right_captions(judge, asked, drawn)).facts(),
                "frechet_on_the_judges_features": frechet(judge.pictures(drawn), shown),
            }
        )
    return rows

"""What pictures show, by the vectors of a dual encoder: the right caption, the group, the distribution.

The vectors come from the caller (engine.judge), so everything here holds for any encoder; each figure wants
the same measured on real pictures beside it. "Frechet distance on the judge's features" is no FID: that name
belongs to Inception's features (Heusel et al. 2017, arXiv:1706.08500, section 3), and the two are not
comparable.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tokenloom.codec.pixels import flatten

AMONG = 20
"""Captions that a picture's own is sought among; chance is 1 in this."""


def right_among(
    captions: np.ndarray,
    pictures: np.ndarray,
    own: Sequence[int] | np.ndarray,
    keys: Sequence[int] | np.ndarray,
    among: int = AMONG,
    seed: int = 0,
) -> np.ndarray:
    """Whether a picture's own caption fits it better than among - 1 others, (N,) bool; a tie is not right.

    captions (C, D), pictures (N, D): unit rows; own (N,): each picture's caption; keys (C,): captions of one
    key say the same, so none of them is among another's others, and no two others share a key. The others are
    drawn by `seed`, the same whatever the pictures' rows hold. ValueError where there are too few keys.
    """
    keys, own = np.asarray(keys), np.asarray(own)
    of = {int(key): np.flatnonzero(keys == key) for key in np.unique(keys)}
    if len(of) < among:
        raise ValueError(f"captions: found {len(of)} that differ; allowed: {among} or more to choose among")
    names = np.array(list(of))
    random = np.random.default_rng(seed)
    right = np.zeros(len(pictures), bool)
    for at, (row, caption) in enumerate(zip(pictures, own, strict=True)):
        others = random.choice(names[names != keys[caption]], among - 1, replace=False)
        picked = [int(random.choice(of[int(key)])) for key in others]
        right[at] = row @ captions[caption] > (captions[picked] @ row).max()
    return right


def frechet(a: np.ndarray, b: np.ndarray) -> float:
    """The distance of two Gaussians with the features' means and covariances (Dowson and Landau 1982).

    a (N, D), b (M, D). With few rows it is too large by a bias that grows as D / N: compare sets of one size.
    ValueError for fewer than two rows.
    """
    if min(len(a), len(b)) < 2 or a.shape[1] != b.shape[1]:
        raise ValueError(f"features: found {a.shape} and {b.shape}; allowed: two rows or more of one width")
    a, b = a.astype(np.float64), b.astype(np.float64)
    apart = ((a.mean(0) - b.mean(0)) ** 2).sum()
    cov_a, cov_b = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    values, vectors = np.linalg.eigh(np.atleast_2d(cov_a))
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    # The trace of the root of a product is that of this symmetric one's, whose eigenvalues are real.
    shared = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ np.atleast_2d(cov_b) @ root), 0)).sum()
    return float(
        max(0.0, apart + np.trace(np.atleast_2d(cov_a)) + np.trace(np.atleast_2d(cov_b)) - 2 * shared)
    )


def group_recall(
    features: np.ndarray,
    groups: Sequence[str],
    known: np.ndarray,
    known_groups: Sequence[str],
    neighbours: int = 5,
) -> dict[str, float]:
    """Group -> the share of its pictures whose nearest known pictures are mostly of that group.

    features (N, D), known (M, D): unit rows; the vote of the `neighbours` nearest, each by its product. The
    mean of the answer is the balanced accuracy; its chance is 1 / groups.
    """
    names = sorted(set(known_groups))
    if not set(groups) <= set(names):
        raise ValueError(
            f"groups: found {sorted(set(groups) - set(names))[0]!r}, which no known picture is of"
        )
    place = {name: at for at, name in enumerate(names)}
    of = np.array([place[name] for name in known_groups])
    products = features @ known.T
    nearest = np.argsort(-products, axis=1, kind="stable")[:, :neighbours]
    votes = np.zeros((len(features), len(names)))
    for at, row in enumerate(nearest):
        np.add.at(votes[at], of[row], products[at, row])
    told = votes.argmax(1)
    asked = np.array([place[name] for name in groups])
    return {
        name: float((told[asked == at] == at).mean()) for name, at in place.items() if (asked == at).any()
    }


@dataclass(frozen=True, slots=True)
class Nearest:
    """Each picture's nearest among known ones, by pixels."""

    index: np.ndarray
    """(N,) int64."""
    rms: np.ndarray
    """(N,) float64, over white, 0 to 255."""


def nearest_pictures(pictures: np.ndarray, known: np.ndarray, rows: int = 256) -> Nearest:
    """The nearest of known (M, H, W, 4) uint8 to each of pictures (N, H, W, 4) uint8, by root mean square."""
    if not len(known) or known.shape[1:] != pictures.shape[1:]:
        raise ValueError(
            f"pictures: found {pictures.shape} and {known.shape}; allowed: known ones of one shape"
        )
    # In float32 the product form loses digits of small distances: the winner's is computed again.
    flat = _flat(pictures)
    lengths = (flat**2).sum(1)
    best, index = np.full(len(flat), np.inf), np.zeros(len(flat), np.int64)
    for start in range(0, len(known), rows):
        some = _flat(known[start : start + rows])
        apart = lengths[:, None] + (some**2).sum(1) - 2 * flat @ some.T
        here = apart.argmin(1)
        closer = apart[np.arange(len(flat)), here] < best
        best[closer], index[closer] = apart[closer, here[closer]], start + here[closer]
    exact = [
        float(((row - one) ** 2).mean() ** 0.5) for row, one in zip(flat, _each(known, index), strict=True)
    ]
    return Nearest(index, np.array(exact) * 255)


def _flat(pictures: np.ndarray) -> np.ndarray:
    return flatten(pictures).reshape(len(pictures), -1).astype(np.float32) / 255


def _each(known: np.ndarray, index: np.ndarray) -> list[np.ndarray]:
    return [_flat(known[at][None])[0] for at in index]

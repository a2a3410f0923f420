"""How well pictures become other things: codes and back, another style, words, themselves with a part
changed.

The model's part comes as functions of pictures, so nothing here knows an engine; see picture_drawn for
drawing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from tokenloom.data.picture_words import Lang
from tokenloom.evals.interval import mean
from tokenloom.evals.picture_drawn import Sees
from tokenloom.evals.picture_features import AMONG, right_among
from tokenloom.evals.pictures import code_use, mean_db, ms_ssim, psnr, rms, ssim

Restyle = Callable[[np.ndarray, Sequence[str], Sequence[int]], np.ndarray]
"""Pictures, the styles they shall have, seeds -> pictures."""
Describe = Callable[[np.ndarray, Sequence[Lang]], Sequence[str]]
"""Pictures and languages -> words."""
Edit = Callable[[np.ndarray, np.ndarray, Sequence[str], Sequence[int]], np.ndarray]
"""Pictures, masks (N, H, W) bool of what may change, words, seeds -> pictures."""
Facts = dict[str, Any]


class Codes(Protocol):
    """What makes codes (codec.folder.Codec)."""

    n_codes: int

    def encode(self, pictures: np.ndarray) -> np.ndarray: ...
    def decode(self, codes: np.ndarray) -> np.ndarray: ...


def through(codec: Codes, pictures: np.ndarray, rows: int = 64) -> tuple[np.ndarray, np.ndarray]:
    """What the codec leaves of pictures, and their codes."""
    codes = np.concatenate([codec.encode(pictures[at : at + rows]) for at in range(0, len(pictures), rows)])
    parts = [codec.decode(codes[at : at + rows]) for at in range(0, len(codes), rows)]
    return np.concatenate(parts), codes


def reconstruction(codec: Codes, sets: Mapping[str, np.ndarray]) -> Facts:
    """PSNR, SSIM, MS-SSIM over white for each set of pictures, and the use of the codebook by each and by
    all."""
    facts: Facts = {}
    every = []
    for name, pictures in sets.items():
        rebuilt, codes = through(codec, pictures)
        every.append(codes)
        decibels = psnr(pictures, rebuilt)
        facts[name] = {
            "n": len(pictures),
            "psnr_db": mean(np.minimum(decibels, 60)).facts() | {"value": mean_db(decibels)},
            "ssim": mean(ssim(pictures, rebuilt)).facts(),
            "ms_ssim": mean(ms_ssim(pictures, rebuilt)).facts(),
            "codes": _use(codes, codec.n_codes),
        }
    facts["all"] = {
        "n": sum(len(codes) for codes in every),
        "codes": _use(np.concatenate([codes.ravel() for codes in every]), codec.n_codes),
    }
    return facts


def _use(codes: np.ndarray, size: int) -> Facts:
    found = code_use(codes, size)
    return {
        "size": size,
        "used": found.used,
        "perplexity": found.perplexity,
        "bits": found.bits,
        "n": found.n,
    }


def restyling(judge: Sees, source: np.ndarray, made: np.ndarray, true: np.ndarray) -> Facts:
    """In what share of pairs the restyled picture is nearer to the true one than its source is.

    source, made, true (N, H, W, 4): in one style, what became of it, the same thing in the style asked for.
    By pixels: root mean square over white; by the judge: product of unit vectors. An untouched source scores
    0.
    """
    by_pixels = rms(made, true) < rms(source, true)
    before, after, wanted = (judge.pictures(some) for some in (source, made, true))
    by_judge = (after * wanted).sum(1) > (before * wanted).sum(1)
    return {
        "n": len(source),
        "nearer_by_pixels": mean(by_pixels.astype(float)).facts(),
        "nearer_by_judge": mean(by_judge.astype(float)).facts(),
        "rms": {"source": float(rms(source, true).mean()), "made": float(rms(made, true).mean())},
        "chance": "0 for an unchanged picture; about 0.5 for an unrelated change",
    }


def describing(judge: Sees, labels: Sequence[str], keys: np.ndarray, words: Sequence[str]) -> Facts:
    """Whether what was written of a picture is nearest to its label among 20, by the judge's vectors of both.

    labels (N,): the right words; keys (N,): labels of one key say the same; words (N,): what the model wrote.
    An empty answer is wrong. "exact" is the share written letter for letter.
    """
    empty = np.array([not text.strip() for text in words])
    told = judge.texts([text if text.strip() else "?" for text in words])
    right = right_among(judge.texts(labels), told, np.arange(len(labels)), keys) & ~empty
    same = [a.strip().casefold() == b.strip().casefold() for a, b in zip(words, labels, strict=True)]
    return {
        "n": len(labels),
        "right_among_20": mean(right.astype(float)).facts(),
        "exact": float(np.mean(same)),
        "empty": float(empty.mean()),
        "chance": 1 / AMONG,
    }


def editing(
    codec: Codes,
    judge: Sees,
    before: np.ndarray,
    masks: np.ndarray,
    edited: np.ndarray,
    after: np.ndarray,
    words: Sequence[str],
    keys: np.ndarray,
    cell: int = 8,
) -> Facts:
    """What an edit leaves of the pixels outside its mask, beside what the codec alone leaves of them; and
    whether the edited picture shows what was asked for.

    before, edited, after (N, H, W, 4): the source, what became of it, a real picture of what was asked; masks
    (N, H, W) bool: what may change. Cells of `cell` pixels that a mask touches count as inside, since codes
    stand for cells; "far" leaves out one more ring of cells, which a decoder's reach blends.
    """
    rebuilt, _ = through(codec, before)
    inside = _cells(masks, cell)
    facts: Facts = {"n": len(before), "chance": 1 / AMONG}
    for name, grown in (("outside", inside), ("far", _grown(inside, cell))):
        rows = ~grown.all((1, 2))
        where = ~grown[rows]
        facts[name] = {
            "psnr_db": mean_db(psnr(before[rows], edited[rows], where)),
            "codec_alone_psnr_db": mean_db(psnr(before[rows], rebuilt[rows], where)),
            "unchanged_but_for_codec": float(_same(edited[rows], rebuilt[rows], where).mean()),
            "unchanged": float(_same(edited[rows], before[rows], where).mean()),
            "n": int(rows.sum()),
        }
    captions, own = judge.texts(words), np.arange(len(words))
    for name, pictures in (("edited", edited), ("real", after), ("source", before)):
        right = right_among(captions, judge.pictures(pictures), own, keys)
        facts[f"{name}_right_among_20"] = mean(right.astype(float)).facts()
    return facts


def _cells(masks: np.ndarray, cell: int) -> np.ndarray:
    """Masks with every touched cell filled."""
    n, high, wide = masks.shape
    touched = masks.reshape(n, high // cell, cell, wide // cell, cell).any((2, 4))
    return touched.repeat(cell, 1).repeat(cell, 2)


def _grown(masks: np.ndarray, by: int) -> np.ndarray:
    """Masks with a rim of `by` pixels more on all sides."""
    padded = np.pad(masks, ((0, 0), (by, by), (by, by)))
    rows = np.lib.stride_tricks.sliding_window_view(padded, 2 * by + 1, axis=1).any(-1)
    return np.asarray(np.lib.stride_tricks.sliding_window_view(rows, 2 * by + 1, axis=2).any(-1))


def _same(a: np.ndarray, b: np.ndarray, where: np.ndarray, most: int = 8) -> np.ndarray:
    """(N,) bool: no channel of a pixel in `where` differs by more than `most` of 255, what is clear set
    aside."""
    seen = where & ((a[..., 3] > 8) | (b[..., 3] > 8))
    apart = np.abs(a.astype(np.int16) - b).max(-1)
    return np.asarray((apart * seen).max((1, 2)) <= most)

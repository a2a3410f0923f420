"""How near one picture is to another, pixel by pixel; and how well a codec uses its codes.

Not what a picture shows (picture_features, picture_checks). Pictures are uint8 RGBA and are compared over
white. Sources: PSNR as usual, of the mean square over pixels and colours; SSIM: Wang et al. 2004, "Image
quality assessment: from error visibility to structural similarity", section III.B, on luma (ITU-R BT.601);
MS-SSIM: Wang et al. 2003, "Multiscale structural similarity for image quality assessment", section 3.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tokenloom.codec.pixels import flatten

WINDOW, SIGMA = 11, 1.5
STEADY = ((0.01 * 255) ** 2, (0.03 * 255) ** 2)
"""C1 and C2: they keep the quotients finite where a picture is plain."""
SCALES = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Exponents of MS-SSIM, the finest scale first (Wang et al. 2003, section 4)."""
MOST_DB = 60.0
"""What equal pictures count in a mean of PSNR, where they would be infinite."""


def psnr(a: np.ndarray, b: np.ndarray, where: np.ndarray | None = None) -> np.ndarray:
    """Peak signal-to-noise ratio in dB, (N,) float64; infinite for equal pictures.

    a, b (N, H, W, 4) uint8. where (N, H, W) bool: the pixels that are compared; None = all. ValueError for
    other shapes and for a row without pixels to compare.
    """
    _check(a, b)
    square = (flatten(a).astype(np.float64) - flatten(b)) ** 2
    if where is None:
        error = square.mean((1, 2, 3))
    else:
        pixels = where.sum((1, 2))
        if where.shape != a.shape[:3] or not pixels.all():
            raise ValueError(f"where: found {where.shape}; allowed: {a.shape[:3]} with pixels in each row")
        error = (square.mean(3) * where).sum((1, 2)) / pixels
    with np.errstate(divide="ignore"):
        return np.asarray(10 * np.log10(255.0**2 / error))


def rms(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Root mean square of the differences over white, (N,) float64 in 0 to 255."""
    _check(a, b)
    return np.asarray(np.sqrt(((flatten(a).astype(np.float64) - flatten(b)) ** 2).mean((1, 2, 3))))


def ssim(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Structural similarity of luma, (N,) float64 in [-1, 1]: the mean over windows that lie inside.

    a, b (N, H, W, 4) uint8, 11 pixels a side at least.
    """
    _check(a, b, WINDOW)
    light, structure = _parts(luma(a), luma(b))
    return np.asarray((light * structure).mean((1, 2)))


def ms_ssim(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """SSIM over several scales, (N,) float64 in [0, 1].

    Five scales need 176 pixels a side; smaller pictures take the scales that fit (three at 64 pixels) with
    their exponents brought to a sum of 1, so figures of different sizes are no twins. A mean structure below
    0 counts 0.
    """
    _check(a, b, WINDOW)
    x, y = luma(a), luma(b)
    fit = int(math.log2(min(x.shape[1:]) / WINDOW)) + 1
    weights = np.array(SCALES[:fit]) / sum(SCALES[:fit])
    found = np.ones(len(x))
    for scale, weight in enumerate(weights):
        light, structure = _parts(x, y)
        last = scale == len(weights) - 1
        found *= np.maximum((light * structure if last else structure).mean((1, 2)), 0) ** weight
        if not last:
            x, y = _half(x), _half(y)
    return found


def luma(pictures: np.ndarray) -> np.ndarray:
    """(N, H, W) float64 in 0 to 255, over white."""
    return np.asarray(flatten(pictures) @ np.array([0.299, 0.587, 0.114]))


def _parts(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Luminance, and contrast times structure, of each window that lies inside."""
    mean_x, mean_y = _blur(x), _blur(y)
    var_x, var_y = _blur(x * x) - mean_x**2, _blur(y * y) - mean_y**2
    both = _blur(x * y) - mean_x * mean_y
    c1, c2 = STEADY
    light = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    return light, (2 * both + c2) / (var_x + var_y + c2)


def _blur(x: np.ndarray) -> np.ndarray:
    """The Gaussian window's mean at each place where it lies inside: (N, H - 10, W - 10)."""
    down, across = _window(x.shape[1]), _window(x.shape[2])
    return np.asarray(down @ x @ across.T)


def _window(size: int) -> np.ndarray:
    """(size - 10, size): a row holds the Gaussian of one place."""
    steps = np.arange(WINDOW) - WINDOW // 2
    gauss = np.exp(-(steps**2) / (2 * SIGMA**2))
    gauss /= gauss.sum()
    rows = np.zeros((size - WINDOW + 1, size))
    for at in range(len(rows)):
        rows[at, at : at + WINDOW] = gauss
    return rows


def _half(x: np.ndarray) -> np.ndarray:
    """Means of 2x2 pixels; an odd last row or column is left out."""
    x = x[:, : x.shape[1] // 2 * 2, : x.shape[2] // 2 * 2]
    return np.asarray(x.reshape(len(x), x.shape[1] // 2, 2, x.shape[2] // 2, 2).mean((2, 4)))


def _check(a: np.ndarray, b: np.ndarray, least: int = 1) -> None:
    right = a.dtype == b.dtype == np.uint8 and a.shape == b.shape and a.ndim == 4 and a.shape[3] == 4
    if not right or min(a.shape[1:3]) < least:
        raise ValueError(
            f"pictures: found {a.dtype} {a.shape} and {b.dtype} {b.shape}; allowed: uint8 (N, H, W, 4), "
            f"both of one shape, {least} pixels a side at least"
        )


def mean_db(values: np.ndarray) -> float:
    """The mean of PSNRs in dB; equal pictures count MOST_DB."""
    return float(np.minimum(values, MOST_DB).mean())


# --- codes ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CodeUse:
    """How much of its codebook a codec uses."""

    size: int
    used: float
    """Share of the codes that stand anywhere."""
    perplexity: float
    """2 to the entropy: codes that an even use of as many bits would need; at most `size`."""
    bits: float
    """Entropy of a code, taken alone."""
    n: int
    """Codes counted."""


def code_use(codes: np.ndarray, size: int) -> CodeUse:
    """Use of a codebook of `size` by codes of any shape. ValueError for none, and for codes outside of it."""
    flat = np.asarray(codes).ravel()
    if not len(flat) or flat.min() < 0 or flat.max() >= size:
        raise ValueError(f"codes: found {len(flat)} of them; allowed: one or more from 0 to {size - 1}")
    counts = np.bincount(flat, minlength=size)
    share = counts[counts > 0] / len(flat)
    bits = float(-(share * np.log2(share)).sum())
    return CodeUse(size, float((counts > 0).mean()), 2.0**bits, bits, len(flat))

"""Colours that are true: a rule that names pixels, and recolouring whose result the rule names as wished.

The rule works on lightness, chroma and hue of OKLab (Ottosson 2020, "A perceptual color space for image
processing"). The same rule serves to check what a model has drawn. Not colour management: sRGB in and out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tokenloom.data.picture_words import COLOURS

_TO_LMS = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ],
    np.float32,
)
_TO_LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ],
    np.float32,
)
_FROM_LAB = np.linalg.inv(_TO_LAB).astype(np.float32)
_FROM_LMS = np.linalg.inv(_TO_LMS).astype(np.float32)
_STEPS = np.arange(256, dtype=np.float32) / 255
_LINEAR = np.where(_STEPS <= 0.04045, _STEPS / 12.92, ((_STEPS + 0.055) / 1.055) ** 2.4).astype(np.float32)
_RANK = {name: number for number, name in enumerate(COLOURS)}
NO_COLOUR = len(COLOURS)
"""The number of a pixel that no colour word fits."""

TARGETS = {
    "red": (0.58, 0.21, 27),
    "orange": (0.73, 0.17, 57),
    "yellow": (0.86, 0.17, 95),
    "green": (0.66, 0.17, 140),
    "blue": (0.60, 0.17, 255),
    "purple": (0.55, 0.19, 303),
    "pink": (0.77, 0.14, 355),
    "brown": (0.44, 0.08, 50),
    "black": (0.22, 0.0, 0),
    "white": (0.95, 0.0, 0),
    "grey": (0.62, 0.0, 0),
}
"""Lightness, chroma and hue in degrees that a recoloured area has on average."""


def to_oklab(rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
    """sRGB (..., 3) uint8 -> (..., 3) float32: lightness 0..1, a, b."""
    cones: NDArray[np.float32] = _LINEAR[rgb] @ _TO_LMS.T
    return np.cbrt(cones) @ _TO_LAB.T


def to_srgb(lab: NDArray[np.float32]) -> NDArray[np.uint8]:
    """OKLab (..., 3) -> sRGB uint8; what lies outside sRGB is cut off."""
    linear = np.clip((lab @ _FROM_LAB.T) ** 3 @ _FROM_LMS.T, 0, 1)
    curved = np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
    return (curved * 255 + 0.5).astype(np.uint8)


def name_pixels(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """sRGB (..., 3) uint8 -> (...) uint8: the place of each pixel's word in COLOURS, or NO_COLOUR."""
    lab = to_oklab(rgb)
    light = lab[..., 0]
    chroma = np.hypot(lab[..., 1], lab[..., 2])
    hue = np.degrees(np.arctan2(lab[..., 2], lab[..., 1])) % 360
    # Very light and very dark colours, and bluish greys, are seen as colours only when they are stronger.
    bluish = (hue >= 195) & (hue < 320)
    least = np.where((light < 0.30) | (light > 0.86), 0.06, np.where(bluish, 0.05, 0.04))
    vivid = chroma >= least
    rosy, reddish = (hue >= 330) | (hue < 12), (hue >= 12) & (hue < 38)
    warm, yellow = (hue >= 38) & (hue < 78), (hue >= 78) & (hue < 112)
    brown = (light < 0.62) & (chroma < 0.135)
    earthy = reddish & (((hue >= 30) & (chroma < 0.145)) | ((hue >= 22) & (light < 0.42)) | (chroma < 0.09))
    earthy &= light < 0.68
    rules = [
        ("black", ~vivid & (light < 0.37)),
        ("white", ~vivid & (light > 0.88)),
        ("grey", ~vivid),
        ("pink", rosy & (light > 0.60)),
        ("red", (rosy & ((hue >= 352) | (hue < 12))) | (reddish & (light < 0.70) & ~earthy)),
        ("purple", rosy | ((hue >= 285) & (hue < 330) & ~((light > 0.74) & (hue > 318)))),
        ("pink", (reddish & (light >= 0.70) & (hue < 30)) | ((hue >= 318) & (hue < 330))),
        ("brown", earthy | ((warm | yellow) & brown)),
        ("orange", (warm | reddish) & (chroma > 0.11) & (light > 0.60)),
        ("yellow", yellow & (light > 0.72) & (chroma > 0.075)),
        ("green", (hue >= 112) & (hue < 180)),
        ("blue", (hue >= 195) & (hue < 285)),
    ]
    named = np.full(light.shape, NO_COLOUR, np.uint8)
    free = np.ones(light.shape, bool)
    for name, where in rules:
        named[free & where] = _RANK[name]
        free &= ~where
    return named


def colour_shares(pixels: NDArray[np.uint8], mask: NDArray[np.bool_] | None = None) -> dict[str, float]:
    """Share of the masked pixels that each colour word fits; words that fit none are left out.

    pixels (H, W, 3 or 4) uint8 sRGB; mask (H, W) bool, without it the pixels whose alpha is at least half.
    """
    if mask is None:
        mask = pixels[..., 3] >= 128 if pixels.shape[-1] == 4 else np.ones(pixels.shape[:2], bool)
    chosen = pixels[..., :3][mask]
    if not len(chosen):
        return {}
    counts = np.bincount(name_pixels(chosen), minlength=NO_COLOUR + 1)
    return {name: float(counts[i] / len(chosen)) for i, name in enumerate(COLOURS) if counts[i]}


def colour_of(
    pixels: NDArray[np.uint8], mask: NDArray[np.bool_] | None = None, share: float = 0.5
) -> str | None:
    """The colour word that fits at least `share` of the masked pixels, or None.

    pixels (H, W, 3 or 4) uint8 sRGB; mask (H, W) bool, without it the pixels whose alpha is at least half.
    """
    shares = colour_shares(pixels, mask)
    best = max(shares, key=shares.__getitem__, default=None)
    return best if best is not None and shares[best] >= share else None


@dataclass(frozen=True, slots=True)
class Paint:
    """What of a sprite takes colour: the pixels of one hue, and how light and vivid they are."""

    hue: float
    """Degrees."""
    light: float
    chroma: float
    spread: float = 35.0
    """Pixels within so many degrees of the hue are painted."""


def paint_of(pixels: NDArray[np.uint8]) -> Paint | None:
    """The area of a sprite (H, W, 4) that may be recoloured, or None where no hue rules more than half."""
    seen = pixels[..., 3] >= 128
    if not seen.any():
        return None
    lab = to_oklab(pixels[..., :3][seen])
    chroma = np.hypot(lab[:, 1], lab[:, 2])
    vivid = chroma > 0.045
    if vivid.sum() < 0.5 * len(lab):
        return None
    hue = np.degrees(np.arctan2(lab[:, 2], lab[:, 1])) % 360
    bins = np.bincount((hue[vivid] / 10).astype(int) % 36, weights=chroma[vivid], minlength=36)
    around = bins + np.roll(bins, 1) + np.roll(bins, -1)
    peak = int(around.argmax()) * 10 + 5
    near = vivid & (_apart(hue, peak) <= 25)
    angle = np.radians(hue[near])
    middle = float(np.degrees(np.arctan2(np.sin(angle).mean(), np.cos(angle).mean())) % 360)
    ruled = vivid & (_apart(hue, middle) <= 35)
    if ruled.sum() < 0.55 * len(lab) or ruled.sum() < 0.75 * vivid.sum():
        return None
    return Paint(
        round(middle, 1), round(float(lab[ruled, 0].mean()), 3), round(float(chroma[ruled].mean()), 3)
    )


def _apart(hue: NDArray[np.float32], other: float) -> NDArray[np.float32]:
    return np.abs((hue - other + 180) % 360 - 180)


def recolour(pixels: NDArray[np.uint8], paint: Paint, colour: str) -> NDArray[np.uint8]:
    """A sprite (H, W, 4) uint8 in another colour: the painted area's light and shade stay, its hue goes."""
    light, chroma, hue = TARGETS[colour]
    lab = to_oklab(pixels[..., :3])
    now = np.hypot(lab[..., 1], lab[..., 2])
    angle = np.degrees(np.arctan2(lab[..., 2], lab[..., 1])) % 360
    # Full inside the hue's range, fading over 15 degrees and towards grey, so that no hard seam appears.
    share = np.clip((paint.spread + 15 - _apart(angle, paint.hue)) / 15, 0, 1)
    share *= np.clip((now - 0.015) / 0.03, 0, 1)
    shade = (lab[..., 0] - paint.light) * (0.55 if colour in ("black", "white", "brown") else 0.8)
    new = np.empty_like(lab)
    new[..., 0] = np.clip(light + shade, 0.05, 0.99)
    vivid = chroma * np.clip(now / max(paint.chroma, 0.02), 0.6, 1.15)
    turn = np.radians(hue + np.clip((angle - paint.hue + 180) % 360 - 180, -12, 12) * 0.5)
    new[..., 1], new[..., 2] = vivid * np.cos(turn), vivid * np.sin(turn)
    mixed = pixels.copy()
    mixed[..., :3] = to_srgb(lab + share[..., None] * (new - lab))
    return mixed


def turned(pixels: NDArray[np.uint8], degrees: float) -> NDArray[np.uint8]:
    """A picture (H, W, 4) uint8 with every hue turned by so much; lightness and chroma stay where sRGB has
    them."""
    lab = to_oklab(pixels[..., :3])
    turn = np.radians(degrees)
    new = lab.copy()
    new[..., 1] = np.cos(turn) * lab[..., 1] - np.sin(turn) * lab[..., 2]
    new[..., 2] = np.sin(turn) * lab[..., 1] + np.cos(turn) * lab[..., 2]
    found = pixels.copy()
    found[..., :3] = to_srgb(new)
    return found


def shade_of(colour: str, lightness: float, vivid: float) -> tuple[int, int, int]:
    """An sRGB colour of that name, for grounds. lightness and vivid in -1..1 move it within the word."""
    light, chroma, hue = TARGETS[colour]
    chroma *= 0.85 + 0.15 * vivid
    light += 0.06 * lightness if colour not in ("white", "black") else 0.03 * lightness
    angle = np.radians(hue)
    lab = np.array([min(light, 1.0), chroma * np.cos(angle), chroma * np.sin(angle)], np.float32)
    red, green, blue = (int(v) for v in to_srgb(lab))
    return red, green, blue

"""Pictures on their way out: enlarged, as PNG, WebP or JPEG, labelled. The one place where they leave.

Not the road to their pixels (tasks.pictures). Source of the resampling: Lanczos 1964 as Pillow does it, on
colours weighed by opacity.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from tokenloom.trust import label

Format = Literal["png", "webp", "jpeg"]
FORMATS = get_args(Format)
ENDINGS: dict[str, Format] = {".png": "png", ".webp": "webp", ".jpg": "jpeg", ".jpeg": "jpeg"}
SIZE = 512
SIZES = (64, 1024)
"""Pixels along a side of what is delivered, unless told; the least and the most."""
QUALITY = 92
GREY = (222, 222, 222, 255)
"""Of places that are not drawn yet."""


def check_size(size: int) -> None:
    if not (isinstance(size, int) and SIZES[0] <= size <= SIZES[1]):
        raise ValueError(f"size: found {size!r}; allowed: {SIZES[0]} to {SIZES[1]} pixels along a side")


def enlarge(pixels: np.ndarray, size: int) -> np.ndarray:
    """uint8 (S, S, 4) -> uint8 (size, size, 4), RGBA."""
    check_size(size)
    return resized(pixels, (size, size))


def resized(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """uint8 (H, W, 4), RGBA, at this width and height."""
    from PIL import Image

    if pixels.shape[1::-1] == size:
        return pixels
    image = Image.fromarray(pixels).convert("RGBa")
    return np.asarray(image.resize(size, Image.Resampling.LANCZOS).convert("RGBA"))


def put_into(before: np.ndarray, new: np.ndarray, marked: np.ndarray) -> np.ndarray:
    """`new` where `marked` is and `before` elsewhere, all of one size; their border is as soft as a pixel of
    the codec's picture. uint8 (S, S, 4) twice and bool (S, S) -> uint8 (S, S, 4)."""
    from PIL import Image, ImageFilter

    soft = Image.fromarray(np.where(marked, 255, 0).astype(np.uint8))
    grown = soft.filter(ImageFilter.MaxFilter(3)).filter(ImageFilter.GaussianBlur(len(marked) / 192))
    share = np.asarray(grown, np.float32)[..., None] / 255
    share[marked] = 1.0
    old, fresh = (one.astype(np.float32) for one in (before, new))
    alpha = old[..., 3:] * (1 - share) + fresh[..., 3:] * share
    colour = old[..., :3] * old[..., 3:] * (1 - share) + fresh[..., :3] * fresh[..., 3:] * share
    mixed = np.concatenate([colour / np.maximum(alpha, 1), alpha], axis=2)
    return np.where(share == 0, before, mixed.clip(0, 255).round().astype(np.uint8))


def veil(pixels: np.ndarray, known: np.ndarray) -> np.ndarray:
    """A picture whose places that are not known yet are grey. known: bool, a square of places, row by row."""
    side = int(len(known) ** 0.5)
    assert side * side == len(known)
    cell = pixels.shape[0] // side
    shown = np.repeat(np.repeat(known.reshape(side, side), cell, 0), cell, 1)
    return np.where(shown[..., None], pixels, np.array(GREY, np.uint8))


def to_bytes(pixels: np.ndarray, kind: Format) -> bytes:
    """The file of RGBA pixels; JPEG has no transparency and is put on white.

    PNG and WebP are packed loosely: they are packed anew with their label.
    """
    from PIL import Image

    if kind not in FORMATS:
        raise ValueError(f"format: found {kind!r}; allowed: {', '.join(FORMATS)}")
    image = Image.fromarray(pixels)
    if (pixels[..., 3] == 255).all() and kind != "jpeg":
        image = image.convert("RGB")
    buffer = io.BytesIO()
    if kind == "jpeg":
        ground = Image.new("RGB", image.size, "white")
        ground.paste(image, mask=image.getchannel("A"))
        ground.save(buffer, "JPEG", quality=QUALITY, subsampling=0)
    elif kind == "webp":
        image.save(buffer, "WEBP", lossless=True, method=0, quality=0)
    else:
        image.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def deliver(
    pixels: np.ndarray,
    *,
    size: int | None = SIZE,
    kind: Format = "png",
    lang: str = "en",
    visible: bool = True,
    opaque: bool = False,
) -> bytes:
    """The labelled file of a drawn picture: pixels uint8 (S, S, 4) enlarged to size; None leaves pixels
    uint8 (H, W, 4) as they are.

    lang: of the visible words. visible: whether they are on the picture; the hidden label always is.
    opaque: on white, without transparency.
    """
    large = pixels if size is None else enlarge(pixels, size)
    if opaque:
        share = large[..., 3:].astype(np.float32) / 255
        colour = large[..., :3] * share + 255 * (1 - share)
        large = np.concatenate([colour.round().astype(np.uint8), np.full_like(large[..., 3:], 255)], axis=2)
    return label(kind, to_bytes(large, kind), lang=lang, visible=visible).data


def kind_of(path: Path) -> Format:
    """The format that a file's ending names."""
    found = ENDINGS.get(path.suffix.lower())
    if found is None:
        raise ValueError(f"--output: found {path.name!r}; a picture's file ends in {', '.join(ENDINGS)}")
    return found

"""Pictures that a user gives: read with care, turned upright, brought to the square that a model sees.

The one way in: files, uploads and data URLs all come through `open_picture`. Not the codec (codec/) and not
the files that leave (tasks.pictures_out). Only the formats named here are opened, whatever a file's name
says; their size is read from the head before anything is unpacked.
"""

from __future__ import annotations

import io
import stat
import struct
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP")
MAX_BYTES = 20 * 2**20
MAX_PIXELS = 40_000_000
MAX_SIDE = 16_384
Fit = Literal["pad", "crop"]
FITS = get_args(Fit)
MIN_SHARE = 128
"""A mask marks where it is at least this light, of 255."""


class BadPicture(ValueError):
    """What was given is no picture that can be used; the message says which, why, and what is allowed."""


def read_picture(path: Path) -> bytes:
    """The bytes of a picture's file; BadPicture for one that is too large or no file, OSError as it comes."""
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise BadPicture(f"{path}: found no file; allowed: {_formats()}")
    if found.st_size > MAX_BYTES:
        raise BadPicture(f"{path}: found {found.st_size} bytes; allowed: at most {MAX_BYTES}")
    return path.read_bytes()


def open_picture(data: bytes, name: str = "image") -> Image:
    """The picture in a file's bytes as RGBA with 8 bits, upright as its EXIF says. name: of the field.

    A CMYK or 16-bit picture is converted. BadPicture for what is none of FORMATS, is damaged, too large, or
    moves (GIF, APNG and WebP animations).
    """
    from PIL import Image, ImageOps

    if not data:
        raise BadPicture(f"{name}: found an empty file; allowed: {_formats()}")
    if len(data) > MAX_BYTES:
        raise BadPicture(f"{name}: found {len(data)} bytes; allowed: at most {MAX_BYTES}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # MAX_PIXELS is stricter
            image: Image.Image = Image.open(io.BytesIO(data), formats=list(FORMATS))
            _check_size(image, name)
            if (frames := getattr(image, "n_frames", 1)) > 1:
                raise BadPicture(
                    f"{name}: found an animation of {frames} pictures; allowed: one still picture"
                )
            image.load()
            image = ImageOps.exif_transpose(image)
    except Image.UnidentifiedImageError:
        raise BadPicture(f"{name}: found no picture; allowed: {_formats()}") from None
    except Image.DecompressionBombError:
        raise BadPicture(f"{name}: found far too many pixels; allowed: {_most()}") from None
    except (
        OSError,
        SyntaxError,
        struct.error,
        EOFError,
        ValueError,
        IndexError,
        KeyError,
        TypeError,
    ) as error:
        if isinstance(error, BadPicture):
            raise
        raise BadPicture(f"{name}: found a damaged picture ({error}); allowed: {_formats()}") from None
    return _rgba(image)


def _formats() -> str:
    return "PNG, JPEG, WebP, GIF or BMP"


def _most() -> str:
    return f"at most {MAX_SIDE} a side, {MAX_PIXELS} in all"


def _check_size(image: Image, name: str) -> None:
    width, height = image.size
    if width < 1 or height < 1 or max(width, height) > MAX_SIDE or width * height > MAX_PIXELS:
        raise BadPicture(f"{name}: found {width} x {height} pixels; allowed: {_most()}")


def _rgba(image: Image) -> Image:
    """Any mode as RGBA with 8 bits a channel."""
    from PIL import Image as Images

    if image.mode.startswith("I") or image.mode == "F":
        values = np.asarray(image).astype(np.float64)
        if image.mode.startswith("I"):  # 16 bits a value, whatever the mode holds it in
            values = values / 257
        return Images.fromarray(values.clip(0, 255).round().astype(np.uint8)).convert("RGBA")
    return image.convert("RGBA")


def fit_picture(image: Image, size: int | tuple[int, int], how: Fit = "pad") -> np.ndarray:
    """uint8 (H, W, 4) of an RGBA picture of any shape. size: width and height, or one number for a square.

    how: "pad", the whole picture with clear margins; "crop", its middle, without margins.
    """
    from PIL import Image as Images

    check_fit(how)
    wide, high = (size, size) if isinstance(size, int) else size
    width, height = image.size
    if how == "crop":
        share = min(width / wide, height / high)
        left, top = (width - wide * share) / 2, (height - high * share) / 2
        box, scaled = (left, top, width - left, height - top), (wide, high)
    else:
        share = min(wide / width, high / height)
        box, scaled = (0, 0, width, height), (max(1, round(width * share)), max(1, round(height * share)))
    # Colours are weighed by opacity, so that what is clear does not bleed in; "RGBa" holds them so.
    small = image.convert("RGBa").resize(scaled, Images.Resampling.LANCZOS, box=box).convert("RGBA")
    found = np.zeros((high, wide, 4), np.uint8)
    top, left = (high - scaled[1]) // 2, (wide - scaled[0]) // 2
    found[top : top + scaled[1], left : left + scaled[0]] = np.asarray(small)
    return found


def check_fit(how: str) -> None:
    if how not in FITS:
        raise BadPicture(f"fit: found {how!r}; allowed: {', '.join(FITS)}")


def read_mask(data: bytes, image: Image, name: str = "mask") -> Image:
    """A mask's file as a picture "L" of the picture's size: 255 where something new is to be drawn.

    A mask that is clear anywhere marks what is clear (OpenAI's way); any other marks what is light.
    BadPicture for one of another size than the picture, or that marks nothing.
    """
    mask = open_picture(data, name)
    if mask.size != image.size:
        found, allowed = ("{} x {}".format(*one.size) for one in (mask, image))
        raise BadPicture(f"{name}: found {found} pixels; allowed: {allowed}, as many as the picture's")
    return _marked(mask, name)


def own_mask(image: Image, name: str = "mask") -> Image:
    """The mask of a picture without one: what of it is clear. BadPicture where nothing is."""
    if not has_clear(image):
        raise BadPicture(
            f"{name}: missing; give a picture of the same size that is light, or clear, where something new "
            "is to be drawn"
        )
    return _marked(image, name)


def has_clear(image: Image) -> bool:
    """Whether anything of an RGBA picture is wholly clear."""
    return _least(image.getchannel("A")) == 0


def _marked(mask: Image, name: str) -> Image:
    clear = mask.getchannel("A")
    if _least(clear) < MIN_SHARE:
        marked = clear.point(lambda v: 255 if v < MIN_SHARE else 0)
    else:
        marked = mask.convert("L").point(lambda v: 255 if v >= MIN_SHARE else 0)
    if not np.asarray(marked).any():
        raise BadPicture(
            f"{name}: nothing is marked; make it white, or clear, where something new is to be drawn"
        )
    return marked


def _least(channel: Image) -> int:
    return int(np.asarray(channel).min())


def fit_mask(mask: Image, size: int | tuple[int, int], how: Fit = "pad") -> np.ndarray:
    """bool (H, W) of a mask "L", brought to size as its picture was.

    BadPicture where nothing of what is marked lies in it."""
    from PIL import Image as Images

    opaque = Images.merge("RGBA", (mask, mask, mask, mask.point(lambda v: 255)))
    found = fit_picture(opaque, size, how)
    marked: np.ndarray = (found[..., 0] >= MIN_SHARE // 4) & (found[..., 3] > 0)
    if not marked.any():
        raise BadPicture("mask: nothing is marked within the square that is drawn; allowed: any place in it")
    return marked

"""Made pictures on one sheet with their captions, for people to look at. Not a report: nothing is counted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_CELL, _LINE, _TWICE = 128, 13, 2
_FONTS = (
    "NotoSansCJK-Regular.ttc",
    "wqy-zenhei.ttc",
    "wqy-microhei.ttc",
    "DroidSansFallbackFull.ttf",
    "PingFang.ttc",
    "msyh.ttc",
    "DejaVuSans.ttf",
)


def sheet(
    pictures: Sequence[NDArray[np.uint8]], captions: Sequence[Sequence[str]], columns: int = 8
) -> NDArray[np.uint8]:
    """One picture of all: each twice its size on a checked ground, its captions below. (H, W, 3) uint8.

    pictures (64, 64, 4) uint8 each; captions: one or more lines for each.
    """
    from PIL import Image, ImageDraw

    lines = max((len(_wrapped(each)) for each in captions), default=1)
    height = _CELL + 4 + _LINE * lines + 6
    width = _CELL + 60
    rows = -(-len(pictures) // columns)
    page = Image.new("RGB", (columns * width, rows * height), "white")
    pen, font = ImageDraw.Draw(page), _font()
    for number, (picture, said) in enumerate(zip(pictures, captions, strict=True)):
        left, top = number % columns * width + 4, number // columns * height + 4
        y, x = np.mgrid[:_CELL, :_CELL]
        checks = np.where(((x // 8 + y // 8) % 2)[..., None], 235, 255).astype(np.uint8).repeat(3, 2)
        page.paste(Image.fromarray(checks), (left, top))
        shown = Image.fromarray(picture).resize((_CELL, _CELL), Image.Resampling.NEAREST)
        page.paste(shown, (left, top), shown)
        for line, text in enumerate(_wrapped(said)):
            pen.text((left, top + _CELL + 2 + line * _LINE), text, fill="black", font=font)
    return np.array(page)


def _wrapped(said: Sequence[str]) -> list[str]:
    """Lines that fit below a picture: some 30 narrow letters, a Chinese character counts for two."""
    lines: list[str] = []
    for text in said:
        line, width = "", 0
        for letter in text:
            step = 2 if ord(letter) > 0x2E80 else 1
            if width + step > 31 or (letter == " " and width > 25):
                lines.append(line)
                line, width = "", 0
                letter = letter.strip()
                step = step if letter else 0
            line, width = line + letter, width + step
        lines.append(line)
    return lines


def _font() -> object:
    """A font with Chinese characters where the machine has one."""
    from PIL import ImageFont

    for name in _FONTS:
        try:
            return ImageFont.truetype(name, 11)
        except OSError:
            continue
    return ImageFont.load_default(11)


def write_sheet(pictures: Sequence[NDArray[np.uint8]], captions: Sequence[Sequence[str]], path: Path) -> None:
    """Writes the sheet as PNG, beside first, so that a stop leaves no half file."""
    from PIL import Image

    beside = path.with_name(f".{path.name}.new.png")
    Image.fromarray(sheet(pictures, captions)).save(beside)
    beside.replace(path)

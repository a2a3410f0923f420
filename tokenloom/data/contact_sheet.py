"""Made pictures on one sheet with their captions, for people to look at. Not a report: nothing is counted."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tokenloom.config import put_folder

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont, ImageFont

    from tokenloom.data.scenes import Scene
    from tokenloom.data.sprites import Sprites

_CELL, _LINE = 128, 13
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


def _font() -> FreeTypeFont | ImageFont:
    """A font with Chinese characters where the machine has one."""
    from PIL import ImageFont

    for name in _FONTS:
        try:
            return ImageFont.truetype(name, 11)
        except OSError:
            continue
    return ImageFont.load_default(11)


def write_sheet(
    pictures: Sequence[NDArray[np.uint8]], captions: Sequence[Sequence[str]], path: Path, columns: int = 8
) -> None:
    """Writes the sheet as PNG, beside first, so that a stop leaves no half file."""
    from PIL import Image

    beside = path.with_name(f".{path.name}.new.png")
    Image.fromarray(sheet(pictures, captions, columns)).save(beside)
    beside.replace(path)


def write_pictures(told: Iterable[tuple[Scene, tuple[str, ...]]], folder: Path) -> None:
    """Writes scenes as PNG and their captions as captions.jsonl into a folder, which is put in place whole.

    told: scenes, each with its English and Chinese caption.
    """
    from PIL import Image

    folder = folder.absolute()
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        beside.chmod(0o755)
        with (beside / "captions.jsonl").open("w", encoding="utf-8") as lines:
            for number, (scene, (en, zh)) in enumerate(told):
                name = f"{number:06d}.png"
                Image.fromarray(scene.pixels).save(beside / name)
                facts = {"file": name, "en": en, "zh": zh, "style": scene.record.style}
                lines.write(json.dumps(facts | {"record": asdict(scene.record)}, ensure_ascii=False) + "\n")
        put_folder(beside, folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def write_edits(sprites: Sprites, scenes: Iterable[Scene], path: Path) -> None:
    """Writes a sheet of edit pairs: each as before, before with the mask in red, after."""
    from tokenloom.data.scene_edits import changed

    pictures: list[NDArray[np.uint8]] = []
    captions: list[tuple[str, ...]] = []
    for scene in scenes:
        change = changed(sprites, scene)
        if change is None:
            continue
        masked = change.before.copy()
        masked[change.mask] = masked[change.mask] // 2 + np.array([127, 0, 0, 127], np.uint8)
        pictures += [change.before, masked, change.after]
        captions += [(change.kind,), (change.en, change.zh), ("",)]
    if not pictures:
        raise ValueError("--n: none of these pictures allows an edit; ask for more")
    write_sheet(pictures, captions, path, columns=9)

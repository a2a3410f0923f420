"""Sprites drawn on the spot and a codec's recipe at toy size."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tokenloom.config import fill
from tokenloom.data.sprites import SIDE, Sprite, save_sprites
from tokenloom.train.recipe import Recipe


def tiny_sprites(folder: Path, n: int = 60) -> Path:
    """Discs and squares of many colours in two trained styles and the unseen one, as a folder of sprites."""
    draw = np.random.default_rng(0)
    y, x = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    sprites, pixels = [], []
    for style in ("fluent", "noto", "openmoji"):
        for i in range(n):
            radius = draw.integers(20, 47)
            seen = np.hypot(x, y) < radius if i % 2 else np.maximum(abs(x), abs(y)) < radius
            picture = np.zeros((SIDE, SIDE, 4), np.uint8)
            picture[seen] = (*draw.integers(0, 256, 3), 255)
            low, high = int(SIDE // 2 - radius), int(SIDE // 2 + radius)
            box = (low, low, high, high)
            sprites.append(Sprite(f"{0xE000 + i:x}", style, f"odd {i}", f"怪{i}", (), (), "symbols", "", box))
            pixels.append(picture)
    folder.mkdir(parents=True, exist_ok=True)
    save_sprites(folder, sprites, np.stack(pixels), [])
    return folder


def tiny_codec_recipe(folder: Path, **changes: object) -> Recipe:
    """A codec of 32-pixel pictures on `folder`/sprites, which are made. Changes: "run.steps"=3."""
    if not (folder / "sprites").exists():
        tiny_sprites(folder / "sprites")
    table: dict[str, dict[str, object] | object] = {
        "name": "tiny-codec",
        "objective": "codec",
        "seed": 3,
        "pictures": {"sprites": str(folder / "sprites"), "scene_share": 0.0, "drawn": 20, "held_out": 8},
        "codec": {"size": 32, "widths": [8, 16], "encoder": [1, 1], "decoder": [1, 1]},
        "adversary": {"width": 8, "layers": 2, "begins": 0.34},
        "optim": {"lr": 0.003, "warmup": 2, "kind": "adamw"},
        "run": {"steps": 6, "rows": 4, "dtype": "float32", "threads": 1, "root": str(folder / "runs")},
    }
    for key, value in changes.items():
        section, _, name = key.partition(".")
        if name:
            inner = table.setdefault(section, {})
            assert isinstance(inner, dict)
            inner[name] = value
        else:
            table[section] = value
    return fill(Recipe, table)

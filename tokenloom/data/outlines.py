"""Flat drawings with dark outlines, made of vector sprites: another hand for a codec to learn from.

Not sprites that scenes are composed of: what comes out has no labels. Emoji and pairs that are held out are
left out here too.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tokenloom.data.picture_splits import emoji_held_out, pair_held_out
from tokenloom.data.picture_words import plain_hexcode
from tokenloom.data.rasterise import rasterise

STYLE = "twemoji"
"""Whose drawings are flat shapes without lines of their own."""
HOLLOW = 0.12
"""Share of the drawings that are lines alone."""


def outlined_pictures(
    package: Path, copies: int = 2, seed: int = 0, on_step: Callable[[int, int], None] | None = None
) -> np.ndarray:
    """uint8 (N, 96, 96, 4) of the SVGs in `package`/dist/svg, each `copies` times with other lines.

    Raises ValueError where there are none.
    """
    files = [
        file
        for file in sorted((package / "dist" / "svg").glob("*.svg"))
        if not emoji_held_out(plain_hexcode(file.stem)) and not pair_held_out(plain_hexcode(file.stem), STYLE)
    ]
    if not files:
        raise ValueError(
            f"package: found no dist/svg/*.svg in {package}; allowed: @discordapp/twemoji, unpacked"
        )
    found = []
    for i, file in enumerate(files):
        text = file.read_text(encoding="utf-8")
        for copy in range(copies):
            rng = np.random.default_rng((seed, i, copy))
            picture = rasterise(outlined_svg(text, rng).encode(), ".svg", file.name)
            if picture is not None:
                found.append(picture)
        if on_step is not None:
            on_step(i + 1, len(files))
    return np.stack(found)


def outlined_svg(text: str, rng: np.random.Generator) -> str:
    """The SVG with a line around every shape that has none; its frame grows by the line's width."""
    width = float(rng.choice([0.8, 1.0, 1.2, 1.5]))
    lines = f'stroke="#000" stroke-width="{width}" stroke-linejoin="round" stroke-linecap="round"'
    text = re.sub(r'viewBox="0 0 36 36"', 'viewBox="-1 -1 38 38"', text, count=1)
    text = text.replace("<svg ", f"<svg {lines} ", 1)
    if rng.random() < HOLLOW:
        text = re.sub(r'fill="#[0-9A-Fa-f]{3,6}"', 'fill="none"', text)
    return text

"""The visible label of a picture: words in its lower right corner, or on a strip below a small picture.

The letters are as high as 6 % of the shorter side (5 % is asked for) and never under 12 pixels. 生 and 成 are
drawn from strokes given here, the rest in Pillow's own font, so the label needs no font of the system.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tokenloom.trust.fields import WORDS

if TYPE_CHECKING:
    from PIL.Image import Image

MIN_PX = 12
SHARE = 0.06
MAX_STRIP_PX = 256
# Strokes on a unit square, y downwards.
GLYPHS = {
    "生": (
        ((0.30, 0.06), (0.25, 0.22), (0.12, 0.40)),
        ((0.24, 0.27), (0.86, 0.27)),
        ((0.20, 0.57), (0.82, 0.57)),
        ((0.52, 0.04), (0.52, 0.91)),
        ((0.06, 0.91), (0.95, 0.91)),
    ),
    "成": (
        ((0.17, 0.28), (0.92, 0.28)),
        ((0.17, 0.28), (0.17, 0.58), (0.05, 0.93)),
        ((0.17, 0.50), (0.44, 0.50), (0.42, 0.80), (0.31, 0.75)),
        ((0.54, 0.05), (0.58, 0.45), (0.72, 0.80), (0.86, 0.92), (0.94, 0.72)),
        ((0.85, 0.43), (0.70, 0.70), (0.46, 0.93)),
        ((0.70, 0.05), (0.85, 0.18)),
    ),
}


def letter_px(width: int, height: int) -> int:
    """Height of a capital on a picture of this size."""
    return max(MIN_PX, -int(-min(width, height) * SHARE // 1))


def badge(letter: int, lang: str) -> Image:
    """The words, white on black, RGB, with a margin of half a letter."""
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default(100.0)
    capital = font.getbbox("A", anchor="ls")
    font = ImageFont.load_default(100.0 * letter / -capital[1])
    words, glyph = WORDS[lang], round(letter * 1.2)
    advance = [glyph + letter // 8 if c in GLYPHS else round(font.getlength(c)) for c in words]
    margin = letter // 2
    image = Image.new("RGB", (sum(advance) + 2 * margin, glyph + 2 * margin), "black")
    draw = ImageDraw.Draw(image)
    x, line = margin, margin + round(letter * 1.1)
    for char, step in zip(words, advance, strict=True):
        if char in GLYPHS:
            for stroke in GLYPHS[char]:
                points = [(x + px * glyph, margin + py * glyph) for px, py in stroke]
                draw.line(points, fill="white", width=max(1, round(letter / 10)), joint="curve")
        else:
            draw.text((x, line), char, fill="white", font=font, anchor="ls")
        x += step
    return image


def with_badge(image: Image, lang: str) -> Image:
    """An RGB or RGBA picture with the visible label: in the corner, or below it where it would hide much."""
    from PIL import Image as Images

    width, height = image.size
    words = badge(letter_px(width, height), lang)
    if words.width <= width and words.height * 5 <= height:
        marked = image.copy()
        marked.paste(words, (width - words.width, height - words.height))
        return marked
    size = (max(width, words.width), height + words.height)
    marked = Images.new(image.mode, size, "black")
    marked.paste(image, ((size[0] - width) // 2, 0))
    marked.paste(words, (size[0] - words.width, height))
    return marked


def shows_badge(image: Image) -> bool:
    """Whether the lower right corner of an RGB or RGBA picture is exactly this label, in either language."""
    picture = image.convert("RGB")
    width, height = picture.size
    if picture.getpixel((width - 1, height - 1)) != (0, 0, 0):
        return False
    own = letter_px(width, height)
    # A strip was sized by the picture above it, so its letters may be smaller than this size would give.
    for letter in [own, *range(MIN_PX, min(own, MAX_STRIP_PX))]:
        for lang in WORDS:
            words = badge(letter, lang)
            box = (width - words.width, height - words.height, width, height)
            if box[0] >= 0 and box[1] >= 0 and picture.crop(box).tobytes() == words.tobytes():
                return True
    return False

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
    words, glyph, margin = WORDS[lang], round(letter * 1.35), letter // 2
    steps = [glyph + letter // 6 if c in GLYPHS else round(font.getlength(c)) for c in words]
    image = Image.new("RGB", (sum(steps) + 2 * margin, glyph + 2 * margin), "black")
    draw = ImageDraw.Draw(image)
    x, line = margin, margin + round((glyph + letter) / 2)
    for char, step in zip(words, steps, strict=True):
        if char in GLYPHS:
            image.paste(_strokes(char, glyph), (x + letter // 6, margin))
        else:
            draw.text((x, line), char, fill="white", font=font, anchor="ls")
        x += step
    return image


def _strokes(char: str, side: int) -> Image:
    """One drawn character, smoothed by drawing it four times as large."""
    from PIL import Image, ImageDraw

    large = Image.new("L", (4 * side, 4 * side))
    draw = ImageDraw.Draw(large)
    for stroke in GLYPHS[char]:
        points = [(4 * side * x, 4 * side * y) for x, y in stroke]
        draw.line(points, fill=255, width=max(4, round(0.32 * side)), joint="curve")
    return large.resize((side, side), Image.Resampling.BOX)


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


def shows_badge(image: Image, loss: int = 0) -> bool:
    """Whether the lower right corner of an RGB or RGBA picture is this label, in either language.

    loss: how far from it the mean value of a pixel's channels may be; 0 = it is exactly the label.
    """
    picture = image.convert("RGB")
    width, height = picture.size
    if picture.convert("L").getpixel((width - 1, height - 1)) > 2 * loss:  # type: ignore[operator]
        return False
    # Only small pictures get a strip, and its letters have the smallest size whatever the whole measures.
    for letter in {letter_px(width, height), MIN_PX}:
        for lang in WORDS:
            words = badge(letter, lang)
            box = (width - words.width, height - words.height, width, height)
            if box[0] >= 0 and box[1] >= 0 and _near(picture.crop(box), words, loss):
                return True
    return False


def _near(one: Image, other: Image, loss: int) -> bool:
    from PIL import ImageChops, ImageStat

    if loss == 0:
        return one.tobytes() == other.tobytes()
    return max(ImageStat.Stat(ImageChops.difference(one, other)).mean) <= loss

"""Pictures that users give: every kind is read as it should be, the rest says why, nothing crashes."""

from __future__ import annotations

import io
import struct
import zlib
from collections import Counter
from typing import Any

import numpy as np
import pytest
from damage import damaged
from hypothesis import given, settings
from PIL import Image

from tokenloom.tasks.pictures_in import (
    BadPicture,
    fit_mask,
    fit_picture,
    open_picture,
    own_mask,
    read_mask,
    read_picture,
)
from tokenloom.trust.png import build

RED = (220, 20, 30, 255)


def save(image: Image.Image, kind: str = "PNG", **more: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **more)
    return buffer.getvalue()


def plain(mode: str = "RGB", size: tuple[int, int] = (40, 30)) -> Image.Image:
    return Image.new("RGBA", size, RED).convert(mode)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1"])
@pytest.mark.parametrize("kind", ["PNG", "WEBP", "GIF", "BMP"])
def test_every_mode_becomes_rgba(mode: str, kind: str) -> None:
    if mode not in {"PNG": (mode,), "BMP": ("RGB", "L", "P", "1")}.get(kind, ("RGB",)):
        pytest.skip("the format has no such mode")
    found = open_picture(save(plain(mode), kind))
    assert (found.mode, found.size) == ("RGBA", (40, 30))
    wanted = plain(mode).convert("RGBA").getpixel((5, 5))
    assert np.allclose(found.getpixel((5, 5)), wanted, atol=8)  # type: ignore[arg-type]


def test_cmyk_becomes_colours() -> None:
    found = open_picture(save(plain("CMYK"), "JPEG", quality=95))
    assert np.allclose(found.getpixel((5, 5)), RED, atol=12)  # type: ignore[arg-type]


def test_sixteen_bits_become_eight() -> None:
    ramp = np.linspace(0, 65535, 40 * 30).astype(np.uint16).reshape(30, 40)
    found = np.asarray(open_picture(save(Image.fromarray(ramp))))
    assert np.abs(found[..., 0].astype(int) - np.round(ramp / 257)).max() <= 1
    assert (found[..., 3] == 255).all()


def test_exif_turns_it_upright() -> None:
    image = plain(size=(40, 20))
    image.paste((0, 0, 255), (0, 0, 20, 20))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    found = open_picture(save(image, "JPEG", exif=exif, quality=95))
    assert found.size == (20, 40)
    assert found.getpixel((10, 5))[2] > 200  # type: ignore[index]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "image: found an empty file"),
        (b"no picture at all", "image: found no picture; allowed: PNG, JPEG, WebP, GIF or BMP"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "found no picture"),
        (b"%PDF-1.7", "found no picture"),
        (bytes(21 * 2**20), r"found 22020096 bytes; allowed: at most 20971520"),
    ],
)
def test_what_is_no_picture_says_so(data: bytes, words: str) -> None:
    with pytest.raises(BadPicture, match=words):
        open_picture(data)


def test_other_formats_are_not_opened() -> None:
    for kind in ("TIFF", "PPM", "ICO", "TGA"):
        with pytest.raises(BadPicture, match="found no picture"):
            open_picture(save(plain(size=(32, 32)), kind))


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few bytes that says it is huge."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return build([(b"IHDR", head), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b"")])


@pytest.mark.parametrize("size", [(50_000, 50_000), (20_000, 20), (20_000, 20_000), (7000, 7000)])
def test_a_bomb_is_refused_by_its_head(size: tuple[int, int]) -> None:
    with pytest.raises(BadPicture, match=r"found .* pixels; allowed: at most 16384 a side, 40000000 in"):
        open_picture(bomb(*size))


def test_animations_are_refused() -> None:
    other = Image.new("RGB", (40, 30), "blue")
    for kind in ("GIF", "PNG", "WEBP"):
        data = save(plain(), kind, save_all=True, append_images=[other])
        with pytest.raises(BadPicture, match="found an animation of 2 pictures; allowed: one still picture"):
            open_picture(data)


def test_one_pixel_fills_the_square() -> None:
    found = fit_picture(open_picture(save(plain(size=(1, 1)))), 64)
    assert found.shape == (64, 64, 4)
    assert (found == np.array(RED, np.uint8)).all()


@pytest.mark.parametrize("size", [(400, 100), (100, 400), (16_000, 3), (3, 16_000), (63, 64)])
def test_pad_keeps_the_whole_and_crop_the_middle(size: tuple[int, int]) -> None:
    image = open_picture(save(plain(size=size)))
    padded, cropped = fit_picture(image, 64, "pad"), fit_picture(image, 64, "crop")
    assert (cropped == np.array(RED, np.uint8)).all()
    lines = padded[..., 3].max(1 if size[0] > size[1] else 0)
    assert (lines > 0).sum() == max(1, round(64 * min(size) / max(size)))
    assert set(np.unique(padded[..., 3])) <= {0, 255}


def test_clear_pixels_do_not_bleed() -> None:
    image = Image.new("RGBA", (128, 128), (0, 255, 0, 0))
    image.paste(RED, (32, 32, 96, 96))
    found = fit_picture(image, 64)
    seen = found[found[..., 3] > 0].astype(int)
    assert (seen[:, 1] < 60).all(), "no green of what is clear"


def test_a_mask_marks_what_is_light_or_clear() -> None:
    image = open_picture(save(plain(size=(64, 64))))
    light = Image.new("L", (64, 64), 0)
    light.paste(255, (0, 0, 32, 64))
    clear = Image.new("RGBA", (64, 64), (255, 255, 255, 255))
    clear.paste((0, 0, 0, 0), (0, 0, 32, 64))
    for mask in (light, clear):
        found = fit_mask(read_mask(save(mask), image), 64)
        assert found[:, :30].all()
        assert not found[:, 34:].any()
    with pytest.raises(BadPicture, match="mask: found 32 x 64 pixels; allowed: 64 x 64"):
        read_mask(save(light.crop((0, 0, 32, 64))), image)
    with pytest.raises(BadPicture, match="mask: nothing is marked"):
        read_mask(save(Image.new("L", (64, 64), 0)), image)
    with pytest.raises(BadPicture, match="mask: missing"):
        own_mask(image)
    wide = Image.new("L", (64, 32), 0)
    wide.paste(255, (0, 0, 8, 32))
    marks = read_mask(save(wide), open_picture(save(plain(size=(64, 32)))))
    assert fit_mask(marks, 64, "pad")[20:44, :4].all()
    with pytest.raises(BadPicture, match="nothing is marked within the square"):
        fit_mask(marks, 64, "crop")
    with pytest.raises(BadPicture, match="fit: found 'stretch'; allowed: pad, crop"):
        fit_picture(image, 64, "stretch")  # type: ignore[arg-type]


def test_files_are_measured_before_they_are_read(tmp_path: Any) -> None:
    (tmp_path / "fox.png").write_bytes(save(plain()))
    assert open_picture(read_picture(tmp_path / "fox.png")).size == (40, 30)
    with (tmp_path / "huge.png").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(BadPicture, match="found 1099511627776 bytes"):
        read_picture(tmp_path / "huge.png")
    with pytest.raises(BadPicture, match="found no file"):
        read_picture(tmp_path)
    with pytest.raises(FileNotFoundError):
        read_picture(tmp_path / "none.png")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP"])
def test_damage_never_crashes(kind: str) -> None:
    met: Counter[bool] = Counter()

    @settings(max_examples=60, deadline=None)
    @given(damaged(save(plain(size=(20, 10)), kind)))
    def body(data: bytes) -> None:
        try:
            assert fit_picture(open_picture(data), 16).shape == (16, 16, 4)
            met[True] += 1
        except BadPicture:
            met[False] += 1

    body()
    assert met[True]
    assert met[False]

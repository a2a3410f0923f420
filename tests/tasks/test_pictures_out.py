"""Pictures on their way out: enlarged, put back into their source, named, labelled."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tokenloom.tasks.pictures_out import (
    GREY,
    deliver,
    enlarge,
    kind_of,
    put_into,
    resized,
    veil,
)
from tokenloom.tasks.places import free, numbered, write
from tokenloom.trust.verify import Kind, inspect


def sprite() -> np.ndarray:
    """A red square on a clear ground of another colour."""
    pixels = np.zeros((64, 64, 4), np.uint8)
    pixels[...] = (0, 255, 0, 0)
    pixels[16:48, 16:48] = (220, 20, 30, 255)
    return pixels


def test_enlarging_keeps_colours_and_clear_ground() -> None:
    large = enlarge(sprite(), 512)
    assert large.shape == (512, 512, 4)
    assert large[256, 256].tolist() == [220, 20, 30, 255]
    assert large[5, 5, 3] == 0
    seen = large[large[..., 3] > 20].astype(int)
    assert (seen[:, 1] < 60).all(), "no green of what is clear"
    assert enlarge(sprite(), 64) is not None
    for size in (63, 1025, 0):
        with pytest.raises(ValueError, match=f"size: found {size}; allowed: 64 to 1024"):
            enlarge(sprite(), size)


@pytest.mark.parametrize("kind", ["png", "webp", "jpeg"])
@pytest.mark.parametrize("opaque", [False, True])
@pytest.mark.parametrize("visible", [False, True])
def test_what_leaves_is_labelled(kind: Kind, opaque: bool, visible: bool) -> None:
    data = deliver(sprite(), size=512, kind=kind, visible=visible, opaque=opaque)  # type: ignore[arg-type]
    report = inspect(data, kind)
    assert report.ok
    assert report.visible == visible
    image = Image.open(io.BytesIO(data))
    assert image.size == (512, 512)
    assert (image.mode == "RGBA") == (kind != "jpeg" and not opaque)
    ground = image.convert("RGBA").getpixel((3, 3))
    assert isinstance(ground, tuple)
    if image.mode == "RGB":
        assert min(ground[:3]) > 250, "on white"
    else:
        assert ground[3] == 0


def test_what_is_not_marked_stays_as_it_was() -> None:
    before = np.random.default_rng(0).integers(0, 256, (128, 128, 4), dtype=np.uint8)
    new = np.full((128, 128, 4), (10, 20, 30, 255), np.uint8)
    marked = np.zeros((128, 128), bool)
    marked[:40, :40] = True
    found = put_into(before, new, marked)
    assert np.array_equal(found[60:], before[60:])
    assert np.array_equal(found[:, 60:], before[:, 60:])
    assert (found[:36, :36] == new[:36, :36]).all()


def test_places_without_codes_are_grey() -> None:
    known = np.zeros(16, bool)
    known[:5] = True
    shown = veil(sprite(), known)
    assert (shown[:16, :] == sprite()[:16, :]).all()
    assert (shown[16:32, :16] == sprite()[16:32, :16]).all()
    assert (shown[16:32, 16:] == np.array(GREY, np.uint8)).all()
    assert (shown[32:] == np.array(GREY, np.uint8)).all()


def test_names(tmp_path: Path) -> None:
    fox = tmp_path / "fox.png"
    assert numbered(fox, 1) == [fox]
    assert [one.name for one in numbered(fox, 3)] == ["fox-1.png", "fox-2.png", "fox-3.png"]
    assert free(fox) == fox
    write(fox, b"x")
    assert free(fox).name == "fox-2.png"
    write(tmp_path / "fox-2.png", b"x")
    assert free(fox).name == "fox-3.png"
    assert sorted(one.name for one in tmp_path.iterdir() if one.is_file()) == ["fox-2.png", "fox.png"]
    assert kind_of(Path("a.JPEG")) == "jpeg"
    with pytest.raises(ValueError, match=r"'a\.gif'; a picture's file ends in \.png, \.webp, \.jpg"):
        kind_of(Path("a.gif"))


def test_a_picture_is_brought_to_any_width_and_height() -> None:
    pixels = np.zeros((32, 48, 4), np.uint8)
    pixels[:, :24] = (200, 30, 30, 255)
    assert resized(pixels, (48, 32)) is pixels
    large = resized(pixels, (96, 128))
    assert large.shape == (128, 96, 4)
    assert (large[:, :40] == (200, 30, 30, 255)).all()
    assert not large[:, 56:, 3].any()

"""WebP and JPEG labels: read back by us and by Pillow; what else is in a file stays; damage is said."""

from __future__ import annotations

import io
from collections import Counter
from typing import Any

import numpy as np
import pytest
from damage import damaged
from hypothesis import example, given, settings
from PIL import Image

from tokenloom import trust
from tokenloom.trust import BadMedia, jpeg, webp
from tokenloom.trust.verify import Kind, inspect, kind_of

KINDS: tuple[Kind, ...] = ("webp", "jpeg")
FOREIGN = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:source>mine</dc:source>'
    b"</rdf:Description></rdf:RDF></x:xmpmeta>"
)


def picture(mode: str = "RGB", size: tuple[int, int] = (300, 240)) -> Image.Image:
    ramp = np.add.outer(np.arange(size[1]), np.arange(size[0]))[..., None] * np.array([1, 2, 3, 1]) // 4
    return Image.fromarray((ramp % 256).astype(np.uint8), "RGBA").convert(mode)


def save(kind: Kind, image: Image.Image, **more: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind.upper(), **({"lossless": True} if kind == "webp" else {}) | more)
    return buffer.getvalue()


def shown(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


@pytest.mark.parametrize(
    ("kind", "mode"),
    [("webp", "RGB"), ("webp", "RGBA"), ("jpeg", "RGB"), ("jpeg", "L"), ("jpeg", "CMYK")],
)
@pytest.mark.parametrize("size", [(1, 1), (7, 300), (64, 64), (300, 240), (512, 512)])
@pytest.mark.parametrize("lang", ["en", "zh"])
def test_every_kind_of_picture(kind: Kind, mode: str, size: tuple[int, int], lang: str) -> None:
    out = trust.label(kind, save(kind, picture(mode, size)), lang=lang)
    assert kind_of(out.data) == kind
    report = inspect(out.data, kind)
    assert report.ok
    assert report.visible
    assert report.content == "unchanged"
    assert shown(out.data).mode == ("RGBA" if mode == "RGBA" else "RGB")
    assert b"TC260:AIGC" in shown(out.data).info["xmp"], "Pillow sees it too"
    assert trust.label(kind, out.data).data == out.data, "a labelled one stays as it is"


@pytest.mark.parametrize("kind", KINDS)
def test_without_words_the_picture_is_as_it_was(kind: Kind) -> None:
    data = save(kind, picture())
    out = trust.label(kind, data, visible=False)
    report = inspect(out.data, kind)
    assert report.ok
    assert not report.visible
    assert np.array_equal(np.asarray(shown(out.data)), np.asarray(shown(data)))


def test_a_png_without_words() -> None:
    buffer = io.BytesIO()
    picture("RGBA").save(buffer, "PNG")
    out = trust.label("png", buffer.getvalue(), visible=False)
    assert inspect(out.data, "png").ok
    assert not inspect(out.data, "png").visible
    assert np.array_equal(np.asarray(shown(out.data)), np.asarray(picture("RGBA")))


@pytest.mark.parametrize("kind", KINDS)
def test_what_else_is_in_the_file_stays(kind: Kind) -> None:
    exif = Image.Exif()
    exif[0x010E] = "a fox"
    out = trust.label(kind, save(kind, picture(), exif=exif, icc_profile=b"not a real profile", xmp=FOREIGN))
    found = shown(out.data)
    assert found.getexif()[0x010E] == "a fox"
    assert found.info["icc_profile"] == b"not a real profile"
    assert b"mine" in found.info["xmp"]
    assert inspect(out.data, kind).ok


@pytest.mark.parametrize("kind", KINDS)
def test_a_change_of_the_picture_is_seen(kind: Kind) -> None:
    good = trust.label(kind, save(kind, picture())).data
    if kind == "webp":
        pixels = next(content for name, content in webp.chunks_of(good) if name == b"VP8L")
    else:
        pixels = jpeg.segments_of(good)[-1][1]
    first, met = good.find(pixels), Counter[str]()
    for at in range(first, first + len(pixels), len(pixels) // 60):
        data = bytearray(good)
        data[at] ^= 1
        try:
            met[inspect(bytes(data), kind).content] += 1
        except BadMedia:  # the change has made it unreadable
            met["refused"] += 1
    assert met["changed"] > 0
    assert met["unchanged"] == 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_cut_file_is_damaged(kind: Kind) -> None:
    data = save(kind, picture())
    for end in (3, 11, 13, 40, len(data) // 2):
        with pytest.raises(BadMedia):
            trust.label(kind, data[:end])


def test_an_animation_is_refused() -> None:
    data = save("webp", picture(), save_all=True, append_images=[picture().rotate(90)])
    with pytest.raises(BadMedia, match="animated"):
        trust.label("webp", data)


def test_files_by_their_ending(tmp_path: Any) -> None:
    for name, kind in (("fox.webp", "webp"), ("fox.JPG", "jpeg")):
        trust.label_work(tmp_path / name, save(kind, picture()))  # type: ignore[arg-type]
        assert trust.verify(tmp_path / name).ok
    (tmp_path / "text.webp").write_text("no picture")
    with pytest.raises(BadMedia, match="is no WEBP file"):
        trust.verify(tmp_path / "text.webp")


@pytest.mark.parametrize("kind", KINDS)
def test_damage_is_read_or_refused_in_words(kind: Kind) -> None:
    good = trust.label(kind, save(kind, picture(size=(40, 30)))).data
    met: Counter[str] = Counter()

    @settings(max_examples=75, deadline=None)
    @given(damaged(good))
    @example(good)
    def body(data: bytes) -> None:
        try:
            content = inspect(data, kind).content
            if content == "unchanged":
                assert picture_hash(kind, data) == picture_hash(kind, good)
            done = trust.label(kind, data)
            assert inspect(done.data, kind).label == done.label
            met[content] += 1
        except BadMedia:
            met["refused"] += 1

    body()
    assert met["refused"]
    assert met.total() > met["refused"]


def picture_hash(kind: Kind, data: bytes) -> str:
    if kind == "webp":
        return webp.picture_hash(webp.chunks_of(data))
    return jpeg.picture_hash(jpeg.segments_of(data))

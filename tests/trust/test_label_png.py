"""PNG labels: read back by us and by Pillow, on pictures of every kind; what else is in a file stays."""

from __future__ import annotations

import io
import json
import struct
import zlib
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from tokenloom import trust
from tokenloom.trust import BadMedia, png
from tokenloom.trust.fields import KEYS
from tokenloom.trust.pixels import decode
from tokenloom.trust.verify import inspect
from tokenloom.trust.visible import badge, letter_px

AIGC = f"{{{png.SPACE}}}AIGC"


def save(image: Image.Image, **more: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", **more)
    return buffer.getvalue()


def picture(mode: str = "RGB", size: tuple[int, int] = (300, 240)) -> Image.Image:
    rng = np.random.default_rng(0)
    if mode == "I;16":
        return Image.fromarray(rng.integers(0, 65536, (size[1], size[0]), dtype=np.uint16))
    image = Image.fromarray(rng.integers(0, 256, (size[1], size[0], 4), dtype=np.uint8), "RGBA")
    return image.convert(mode)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1", "I;16"])
@pytest.mark.parametrize("size", [(1, 1), (7, 300), (300, 7), (64, 64), (300, 240)])
def test_every_kind_of_picture(mode: str, size: tuple[int, int]) -> None:
    data = save(picture(mode, size))
    out = trust.label("png", data)
    report = inspect(out.data, "png")
    assert report.ok
    assert report.visible
    assert report.content == "unchanged"
    shown = Image.open(io.BytesIO(out.data))
    assert shown.mode == ("RGBA" if mode in ("RGBA", "LA", "P") else "RGB")
    assert letter_px(*size) >= 0.05 * min(shown.size)
    before = np.asarray(decode(data, "PNG").convert("RGB"))
    after = np.asarray(shown.convert("RGB"))
    left = (shown.width - size[0]) // 2
    words = badge(letter_px(*size), "en")
    free = size[1] - (words.height if shown.height == size[1] else 0)
    assert np.array_equal(after[:free, left : left + size[0]], before[:free]), "the rest is as it was"


def test_sixteen_bits_keep_their_tones() -> None:
    ramp = np.repeat(np.arange(0, 65536, 256, dtype=np.uint16)[None, :], 256, axis=0)
    grey = np.asarray(decode(save(Image.fromarray(ramp)), "PNG").convert("L"))
    assert np.array_equal(grey[0], np.arange(256))


def test_letters_are_as_high_as_asked() -> None:
    for letter in (12, 13, 60, 200):
        words = np.asarray(badge(letter, "zh").convert("L"))
        width = int(np.flatnonzero((words > 128).any(axis=0))[0])
        column = words[:, width : width + letter // 2]  # the first letter, A
        assert np.flatnonzero((column > 40).any(axis=1)).size >= letter - 2
        rows = np.flatnonzero((words > 40).any(axis=1))
        assert rows[-1] - rows[0] + 1 >= letter


def test_other_readers_find_the_seven_fields() -> None:
    out = trust.label_png(save(picture()), producer="ACME-001", produce_id="work/7")
    packet = Image.open(io.BytesIO(out)).info["XML:com.adobe.xmp"]
    [element] = ElementTree.fromstring(packet).iter(AIGC)
    fields = json.loads(element.text or "")
    assert tuple(fields) == KEYS
    assert fields["Label"] == "1"
    assert fields["ContentProducer"] == fields["ContentPropagator"] == "ACME-001"
    assert fields["ProduceID"] == fields["PropagateID"] == "work/7"


def test_what_else_is_in_the_file_stays() -> None:
    notes = PngInfo()
    notes.add_text("Title", "a hill")
    notes.add_text("Comment", "z" * 500, zip=True)
    notes.add_itxt("Author", "李白", "zh", "作者")
    packet = (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><r:RDF xmlns:r="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<r:Description r:about="" xmlns:dc="http://purl.org/dc/elements/1.1/" dc:format="image/png"/>'
        "</r:RDF></x:xmpmeta>"
    )
    notes.add_itxt("XML:com.adobe.xmp", packet, zip=True)
    profile = b"icc profile"
    out = trust.label_png(save(picture(), pnginfo=notes, dpi=(300, 300), icc_profile=profile))
    info = Image.open(io.BytesIO(out))
    info.load()
    assert info.info["Title"] == "a hill"
    assert info.info["Comment"] == "z" * 500
    assert info.info["Author"] == "李白"
    assert round(info.info["dpi"][0]) == 300
    assert info.info["icc_profile"] == profile
    merged = info.info["XML:com.adobe.xmp"]
    assert 'dc:format="image/png"' in merged
    assert len(list(ElementTree.fromstring(merged).iter(AIGC))) == 1
    assert sum(k == png.XMP for k, _ in png.texts(png.chunks_of(out))) == 1
    assert trust.read_label(out) is not None


@pytest.mark.parametrize(
    ("packet", "complaint"),
    [
        ("<a><b></a>", "XMP is damaged"),
        ("<a/>", "no RDF element"),
        ('<!DOCTYPE x [<!ENTITY a "b">]><x>&a;</x>', "document type"),
    ],
)
def test_xmp_that_cannot_be_merged_is_said(packet: str, complaint: str) -> None:
    notes = PngInfo()
    notes.add_itxt("XML:com.adobe.xmp", packet)
    with pytest.raises(BadMedia, match=complaint):
        trust.label_png(save(picture(), pnginfo=notes))


def test_an_empty_rdf_element_takes_the_label() -> None:
    notes = PngInfo()
    notes.add_itxt("XML:com.adobe.xmp", f'<rdf:RDF xmlns:rdf="{png.RDF}"/>')
    assert trust.read_label(trust.label_png(save(picture(), pnginfo=notes))) is not None


def test_twice_is_once() -> None:
    once = trust.label_png(save(picture()))
    assert trust.label_png(once) == once


def test_the_plain_text_chunk_of_others_is_read() -> None:
    fields = trust.label("text", "x").label.fields()
    notes = PngInfo()
    notes.add_text("AIGC", json.dumps({"AIGC": {**fields, "ReservedCode1": ""}}))
    report = inspect(save(picture(), pnginfo=notes), "png")
    assert report.ok
    assert not report.visible
    assert report.content == "not stated"


def test_a_changed_picture_is_noticed() -> None:
    chunks = png.chunks_of(trust.label_png(save(picture())))
    other = [c for k, c in png.chunks_of(save(picture("RGB", (300, 240)).rotate(180))) if k == b"IDAT"]
    swapped = [(k, c) for k, c in chunks if k not in (b"IDAT", b"IEND")]
    forged = png.build([*swapped, (b"IDAT", b"".join(other)), (b"IEND", b"")])
    report = inspect(forged, "png")
    assert report.label is not None
    assert report.content == "changed"
    assert not report.ok
    assert not report.visible


def test_damaged_files_are_said() -> None:
    data = save(picture())
    for broken, complaint in (
        (b"", "no PNG"),
        (data[:-20], "cut off|check sum"),
        (data[:60], "cut off"),
        (data[:100] + b"x" + data[101:], "check sum"),
        (png.SIGNATURE, "cut off"),
        (png.build([(b"IDAT", b""), (b"IEND", b"")]), "begins with"),
    ):
        with pytest.raises(BadMedia, match=complaint):
            trust.label_png(broken)
    chunks = png.chunks_of(data)
    with pytest.raises(BadMedia, match="damaged"):
        trust.label_png(png.build([chunks[0], (b"IDAT", b"junk"), (b"IEND", b"")]))


def test_hostile_sizes_are_refused() -> None:
    header = struct.pack(">IIBBBBB", 2**30, 2**30, 8, 2, 0, 0, 0)
    bomb = png.build([(b"IHDR", header), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")])
    with pytest.raises(BadMedia, match="too large"):
        trust.label_png(bomb)
    text = b"AIGC\0\0" + zlib.compress(bytes(1 << 24))
    chunks = png.chunks_of(save(picture()))
    with pytest.raises(BadMedia, match="more than"):
        trust.read_label(png.build([*chunks[:-1], (b"zTXt", text), chunks[-1]]))


def test_moving_pictures_are_refused() -> None:
    frames = [picture().rotate(a) for a in (0, 90)]
    with pytest.raises(BadMedia, match="animated"):
        trust.label_png(save(frames[0], save_all=True, append_images=frames[1:]))


WHOLE = trust.label_png(save(picture("RGB", (40, 30))))


@settings(deadline=None, max_examples=150)
@given(st.integers(0, len(WHOLE) - 1), st.binary(max_size=8), st.integers(0, 40))
def test_any_bytes_are_a_label_or_a_clear_error(at: int, piece: bytes, cut: int) -> None:
    data = WHOLE[:at] + piece + WHOLE[at + cut :]
    try:
        inspect(data, "png")
        trust.label_png(data)
    except ValueError as error:
        assert len(str(error)) > 10  # noqa: PT017


@settings(deadline=None, max_examples=150)
@given(
    st.sampled_from([b"tEXt", b"zTXt", b"iTXt"]),
    st.sampled_from([b"AIGC\0", b"XML:com.adobe.xmp\0\0\0\0\0", b""]),
    st.binary(max_size=60) | st.text(alphabet="<>/rdf:RDFxmlns=\"'&;! ", max_size=40).map(str.encode),
)
def test_any_text_chunk_is_read_or_said(kind: bytes, keyword: bytes, content: bytes) -> None:
    chunks = png.chunks_of(save(picture("L", (4, 4))))
    data = png.build([chunks[0], (kind, keyword + content), *chunks[1:]])
    try:
        inspect(data, "png")
        trust.label_png(data)
    except ValueError as error:
        assert len(str(error)) > 10  # noqa: PT017


def test_letters_on_a_large_picture_have_their_share() -> None:
    out = np.asarray(decode(trust.label_png(save(Image.new("RGB", (1000, 800), (0, 90, 0))), "zh"), "PNG"))
    rows, columns = np.nonzero((out == 0).all(axis=2) | (out[..., 0] > 0))  # the box of the words
    words = out[rows.min() :, columns.min() :].max(axis=2) > 128
    first = words[:, : np.flatnonzero(words.any(axis=0))[0] + 20]  # the letter A
    high = np.flatnonzero(first.any(axis=1))
    assert high[-1] - high[0] + 1 >= 0.05 * 800

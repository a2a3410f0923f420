"""WebP: the visible label in the picture, the hidden one as XMP in its RIFF chunk. Not animations.

Delivered pictures have 8 bits a channel and are written without loss. A colour profile and EXIF are kept.
The label's hash covers the picture's own chunks. Source: RFC 9649, sections 2.3 to 2.7.
"""

from __future__ import annotations

import io
import struct

from tokenloom.trust.fields import BadMedia, content_hash, new_label
from tokenloom.trust.pixels import decode
from tokenloom.trust.png import labels_in_xmp, xmp_with

EXTENDED, PROFILE, EXIF, XMP = b"VP8X", b"ICCP", b"EXIF", b"XMP "
PICTURE = (b"ALPH", b"VP8 ", b"VP8L")
FLAGS = {PROFILE: 0x20, b"ALPH": 0x10, EXIF: 0x08, XMP: 0x04}
"""Of the extended header, by the chunk that they announce."""
CLEAR, MOVES = 0x10, 0x02
MAX_TEXT = 1 << 20

Chunk = tuple[bytes, bytes]


def is_webp(data: bytes) -> bool:
    return data[:4] == b"RIFF" and data[8:12] == b"WEBP"


def chunks_of(data: bytes) -> list[Chunk]:
    """(type, content) of each chunk; BadMedia names the place of a fault."""
    if not is_webp(data):
        raise BadMedia("this is no WebP file: it does not begin with RIFF and WEBP")
    end = 8 + struct.unpack_from("<I", data, 4)[0]
    if end > len(data) + 1:
        raise BadMedia(f"the WebP is cut off: it states {end} bytes and has {len(data)}")
    chunks: list[Chunk] = []
    at = 12
    while at + 8 <= min(end, len(data)):
        kind, size = data[at : at + 4], struct.unpack_from("<I", data, at + 4)[0]
        content = data[at + 8 : at + 8 + size]
        if len(content) != size:
            raise BadMedia(f"the WebP is damaged: chunk {kind!r} at byte {at} states {size} bytes, too many")
        chunks.append((kind, content))
        at += 8 + size + size % 2
    if not any(kind in (b"VP8 ", b"VP8L", b"ANMF") for kind, _ in chunks):
        raise BadMedia("the WebP is damaged: there is no picture in it")
    return chunks


def build(chunks: list[Chunk]) -> bytes:
    """The file of these chunks."""
    parts = [b"WEBP"]
    for kind, content in chunks:
        parts += [kind, struct.pack("<I", len(content)), content, b"\0" * (len(content) % 2)]
    body = b"".join(parts)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def picture_hash(chunks: list[Chunk]) -> str:
    return content_hash(*(content for kind, content in chunks if kind in PICTURE))


def hidden_in(data: bytes) -> list[tuple[str, str]]:
    """(where, label's JSON) of each hidden label."""
    found = []
    for kind, content in chunks_of(data):
        if kind == XMP:
            if len(content) > MAX_TEXT:
                raise BadMedia(f"the WebP holds XMP of more than {MAX_TEXT} bytes, which is not read")
            text = content.decode("utf-8", "replace")
            found += [("XMP TC260:AIGC", value) for value in labels_in_xmp(text, "WebP")]
    return found


def label_webp(
    data: bytes,
    lang: str = "en",
    producer: str | None = None,
    produce_id: str | None = None,
    visible: bool = True,
) -> bytes:
    """The picture with its labels; one that bears a hidden label comes back unchanged."""
    from tokenloom.trust.visible import with_badge

    if hidden_in(data):
        return data
    old = chunks_of(data)
    image = decode(data, "WebP")
    if visible:
        image = with_badge(image, lang)
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", lossless=True, exact=True, method=2)
    pixels = [(k, c) for k, c in chunks_of(buffer.getvalue()) if k in PICTURE]
    before = next((c.decode("utf-8", "replace") for k, c in old if k == XMP), None)
    label = new_label(picture_hash(pixels), producer, produce_id)
    packet = (XMP, xmp_with(label, before, "WebP").encode())
    profile, exif = ([(k, c) for k, c in old if k == kind] for kind in (PROFILE, EXIF))
    chunks = [*profile, *pixels, *exif, packet]
    flags = CLEAR if image.mode == "RGBA" else 0
    for kind, _ in chunks:
        flags |= FLAGS.get(kind, 0)
    width, height = (struct.pack("<I", side - 1)[:3] for side in image.size)
    return build([(EXTENDED, bytes([flags, 0, 0, 0]) + width + height), *chunks])

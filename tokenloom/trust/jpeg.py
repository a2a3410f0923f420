"""JPEG: the visible label in the picture, the hidden one as XMP in an APP1 segment.

A picture that is labelled visibly is written anew at high quality (a label in the corner cannot be put in
without); one that is labelled only in secret keeps its own data, byte for byte. Its other segments (EXIF, a
colour profile) are kept. The label's hash covers everything but the segments of applications.
Source: ITU-T T.81, annex B; XMP part 3, 1.1.3.
"""

from __future__ import annotations

import io
import struct

from tokenloom.trust.fields import BadMedia, content_hash, new_label
from tokenloom.trust.pixels import decode
from tokenloom.trust.png import labels_in_xmp, xmp_with

START = b"\xff\xd8\xff"
APP1, SCAN, END = 0xE1, 0xDA, 0xD9
ALONE = {0x01, *range(0xD0, 0xD8)}
"""Markers without a length."""
XMP = b"http://ns.adobe.com/xap/1.0/\0"
KEPT = {APP1: b"Exif\0\0", 0xE2: b"ICC_PROFILE\0"}
"""Segments of applications that go over to a picture that is written anew, and how they begin."""
QUALITY = 95
MAX_SEGMENT = 65_533

Segment = tuple[int, bytes]


def segments_of(data: bytes) -> list[Segment]:
    """(marker, content) of each segment; the last is the scan, with its length and all that follows.

    BadMedia names the place of a fault.
    """
    if not data.startswith(START):
        raise BadMedia("this is no JPEG file: its first bytes are others")
    found: list[Segment] = []
    at = 2
    while at + 4 <= len(data):
        if data[at] != 0xFF:
            raise BadMedia(f"the JPEG is damaged: there is no marker at byte {at}")
        marker = data[at + 1]
        if marker == 0xFF:  # filling
            at += 1
            continue
        if marker in ALONE:
            found.append((marker, b""))
            at += 2
            continue
        (size,) = struct.unpack_from(">H", data, at + 2)
        if marker == END or size < 2 or at + 2 + size > len(data):
            break
        if marker == SCAN:
            return [*found, (SCAN, data[at + 2 :])]
        found.append((marker, data[at + 4 : at + 2 + size]))
        at += 2 + size
    raise BadMedia(f"the JPEG is cut off at byte {len(data)}: its picture is missing")


def build(segments: list[Segment]) -> bytes:
    """The file of these segments."""
    parts = [START[:2]]
    for marker, content in segments:
        parts.append(bytes((0xFF, marker)))
        if marker != SCAN and marker not in ALONE:
            parts.append(struct.pack(">H", len(content) + 2))
        parts.append(content)
    return b"".join(parts)


def picture_hash(segments: list[Segment]) -> str:
    own = [(m, c) for m, c in segments if not (0xE0 <= m <= 0xEF or m == 0xFE)]
    return content_hash(*(bytes([marker]) + content for marker, content in own))


def hidden_in(data: bytes) -> list[tuple[str, str]]:
    """(where, label's JSON) of each hidden label."""
    found = []
    for marker, content in segments_of(data):
        if marker == APP1 and content.startswith(XMP):
            text = content.removeprefix(XMP).decode("utf-8", "replace")
            found += [("XMP TC260:AIGC", value) for value in labels_in_xmp(text, "JPEG")]
    return found


def label_jpeg(
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
    old = new = segments_of(data)
    if visible:
        buffer = io.BytesIO()
        with_badge(decode(data, "JPEG"), lang).save(buffer, "JPEG", quality=QUALITY, subsampling=0)
        kept = [(m, c) for m, c in old if m in KEPT and c.startswith(KEPT[m])]
        head, *rest = segments_of(buffer.getvalue())
        new = [head, *kept, *rest]
    before = next((c for m, c in old if m == APP1 and c.startswith(XMP)), None)
    label = new_label(picture_hash(new), producer, produce_id)
    text = None if before is None else before.removeprefix(XMP).decode("utf-8", "replace")
    packet = XMP + xmp_with(label, text, "JPEG").encode()
    if len(packet) > MAX_SEGMENT:
        raise BadMedia(f"the JPEG's XMP would have {len(packet)} bytes; a segment holds {MAX_SEGMENT}")
    rest = [(m, c) for m, c in new if not (m == APP1 and c.startswith(XMP))]
    at = 1 if rest[0][0] == 0xE0 else 0
    return build([*rest[:at], (APP1, packet), *rest[at:]])

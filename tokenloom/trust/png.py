"""PNG: the visible label in the picture, the hidden one as XMP in an iTXt chunk. Not other picture formats.

Delivered pictures have 8 bits a channel (RGB, or RGBA where there is transparency). Text chunks, colour
profile, resolution and EXIF are kept. The label's hash covers the picture's own chunks (IHDR, IDAT).
Source: W3C PNG 3, sections 5 and 11.3; XMP part 3, 1.1.5.
"""

from __future__ import annotations

import io
import re
import struct
import zlib
from collections.abc import Iterator
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from tokenloom.trust.fields import BadMedia, Label, content_hash, new_label
from tokenloom.trust.pixels import decode

SIGNATURE = b"\x89PNG\r\n\x1a\n"
SPACE = "http://www.tc260.org.cn/ns/AIGC/1.0/"
RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
XMP = b"XML:com.adobe.xmp"
KEPT = (b"gAMA", b"cHRM", b"sRGB", b"cICP", b"pHYs", b"eXIf", b"tIME", b"tEXt", b"zTXt", b"iTXt")
MAX_TEXT = 1 << 20

Chunk = tuple[bytes, bytes]


def chunks_of(data: bytes) -> list[Chunk]:
    """(type, content) of each chunk up to IEND; BadMedia names the place of a fault."""
    if not data.startswith(SIGNATURE):
        raise BadMedia("this is no PNG file: its first bytes are others")
    chunks: list[Chunk] = []
    at = len(SIGNATURE)
    while at + 12 <= len(data):
        (size,) = struct.unpack_from(">I", data, at)
        kind, end = data[at + 4 : at + 8], at + 12 + size
        if end > len(data):
            break
        content = data[at + 8 : end - 4]
        if zlib.crc32(kind + content) != struct.unpack_from(">I", data, end - 4)[0]:
            raise BadMedia(f"the PNG is damaged: the check sum of chunk {kind!r} at byte {at} is wrong")
        chunks.append((kind, content))
        if kind == b"IEND":
            if chunks[0][0] != b"IHDR":
                raise BadMedia(f"the PNG is damaged: it begins with {chunks[0][0]!r} instead of IHDR")
            return chunks
        at = end
    raise BadMedia(f"the PNG is cut off at byte {len(data)}: its end (IEND) is missing")


def build(chunks: list[Chunk]) -> bytes:
    """The file of these chunks."""
    parts = [SIGNATURE]
    for kind, content in chunks:
        crc = zlib.crc32(kind + content)
        parts.append(struct.pack(">I", len(content)) + kind + content + struct.pack(">I", crc))
    return b"".join(parts)


def picture_hash(chunks: list[Chunk]) -> str:
    picture = b"".join(c for k, c in chunks if k == b"IDAT")
    return content_hash(chunks[0][1], picture)


def texts(chunks: list[Chunk]) -> Iterator[tuple[bytes, str]]:
    """(keyword, text) of tEXt, zTXt and iTXt chunks; those that cannot be read are BadMedia."""
    for kind, content in chunks:
        if kind not in (b"tEXt", b"zTXt", b"iTXt"):
            continue
        keyword, _, rest = content.partition(b"\0")
        if kind == b"tEXt":
            yield keyword, rest.decode("latin-1")
        elif kind == b"zTXt":
            yield keyword, _inflate(rest[1:]).decode("latin-1")
        elif len(rest) < 2:
            raise BadMedia(f"the PNG is damaged: its text chunk {keyword!r} is cut off")
        else:
            parts = rest[2:].split(b"\0", 2)
            if len(parts) != 3:
                raise BadMedia(f"the PNG is damaged: its text chunk {keyword!r} is cut off")
            text = _inflate(parts[2]) if rest[0] == 1 else parts[2]
            yield keyword, text.decode("utf-8", "replace")


def _inflate(data: bytes) -> bytes:
    reader = zlib.decompressobj()
    try:
        text = reader.decompress(data, MAX_TEXT)
    except zlib.error as error:
        raise BadMedia(f"the PNG is damaged: a compressed text chunk cannot be read ({error})") from error
    if reader.unconsumed_tail:
        raise BadMedia(f"the PNG holds a text chunk of more than {MAX_TEXT} bytes, which is not read")
    return text


def hidden_in(data: bytes) -> list[tuple[str, str]]:
    """(where, label's JSON) of each hidden label."""
    found = []
    for keyword, text in texts(chunks_of(data)):
        if keyword == XMP:
            found += [("XMP TC260:AIGC", value) for value in labels_in_xmp(text)]
        elif keyword == b"AIGC":
            found.append(("text chunk AIGC", text))
    return found


def _tree(packet: str, kind: str) -> ElementTree.Element:
    if "<!DOCTYPE" in packet or "<!ENTITY" in packet:
        raise BadMedia(f"the {kind}'s XMP declares a document type, which XMP does not allow")
    try:
        return ElementTree.fromstring(packet.strip("\ufeff\0 \r\n\t"))
    except (ElementTree.ParseError, ValueError) as error:
        raise BadMedia(f"the {kind}'s XMP is damaged ({error})") from error


def labels_in_xmp(packet: str, kind: str = "PNG") -> list[str]:
    """The JSON of each label in an XMP packet; kind: of the file, for the words of BadMedia."""
    name = f"{{{SPACE}}}AIGC"
    found = []
    for element in _tree(packet, kind).iter():
        if element.tag == name:
            found.append((element.text or "").strip())
        if name in element.attrib:
            found.append(element.attrib[name].strip())
    return found


def _description(label: Label, prefix: str) -> str:
    about = f'{prefix}about="" ' if prefix else ""
    return (
        f'<{prefix}Description {about}xmlns:TC260="{SPACE}">'
        f"<TC260:AIGC>{escape(label.bare())}</TC260:AIGC></{prefix}Description>"
    )


def xmp_with(label: Label, packet: str | None, kind: str = "PNG") -> str:
    """An XMP packet with the label; what an existing packet holds stays. kind: as in `labels_in_xmp`."""
    if packet is None:
        return (
            '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
            f'<rdf:RDF xmlns:rdf="{RDF}">{_description(label, "rdf:")}</rdf:RDF></x:xmpmeta>'
            '<?xpacket end="w"?>'
        )
    _tree(packet, kind)
    closed = list(re.finditer(r"</([\w.-]+:)?RDF\s*>", packet))
    alone = list(re.finditer(r"<([\w.-]+:)?RDF\b([^<>]*)/>", packet))
    if closed:
        at, prefix = closed[-1].start(), closed[-1][1] or ""
        merged = packet[:at] + _description(label, prefix) + packet[at:]
    elif alone:
        start, end, prefix = alone[-1].start(), alone[-1].end(), alone[-1][1] or ""
        body = f"<{prefix}RDF{alone[-1][2]}>{_description(label, prefix)}</{prefix}RDF>"
        merged = packet[:start] + body + packet[end:]
    else:
        raise BadMedia(f"the {kind}'s XMP has no RDF element to put the label in")
    _tree(merged, kind)
    return merged


def label_png(
    data: bytes,
    lang: str = "en",
    producer: str | None = None,
    produce_id: str | None = None,
    visible: bool = True,
) -> bytes:
    """The picture with its visible and hidden label; one that bears a hidden label comes back unchanged.

    visible=False leaves the words off, for a page that shows them beside the picture.
    """
    from tokenloom.trust.visible import with_badge

    if hidden_in(data):
        return data
    old = chunks_of(data)
    buffer = io.BytesIO()
    image = decode(data, "PNG")
    (with_badge(image, lang) if visible else image).save(buffer, "PNG")
    new = [(k, c) for k, c in chunks_of(buffer.getvalue()) if k in (b"IHDR", b"IDAT")]
    coloured = old[0][1][9] in (2, 3, 6)  # a profile for grey does not fit RGB
    kept = [(k, c) for k, c in old if k in KEPT or (k == b"iCCP" and coloured)]
    packet = next((text for keyword, text in texts(old) if keyword == XMP), None)
    label = new_label(picture_hash(new), producer, produce_id)
    body = XMP + b"\0\0\0\0\0" + xmp_with(label, packet).encode()
    kept = [(k, c) for k, c in kept if not (k == b"iTXt" and c.split(b"\0", 1)[0] == XMP)]
    pixels = [(k, c) for k, c in new if k == b"IDAT"]
    return build([new[0], *kept, (b"iTXt", body), *pixels, (b"IEND", b"")])

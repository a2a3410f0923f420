"""FLAC, OGG (Vorbis, Opus) and MP3: the hidden label as a comment AIGC of theirs. The sound is not touched.

The audible label of a compressed sound is put in before it is encoded (`with_rhythm`), since afterwards it
would have to be encoded anew. The label's hash covers the encoded sound and what decodes it, not its tags.
Written here rather than by a library of tags because the usual one's licence (GPL) is not this program's.
Sources: RFC 9639 (FLAC), RFC 3533 (Ogg), RFC 7845 (Opus), Vorbis I section 5, ID3v2.3.0 and ID3v2.4.0.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import TYPE_CHECKING

from tokenloom.trust.fields import BadMedia, content_hash, new_label
from tokenloom.trust.wav import FLOAT, Format, rhythm

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

KEY = "AIGC"
COMMENTS, PADDING = 4, 1
REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
HEADS = {b"\x01vorbis": (b"\x03vorbis", 3), b"OpusHead": (b"OpusTags", 2)}
"""How a stream's first packet begins: (how its comments begin, packets before the sound)."""
ALIKE = 0.9
"""Correlation with our tones from which they are recognised in sound that was compressed."""


@dataclass(frozen=True)
class Parts:
    """A file taken apart: its comments' place, the labels in it, what the label's hash covers."""

    hidden: tuple[tuple[str, str], ...]
    covered: tuple[bytes, ...]


def hidden_in(data: bytes, kind: str) -> list[tuple[str, str]]:
    """(where, label's JSON) of each hidden label. kind: flac, ogg or mp3. BadMedia for damaged data."""
    return list(_parts(data, kind).hidden)


def sound_hash(data: bytes, kind: str) -> str:
    """The hash of the sound, whatever its tags."""
    return content_hash(*_parts(data, kind).covered)


def _parts(data: bytes, kind: str) -> Parts:
    return {"flac": _flac_parts, "ogg": _ogg_parts, "mp3": _mp3_parts}[kind](data)


def label_sound(data: bytes, kind: str, producer: str | None = None, produce_id: str | None = None) -> bytes:
    """The file with its hidden label; one that bears a label comes back unchanged. kind: flac, ogg or mp3."""
    parts = _parts(data, kind)
    if parts.hidden:
        return data
    words = new_label(content_hash(*parts.covered), producer, produce_id).wrapped()
    return {"flac": _flac_with, "ogg": _ogg_with, "mp3": _mp3_with}[kind](data, words)


def with_rhythm(samples: NDArray[np.float32], rate: int) -> NDArray[np.float32]:
    """The audible label before samples (n,) or (n, channels), for sound that is then encoded."""
    import numpy as np

    channels = 1 if samples.ndim == 1 else samples.shape[1]
    tones = np.frombuffer(rhythm(Format(FLOAT, channels, rate, 4)), "<f4")
    return np.concatenate([tones.reshape(-1, *samples.shape[1:]).astype(np.float32), samples])


def sounds_label(data: bytes) -> bool:
    """Whether the sound begins with our rhythm; False too where it cannot be decoded here (by soundfile)."""
    if find_spec("soundfile") is None or find_spec("soxr") is None:
        return False
    import numpy as np

    from tokenloom.sound.audio import NotAudio, read_audio

    rate = 8000
    tones = np.frombuffer(rhythm(Format(FLOAT, 1, rate, 4)), "<f4")
    try:
        begin = read_audio(data, rate=rate, mono=True, first_s=len(tones) / rate + 0.25)[0][:, 0]
    except NotAudio:
        return False
    if len(begin) < len(tones):
        return False
    # The tones' loudness in hundredths of a second: pitch and phase may have moved in the coder.
    shape, found = (
        np.abs(wave[: len(wave) - len(wave) % 80].reshape(-1, 80)).mean(1) for wave in (tones, begin)
    )
    shape = shape[: int(0.9 * len(shape))]
    lags = range(len(found) - len(shape) + 1)
    return any(np.corrcoef(shape, found[lag : lag + len(shape)])[0, 1] > ALIKE for lag in lags if found.any())


# Comments of Vorbis, which FLAC and Opus have too: a vendor, then texts KEY=value.


def _comments(block: bytes) -> tuple[bytes, list[bytes], bytes]:
    """(vendor, comments, what follows them)."""
    try:
        (size,) = struct.unpack_from("<I", block, 0)
        vendor, at = block[4 : 4 + size], 4 + size
        (count,) = struct.unpack_from("<I", block, at)
        at += 4
        found = []
        for _ in range(count):
            (size,) = struct.unpack_from("<I", block, at)
            if at + 4 + size > len(block):
                raise BadMedia("the sound's comments are damaged: one is longer than their block")
            found.append(block[at + 4 : at + 4 + size])
            at += 4 + size
    except struct.error as error:
        raise BadMedia("the sound's comments are damaged: they are cut off") from error
    return vendor, found, block[at:]


def _joined(vendor: bytes, comments: list[bytes], rest: bytes) -> bytes:
    counted = b"".join(struct.pack("<I", len(text)) + text for text in comments)
    return struct.pack("<I", len(vendor)) + vendor + struct.pack("<I", len(comments)) + counted + rest


def _labels(comments: list[bytes], where: str) -> tuple[tuple[str, str], ...]:
    pairs = (text.partition(b"=") for text in comments)
    return tuple(
        (where, value.decode("utf-8", "replace")) for key, _, value in pairs if key.upper() == KEY.encode()
    )


def _flac_blocks(data: bytes) -> tuple[list[tuple[int, bytes]], bytes]:
    """((type, content) of each block, the frames)."""
    if data[:4] != b"fLaC":
        raise BadMedia("this is no FLAC file: it does not begin with fLaC")
    blocks, at, last = [], 4, False
    while not last:
        if at + 4 > len(data):
            raise BadMedia("the FLAC is cut off in its metadata")
        last, kind, size = (
            bool(data[at] & 0x80),
            data[at] & 0x7F,
            int.from_bytes(data[at + 1 : at + 4], "big"),
        )
        if at + 4 + size > len(data):
            raise BadMedia(f"the FLAC is damaged: block {kind} at byte {at} states {size} bytes, too many")
        blocks.append((kind, data[at + 4 : at + 4 + size]))
        at += 4 + size
    if not blocks or blocks[0][0] != 0:
        raise BadMedia("the FLAC is damaged: its first block is not that of its format")
    return blocks, data[at:]


def _flac_parts(data: bytes) -> Parts:
    blocks, frames = _flac_blocks(data)
    texts = [text for kind, block in blocks if kind == COMMENTS for text in _comments(block)[1]]
    return Parts(_labels(texts, "FLAC comment AIGC"), (blocks[0][1], frames))


def _flac_with(data: bytes, words: str) -> bytes:
    blocks, frames = _flac_blocks(data)
    if COMMENTS not in [kind for kind, _ in blocks]:
        blocks.insert(1, (COMMENTS, _joined(b"tokenloom", [], b"")))
    place = [kind for kind, _ in blocks].index(COMMENTS)
    vendor, comments, rest = _comments(blocks[place][1])
    blocks[place] = (COMMENTS, _joined(vendor, [*comments, f"{KEY}={words}".encode()], rest))
    out = [b"fLaC"]
    for count, (kind, block) in enumerate(blocks, 1):
        out += [bytes([kind | (0x80 if count == len(blocks) else 0)]), len(block).to_bytes(3, "big"), block]
    return b"".join([*out, frames])


@dataclass(frozen=True)
class Page:
    """A page of an Ogg stream."""

    flags: int
    granule: bytes
    serial: bytes
    number: int
    lacing: bytes
    body: bytes

    def whole(self) -> bytes:
        """The page's bytes, with its checksum: CRC-32 as zlib's, with the bits the other way round."""
        head = b"OggS\0" + bytes([self.flags]) + self.granule + self.serial + struct.pack("<I", self.number)
        rest = bytes([len(self.lacing)]) + self.lacing + self.body
        turned = (head + bytes(4) + rest).translate(REVERSED)
        crc = int(f"{zlib.crc32(turned, 0xFFFFFFFF) ^ 0xFFFFFFFF:032b}"[::-1], 2)
        return head + struct.pack("<I", crc) + rest


def _pages(data: bytes) -> Iterator[Page]:
    at = 0
    while at < len(data):
        if data[at : at + 4] != b"OggS" or at + 27 > len(data):
            raise BadMedia(f"the OGG is damaged or cut off at byte {at}: a page should begin there")
        lacing = data[at + 27 : at + 27 + data[at + 26]]
        start = at + 27 + data[at + 26]
        stop = start + sum(lacing)
        if stop > len(data):
            raise BadMedia(f"the OGG is cut off in the page at byte {at}")
        (number,) = struct.unpack_from("<I", data, at + 18)
        yield Page(
            data[at + 5], data[at + 6 : at + 14], data[at + 14 : at + 18], number, lacing, data[start:stop]
        )
        at = stop


def _ogg(data: bytes) -> tuple[list[bytes], list[Page], bytes]:
    """(packets before the sound, pages of the sound, how the comments begin)."""
    pages = list(_pages(data))
    if not pages or len({page.serial for page in pages}) != 1:
        raise BadMedia("this OGG file holds no stream or several; one is labelled here")
    known = [value for mark, value in HEADS.items() if pages[0].body.startswith(mark)]
    if not known:
        raise BadMedia("this OGG file holds neither Vorbis nor Opus")
    mark, count = known[0]
    packets, part = [], b""
    for used, page in enumerate(pages, 1):
        at = 0
        for size in page.lacing:
            part += page.body[at : at + size]
            at += size
            if size < 255:
                packets.append(part)
                part = b""
        if len(packets) >= count:
            if len(packets) > count or part or not packets[1].startswith(mark):
                raise BadMedia(
                    "the OGG is damaged: its comments or its first sound are not where they belong"
                )
            return packets, pages[used:], mark
    raise BadMedia("the OGG is cut off before its sound")


def _ogg_parts(data: bytes) -> Parts:
    packets, pages, mark = _ogg(data)
    found = _labels(_comments(packets[1][len(mark) :])[1], "OGG comment AIGC")
    return Parts(found, (packets[0], *packets[2:], b"".join(page.body for page in pages)))


def _ogg_with(data: bytes, words: str) -> bytes:
    packets, pages, mark = _ogg(data)
    vendor, comments, rest = _comments(packets[1][len(mark) :])
    packets[1] = mark + _joined(vendor, [*comments, f"{KEY}={words}".encode()], rest)
    first = next(_pages(data))
    lacing = b"".join(b"\xff" * (len(p) // 255) + bytes([len(p) % 255]) for p in packets[1:])
    body, out, at = b"".join(packets[1:]), [first.whole()], 0
    for number, start in enumerate(range(0, len(lacing), 255), 1):
        part = lacing[start : start + 255]
        size = sum(part)
        flags = 1 if start and lacing[start - 1] == 255 else 0  # a packet goes on from the page before
        granule = bytes(8) if any(value < 255 for value in part) else b"\xff" * 8
        out.append(Page(flags, granule, first.serial, number, part, body[at : at + size]).whole())
        at += size
    moved = len(out) - pages[0].number if pages else 0
    out += [replace(page, number=page.number + moved).whole() for page in pages]
    return b"".join(out)


# MP3: frames of sound, and before them a tag of its own format, ID3v2.


def _id3(data: bytes) -> tuple[int, bytes, bytes]:
    """(version, the tag's frames, the rest); version 0 without a tag."""
    if not data.startswith(b"ID3"):
        return 0, b"", data
    if len(data) < 10 or data[3] not in (3, 4) or data[5]:
        raise BadMedia("the MP3's tag is not read here: an ID3v2.3 or 2.4 tag without extensions is")
    size = 0
    for byte in data[6:10]:
        size = size << 7 | byte & 0x7F
    if 10 + size > len(data):
        raise BadMedia("the MP3 is cut off in its tag")
    return data[3], data[10 : 10 + size], data[10 + size :]


def _id3_frames(version: int, tag: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 0
    while at + 10 <= len(tag) and tag[at]:
        size = int.from_bytes(tag[at + 4 : at + 8], "big")
        if version == 4:
            size = sum((byte & 0x7F) << 7 * (3 - k) for k, byte in enumerate(tag[at + 4 : at + 8]))
        if at + 10 + size > len(tag):
            raise BadMedia("the MP3's tag is damaged: a frame is longer than it")
        yield tag[at : at + 4], tag[at + 10 : at + 10 + size]
        at += 10 + size


def _mp3_parts(data: bytes) -> Parts:
    version, tag, sound = _id3(data)
    if len(sound) < 4 or sound[0] != 0xFF or sound[1] & 0xE0 != 0xE0:
        raise BadMedia("this is no MP3 file: no frame of sound is where the first should be")
    found = []
    for kind, content in _id3_frames(version, tag):
        if kind == b"TXXX" and content:
            codec = {0: "latin-1", 1: "utf-16", 2: "utf-16-be", 3: "utf-8"}.get(content[0], "latin-1")
            name, _, value = content[1:].decode(codec, "replace").partition("\0")
            if name.upper() == KEY:
                found.append(("ID3 TXXX AIGC", value.strip("\0\ufeff")))
    return Parts(tuple(found), (sound,))


def _mp3_with(data: bytes, words: str) -> bytes:
    version, tag, sound = _id3(data)
    version = version or 3
    content = b"\0" + KEY.encode() + b"\0" + words.encode("latin-1")
    size = len(content).to_bytes(4, "big") if version == 3 else _syncsafe(len(content))
    frame = b"TXXX" + size + b"\0\0" + content
    return b"ID3" + bytes([version, 0, 0]) + _syncsafe(len(frame) + len(tag)) + frame + tag + sound


def _syncsafe(size: int) -> bytes:
    if size >= 1 << 28:
        raise BadMedia(f"the MP3's tag would have {size} bytes; at most {1 << 28} are possible")
    return bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0))

"""WAV: the audible label as a rhythm of tones, the hidden one as a RIFF chunk AIGC. Not other sound formats.

The rhythm is short, long, short, short, once, at the sound's start (at its end where the file marks places
by sample number, so that they stay right). All other chunks are kept. The label's hash covers the format and
the samples.
Source: Microsoft, Multiple Channel Audio Data and WAVE Files; RFC 2361.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from tokenloom.trust.fields import BadMedia, content_hash, new_label

PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE
RHYTHM_S = (0.12, 0.36, 0.12, 0.12)
GAP_S, TAIL_S, FADE_S = 0.12, 0.3, 0.005
LEVEL = 0.25
"""Amplitude of full scale (-12 dB): that of ordinary speech."""
PLACES = (b"cue ", b"smpl", b"plst")

Chunk = tuple[bytes, bytes]


@dataclass(frozen=True)
class Format:
    """How samples are stored."""

    tag: int
    channels: int
    rate: int
    width: int
    """Bytes a sample."""


def chunks_of(data: bytes) -> list[Chunk]:
    """(id, content) of each chunk; BadMedia names the place of a fault."""
    if data[:4] in (b"RF64", b"BW64", b"RIFX"):
        raise BadMedia(f"this is a {data[:4].decode()} file; only RIFF WAVE files are labelled here")
    if len(data) < 12 or data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        raise BadMedia("this is no WAV file: it does not begin with RIFF and WAVE")
    end = 8 + struct.unpack_from("<I", data, 4)[0]
    if end > len(data) + 1:  # some writers leave the last pad byte out
        raise BadMedia(f"the WAV is cut off: it states {end} bytes and has {len(data)}")
    chunks: list[Chunk] = []
    at = 12
    while at + 8 <= min(end, len(data)):
        kind, size = data[at : at + 4], struct.unpack_from("<I", data, at + 4)[0]
        content = data[at + 8 : at + 8 + size]
        if len(content) != size or at + 8 + size > end:
            raise BadMedia(f"the WAV is damaged: chunk {kind!r} at byte {at} states {size} bytes, too many")
        chunks.append((kind, content))
        at += 8 + size + size % 2
    for kind in (b"fmt ", b"data"):
        if [k for k, _ in chunks].count(kind) != 1:
            raise BadMedia(f"the WAV is damaged: it needs exactly one chunk {kind!r}")
    return chunks


def build(chunks: list[Chunk]) -> bytes:
    """The file of these chunks."""
    parts = [b"WAVE"]
    for kind, content in chunks:
        parts += [kind, struct.pack("<I", len(content)), content, b"\0" * (len(content) % 2)]
    body = b"".join(parts)
    if len(body) >= 1 << 32:
        raise BadMedia(f"the labelled WAV would have {len(body)} bytes; a RIFF file has at most 4 GiB")
    return b"RIFF" + struct.pack("<I", len(body)) + body


def one(chunks: list[Chunk], kind: bytes) -> bytes:
    return next(c for k, c in chunks if k == kind)


def format_of(content: bytes) -> Format:
    """The format chunk's meaning; BadMedia when samples of that kind cannot be written."""
    if len(content) < 16:
        raise BadMedia(
            f"the WAV is damaged: its format chunk has {len(content)} bytes, at least 16 are needed"
        )
    tag, channels, rate, _, block, bits = struct.unpack_from("<HHIIHH", content)
    if tag == EXTENSIBLE:
        if len(content) < 40:
            raise BadMedia("the WAV is damaged: its extended format chunk is cut off")
        (tag,) = struct.unpack_from("<H", content, 24)
    width = block // channels if channels else 0
    known = {PCM: (1, 2, 3, 4), FLOAT: (4, 8)}.get(tag, ())
    if width not in known or width * channels != block or not 1 <= bits <= 8 * width:
        raise BadMedia(
            f"samples of format {tag} with {bits} bits in {width} bytes are not labelled here: give PCM of 8 "
            "to 32 bits or 32- or 64-bit float"
        )
    if not 1000 <= rate <= 1_000_000:
        raise BadMedia(f"the WAV is damaged: its rate is {rate} Hz")
    return Format(tag, channels, rate, width)


def rhythm(form: Format) -> bytes:
    """Short, long, short, short in the file's own samples, all channels alike."""
    import numpy as np

    pitch = min(880.0, form.rate / 4)
    gap = np.zeros(round(GAP_S * form.rate))
    parts = []
    for seconds in RHYTHM_S:
        t = np.arange(round(seconds * form.rate)) / form.rate
        fade = np.minimum(1.0, np.minimum(t, seconds - t) / FADE_S)
        parts += [LEVEL * np.sin(2 * np.pi * pitch * t) * fade, gap]
    wave = np.concatenate([*parts[:-1], np.zeros(round(TAIL_S * form.rate))])
    wave = np.repeat(wave[:, None], form.channels, axis=1)
    if form.tag == FLOAT:
        return wave.astype("<f4" if form.width == 4 else "<f8").tobytes()
    if form.width == 1:
        return np.round(128 + 127 * wave).astype(np.uint8).tobytes()
    steps = np.round(wave * (2 ** (8 * form.width - 1) - 1)).astype("<i4")
    return steps.view(np.uint8).reshape(*wave.shape, 4)[..., : form.width].tobytes()


def sounds_label(data: bytes) -> bool:
    """Whether the sound begins or ends with this rhythm."""
    chunks = chunks_of(data)
    form = format_of(one(chunks, b"fmt "))
    samples, tones = one(chunks, b"data"), rhythm(form)
    whole = samples[: len(samples) - len(samples) % (form.width * form.channels)]
    return samples.startswith(tones) or whole.endswith(tones)


def sound_hash(chunks: list[Chunk]) -> str:
    return content_hash(one(chunks, b"fmt "), one(chunks, b"data"))


def hidden_in(data: bytes) -> list[tuple[str, str]]:
    """(where, label's JSON) of each hidden label."""
    found = [c for k, c in chunks_of(data) if k == b"AIGC"]
    return [("RIFF chunk AIGC", c.rstrip(b"\0").decode("utf-8", "replace")) for c in found]


def label_wav(
    data: bytes, producer: str | None = None, produce_id: str | None = None, audible: bool = True
) -> bytes:
    """The sound with its labels; one that bears a hidden label comes back unchanged.

    audible=False leaves the tones off, for sound that is not published or is labelled in another way.
    """
    chunks = chunks_of(data)
    if hidden_in(data):
        return data
    form = format_of(one(chunks, b"fmt "))
    if audible:
        tones, block = rhythm(form), form.width * form.channels
        at_end = any(k in PLACES for k, _ in chunks)
        chunks = [(k, _grown(k, c, tones, block, at_end)) for k, c in chunks]
    label = new_label(sound_hash(chunks), producer, produce_id)
    return build([*chunks, (b"AIGC", label.wrapped().encode())])


def _grown(kind: bytes, content: bytes, tones: bytes, block: int, at_end: bool) -> bytes:
    """A chunk after the tones were put in: the samples, and the count of frames beside them."""
    if kind == b"data":
        at = len(content) - len(content) % block if at_end else 0
        return content[:at] + tones + content[at:]
    if kind == b"fact" and len(content) >= 4:
        frames = struct.unpack_from("<I", content)[0] + len(tones) // block
        return struct.pack("<I", min(frames, 0xFFFFFFFF)) + content[4:]
    return content

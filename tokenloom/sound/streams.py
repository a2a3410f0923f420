"""Sound as it comes, encoded as it goes: what a server sends while the sound is still being made.

Not whole files (`audio.encode`): a stream cannot go back to write its length, so a WAV states none (its
sizes are the largest there are, which players take for a stream), a FLAC states zero, and an MP3 goes out at
a constant rate of bits without the table of places that would come first.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from tokenloom.sound.audio import KINDS, Samples, checked, needed, rate_for, subtype

MIME = {
    "mp3": "audio/mpeg",
    "opus": "audio/ogg; codecs=opus",
    "ogg": "audio/ogg; codecs=vorbis",
    "flac": "audio/flac",
    "wav": "audio/wav",
    "pcm": "audio/pcm",
}
"""Formats of a stream and the names the web has for them."""
MPEG_LAYERS = {3: 144, 2: 72, 0: 72}
"""Samples a frame over 8, by the version's two bits (1, 2 and 2.5)."""
BITRATES = (
    (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
)
"""Thousand bits a second of layer III by index, of versions 2 and 2.5, and of version 1."""
RATES = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8000)}


def encoded(chunks: Iterable[Samples], rate: int, kind: str, channels: int = 1) -> Iterator[bytes]:
    """Bytes of a stream from chunks (n,) or (n, channels) of float32 at `rate`, as soon as there are some.

    kind: mp3, opus, ogg, flac, wav or pcm (16 bits, little end first, no header). ValueError names an
    unknown kind, a chunk of other channels, a missing package; all but the chunks' own come at the call.
    """
    if kind not in MIME:
        raise ValueError(f"format {kind!r}: allowed are {', '.join(MIME)}")
    if not 1000 <= rate <= 384_000:
        raise ValueError(f"rate {rate}: allowed are 1,000 to 384,000 samples a second")
    if kind in ("wav", "pcm"):
        return _plain(chunks, rate, kind, channels)
    soundfile = needed("soundfile", f"{kind} sound")
    return _by_sndfile(soundfile, chunks, rate, kind, channels)


def _tables(chunks: Iterable[Samples], kind: str, channels: int) -> Iterator[Samples]:
    for chunk in chunks:
        table = checked(chunk, kind)
        if table.shape[1] != channels:
            raise ValueError(f"chunk: {table.shape[1]} channels where {channels} were said")
        yield np.clip(table, -1.0, 1.0)


def _plain(chunks: Iterable[Samples], rate: int, kind: str, channels: int) -> Iterator[bytes]:
    if kind == "wav":
        block = 2 * channels
        form = struct.pack("<HHIIHH", 1, channels, rate, rate * block, block, 16)
        head = b"WAVEfmt " + struct.pack("<I", len(form)) + form + b"data" + b"\xff" * 4
        yield b"RIFF" + b"\xff" * 4 + head
    for table in _tables(chunks, kind, channels):
        if len(table):
            yield np.round(table * 32767).astype("<i2").tobytes()


class Sink:
    """A file to be written, which gives what was written at its end; what goes back is left out."""

    def __init__(self) -> None:
        self.at = self.end = 0
        self.ready: list[bytes] = []

    def write(self, data: Any) -> int:
        new = bytes(data)
        if self.at == self.end:
            self.ready.append(new)
        self.at += len(new)
        self.end = max(self.end, self.at)
        return len(new)

    def seek(self, offset: int, whence: int = 0) -> int:
        self.at = (0, self.at, self.end)[whence] + offset
        return self.at

    def tell(self) -> int:
        return self.at

    def read(self, size: int = -1) -> bytes:
        return b""

    def taken(self) -> bytes:
        """What has come since the last time."""
        data = b"".join(self.ready)
        self.ready.clear()
        return data


def _by_sndfile(
    soundfile: Any, chunks: Iterable[Samples], rate: int, kind: str, channels: int
) -> Iterator[bytes]:
    stored = rate_for(kind, rate)
    sink = Sink()
    how = {"bitrate_mode": "CONSTANT", "compression_level": 0.6} if kind == "mp3" else {}
    with soundfile.SoundFile(
        sink, "w", stored, channels, subtype(kind, 16), format=KINDS[kind], **how
    ) as file:
        first = kind == "mp3"
        for table in _resampled(_tables(chunks, kind, channels), rate, stored, channels):
            file.write(table)
            data = sink.taken()
            if data and first:
                data, first = _without_first_frame(data), False
            if data:
                yield data
    if rest := sink.taken():
        yield _without_first_frame(rest) if first else rest


def _resampled(tables: Iterator[Samples], rate: int, new: int, channels: int) -> Iterator[Samples]:
    if rate == new:
        yield from tables
        return
    stream = needed("soxr", "another rate").ResampleStream(rate, new, channels, dtype="float32")
    for table in tables:
        yield stream.resample_chunk(table)
    yield stream.resample_chunk(np.zeros((0, channels), np.float32), last=True)


def _without_first_frame(data: bytes) -> bytes:
    """MP3 without its first frame: the place kept for a table that is written when the length is known.

    Source: ISO/IEC 11172-3, 2.4.1.3, and 13818-3 for the lower rates.
    """
    if len(data) < 4 or data[0] != 0xFF or data[1] & 0xE0 != 0xE0:
        return data
    version, kilobits = data[1] >> 3 & 3, BITRATES[data[1] >> 3 & 1][data[2] >> 4]
    rate = RATES[version][data[2] >> 2 & 3]
    return data[MPEG_LAYERS[version] * kilobits * 1000 // rate + (data[2] >> 1 & 1) :]

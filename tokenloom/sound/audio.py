"""Recordings to numbers and back: files of any rate, channels and depth. Not streams (`streams`), not labels.

WAV, FLAC, OGG (Vorbis, Opus), MP3, AIFF and others are read and written by libsndfile, through soundfile;
what it does not know and browsers record (WebM, MP4) is read by FFmpeg, through PyAV, where it is installed.
A file that was cut off is refused where its format says how long it should be (WAV, FLAC), else read as far
as it goes.
"""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokenloom.sound.levels import Levels, as_table, levels

__all__ = ["Levels", "NotAudio", "encode", "levels", "read_audio", "resample", "write_audio"]

Samples = NDArray[np.float32]

KINDS = {"wav": "WAV", "flac": "FLAC", "ogg": "OGG", "opus": "OGG", "mp3": "MP3"}
DEPTHS = {16: "PCM_16", 24: "PCM_24", 32: "FLOAT"}
OPUS_HZ = 48_000
MP3_HZ = (8000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
MOST_CHANNELS = {"mp3": 2, "flac": 8, "opus": 255, "ogg": 255, "wav": 255}
MOST_BYTES = 2 << 30
LONGEST_S = 4 * 3600.0
MOST_VALUES = 1 << 30
"""Samples times channels held at once: 4 GiB."""
PIECE = 1 << 18
UNSTATED = 0x7FFF0000
"""Sizes in a WAV from here on mean that its writer did not know: it was a stream."""
BY_FFMPEG = {
    b"\x1a\x45\xdf\xa3": (0, "WebM or Matroska"),
    b"ftyp": (4, "MP4 or QuickTime"),
    b"\xff\xf1": (0, "AAC"),
    b"\xff\xf9": (0, "AAC"),
    b"\x30\x26\xb2\x75": (0, "Windows Media"),
    b"#!AMR": (0, "AMR"),
}


class NotAudio(ValueError):
    """A file that is no sound, is damaged, or is larger than what is read."""


def needed(package: str, what: str, install: str | None = None) -> Any:
    """The package, imported; ValueError says what needs it and how to get it."""
    try:
        return import_module(package)
    except ImportError as error:
        raise ValueError(
            f"{package}: not installed; {what} needs it: pip install {install or package}"
        ) from error


def read_audio(
    source: Path | str | bytes,
    *,
    rate: int | None = None,
    mono: bool = False,
    longest_s: float = LONGEST_S,
    first_s: float | None = None,
) -> tuple[Samples, int]:
    """(samples (n, channels) float32, samples a second) of a file or its bytes.

    rate: resampled to it; mono: the mean of the channels, (n, 1); both while reading, so that an hour for
    a recogniser needs no hour in stereo; first_s: no more than so many seconds of its beginning. Integers
    come as fractions of full scale, floats as they are. NotAudio says what is wrong with the file; ValueError
    names a missing package.
    """
    name = "the sound" if isinstance(source, bytes) else Path(source).name
    data = source if isinstance(source, bytes) else _file(Path(source))
    if not data:
        raise NotAudio(f"{name}: it is empty")
    _check_cut_off(data, name)
    foreign = next((word for mark, (at, word) in BY_FFMPEG.items() if data.startswith(mark, at)), None)
    pieces = _by_ffmpeg(data, name, foreign) if foreign else _by_sndfile(data, name)
    out: list[Samples] = []
    found, count, seconds = 0, 0, 0.0
    stream: Any = None
    for piece, found in pieces:
        seconds += len(piece) / found
        if seconds > longest_s:
            raise NotAudio(f"{name}: it is longer than {longest_s:.0f} s, which is the most that is read")
        if not np.isfinite(piece).all():
            raise NotAudio(f"{name}: it holds values that are no numbers")
        part = piece.mean(axis=1, keepdims=True) if mono else piece
        if rate is not None and rate != found:
            if stream is None:
                soxr = needed("soxr", "another rate")
                stream = soxr.ResampleStream(found, rate, part.shape[1], dtype="float32")
            part = stream.resample_chunk(part)
        count += part.size
        if count > MOST_VALUES:
            raise NotAudio(
                f"{name}: it holds more than {MOST_VALUES} values; give fewer channels or mono=True"
            )
        out.append(part)
        if first_s is not None and seconds >= first_s:
            break
    if stream is not None:
        out.append(stream.resample_chunk(np.zeros((0, out[0].shape[1]), np.float32), last=True))
    if not out:
        raise NotAudio(f"{name}: it holds no samples")
    rate = rate or found
    return np.concatenate(out)[: None if first_s is None else round(first_s * rate)], rate


def _file(path: Path) -> bytes:
    if not path.is_file():
        raise NotAudio(f"{path}: there is no such file")
    if path.stat().st_size > MOST_BYTES:
        raise NotAudio(f"{path.name}: {path.stat().st_size} bytes; at most {MOST_BYTES} are read")
    return path.read_bytes()


def _check_cut_off(data: bytes, name: str) -> None:
    """NotAudio for a WAV with less data than it states."""
    if data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        return
    at = 12
    while at + 8 <= len(data):
        kind, (size,) = data[at : at + 4], struct.unpack_from("<I", data, at + 4)
        if kind == b"data":
            if size < UNSTATED and at + 8 + size > len(data):
                has = len(data) - at - 8
                raise NotAudio(f"{name}: it is cut off: it states {size} bytes of samples and has {has}")
            return
        at += 8 + size + size % 2
    raise NotAudio(f"{name}: it is cut off: there are no samples in it")


def _by_sndfile(data: bytes, name: str) -> Iterator[tuple[Samples, int]]:
    soundfile = needed("soundfile", "reading sound")
    # soundfile seeks after each piece where it can, which a FLAC of unknown length does not bear.
    forward = type("Forward", (soundfile.SoundFile,), {"seekable": lambda self: False})
    got = 0
    try:
        with forward(io.BytesIO(data)) as file:
            frames, rate = file.frames, file.samplerate
            step = max(1, PIECE // file.channels)
            while len(piece := file.read(step, "float32", always_2d=True)):
                got += len(piece)
                yield piece, rate
    except soundfile.LibsndfileError as error:
        if got:
            raise NotAudio(f"{name}: it is damaged after {got} samples ({error.error_string})") from error
        raise NotAudio(f"{name}: {_what(data)}") from error
    if data.startswith(b"fLaC") and got < frames < 1 << 40:
        raise NotAudio(f"{name}: it is cut off: it states {frames} samples and has {got}")


def _what(data: bytes) -> str:
    """What bytes are that no reader knows."""
    if data.startswith(tuple(mark.encode() for mark in ("RIFF", "fLaC", "OggS", "ID3", "FORM"))):
        return "it is damaged: it begins as a sound does and cannot be read"
    begin = data[:64]
    try:
        words = begin.decode("utf-8", "strict" if len(data) <= 64 else "ignore")
    except UnicodeDecodeError:
        words = ""
    if words and sum(c.isprintable() or c in "\r\n\t" for c in words) == len(words):
        return f"it is text, no sound: it begins with {words[:24]!r}"
    return f"its format is not known: it begins with {begin[:8].hex(' ')}; WAV, FLAC, OGG and MP3 are"


def _by_ffmpeg(data: bytes, name: str, kind: str) -> Iterator[tuple[Samples, int]]:
    av = needed("av", f"reading {kind} ({name})")
    try:
        with av.open(io.BytesIO(data)) as container:
            if not container.streams.audio:
                raise NotAudio(f"{name}: there is no sound in this {kind} file")
            plain: Any = None
            for frame in container.decode(container.streams.audio[0]):
                if plain is None:
                    plain = av.AudioResampler("flt", frame.layout, frame.sample_rate)
                    channels, rate = len(frame.layout.channels), frame.sample_rate
                for part in plain.resample(frame):
                    yield part.to_ndarray().reshape(-1, channels).astype(np.float32), rate
    except av.error.FFmpegError as error:
        raise NotAudio(f"{name}: this {kind} file is damaged ({error})") from error


def resample(samples: Samples, rate: int, new: int) -> Samples:
    """The samples (n,) or (n, channels) at another rate, float32, of the same shape's rank."""
    if rate == new:
        return np.asarray(samples, np.float32)
    for value in (rate, new):
        if not 100 <= value <= 10_000_000:
            raise ValueError(f"rate {value}: allowed are 100 to 10,000,000 samples a second")
    soxr = needed("soxr", "another rate")
    return np.asarray(soxr.resample(np.asarray(samples, np.float32), rate, new), np.float32)


def kind_of(name: str) -> str:
    """wav, flac, ogg, opus or mp3, of a word or a path's ending. ValueError names those that are written."""
    kind = name.lower().removeprefix(".")
    kind = {"oga": "ogg", "wave": "wav"}.get(kind, kind)
    if kind not in KINDS:
        raise ValueError(f"{name!r}: no sound is written under this ending; allowed are {', '.join(KINDS)}")
    return kind


def rate_for(kind: str, rate: int) -> int:
    """The rate at which a format stores sound of this rate: its own, or the nearest above that it knows."""
    if kind == "opus":
        return OPUS_HZ
    if kind == "mp3":
        return next((hz for hz in MP3_HZ if hz >= rate), MP3_HZ[-1])
    return rate


def checked(samples: Samples, kind: str) -> Samples:
    """(n, channels) within -1 and 1. ValueError for what the format cannot hold."""
    table = as_table(samples)
    most = MOST_CHANNELS.get(kind, 255)
    if not 1 <= table.shape[1] <= most:
        raise ValueError(f"samples: {table.shape[1]} channels; {kind} holds 1 to {most}")
    if not np.isfinite(table).all():
        raise ValueError("samples: some are not finite")
    return table


def subtype(kind: str, depth: int) -> str:
    """libsndfile's name of how a format stores samples. ValueError for a depth that it cannot."""
    if depth not in DEPTHS or (depth != 16 and kind not in ("wav", "flac")) or (kind, depth) == ("flac", 32):
        raise ValueError(
            f"depth {depth}: allowed are 16, 24 and 32 (float) for wav, 16 and 24 for flac, 16 for others"
        )
    return {"ogg": "VORBIS", "opus": "OPUS", "mp3": "MPEG_LAYER_III"}.get(kind, DEPTHS[depth])


def encode(samples: Samples, rate: int, kind: str, depth: int = 16) -> bytes:
    """A whole file's bytes. kind: wav, flac, ogg, opus, mp3; depth: 16, 24, or 32 for float.

    Opus is stored at 48 kHz and MP3 at a rate it knows. What passes full scale is cut there, never wrapped.
    """
    kind = kind_of(kind)
    form = subtype(kind, depth)
    table = checked(samples, kind)
    stored = rate_for(kind, rate)
    table = resample(table, rate, stored)
    if form != "FLOAT":
        table = np.clip(table, -1.0, 1.0)
    if KINDS[kind] == "OGG" and not len(table):
        raise ValueError("samples: there are none, and an OGG file needs some")
    soundfile = needed("soundfile", "writing sound")
    _check_written(soundfile, kind, form)
    buffer = io.BytesIO()
    with soundfile.SoundFile(buffer, "w", stored, table.shape[1], form, format=KINDS[kind]) as file:
        for at in range(0, len(table), PIECE):  # the Vorbis encoder takes its stack from what it is given
            file.write(table[at : at + PIECE])
    return buffer.getvalue()


def _check_written(soundfile: Any, kind: str, form: str) -> None:
    if KINDS[kind] not in soundfile.available_formats() or form not in soundfile.available_subtypes(
        KINDS[kind]
    ):
        raise ValueError(
            f"{kind}: libsndfile {soundfile.__libsndfile_version__} does not write it; 1.1 and later do"
        )


def write_audio(path: Path | str, samples: Samples, rate: int, depth: int = 16) -> Path:
    """Writes a sound in the format of the path's ending, beside and renamed. Returns the path.

    samples (n,) or (n, channels) float32; see `encode`.
    """
    path = Path(path)
    data = encode(samples, rate, kind_of(path.suffix or "."), depth)
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(path.name + ".new")
    new.write_bytes(data)
    os.replace(new, path)
    return path

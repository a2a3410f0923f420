"""WAV labels on every sample format; the file stays one that other readers open; faults are said."""

from __future__ import annotations

import io
import struct
import wave

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenloom import trust
from tokenloom.trust import BadMedia, wav
from tokenloom.trust.verify import inspect

GUID = bytes.fromhex("000000001000800000aa00389b71")


def make(
    tag: int, width: int, channels: int = 1, rate: int = 8000, frames: int = 500, **more: bytes
) -> bytes:
    rng = np.random.default_rng(1)
    samples = rng.integers(0, 256, frames * channels * width, dtype=np.uint8).tobytes()
    bits, block = 8 * width, channels * width
    form = struct.pack("<HHIIHH", tag, channels, rate, rate * block, block, bits)
    if tag == wav.EXTENSIBLE:
        form += struct.pack("<HHI", 22, bits, 0) + struct.pack("<H", 1) + GUID
    chunks = [(b"fmt ", form), (b"data", samples)]
    chunks += [(k.encode().ljust(4), v) for k, v in more.items()]
    return wav.build(chunks)


FORMATS = [(1, 1), (1, 2), (1, 3), (1, 4), (3, 4), (3, 8), (wav.EXTENSIBLE, 3)]


@pytest.mark.parametrize(("tag", "width"), FORMATS)
@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("frames", [0, 1, 501])
def test_every_format(tag: int, width: int, channels: int, frames: int) -> None:
    data = make(tag, width, channels, frames=frames)
    out = trust.label("wav", data).data
    report = inspect(out, "wav")
    assert report.ok
    assert report.visible
    assert report.content == "unchanged"
    old, new = wav.one(wav.chunks_of(data), b"data"), wav.one(wav.chunks_of(out), b"data")
    assert new.endswith(old), "the sound itself is untouched"
    assert (len(new) - len(old)) % (width * channels) == 0
    assert len(out) % 2 == 0
    assert struct.unpack_from("<I", out, 4)[0] == len(out) - 8


@pytest.mark.parametrize("width", [1, 2, 3])
def test_pythons_own_reader_opens_it(width: int) -> None:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(width)
        file.setframerate(16000)
        file.writeframes(bytes(width * 321))
    with wave.open(io.BytesIO(trust.label_wav(buffer.getvalue()))) as file:
        assert file.getnframes() == 321 + len(wav.rhythm(wav.Format(1, 1, 16000, width))) // width


def test_the_rhythm_is_short_long_short_short() -> None:
    rate = 16000
    tones = np.frombuffer(wav.rhythm(wav.Format(1, 1, rate, 2)), "<i2")
    loud = np.abs(tones.astype(float)).reshape(-1, 80).max(axis=1) > 1000  # 5 ms windows
    edges = np.flatnonzero(np.diff(np.concatenate([[0], loud.astype(int), [0]])))
    lengths = np.diff(edges.reshape(-1, 2), axis=1).ravel() * 0.005
    assert len(lengths) == 4
    assert lengths[1] > 2.5 * max(lengths[0], lengths[2], lengths[3])
    assert 0.2 < np.abs(tones).max() / 32767 < 0.3


def test_eight_bits_rest_at_the_middle() -> None:
    tones = np.frombuffer(wav.rhythm(wav.Format(1, 1, 8000, 1)), np.uint8)
    assert tones[-1] == 128
    assert abs(tones.mean() - 128) < 1


def test_without_tones_only_the_hidden_label_is_there() -> None:
    data = make(1, 2)
    out = trust.label("wav", data, audible=False).data
    report = inspect(out, "wav")
    assert report.ok
    assert not report.visible
    assert wav.one(wav.chunks_of(out), b"data") == wav.one(wav.chunks_of(data), b"data")


def test_marked_places_stay_right() -> None:
    cue = struct.pack("<I", 0)
    data = make(1, 2, frames=501, cue=cue, LIST=b"INFOodd", fact=struct.pack("<I", 501))
    chunks = wav.chunks_of(trust.label_wav(data))
    assert wav.one(chunks, b"data").startswith(wav.one(wav.chunks_of(data), b"data"))
    assert wav.sounds_label(wav.build(chunks))
    assert wav.one(chunks, b"LIST") == b"INFOodd"
    frames = len(wav.one(chunks, b"data")) // 2
    assert struct.unpack("<I", wav.one(chunks, b"fact")) == (frames,)


def test_twice_is_once_and_changes_are_noticed() -> None:
    once = trust.label_wav(make(1, 2))
    assert trust.label_wav(once) == once
    assert inspect(once[:2000] + b"\x55\x55" + once[2002:], "wav").content == "changed"


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"", "no WAV"),
        (b"RIFX" + bytes(40), "RIFX"),
        (make(1, 2)[:300], "cut off"),
        (make(1, 2)[:8] + b"AVI " + make(1, 2)[12:], "no WAV"),
        (wav.build([(b"fmt ", bytes(16))]), "exactly one chunk b'data'"),
        (wav.build([(b"fmt ", bytes(4)), (b"data", b"")]), "format chunk has 4 bytes"),
        (wav.build([(b"fmt ", bytes(16)), (b"data", b"")]), "format 0"),
        (make(6, 1), "format 6"),
        (make(1, 2, rate=0), "rate is 0"),
        (make(1, 2)[:40] + b"\xff\xff\xff\x7f" + make(1, 2)[44:], "too many"),
    ],
)
def test_faults_are_said(data: bytes, complaint: str) -> None:
    with pytest.raises(BadMedia, match=complaint):
        trust.label_wav(data)


WHOLE = trust.label_wav(make(1, 2, frames=20))


@settings(deadline=None, max_examples=200)
@given(st.integers(0, 120), st.binary(max_size=8), st.integers(0, 40))
def test_any_bytes_are_a_label_or_a_clear_error(at: int, piece: bytes, cut: int) -> None:
    data = WHOLE[:at] + piece + WHOLE[at + cut :]
    try:
        inspect(data, "wav")
        trust.label_wav(data)
    except ValueError as error:
        assert len(str(error)) > 10  # noqa: PT017

"""Recordings both ways: each format, any rate and channels, streams equal to files, what is no sound."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tokenloom.sound import audio
from tokenloom.sound.audio import NotAudio, encode, levels, read_audio, resample, write_audio
from tokenloom.sound.streams import MIME, encoded

pytest.importorskip("soundfile", reason="needs soundfile")
pytest.importorskip("soxr", reason="needs soxr")


def sines(rate: int, seconds: float = 1.0, channels: int = 1, level: float = 0.3) -> np.ndarray:
    t = np.arange(round(rate * seconds)) / rate
    return np.stack([level * np.sin(2 * np.pi * 440 * (1 + c) * t) for c in range(channels)], 1).astype("f4")


def error_db(found: np.ndarray, real: np.ndarray) -> float:
    """The difference's power relative to the real one's, in dB."""
    return 10 * np.log10(np.mean((found - real) ** 2) / np.mean(real**2) + 1e-20)


@pytest.mark.parametrize(
    ("kind", "depth", "worst"), [("wav", 16, -80), ("wav", 24, -120), ("flac", 24, -120)]
)
@pytest.mark.parametrize("channels", [1, 2, 6])
def test_exact_formats_come_back(kind: str, depth: int, worst: float, channels: int) -> None:
    sound = sines(22_050, 0.3, channels)
    back, rate = read_audio(encode(sound, 22_050, kind, depth))
    assert (back.shape, back.dtype, rate) == (sound.shape, np.float32, 22_050)
    assert error_db(back, sound) < worst


def test_floats_come_back_to_the_bit_beyond_full_scale_too() -> None:
    sound = sines(8000, 0.2, level=3.0)
    assert np.array_equal(read_audio(encode(sound, 8000, "wav", 32))[0], sound)
    cut = read_audio(encode(sound, 8000, "wav", 16))[0]
    assert np.abs(cut - np.clip(sound, -1, 1)).max() < 1e-4, "cut at full scale, never wrapped"


@pytest.mark.parametrize(("kind", "worst"), [("ogg", -15), ("opus", -25), ("mp3", -25)])
def test_lossy_formats_sound_the_same(kind: str, worst: float) -> None:
    sound = sines(48_000, 1.0, 2)
    back, rate = read_audio(encode(sound, 48_000, kind))
    assert rate == 48_000
    assert back.shape == sound.shape
    middle = slice(4800, -4800)
    assert error_db(back[middle], sound[middle]) < worst


@pytest.mark.parametrize(("kind", "stored"), [("opus", 48_000), ("mp3", 11_025), ("wav", 11_000)])
def test_a_rate_that_a_format_lacks_is_resampled(kind: str, stored: int) -> None:
    back, rate = read_audio(encode(sines(11_000), 11_000, kind))
    assert rate == stored
    assert len(back) == pytest.approx(rate, abs=2)


@pytest.mark.parametrize("kind", sorted(set(MIME) - {"pcm"}))
@pytest.mark.parametrize("rate", [24_000, 44_100])
def test_a_stream_is_the_whole_file(kind: str, rate: int) -> None:
    sound = sines(rate, 1.3, 2)
    parts = [sound[at : at + 1111] for at in range(0, len(sound), 1111)]
    pieces = list(encoded(iter(parts), rate, kind, 2))
    assert len(pieces) > 1
    back, stored = read_audio(b"".join(pieces))
    if kind == "mp3":  # without its table an MP3 keeps the coder's own delay: align by correlation
        lag = int(np.argmax(np.correlate(back[:9000, 0], sound[:6000, 0], "valid")))
        back = back[lag : lag + len(sound)]
        assert lag < 3000
    else:
        assert len(back) == round(1.3 * stored)
    real = resample(sound, rate, stored)
    middle = slice(3000, 30_000)
    assert error_db(back[middle], real[middle]) < (-15 if kind in ("ogg", "mp3", "opus") else -80)


def test_a_stream_begins_before_its_end() -> None:
    def chunks():
        for _ in range(200):
            yield np.zeros(2400, np.float32)
            made.append(1)

    for kind in ("wav", "mp3", "flac", "pcm"):
        made: list[int] = []
        next(encoded(chunks(), 24_000, kind))
        assert len(made) < 10, kind


def test_pcm_is_bare_and_wav_states_no_length() -> None:
    parts = [np.array([0.0, 1.0, -1.0, 2.0], np.float32)]
    assert b"".join(encoded(parts, 8000, "pcm")) == struct.pack("<4h", 0, 32767, -32767, 32767)
    wav = b"".join(encoded(parts, 8000, "wav"))
    assert wav[4:8] == wav[40:44] == b"\xff" * 4
    assert wav[44:] == b"".join(encoded(parts, 8000, "pcm"))


def test_a_stream_that_is_left_early_is_closed() -> None:
    closed: list[bool] = []

    def chunks() -> Iterator[np.ndarray]:
        try:
            for _ in range(1000):
                yield sines(24_000)
        finally:
            closed.append(True)

    stream = encoded(chunks(), 24_000, "mp3")
    assert next(stream)
    assert not closed
    stream.close()  # type: ignore[attr-defined]
    assert closed, "what the sound came from is let go"
    assert next(stream, None) is None


@pytest.mark.parametrize("how", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW"])
@pytest.mark.parametrize(("rate", "channels"), [(8000, 1), (96_000, 10), (11_025, 3)])
def test_any_wav_is_read(how: str, rate: int, channels: int) -> None:
    import soundfile

    sound = sines(rate, 0.2, channels)
    file = io.BytesIO()
    soundfile.write(file, sound, rate, how, format="WAV")
    back, found = read_audio(file.getvalue())
    assert (found, back.shape) == (rate, sound.shape)
    assert error_db(back, sound) < -30
    one, at = read_audio(file.getvalue(), rate=16_000, mono=True)
    assert (at, one.shape[1]) == (16_000, 1)
    assert len(one) == pytest.approx(0.2 * 16_000, abs=2)


def test_the_beginning_alone_is_read() -> None:
    sound = sines(44_100, 20.0)
    data = encode(sound, 44_100, "flac", 24)
    assert np.abs(read_audio(data, first_s=1.5)[0] - sound[: 3 * 22_050]).max() < 1e-5
    assert len(read_audio(data, first_s=2, rate=8000)[0]) == 16_000
    assert len(read_audio(data[: len(data) // 2], first_s=1)[0]) == 44_100, "its damaged end is not reached"


def test_reading_at_a_rate_is_reading_then_resampling() -> None:
    sound = sines(44_100, 9.0, 2)
    data = encode(sound, 44_100, "wav", 32)
    direct = read_audio(data, rate=16_000)[0]
    later = resample(sound, 44_100, 16_000)
    assert direct.shape == later.shape
    assert np.abs(direct - later).max() < 1e-4


@pytest.mark.parametrize(("form", "codec"), [("webm", "libopus"), ("mp4", "aac"), ("ogg", "libopus")])
def test_what_browsers_record_is_read(form: str, codec: str) -> None:
    av = pytest.importorskip("av", reason="needs PyAV")
    file = io.BytesIO()
    with av.open(file, "w", form) as container:
        stream = container.add_stream(codec, 48_000, layout="mono")
        sound = sines(48_000, 1.0)
        frame = av.AudioFrame.from_ndarray(sound.T.copy(), "fltp", "mono")
        frame.sample_rate = 48_000
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)
    back, rate = read_audio(file.getvalue(), mono=True)
    assert rate == 48_000
    assert len(back) == pytest.approx(48_000, rel=0.05)
    tall = np.abs(np.fft.rfft(back[4800:43200, 0]))
    assert np.argmax(tall) * 48_000 / 38_400 == pytest.approx(440, abs=2)
    with pytest.raises(NotAudio):
        read_audio(file.getvalue()[:60])


def test_without_pyav_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(audio, "import_module", missing)
    with pytest.raises(ValueError, match=r"av: not installed; reading WebM.*pip install av"):
        read_audio(b"\x1a\x45\xdf\xa3" + bytes(100))


WAV = encode(sines(8000), 8000, "wav")
WRONG = {
    "empty": (b"", "empty"),
    "text": (b"Hello, this is a letter and no sound at all. " * 9, "text, no sound"),
    "short text": (b"hello", "text, no sound"),
    "cut off": (WAV[:5000], "cut off: it states 16000 bytes of samples and has 4956"),
    "cut in its head": (WAV[:30], "cut off"),
    "flac cut off": (encode(sines(8000, 3), 8000, "flac")[:9000], "damaged|cut off"),
    "begins as one": (b"OggS" + bytes(99), "damaged"),
    "other bytes": (bytes(range(200, 256)) * 9, "not known: it begins with c8 c9"),
    "without samples": (encode(sines(8000, 0), 8000, "wav"), "no samples"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_no_sound_is_said(case: str, tmp_path: Path) -> None:
    data, why = WRONG[case]
    path = tmp_path / "letter.wav"
    path.write_bytes(data)
    with pytest.raises(NotAudio, match=f"letter.wav: .*({why})"):
        read_audio(path)


def test_limits_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NotAudio, match="longer than 2 s"):
        read_audio(encode(sines(8000, 3), 8000, "flac"), longest_s=2)
    with pytest.raises(NotAudio, match="no such file"):
        read_audio(tmp_path / "none.wav")
    monkeypatch.setattr(audio, "MOST_VALUES", 4000)
    with pytest.raises(NotAudio, match="4000 values"):
        read_audio(WAV)
    monkeypatch.setattr(audio, "MOST_BYTES", 1000)
    path = tmp_path / "large.wav"
    path.write_bytes(WAV)
    with pytest.raises(NotAudio, match="at most 1000"):
        read_audio(path)


def test_not_a_number_is_refused_both_ways() -> None:
    sound = sines(8000)
    sound[7] = np.nan
    with pytest.raises(ValueError, match="finite"):
        encode(sound, 8000, "wav")
    soundfile = pytest.importorskip("soundfile")
    file = io.BytesIO()
    soundfile.write(file, sound, 8000, "FLOAT", format="WAV")
    with pytest.raises(NotAudio, match="no numbers"):
        read_audio(file.getvalue())


def test_wrong_wishes_are_named(tmp_path: Path) -> None:
    sound = sines(8000)
    for call, why in (
        (lambda: write_audio(tmp_path / "a.m4a", sound, 8000), r"\.m4a.*allowed are wav, flac"),
        (lambda: write_audio(tmp_path / "a", sound, 8000), "allowed are wav"),
        (lambda: encode(sound, 8000, "mp3", 24), "depth 24"),
        (lambda: encode(sines(8000, 1, 3), 8000, "mp3"), "3 channels; mp3 holds 1 to 2"),
        (lambda: encode(sound.reshape(1, 10, -1), 8000, "wav"), "shape"),
        (lambda: encoded([], 8000, "aac"), "allowed are mp3"),
        (lambda: list(encoded([sound], 8000, "pcm", 2)), "1 channels where 2"),
    ):
        with pytest.raises(ValueError, match=why):
            call()
    assert not list(tmp_path.glob("a*"))


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = write_audio(tmp_path / "deep" / "a.flac", sines(8000), 8000)
    assert path.read_bytes()[:4] == b"fLaC"
    assert [p.name for p in path.parent.iterdir()] == ["a.flac"]


def test_levels_are_those_of_the_standard() -> None:
    full = sines(48_000, 5, 2, level=1.0)
    full[:, 1] = full[:, 0] = np.sin(2 * np.pi * 997 * np.arange(len(full)) / 48_000)
    found = levels(full[:, :1], 48_000)
    assert found.loudness == pytest.approx(-3.01, abs=0.02), "BS.1770: a full 997 Hz sine in one channel"
    assert levels(full, 48_000).loudness == pytest.approx(0.0, abs=0.02)
    assert found.rms_db == pytest.approx(-3.01, abs=0.01)
    assert found.dc == pytest.approx(0, abs=1e-3)
    assert levels(full + np.float32(0.1), 48_000).dc == pytest.approx(0.1, abs=1e-3)
    silent = levels(np.zeros((48_000, 2), np.float32), 48_000)
    assert silent.peak_db == silent.rms_db == silent.loudness == -np.inf
    assert levels(np.zeros((0, 2), np.float32), 48_000).peak_db == -np.inf


def test_a_peak_between_samples_is_seen() -> None:
    t = np.arange(4800)
    wave = np.sin(2 * np.pi * t / 4 + np.pi / 4).astype(np.float32)  # samples at 0.707, tops between them
    found = levels(wave, 48_000)
    assert found.peak_db == pytest.approx(-3.01, abs=0.01)
    assert found.true_peak_db == pytest.approx(0.0, abs=0.3)


@pytest.mark.parametrize("rate", [44_100, 48_000])
def test_loudness_is_what_another_meter_says(rate: int) -> None:
    meter = pytest.importorskip("pyloudnorm", reason="needs pyloudnorm").Meter(rate)
    rng = np.random.default_rng(1)
    loud = rng.standard_normal((rate * 4, 2)) * np.repeat([0.02, 0.2, 0.001, 0.1], rate)[:, None]
    assert levels(loud.astype(np.float32), rate).loudness == pytest.approx(
        meter.integrated_loudness(loud), abs=0.1
    )

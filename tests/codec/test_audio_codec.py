"""What must hold of a codec of sound, trained or not."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_speech import CODEC, tiny_audio_codec

from tokenloom.codec.audio import AudioCodec
from tokenloom.codec.audio_folder import SoundCodec, open_audio_codec, save_audio_codec
from tokenloom.codec.audio_stream import PIECE
from tokenloom.codec.config import AudioCodecConfig, AudioLosses
from tokenloom.codec.files import BadCodec
from tokenloom.codec.folder import open_codec
from tokenloom.codec.sound_adversary import SoundAdversary
from tokenloom.codec.spectra import log_mel, mel_bands, mel_distance, sound_distance

HOP = 320


def noise(n: int, seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal(n) * 0.1).astype(np.float32)


def tone(hz: float, n: int = 16_000, size: float = 0.5) -> torch.Tensor:
    return size * torch.sin(2 * torch.pi * hz * torch.arange(n) / 16_000)[None]


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> SoundCodec:
    return open_audio_codec(tiny_audio_codec(tmp_path_factory.mktemp("codecs") / "codec"))


# --- streams ---


@pytest.mark.parametrize(
    "frames", [1, 2, 3, PIECE - 1, PIECE, PIECE + 1, PIECE + 2, 2 * PIECE, 3 * PIECE + 5]
)
def test_a_stream_is_the_whole_bit_for_bit(opened: SoundCodec, frames: int) -> None:
    samples = noise(frames * HOP - 7, frames)
    codes = opened.encode(samples)
    sound = opened.decode(codes)
    assert codes.shape == (frames,)
    assert sound.shape == (frames * HOP,)
    rng = np.random.default_rng(frames)
    encoding, decoding = opened.encoding(), opened.decoding()
    for stream, whole, found, most in (
        (encoding, samples, codes, 2000),
        (decoding, codes, sound, 9),
    ):
        parts, at = [], 0
        while at < len(whole):
            n = int(rng.integers(0, most))
            parts.append(stream.push(whole[at : at + n]))  # type: ignore[arg-type]
            at += n
        early = sum(map(len, parts))
        parts.append(stream.finish())
        assert np.array_equal(np.concatenate(parts), found)
        assert early > 0 or frames <= 2 * PIECE


def test_what_is_trained_is_what_is_streamed(opened: SoundCodec) -> None:
    samples = noise(41 * HOP)
    codes = opened.encode(samples)
    with torch.no_grad():
        found = opened.model.encode_samples(torch.from_numpy(samples)[None])
        made = opened.model.decode_codes(torch.from_numpy(codes)[None])[0].clamp(-1, 1).numpy()
    assert np.array_equal(found.codes[0].numpy(), codes)
    np.testing.assert_allclose(opened.decode(codes), made, atol=1e-5)
    torch.testing.assert_close(found.z_q, opened.model.vectors(torch.from_numpy(codes)[None]))


def test_a_frame_does_not_depend_on_what_comes_later_than_is_stated(opened: SoundCodec) -> None:
    config = opened.model.config
    samples, frame = noise(60 * HOP), 30
    seen = frame * HOP + HOP + opened.model.margin + config.ahead * HOP
    changed = samples.copy()
    changed[seen:] = noise(len(samples) - seen, 9)
    codes, others = opened.encode(samples), opened.encode(changed)
    assert np.array_equal(codes[: frame + 1], others[: frame + 1])
    assert not np.array_equal(codes, others)
    again = codes.copy()
    again[frame + config.ahead + 2 :] = 0
    sound, other = opened.decode(codes), opened.decode(again)
    assert np.array_equal(sound[: (frame + 1) * HOP], other[: (frame + 1) * HOP])
    assert not np.array_equal(sound, other)
    assert config.delay == opened.model.margin + (2 * config.ahead + 1) * HOP


def test_batches_are_singles(opened: SoundCodec) -> None:
    x = torch.from_numpy(np.stack([noise(20 * HOP, i) for i in range(3)]))
    with torch.no_grad():
        many, _ = opened.model(x)
        for row, one in zip(x, many, strict=True):
            torch.testing.assert_close(opened.model(row[None])[0][0], one, atol=1e-5, rtol=1e-4)


def test_several_codes_a_frame_stand_side_by_side(tmp_path: Path) -> None:
    codec = open_audio_codec(tiny_audio_codec(tmp_path / "codec", depth=2))
    samples = noise(20 * HOP)
    codes = codec.encode(samples)
    assert codes.shape == (40,)
    assert codec.codes_hz == 100
    stream = codec.decoding()
    parts = [stream.push(codes[i : i + 3]) for i in range(0, 40, 3)]
    assert np.array_equal(np.concatenate([*parts, stream.finish()]), codec.decode(codes))
    with pytest.raises(ValueError, match="found 39; allowed: 2 for each frame"):
        codec.decode(codes[:-1])
    stream = codec.decoding()
    stream.push(codes[:3])
    with pytest.raises(ValueError, match="the last frame has 1; allowed: 2"):
        stream.finish()


# --- what goes in ---


def test_nothing_and_silence(opened: SoundCodec) -> None:
    assert opened.encode(np.zeros(0, np.float32)).shape == (0,)
    assert opened.decode(np.zeros(0, np.int64)).shape == (0,)
    codes = opened.encode(np.zeros(50 * HOP, np.float32))
    assert len(codes) == 50
    assert len(np.unique(codes[10:-10])) == 1
    assert np.isfinite(opened.decode(codes)).all()
    assert np.abs(opened.decode(opened.encode(np.ones(5 * HOP, np.float32) * 50))).max() <= 1


@pytest.mark.parametrize(
    ("given", "rate", "words"),
    [
        (np.zeros((640, 10), np.float32), None, "10 channels; allowed: \\(n,\\), mono"),
        (np.zeros(640), None, "found float64; allowed: an array of float32"),
        ([0.0], None, "found list"),
        (np.zeros(640, np.float32), 44_100, "rate: found 44100; allowed: 16000"),
        (np.full(640, np.nan, np.float32), None, "some are not finite"),
    ],
    ids=["ten channels", "float64", "list", "rate", "nan"],
)
def test_what_is_no_sound(opened: SoundCodec, given: np.ndarray, rate: int | None, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        opened.encode(given, rate)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (np.full(3, 64), "found 64; allowed: 0 to 63"),
        (np.full(3, -1), "found -1; allowed: 0 to 63"),
        (np.zeros((2, 3), np.int64), "allowed: \\(n,\\)"),
        (np.zeros(3), "found float64; allowed: an array of whole numbers"),
        ([0], "found list"),
    ],
    ids=["large", "negative", "table", "float", "list"],
)
def test_what_are_no_codes(opened: SoundCodec, given: np.ndarray, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        opened.decode(given)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"hop": 321}, "hop: found 321; allowed: a multiple of"),
        ({"window": 101}, "window: found 101; allowed: an even number"),
        ({"window": 100}, "window: found 100; allowed: an even number from 160"),
        ({"ahead": 3}, "ahead: found 3; allowed: 0 to 2"),
        ({"depth": 0}, "depth: found 0"),
        ({"deep": 0}, "deep: found 0"),
        ({"levels": (8, 1)}, "levels: found"),
    ],
    ids=["hop", "odd", "narrow", "ahead", "depth", "deep", "levels"],
)
def test_sizes_that_cannot_be(changes: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        AudioCodec(AudioCodecConfig(**{**CODEC, **changes}))


def test_every_code_can_be_said() -> None:
    torch.manual_seed(0)
    codec = AudioCodec(AudioCodecConfig(**CODEC))
    found = codec.quantise(torch.randn(1, CODEC["width"], 6000) * 4)
    assert set(found.codes.unique().tolist()) == set(range(64))
    assert codec.config.n_codes == 64


# --- the folder ---


def test_a_folder_keeps_what_was_rounded_once(tmp_path: Path, opened: SoundCodec) -> None:
    again = open_audio_codec(save_audio_codec(opened.model, tmp_path / "b"))
    assert again.sha256 == opened.sha256
    assert np.array_equal(again.encode(noise(9000)), opened.encode(noise(9000)))
    assert json.loads((tmp_path / "b" / "tokenloom.json").read_text())["kind"] == "codec"
    assert "50 codes out of 64" in (tmp_path / "b" / "README.md").read_text()
    with pytest.raises(BadCodec, match="is an audio_codec; allowed: an image_codec"):
        open_codec(tmp_path / "b")
    settings = json.loads((tmp_path / "b" / "config.json").read_text())
    del settings["hop"]
    (tmp_path / "b" / "config.json").write_text(json.dumps(settings))
    with pytest.raises(BadCodec, match="hop: missing"):
        open_audio_codec(tmp_path / "b")


# --- spectra and losses ---


@pytest.mark.parametrize("window", [64, 512, 2048])
def test_bands_cover_what_they_should(window: int) -> None:
    bands = mel_bands(16_000, window, 40)
    assert bands.shape == (window // 2 + 1, 40)
    torch.testing.assert_close(bands.sum(0), torch.ones(40))
    middles = bands.argmax(0)
    assert (middles.diff() >= 0).all()


def test_a_tone_is_loud_where_it_is() -> None:
    logs = log_mel(tone(1000.0), 16_000, 1024, 80)[0].mean(1)
    bands = mel_bands(16_000, 1024, 80)
    assert abs(int(logs.argmax()) - int(bands[64].argmax())) <= 1  # 1000 Hz is the 64th frequency
    louder = log_mel(tone(1000.0, size=0.05), 16_000, 1024, 80)[0].mean(1)
    assert float(logs.max() - louder.max()) == pytest.approx(np.log(10), abs=0.01)


def test_distances_are_of_loudness_not_of_phase() -> None:
    one, moved, soft = tone(440.0), -tone(440.0), tone(440.0, size=0.25)
    weights = AudioLosses(windows=(256, 1024))
    assert not mel_distance(one, one, 16_000).any()
    assert not sound_distance(one, one, 16_000, weights).any()
    assert float(mel_distance(moved, one, 16_000)) == pytest.approx(0, abs=1e-4)
    assert 0 < float(mel_distance(soft, one, 16_000)) <= 20 * np.log10(2) + 1e-3
    far = sound_distance(tone(880.0), one, 16_000, weights)
    assert far > sound_distance(tone(450.0), one, 16_000, weights) > 0
    assert sound_distance(soft, one, 16_000, AudioLosses(mel=0, magnitude=1, windows=(256,))) > 0
    with pytest.raises(ValueError, match="windows: found"):
        AudioLosses(windows=(30,))


def test_the_gradient_of_silence_is_a_number() -> None:
    made = torch.zeros(1, 4000, requires_grad=True)
    sound_distance(made, tone(300.0, 4000), 16_000, AudioLosses()).sum().backward()
    assert made.grad is not None
    assert torch.isfinite(made.grad).all()


# --- the adversary ---


def test_the_adversary_of_sound_learns_to_tell() -> None:
    torch.manual_seed(0)
    adversary = SoundAdversary(0, 4, 2, windows=(256,), periods=(5,))
    real = torch.cat([tone(hz, 6400) for hz in (200.0, 300.0, 400.0)])
    made = (real + 0.2 * torch.randn(real.shape)).requires_grad_(True)
    assert len(adversary(real)) == 2
    optimiser = torch.optim.Adam(adversary.parameters(), 3e-3)
    for _ in range(30):
        optimiser.zero_grad()
        loss, apart = adversary.judging(real, made)
        assert loss.shape == (3,)
        loss.mean().backward()
        optimiser.step()
    assert float(apart) > 0.2
    adversary.zero_grad()
    adversary.convincing(real, made).mean().backward()
    assert made.grad is not None
    assert made.grad.any()
    assert all(p.grad is None for p in adversary.parameters())


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"windows": (), "periods": ()}, "neither windows nor periods"),
        ({"windows": (8,)}, "windows: found 8"),
        ({"periods": (1,)}, "periods: found 1"),
    ],
    ids=["none", "window", "period"],
)
def test_an_adversary_that_cannot_be(parts: dict[str, tuple[int, ...]], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        SoundAdversary(0, **parts)  # type: ignore[arg-type]

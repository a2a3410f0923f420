"""`loom audio`, `loom data speech-set` and `loom speak --model` at toy size."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_speech import tiny_audio_codec, tiny_speaker, tiny_speech
from typer.testing import CliRunner

from tokenloom.cli import app
from tokenloom.codec.audio_folder import open_audio_codec
from tokenloom.sound import hibari
from tokenloom.sound.audio import read_audio, write_audio
from tokenloom.trust import verify


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKENLOOM_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)


def run(*words: object) -> Any:
    return CliRunner().invoke(app, [str(word) for word in words])


def tones(n: int, channels: int = 1) -> np.ndarray:
    return (0.2 * np.sin(np.arange(n)[:, None] * 0.1 * (1 + np.arange(channels)))).astype(np.float32)


def test_sound_goes_there_and_back(tmp_path: Path) -> None:
    tiny_audio_codec(tmp_path / "codec")
    write_audio("a.wav", tones(8000), 16_000)
    write_audio("b.wav", tones(44_100, 10), 44_100)  # ten channels, another rate
    done = run("audio", "encode", "a.wav", "b.wav", "--codec", "codec", "-o", "c.json")
    assert done.exit_code == 0, done.output
    facts = json.loads(Path("c.json").read_text())
    codec = open_audio_codec("codec")
    assert facts["codec"] == codec.sha256
    assert [one["name"] for one in facts["sounds"]] == ["a.wav", "b.wav"]
    assert [len(one["codes"]) for one in facts["sounds"]] == [25, 50]
    samples, _ = read_audio("a.wav")
    assert facts["sounds"][0]["codes"] == codec.encode(samples[:, 0]).tolist()
    done = run("audio", "decode", "c.json", "--codec", "codec", "-o", "d.wav")
    assert done.exit_code == 0, done.output
    made, rate = read_audio("d-1.wav")
    assert (len(made), rate) == (8000, 16_000)
    assert read_audio("d-2.wav")[0].shape == (16_000, 1)
    assert verify(Path("d-1.wav")).hidden[0].label


@pytest.mark.parametrize(
    ("text", "words"),
    [("no", "is no file of codes"), ('{"codec": "0", "sounds": []}', "was encoded by the codec 0")],
    ids=["text", "other"],
)
def test_what_are_no_codes(tmp_path: Path, text: str, words: str) -> None:
    tiny_audio_codec(tmp_path / "codec")
    Path("c.json").write_text(text)
    done = run("audio", "decode", "c.json", "--codec", "codec")
    assert isinstance(done.exception, ValueError)
    assert words in str(done.exception)
    assert not Path("decoded.wav").exists()


def test_wrong_files_are_named(tmp_path: Path) -> None:
    tiny_audio_codec(tmp_path / "codec")
    Path("text.wav").write_text("just words")
    done = run("audio", "encode", "text.wav", "--codec", "codec")
    assert "it is text, no sound" in str(done.exception)
    write_audio("empty.wav", np.zeros((0, 1), np.float32), 16_000)
    done = run("audio", "encode", "empty.wav", "--codec", "codec")
    assert "holds no samples" in str(done.exception)


def test_figures_of_a_codec(tmp_path: Path) -> None:
    tiny_audio_codec(tmp_path / "codec")
    tiny_speech(tmp_path / "speech")
    done = run("audio", "score", "speech", "--codec", "codec", "-n", 2, "--sheet", "s.wav")
    assert done.exit_code == 0, done.output
    facts = json.loads(done.stdout.splitlines()[-1])
    assert facts["n"] == 2
    assert facts["mel_db"] > 1
    assert -1 <= facts["stoi"] <= 1
    assert "words_apart" not in facts  # no recogniser is in this home, and that is said
    assert "Words are not counted" in done.output
    assert Path("s.wav").stat().st_size > 10_000
    done = run("data", "speech-set", "speech", "--codec", "codec")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout.splitlines()[-1])["documents_train"] > 40
    assert Path("speech-set/tokenizer/tokenloom.json").is_file()


def test_a_text_is_spoken_by_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hibari, "english_phonemes", lambda british: lambda text: "həlˈO.")
    tiny_speaker(tmp_path / "parrot")
    done = run("speak", "Hello.", "--model", tmp_path / "parrot", "-o", "a.wav", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["voice"] == f"own:{tmp_path / 'parrot'}"
    assert read_audio("a.wav")[1] == 16_000
    assert verify(Path("a.wav")).hidden[0].label
    done = run("speak", "Hello.", "--model", "parrot", "--voice", "heart")
    assert "model: found with --voice heart" in str(done.exception)

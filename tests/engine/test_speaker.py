"""A model that speaks, as a voice like any other: with random weights it speaks noise of the right form."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_speech import tiny_audio_codec, tiny_speaker

from tokenloom import hub
from tokenloom.engine.speaker import Speaker, open_speaker, open_voice, paced
from tokenloom.engine.voices import Voices
from tokenloom.sound import hibari, own, voices
from tokenloom.sound.say import Piece, say
from tokenloom.sound.voices import NoVoice


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_speaker(tmp_path_factory.mktemp("models") / "parrot")


@pytest.fixture(autouse=True)
def _home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TOKENLOOM_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(hibari, "english_phonemes", lambda british: lambda text: "həlˈO lˈO.")


def test_it_speaks_and_the_same_seed_says_the_same(folder: Path) -> None:
    voice = open_voice(f"own:{folder}")
    assert isinstance(voice, Speaker)
    assert (voice.rate, voice.languages) == (16_000, ("en",))
    one = voice.utter("Hello, hello.", 1.0, 5)
    assert one.dtype == np.float32
    assert len(one) % 320 == 0
    assert np.abs(one).max() <= 1
    assert np.array_equal(voice.utter("Hello, hello.", 1.0, 5), one)
    assert not np.array_equal(voice.utter("Hello, hello.", 1.0, 6), one)
    words = list(voice.codes("Hello, hello.", 1.0, 5))
    assert len(words) == 2
    assert all(len(codes) >= 1 and codes.min() >= 0 and codes.max() < 64 for codes in words)
    assert len(one) == 320 * sum(map(len, words))
    spoken = np.concatenate([sound for _, sound in say(voice, "Hello, hello. Hello!", seed=1)])
    assert np.isfinite(spoken).all()


def test_speed_leaves_frames_out_or_says_them_again(folder: Path) -> None:
    voice = open_voice(f"own:{folder}")
    usual, quick, slow = (len(voice.utter("Hello, hello.", speed, 5)) for speed in (1.0, 2.0, 0.5))
    assert quick == pytest.approx(usual / 2, abs=640)
    assert slow == pytest.approx(usual * 2, abs=640)
    assert paced(np.arange(6), 2.0, 1).tolist() == [0, 2, 4]
    assert paced(np.arange(4), 0.5, 2).tolist() == [0, 1, 0, 1, 2, 3, 2, 3]
    assert paced(np.zeros(0, np.int64), 1.5, 1).tolist() == []
    assert paced(np.arange(3), 4.0, 1).tolist() == [0]


def test_a_longer_sentence_than_the_model_is_said_word_by_word(folder: Path, monkeypatch: Any) -> None:
    voice = open_speaker(folder, "parrot")
    monkeypatch.setattr(voice, "_phonemes", lambda text: "ab cd " * 8)
    assert len(list(voice.codes("x", 1.0, 0))) == 16
    monkeypatch.setattr(voice, "_phonemes", lambda text: "")
    assert len(voice.utter("你好", 1.0, 0)) == 0
    monkeypatch.setattr(voice, "_phonemes", lambda text: "abcdefg " * 60)
    with pytest.raises(ValueError, match="say it in shorter sentences"):
        list(voice.codes("x", 1.0, 0))


def test_it_is_in_the_list_of_voices(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = hub.Found("parrot", folder, "hub")
    monkeypatch.setattr(hub, "installed", lambda: [found])
    listed = [info for info in own.known(Path()) if info.name == "own:parrot"]
    assert [info.languages for info in listed] == [("en",)]
    assert any(info.name == "own:parrot" for info in voices.known())
    monkeypatch.setattr(own, "find_spec", lambda name: None)
    assert own.known(Path()) == []


def test_the_engines_voices_speak_with_it(folder: Path) -> None:
    told: list[tuple[Any, str | None]] = []
    works = Voices()
    works.do("speak", (f"own:{folder}", Piece("Hello."), 1.0, 0), lambda *news: told.append(news))
    until = time.monotonic() + 60
    while not told and time.monotonic() < until:
        works.poll()
        time.sleep(0.01)
    (rate, samples), error = told[0]
    assert error is None
    assert rate == 16_000
    assert samples.dtype == np.float32


def test_what_does_not_speak(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(NoVoice, match="no model that speaks"):
        open_speaker(tmp_path, "own:x")
    with pytest.raises(ValueError, match="no model"):
        open_voice("own:nobody")
    with pytest.raises(NoVoice, match="none named 'nobody'"):
        open_voice("nobody")
    other = tiny_speaker(tmp_path / "other")
    (other / "sound").rename(tmp_path / "old")
    tiny_audio_codec(other / "sound", levels=(4, 4, 4), bands=20)
    with pytest.raises(ValueError, match="the model learned the codes of another"):
        open_speaker(other, "own:other")

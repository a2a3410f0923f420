"""What was heard as values and subtitles; the recogniser itself where its weights are here."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tokenloom import hub
from tokenloom.hub import store
from tokenloom.sound import recognise, subtitles
from tokenloom.sound.recognise import Ask, CannotHear, Heard, Segment, Word, recogniser_folder

HEAD = b"\x06\0\0\0\x0c\0WhisperSpec\0\x03\0\0\0" + b"\0" * 40


@pytest.fixture(autouse=True)
def _home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TOKENLOOM_HOME", str(tmp_path))


def heard(*segments: tuple[float, float, str]) -> Heard:
    return Heard("en", 100.0, tuple(Segment(a, b, text) for a, b, text in segments))


def test_srt_and_vtt() -> None:
    found = heard((0.0, 1.5, " Hello there."), (3600.25, 3601.0, " Bread & <butter> --> now."))
    assert subtitles.srt(found) == (
        "1\n00:00:00,000 --> 00:00:01,500\nHello there.\n\n"
        "2\n01:00:00,250 --> 01:00:01,000\nBread & <butter> -> now.\n"
    )
    assert subtitles.vtt(found).startswith("WEBVTT\n\n00:00:00.000 --> 00:00:01.500\nHello there.\n\n")
    assert "Bread &amp; &lt;butter&gt; --&gt; now." in subtitles.vtt(found)
    assert subtitles.srt(heard()) == ""
    assert subtitles.vtt(heard()) == "WEBVTT\n"


def test_long_segments_are_cut_between_words_in_order() -> None:
    words = [f"word{i}" for i in range(60)]
    found = subtitles.cues(heard((0.0, 30.0, " " + " ".join(words)), (29.0, 31.0, " after")))
    assert " ".join(cue.text.replace("\n", " ") for cue in found).split() == [*words, "after"]
    assert all(len(line) <= subtitles.LINE for cue in found for line in cue.text.split("\n"))
    assert all(cue.text.count("\n") < subtitles.LINES for cue in found)
    assert all(cue.start < cue.end for cue in found)
    assert all(a.end <= b.start for a, b in itertools.pairwise(found))


def test_long_chinese_is_cut_too() -> None:
    found = subtitles.cues(heard((0.0, 20.0, "字" * 100)))
    assert "".join(cue.text.replace("\n", "") for cue in found) == "字" * 100
    assert max(len(line) for cue in found for line in cue.text.split("\n")) <= subtitles.LINE // 2


def test_words_own_times_are_taken() -> None:
    words = tuple(Word(i * 1.0, i + 0.5, f" quite-long-word-{i}", 0.9) for i in range(12))
    segment = Segment(0.0, 12.0, "".join(word.text for word in words), words)
    found = subtitles.cues(Heard("en", 12.0, (segment,)))
    assert len(found) > 2
    assert found[0].start == 0.0
    assert {cue.end % 1 for cue in found} == {0.5}


@pytest.mark.parametrize(
    ("given", "why"),
    [({"temperature": 2.0}, "temperature: found 2.0"), ({"prompt": "x" * 3000}, "prompt: 3000 characters")],
)
def test_what_may_not_be_asked(given: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Ask(**given)


def test_a_recogniser_is_found_by_name_and_is_no_model_of_text() -> None:
    with pytest.raises(CannotHear, match="`loom pull whisper-base` gets one"):
        recogniser_folder()
    folder = store.folder_of("whisper-base")
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "model.bin").write_bytes(HEAD)
    assert hub.installed() == []
    assert [one.kind for one in hub.recognisers()] == ["ctranslate2"]
    assert recogniser_folder() == recogniser_folder("whisper-base") == folder
    (folder / "model.bin").write_bytes(b"\x80\x02}q\x00." * 10)
    assert hub.recognisers() == []


def test_a_model_of_text_is_no_recogniser() -> None:
    with pytest.raises(CannotHear, match="poet writes down no speech"):
        recogniser_folder("poet")


def test_without_the_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(recognise, "find_spec", lambda name: None)
    with pytest.raises(CannotHear, match=r"faster-whisper: not installed; .* pip install"):
        recognise.Recogniser(tmp_path)


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    pytest.importorskip("faster_whisper")
    (tmp_path / "tokenizer.json").write_text('{"model": {"type": "BPE", "vocab": {}, "merges": []}}')
    with pytest.raises(CannotHear, match="cannot be opened as a recogniser"):
        recognise.Recogniser(tmp_path)


@pytest.mark.slow
def test_the_embedded_voice_is_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TOKENLOOM_HOME")
    pytest.importorskip("faster_whisper")
    pytest.importorskip("hibari")
    from tokenloom.sound import say
    from tokenloom.sound.audio import resample
    from tokenloom.sound.voices import open_voice

    if not hub.recognisers():
        pytest.skip("no recogniser is here: loom pull whisper-base")
    voice = open_voice("heart")
    text = "The quick brown fox jumps over the lazy dog. It was seen on May third."
    sound = np.concatenate([piece for _, piece in say.say(voice, text)])
    recogniser = recognise.Recogniser(recogniser_folder(), threads=1)
    found = recogniser.hear(resample(sound, voice.rate, recognise.RATE), Ask(words=True))
    assert found.language == "en"
    plain = re.sub(r"[^a-z ]", "", found.text.lower())
    assert plain.startswith("the quick brown fox jumps over the lazy dog it was seen on may")
    assert recogniser.hear(np.zeros(48_000, np.float32)).segments == ()
    noise = (0.001 * np.random.default_rng(0).standard_normal(80_000)).astype(np.float32)
    assert recogniser.hear(noise).text == ""
    with pytest.raises(ValueError, match="language: found 'klingon'"):
        recogniser.hear(sound, Ask("klingon"))

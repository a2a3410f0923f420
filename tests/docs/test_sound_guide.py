"""The guide to sound: its commands exist, are the same in both languages, and its examples run."""

from __future__ import annotations

import re
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from guides import (
    GUIDE,
    ONE_THREAD,
    check_command,
    check_links,
    command_of,
    commands,
    fences,
    named,
    run,
    shape,
    shell,
)

from tokenloom import trust
from tokenloom.sound.audio import read_audio

ENGLISH, CHINESE = GUIDE / "sound.en.md", GUIDE / "sound.zh.md"
STORY = "Once upon a time there was a loom.\n\nIt wove 1,024 tokens.\n"


@pytest.mark.parametrize("path", [ENGLISH, CHINESE], ids=lambda path: path.name)
def test_every_command_and_option_exists(path: Path) -> None:
    found = {line[line.index("loom ") :] for line in named(path) if re.match(r"loom |echo .*\| loom ", line)}
    assert len(found) > 30
    for line in found:
        check_command(line)


@pytest.mark.parametrize(("part", "name"), [(1, "speak"), (2, "transcribe"), (3, "compose")])
def test_every_option_is_told(part: int, name: str) -> None:
    options = {parameter.opts[0] for parameter in command_of([name]).params}
    for path in (ENGLISH, CHINESE):
        told = re.split(r"^## ", path.read_text("utf-8"), flags=re.M)[part]
        if name == "transcribe":
            told += "--output"  # by its short form
        assert {one for one in options if one.startswith("--")} <= set(re.findall(r"--[a-z-]+", told))


def test_every_field_of_music_is_told() -> None:
    from tokenloom.serve.schema_music import MusicRequest

    for path in (ENGLISH, CHINESE):
        told = set(re.findall(r"`\"?([a-z_]+)", path.read_text("utf-8")))
        assert set(MusicRequest.model_fields) - {"model", "answer", "lang", "label", "user"} <= told


def test_both_languages_say_the_same() -> None:
    assert commands(ENGLISH) == commands(CHINESE)
    assert fences(ENGLISH, "text") == fences(CHINESE, "text")
    codes = [[re.sub(r"  #.*", "", c) for c in fences(path, "python")] for path in (ENGLISH, CHINESE)]
    assert codes[0] == codes[1]
    assert shape(ENGLISH) == shape(CHINESE)


def test_the_links_lead_somewhere() -> None:
    for path in (ENGLISH, CHINESE):
        check_links(path)


@pytest.mark.slow
def test_composing_runs(tmp_path: Path) -> None:
    """The commands and the Python examples of music, by the composer that ships."""
    part = ENGLISH.read_text("utf-8").partition("## Composing")[2].partition("## The API")[0]
    (verified,) = [one for one in fences(ENGLISH, "sh") if "loom verify" in one]
    lines = "".join(re.findall(r"^```sh\n(.*?)^```", part, re.S | re.M)) + verified
    for command in lines.splitlines():
        shell(command, tmp_path, **ONE_THREAD)
    for name in ("reel.wav", "reel-zh.svg", "air-2.png", "longer.mid", "mended.mid", "full.mp3"):
        assert trust.verify(tmp_path / name).ok, name
    for code in (one for one in fences(ENGLISH, "python") if "tl.load" in one or "engrave" in one):
        if "engrave" not in code or find_spec("verovio"):
            run([sys.executable, "-c", code], tmp_path, **ONE_THREAD)


@pytest.mark.slow
def test_speaking_runs(tmp_path: Path) -> None:
    pytest.importorskip("hibari", reason="needs the embedded voice")
    (tmp_path / "story.txt").write_text(STORY)
    part = ENGLISH.read_text("utf-8").partition("### Voices")[0]
    for command in "".join(re.findall(r"^```sh\n(.*?)^```", part, re.S | re.M)).splitlines():
        shell(command, tmp_path, **ONE_THREAD)
    for name in ("hello.wav", "story.flac", "counted.mp3", "marked.wav"):
        assert trust.verify(tmp_path / name).ok, name
    (code,) = [one for one in fences(ENGLISH, "python") if "open_voice" in one]
    assert len(run([sys.executable, "-c", code], tmp_path, **ONE_THREAD).splitlines()) == 2


@pytest.mark.slow
def test_the_voice_of_ones_own_speaks(tmp_path: Path) -> None:
    """The commands of the voice and the codec that ship."""
    pytest.importorskip("hibari", reason="needs its phonemes")
    part = ENGLISH.read_text("utf-8").partition("## A voice of one's own")[2]
    shell('loom speak "Hello there." -o hello.wav', tmp_path, **ONE_THREAD)
    for command in "".join(re.findall(r"^```sh\n(.*?)^```", part, re.S | re.M)).splitlines():
        shell(command, tmp_path, **ONE_THREAD)
    said, again = (read_audio(tmp_path / name) for name in ("light.wav", "again.wav"))
    assert trust.verify(tmp_path / "light.wav").ok
    assert trust.verify(tmp_path / "again.wav").ok
    assert 2 < len(said[0]) / said[1] < 8
    assert np.abs(again[0]).max() > 0.05

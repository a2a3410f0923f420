"""The guide to pictures: its commands exist, are the same in both languages, and its examples run."""

from __future__ import annotations

import re
import sys
from pathlib import Path

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
from PIL import Image

from tokenloom import trust

ENGLISH, CHINESE = GUIDE / "pictures.en.md", GUIDE / "pictures.zh.md"


@pytest.mark.parametrize("path", [ENGLISH, CHINESE], ids=lambda path: path.name)
def test_every_command_and_option_exists(path: Path) -> None:
    found = {line for line in named(path) if line.startswith("loom ")}
    assert len(found) > 30
    for line in found:
        check_command(line)


def test_every_option_of_drawing_is_told() -> None:
    command = command_of(["draw"])
    # What diffusion models alone take is no matter of this guide.
    plain = [
        parameter for parameter in command.params if "diffusion" not in (getattr(parameter, "help", "") or "")
    ]
    options = {parameter.opts[0] for parameter in plain if parameter.opts[0].startswith("--")}
    for path in (ENGLISH, CHINESE):
        table = re.findall(r"^\| (`--.*?`) \|", path.read_text("utf-8"), re.M)
        assert set(re.findall("`(--[a-z-]+)`", " ".join(table))) >= options - {"--help"}


def test_both_languages_say_the_same() -> None:
    assert commands(ENGLISH) == commands(CHINESE)
    assert fences(ENGLISH, "text") == fences(CHINESE, "text")
    assert fences(ENGLISH, "json") == fences(CHINESE, "json")
    codes = [[re.sub(r"#.*|\"text\": .*", "", c) for c in fences(p, "python")] for p in (ENGLISH, CHINESE)]
    assert codes[0] == codes[1]
    assert shape(ENGLISH) == shape(CHINESE)


def test_the_links_lead_somewhere() -> None:
    for path in (ENGLISH, CHINESE):
        check_links(path)


@pytest.mark.slow
@pytest.mark.parametrize(("word", "said"), [("FSQ(", "685"), ("VectorAutoencoder(", "lost: 1.3%")])
def test_the_lessons_run(word: str, said: str, tmp_path: Path) -> None:
    code = next(code for code in fences(ENGLISH, "python") if word in code)
    assert said in run([sys.executable, "-c", code], tmp_path, **ONE_THREAD)


@pytest.mark.slow
def test_drawing_runs(tmp_path: Path) -> None:
    """The commands and the Python example up to the API, by the painter that ships."""
    mask = Image.new("L", (512, 512))
    mask.paste(255, (0, 0, 256, 256))
    mask.save(tmp_path / "mask.png")
    before = ENGLISH.read_text("utf-8").partition("## The API")[0]
    lines = re.findall(r"^```sh\n(.*?)^```", before, re.S | re.M)
    (code,) = re.findall(r"^```python\n(.*?)^```", before, re.S | re.M)
    for command in "".join(lines).splitlines():
        shell(command, tmp_path, **ONE_THREAD)
    for name in ("fox-4.png", "fox.webp", "crowned.png", "fox-1-twemoji.png"):
        assert trust.verify(tmp_path / name).ok, name
    run([sys.executable, "-c", code], tmp_path, **ONE_THREAD)

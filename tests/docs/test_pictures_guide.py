"""The guide to pictures: its commands exist, are the same in both languages, and its examples run."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from test_train_guide import command_of, commands, fences, named
from tiny_painter import tiny_painter

GUIDE = Path(__file__).parents[2] / "docs" / "guide"
ENGLISH, CHINESE = GUIDE / "pictures.en.md", GUIDE / "pictures.zh.md"


@pytest.mark.parametrize("path", [ENGLISH, CHINESE], ids=lambda path: path.name)
def test_every_command_and_option_exists(path: Path) -> None:
    found = {line for line in named(path) if line.startswith("loom ")}
    assert len(found) > 30
    for line in found:
        words = shlex.split(line)[1:]
        command = command_of(words)
        assert command.name in words, f"{line}: no such command"
        known = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in words if re.match("--?[a-z]", word)} <= known, line


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
    shapes = [re.findall(r"^(#+) |^(\||- )", p.read_text("utf-8"), re.M) for p in (ENGLISH, CHINESE)]
    assert shapes[0] == shapes[1]


def test_the_links_lead_somewhere() -> None:
    for path in (ENGLISH, CHINESE):
        text = path.read_text(encoding="utf-8")
        for link in re.findall(r"\]\((?!https?:)([^)#]+)", text):
            assert (path.parent / link).exists(), f"{path.name} links to {link}"
        for anchor in re.findall(r"\]\(#([^)]+)\)", text):
            heads = [head.lower().replace(" ", "-") for head in re.findall(r"^#+ (.*)", text, re.M)]
            assert anchor in heads, f"{path.name} links to #{anchor}"


@pytest.mark.slow
@pytest.mark.parametrize(("word", "said"), [("FSQ(", "685"), ("VectorAutoencoder(", "lost: 1.3%")])
def test_the_lessons_run(word: str, said: str, tmp_path: Path) -> None:
    code = next(code for code in fences(ENGLISH, "python") if word in code)
    assert said in run([sys.executable, "-c", code], tmp_path)


@pytest.mark.slow
def test_drawing_runs(tmp_path: Path) -> None:
    """The commands and the Python example up to the API, by a model of random weights."""
    tiny_painter(tmp_path / "painter")
    mask = Image.new("L", (512, 512))
    mask.paste(255, (0, 0, 256, 256))
    mask.save(tmp_path / "mask.png")
    before = ENGLISH.read_text("utf-8").partition("## The API")[0]
    lines = re.findall(r"^```sh\n(.*?)^```", before, re.S | re.M)
    (code,) = re.findall(r"^```python\n(.*?)^```", before, re.S | re.M)
    for command in ["loom pull ./painter", *"".join(lines).splitlines()]:
        assert run(["bash", "-c", command], tmp_path).strip(), command
    for name in ("fox-4.png", "fox.webp", "crowned.png", "fox-1-twemoji.png"):
        assert (tmp_path / name).is_file(), name
    assert run([sys.executable, "-c", code], tmp_path).strip()


def run(words: list[str], place: Path) -> str:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    home = {"PATH": path, "TOKENLOOM_HOME": str(place / "home"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        words, cwd=place, env={**os.environ, **home}, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
    return done.stdout

"""The guide to training: its commands exist, are the same in both languages, and run as they stand."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from tokenloom.cli import app

GUIDE = Path(__file__).parents[2] / "docs" / "guide"
ENGLISH, CHINESE = GUIDE / "train.en.md", GUIDE / "train.zh.md"


def fences(path: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", path.read_text(encoding="utf-8"), re.S | re.M)


def commands(path: Path) -> list[str]:
    return [line.strip() for line in "".join(fences(path, "sh")).splitlines() if line.strip()]


def named(path: Path) -> set[str]:
    """Every `loom ...` of the text, in a fence or in the run of a sentence."""
    text = path.read_text(encoding="utf-8")
    inline = re.findall(r"`(loom [^`\n]+)`", text)
    return {*inline, *commands(path), *"".join(fences(path, "text")).splitlines()}


def command_of(words: list[str]) -> Any:
    """The command that words lead to; a word that is no command of its group is the first argument."""
    found: Any = get_command(app)
    for word in words:
        inner = getattr(found, "commands", {})
        if word not in inner:
            break
        found = inner[word]
    return found


@pytest.mark.parametrize("path", [ENGLISH, CHINESE], ids=lambda path: path.name)
def test_every_command_and_option_exists(path: Path) -> None:
    found = named(path)
    assert len(found) > 25
    for line in found:
        words = shlex.split(line)[1:]
        command = command_of(words)
        assert command.name in words, f"{line}: no such command"
        known = {option for parameter in command.params for option in parameter.opts}
        known |= {option for parameter in command.params for option in parameter.secondary_opts}
        options = {word.partition("=")[0] for word in words if word.startswith("--")}
        assert options <= known, f"{line}: {options - known}"


def test_both_languages_have_the_same_commands_and_recipes() -> None:
    assert commands(ENGLISH) == commands(CHINESE)
    assert fences(ENGLISH, "toml") == fences(CHINESE, "toml")
    for recipe in fences(ENGLISH, "toml"):
        tomllib.loads(recipe)
    rows = [re.findall(r"^(#+) |^(\||- |\d\. )", p.read_text("utf-8"), re.M) for p in (ENGLISH, CHINESE)]
    assert rows[0] == rows[1]


def test_the_links_lead_somewhere() -> None:
    for path in (ENGLISH, CHINESE):
        for link in re.findall(r"\]\((?!https?:)([^)#]+)", path.read_text(encoding="utf-8")):
            assert (path.parent / link).exists(), f"{path.name} links to {link}"


@pytest.mark.slow
def test_the_commands_run_in_order(tmp_path: Path) -> None:
    for recipe in fences(ENGLISH, "toml"):
        name = recipe.partition("\n")[0].removeprefix("# ")
        (tmp_path / name).write_text(recipe, encoding="utf-8")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for command in commands(ENGLISH):
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", command],
            cwd=tmp_path,
            env={**os.environ, "PATH": path},
            input="白日依山尽\n/exit\n",
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        assert done.stdout.strip(), f"{command} printed nothing"

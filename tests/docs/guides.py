"""What the tests of the pages share: the fences, commands and links of a page, and running a command."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

from typer.main import get_command

from tokenloom.cli import app

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs" / "guide"
BIN = Path(sys.executable).parent
ONE_THREAD = {"OMP_NUM_THREADS": "1"}
"""For `run`: small models gain nothing from more."""


def fences(path: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", path.read_text(encoding="utf-8"), re.S | re.M)


def commands(path: Path) -> list[str]:
    """The lines of a page's `sh` fences, without comments."""
    lines = "".join(fences(path, "sh")).splitlines()
    return [line.split(" #")[0].strip() for line in lines if line.strip() and not line.startswith("#")]


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


def check_command(line: str) -> None:
    """Fails unless a `loom ...` line names a command, and options that it has."""
    words = shlex.split(line)[1:]
    command = command_of(words)
    assert command.name in words, f"{line}: no such command"
    known = {o for parameter in command.params for o in (*parameter.opts, *parameter.secondary_opts)}
    options = {word.partition("=")[0] for word in words if re.match("--?[a-z]", word)}
    assert options <= known, f"{line}: {options - known}"


def shape(path: Path) -> list[tuple[str, ...]]:
    """The headings, rows of tables and items of lists of a page, without their words."""
    return re.findall(r"^(#+) |^(\||- |\d\. )", path.read_text(encoding="utf-8"), re.M)


def check_links(path: Path) -> None:
    """Fails unless every link of a page to a file, or to a heading of its own, leads somewhere."""
    text = path.read_text(encoding="utf-8")
    for link in re.findall(r"\]\((?!https?:)([^)#]+)", text):
        assert (path.parent / link).exists(), f"{path.name} links to {link}"
    heads = [head.lower().replace(" ", "-") for head in re.findall(r"^#+ (.*)", text, re.M)]
    for anchor in re.findall(r"\]\(#([^)]+)\)", text):
        assert anchor in heads, f"{path.name} links to #{anchor}"


def environment(**more: str) -> dict[str, str]:
    """This environment, with the programs beside this Python first."""
    return {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", **more}


def run(words: list[str], place: Path, said: str = "", **more: str) -> str:
    """What a program says, run in a folder with `said` at its input; fails where it does, or says nothing."""
    env = environment(**more)
    done = subprocess.run(words, cwd=place, env=env, input=said, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
    assert done.stdout.strip(), f"{words} printed nothing"
    return done.stdout


def shell(command: str, place: Path, said: str = "", **more: str) -> str:
    """`run` for a line of a shell; a failure anywhere in a pipe is one."""
    return run(["bash", "-o", "pipefail", "-c", command], place, said, **more)

"""The guide to training: its commands exist, are the same in both languages, and run as they stand."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from guides import GUIDE, check_command, check_links, commands, fences, named, shape, shell

ENGLISH, CHINESE = GUIDE / "train.en.md", GUIDE / "train.zh.md"


@pytest.mark.parametrize("path", [ENGLISH, CHINESE], ids=lambda path: path.name)
def test_every_command_and_option_exists(path: Path) -> None:
    found = named(path)
    assert len(found) > 25
    for line in found:
        check_command(line)


def test_both_languages_have_the_same_commands_and_recipes() -> None:
    assert commands(ENGLISH) == commands(CHINESE)
    assert fences(ENGLISH, "toml") == fences(CHINESE, "toml")
    for recipe in fences(ENGLISH, "toml"):
        tomllib.loads(recipe)
    assert shape(ENGLISH) == shape(CHINESE)


def test_the_links_lead_somewhere() -> None:
    for path in (ENGLISH, CHINESE):
        check_links(path)


@pytest.mark.slow
def test_the_commands_run_in_order(tmp_path: Path) -> None:
    for recipe in fences(ENGLISH, "toml"):
        name = recipe.partition("\n")[0].removeprefix("# ")
        (tmp_path / name).write_text(recipe, encoding="utf-8")
    for command in commands(ENGLISH):
        shell(command, tmp_path, "白日依山尽\n/exit\n")

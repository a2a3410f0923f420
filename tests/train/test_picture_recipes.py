"""The recipes of a picture model fit together: what the heads of all three say in order makes their data."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from tokenloom.cli import app
from tokenloom.config import read_recipe
from tokenloom.data.picture_splits import SPLITS
from tokenloom.train.recipe import Recipe
from tokenloom.train.shipped import FOLDER, recipe_file

ORDER = ("picture-codec", "painter", "painter-more", "picture-judge")
HEADS = {name: (FOLDER / f"{name}.toml").read_text("utf-8").partition("\nname =")[0] for name in ORDER}


def command_of(words: list[str]) -> Any:
    found: Any = get_command(app)
    for word in words:
        found = getattr(found, "commands", {}).get(word) or found
    return found


def steps(name: str) -> list[list[str]]:
    """The commands that stand on lines of their own."""
    return [shlex.split(line) for line in re.findall(r"^#   (.+)$", HEADS[name], re.M)]


@pytest.mark.parametrize("name", ORDER)
def test_every_command_of_a_head_exists(name: str) -> None:
    inline = [shlex.split(line) for line in re.findall(r"`(loom [^`\n]+)`", HEADS[name].replace("\n# ", " "))]
    for words in [*(step for step in steps(name) if step[0] == "loom"), *inline]:
        command = command_of(words[1:])
        assert command.name in words, words
        known = {"--help", *(option for parameter in command.params for option in parameter.opts)}
        assert {word for word in words if re.match("--?[a-z]", word)} <= known, words
        if words[1] == "train" and len(words) > 2 and "--resume" not in words:
            assert recipe_file(words[2]).is_file()


def test_the_heads_in_order_make_what_the_recipes_name() -> None:
    codec, painter, more, judge = (read_recipe(Recipe, FOLDER / f"{name}.toml") for name in ORDER)
    made: set[str] = set()
    named = {
        "picture-codec": [codec.pictures.sprites, *codec.pictures.further],
        "painter": [painter.model.tokenizer, *painter.data.train, *painter.data.held_out],
        "painter-more": [*more.data.train, *more.data.held_out],
        "picture-judge": [judge.judge.sprites, judge.judge.tokenizer, judge.judge.codec],
    }
    for name in ORDER:
        for words in steps(name):
            if words[:2] == ["loom", "train"]:
                missing = set(named[words[2]]) - made
                assert not missing, f"{words[2]} is trained before anything makes {missing}"
            elif words[0] == "cp":
                made.add(words[-1])
            elif words[1] == "image" and words[2] == "set":
                out = words[words.index("-o") + 1]
                assert {words[3], words[words.index("--codec") + 1]} <= made
                splits = ["new" if split == "train" else split for split in SPLITS]
                made |= {f"{out}/tokenizer", f"{out}/train", *(f"{out}/held/{split}" for split in splits)}
            else:
                made.add(words[words.index("-o") + 1])
    assert steps("picture-judge")[-1][:3] == ["loom", "image", "join"]
    assert "painter" in made


def test_the_tokenizer_lies_where_its_own_command_puts_it() -> None:
    judge = read_recipe(Recipe, FOLDER / "picture-judge.toml").judge
    (out,) = (p for p in command_of(["image", "tokenizer"]).params if p.name == "out")
    assert Path(judge.tokenizer) == Path(out.default)

"""The [clean] table: presets, steps that are off, unknown keys and wrong types."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tokenloom.data.clean import steps
from tokenloom.data.quality import Gopher
from tokenloom.data.sets import load_recipe, recipe_of
from tokenloom.data.settings import Clean, clean_settings


def names(settings: Clean) -> list[str]:
    return [step.name for step in steps(settings)]


def test_presets() -> None:
    assert clean_settings() == Clean()
    assert names(Clean()) == [
        "size", "repair", "language", "repetition", "gopher", "c4", "fineweb", "chinese", "code", "scrub",
    ]  # fmt: skip
    assert names(clean_settings(preset="trusted")) == ["size", "repair", "language", "scrub"]


def test_steps_are_switched_and_changed() -> None:
    made = clean_settings({"fineweb": False, "gopher": {"min_words": 20}, "held_out": 0}, c4=True)
    assert made.fineweb is None
    assert made.gopher == Gopher(min_words=20)
    assert made.held_out == 0
    assert clean_settings(preset="trusted", gopher=True).gopher == Gopher()
    assert clean_settings(preset="trusted", gopher={"min_words": 5}).gopher == Gopher(min_words=5)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"gofer": True}, "clean.gofer: no such setting; did you mean gopher?"),
        ({"gopher": {"min_word": 3}}, "clean.gopher.min_word: no such setting; did you mean min_words?"),
        ({"preset": "wep"}, "clean.preset: found 'wep'; did you mean web?"),
        ({"gopher": 3}, "clean.gopher: found 3; allowed is true, false or a table"),
        ({"gopher": {"min_words": "3"}}, "clean.gopher.min_words: found '3'; allowed is a whole number"),
        ({"gopher": {"min_words": 3.5}}, "clean.gopher.min_words: found 3.5; allowed is a whole number"),
        ({"gopher": {"min_words": True}}, "clean.gopher.min_words: found True; allowed is a whole number"),
        ({"gopher": {"max_symbols": -1}}, "clean.gopher.max_symbols: found -1; allowed is 0 or more"),
        (
            {"gopher": {"max_symbols": float("nan")}},
            "clean.gopher.max_symbols: found nan; allowed is 0 or more",
        ),
        ({"language": {"keep": "en"}}, "clean.language.keep: found 'en'; allowed is a list of texts"),
        ({"repair": 1}, "clean.repair: found 1; allowed is true or false"),
        ({"held_out": 1}, "clean.held_out: found 1.0; allowed is 0 up to"),
        ({"contamination": {"sets": ["a"]}}, "clean.contamination.sets: found ['a']; allowed is a table"),
        ({"chinese": {"convert": "t2x"}}, "clean.chinese.convert: found 't2x'"),
        ({"scrub": {"kinds": ["mail"]}}, "clean.scrub.kinds: found 'mail'; did you mean email?"),
    ],
)
def test_what_cannot_be_is_refused(table: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match="^" + re.escape(message)):
        clean_settings(table)


def test_a_recipe_and_its_changes(tmp_path: Path) -> None:
    file = tmp_path / "set.toml"
    file.write_text(
        'paths = ["a.txt"]\nout = "o"\n[clean]\npreset = "trusted"\n[clean.gopher]\nmin_words = 7\n'
    )
    changes = ["clean.gopher.max_words=9", "workers=2", "text_field=body", "clean.repair=false"]
    recipe = recipe_of(load_recipe(file), changes)
    assert recipe.clean.gopher == Gopher(min_words=7, max_words=9)
    assert (recipe.workers, recipe.text_field, recipe.clean.repair) == (2, ("body",), False)


@pytest.mark.parametrize(
    ("table", "changes", "message"),
    [
        ({"path": ["a"], "out": "o"}, [], "path: no such setting; did you mean paths?"),
        ({"out": "o"}, [], "paths: is missing"),
        ({"paths": ["a"], "out": "o", "workers": "2"}, [], "workers: found '2'; allowed is a whole number"),
        ({"paths": 3, "out": "o"}, [], "paths: found 3; allowed is a text or a list of texts"),
        ({"paths": ["a"], "out": "o", "clean": 3}, [], "clean: found 3; allowed is a table"),
        ({"paths": ["a"], "out": "o"}, ["clean"], "--set: found 'clean'; allowed is a.b=value"),
        ({"paths": ["a"], "out": "o"}, ["clean.gopher=maybe"], "clean.gopher: found 'maybe'"),
    ],
)
def test_recipes_that_cannot_be(table: dict[str, Any], changes: list[str], message: str) -> None:
    with pytest.raises(ValueError, match="^" + re.escape(message)):
        recipe_of(table, changes)


def test_a_recipe_that_is_not_toml_names_its_file(tmp_path: Path) -> None:
    (tmp_path / "set.toml").write_text("paths = [")
    with pytest.raises(ValueError, match=r"set\.toml: "):
        load_recipe(tmp_path / "set.toml")

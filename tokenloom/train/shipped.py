"""The recipes that come along, by name: `loom train poet`, `loom train couplets/sft`.

Not their data, which a comment at each one's head says how to make: the paths in a recipe are relative to the
folder one works in, wherever the recipe lies.
"""

from __future__ import annotations

import tomllib
from pathlib import Path

FOLDER = Path(__file__).parent.parent / "recipes"


def shipped_recipes() -> dict[str, Path]:
    """Name -> file of each recipe of the package; other files that lie beside them have no `name`."""
    files = {file.relative_to(FOLDER).with_suffix("").as_posix(): file for file in FOLDER.rglob("*.toml")}
    return {
        name: files[name] for name in sorted(files) if "name" in tomllib.loads(files[name].read_text("utf-8"))
    }


def recipe_file(asked: str) -> Path:
    """A recipe's file by its path or, where no file is there, by the name of one that comes along.

    ValueError names what there is.
    """
    path = Path(asked)
    if path.is_file():
        return path
    known = shipped_recipes()
    if (name := asked.removesuffix(".toml")) in known:
        return known[name]
    there = (
        f"{asked} is a folder; a run in it goes on with --resume" if path.is_dir() else f"nothing at {asked}"
    )
    raise ValueError(f"recipe: {there}; allowed: a TOML file, or one that comes along: {', '.join(known)}")

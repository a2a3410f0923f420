"""The vocabulary of made pictures: colours, counts, places, relations, grounds, styles, well-known things.

Read from picture_words.toml and picture_things.toml beside this file. Not a dictionary: emoji that are not
among the well-known things keep the labels that Unicode's CLDR gives them.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

Lang = Literal["en", "zh"]
LANGS: tuple[Lang, ...] = ("en", "zh")
COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "white", "grey")
TRAINED_STYLES = ("fluent", "noto", "twemoji")
CLIPART = "clipart"
"""Trained too, but of some emoji only, by many hands, up to three of one: no pair is held out of it."""
UNSEEN_STYLE = "openmoji"
_FOLDER = Path(__file__).parent
_TONES = re.compile(r"-?1f3f[b-f]")


@dataclass(frozen=True, slots=True)
class Noun:
    """A well-known thing. key: its English noun, which is also its name in the splits."""

    key: str
    plural: str
    zh: str
    measure: str
    hexcodes: tuple[str, ...]
    kind: str
    """The table it stands in: animals, food, ..."""

    @property
    def mass(self) -> bool:
        """Whether one of it takes no article in English: "bread", not "a bread"."""
        return self.plural.endswith(f" of {self.key}")


def plain_hexcode(hexcode: str) -> str:
    """Lower case, without the variation selector: the form in which all sources agree."""
    return re.sub(r"-?fe0f", "", hexcode.lower()).strip("-")


def base_hexcode(hexcode: str) -> str:
    """Without skin tones too: an emoji and its skin-tone variants have one."""
    return _TONES.sub("", plain_hexcode(hexcode)).strip("-")


@lru_cache(1)
def words() -> Mapping[str, Any]:
    """The tables of picture_words.toml."""
    return tomllib.loads((_FOLDER / "picture_words.toml").read_text(encoding="utf-8"))


@lru_cache(1)
def nouns() -> Mapping[str, Noun]:
    """Key -> well-known thing, in the file's order."""
    tables = tomllib.loads((_FOLDER / "picture_things.toml").read_text(encoding="utf-8"))
    found: dict[str, Noun] = {}
    for kind, table in tables.items():
        for key, text in table.items():
            hexcodes, zh, measure, *plural = text.split(" ", 3)
            found[key] = Noun(
                key, plural[0] if plural else f"{key}s", zh, measure, tuple(hexcodes.split(",")), kind
            )
    return found


@lru_cache(1)
def _by_hexcode() -> Mapping[str, Noun]:
    return {hexcode: noun for noun in nouns().values() for hexcode in noun.hexcodes}


def noun_of(hexcode: str) -> Noun | None:
    """The well-known thing an emoji shows, or None."""
    return _by_hexcode().get(hexcode)


def key_of(hexcode: str) -> str:
    """What an emoji is called in the splits: the noun of a well-known thing, else its hexcode."""
    noun = noun_of(hexcode)
    return noun.key if noun else base_hexcode(hexcode)


def family(hexcode: str) -> str:
    """One hexcode for what is one thing in other colours or skin tones (hearts, books, hands)."""
    noun = noun_of(hexcode)
    return noun.hexcodes[0] if noun else base_hexcode(hexcode)


def word(table: str, name: str, lang: Lang) -> str:
    """A word such as word("colours", "red", "zh")."""
    found: str = words()[table][name][LANGS.index(lang)]
    return found

"""The catalogue: models known by a short name. Not what is installed (store.py).

Source: catalogue.toml beside this file, whose head explains each field.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from importlib import resources
from typing import Any, Literal

NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")
SAMPLING = frozenset({"temperature", "top_p", "top_k", "min_p", "repetition_penalty"})
SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Entry:
    """One model of the catalogue."""

    name: str
    source: str
    """pypi:DISTRIBUTION or hub:ORG/NAME."""
    revision: str
    size: int
    """Bytes on disk; rounded for Hub entries."""
    params: int
    licence: str
    abilities: tuple[str, ...]
    languages: tuple[str, ...]
    context: int
    summary: dict[str, str]
    file: str = ""
    """The wheel's member, or the GGUF block type; empty for a safetensors folder."""
    sha256: str = ""
    archive_sha256: str = ""
    more: Mapping[str, str] = field(default_factory=dict)
    """Further wheels of the same revision, DISTRIBUTION to sha256; `file` is then joined from FILE.part1,
    FILE.part2 and so on, which lie in them in this order."""
    beside: Mapping[str, str] = field(default_factory=dict)
    """Smaller files to take out of the wheels as well, by name, with their sha256."""
    sampling: Mapping[str, float] = field(default_factory=dict)
    """Recommended: temperature, top_p, top_k, min_p, repetition_penalty."""

    @property
    def road(self) -> Literal["pypi", "hub"]:
        """How it is fetched."""
        return "pypi" if self.source.startswith("pypi:") else "hub"

    @property
    def origin(self) -> str:
        """The distribution or the Hub repository."""
        return self.source.partition(":")[2]


def parse_catalogue(text: str) -> dict[str, Entry]:
    """The entries of a catalogue's TOML text by name; ValueError names the entry and the field at fault."""
    known = {f.name for f in fields(Entry)} - {"name"}
    needed = known - {"file", "sha256", "archive_sha256", "more", "beside", "sampling"}
    entries = {}
    for name, table in tomllib.loads(text).items():
        if not NAME.fullmatch(name) or "--" in name:
            raise ValueError(f"catalogue: {name!r} is no name; allowed are a-z 0-9 . _ and single -")
        if extra := sorted(set(table) - known):
            raise ValueError(f"catalogue: [{name}] has unknown {extra}; known are {sorted(known)}")
        if missing := sorted(needed - set(table)):
            raise ValueError(f"catalogue: [{name}] lacks {missing}")
        entries[name] = _entry(name, table)
    return entries


def _entry(name: str, table: dict[str, Any]) -> Entry:
    lists = {key: tuple(table[key]) for key in ("abilities", "languages")}
    entry = Entry(name=name, **{**table, **lists})
    if not re.fullmatch(r"pypi:[A-Za-z0-9._-]+|hub:[\w.-]+/[\w.-]+", entry.source):
        raise ValueError(
            f"catalogue: [{name}] source is {entry.source!r}; use pypi:DISTRIBUTION or hub:ORG/NAME"
        )
    if set(entry.summary) != {"en", "zh"}:
        raise ValueError(f"catalogue: [{name}] summary needs exactly en and zh, got {sorted(entry.summary)}")
    if entry.road == "pypi" and not (
        entry.file and SHA256.fullmatch(entry.sha256) and SHA256.fullmatch(entry.archive_sha256)
    ):
        raise ValueError(f"catalogue: [{name}] comes in a wheel: file, sha256 and archive_sha256 are needed")
    if not all(SHA256.fullmatch(value) for value in [*entry.more.values(), *entry.beside.values()]):
        raise ValueError(f"catalogue: [{name}] more and beside need a sha256 for each name")
    if unknown := sorted(set(entry.sampling) - SAMPLING):
        raise ValueError(f"catalogue: [{name}] sampling has {unknown}; known are {sorted(SAMPLING)}")
    return entry


@cache
def catalogue() -> dict[str, Entry]:
    """The shipped catalogue by name."""
    text = (resources.files("tokenloom.hub") / "catalogue.toml").read_text(encoding="utf-8")
    return parse_catalogue(text)

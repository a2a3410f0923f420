"""What a model's own files say: licence, context, whether it chats. For models outside the catalogue."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenloom.hub.pipeline import has_pipeline

LICENCE = re.compile(r"^license:[ \t]*[\"']?([\w.+ -]+?)[\"']?[ \t]*\r?$", re.MULTILINE)
MAX_BYTES = 8 << 20
CODEC, JUDGE = "codec", "judge"
"""Subfolders of a picture model: what turns its codes into pixels, and what compares words with pictures."""
PICTURES = ("draw", "edit", "restyle", "describe")
"""What a picture model does."""
DIFFUSION = ("draw", "edit", "restyle")
"""What a diffusion model does."""


@dataclass(frozen=True)
class Card:
    """Facts read from a model's files; empty or 0 where they say nothing."""

    licence: str = ""
    context: int = 0
    abilities: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()


def card_of_folder(folder: Path) -> Card:
    """The card of a folder in the Hub's layout: config.json, README.md, the chat template."""
    config = _json(folder / "config.json")
    inner = config.get("text_config")
    context = (inner if isinstance(inner, dict) else config).get("max_position_embeddings")
    readme = _head(folder / "README.md")
    licence = LICENCE.search(readme)
    chats = (folder / "chat_template.jinja").is_file() or bool(
        _json(folder / "tokenizer_config.json").get("chat_template")
    )
    known = context if isinstance(context, int) and not isinstance(context, bool) else 0
    does = PICTURES if has_codec(folder) else abilities(chats)
    if has_pipeline(folder):
        does = DIFFUSION
    return Card(licence[1] if licence else "", known, does, _languages(readme))


def has_codec(path: str | Path) -> bool:
    """Whether a model's path is that of a picture model: a folder with a codec in it."""
    return (Path(path) / CODEC / "config.json").is_file()


def abilities(chats: bool) -> tuple[str, ...]:
    """Of a model with or without a chat template."""
    return ("chat", "write") if chats else ("write",)


def _json(path: Path) -> dict[str, Any]:
    if not path.is_file() or path.stat().st_size > MAX_BYTES:
        return {}
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        return {}  # a damaged file says nothing here; loading the model names the fault
    return value if isinstance(value, dict) else {}


def _head(path: Path) -> str:
    """The YAML head of a model card."""
    if not path.is_file() or path.stat().st_size > MAX_BYTES:
        return ""
    text = path.read_text(encoding="utf-8", errors="replace").removeprefix("\ufeff").replace("\r\n", "\n")
    return text[4:].partition("\n---")[0] if text.startswith("---\n") else ""


def _languages(head: str) -> tuple[str, ...]:
    found = re.search(r"^language:[ \t]*(.*)\n((?:[ \t]*-[ \t]*.*\n?)*)", head + "\n", re.MULTILINE)
    if not found:
        return ()
    return tuple(re.findall(r"[A-Za-z]{2,3}(?:-[A-Za-z]+)?", found[1] or found[2]))[:6]

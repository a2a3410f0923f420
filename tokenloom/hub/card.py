"""What a model's own files say: licence, context, what it does. For models outside the catalogue."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenloom.hub.pipeline import has_pipeline
from tokenloom.hub.store import is_recogniser

LICENCE = re.compile(r"^license:[ \t]*[\"']?([\w.+ -]+?)[\"']?[ \t]*\r?$", re.MULTILINE)
MAX_BYTES = 8 << 20
CODEC, JUDGE = "codec", "judge"
"""Subfolders of a picture model: what turns its codes into pixels, and what compares words with pictures."""
PICTURES = ("draw", "edit", "restyle", "describe")
"""What a picture model does."""
DIFFUSION = ("draw", "edit", "restyle")
"""What a diffusion model does."""
COMPOSE = "compose"
"""What a model of music does."""
SPEECH = "sound"
"""Subfolder of a model that speaks: the codec that turns its codes into sound."""
SPEAK = "speak"
"""What such a model does."""
EVENTS, COMPOSE_MARK = "music", "<|compose|>"
"""What a composer's tokenizer has: the range of the events of music, and the mark of a new piece."""


@dataclass(frozen=True)
class Card:
    """Facts read from a model's files; empty or 0 where they say nothing."""

    licence: str = ""
    context: int = 0
    abilities: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()


def card_of(path: Path) -> Card:
    """The card of a model's folder or .gguf file."""
    if path.is_dir():
        return card_of_folder(path)
    from tokenloom.weights.errors import BadFile
    from tokenloom.weights.gguf import open_gguf

    try:
        with open_gguf(path) as file:
            meta = file.meta
            context = meta.get(f"{meta.get('general.architecture')}.context_length", 0)
            languages = meta.get("general.languages", [])
            chats = abilities("tokenizer.chat_template" in meta)
            return Card(str(meta.get("general.license", "")), int(context), chats, tuple(languages))
    except (BadFile, OSError):
        return Card()  # as a damaged folder; loading the model names the fault


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
    does = _made(folder) or (("transcribe",) if is_recogniser(folder) else abilities(chats))
    return Card(licence[1] if licence else "", known, does, _languages(readme))


def has_codec(path: str | Path) -> bool:
    """Whether a model's path is that of a picture model: a folder with a codec in it."""
    return (Path(path) / CODEC / "config.json").is_file()


def composes(path: str | Path) -> bool:
    """Whether a model's path is that of a composer: its tokenizer has the events of music and their mark."""
    folder = Path(path)
    ranges = _json(folder / "tokenloom.json").get("ranges")
    if isinstance(ranges, list):
        ranges = [one.get("name") for one in ranges if isinstance(one, dict)]
    if not isinstance(ranges, list | dict) or EVENTS not in ranges:
        return False
    added = _json(folder / "tokenizer.json").get("added_tokens")
    return isinstance(added, list) and any(
        isinstance(one, dict) and one.get("content") == COMPOSE_MARK for one in added
    )


def speaks(path: str | Path) -> bool:
    """Whether a model's path is that of one that speaks: a folder with a codec of sound in it."""
    return (Path(path) / SPEECH / "config.json").is_file()


def _made(folder: Path) -> tuple[str, ...]:
    """What a model of pictures, music or speech does; empty for a model of text."""
    if has_pipeline(folder):
        return DIFFUSION
    does = (PICTURES if has_codec(folder) else ()) + ((COMPOSE,) if composes(folder) else ())
    return does + ((SPEAK,) if speaks(folder) else ())


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

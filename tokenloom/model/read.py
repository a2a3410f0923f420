"""The settings of a model on disk, without its weights and without torch."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from tokenloom.model.config import from_hub
from tokenloom.model.features import ModelConfig
from tokenloom.weights.gguf import Gguf, open_gguf
from tokenloom.weights.gguf_config import config_from_gguf


class BadModel(ValueError):
    """The weights do not fit the settings; the message names them."""


def read_config(path: str | Path) -> ModelConfig:
    """The settings of a folder or `.gguf` file, without its weights."""
    path = Path(path)
    if path.is_dir():
        return folder_config(path)
    with open_gguf(path) as gguf:
        return gguf_config(gguf)


def gguf_config(gguf: Gguf) -> ModelConfig:
    """The settings of an open GGUF file."""
    return from_hub(config_from_gguf(gguf))


def folder_config(folder: Path) -> ModelConfig:
    """The settings of a folder in the Hub's layout. Raises BadModel where they cannot be read."""
    config = _json(folder / "config.json")
    if config is None:
        raise BadModel(f"config.json: missing from {folder}")
    values = from_hub(config)
    # Chat models list all the ids that end a turn in this file.
    generation = _json(folder / "generation_config.json") or {}
    eos = generation.get("eos_token_id")
    if eos is not None:
        more = tuple(eos) if isinstance(eos, list) else (int(eos),)
        values = dataclasses.replace(values, eos_ids=tuple(dict.fromkeys((*values.eos_ids, *more))))
    return values


def _json(file: Path) -> dict[str, Any] | None:
    if not file.is_file():
        return None
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise BadModel(f"{file}: is not JSON: {error}") from error
    if not isinstance(values, dict):
        raise BadModel(f"{file}: found {type(values).__name__}, needs a JSON object")
    return values

"""The tokenizer files of a Hub folder: tokenizer.json and what stands beside it.

Not a converter: a folder without tokenizer.json, which is taken as it is written, is refused. The files of
the tokenizer itself are read by weights/tokenizer_files.py; here the ids that end a turn are added, which
generation_config.json (else config.json) names, the ranges of ids are read, and files are written.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import tokenizers

from tokenloom.tokens.text import Tokenizer
from tokenloom.tokens.vocabulary import Vocabulary
from tokenloom.weights.tokenizer_files import chat_templates, extra_tokens, json_object, read_files


def read_folder(folder: Path) -> dict[str, Any]:
    """The keywords of `Tokenizer`; ValueError names the file and what is wrong in it."""
    files = read_files(folder)
    named = dict(files.named)
    begins = files.config.get("add_bos_token")
    return {
        "backend": files.backend,
        "named": named,
        "ends": _ends(folder),
        "add_bos": _starts_with(files.backend, named.get("bos_token")) if begins is None else bool(begins),
        "templates": chat_templates(folder, files.config),
        "variables": extra_tokens(files.config),
    }


def _ends(folder: Path) -> tuple[int, ...]:
    for name in ("generation_config.json", "config.json"):
        ends = json_object(folder / name).get("eos_token_id")
        if ends is None:
            continue
        ends = ends if isinstance(ends, list) else [ends]
        if not all(type(id) is int and id >= 0 for id in ends):
            raise ValueError(f"{folder / name}: eos_token_id: found {ends!r}; allowed: ids")
        return tuple(ends)
    return ()


def _starts_with(backend: tokenizers.Tokenizer, bos: int | None) -> bool:
    """Whether tokenizer.json itself puts the begin token in front."""
    return bos is not None and backend.encode("a", add_special_tokens=True).ids[:1] == [bos]


def read_vocabulary(folder: Path) -> Vocabulary | None:
    """The ranges of ids that a model's or a tokenizer's folder states in tokenloom.json; None without them.

    ValueError names the file and what is wrong in it.
    """
    file = folder / "tokenloom.json"
    stated = json_object(file).get("ranges")
    if stated is None:
        return None
    if isinstance(stated, dict):  # as models of text alone were once saved: name -> [start, stop]
        stated = [{"name": name, "start": span[0], "stop": span[1]} for name, span in stated.items()]
    try:
        return Vocabulary.from_json(stated)
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error


def tokenizer_files(tokenizer: Tokenizer) -> dict[str, str]:
    """Name -> text of the files from which a tokenizer is read again, here and in transformers.

    Not among them: generation_config.json, which is the model's and holds `eos_ids`.
    """
    config: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
    }
    config |= {name: tokenizer.token_text(id) for name, id in tokenizer.named.items()}
    config["add_bos_token"] = tokenizer.add_bos
    template = tokenizer.template
    extra = {k: v for k, v in template.variables.items() if k not in tokenizer.named} if template else {}
    if extra:
        config["extra_special_tokens"] = extra
    files = {"tokenizer.json": tokenizer.json(), "tokenizer_config.json": json.dumps(config, indent=2)}
    for name, source in (template.templates if template else {}).items():
        plain = name == "default"
        files["chat_template.jinja" if plain else f"additional_chat_templates/{name}.jinja"] = source
    return files

"""The tokenizer files of a Hub folder as the `tokenizers` library reads them, and hashes of what they say.

Not a tokenizer (tokens.text) and not a converter: a folder without tokenizer.json, which is taken as it is
written, is refused. One definition of the hashes serves whoever writes a model folder, loads its tokenizer or
makes shards with it: they are of the tokenizer as it works, not of a file's bytes, since the library, another
version of it or transformers spell the same tokenizer in other ways.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import AddedToken

NAMES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")


@dataclass(frozen=True)
class TokenizerFiles:
    """What tokenizer.json, tokenizer_config.json and special_tokens_map.json of one folder come to."""

    backend: tokenizers.Tokenizer
    config: Mapping[str, Any]
    """tokenizer_config.json."""
    named: Mapping[str, int]
    """bos_token, eos_token, ... -> id."""


def read_files(folder: Path) -> TokenizerFiles:
    """The tokenizer of a folder; ValueError names the file and what is wrong in it."""
    config, spelled = _config(folder)
    backend = _backend(folder / "tokenizer.json")
    _add(backend, config, spelled)
    named = {}
    for name, text in spelled.items():
        id = backend.token_to_id(text)
        if id is None:
            raise ValueError(f"{folder / 'tokenizer_config.json'}: {name}: found {text!r}, which has no id")
        named[name] = id
    return TokenizerFiles(backend, config, named)


def tokenizer_hash(backend: tokenizers.Tokenizer) -> str:
    """sha256 of the tokenizer in the library's own format, hexadecimal."""
    return hashlib.sha256(str(backend.to_str()).encode()).hexdigest()


def template_hash(templates: Mapping[str, str], variables: Mapping[str, str]) -> str:
    """sha256 of all chat templates by name and of the strings they may refer to, hexadecimal."""
    text = json.dumps([dict(templates), dict(variables)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def folder_tokenizer_hash(folder: Path) -> str | None:
    """`tokenizer_hash` of a folder's tokenizer; None where it has no tokenizer.json."""
    return tokenizer_hash(read_files(folder).backend) if (folder / "tokenizer.json").is_file() else None


def folder_template_hash(folder: Path) -> str | None:
    """`template_hash` of a folder's chat templates; None where it has none."""
    config, spelled = _config(folder)
    templates = chat_templates(folder, config)
    return template_hash(templates, {**spelled, **extra_tokens(config)}) if templates else None


def _config(folder: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """tokenizer_config.json, and the spelling of each named token."""
    config = json_object(folder / "tokenizer_config.json")
    return config, _spellings({**json_object(folder / "special_tokens_map.json"), **config})


def _backend(file: Path) -> tokenizers.Tokenizer:
    if not file.is_file():
        raise ValueError(
            f"{file}: missing; allowed: a folder with tokenizer.json (transformers' AutoTokenizer writes one "
            "for a folder with tokenizer.model or vocab.json)"
        )
    try:
        backend = tokenizers.Tokenizer.from_file(str(file))
    except Exception as error:  # the library raises bare Exception for all it cannot read
        raise ValueError(f"{file}: not a tokenizer: {error}") from error
    backend.no_padding()
    backend.no_truncation()
    return backend


def _add(backend: tokenizers.Tokenizer, config: Mapping[str, Any], spelled: Mapping[str, str]) -> None:
    """Added tokens that only tokenizer_config.json knows, and named tokens, which are special."""
    known = backend.get_added_tokens_decoder()
    stated = config.get("added_tokens_decoder") or {}
    for key, value in sorted(stated.items(), key=lambda item: int(item[0])):
        if int(key) in known:
            continue
        options = {name: bool(value.get(name)) for name in ("single_word", "lstrip", "rstrip", "normalized")}
        token = AddedToken(value["content"], special=bool(value.get("special")), **options)
        backend.add_tokens([token])
        if backend.token_to_id(token.content) != int(key):
            raise ValueError(
                f"tokenizer_config.json: added_tokens_decoder[{key}]: found {token.content!r}, whose id in "
                f"tokenizer.json is {backend.token_to_id(token.content)}; allowed: the same in both"
            )
    backend.add_special_tokens(
        [AddedToken(text, normalized=False) for text in dict.fromkeys(spelled.values())]
    )


def _spellings(config: Mapping[str, Any]) -> dict[str, str]:
    """bos_token, eos_token, ... -> its text; a value may be a text or an object with `content`."""
    found = {name: _content(config.get(name)) for name in NAMES}
    return {name: text for name, text in found.items() if text is not None}


def _content(value: Any) -> str | None:
    if isinstance(value, Mapping):
        value = value.get("content")
    return value if isinstance(value, str) and value else None


def extra_tokens(config: Mapping[str, Any]) -> dict[str, str]:
    """Special tokens of one model's own naming, such as image_token, for its template."""
    extra = config.get("extra_special_tokens")
    pairs = extra.items() if isinstance(extra, Mapping) else ()
    return {name: text for name, value in pairs if (text := _content(value)) is not None}


def chat_templates(folder: Path, config: Mapping[str, Any]) -> dict[str, str]:
    """Name -> chat template; files go before the config's."""
    found: dict[str, str] = {}
    alone = json_object(folder / "chat_template.json").get("chat_template")
    for stated in (config.get("chat_template"), alone):
        if isinstance(stated, str):
            found["default"] = stated
        elif isinstance(stated, Mapping):
            found.update({str(name): str(source) for name, source in stated.items()})
        elif isinstance(stated, list):
            found.update({str(item["name"]): str(item["template"]) for item in stated})
    if (file := folder / "chat_template.jinja").is_file():
        found["default"] = file.read_text("utf-8")
    for file in sorted((folder / "additional_chat_templates").glob("*.jinja")):
        found[file.stem] = file.read_text("utf-8")
    return found


def json_object(file: Path) -> dict[str, Any]:
    """A JSON file's object; empty where the file is missing."""
    if not file.is_file():
        return {}
    try:
        value = json.loads(file.read_text("utf-8"))
    except ValueError as error:
        raise ValueError(f"{file}: not JSON: {error}") from error
    if not isinstance(value, dict):
        raise ValueError(f"{file}: found a {type(value).__name__}; allowed: an object")
    return value

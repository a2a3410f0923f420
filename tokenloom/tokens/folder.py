"""The tokenizer files of a Hub folder: tokenizer.json and what stands beside it.

Not a converter: a folder without tokenizer.json, which is taken as it is written, is refused. Read are
tokenizer_config.json, special_tokens_map.json, generation_config.json (else config.json) for the ids that end
a turn, chat_template.jinja, chat_template.json and additional_chat_templates/.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import AddedToken

from tokenloom.tokens.text import Tokenizer

NAMES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")


def read_folder(folder: Path) -> dict[str, Any]:
    """The keywords of `Tokenizer`; ValueError names the file and what is wrong in it."""
    config = _object(folder / "tokenizer_config.json")
    spelled = _spellings({**_object(folder / "special_tokens_map.json"), **config})
    backend = _backend(folder / "tokenizer.json")
    _add(backend, config, spelled)
    named = {}
    for name, text in spelled.items():
        id = backend.token_to_id(text)
        if id is None:
            raise ValueError(f"{folder / 'tokenizer_config.json'}: {name}: found {text!r}, which has no id")
        named[name] = id
    begins = config.get("add_bos_token")
    return {
        "backend": backend,
        "named": named,
        "ends": _ends(folder),
        "add_bos": _starts_with(backend, named.get("bos_token")) if begins is None else bool(begins),
        "templates": _templates(folder, config),
        "variables": _extra(config),
    }


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


def _extra(config: Mapping[str, Any]) -> dict[str, str]:
    """Special tokens of one model's own naming, such as image_token, for its template."""
    extra = config.get("extra_special_tokens")
    pairs = extra.items() if isinstance(extra, Mapping) else ()
    return {name: text for name, value in pairs if (text := _content(value)) is not None}


def _ends(folder: Path) -> tuple[int, ...]:
    for name in ("generation_config.json", "config.json"):
        ends = _object(folder / name).get("eos_token_id")
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


def _templates(folder: Path, config: Mapping[str, Any]) -> dict[str, str]:
    """Name -> chat template; files go before the config's."""
    found: dict[str, str] = {}
    for stated in (config.get("chat_template"), _object(folder / "chat_template.json").get("chat_template")):
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


def _object(file: Path) -> dict[str, Any]:
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

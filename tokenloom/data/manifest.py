"""The manifest of a folder of shards: its fields, and whether the files beside it are what it says.

Not the shards themselves: see shards.py, which also says what the files hold.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

SCHEMA = 1
MANIFEST = "manifest.json"


class BadShards(ValueError):
    """Shards that are damaged, unfinished, or not what was asked for; the message says what is wrong."""


FIELDS: Mapping[str, type] = {
    "tokenizer_hash": str,
    "vocab_size": int,
    "dtype": str,
    "masked": bool,
    "tokens_per_file": int,
    "about": dict,
    "documents": int,
    "tokens": int,
    "bytes": int,
    "finished": bool,
    "files": list,
}


def read_manifest(path: Path) -> dict[str, Any]:
    """A manifest whose fields are there and of their kinds."""
    if not path.is_file():
        raise BadShards(
            f"{path}: missing; allowed: a folder of shards, as `loom data prepare --tokenizer` writes it "
            "(SET/shards/train)"
        )
    try:
        found = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise BadShards(f"{path}: not JSON: {error}") from error
    if not isinstance(found, dict) or found.get("schema") != SCHEMA:
        raise BadShards(
            f"{path}: schema: found {found if not isinstance(found, dict) else found.get('schema')!r}"
            f"; allowed: {SCHEMA}"
        )
    for key, kind in FIELDS.items():
        if type(found.get(key)) is not kind:
            raise BadShards(f"{path}: {key}: found {found.get(key)!r}; allowed: {kind.__name__}")
    for file in found["files"]:
        counts = ("documents", "tokens", "bytes")
        if not isinstance(file, dict) or any(type(file.get(c)) is not int or file[c] < 0 for c in counts):
            raise BadShards(f"{path}: files: found {file!r}; allowed: objects with {', '.join(counts)}")
        if not isinstance(file.get("sha256"), dict) or Path(str(file.get("name"))).name != file.get("name"):
            raise BadShards(f"{path}: files: found {file!r}; allowed: a plain name and its sha256")
    for count in ("documents", "tokens", "bytes"):
        if (total := sum(file[count] for file in found["files"])) != found[count]:
            raise BadShards(f"{path}: {count}: found {found[count]}, but its files have {total}")
    if found["dtype"] not in ("<u2", "<u4"):
        raise BadShards(f"{path}: dtype: found {found['dtype']!r}; allowed: <u2, <u4")
    return found


def file_sizes(file: Mapping[str, Any], manifest: Mapping[str, Any]) -> dict[str, int]:
    """Kind of file -> how many bytes it must have."""
    width = np.dtype(manifest["dtype"]).itemsize
    sizes = {"ids": file["tokens"] * width, "offsets": 8 * (file["documents"] + 1)}
    sizes["bytes"] = 8 * file["documents"]
    return {**sizes, "learned": file["tokens"]} if manifest["masked"] else sizes


def check_sizes(folder: Path, manifest: Mapping[str, Any]) -> None:
    for file in manifest["files"]:
        for kind, size in file_sizes(file, manifest).items():
            path = folder / f"{file['name']}.{kind}"
            if not path.is_file():
                raise BadShards(f"{path}: missing, though the manifest names it")
            if (found := path.stat().st_size) != size:
                what = "cut short" if found < size else "too long"
                raise BadShards(f"{path}: is {what}: it has {found:,} bytes, the manifest says {size:,}")


def sha256_of(path: Path, progress: Callable[[int], None] | None = None) -> Any:
    made = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 22):
            made.update(block)
            if progress:
                progress(len(block))
    return made

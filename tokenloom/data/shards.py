"""Token ids on disk: a folder of shards with a manifest.

Not a reader of text, and not a packer: a document is a list of ids, maybe with a mask of what is learned.
A folder holds manifest.json and, for each file number N,

    N.ids       little-endian uint16, or uint32 from a vocabulary of 65,536 on
    N.offsets   int64, one more than there are documents: 0, then each document's end
    N.bytes     int64, each document's length as UTF-8 text: for bits per byte
    N.learned   one byte an id, 1 = may be a target; only in masked shards

The manifest states counts and a sha256 for each. It is written beside and renamed after the files it speaks
of are on the disk, so a writing that was broken off goes on from its last cursor.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np

from tokenloom.config import put_json
from tokenloom.data.manifest import (
    MANIFEST,
    SCHEMA,
    BadShards,
    check_sizes,
    file_sizes,
    read_manifest,
    sha256_of,
)

TOKENS_PER_FILE = 1 << 27
SAVE_EVERY = 1 << 20
"""Ids between two savings of the manifest while writing."""


class Shards:
    """Documents of one folder, mapped into memory. `open_shards` makes it."""

    def __init__(self, folder: Path, manifest: Mapping[str, Any]) -> None:
        self.folder = folder
        self.manifest = manifest
        self.tokenizer_hash: str = manifest["tokenizer_hash"]
        self.vocab_size: int = manifest["vocab_size"]
        self.masked: bool = manifest["masked"]
        self.n_documents: int = manifest["documents"]
        self.n_tokens: int = manifest["tokens"]
        self.n_bytes: int = manifest["bytes"]
        """UTF-8 bytes of the source text."""
        files = [f for f in manifest["files"] if f["documents"]]
        ends = [0, *np.cumsum([f["tokens"] for f in files], dtype=np.int64).tolist()]
        self._firsts = np.array(ends[:-1], dtype=np.int64)
        self._ids = [_map(folder / f"{f['name']}.ids", manifest["dtype"]) for f in files]
        self._learned = [_map(folder / f"{f['name']}.learned", "uint8") for f in files if self.masked]
        offsets = [_offsets(folder, f) for f in files]
        nothing = np.zeros(0, dtype=np.int64)
        self.starts: np.ndarray = np.concatenate(
            [nothing, *(o[:-1] + first for o, first in zip(offsets, ends, strict=False))]
        )
        """Where each document starts, counted over all files."""
        self.lengths: np.ndarray = np.concatenate([nothing, *(np.diff(o) for o in offsets)])
        self.bytes: np.ndarray = np.concatenate(
            [nothing, *(np.fromfile(folder / f"{f['name']}.bytes", "<i8") for f in files)]
        )
        """UTF-8 bytes of each document."""

    def __len__(self) -> int:
        return self.n_documents

    def document(self, index: int) -> np.ndarray:
        """The ids of a document, int64."""
        return self.take(self._span(index))

    def learned(self, index: int) -> np.ndarray | None:
        """Which ids of a document may be targets; None: all, as these shards have no mask."""
        return self.take_learned(self._span(index)) if self.masked else None

    def take(self, places: np.ndarray) -> np.ndarray:
        """Ids at places counted over all files; places of any order and shape. int64."""
        return self._gather(self._ids, places, np.int64)

    def take_learned(self, places: np.ndarray) -> np.ndarray:
        """As `take`, of the mask; all True where there is none. bool."""
        if not self.masked:
            return np.ones(places.shape, dtype=bool)
        return self._gather(self._learned, places, np.bool_)

    def _span(self, index: int) -> np.ndarray:
        if not 0 <= index < self.n_documents:
            raise IndexError(f"index: found {index}; allowed: 0 to {self.n_documents - 1}")
        return np.arange(self.starts[index], self.starts[index] + self.lengths[index])

    def _gather(self, files: Sequence[np.ndarray], places: np.ndarray, dtype: Any) -> np.ndarray:
        if len(files) == 1:
            return files[0][places].astype(dtype)
        found = np.empty(places.shape, dtype=dtype)
        which = np.searchsorted(self._firsts, places, side="right") - 1
        for number in np.unique(which):
            here = which == number
            found[here] = files[number][places[here] - self._firsts[number]]
        return found

    def verify(self, progress: Callable[[int], None] | None = None) -> None:
        """Reads every file and compares its sha256; BadShards names the first that differs.

        progress: called with the number of bytes read since the last call.
        """
        for file in self.manifest["files"]:
            for kind, stated in file["sha256"].items():
                path = self.folder / f"{file['name']}.{kind}"
                found = sha256_of(path, progress).hexdigest()
                if found != stated:
                    raise BadShards(f"{path}: sha256 is {found}, the manifest says {stated}: it was changed")
        for ids in self._ids:
            if (top := int(ids.max())) >= self.vocab_size:
                raise BadShards(f"{self.folder}: found id {top}; allowed: 0 to {self.vocab_size - 1}")


def open_shards(folder: Path | str, tokenizer_hash: str | None = None) -> Shards:
    """The shards of a folder; sizes and document borders are checked, contents by `Shards.verify`.

    tokenizer_hash: of the tokenizer the ids must be of. BadShards says what is wrong.
    """
    folder = Path(folder)
    manifest = read_manifest(folder / MANIFEST)
    if not manifest["finished"]:
        raise BadShards(
            f"{folder}: its writing was broken off after {manifest['documents']:,} documents; "
            "run the command that writes it again, which goes on from there"
        )
    check_sizes(folder, manifest)
    if tokenizer_hash is not None and manifest["tokenizer_hash"] != tokenizer_hash:
        raise BadShards(
            f"{folder}: tokenizer_hash: found {manifest['tokenizer_hash'][:12]}..., but the tokenizer in use "
            f"is {tokenizer_hash[:12]}...; write the shards anew with it, or use the tokenizer they are of"
        )
    return Shards(folder, manifest)


class ShardWriter:
    """Writes documents one after the other; a context manager.

    Leaving it normally finishes the shards. Leaving it by an error or Ctrl-C keeps what was added,
    unfinished: a new writer on the same folder goes on; `cursor` (with `n_documents`) says from where.
    """

    def __init__(
        self,
        folder: Path | str,
        *,
        tokenizer_hash: str,
        vocab_size: int,
        masked: bool = False,
        tokens_per_file: int = TOKENS_PER_FILE,
        about: Mapping[str, Any] | None = None,
    ) -> None:
        """masked: each id has a mark whether it may be a target. tokens_per_file: at most, but a document
        that alone is longer has a file of its own. about: what else the manifest shall state."""
        if vocab_size < 1 or vocab_size > 1 << 32:
            raise ValueError(f"vocab_size: found {vocab_size}; allowed: 1 to {1 << 32}")
        if tokens_per_file < 1:
            raise ValueError(f"tokens_per_file: found {tokens_per_file}; allowed: 1 and more")
        self.folder = Path(folder)
        self._state: dict[str, Any] = {
            "schema": SCHEMA,
            "tokenizer_hash": tokenizer_hash,
            "vocab_size": vocab_size,
            "dtype": "<u2" if vocab_size < 1 << 16 else "<u4",
            "masked": masked,
            "tokens_per_file": tokens_per_file,
            "about": dict(about or {}),
            "documents": 0,
            "tokens": 0,
            "bytes": 0,
            "cursor": None,
            "finished": False,
            "files": [],
        }
        self._kinds = ("ids", "offsets", "bytes", *(("learned",) if masked else ()))
        self._dtype = np.dtype(self._state["dtype"])
        self._open: dict[str, BinaryIO] = {}
        self._hashes: dict[str, Any] = {}
        self._unsaved = 0
        self._busy = False
        self._resume()

    @property
    def n_documents(self) -> int:
        return int(self._state["documents"])

    @property
    def n_tokens(self) -> int:
        return int(self._state["tokens"])

    @property
    def cursor(self) -> Any:
        """The cursor given with the last document; None at the start."""
        return self._state["cursor"]

    def _resume(self) -> None:
        path = self.folder / MANIFEST
        if not path.is_file():
            self.folder.mkdir(parents=True, exist_ok=True)
            if any(self.folder.iterdir()):
                raise FileExistsError(f"folder: {self.folder} is not empty; name another place")
            self._save()
            return
        found = read_manifest(path)
        if found["finished"]:
            raise FileExistsError(f"folder: {self.folder} holds finished shards; name another place")
        for key in ("tokenizer_hash", "vocab_size", "masked", "tokens_per_file"):
            if found[key] != self._state[key]:
                raise BadShards(
                    f"{self.folder}: {key}: was begun with {found[key]!r}, asked for is {self._state[key]!r}"
                    "; use the same, or another folder"
                )
        about = self._state["about"]
        self._state = dict(found)
        self._state["about"] = about or found["about"]
        for file in found["files"]:
            if file["sha256"]:
                continue
            for kind, size in file_sizes(file, found).items():
                data = self.folder / f"{file['name']}.{kind}"
                if not data.is_file() or data.stat().st_size < size:
                    raise BadShards(f"{data}: is cut short, so it cannot be continued; delete {self.folder}")
                os.truncate(data, size)
                self._hashes[kind] = sha256_of(data)
                self._open[kind] = data.open("ab")

    def add(
        self,
        ids: Sequence[int] | np.ndarray,
        learned: Sequence[bool] | np.ndarray | None = None,
        *,
        n_bytes: int = 0,
        cursor: Any = None,
    ) -> None:
        """Appends a document.

        learned: for each id whether it may be a target; None: all. n_bytes: the length of its text in UTF-8.
        cursor: where the source stands behind this document, any value JSON can hold.
        """
        wide = np.asarray(ids, dtype=np.int64)
        if wide.ndim != 1 or not wide.size:
            raise ValueError(f"ids: found the shape {wide.shape}; allowed: a document of at least one id")
        low, high = int(wide.min()), int(wide.max())
        if low < 0 or high >= self._state["vocab_size"]:
            raise ValueError(
                f"ids: found {low if low < 0 else high}; allowed: 0 to {self._state['vocab_size'] - 1}"
            )
        parts = {"ids": wide.astype(self._dtype)}
        if learned is not None and not self._state["masked"]:
            raise ValueError("learned: found a mask, but these shards have none; allowed with masked=True")
        if self._state["masked"]:
            mask = np.ones(wide.shape, bool) if learned is None else np.asarray(learned, dtype=bool)
            if mask.shape != wide.shape:
                raise ValueError(f"learned: found {mask.size} marks for {wide.size} ids; allowed: one each")
            parts["learned"] = mask.astype(np.uint8)
        self._busy = True
        file = self._file(wide.size)
        for counts in (file, self._state):
            counts["documents"] += 1
            counts["tokens"] += wide.size
            counts["bytes"] += int(n_bytes)
        parts["offsets"] = np.array([file["tokens"]], dtype="<i8")
        parts["bytes"] = np.array([n_bytes], dtype="<i8")
        for kind, part in parts.items():
            self._write(kind, part.tobytes())
        self._state["cursor"] = cursor
        self._unsaved += wide.size
        if self._unsaved >= SAVE_EVERY:
            self._save()
        self._busy = False

    def _write(self, kind: str, data: bytes) -> None:
        self._open[kind].write(data)
        self._hashes[kind].update(data)

    def _file(self, n: int) -> dict[str, Any]:
        """The entry of the file that takes a document of n ids."""
        files: list[dict[str, Any]] = self._state["files"]
        if self._open and files[-1]["tokens"] + n <= self._state["tokens_per_file"]:
            return files[-1]
        self._close_file()
        name = f"{len(files):05d}"
        files.append({"name": name, "documents": 0, "tokens": 0, "bytes": 0, "sha256": {}})
        for kind in self._kinds:
            self._open[kind] = (self.folder / f"{name}.{kind}").open("wb")
            self._hashes[kind] = hashlib.sha256()
        self._write("offsets", bytes(8))
        return files[-1]

    def _close_file(self) -> None:
        if self._open:
            self._sync()
            self._state["files"][-1]["sha256"] = {k: h.hexdigest() for k, h in self._hashes.items()}
            self._drop()

    def _drop(self) -> None:
        for file in self._open.values():
            file.close()
        self._open.clear()
        self._hashes.clear()

    def _sync(self) -> None:
        for file in self._open.values():
            file.flush()
            os.fsync(file.fileno())

    def _save(self) -> None:
        self._sync()
        put_json(self.folder / MANIFEST, self._state)
        self._unsaved = 0

    def finish(self, about: Mapping[str, Any] | None = None) -> Shards:
        """Ends the writing; the shards, open for reading. BadShards when no document was added.

        about: what the manifest shall state besides, known only now.
        """
        if not self.n_documents:
            raise BadShards(f"{self.folder}: no document was added; an empty set cannot be learned from")
        self._busy = True
        self._close_file()
        self._state["about"] = {**self._state["about"], **(about or {})}
        self._state["finished"] = True
        self._save()
        return open_shards(self.folder)

    def close(self) -> None:
        """Keeps what was added, unfinished; after an addition broken off, what was there when last saved."""
        if not self._busy:
            self._save()
        self._drop()

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._state["finished"]:
            return
        if kind is None:
            self.finish()
        else:
            self.close()


def _offsets(folder: Path, file: Mapping[str, Any]) -> np.ndarray:
    path = folder / f"{file['name']}.offsets"
    offsets = np.fromfile(path, "<i8")
    if offsets[0] != 0 or offsets[-1] != file["tokens"] or (np.diff(offsets) < 1).any():
        raise BadShards(
            f"{path}: its document borders do not rise from 0 to {file['tokens']:,}: it is damaged"
        )
    return offsets


def _map(path: Path, dtype: str) -> np.ndarray:
    return np.memmap(path, dtype=np.dtype(dtype), mode="r")

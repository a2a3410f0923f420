"""Weights of a Hub folder: one safetensors file or shards with their index, mapped and read tensor by tensor.

Not a writer, and never a reader of pickles: those run code when opened, and are refused by name. Headers are
checked here, so that names, shapes and dtypes are known without torch; the bytes go through the safetensors
package. Source: the safetensors format, and the index files transformers writes.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokenloom.weights.errors import BadFile

if TYPE_CHECKING:
    import torch

PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
MAX_HEADER = 100_000_000
"""Bytes; the limit of the safetensors package itself."""
DTYPE_BYTES = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2", "F8_E8M0"), 1),
    **dict.fromkeys(("U16", "I16", "F16", "BF16"), 2),
    **dict.fromkeys(("U32", "I32", "F32"), 4),
    **dict.fromkeys(("U64", "I64", "F64"), 8),
}


@dataclass(frozen=True)
class Entry:
    """Where a tensor is, and what it is."""

    path: Path
    dtype: str
    """As safetensors spells it: F32, BF16, ..."""
    shape: tuple[int, ...]
    nbytes: int


class Folder:
    """The open weights of a folder. Tensors are read when asked for, onto the CPU, without a copy."""

    def __init__(self, path: Path, entries: Mapping[str, Entry], metadata: Mapping[str, str]) -> None:
        self.path = path
        self.metadata = metadata
        """The free texts of the headers' `__metadata__`."""
        self._entries = dict(entries)
        self._open: dict[Path, Any] = {}

    def names(self) -> list[str]:
        """All tensors, in the order of the files."""
        return list(self._entries)

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def entry(self, name: str) -> Entry:
        """Raises BadFile where there is no such tensor."""
        if name not in self._entries:
            raise BadFile(
                self.path, "tensors", f"no {name!r}", f"one of {len(self)} such as {self.names()[:3]}"
            )
        return self._entries[name]

    def shape(self, name: str) -> tuple[int, ...]:
        return self.entry(name).shape

    def dtype(self, name: str) -> str:
        """As safetensors spells it: F32, F16, BF16, I64, ..."""
        return self.entry(name).dtype

    def nbytes(self) -> int:
        """Bytes of all tensors."""
        return sum(entry.nbytes for entry in self._entries.values())

    def tensor(self, name: str, shape: tuple[int, ...] | None = None) -> torch.Tensor:
        """A view onto the mapped file. `shape`: what it must have; BadFile where it has another."""
        from safetensors import SafetensorError, safe_open

        entry = self.entry(name)
        if shape is not None and tuple(shape) != entry.shape:
            raise BadFile(entry.path, f"tensor {name!r}", f"shape {entry.shape}", f"{tuple(shape)}")
        try:
            if entry.path not in self._open:
                self._open[entry.path] = safe_open(entry.path, framework="pt", device="cpu")
            return self._open[entry.path].get_tensor(name)
        except SafetensorError as error:
            raise BadFile(entry.path, f"tensor {name!r}", str(error), "a valid safetensors file") from error

    def close(self) -> None:
        """Lets the files go; tensors already read stay valid."""
        self._open.clear()

    def __enter__(self) -> Folder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_folder(path: Path | str, stem: str = "model") -> Folder:
    """Opens `<stem>.safetensors` in a folder, or the shards of `<stem>.safetensors.index.json`, or one file.

    Raises BadFile for pickles, missing shards, and headers that are cut short or do not fit their file;
    FileNotFoundError where there is nothing at all.
    """
    path = Path(path)
    if path.is_file():
        _refuse_pickle(path)
        return _joined(path, [path])
    if not path.is_dir():
        raise FileNotFoundError(f"{path}: no such folder or file")
    single, index = path / f"{stem}.safetensors", path / f"{stem}.safetensors.index.json"
    if single.is_file():
        return _joined(path, [single])
    if index.is_file():
        return _sharded(path, index)
    for file in sorted(path.iterdir()):
        _refuse_pickle(file)
    names = sorted(file.name for file in path.iterdir())[:10]
    raise BadFile(path, "weights", f"none among {names}", f"{single.name}, or shards with {index.name}")


def _refuse_pickle(path: Path) -> None:
    if path.suffix in PICKLES:
        raise BadFile(
            path,
            "weights",
            f"{path.name}, a pickle, which can run any code when it is opened",
            "safetensors: take the model's safetensors release, or convert it with "
            "transformers' `save_pretrained` on a machine that may run it",
        )


def _sharded(folder: Path, index: Path) -> Folder:
    try:
        weight_map = json.loads(index.read_bytes())["weight_map"]
        places = {str(name): str(file) for name, file in weight_map.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BadFile(
            index, "index", f"{type(error).__name__}: {error}", 'JSON with a "weight_map"'
        ) from error
    files = list(dict.fromkeys(places.values()))
    for file in files:
        if Path(file).name != file or not file.endswith(".safetensors"):
            raise BadFile(index, "weight_map", repr(file), "names of safetensors files in the same folder")
    missing = [file for file in files if not (folder / file).is_file()]
    if missing:
        raise BadFile(
            index, "shards", f"{len(missing)} of {len(files)} missing: {', '.join(missing[:5])}", "all"
        )
    joined = _joined(folder, [folder / file for file in files])
    for name, file in places.items():
        if name not in joined or joined.entry(name).path.name != file:
            raise BadFile(folder / file, "tensors", f"no {name!r}", f"what {index.name} says it holds")
    return joined


def _joined(path: Path, files: list[Path]) -> Folder:
    entries: dict[str, Entry] = {}
    metadata: dict[str, str] = {}
    for file in files:
        found, texts = read_header(file)
        twice = entries.keys() & found.keys()
        if twice:
            name = min(twice)
            raise BadFile(
                file, "tensors", f"{name!r}, which {entries[name].path.name} holds too", "each name once"
            )
        entries |= found
        metadata |= texts
    return Folder(path, entries, metadata)


def read_header(path: Path) -> tuple[dict[str, Entry], dict[str, str]]:
    """Tensors by name, and the free texts, of one safetensors file. Raises BadFile."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(8)
        if len(head) < 8:
            raise BadFile(path, "header", f"a file of {size} bytes", "at least 8 (truncated?)")
        length = struct.unpack("<Q", head)[0]
        if length > min(size - 8, MAX_HEADER):
            raise BadFile(
                path, "header", f"{length} bytes claimed", f"{min(size - 8, MAX_HEADER)} (truncated?)"
            )
        raw = file.read(length)
    try:
        header = json.loads(raw, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise BadFile(path, "header", f"{type(error).__name__}: {error}", "JSON") from error
    if not isinstance(header, dict):
        raise BadFile(path, "header", type(header).__name__, "a JSON object")
    texts = header.pop("__metadata__", {})
    if not isinstance(texts, dict) or not all(isinstance(value, str) for value in texts.values()):
        raise BadFile(path, "__metadata__", repr(texts)[:80], "texts by name")
    places = {name: _entry(path, name, value) for name, value in header.items()}
    data, end = size - 8 - length, 0
    for name, (entry, start) in sorted(places.items(), key=lambda item: item[1][1]):
        if start != end:
            raise BadFile(path, f"tensor {name!r}", f"offset {start}", f"{end}, where the one before ends")
        end = start + entry.nbytes
        if end > data:
            raise BadFile(
                path, f"tensor {name!r}", f"bytes up to {end}", f"{data} that the file holds (truncated?)"
            )
    if end != data:
        raise BadFile(path, "data", f"{data} bytes", f"{end}, as the header says")
    return {name: entry for name, (entry, _) in places.items()}, texts


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        raise ValueError("a name stands twice")
    return values


def _entry(path: Path, name: str, value: Any) -> tuple[Entry, int]:
    """One entry of a header -> what it is, and where it starts in the data."""
    where = f"tensor {name!r}"
    if not isinstance(value, dict) or value.keys() != {"dtype", "shape", "data_offsets"}:
        raise BadFile(path, where, repr(value)[:80], "dtype, shape and data_offsets")
    dtype, shape, offsets = value["dtype"], value["shape"], value["data_offsets"]
    if not isinstance(dtype, str) or dtype not in DTYPE_BYTES:
        raise BadFile(path, where, f"dtype {dtype!r}", " ".join(sorted(DTYPE_BYTES)))
    for numbers in (shape, offsets):
        if not isinstance(numbers, list) or not all(type(n) is int and 0 <= n < 2**63 for n in numbers):
            raise BadFile(path, where, repr(numbers)[:80], "a list of whole numbers")
    nbytes = math.prod(shape) * DTYPE_BYTES[dtype]
    if len(offsets) != 2 or offsets[1] - offsets[0] != nbytes:
        raise BadFile(
            path, where, f"data_offsets {offsets}"[:80], f"{nbytes} bytes for {dtype} {shape}"[:120]
        )
    return Entry(path, dtype, tuple(shape), nbytes), offsets[0]

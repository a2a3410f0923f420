"""Reading GGUF files: metadata, the table of tensors, and tensors as float32.

Not a writer, and not a model: names and settings are translated in names.py and gguf_config.py. The file is
mapped, never read whole; every claimed count, size and offset is checked against the file's length before it
is used, so that a hostile file costs no more memory than its own size. Source: the GGUF specification, ggml's
docs/gguf.md, versions 2 and 3, little-endian.
"""

from __future__ import annotations

import math
import mmap
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any

import numpy as np

from tokenloom.weights.blocks import BLOCK_SIZES, BlockType, blocks_to_float
from tokenloom.weights.errors import BadFile

MAGIC = b"GGUF"
VERSIONS = (2, 3)
MAX_DIMS = 4
DEFAULT_ALIGNMENT = 32
_U32, _U64 = struct.Struct("<I"), struct.Struct("<Q")
_STRING, _ARRAY, _BOOL = 8, 9, 7
_SCALARS: dict[int, np.dtype[Any]] = {
    0: np.dtype("<u1"),
    1: np.dtype("<i1"),
    2: np.dtype("<u2"),
    3: np.dtype("<i2"),
    4: np.dtype("<u4"),
    5: np.dtype("<i4"),
    6: np.dtype("<f4"),
    _BOOL: np.dtype("<u1"),
    10: np.dtype("<u8"),
    11: np.dtype("<i8"),
    12: np.dtype("<f8"),
}
_MIN_PAIR = 8 + 4 + 1  # an empty key, a type, one byte
_MIN_TENSOR = 8 + 4 + 8 + 4 + 8  # an empty name, one dimension


@dataclass(frozen=True)
class GgufTensor:
    """One tensor of a GGUF file; its bytes stay in the file until asked for."""

    name: str
    shape: tuple[int, ...]
    """Row-major, as in PyTorch: (out, in)."""
    type: BlockType
    offset: int
    """Of the first byte in the file."""
    nbytes: int
    path: Path = field(repr=False)
    file: np.ndarray = field(repr=False, compare=False)
    """The whole file, mapped (bytes,) uint8."""

    @property
    def raw(self) -> np.ndarray:
        """The blocks as they are in the file: a read-only view (nbytes,) uint8, nothing copied."""
        return self.file[self.offset : self.offset + self.nbytes]

    def forget(self) -> None:
        """Gives the memory of the blocks back: they come from the file again should they be wanted."""
        data = self.file.base.obj if isinstance(self.file.base, memoryview) else self.file.base
        if isinstance(data, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
            start = -(-self.offset // mmap.PAGESIZE) * mmap.PAGESIZE
            whole = (self.offset + self.nbytes - start) // mmap.PAGESIZE * mmap.PAGESIZE
            if whole > 0:
                data.madvise(mmap.MADV_DONTNEED, start, whole)


@dataclass(frozen=True)
class Gguf:
    """An open GGUF file. Views of tensors stay valid after `close`; the map goes with the last of them."""

    path: Path
    version: int
    alignment: int
    meta: Mapping[str, Any]
    """Strings, ints, floats, bools, and lists of one of these. A list of strings raises BadFile when it is
    asked for and one of them is not UTF-8."""
    tensors: Mapping[str, GgufTensor]

    def close(self) -> None:
        """Lets go of the tensors held here."""
        object.__setattr__(self, "tensors", MappingProxyType({}))

    def __enter__(self) -> Gguf:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Reader:
    """A position in the mapped file, and reads that never pass its end."""

    def __init__(self, path: Path, data: mmap.mmap) -> None:
        self.path, self.data, self.size, self.at = path, data, len(data), 0

    def bad(self, where: str, found: str, allowed: str) -> BadFile:
        return BadFile(self.path, where, found, allowed)

    def need(self, count: int, where: str) -> int:
        """Moves past `count` bytes and returns where they start."""
        start = self.at
        if count > self.size - start:
            raise self.bad(
                where, f"{count} bytes claimed at {start}", f"{self.size - start} that are left (truncated?)"
            )
        self.at = start + count
        return start

    def u32(self, where: str) -> int:
        return int(_U32.unpack_from(self.data, self.need(4, where))[0])

    def u64(self, where: str) -> int:
        return int(_U64.unpack_from(self.data, self.need(8, where))[0])

    def text(self, raw: bytes, where: str) -> str:
        try:
            return raw.decode()
        except UnicodeDecodeError as error:
            raise self.bad(where, f"{raw[:24]!r}, which is not UTF-8", "text in UTF-8") from error

    def string(self, where: str) -> str:
        size = self.u64(where)
        start = self.need(size, where)
        return self.text(self.data[start : start + size], where)

    def strings(self, count: int, where: str) -> _Strings:
        """Steps over many strings; they become text when asked for, which most readers never do."""
        data, start, last, unpack = self.data, self.at, self.size - 8, _U64.unpack_from
        at = start
        for i in range(count):
            if at > last:
                raise self.bad(where, f"{count} strings claimed", f"{i} that fit the file (truncated?)")
            at += 8 + unpack(data, at)[0]
        if at > self.size:
            raise self.bad(where, f"{count} strings claimed", f"{count - 1} that fit the file (truncated?)")
        self.at = at
        return _Strings(self, start, count, where)

    def numbers(self, kind: int, count: int, where: str) -> list[Any]:
        dtype = _SCALARS[kind]
        start = self.need(count * dtype.itemsize, where)
        values = np.frombuffer(self.data, dtype, count, start)
        if kind == _BOOL:
            if values.size and values.max() > 1:
                raise self.bad(where, f"a bool of {int(values.max())}", "0 or 1")
            values = values.astype(bool)
        return list(values.tolist())

    def value(self, where: str) -> Any:
        kind = self.u32(where)
        if kind == _STRING:
            return self.string(where)
        if kind in _SCALARS:
            return self.numbers(kind, 1, where)[0]
        if kind != _ARRAY:
            raise self.bad(where, f"value type {kind}", "0 to 12")
        item, count = self.u32(where), self.u64(where)
        if item == _STRING:
            if count > (self.size - self.at) // 8:
                raise self.bad(
                    where, f"{count} strings claimed", f"{(self.size - self.at) // 8} that can fit"
                )
            return self.strings(count, where)
        if item in _SCALARS:
            return self.numbers(item, count, where)
        what = "an array of arrays" if item == _ARRAY else f"an array of value type {item}"
        raise self.bad(where, what, "arrays of strings, numbers or bools")


@dataclass(frozen=True)
class _Strings:
    """An array of strings still in the file; its lengths have been checked."""

    reader: _Reader
    start: int
    count: int
    where: str

    def decode(self) -> list[str]:
        data, at, unpack = self.reader.data, self.start, _U64.unpack_from
        raws = []
        for _ in range(self.count):
            start = at + 8
            at = start + unpack(data, at)[0]
            raws.append(data[start:at])
        try:
            return [raw.decode() for raw in raws]
        except UnicodeDecodeError:
            return [self.reader.text(raw, f"{self.where}[{i}]") for i, raw in enumerate(raws)]


class _Meta(Mapping[str, Any]):
    """Metadata whose lists of strings are decoded when first asked for."""

    def __init__(self, values: dict[str, Any]) -> None:
        self._values = values

    def __getitem__(self, key: str) -> Any:
        value = self._values[key]
        if isinstance(value, _Strings):
            value = self._values[key] = value.decode()
        return value

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


def open_gguf(path: Path | str) -> Gguf:
    """Maps a GGUF file and reads its header.

    Raises BadFile naming the place, what was found and what is allowed; OSError where it cannot be opened.
    """
    path = Path(path)
    with path.open("rb") as file:
        head = file.read(4)
        if head != MAGIC:
            raise BadFile(path, "first bytes", repr(head), f"{MAGIC!r} of a GGUF file")
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    reader = _Reader(path, data)
    reader.at = 4
    version = reader.u32("version")
    if version not in VERSIONS:
        big = _U32.unpack(version.to_bytes(4, "big"))[0] in VERSIONS
        raise reader.bad(
            "version",
            f"{version}{' (a big-endian file)' if big else ''}",
            "2 or 3, little-endian; convert it again",
        )
    n_tensors, n_pairs = reader.u64("tensor count"), reader.u64("metadata count")
    left = reader.size - reader.at
    if n_tensors > left // _MIN_TENSOR:
        raise reader.bad(
            "tensor count", str(n_tensors), f"at most {left // _MIN_TENSOR} in a file of this size"
        )
    if n_pairs > left // _MIN_PAIR:
        raise reader.bad(
            "metadata count", str(n_pairs), f"at most {left // _MIN_PAIR} in a file of this size"
        )
    meta = _read_meta(reader, n_pairs)
    alignment = meta.get("general.alignment", DEFAULT_ALIGNMENT)
    if type(alignment) is not int or alignment < 1 or alignment & (alignment - 1):
        raise reader.bad("general.alignment", repr(alignment), "a power of two")
    split = meta.get("split.count", 0)
    if split != 0 and split != 1:
        raise reader.bad(
            "split.count",
            f"one of {split} parts",
            "a whole file: join the parts with llama-gguf-split --merge",
        )
    tensors = _read_tensors(reader, n_tensors, alignment)
    return Gguf(path, version, alignment, _Meta(meta), MappingProxyType(tensors))


def _read_meta(reader: _Reader, count: int) -> dict[str, Any]:
    meta: dict[str, Any] = {}
    for i in range(count):
        key = reader.string(f"key {i} of the metadata")
        if not key or key in meta:
            raise reader.bad("metadata", f"the key {key!r} twice" if key else "an empty key", "each key once")
        meta[key] = reader.value(key)
    return meta


def _read_tensors(reader: _Reader, count: int, alignment: int) -> dict[str, GgufTensor]:
    found: dict[str, tuple[tuple[int, ...], BlockType, int, int]] = {}
    for i in range(count):
        name = reader.string(f"name of tensor {i}")
        if not name or name in found:
            raise reader.bad(
                "tensors", f"the name {name!r} twice" if name else "an empty name", "each name once"
            )
        found[name] = _read_info(reader, f"tensor {name!r}", alignment)
    start = -(-reader.at // alignment) * alignment
    _check_places(reader, found, start)
    whole = np.frombuffer(reader.data, np.uint8)
    return {
        name: GgufTensor(name, shape, kind, start + offset, nbytes, reader.path, whole)
        for name, (shape, kind, offset, nbytes) in found.items()
    }


def _read_info(reader: _Reader, where: str, alignment: int) -> tuple[tuple[int, ...], BlockType, int, int]:
    """One entry of the tensor table -> shape (row-major), type, offset in the data, bytes."""
    n_dims = reader.u32(where)
    if not 1 <= n_dims <= MAX_DIMS:
        raise reader.bad(where, f"{n_dims} dimensions", f"1 to {MAX_DIMS}")
    dims = tuple(reader.u64(where) for _ in range(n_dims))
    number, offset = reader.u32(where), reader.u64(where)
    if 0 in dims:
        raise reader.bad(where, f"shape {dims[::-1]}", "dimensions of at least 1")
    try:
        kind = BlockType(number)
    except ValueError as error:
        raise reader.bad(where, f"tensor type {number}", f"{' '.join(t.name for t in BlockType)}") from error
    weights, size = BLOCK_SIZES[kind]
    if dims[0] % weights:
        raise reader.bad(where, f"rows of {dims[0]} in {kind.name}", f"multiples of {weights}")
    nbytes = math.prod(dims) // weights * size
    if nbytes > reader.size:
        raise reader.bad(
            where, f"shape {dims[::-1]} in {kind.name}, {nbytes} bytes", f"{reader.size}, the file's size"
        )
    if offset % alignment:
        raise reader.bad(where, f"offset {offset}", f"multiples of the alignment {alignment}")
    return dims[::-1], kind, offset, nbytes


def _check_places(
    reader: _Reader, found: dict[str, tuple[tuple[int, ...], BlockType, int, int]], start: int
) -> None:
    """Every tensor ends inside the file and before the next one begins."""
    free, before = 0, ""
    for name, (_, _, offset, nbytes) in sorted(found.items(), key=lambda item: item[1][2]):
        if offset < free:
            raise reader.bad(
                f"tensor {name!r}", f"offset {offset}, inside tensor {before!r}", f"{free} or more"
            )
        if start + offset + nbytes > reader.size:
            raise reader.bad(
                f"tensor {name!r}",
                f"bytes {start + offset} to {start + offset + nbytes}",
                f"at most {reader.size}, where the file ends (truncated?)",
            )
        free, before = offset + nbytes, name


def dequantise(tensor: GgufTensor, rows: slice | None = None, out: np.ndarray | None = None) -> np.ndarray:
    """The tensor as float32, in its shape (or the asked rows of its first dimension).

    `rows`: a slice with step 1, only with two dimensions or more. `out`: an array to fill in place of a
    new one, float32, contiguous, of the answer's shape. Bit for bit what gguf.quants.dequantize gives.
    Raises BadFile for a type that holds no weights.
    """
    shape, raw = tensor.shape, tensor.raw
    if rows is not None:
        if len(shape) < 2:
            raise ValueError(
                f"rows: found {rows} for the vector {tensor.name!r}; allowed: two dimensions or more"
            )
        start, stop, step = rows.indices(shape[0])
        if step != 1:
            raise ValueError(f"rows: found a step of {step}; allowed: 1")
        stop = max(start, stop)
        per_row = tensor.nbytes // shape[0]
        shape, raw = (stop - start, *shape[1:]), raw[start * per_row : stop * per_row]
    if out is None:
        out = np.empty(shape, np.float32)
    elif out.shape != shape or out.dtype != np.float32 or not out.flags.c_contiguous:
        raise ValueError(f"out: found {out.dtype} {out.shape}; allowed: contiguous float32 {shape}")
    try:
        blocks_to_float(raw, tensor.type, out.reshape(-1))
    except ValueError as error:
        raise BadFile(tensor.path, f"tensor {tensor.name!r}", tensor.type.name, str(error)) from error
    return out

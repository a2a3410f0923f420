"""Which files a path, folder or glob means, and their bytes, unpacked.

Not what the bytes mean: formats.py. Compression is told by the first bytes, not by the name, so that a
misnamed file is read all the same; gzip, bzip2 and xz are the standard library's, zstd is its
`compression.zstd` from Python 3.14 on and before that the same code as `backports.zstd`, which, unlike other
bindings, says when a file ends too early.
"""

from __future__ import annotations

import bz2
import errno
import glob
import gzip
import io
import lzma
import os
import sys
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, cast

from tokenloom.data.record import DataError

PACKED = (".gz", ".bz2", ".xz", ".zst", ".zstd")
KINDS = {
    ".txt": "text", ".text": "text", ".md": "text", ".markdown": "text", ".mdx": "text", ".rst": "text",
    ".html": "html", ".htm": "html", ".xhtml": "html", ".pdf": "pdf",
    ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "json", ".csv": "csv", ".tsv": "csv", ".tab": "csv",
    ".parquet": "parquet", ".pq": "parquet",
}  # fmt: skip
ARCHIVES = (".zip", ".tar", ".tgz", ".tbz2", ".txz", ".7z", ".rar", ".warc")
MAGIC = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
BUFFER = 1 << 20
STDIN = "-"


@dataclass(frozen=True)
class File:
    """One file to read; path "-" is standard input."""

    path: str
    kind: str
    """text, html, pdf, jsonl, json, csv, parquet, or lines (standard input)."""
    size: int
    """Bytes as they lie on disk."""
    named: bool = True
    """Named outright, not found in a folder or by a glob."""

    @property
    def suffix(self) -> str:
        """The ending before any of a compression."""
        return ending(self.path)


def ending(path: str) -> str:
    """ "a/b.jsonl.gz" -> ".jsonl"."""
    name = os.path.basename(path).lower()
    stem, last = os.path.splitext(name)
    return os.path.splitext(stem)[1] if last in PACKED else last


def find_files(paths: Sequence[str], note: Callable[[str], None]) -> list[File]:
    """Every readable file the paths mean, each once: folders recursively and sorted, globs sorted.

    In folders, hidden files and kinds that are not read here are passed over, which `note` is told; a file
    named outright, or by a glob, is read as plain text where its ending says nothing. Raises DataError for
    what does not exist, an archive, a symlink loop, and a folder without a readable file.
    """
    found: dict[str, File] = {}
    for path in paths:
        for file in _meant(path, note):
            real = file.path if file.path == STDIN else os.path.realpath(file.path)
            if real in found:
                found[real] = replace(found[real], named=found[real].named or file.named)
                note(f"{file.path} is named twice; it is read once")
            else:
                found[real] = file
    return list(found.values())


def _meant(path: str, note: Callable[[str], None]) -> list[File]:
    if not path:
        raise DataError("paths: found an empty name; allowed: a file, a folder, a glob, '-', hub:org/name")
    if path == STDIN:
        return [File(STDIN, "lines", 0)]
    path = os.path.expanduser(path)
    if os.path.isdir(path):
        return _in_folder(path, note)
    if os.path.lexists(path):
        return [_named(path)]
    if glob.has_magic(path):
        made: list[File] = []
        for name in sorted(glob.glob(path, recursive=True), key=_order):
            if not os.path.isdir(name):
                made.append(replace(_named(name), named=False))
            elif "**" not in path:
                made += _in_folder(name, note)
        if not made:
            raise DataError(f"{path}: no file matches this pattern")
        return made
    raise DataError(f"{path}: there is no such file or folder")


def _order(path: str) -> tuple[str, ...]:
    return Path(path).parts


def _size(path: str) -> int:
    """Bytes of a file; DataError where it cannot be reached."""
    try:
        return os.stat(path).st_size
    except OSError as error:
        loop = (
            "its symbolic links lead in a circle"
            if os.path.islink(path) and error.errno == errno.ELOOP
            else ""
        )
        raise DataError(f"{path}: {loop or error.strerror}") from error


def _named(path: str) -> File:
    suffix, size = ending(path), _size(path)
    if suffix in ARCHIVES or os.path.splitext(path)[1].lower() in ARCHIVES:
        raise DataError(f"{path} is an archive: unpack it and name the folder")
    return File(path, KINDS.get(suffix, "text"), size)


def _in_folder(folder: str, note: Callable[[str], None]) -> list[File]:
    made: list[File] = []
    passed: Counter[str] = Counter()
    _walk(folder, (), made, passed)
    if passed:
        kinds = ", ".join(f"{count} {kind}" for kind, count in passed.most_common(8))
        note(f"{folder}: passed over {sum(passed.values())} files of other kinds ({kinds})")
    if not made:
        raise DataError(
            f"{folder}: the folder holds no file that is read here; these are: "
            f"{' '.join(KINDS)}, each also with {' '.join(PACKED)}"
        )
    return made


def _walk(folder: str, above: tuple[str, ...], made: list[File], passed: Counter[str]) -> None:
    real = os.path.realpath(folder)
    if real in above:
        raise DataError(f"{folder} is a link to {real}, which holds it: a loop. Remove the link")
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        raise DataError(f"{folder}: {error.strerror}") from error
    for name in names:
        path = os.path.join(folder, name)
        if name.startswith("."):
            passed["hidden"] += 1
        elif os.path.isdir(path):
            _walk(path, (*above, real), made, passed)
        elif (suffix := ending(path)) in KINDS:
            made.append(File(path, KINDS[suffix], _size(path), named=False))
        else:
            passed[suffix or "without ending"] += 1


def damage() -> tuple[type[Exception], ...]:
    """What reading a damaged or vanished file raises."""
    return (OSError, EOFError, zlib.error, lzma.LZMAError, _zstd().ZstdError)


def _zstd() -> Any:
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    return zstd


class _Meter(io.RawIOBase):
    """A file's own bytes, counted as they are read."""

    def __init__(self, raw: io.RawIOBase | io.BufferedIOBase, report: Callable[[int], None]) -> None:
        self._raw, self._report = raw, report

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        # From a pipe, what is there is given on at once.
        read = self._raw.readinto1 if isinstance(self._raw, io.BufferedIOBase) else self._raw.readinto
        count = read(buffer)
        self._report(count or 0)
        return count

    def close(self) -> None:
        if not self.closed and self._raw is not sys.stdin.buffer:
            self._raw.close()
        super().close()


class _Unpacked(io.RawIOBase):
    """What a compressed file holds; closing it closes the file beneath too."""

    def __init__(self, opened: Any, beneath: IO[bytes]) -> None:
        self._opened, self._beneath = opened, beneath

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._opened.readinto1(buffer)  # what is there, so that damage further on loses little

    def close(self) -> None:
        if not self.closed:
            self._opened.close()
            self._beneath.close()
        super().close()


class Joined(io.RawIOBase):
    """Bytes that were read already, then the rest of a stream."""

    def __init__(self, head: bytes, rest: IO[bytes]) -> None:
        self._head, self._rest = memoryview(head), rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self._head:
            count = min(len(buffer), len(self._head))
            buffer[:count] = self._head[:count]
            self._head = self._head[count:]
            return count
        return cast(io.BufferedReader, self._rest).readinto(buffer)

    def close(self) -> None:
        if not self.closed:
            self._rest.close()
        super().close()


def buffered(raw: io.RawIOBase) -> io.BufferedReader:
    """A stream of one's own with a buffer in front."""
    return io.BufferedReader(raw, BUFFER)


def open_bytes(path: str, report: Callable[[int], None] = lambda count: None) -> io.BufferedReader:
    """A file's bytes from the start, unpacked; `report` hears of packed bytes as they are read."""
    if path == STDIN:
        raw: Any = sys.stdin.buffer
    else:
        raw = open(path, "rb", buffering=0)  # noqa: SIM115  # the caller closes what is returned
    stream = buffered(_Meter(raw, report))
    head = stream.peek(8)[:8]
    packing = next((name for magic, name in MAGIC.items() if head.startswith(magic)), "")
    if not packing:
        return stream
    openers: dict[str, Callable[[IO[bytes]], Any]] = {
        "gzip": lambda file: gzip.GzipFile(fileobj=file),
        "bzip2": bz2.BZ2File,
        "xz": lzma.LZMAFile,
        "zstd": lambda file: _zstd().ZstdFile(file),
    }
    return buffered(_Unpacked(openers[packing](stream), stream))


def held(file: File, limit: int, report: Callable[[int], None] = lambda count: None) -> bytes:
    """A whole file, unpacked; DataError where it has more than `limit` bytes."""
    parts, size = [], 0
    with open_bytes(file.path, report) as stream:
        while part := stream.read(BUFFER):
            parts.append(part)
            size += len(part)
            if size > limit:
                raise DataError(f"the file has more than {limit:,} bytes, the limit for one of its kind")
    return b"".join(parts)

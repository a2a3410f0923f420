"""Rows of records: JSON lines, JSON, CSV and TSV, Parquet, and standard input.

Not what the fields mean: read.py, conversations.py. Each is streamed: a line, an array's element, a table's
row or a row group's batch at a time. A row's value is an object (dict) or a text.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
import os
import tempfile
from collections import deque
from collections.abc import Iterator
from contextlib import closing
from itertools import chain
from typing import Any

from tokenloom.data.documents import Item, Reading, text_lines
from tokenloom.data.encoding import HEAD, WIDE, Line, open_text
from tokenloom.data.files import File, damage, open_bytes
from tokenloom.data.record import BadRecord, Row, UnfitTable


def jsonl_rows(file: File, how: Reading) -> Iterator[Item]:
    """One JSON value a line; blank lines are passed over."""
    for line in text_lines(file, how):
        if line.trouble or line.text.strip():
            yield _json_line(file, line)


def _json_line(file: File, line: Line) -> Item:
    place = f"{file.path}:{line.number}"
    if line.trouble:
        return BadRecord(place, line.trouble)
    try:
        return Row(json.loads(line.text), place)
    except json.JSONDecodeError as error:
        return BadRecord(place, f"it is not JSON: {error.msg.removesuffix(' at')} at column {error.colno}")
    except (ValueError, RecursionError) as error:
        return BadRecord(place, f"it is not JSON: {error}")


def piped_rows(file: File, how: Reading) -> Iterator[Item]:
    """Standard input: JSON lines if the first line is a JSON object, else one text a line."""
    source = (line for line in text_lines(file, how) if line.trouble or line.text.strip())
    first = next(source, None)
    if first is None:
        return
    as_json = first.text.lstrip().startswith("{") and isinstance(_json_line(file, first), Row)
    how.note(f"standard input is read as {'JSON lines' if as_json else 'one text a line'}")
    for line in chain([first], source):
        if as_json:
            yield _json_line(file, line)
        elif line.trouble:
            yield BadRecord(f"{file.path}:{line.number}", line.trouble)
        else:
            yield Row(line.text, f"{file.path}:{line.number}")


def json_rows(file: File, how: Reading) -> Iterator[Item]:
    """The elements of an array, or the values of a file that holds several. What follows a malformed one is
    not read: where the next begins cannot be known."""
    try:
        stream = open_bytes(file.path, how.report)
    except damage() as error:
        yield BadRecord(file.path, f"the file cannot be read: {error}")
        return
    with closing(stream):
        try:
            text, encoding = open_text(stream, how.encoding)
        except damage() as error:
            yield BadRecord(file.path, f"the file is damaged: {error}")
            return
        how.says(file, encoding)
        source = _JsonSource(text, "utf-8" if encoding in WIDE else encoding, how.limits.record_bytes)
        index = 0
        try:
            while (found := source.next()) is not None:
                index += 1
                value, line = found
                yield Row(value, f"{file.path}:{line}")
        except _NotJson as error:
            yield BadRecord(
                f"{file.path}:{source.line}", f"{error}; value {index + 1} and what follows is lost"
            )


class _NotJson(ValueError):
    """The file cannot be read on."""


class _JsonSource:
    """JSON values one by one out of a stream, holding little more than one."""

    def __init__(self, stream: io.BufferedReader, encoding: str, limit: int) -> None:
        self._stream, self._encoding, self._limit = stream, encoding, limit
        self._decode = codecs.getincrementaldecoder(encoding)().decode
        self._text, self._at, self._done = "", 0, False
        self._in_array = self._started = False
        self.line = 1

    def next(self) -> tuple[Any, int] | None:
        """(value, line it starts on); None at the end. _NotJson where the text is none."""
        mark = self._skip_space()
        if not self._started:
            self._started = True
            if mark == "[":
                self._in_array = True
                self._at += 1
                mark = self._skip_space()
                if mark == "]":
                    self._end_array()
                    return None
        elif self._in_array:
            if mark == "]":
                self._end_array()
                return None
            if mark != ",":
                raise _NotJson(f"found {mark or 'the end of the file'!r} where ',' or ']' belongs")
            self._at += 1
            mark = self._skip_space()
        if not mark and not self._in_array:
            return None
        return self._value()

    def _end_array(self) -> None:
        self._at += 1
        if rest := self._skip_space():
            raise _NotJson(f"found {rest!r} after the array's end")

    def _value(self) -> tuple[Any, int]:
        decoder = json.JSONDecoder()
        while True:
            try:
                value, end = decoder.raw_decode(self._text, self._at)
                if end == len(self._text) and self._more():
                    continue  # a number may go on
            except json.JSONDecodeError as error:
                cut = error.msg.startswith("Unterminated") or error.pos > len(self._text) - 64
                if not cut or not self._more():
                    raise _NotJson(f"it is not JSON: {error.msg.removesuffix(' at')}") from error
            except (ValueError, RecursionError) as error:
                raise _NotJson(f"it is not JSON: {error}") from error
            else:
                line = self.line
                self._pass(end)
                return value, line
            if len(self._text) - self._at > self._limit:
                raise _NotJson(f"a value is longer than {self._limit:,} bytes, the limit")

    def _pass(self, end: int) -> None:
        self.line += self._text.count("\n", self._at, end)
        self._at = end

    def _skip_space(self) -> str:
        """The next character that is no space, or ""."""
        while True:
            while self._at < len(self._text):
                if (mark := self._text[self._at]) not in " \t\r\n":
                    return mark
                self._pass(self._at + 1)
            if not self._more():
                return ""

    def _more(self) -> bool:
        """Reads on, at least as much as is held; whether there was more."""
        if self._done:
            return False
        held = len(self._text) - self._at
        try:
            raw = self._stream.read(max(HEAD, held))
            text = self._decode(raw, not raw)
        except UnicodeDecodeError as error:
            raise _NotJson(f"it is not {self._encoding.upper()} ({error.reason})") from error
        except damage() as error:
            raise _NotJson(f"the file is damaged: {error}") from error
        self._done = not raw
        self._text, self._at = self._text[self._at :] + text, 0
        return bool(raw)


class _BadLine(ValueError):
    """A line that a table's record cannot be made of."""


class _Feed:
    """Lines for csv.reader; those of the record under way are kept, to begin anew after its first."""

    def __init__(self, source: Iterator[Line], limit: int) -> None:
        self._source, self._limit, self._size = source, limit, 0
        self._again: deque[Line] = deque()
        self.record: list[Line] = []

    def __iter__(self) -> _Feed:
        return self

    def __next__(self) -> str:
        line = self._again.popleft() if self._again else next(self._source)
        self.record.append(line)
        self._size += len(line.text) + 1
        if line.trouble:
            raise _BadLine(line.trouble)
        if self._size > self._limit:
            raise _BadLine(f"the record is longer than {self._limit:,} bytes: is a quote never closed?")
        return line.text + "\n"

    def begin(self) -> None:
        self.record, self._size = [], 0

    def give_up(self) -> int:
        """The first line of the record is bad: those after it are read anew. Its number."""
        first, rest = self.record[0], self.record[1:]
        self._again.extendleft(reversed(rest))
        self.begin()
        return first.number


def csv_rows(file: File, how: Reading) -> Iterator[Item]:
    """Rows of a table whose first line names its columns; comma, semicolon or tab apart."""
    source = (line for line in text_lines(file, how))
    head = next(source, None)
    if head is None:
        return
    delimiter = "," if file.suffix == ".csv" else "\t"
    if delimiter == "," and "," not in head.text:
        delimiter = next((mark for mark in "\t;" if mark in head.text), ",")
    csv.field_size_limit(max(csv.field_size_limit(), how.limits.record_bytes))
    feed = _Feed(chain([head], source), how.limits.record_bytes)
    reader = csv.reader(feed, delimiter=delimiter, strict=True)
    names: list[str] = []
    while True:
        feed.begin()
        try:
            fields = next(reader)
        except StopIteration:
            return
        except (csv.Error, _BadLine) as error:
            yield BadRecord(f"{file.path}:{feed.give_up()}", f"it is no row of a table: {error}")
            if not names:
                return
            reader = csv.reader(feed, delimiter=delimiter, strict=True)
            continue
        place = f"{file.path}:{feed.record[0].number}"
        if not names:
            names = _names(file, fields, how)
        elif len(fields) == len(names):
            yield Row(dict(zip(names, fields, strict=True)), place)
        elif fields:
            yield BadRecord(place, f"it has {len(fields)} fields, the table has {len(names)} columns")


def _names(file: File, names: list[str], how: Reading) -> list[str]:
    if doubled := {name for name in names if names.count(name) > 1}:
        raise UnfitTable(file.path, f"names a column twice in its first line: {', '.join(sorted(doubled))}")
    check_columns(file.path, names, how.columns)
    return names


def check_columns(where: str, found: list[str], wanted: tuple[str, ...]) -> None:
    """UnfitTable where a table lacks a column."""
    if missing := [name for name in wanted if name not in found and name.split(".")[0] not in found]:
        raise UnfitTable(
            where,
            f"has no column {', '.join(map(repr, missing))}; its columns are: {', '.join(found)}. "
            "Name the one that holds the text (--text-field)",
        )


def parquet_rows(file: File, how: Reading) -> Iterator[Item]:
    """Rows of a Parquet file, a batch of a row group at a time; a packed one is unpacked beside first."""
    import pyarrow as pa
    from pyarrow import parquet

    row = 0
    try:
        with tempfile.TemporaryFile() as spool, open(file.path, "rb") as plain:
            source: Any = plain
            if os.path.splitext(file.path)[1].lower() != file.suffix:
                source = _unpack(file, how, spool)
            table = parquet.ParquetFile(source, pre_buffer=False, buffer_size=HEAD)
            check_columns(file.path, table.schema_arrow.names, how.columns)
            for batch in table.iter_batches(batch_size=256):
                for value in _rows(batch):
                    row += 1
                    at = f"{file.path}:{row}"
                    yield BadRecord(at, value) if isinstance(value, str) else Row(without_null(value), at)
    except (pa.ArrowException, UnicodeDecodeError, *damage()) as error:
        yield BadRecord(f"{file.path}:{row + 1}", f"the Parquet file is damaged from here on: {error}")
    else:
        if source is plain:
            how.report(file.size)


UNFIT = (ValueError, OverflowError)
"""What a text that is not UTF-8 raises, and a date that Python's do not reach."""


def _rows(batch: Any) -> list[dict[str, Any] | str]:
    """The rows of a batch of a table, or why there is none: one that is bad does not spoil the others."""
    try:
        return list(batch.to_pylist())
    except UNFIT:
        rows: list[dict[str, Any] | str] = []
        for number in range(batch.num_rows):
            try:
                rows += batch.slice(number, 1).to_pylist()
            except UNFIT as error:
                rows.append(f"it holds a value that cannot be read: {error}")
        return rows


def without_null(row: dict[str, Any]) -> dict[str, Any]:
    """A row whose nested objects lack the nulls that a table fills in for fields only other rows have."""
    return {key: _bare(value) if isinstance(value, (dict, list)) else value for key, value in row.items()}


def _bare(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _bare(field) for key, field in value.items() if field is not None}
    return [_bare(one) for one in value] if isinstance(value, list) else value


def _unpack(file: File, how: Reading, spool: Any) -> Any:
    count = 0
    with open_bytes(file.path, how.report) as stream:
        while part := stream.read(HEAD):
            count += len(part)
            if count > how.limits.file_bytes:
                raise EOFError(f"it unpacks to more than {how.limits.file_bytes:,} bytes, the limit")
            spool.write(part)
    spool.seek(0)
    return spool

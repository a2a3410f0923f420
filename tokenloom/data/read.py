"""Records of text out of files, folders, pipes and Hub data sets, one at a time.

Not cleaning: what is read is given as it is. Memory stays flat: nothing larger than one record (Limits) is
held. A bad record is reported with its place and skipped, and so is a file of a folder or glob that has not
the field asked for, as one bad record; too many stop the run.

    for record in read(["books/", "web.jsonl.zst", "-"], on_bad=print):
        record.text, record.source, record.meta
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from tokenloom.data.documents import Item, Reading, Unit, html_rows, pdf_rows, text_rows
from tokenloom.data.files import File, find_files
from tokenloom.data.hub_sets import PREFIX, check_online, hub_rows, parse
from tokenloom.data.record import BadRecord, DataError, Limits, Record, Row, Tally, UnfitTable
from tokenloom.data.structured import csv_rows, json_rows, jsonl_rows, parquet_rows, piped_rows

log = logging.getLogger("tokenloom")

FORMATS: Mapping[str, Callable[[File, Reading], Iterator[Item]]] = {
    "text": text_rows, "html": html_rows, "pdf": pdf_rows, "jsonl": jsonl_rows, "json": json_rows,
    "csv": csv_rows, "parquet": parquet_rows, "lines": piped_rows,
}  # fmt: skip
Progress = Callable[[int, int], None]
Source = File | str
"""A file, or the name of a Hub data set."""


def say(message: str) -> None:
    """What is worth knowing and no fault, when the caller does not listen."""
    log.info(message)


def say_bad(record: BadRecord) -> None:
    """A bad record, when the caller does not listen."""
    log.warning("skipped %s", record)


def read(
    paths: Sequence[str],
    *,
    text_field: str | Sequence[str] = "text",
    on_bad: Callable[[BadRecord], None] = say_bad,
    on_note: Callable[[str], None] = say,
    on_progress: Progress | None = None,
    unit: Unit = "document",
    encoding: str | None = None,
    limits: Limits | None = None,
    online: bool = False,
) -> Iterator[Record]:
    """The records of files, folders, globs, "-" (standard input) and "hub:org/name[:config][:split]".

    text_field: the field of an object that holds its text; several are joined by a blank line; "a.b" is b
    of the object in a. The other fields become meta. on_note is told encodings, kinds passed over, texts cut.
    on_progress: called with (bytes read, bytes in all) of files. unit: what a record of a text file is.
    encoding: of text files, None = detected. online: whether the Hub may be asked. Files come in the order
    named, Hub sets after them.
    Raises DataError at once for paths that mean nothing, while reading for a table without the field that is
    named outright and for an empty set, and TooManyBad (a DataError) once the limits are passed.
    """
    fields = (text_field,) if isinstance(text_field, str) else tuple(text_field)
    if not fields or not all(fields):
        raise DataError(f"text_field: found {text_field!r}; allowed: the name of a field, or several")
    limits = limits or Limits()
    tally = Tally(limits, on_bad)
    how = Reading(limits, on_note, lambda count: None, unit, encoding, fields, {})
    sources = find_sources(paths, on_note, online)
    return _records(sources, how, fields, tally, on_progress)


def find_sources(paths: Sequence[str], note: Callable[[str], None], online: bool) -> list[Source]:
    """The files and Hub sets that paths mean, in order; DataError where one means nothing."""
    if isinstance(paths, str) or not paths:
        raise DataError(f"paths: found {paths!r}; allowed: a list of at least one path")
    sources: list[Source] = []
    for path in paths:
        if path.startswith(PREFIX):
            parse(path)
            check_online(path, online)
            sources.append(path)
    return [*find_files([path for path in paths if not path.startswith(PREFIX)], note), *sources]


def total_bytes(sources: Sequence[Source]) -> int:
    """Bytes of the files among them, as they lie on disk."""
    return sum(source.size for source in sources if isinstance(source, File))


def rows_of(source: Source, how: Reading) -> Iterator[Item]:
    """The rows of one file or Hub set. UnfitTable where it is named outright and is not as asked; of other
    files, one bad record."""
    if isinstance(source, str):
        return hub_rows(source, how)
    rows = FORMATS[source.kind](source, how)
    return rows if source.named else _fitting(rows, source, how)


def _fitting(rows: Iterator[Item], file: File, how: Reading) -> Iterator[Item]:
    """Rows of a file that was found, or one bad record: where it is no table as asked, or where none of its
    first objects has the fields. Its own bad lines are told all the same."""
    without: list[BadRecord] = []
    try:
        for item in rows:
            if isinstance(item, BadRecord):
                yield item
            elif isinstance(item.value, dict) and any(
                field_of(item.value, name) is MISSING for name in how.columns
            ):
                bad = record_of(item, how.columns)
                assert isinstance(bad, BadRecord)
                without.append(bad)
                if len(without) == how.limits.bad_count:
                    break
            else:
                yield from without
                without = []
                yield item
                yield from rows
    except UnfitTable as error:
        yield BadRecord(f"{file.path}:1", f"it {error.reason}; the file is skipped")
    if without:
        many = f"; none of its first {len(without)} records has; the file is skipped"
        yield BadRecord(without[0].place, without[0].reason + (many if len(without) > 1 else ""))


def all_rows(
    sources: Sequence[Source], how: Reading, tally: Tally, on_progress: Progress | None
) -> Iterator[Row]:
    """The rows of every source; bad ones go to the tally. Good ones are for the caller to count."""
    total, done = total_bytes(sources), 0

    def report(count: int) -> None:
        nonlocal done
        done += count
        if on_progress is not None:
            on_progress(done, total)

    how = replace(how, report=report)
    ends = 0
    for source in sources:
        ends += source.size if isinstance(source, File) else 0
        for item in rows_of(source, how):
            if isinstance(item, BadRecord):
                tally.bad(item)
            else:
                yield item
        if done < ends:  # the rest of a file that was skipped
            report(ends - done)
    if how.seen and len(how.seen) > 1:
        counts = sorted(how.seen.items(), key=lambda pair: -pair[1])
        how.note("mixed encodings: " + ", ".join(f"{name} {count}" for name, count in counts))


def _records(
    sources: Sequence[Source],
    how: Reading,
    fields: tuple[str, ...],
    tally: Tally,
    on_progress: Progress | None,
) -> Iterator[Record]:
    for row in all_rows(sources, how, tally, on_progress):
        made = record_of(row, fields)
        if isinstance(made, BadRecord):
            tally.bad(made)
        else:
            tally.good()
            yield made
    if not tally.n_good:
        names = ", ".join(s if isinstance(s, str) else s.path for s in sources[:3])
        rest = f" and {len(sources) - 3} more" if len(sources) > 3 else ""
        bad = f"; all {tally.n_bad} records are bad:\n{tally.listed()}" if tally.n_bad else ""
        raise DataError(f"nothing was read from {names}{rest}: the set is empty{bad}")


def record_of(row: Row, fields: tuple[str, ...]) -> Record | BadRecord:
    """A row's text and meta."""
    if isinstance(row.value, str):
        text, meta = row.value, dict(row.meta)
    elif isinstance(row.value, dict):
        parts = []
        for name in fields:
            found = field_of(row.value, name)
            if not isinstance(found, str):
                return BadRecord(row.place, _no_text(row.value, name, found))
            parts.append(found)
        text = "\n\n".join(filter(None, parts))
        meta = {k: v for k, v in row.value.items() if k not in fields} | dict(row.meta)
    else:
        return BadRecord(row.place, f"found {_kind(row.value)}; wanted an object or a text")
    if trouble := unwritable(text):
        return BadRecord(row.place, trouble)
    if not text.strip():
        return BadRecord(row.place, "the text is empty")
    return Record(text, row.place, meta)


def unwritable(text: str) -> str:
    """Why a text cannot be stored, or ""."""
    if "\0" in text:
        return "it holds null bytes"
    try:
        text.encode()
    except UnicodeEncodeError:
        return "it holds half of a surrogate pair, which is no character"
    return ""


class _Missing:
    pass


MISSING = _Missing()


def field_of(value: Mapping[str, Any], name: str) -> Any:
    """A field by its name, or by a path "a.b"; MISSING where there is none."""
    if name in value:
        return value[name]
    found: Any = value
    for part in name.split("."):
        if not isinstance(found, Mapping) or part not in found:
            return MISSING
        found = found[part]
    return found


def _no_text(value: Mapping[str, Any], name: str, found: Any) -> str:
    if found is MISSING:
        there = ", ".join(map(str, list(value)[:8])) or "none"
        return f"it has no field {name!r}; its fields are: {there}"
    return f"field {name!r} is {_kind(found)}; wanted a text"


def _kind(value: Any) -> str:
    kinds = {bool: "a truth value", int: "a number", float: "a number", list: "a list", dict: "an object"}
    return "null" if value is None else kinds.get(type(value), f"of type {type(value).__name__}")

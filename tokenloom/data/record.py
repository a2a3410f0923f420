"""What reading gives: a record of text with its place; and what goes wrong on the way, with its place too.

Not how anything is read (read.py). A place is "file.jsonl:17": the line a record starts on, or for a table
without lines (Parquet, a Hub data set) its row, from 1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Record:
    """One text."""

    text: str
    source: str
    """Its place, such as "file.jsonl:17"."""
    meta: Mapping[str, Any] = field(default_factory=dict)
    """The fields that came with it ("id" among them where there is one)."""


@dataclass(frozen=True, slots=True)
class Row:
    """What a file holds at one place, before anything is made of it."""

    value: Any
    """A text, or an object of a JSON file, a table or a data set."""
    place: str
    meta: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BadRecord:
    """What could not be read, and why."""

    place: str
    reason: str

    def __str__(self) -> str:
        return f"{self.place}: {self.reason}"


class DataError(ValueError):
    """Data that cannot be read as asked; the message names the place, what was found and what to do."""


class UnfitTable(DataError):
    """A table that is not as asked: one found in a folder is skipped, one named outright is an error."""

    def __init__(self, where: str, reason: str) -> None:
        """reason: goes on after the place, or after "it"."""
        super().__init__(f"{where} {reason}")
        self.where, self.reason = where, reason

    def __reduce__(self) -> tuple[type[UnfitTable], tuple[str, str]]:
        return UnfitTable, (self.where, self.reason)


class TooManyBad(DataError):
    """More bad records than the limits allow."""

    def __init__(self, message: str, first: tuple[BadRecord, ...]) -> None:
        super().__init__(message)
        self.first = first

    def __reduce__(self) -> tuple[type[TooManyBad], tuple[str, tuple[BadRecord, ...]]]:
        return TooManyBad, (str(self), self.first)


@dataclass(frozen=True)
class Limits:
    """How much may be wrong, and how large one piece may be."""

    bad_share: float = 0.01
    """Reading stops when more than this share of the records so far is bad ..."""
    bad_count: int = 20
    """... and at least this many are."""
    record_bytes: int = 32 << 20
    """One line, row, page or other record may have so many bytes; a longer one is a bad record."""
    document_bytes: int = 8 << 20
    """A text file longer than this is cut at blank lines into documents of about this size."""
    file_bytes: int = 1 << 30
    """A file that has to be held whole (PDF, compressed Parquet) may have so many bytes unpacked."""

    def __post_init__(self) -> None:
        if not 0 <= self.bad_share <= 1:
            raise DataError(f"bad_share: found {self.bad_share}; allowed: a share from 0 to 1")
        for name in ("bad_count", "record_bytes", "document_bytes", "file_bytes"):
            if (value := getattr(self, name)) < 1:
                raise DataError(f"{name}: found {value}; allowed: 1 or more")


SHOWN = 5


class Tally:
    """Counts good and bad records and stops a run that has too many bad ones."""

    def __init__(self, limits: Limits, on_bad: Callable[[BadRecord], None]) -> None:
        self.limits, self.on_bad = limits, on_bad
        self.n_good = self.n_bad = 0
        self.first: list[BadRecord] = []

    def good(self) -> None:
        self.n_good += 1

    def bad(self, record: BadRecord) -> None:
        """Reports one; TooManyBad once the limits are passed."""
        self.n_bad += 1
        if len(self.first) < SHOWN:
            self.first.append(record)
        self.on_bad(record)
        seen = self.n_good + self.n_bad
        if self.n_bad >= self.limits.bad_count and self.n_bad > self.limits.bad_share * seen:
            raise TooManyBad(
                f"{self.n_bad} of the first {seen} records are bad, and the limits are "
                f"{self.limits.bad_share:.2%} and {self.limits.bad_count}. The first ones:\n{self.listed()}",
                tuple(self.first),
            )

    def listed(self) -> str:
        """The first bad records, one a line."""
        return "\n".join(f"  {record}" for record in self.first)

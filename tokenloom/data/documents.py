"""Rows of what people write: plain text and Markdown, HTML pages, PDF files.

Not of records: structured.py. Markdown stays as it is written, front matter and all: a model reads its marks.
HTML: the main text by trafilatura (Barbaresi 2021, doi:10.18653/v1/2021.acl-demo.15), which leaves menus and
footers out; selectolax and lxml parse faster but give every word of a page, its menus too. PDF: the text by
pypdf, page after page; a scan has none.
"""

from __future__ import annotations

import io
import logging
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Literal, get_args

from tokenloom.data.encoding import HEAD, Line, detect, lines, open_text
from tokenloom.data.files import File, damage, held, open_bytes
from tokenloom.data.record import BadRecord, DataError, Limits, Row

Unit = Literal["document", "paragraph", "line"]
Item = Row | BadRecord
UNREADABLE: tuple[type[Exception], ...] = (DataError, UnicodeDecodeError)


@dataclass(frozen=True)
class Reading:
    """How files are read."""

    limits: Limits
    note: Callable[[str], None]
    report: Callable[[int], None]
    """Hears of bytes as they are read."""
    unit: Unit = "document"
    """What one record of a text file is."""
    encoding: str | None = None
    """Of text files; None = detected file by file."""
    columns: tuple[str, ...] = ()
    """Columns that a table must have."""
    seen: dict[str, int] | None = None
    """Counts files by encoding."""

    def __post_init__(self) -> None:
        if self.unit not in get_args(Unit):
            raise DataError(f"unit: found {self.unit!r}; allowed: {', '.join(get_args(Unit))}")

    def says(self, file: File, encoding: str) -> None:
        """Notes a text file's encoding."""
        if self.seen is not None:
            self.seen[encoding] = self.seen.get(encoding, 0) + 1
        if encoding != "utf-8" and self.encoding is None:
            self.note(f"{file.path} is read as {encoding}")


def text_lines(file: File, how: Reading) -> Iterator[Line]:
    """The lines of a text file, closed at the end."""
    try:
        stream = open_bytes(file.path, how.report)
    except damage() as error:
        yield Line(1, "", f"the file cannot be read: {error}")
        return
    with closing(stream):
        try:
            text, encoding = open_text(stream, how.encoding)
        except damage() as error:
            yield Line(1, "", f"the file is damaged: {error}")
            return
        how.says(file, encoding)
        yield from lines(text, encoding, how.limits.record_bytes)


def text_rows(file: File, how: Reading) -> Iterator[Item]:
    """Documents, paragraphs or lines of a text file; blank ones are no rows. A document with a bad line is
    bad as a whole; a very long one is cut at blank lines (Limits.document_bytes)."""
    if how.unit == "line":
        for line in text_lines(file, how):
            if line.trouble:
                yield BadRecord(f"{file.path}:{line.number}", line.trouble)
            elif line.text.strip():
                yield Row(line.text, f"{file.path}:{line.number}")
        return
    part: list[str] = []
    start, size, n_cut, trouble = 1, 0, 0, ""
    for line in text_lines(file, how):
        blank = not line.trouble and not line.text.strip()
        full = size > how.limits.document_bytes and (blank or size > 2 * how.limits.document_bytes)
        if full or (blank and how.unit == "paragraph"):
            n_cut += full
            yield from _document(file, start, part, trouble)
            part, size, trouble = [], 0, ""
        if not (part or trouble or blank):
            start = line.number
        if line.trouble and not trouble:
            trouble, start = line.trouble, line.number
        if part or not blank:
            part.append(line.text)
        size += len(line.text.encode("utf-8", "replace")) + 1
    yield from _document(file, start, part, trouble)
    if n_cut:
        limit = f"{how.limits.document_bytes:,} bytes"
        how.note(f"{file.path} is longer than {limit}: cut at blank lines into {n_cut + 1} documents")


def _document(file: File, start: int, part: list[str], trouble: str) -> Iterator[Item]:
    if trouble:
        yield BadRecord(f"{file.path}:{start}", trouble)
        return
    text = "\n".join(part).replace("\r", "\n").rstrip()
    if text:
        yield Row(text, f"{file.path}:{start}")


_CHARSET = re.compile(rb"""<meta[^>]{0,200}?charset\s*=\s*["']?\s*([\w.:-]+)""", re.IGNORECASE)


def html_rows(file: File, how: Reading) -> Iterator[Item]:
    """The main text of a page; meta has its title, if any."""
    try:
        data = held(file, how.limits.record_bytes, how.report)
        encoding, text = _page(data, how)
    except (*damage(), *UNREADABLE) as error:
        yield BadRecord(file.path, str(error))
        return
    how.says(file, encoding)
    found, title = _main_text(text)
    if not found:
        yield BadRecord(file.path, "the page has no main text")
    else:
        yield Row(found, file.path, {"title": title} if title else {})


def _page(data: bytes, how: Reading) -> tuple[str, str]:
    """(encoding, text) of a page: asked for, else what it says of itself, else detected."""
    declared = _CHARSET.search(data[:4096])
    names = [how.encoding] if how.encoding else [declared[1].decode("ascii")] if declared else []
    if names and names[0] and names[0].lower() in ("gb2312", "gbk"):
        names = ["gb18030"]  # which holds both, as browsers read them
    for name in names:
        try:
            return str(name).lower(), data.decode(str(name))
        except LookupError:
            break
        except UnicodeDecodeError:
            if how.encoding:
                raise
            break
    name = detect(data[:HEAD])
    return name, data.decode(name).removeprefix("\ufeff")


def _main_text(page: str) -> tuple[str, str]:
    import trafilatura
    from lxml import etree

    for name in ("trafilatura", "htmldate", "courlan", "justext"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # they speak of each page; reading says it itself
    try:
        tree = trafilatura.load_html(page)
        if tree is None:
            return "", ""
        title = " ".join("".join(tree.xpath("//title[1]//text()")).split())
        return trafilatura.extract(tree, include_comments=False) or "", title
    except (etree.LxmlError, ValueError, RecursionError):
        return "", ""


# What pypdf raises on files that are not what they say, besides its own errors.
PDF_ERRORS = (
    ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError, OSError, EOFError,
    zlib.error, struct.error, AssertionError, NotImplementedError, ArithmeticError,
)  # fmt: skip


def pdf_rows(file: File, how: Reading) -> Iterator[Item]:
    """The text of a PDF, its pages apart by a blank line; meta has the number of pages."""
    from pypdf import PdfReader
    from pypdf.errors import DependencyError, PyPdfError

    logging.getLogger("pypdf").setLevel(logging.CRITICAL)  # as above
    try:
        data = held(file, how.limits.file_bytes, how.report)
    except (*damage(), *UNREADABLE) as error:
        yield BadRecord(file.path, str(error))
        return
    page = 0
    try:
        reader = PdfReader(io.BytesIO(data))
        if reader.is_encrypted and not reader.decrypt(""):
            yield BadRecord(file.path, "the PDF is encrypted, and opens with a password only")
            return
        texts = []
        for page, leaf in enumerate(reader.pages, 1):  # noqa: B007  # the place, should one fail
            texts.append(leaf.extract_text().strip())
    except DependencyError:
        yield BadRecord(file.path, "the PDF is encrypted in a way that needs the package cryptography")
    except (PyPdfError, *PDF_ERRORS) as error:
        where = f" at page {page + 1}" if page else ""
        yield BadRecord(file.path, f"the PDF is damaged{where}: {error or type(error).__name__}")
    else:
        yield _pdf_row(file, texts)


def _pdf_row(file: File, pages: list[str]) -> Item:
    text = "\n\n".join(filter(None, pages))
    if not text:
        return BadRecord(file.path, f"the PDF has {len(pages)} pages and no text: is it a scan?")
    meta: dict[str, Any] = {"pages": len(pages)}
    return Row(text, file.path, meta)

"""What the tests of reading share: packings, a PDF, and a reader that keeps all it hears."""

from __future__ import annotations

import bz2
import gzip
import lzma
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tokenloom.data.read import read
from tokenloom.data.record import BadRecord, Record

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

PACKINGS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes, ".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress, ".zst": zstd.compress,
}  # fmt: skip


@dataclass
class Heard:
    """What a reading gave and said."""

    records: list[Record] = field(default_factory=list)
    bad: list[BadRecord] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def texts(self) -> list[str]:
        return [record.text for record in self.records]

    def reasons(self, folder: Path) -> list[str]:
        return [str(bad).replace(f"{folder}/", "") for bad in self.bad]

    def places(self, folder: Path) -> list[str]:
        return [record.source.replace(f"{folder}/", "") for record in self.records]


def listen(*paths: Path | str, **options: Any) -> Heard:
    heard = Heard()
    given = [str(path) for path in paths]
    for record in read(given, on_bad=heard.bad.append, on_note=heard.notes.append, **options):
        heard.records.append(record)
    return heard


def pdf_of(pages: list[str]) -> bytes:
    """A PDF with a line of Latin text a page, written by hand: what reads it did not write it."""
    kids = " ".join(f"{4 + 2 * i} 0 R" for i in range(len(pages)))
    parts = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>".encode(),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    for index, text in enumerate(pages):
        shown = f"BT /F1 12 Tf 72 720 Td ({text}) Tj ET".encode() if text else b""
        head = "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Resources << /Font << /F1 3 0 R >> >> "
        parts.append(f"{head}/Contents {5 + 2 * index} 0 R >>".encode())
        parts.append(b"<< /Length %d >>\nstream\n%s\nendstream" % (len(shown), shown))
    data, places = b"%PDF-1.4\n", []
    for number, part in enumerate(parts, 1):
        places.append(len(data))
        data += b"%d 0 obj\n%s\nendobj\n" % (number, part)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    size = len(parts) + 1
    tail = b"trailer << /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (size, len(data))
    return data + b"xref\n0 %d\n0000000000 65535 f \n%s" % (size, table) + tail

"""Files of JSON lines that are made here: written whole or not at all, and read back.

Not the reading of other people's (`data.structured`), which may be damaged.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tokenloom.config import new_file


def write_records(file: Path, records: Iterable[Mapping[str, Any]]) -> int:
    """Writes a record a line; returns how many."""
    count = 0
    with new_file(file) as beside, beside.open("w", encoding="utf-8", newline="\n") as out:
        for record in records:
            out.write(json.dumps(record, ensure_ascii=False) + "\n")
            count += 1
    return count


def read_records(file: Path) -> Iterator[dict[str, Any]]:
    with file.open(encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)

"""One JSON line per result, appended to a file: `ledger.jsonl`, and `evals.jsonl` of a run.

Not the results themselves. What it was measured on comes from the caller.
"""

from __future__ import annotations

import datetime
import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tokenloom.config import append_whole

EVALS = "evals.jsonl"
"""In a run's folder: what its model scored."""


def append(file: Path, what: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Appends {"what", "time", **facts} as one line and returns it; numbers that are not finite become null.

    OSError with the file as it was.
    """
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    line = {"what": what, "time": now, **facts}
    text = (json.dumps(_finite(line), ensure_ascii=False, allow_nan=False) + "\n").encode()
    place = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        append_whole(place, text)
    finally:
        os.close(place)
    return line


def read(file: Path) -> list[dict[str, Any]]:
    """The objects of a file of JSON lines; none where it is missing. ValueError names a damaged line."""
    if not file.is_file():
        return []
    found = []
    for number, raw in enumerate(file.read_bytes().splitlines(), 1):
        if not raw.strip():
            continue
        try:
            line = json.loads(raw)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{file}:{number}: not JSON: {error}") from error
        if not isinstance(line, dict):
            raise ValueError(f"{file}:{number}: found a {type(line).__name__}; needs an object")
        found.append(line)
    return found


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [_finite(item) for item in value]
    return value

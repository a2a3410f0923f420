"""Where works of any kind are written: several versions side by side, free names, places that can be written.

Not what is in the files (pictures_out, music_out, sound_out).
"""

from __future__ import annotations

import os
from pathlib import Path

from tokenloom.config import new_file


def numbered(path: Path, n: int) -> list[Path]:
    """The files of n versions: the path itself, or fox-1.png, fox-2.png, ... where there are several."""
    if n == 1:
        return [path]
    return [path.with_name(f"{path.stem}-{i}{path.suffix}") for i in range(1, n + 1)]


def free(path: Path) -> Path:
    """The path, or the first of drawing-2.png, drawing-3.png, ... that is not there yet."""
    found, count = path, 1
    while found.exists():
        count += 1
        found = path.with_name(f"{path.stem}-{count}{path.suffix}")
    return found


def check_place(path: Path) -> None:
    """Said before anything is made; ValueError names what is wrong with the place."""
    if path.is_dir() or not path.parent.is_dir():
        what = "is a folder" if path.is_dir() else f"there is no folder {path.parent}"
        raise ValueError(f"--output: found {str(path)!r}; {what}")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise ValueError(f"--output: {path} may not be written")


def write(path: Path, data: bytes) -> None:
    """Beside and renamed."""
    with new_file(path) as beside:
        beside.write_bytes(data)

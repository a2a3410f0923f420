"""What is raised when a weight file cannot be trusted or read.

Not an I/O error: a file that is missing or unreadable raises OSError as Python does.
"""

from __future__ import annotations

from pathlib import Path


class BadFile(ValueError):
    """A weight file that is corrupt, hostile or of a kind that is not read here."""

    def __init__(self, path: Path, where: str, found: str, allowed: str) -> None:
        super().__init__(f"{path}: {where}: found {found}; allowed: {allowed}")
        self.path, self.where, self.found, self.allowed = path, where, found, allowed

    def __reduce__(self) -> tuple[type[BadFile], tuple[Path, str, str, str]]:
        return BadFile, (self.path, self.where, self.found, self.allowed)

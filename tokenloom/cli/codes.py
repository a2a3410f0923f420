"""What the commands of both codecs share: which codec is meant, and the JSON file of codes that it wrote.

Not the codes themselves, nor what is made of them (cli.image, cli.audio).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np


def codec_place(name: str, inner: str) -> Path:
    """The folder of a codec: `name` itself, or `inner` of the model whose folder or name it is.

    Raises ValueError, FileNotFoundError.
    """
    from tokenloom.hub import find

    place = Path(name).expanduser()
    if not place.is_dir():
        place = find(name).path
    return place / inner if (place / inner).is_dir() else place


def read_codes(
    file: Path, codec: str, command: str, rows: Callable[[Any], Iterable[Any]]
) -> list[np.ndarray]:
    """The codes int64 of each work in a file that `loom COMMAND encode` wrote.

    codec: sha256 of the one that is to decode them; rows: of the file's object, the lists of codes. Raises
    ValueError for a file of something else, or of another codec; OSError.
    """
    import numpy as np

    try:
        facts = json.loads(file.read_text(encoding="utf-8"))
        made_by, found = facts["codec"], [np.array(row) for row in rows(facts)]
        if odd := [row.dtype for row in found if row.size and row.dtype != np.int64]:
            raise ValueError(f"codes: found {odd[0]}; allowed: whole numbers")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(
            f"{file}: is no file of codes ({error}); loom {command} encode writes them"
        ) from error
    if made_by != codec:
        raise ValueError(
            f"{file}: was encoded by the codec {str(made_by)[:12]}; this one is {codec[:12]}: "
            "name the right one with --codec"
        )
    if not found:
        raise ValueError(f"{file}: found no codes; allowed: those of one work and more")
    return [row.astype(np.int64) for row in found]  # an empty one has no type of its own

"""The couplets that come with Tokenloom, and the files a walk-through makes of them.

Not how they were chosen (couplets.py). They lie in recipes/couplets as tab-separated text, packed: the upper
and the lower line of a pair. Held out are pairs of poems of which nothing is learned.
"""

from __future__ import annotations

import bz2
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import tokenloom
from tokenloom.config import put_text
from tokenloom.data.couplets import Couplet
from tokenloom.data.jsonl import write_records

Part = Literal["train", "heldout"]
HEAD = "upper\tlower"
LINES, PAIRS, QUESTIONS = "lines.txt", "pairs.jsonl", "questions.jsonl"
MOST_TURNS = 3
"""Couplets of one conversation, so that a model can be asked again and again."""


def recipes() -> Path:
    """The folder of the couplets and their recipes."""
    assert tokenloom.__file__ is not None
    return Path(tokenloom.__file__).parent / "recipes" / "couplets"


def shipped_couplets(part: Part, most: int | None = None) -> list[Couplet]:
    """The pairs of one part, the first `most` of them; they stand in no order."""
    file = recipes() / f"{part}.tsv.bz2"
    with bz2.open(file, "rt", encoding="utf-8", newline="\n") as lines:
        head = next(lines, "").rstrip("\n")
        if head != HEAD:
            raise ValueError(f"{file}: found the head {head!r}; allowed: {HEAD!r}")
        rows = (line.rstrip("\n").split("\t") for line in islice(lines, most))
        return [Couplet(upper, lower, f"{file.name}:{at}") for at, (upper, lower) in enumerate(rows, 2)]


def sentence(pair: Couplet) -> str:
    """A pair as it stands in a poem."""
    return f"{pair.upper}，{pair.lower}。"


def conversations(pairs: Sequence[Couplet]) -> Iterator[dict[str, Any]]:
    """All pairs, in conversations of 1, 2, ... MOST_TURNS, 1, 2, ... of them."""
    start, turns = 0, 1
    while start < len(pairs):
        said = []
        for pair in pairs[start : start + turns]:
            said.append({"role": "user", "content": pair.upper})
            said.append({"role": "assistant", "content": pair.lower})
        yield {"messages": said, "source": pairs[start].source}
        start, turns = start + turns, turns % MOST_TURNS + 1


def write_files(out: Path, train: Sequence[Couplet], held_out: Sequence[Couplet]) -> None:
    """Writes lines.txt (a pair a line) and pairs.jsonl (the same as conversations) of what is learned, and
    questions.jsonl of what is held out, in the shape `loom eval --answers` reads."""
    out.mkdir(parents=True, exist_ok=True)
    write_records(out / PAIRS, conversations(train))
    questions = ({"prompt": pair.upper, "reference": pair.lower} for pair in held_out)
    write_records(out / QUESTIONS, questions)
    put_text(out / LINES, "".join(f"{sentence(pair)}\n" for pair in train))

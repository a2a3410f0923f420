"""Pairs of lines that answer each other, upper and lower (上联 -> 下联), as conversations for fine-tuning.

Not the poems (poem_set.py). The pairs are the two middle couplets of regulated verse, clauses 3-4 and 5-6,
where parallel wording is a rule. Held out are those of held-out poems; a pair that shares a line with one of
them is not learned.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tokenloom.data.jsonl import read_records, write_records
from tokenloom.data.poem_set import number
from tokenloom.tokens.verse import REGULATED, clauses, parse

MIDDLE = ((2, 3), (4, 5))
"""The clauses of a pair, counted from 0."""


@dataclass(frozen=True, slots=True)
class Couplet:
    upper: str
    lower: str
    source: str


@dataclass(frozen=True, slots=True)
class Written:
    """How many pairs are in each file, and how many were not learned."""

    train: int
    held_out: int
    dropped: int


def couplets(records: Iterable[Mapping[str, str]]) -> Iterator[Couplet]:
    """The middle couplets of the poems among records (text, form, source) that are 律诗."""
    for entry in records:
        wanted = REGULATED.get(entry["form"])
        if wanted is None or wanted[0] != 8:
            continue
        parts = clauses(parse(entry["text"])[2])
        for upper, lower in MIDDLE:
            yield Couplet(parts[upper], parts[lower], entry["source"])


def conversation(couplet: Couplet) -> dict[str, object]:
    """A pair as a line of a data set: a user says the upper line, the assistant answers with the lower."""
    turns = [("user", couplet.upper), ("assistant", couplet.lower)]
    messages = [{"role": role, "content": text} for role, text in turns]
    return {"messages": messages, "source": couplet.source}


def write_couplets(poems: Path, out: Path, most: int | None = None) -> Written:
    """Writes couplets.train.jsonl and couplets.heldout.jsonl from train.jsonl and heldout.jsonl in `poems`.

    most: so many pairs for training at most, the same ones each time.
    """
    held_out = list(dict.fromkeys(couplets(read_records(poems / "heldout.jsonl"))))
    taken = {line for pair in held_out for line in (pair.upper, pair.lower)}
    seen: set[tuple[str, str]] = set()
    train, dropped = [], 0
    for pair in couplets(read_records(poems / "train.jsonl")):
        if pair.upper in taken or pair.lower in taken or (pair.upper, pair.lower) in seen:
            dropped += 1
            continue
        seen.add((pair.upper, pair.lower))
        train.append(pair)
    train.sort(key=lambda pair: number(pair.upper + pair.lower, "couplets"))
    train = train[:most]
    out.mkdir(parents=True, exist_ok=True)
    for name, pairs in (("train", train), ("heldout", held_out)):
        write_records(out / f"couplets.{name}.jsonl", map(conversation, pairs))
    return Written(len(train), len(held_out), dropped)


def read_couplets(file: Path) -> Iterator[Couplet]:
    """The pairs of a file that `write_couplets` wrote. ValueError names a line of another shape."""
    with file.open(encoding="utf-8") as lines:
        for at, line in enumerate(lines):
            entry = json.loads(line)
            turns = [turn["content"] for turn in entry["messages"] if turn["role"] in ("user", "assistant")]
            if len(turns) != 2:
                raise ValueError(
                    f"{file}:{at + 1}: found {len(turns)} turns; allowed: an upper and a lower line"
                )
            yield Couplet(turns[0], turns[1], entry["source"])

"""How fast data is prepared: read from memory, cleaned by the default rules, deduplicated, written.

Not the reading of formats, and not the tokenizer. The prose is CPython's own documentation (the topics of
`help()`, in every installation) or a text file that is named. Its sentences are drawn anew into documents, so
that they are not duplicates; then some exact and near-duplicates are put among them. Each round runs one
worker, then several; the figures are medians.
"""

from __future__ import annotations

import random
import re
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tokenloom.data.prepare import prepare
from tokenloom.data.record import Record
from tokenloom.data.report import Report
from tokenloom.data.settings import clean_settings

SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z\"“])")
RUN = 4
"""Sentences that stay together, so that words still follow each other as in prose."""


def prose() -> str:
    """English prose that every CPython has: 0.4 MB of documentation, its tables and listings left out."""
    from pydoc_data.topics import topics

    paragraphs = [p for text in topics.values() for p in text.split("\n\n")]
    plain = [" ".join(p.split()) for p in paragraphs if not p.startswith(" ") and "::=" not in p]
    return "\n\n".join(p for p in plain if len(p) > 80 and p[-1] in ".:")


def documents(text: str, megabytes: float, seed: int = 0) -> list[Record]:
    """Documents of prose, about 4 kB each: 5 % exact and 10 % near-duplicates, 5 % debris."""
    rng = random.Random(seed)
    sentences = [s for s in SENTENCE.split(" ".join(text.split())) if 20 < len(s) < 600]
    if len(sentences) < 100:
        raise ValueError(f"text: found {len(sentences)} sentences; allowed is a text with 100 and more")
    made: list[Record] = []
    size = 0
    while size < megabytes * 1e6:
        dice = rng.random()
        if made and dice < 0.05:
            text = rng.choice(made).text
        elif made and dice < 0.15:
            words = rng.choice(made).text.split(" ")
            words[rng.randrange(len(words))] = "whale"
            text = " ".join(words)
        elif dice < 0.2:
            text = "\n".join(
                rng.choice(("Home | About", "Buy now!", "- item", "0 1 2 3")) for _ in range(300)
            )
        else:
            text = "\n\n".join(_paragraph(sentences, rng) for _ in range(rng.randrange(4, 12)))
        made.append(Record(text, f"made:{len(made) + 1}"))
        size += len(text.encode())
    return made


def _paragraph(sentences: list[str], rng: random.Random) -> str:
    starts = (rng.randrange(len(sentences) - RUN) for _ in range(rng.randrange(1, 3)))
    return " ".join(s for at in starts for s in sentences[at : at + RUN])


def run(
    text: Path | None = None,
    *,
    megabytes: float = 32,
    workers: int = 2,
    rounds: int = 3,
    say: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Measures preparation with one worker and with several; the figures of one JSON line."""
    records = documents(text.read_text("utf-8") if text else prose(), megabytes)
    size = sum(len(r.text.encode()) for r in records) / 1e6
    say(f"{len(records):,} documents, {size:.1f} MB; the median of {rounds} rounds")
    walls: dict[int, list[float]] = {1: [], workers: []}
    cpu: list[float] = []
    reports: dict[int, Report] = {}
    with tempfile.TemporaryDirectory() as place:
        for each in range(rounds):
            for count in walls:
                begun, busy = time.perf_counter(), time.process_time()
                reports[count] = prepare(
                    _again(records), Path(place) / f"{each}-{count}", clean_settings(), workers=count
                )
                walls[count].append(time.perf_counter() - begun)
                if count == 1:
                    cpu.append(time.process_time() - busy)
                say(f"workers {count}: {size / walls[count][-1]:.2f} MB/s")
    one = reports[1]
    median = {count: statistics.median(seconds) for count, seconds in walls.items()}
    return {
        "what": "data preparation",
        "megabytes": round(size, 2),
        "documents": one.documents_in,
        "documents_out": one.documents_out,
        "rounds": rounds,
        "mb_s_core": round(size / median[1], 3),
        "mb_s_cpu": round(size / statistics.median(cpu), 3),
        "workers": workers,
        "mb_s_workers": round(size / median[workers], 3),
        "times": round(median[1] / median[workers], 3),
        "equal": reports[workers].documents_out == one.documents_out,
        "seconds_by_step": {name: round(step.seconds, 3) for name, step in one.steps.items()},
    }


def _again(records: list[Record]) -> Iterator[Record]:
    yield from records

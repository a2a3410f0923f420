"""Documents to token ids on disk: a prepared .jsonl becomes a folder of shards. Not a tokenizer's training.

A document is its text's ids between the tokenizer's begin token (where its model was trained with one) and
its end token. Special tokens written in a text stay text. Goes on where it was broken off.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from tokenloom.data.prepare import record_of_line
from tokenloom.data.shards import Shards, ShardWriter
from tokenloom.data.workers import in_order

if TYPE_CHECKING:
    from tokenloom.tokens.text import Tokenizer

BATCH_BYTES = 1 << 20
Encoded = tuple[list[int], int] | str
"""A document's ids and bytes of text, or why it cannot be encoded."""


def tokenise(
    source: Path,
    folder: Path,
    tokenizer: Path | str,
    *,
    workers: int = 1,
    on_progress: Callable[[int], None] | None = None,
    on_refused: Callable[[str], None] | None = None,
) -> Shards:
    """The shards of a prepared file. on_progress: bytes of text so far; on_refused: documents left out."""
    from tokenloom.tokens.text import load_tokenizer

    loaded = load_tokenizer(tokenizer)
    about = {"source": source.name, "begin_token": loaded.add_bos, "end_token": bool(loaded.eos_ids)}
    with ShardWriter(folder, tokenizer_hash=loaded.hash, vocab_size=loaded.vocab_size, about=about) as writer:
        line = int(writer.cursor or 0)
        done = 0
        jobs = _batches(source, line)
        with closing(in_order(_encoder, (tokenizer,), jobs, workers)) as results:
            for batch in results:
                for encoded in batch:
                    line += 1
                    if isinstance(encoded, str):
                        if on_refused is not None:
                            on_refused(f"{source.name}:{line}: {encoded}")
                        continue
                    ids, n_bytes = encoded
                    writer.add(ids, n_bytes=n_bytes, cursor=line)
                    done += n_bytes
                if on_progress is not None:
                    on_progress(done)
        return writer.finish()


def _batches(source: Path, skip: int) -> Iterator[list[str]]:
    batch: list[str] = []
    size = 0
    with source.open(encoding="utf-8", newline="\n") as lines:
        for line in islice(lines, skip, None):
            batch.append(line)
            size += len(line)
            if size >= BATCH_BYTES:
                yield batch
                batch, size = [], 0
    if batch:
        yield batch


def _encoder(tokenizer: Path | str) -> Callable[[list[str]], list[Encoded]]:
    from tokenloom.tokens.text import load_tokenizer

    loaded = load_tokenizer(tokenizer)
    end = list(loaded.eos_ids[:1])
    return lambda lines: [_encode(loaded, line, end) for line in lines]


def _encode(tokenizer: Tokenizer, line: str, end: list[int]) -> Encoded:
    text = record_of_line(line, "").text
    try:
        return tokenizer.encode(text, bos=True) + end, len(text.encode())
    except ValueError as error:
        return str(error)

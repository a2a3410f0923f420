"""What a recipe's paths name, as token shards: folders of shards as they are, conversations rendered.

Not the rendering (train.render) nor the format on disk (data.shards). Rendered rows are kept under
Tokenloom's home by their content, so a run that goes on finds the same ones.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tokenloom.config import home, new_folder
from tokenloom.data.conversations import Dropped, read_conversations
from tokenloom.data.manifest import MANIFEST
from tokenloom.data.shards import Shards, ShardWriter, open_shards
from tokenloom.tokens.text import Tokenizer
from tokenloom.train.recipe import DataPart
from tokenloom.train.render import Rendered, RenderSettings, render_all


@dataclass(frozen=True)
class Document:
    """Ids to learn from, as they are put on disk."""

    ids: np.ndarray
    learned: np.ndarray | None
    """None: every id."""
    n_bytes: int
    """UTF-8 bytes of its text; 0 where that says nothing."""


@dataclass(frozen=True)
class Conversations:
    """What files of conversations gave."""

    rows: list[Rendered]
    dropped: list[Dropped]


def is_shards(path: str) -> bool:
    """The path is a folder of token shards."""
    return (Path(path).expanduser() / MANIFEST).is_file()


def named_shards(path: str, tokenizer: Tokenizer, field: str) -> Shards:
    """A folder's shards; ValueError naming `field` where they are of another tokenizer."""
    shards = open_shards(Path(path).expanduser())
    if shards.tokenizer_hash != tokenizer.hash:
        raise ValueError(
            f"{field}: {path} was made with another tokenizer ({shards.tokenizer_hash[:12]}..., the model's "
            f"is {tokenizer.hash[:12]}...); make it again with this one (`loom data prepare`)"
        )
    return shards


def read_rendered(paths: Sequence[str], tokenizer: Tokenizer, part: DataPart) -> Conversations:
    """Files of conversations -> rows with their masks, and what was dropped with its place."""
    dropped: list[Dropped] = []
    settings = RenderSettings(learn=part.learn, max_tokens=part.context + 1, too_long=part.too_long)
    found = read_conversations(paths, on_dropped=dropped.append)
    rows = list(render_all(found, tokenizer, settings, dropped.append))
    return Conversations(rows, dropped)


def documents_of(rows: Sequence[Rendered]) -> list[Document]:
    """Rendered rows as documents."""
    return [Document(row.ids, row.learned, 0) for row in rows]


def kept_shards(documents: Sequence[Document], tokenizer: Tokenizer) -> Shards:
    """Shards of these documents under Tokenloom's home, made unless they are there."""
    digest = hashlib.sha256(tokenizer.hash.encode())
    for document in documents:
        digest.update(len(document.ids).to_bytes(8, "little") + document.n_bytes.to_bytes(8, "little"))
        digest.update(document.ids.astype("<i8").tobytes())
        digest.update(b"" if document.learned is None else np.packbits(document.learned).tobytes())
    place = home() / "sets" / digest.hexdigest()[:32]
    if not (place / MANIFEST).is_file():
        masked = any(document.learned is not None for document in documents)
        with (
            new_folder(place) as beside,
            ShardWriter(
                beside, tokenizer_hash=tokenizer.hash, vocab_size=tokenizer.vocab_size, masked=masked
            ) as writer,
        ):
            for document in documents:
                writer.add(document.ids, document.learned, n_bytes=document.n_bytes)
            writer.finish()
    return open_shards(place)

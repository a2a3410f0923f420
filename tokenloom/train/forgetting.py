"""What a fine-tune forgets: bits per byte of general text before and after it.

Not an evaluation of skills (`tokenloom.evals`), nor the measuring (train.evaluate). The text is what
`data.watch` names, else prose that every Python holds, the language reference in pydoc, so that the check
never needs a download; of either the first `data.watch_tokens` ids.
"""

from __future__ import annotations

import numpy as np

from tokenloom.data.shards import Shards
from tokenloom.tokens.text import Tokenizer
from tokenloom.train.recipe import DataPart
from tokenloom.train.sets import Document, kept_shards, named_shards

PYDOC = "Python's language reference (pydoc)"
MOST = 40_000
"""Characters in all."""
LONGEST = 4_000
"""Characters of one document."""


def watched(part: DataPart, tokenizer: Tokenizer) -> tuple[list[Shards], str] | None:
    """The shards to measure, and what they are; None where `watch_tokens` is 0. ValueError names a field."""
    if part.watch_tokens < 0:
        raise ValueError(
            f"data.watch_tokens: found {part.watch_tokens}; allowed: 0 (nothing is measured) or more ids"
        )
    if not part.watch_tokens:
        return None
    if part.watch:
        return [named_shards(path, tokenizer, "data.watch") for path in part.watch], ", ".join(part.watch)
    documents = []
    for text in _pydoc():
        ids = np.array(tokenizer.encode(text), np.int64)
        documents.append(Document(ids, None, len(text.encode())))
    return [kept_shards(documents, tokenizer)], PYDOC


def _pydoc() -> list[str]:
    from pydoc_data.topics import topics

    texts: list[str] = []
    for name in sorted(topics):
        text = topics[name][:LONGEST]
        if sum(len(t) for t in texts) + len(text) > MOST:
            break
        texts.append(text)
    return texts

"""What a fine-tune forgets: bits per byte of general text before and after it.

Not an evaluation of skills (`tokenloom.evals`). The text is what `data.watch` names, else prose that every
Python holds, the language reference in pydoc, so that the check never needs a download.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tokenloom.data.shards import Shards
from tokenloom.tokens.text import Tokenizer
from tokenloom.train.sets import Document, kept_shards, named_shards

PYDOC = "Python's language reference (pydoc)"
MOST = 40_000
"""Characters in all."""
LONGEST = 4_000
"""Characters of one document."""


def watched(paths: Sequence[str], tokenizer: Tokenizer) -> tuple[list[Shards], str]:
    """The shards to measure, and what they are."""
    if paths:
        return [named_shards(path, tokenizer, "data.watch") for path in paths], ", ".join(paths)
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

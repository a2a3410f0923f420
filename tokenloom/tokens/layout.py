"""What the layouts of all media share: marks and codes behind a text tokenizer, and a model that has them.

Not the layouts themselves (image, music, speech), nor the ranges (vocabulary).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tokenloom.step import Range
from tokenloom.tokens.folder import read_vocabulary
from tokenloom.tokens.text import Tokenizer, load_tokenizer
from tokenloom.tokens.vocabulary import SPECIAL, Medium, Vocabulary, extend_tokenizer, text_vocabulary
from tokenloom.weights.tokenizer_files import json_object


class Example(NamedTuple):
    """A document to learn from."""

    ids: list[int]
    learned: list[bool]
    """Which ids are targets: those of the answer, and the marks that end it."""


def add_layout(
    tokenizer: Tokenizer, medium: Medium, marks: Sequence[str], vocabulary: Vocabulary | None
) -> tuple[Tokenizer, Vocabulary]:
    """A tokenizer with a layout's marks and the medium's tokens behind its own, and its vocabulary.

    vocabulary: the tokenizer's, if it has been extended before.
    """
    vocabulary = vocabulary or text_vocabulary(tokenizer)
    marked = tokenizer.with_special(marks)
    return extend_tokenizer(marked, [medium], vocabulary.add(SPECIAL, len(marks)))


def check_layout(
    tokenizer: Tokenizer, vocabulary: Vocabulary, name: str, marks: Sequence[str], kind: str
) -> Range:
    """The range of a medium's codes or events. ValueError where it, or a mark of its layout, is not there.

    marks: of the layout, beside the medium's own two; kind: what has them, as "a model that draws".
    """
    found = vocabulary.range(name)
    for mark in (*marks, *Medium(name, 1).marks):
        if mark not in tokenizer.special:
            raise ValueError(f"tokenizer: found no {mark}; allowed: that of {kind}")
    if vocabulary.size != tokenizer.vocab_size:
        raise ValueError(
            f"vocabulary: found {vocabulary.size} ids, but the tokenizer has {tokenizer.vocab_size}; "
            "allowed: the same number"
        )
    return found


def read_layout(folder: Path, name: str, what: str, kind: str) -> tuple[Tokenizer, Vocabulary, int | None]:
    """The tokenizer, the ranges and the positions of a model that has codes or events of a medium.

    what: those of the range `name`, as "codes of sound"; kind: of model that has them. Positions are None in
    a folder of a tokenizer alone. ValueError where the range is not there.
    """
    vocabulary = read_vocabulary(folder)
    if vocabulary is None or name not in vocabulary.names:
        raise ValueError(f"model: {folder} has no {what}; allowed: {kind}")
    context = json_object(folder / "config.json").get("max_position_embeddings")
    return load_tokenizer(folder), vocabulary, context

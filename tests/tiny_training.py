"""A tokenizer, token shards and a recipe small enough to train in a test. Not fixtures: plain functions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tokenloom.config import fill
from tokenloom.data.shards import Shards, ShardWriter, open_shards
from tokenloom.tokens.folder import tokenizer_files
from tokenloom.tokens.text import Tokenizer, load_tokenizer
from tokenloom.train.recipe import Recipe

WORDS = ["the cat sat on the mat", "a dog ran to the cat", "the sun is up", "on the mat the dog sat down"]


def tiny_tokenizer(folder: Path) -> Tokenizer:
    """Byte-level, without merges: 256 bytes and two control tokens."""
    import tokenizers
    from tokenizers import AddedToken, decoders, models, pre_tokenizers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = tokenizers.Tokenizer(models.BPE({c: i for i, c in enumerate(alphabet)}, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens([AddedToken("<|end|>", special=True), AddedToken("<|pad|>", special=True)])
    made = Tokenizer(backend, named={"eos_token": 256, "pad_token": 257})
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in tokenizer_files(made).items():
        (folder / name).write_text(text, encoding="utf-8")
    return load_tokenizer(folder)


def tiny_shards(
    folder: Path,
    tokenizer: Tokenizer,
    texts: Sequence[str] = WORDS,
    learned: Sequence[np.ndarray] | None = None,
) -> Shards:
    """Each text a document, ended by the end token."""
    with ShardWriter(
        folder,
        tokenizer_hash=tokenizer.hash,
        vocab_size=tokenizer.vocab_size,
        masked=learned is not None,
    ) as writer:
        for i, text in enumerate(texts):
            ids = [*tokenizer.encode(text), 256]
            writer.add(ids, None if learned is None else learned[i], n_bytes=len(text.encode()))
        writer.finish()
    return open_shards(folder)


def tiny_recipe(folder: Path, **changes: object) -> Recipe:
    """Two layers, 32 wide, on `folder`/train; tokenizer and shards are made. Changes: "run.steps"=3."""
    tokenizer = tiny_tokenizer(folder / "tokenizer")
    for name in ("train", "held"):
        if not (folder / name).exists():
            tiny_shards(folder / name, tokenizer, WORDS * (4 if name == "train" else 1))
    table: dict[str, dict[str, object] | object] = {
        "name": "tiny",
        "seed": 3,
        "model": {"n_layer": 2, "dim": 32, "n_head": 2, "tokenizer": str(folder / "tokenizer")},
        "data": {"train": [str(folder / "train")], "held_out": [str(folder / "held")], "context": 32},
        "optim": {"lr": 0.01, "warmup": 2},
        "run": {
            "steps": 6,
            "rows": 2,
            "batch_tokens": 128,
            "dtype": "float32",
            "threads": 1,
            "root": str(folder / "runs"),
        },
    }
    for key, value in changes.items():
        section, _, name = key.partition(".")
        if name:
            inner = table.setdefault(section, {})
            assert isinstance(inner, dict)
            inner[name] = value
        else:
            table[section] = value
    return fill(Recipe, table)

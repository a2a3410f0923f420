"""Sizes of the tests' models, as Hub configs spell them: two, so that a figure is changed in one place."""

from __future__ import annotations

from typing import Any

TINY: dict[str, Any] = {
    "vocab_size": 97,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
}
"""The least that has every part."""
BLOCKS: dict[str, Any] = {
    "vocab_size": 320,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 256,
}
"""Every product is of whole blocks of 32, as the native step and GGUF's quantised types need; the vocabulary
holds the bytes and some."""

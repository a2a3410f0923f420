"""A chat template for a base model that has none: ChatML, with its control tokens.

Source: the format OpenAI published as ChatML (2023), as Qwen and SmolLM2 use it.
"""

from __future__ import annotations

from tokenloom.tokens.text import Tokenizer
from tokenloom.tokens.train import CHATML

TURNS = ("<|im_start|>", "<|im_end|>")


def with_template(tokenizer: Tokenizer) -> Tokenizer:
    """The tokenizer with ChatML; tokens it lacks are added, so the model needs rows for them."""
    lacking = [token for token in TURNS if tokenizer.id_of(token) is None]
    extended = tokenizer.with_special(lacking) if lacking else tokenizer
    return extended.with_template(CHATML, TURNS[1])

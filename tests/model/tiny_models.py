"""Tiny settings of every family and kind of rotation, as transformers spells them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import transformers
from small_sizes import TINY


def _llama(rope: dict[str, Any] | None = None, **more: Any) -> Any:
    rope = {} if rope is None else {"rope_parameters": {"rope_theta": 10_000.0, **rope}}
    return transformers.LlamaConfig(**{**TINY, **more}, **rope)


def _gpt2(**more: Any) -> Any:
    sizes = {"vocab_size": 97, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}
    return transformers.GPT2Config(**sizes, **more)


def _gemma3(**more: Any) -> Any:
    window = {"sliding_window": 8, "sliding_window_pattern": 2, "head_dim": 16, "query_pre_attn_scalar": 24}
    return transformers.Gemma3TextConfig(**TINY, **window, **more)


CONFIGS: dict[str, Callable[[], Any]] = {
    "gpt2": _gpt2,
    "gpt2_untied": lambda: _gpt2(tie_word_embeddings=False, n_inner=40, activation_function="gelu"),
    "llama": _llama,
    "llama_biases_tied": lambda: _llama(attention_bias=True, mlp_bias=True, tie_word_embeddings=True),
    "llama_linear": lambda: _llama({"rope_type": "linear", "factor": 3.0}),
    "llama_dynamic": lambda: _llama({"rope_type": "dynamic", "factor": 3.0}, max_position_embeddings=16),
    "llama_yarn": lambda: _llama(
        {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16}
    ),
    "llama_llama3": lambda: _llama(
        {
            "rope_type": "llama3",
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 16,
        }
    ),
    "mistral": lambda: transformers.MistralConfig(**TINY, sliding_window=8, head_dim=16),
    "qwen2": lambda: transformers.Qwen2Config(**TINY),
    "qwen2_window": lambda: transformers.Qwen2Config(
        **TINY, use_sliding_window=True, sliding_window=8, max_window_layers=1
    ),
    "qwen3": lambda: transformers.Qwen3Config(**TINY, head_dim=16),
    "gemma3": _gemma3,
    "gemma3_capped": lambda: _gemma3(final_logit_softcapping=5.0),
}

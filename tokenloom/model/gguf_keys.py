"""The settings of a model as a GGUF file's metadata: the inverse of weights/gguf_config.py.

Not the tensors (model.export) and not the tokenizer's keys. What the format has no word for is found by
reading the keys back before anything is written. No torch. Source: ggml's docs/gguf.md, and the keys that
llama.cpp's converter writes for these families.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from tokenloom.model.features import ModelConfig, Rope
from tokenloom.model.frequency import angles
from tokenloom.model.read import gguf_config
from tokenloom.weights.blocks import BlockType
from tokenloom.weights.gguf import Gguf, GgufTensor
from tokenloom.weights.gguf_config import llama3_factors

ARCHITECTURES = {
    "gpt2": "gpt2",
    "llama": "llama",
    "mistral": "llama",
    "qwen2": "qwen2",
    "qwen3": "qwen3",
    "gemma3_text": "gemma3",
}
"""family -> the architecture llama.cpp runs it as."""
FREQS = "rope_freqs.weight"
UNSAID = frozenset({"family", "eos_ids", "bos_id", "pad_id", "rope", "local_rope"})
"""Fields compared in another way, or that the tokenizer's keys tell."""


def architecture_of(config: ModelConfig) -> str:
    """The file's architecture; ValueError for a family that has none."""
    if config.family not in ARCHITECTURES:
        raise ValueError(f"family: found {config.family!r}; allowed: {', '.join(ARCHITECTURES)}")
    return ARCHITECTURES[config.family]


def settings(config: ModelConfig) -> dict[str, Any]:
    """The metadata that says what `config` is: key -> text, int, float or bool; `FREQS` aside."""
    at = architecture_of(config)
    keys: dict[str, Any] = {
        "general.architecture": at,
        f"{at}.context_length": config.context,
        f"{at}.embedding_length": config.dim,
        f"{at}.block_count": config.n_layer,
        f"{at}.feed_forward_length": config.ffn_dim,
        f"{at}.attention.head_count": config.n_head,
    }
    if at == "gpt2":
        return keys | {f"{at}.attention.layer_norm_epsilon": config.norm_eps}
    keys |= {
        f"{at}.attention.head_count_kv": config.n_kv_head,
        f"{at}.attention.layer_norm_rms_epsilon": config.norm_eps,
        f"{at}.attention.key_length": config.head_dim,
        f"{at}.attention.value_length": config.head_dim,
        f"{at}.rope.freq_base": config.rope.theta,
    }
    if at == "llama":
        keys |= {f"{at}.vocab_size": config.vocab_size, f"{at}.rope.dimension_count": config.head_dim}
    if any(config.windows):
        keys[f"{at}.attention.sliding_window"] = max(config.windows)
    if config.local_rope is not None:
        keys[f"{at}.rope.freq_base_swa"] = config.local_rope.theta
    if config.logit_softcap:
        keys[f"{at}.final_logit_softcapping"] = config.logit_softcap
    return keys | _scaling(config.rope, f"{at}.rope.scaling")


def _scaling(rope: Rope, at: str) -> dict[str, Any]:
    if rope.kind not in ("linear", "yarn"):
        return {}
    keys: dict[str, Any] = {f"{at}.type": rope.kind, f"{at}.factor": rope.factor}
    if rope.kind == "yarn":
        keys[f"{at}.original_context_length"] = rope.original_context
        keys |= {f"{at}.yarn_beta_fast": rope.beta_fast, f"{at}.yarn_beta_slow": rope.beta_slow}
    return keys


def frequencies(config: ModelConfig) -> np.ndarray | None:
    """What Llama 3's scaling divides each pair's frequency by (E/2,) float32; None for other kinds."""
    rope = config.rope
    if rope.kind != "llama3":
        return None
    plain = rope.theta ** (-np.arange(0, config.head_dim, 2, dtype=np.float64) / config.head_dim)
    bounds = rope.low_freq_factor, rope.high_freq_factor, float(rope.original_context)
    return llama3_factors(plain, rope.factor, *bounds).astype(np.float32)


def check(config: ModelConfig, keys: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]) -> None:
    """ValueError where a file with these keys and tensors would be read as another model than `config`."""
    nothing = Path("the file to be written")
    tensors = {
        name: GgufTensor(name, shape, BlockType.F32, 0, 0, nothing, np.empty(0, np.uint8))
        for name, shape in shapes.items()
    }
    if (freqs := frequencies(config)) is not None:
        raw = freqs.view(np.uint8)
        tensors[FREQS] = GgufTensor(FREQS, freqs.shape, BlockType.F32, 0, raw.size, nothing, raw)
    back = gguf_config(Gguf(nothing, 3, 32, keys, MappingProxyType(tensors)))
    fields = [field.name for field in dataclasses.fields(config) if field.name not in UNSAID]
    lost = [name for name in fields if getattr(back, name) != getattr(config, name)]
    ropes = config.positions == "rope"
    lost += ["rope"] if ropes and not _same_turn(config.rope, back.rope, config) else []
    if config.local_rope is not None and any(config.windows):
        same = back.local_rope is not None and _same_turn(config.local_rope, back.local_rope, config)
        lost += [] if same else ["local_rope"]
    if lost:
        found = ", ".join(f"{name}={getattr(config, name)!r}" for name in lost)
        raise ValueError(
            f"model: found {found}, which a GGUF file of {ARCHITECTURES[config.family]!r} has no way to say; "
            "use the model's folder with a program that reads the Hub's layout"
        )


def _same_turn(one: Rope, two: Rope, config: ModelConfig) -> bool:
    """Whether both turn every pair alike, at the model's context and at four times as long a one."""
    for length in (config.context, 4 * config.context):
        (left, a), (right, b) = (angles(rope, config.head_dim, config.context, length) for rope in (one, two))
        if abs(a - b) > 1e-5 or not np.allclose(left, right, rtol=2e-3):
            return False
    return True

"""The settings of a GGUF file as a Hub `config.json`, so that one parser reads both.

Not that parser (model.config), and not the tokenizer's settings. Source: the keys of ggml's docs/gguf.md, and
llama.cpp's conversion scripts for what they leave out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tokenloom.weights.errors import BadFile
from tokenloom.weights.gguf import Gguf, GgufTensor, dequantise
from tokenloom.weights.names import ARCHITECTURES

INSTEAD = (
    f"dense models of {' '.join(ARCHITECTURES)}; "
    "run others with a server such as llama.cpp or vLLM and give its address as `--upstream`"
)
GEMMA3_PATTERN = 6
"""Every sixth layer of Gemma 3 sees the whole context; the file does not say so. arXiv:2503.19786, 2."""
GEMMA3_LOCAL_THETA = 10_000.0
GEMMA3_27B_LAYERS = 62
"""The one Gemma 3 whose attention scale is not that of its head's width, as llama.cpp knows it too."""


class _Meta:
    """Typed reads of the metadata of one architecture; a wrong type names the key."""

    def __init__(self, path: Path, values: Mapping[str, Any], prefix: str) -> None:
        self.path, self.values, self.prefix = path, values, prefix

    def bad(self, key: str, found: object, allowed: str) -> BadFile:
        return BadFile(self.path, f"{self.prefix}.{key}", repr(found), allowed)

    def whole(self, key: str, default: int | None = None) -> int:
        value = self.values.get(f"{self.prefix}.{key}", default)
        if type(value) is not int or value < 1:
            raise self.bad(key, value, "a whole number above 0, the same for all layers")
        return value

    def number(self, key: str, default: float | None = None) -> float:
        value = self.values.get(f"{self.prefix}.{key}", default)
        if type(value) not in (int, float) or not 0 < value < math.inf:
            raise self.bad(key, value, "a number above 0")
        # The file holds float32: 9.999999747378752e-06 was written 1e-05.
        return float(f"{value:.7g}")

    def has(self, key: str) -> bool:
        return f"{self.prefix}.{key}" in self.values


def config_from_gguf(gguf: Gguf) -> dict[str, Any]:
    """A Hub-style config of an open GGUF file, as json.load gives it.

    Raises BadFile for an architecture that is not read here, a mixture of experts, or settings that are
    missing, of a wrong type, or at odds with the tensors.
    """
    architecture = gguf.meta.get("general.architecture")
    if architecture not in ARCHITECTURES:
        raise BadFile(gguf.path, "general.architecture", repr(architecture), INSTEAD)
    meta = _Meta(gguf.path, gguf.meta, architecture)
    experts = gguf.meta.get(f"{architecture}.expert_count", 0)
    if experts != 0:
        raise meta.bad("expert_count", experts, f"0, a mixture of experts is not run here; {INSTEAD}")
    embedding = _shape(gguf, "token_embd.weight", 2)
    dim = meta.whole("embedding_length")
    if embedding[1] != dim:
        raise meta.bad("embedding_length", dim, f"{embedding[1]}, the width of token_embd.weight")
    layers = meta.whole("block_count")
    if f"blk.{layers - 1}.attn_norm.weight" not in gguf.tensors:
        raise meta.bad("block_count", layers, "as many as the file has layers")
    if f"blk.{layers}.attn_norm.weight" in gguf.tensors:
        raise meta.bad("block_count", layers, f"more: there is a tensor blk.{layers}.attn_norm.weight")
    config = {
        "vocab_size": embedding[0],
        "tie_word_embeddings": "output.weight" not in gguf.tensors,
        "torch_dtype": "float32",
        **_token_ids(gguf),
    }
    return {**config, **FAMILIES[architecture](gguf, meta)}


def _shape(gguf: Gguf, name: str, dims: int) -> tuple[int, ...]:
    tensor = gguf.tensors.get(name)
    if tensor is None:
        raise BadFile(gguf.path, "tensors", f"no {name}", "a file that holds a whole model")
    if len(tensor.shape) != dims:
        raise BadFile(gguf.path, f"tensor {name!r}", f"shape {tensor.shape}", f"{dims} dimensions")
    return tensor.shape


def _token_ids(gguf: Gguf) -> dict[str, Any]:
    """bos_token_id and eos_token_id, the latter a list where a turn may end in several ways."""

    def token(name: str) -> int | None:
        value = gguf.meta.get(f"tokenizer.ggml.{name}_token_id")
        if value is not None and (type(value) is not int or value < 0):
            raise BadFile(gguf.path, f"tokenizer.ggml.{name}_token_id", repr(value), "a token id")
        return value

    ends = [value for value in map(token, ("eos", "eot", "eom")) if value is not None]
    ends = list(dict.fromkeys(ends))
    ids = {"bos_token_id": token("bos"), "eos_token_id": ends[0] if len(ends) == 1 else ends or None}
    return {key: value for key, value in ids.items() if value is not None}


def _common(gguf: Gguf, meta: _Meta) -> dict[str, Any]:
    """What the families with RoPE and RMS norms share."""
    dim, heads = meta.whole("embedding_length"), meta.whole("attention.head_count")
    key_heads = meta.whole("attention.head_count_kv", heads)
    if heads % key_heads:
        raise meta.bad("attention.head_count_kv", key_heads, f"a divisor of {heads}")
    width = meta.whole("attention.key_length", max(1, dim // heads))
    if meta.whole("attention.value_length", width) != width:
        raise meta.bad(
            "attention.value_length", meta.whole("attention.value_length"), f"{width}, as key_length"
        )
    if meta.whole("rope.dimension_count", width) != width:
        raise meta.bad(
            "rope.dimension_count", meta.whole("rope.dimension_count"), f"{width}, the head's width"
        )
    q = _shape(gguf, "blk.0.attn_q.weight", 2)
    if q[0] != heads * width:
        raise meta.bad(
            "attention.head_count", heads, f"{q[0] // width} of width {width}, as blk.0.attn_q.weight has"
        )
    config: dict[str, Any] = {
        "hidden_size": dim,
        "intermediate_size": meta.whole("feed_forward_length"),
        "num_hidden_layers": meta.whole("block_count"),
        "num_attention_heads": heads,
        "num_key_value_heads": key_heads,
        "head_dim": width,
        "max_position_embeddings": meta.whole("context_length"),
        "rms_norm_eps": meta.number("attention.layer_norm_rms_epsilon"),
        "rope_theta": meta.number("rope.freq_base", 10_000.0),
    }
    scaling = _rope_scaling(gguf, meta, config["rope_theta"], width)
    return config if scaling is None else {**config, "rope_scaling": scaling}


def _rope_scaling(gguf: Gguf, meta: _Meta, theta: float, width: int) -> dict[str, Any] | None:
    kind = meta.values.get(f"{meta.prefix}.rope.scaling.type", "none")
    factors = gguf.tensors.get("rope_freqs.weight")
    if meta.has("rope.scale_linear") and kind == "none":  # how files of 2023 spell it
        return {"rope_type": "linear", "factor": meta.number("rope.scale_linear")}
    if kind == "none" and factors is not None:
        return _llama3_scaling(factors, theta, width)
    if kind == "none":
        return None
    if factors is not None:
        raise meta.bad("rope.scaling.type", kind, "none, beside the tensor rope_freqs.weight")
    if kind == "linear":
        return {"rope_type": "linear", "factor": meta.number("rope.scaling.factor")}
    if kind != "yarn":
        raise meta.bad("rope.scaling.type", kind, "none linear yarn")
    scaling: dict[str, Any] = {
        "rope_type": "yarn",
        "factor": meta.number("rope.scaling.factor"),
        "original_max_position_embeddings": meta.whole("rope.scaling.original_context_length"),
    }
    for ours, keys in {
        "attention_factor": ("rope.scaling.yarn_attn_factor", "rope.scaling.attn_factor"),
        "beta_fast": ("rope.scaling.yarn_beta_fast",),
        "beta_slow": ("rope.scaling.yarn_beta_slow",),
    }.items():
        for key in keys:
            if ours not in scaling and meta.has(key):
                scaling[ours] = meta.number(key)
    return scaling


def llama3_factors(freqs: np.ndarray, factor: float, low: float, high: float, original: float) -> np.ndarray:
    """What Llama 3's scaling divides each frequency by. Source: transformers, rope_type "llama3"."""
    turns = original * freqs / (2 * math.pi)  # within the original context
    share = np.clip((turns - low) / (high - low), 0.0, 1.0)
    return 1.0 / ((1.0 - share) / factor + share)


def _llama3_scaling(tensor: GgufTensor, theta: float, width: int) -> dict[str, Any]:
    """Llama 3's settings out of the divisors they led to, which is all that the file keeps.

    Between its two bounds, 1 / divisor is a line in the frequency. The line gives two of the three unknowns;
    low_freq_factor is taken as 1, as in every Llama 3, which changes no divisor.
    """
    if tensor.shape != (width // 2,):
        raise BadFile(tensor.path, f"tensor {tensor.name!r}", f"shape {tensor.shape}", f"({width // 2},)")
    found = dequantise(tensor).astype(np.float64)
    if not (np.isfinite(found) & (found > 0)).all():
        raise BadFile(
            tensor.path, f"tensor {tensor.name!r}", "divisors that are not positive", "those of Llama 3"
        )
    freqs = theta ** (-np.arange(0, width, 2, dtype=np.float64) / width)
    factor = float(f"{found.max():.6g}")
    between = (found > 1.0 + 1e-4) & (found < factor * (1 - 1e-4))
    guesses = [(1.0, 4.0, 8192.0)]
    if factor > 1 and between.sum() >= 2:
        share = (1.0 / found[between] - 1.0 / factor) / (1.0 - 1.0 / factor)
        slope, offset = np.polyfit(freqs[between], share, 1)
        if slope > 0 and offset < 0:
            span = -1.0 / offset
            guesses.append((1.0, round(1.0 + span, 3), float(round(slope * span * 2 * math.pi))))
    for low, high, original in guesses:
        if np.allclose(llama3_factors(freqs, factor, low, high, original), found, rtol=2e-3):
            return {
                "rope_type": "llama3",
                "factor": factor,
                "low_freq_factor": low,
                "high_freq_factor": high,
                "original_max_position_embeddings": int(original),
            }
    raise BadFile(
        tensor.path, f"tensor {tensor.name!r}", f"divisors from {found.min():.4g} to {factor:.4g}",
        "those of Llama 3's scaling",
    )  # fmt: skip


def _biases(gguf: Gguf, meta: _Meta, parts: tuple[str, ...]) -> bool:
    """Whether the first layer's parts have biases; all or none must."""
    have = [f"blk.0.{part}.bias" in gguf.tensors for part in parts]
    if len(set(have)) > 1:
        found = " ".join(part for part, has in zip(parts, have, strict=True) if has)
        raise BadFile(
            gguf.path, f"biases of {meta.prefix}", f"only on {found}", f"all of {' '.join(parts)}, or none"
        )
    return have[0]


def _llama(gguf: Gguf, meta: _Meta) -> dict[str, Any]:
    config = _common(gguf, meta) | {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "hidden_act": "silu",
        "attention_bias": _biases(gguf, meta, ("attn_q", "attn_k", "attn_v", "attn_output")),
        "mlp_bias": _biases(gguf, meta, ("ffn_gate", "ffn_up", "ffn_down")),
    }
    if not meta.has("attention.sliding_window"):
        return config
    if config["attention_bias"] or config["mlp_bias"]:
        raise meta.bad(
            "attention.sliding_window", meta.whole("attention.sliding_window"), "none beside biases"
        )
    return config | {
        "model_type": "mistral",
        "architectures": ["MistralForCausalLM"],
        "sliding_window": meta.whole("attention.sliding_window"),
    }


def _qwen2(gguf: Gguf, meta: _Meta) -> dict[str, Any]:
    if not _biases(gguf, meta, ("attn_q", "attn_k", "attn_v")):
        raise BadFile(gguf.path, "biases of qwen2", "none on attn_q attn_k attn_v", "all three")
    return _common(gguf, meta) | {
        "model_type": "qwen2",
        "architectures": ["Qwen2ForCausalLM"],
        "hidden_act": "silu",
        "use_sliding_window": False,
    }


def _qwen3(gguf: Gguf, meta: _Meta) -> dict[str, Any]:
    return _common(gguf, meta) | {
        "model_type": "qwen3",
        "architectures": ["Qwen3ForCausalLM"],
        "hidden_act": "silu",
        "attention_bias": _biases(gguf, meta, ("attn_q", "attn_k", "attn_v", "attn_output")),
        "use_sliding_window": False,
    }


def _gemma3(gguf: Gguf, meta: _Meta) -> dict[str, Any]:
    config = _common(gguf, meta)
    layers, heads = config["num_hidden_layers"], config["num_attention_heads"]
    windowed = meta.has("attention.sliding_window")
    kinds = [
        "sliding_attention" if windowed and (layer + 1) % GEMMA3_PATTERN else "full_attention"
        for layer in range(layers)
    ]
    scale_width = config["hidden_size"] // heads if layers == GEMMA3_27B_LAYERS else config["head_dim"]
    config |= {
        "model_type": "gemma3_text",
        "architectures": ["Gemma3ForCausalLM"],
        "hidden_activation": "gelu_pytorch_tanh",
        "attention_bias": False,
        "query_pre_attn_scalar": scale_width,
        "rope_theta": meta.number("rope.freq_base", 1_000_000.0),
        "rope_local_base_freq": meta.number("rope.freq_base_swa", GEMMA3_LOCAL_THETA),
        "layer_types": kinds,
        "attn_logit_softcapping": None,
        "final_logit_softcapping": None,
    }
    if windowed:
        config["sliding_window"] = meta.whole("attention.sliding_window")
    if meta.has("final_logit_softcapping"):
        config["final_logit_softcapping"] = meta.number("final_logit_softcapping")
    return config


def _gpt2(gguf: Gguf, meta: _Meta) -> dict[str, Any]:
    dim, heads = meta.whole("embedding_length"), meta.whole("attention.head_count")
    if dim % heads:
        raise meta.bad("attention.head_count", heads, f"a divisor of {dim}")
    positions, _ = _shape(gguf, "position_embd.weight", 2)
    if positions < meta.whole("context_length"):
        raise meta.bad(
            "context_length", meta.whole("context_length"), f"{positions}, rows of position_embd.weight"
        )
    return {
        "model_type": "gpt2",
        "architectures": ["GPT2LMHeadModel"],
        "n_layer": meta.whole("block_count"),
        "n_head": heads,
        "n_embd": dim,
        "n_inner": meta.whole("feed_forward_length"),
        "n_positions": positions,
        "layer_norm_epsilon": meta.number("attention.layer_norm_epsilon"),
        "activation_function": "gelu_new",
    }


FAMILIES: dict[str, Callable[[Gguf, _Meta], dict[str, Any]]] = {
    "llama": _llama,
    "qwen2": _qwen2,
    "qwen3": _qwen3,
    "gemma3": _gemma3,
    "gpt2": _gpt2,
}

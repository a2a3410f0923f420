"""Small GGUF files for tests, written with the gguf package: its writer, its names, its quantisers.

`write_gguf` does to a Hub model what llama.cpp's converter does; `small_llama` makes a random one with a
byte-level tokenizer. Not used by the product.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from small_sizes import BLOCKS

SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
MERGES = ("h e", "l l", "he ll", "hell o", "Ġ t", "Ġt he", "i n", "e r")
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] "
    "+ '<|im_end|>' + '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
SMALL = {
    "model_type": "llama",
    **BLOCKS,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "hidden_act": "silu",
    "tie_word_embeddings": True,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
"""The model of `small_llama`, as a Hub config."""
ARCHS = {
    "llama": gguf.MODEL_ARCH.LLAMA,
    "mistral": gguf.MODEL_ARCH.LLAMA,
    "qwen2": gguf.MODEL_ARCH.QWEN2,
    "qwen3": gguf.MODEL_ARCH.QWEN3,
    "gemma3_text": gguf.MODEL_ARCH.GEMMA3,
    "gpt2": gguf.MODEL_ARCH.GPT2,
}


def byte_tokens() -> list[str]:
    """The 256 characters that stand for bytes in GPT-2's vocabulary, by byte."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = iter(range(256, 512))
    return [chr(b) if b in plain else chr(next(others)) for b in range(256)]


def small_vocabulary(size: int = 320) -> list[str]:
    """Specials, the 256 bytes, what the merges make, and fillers up to `size`."""
    words = [*SPECIAL, *byte_tokens(), *(merge.replace(" ", "") for merge in MERGES)]
    return words + [f"<filler_{i}>" for i in range(size - len(words))]


def small_weights(config: Mapping[str, Any] = SMALL, seed: int = 0) -> dict[str, np.ndarray]:
    """Random float32 weights of a Llama model under their Hub names."""
    rng = np.random.default_rng(seed)
    dim, ffn, width = config["hidden_size"], config["intermediate_size"], config["head_dim"]
    q, kv = config["num_attention_heads"] * width, config["num_key_value_heads"] * width
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (config["vocab_size"], dim)}
    for i in range(config["num_hidden_layers"]):
        at = f"model.layers.{i}."
        shapes |= {f"{at}input_layernorm.weight": (dim,), f"{at}post_attention_layernorm.weight": (dim,)}
        shapes |= {f"{at}self_attn.{p}_proj.weight": (q if p == "q" else kv, dim) for p in "qkv"}
        shapes |= {f"{at}self_attn.o_proj.weight": (dim, q), f"{at}mlp.down_proj.weight": (dim, ffn)}
        shapes |= {f"{at}mlp.{p}_proj.weight": (ffn, dim) for p in ("gate", "up")}
    shapes["model.norm.weight"] = (dim,)
    if not config["tie_word_embeddings"]:
        shapes["lm_head.weight"] = (config["vocab_size"], dim)
    return {
        name: (
            (1 + 0.1 * rng.standard_normal(shape)) if len(shape) == 1 else 0.2 * rng.standard_normal(shape)
        ).astype(np.float32)
        for name, shape in shapes.items()
    }


def small_llama(path: Path, kind: str = "F32", seed: int = 0, **changes: Any) -> dict[str, np.ndarray]:
    """Writes a random two-layer Llama model with its tokenizer as a GGUF file of one block type.

    `changes` go into its config. Returns the weights that were given, by Hub name, not yet quantised.
    """
    config = {**SMALL, **changes}
    weights = small_weights(config, seed)
    write_gguf(path, config, weights, kind)
    return weights


def _permute(rows: np.ndarray, n_head: int) -> np.ndarray:
    halves = rows.reshape(n_head, 2, rows.shape[0] // n_head // 2, *rows.shape[1:])
    return halves.swapaxes(1, 2).reshape(rows.shape)


def write_gguf(
    path: Path,
    config: Mapping[str, Any],
    weights: Mapping[str, np.ndarray],
    kind: str = "F32",
    tokenizer: bool = True,
    extra: Mapping[str, tuple[Any, gguf.GGUFValueType]] | None = None,
) -> None:
    """Writes Hub weights, by their Hub names, as a GGUF file; matrices in blocks of `kind`, vectors in F32.
    The name "rope_freqs" stands for the divisors that Llama 3's scaling leads to.

    `extra`: more metadata, key -> (value, type).
    """
    family = config["model_type"]
    arch = ARCHS[family]
    writer = gguf.GGUFWriter(path, gguf.MODEL_ARCH_NAMES[arch])
    layers = config.get("num_hidden_layers") or config["n_layer"]
    names = gguf.get_tensor_name_map(arch, layers)
    _settings(writer, config)
    if tokenizer:
        _tokenizer(writer, config)
    for key, (value, of) in (extra or {}).items():
        writer.add_key_value(key, value, of)
    for name, weight in weights.items():
        if family == "gpt2" and name.endswith(("c_attn.weight", "c_proj.weight", "c_fc.weight")):
            weight = weight.T
        if arch == gguf.MODEL_ARCH.LLAMA and ("q_proj" in name or "k_proj" in name):
            heads = config["num_attention_heads" if "q_proj" in name else "num_key_value_heads"]
            weight = _permute(weight, heads)
        if family == "gemma3_text" and name.endswith("norm.weight"):
            weight = weight + np.float32(1)
        if name == "rope_freqs":
            target: str | None = "rope_freqs.weight"
        else:
            target = names.get_name(name, try_suffixes=(".weight", ".bias"))
        assert target is not None, name
        of_block = gguf.GGMLQuantizationType[kind if weight.ndim == 2 else "F32"]
        data = gguf.quants.quantize(np.ascontiguousarray(weight, np.float32), of_block)
        writer.add_tensor(target, data, raw_dtype=of_block)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _settings(writer: gguf.GGUFWriter, config: Mapping[str, Any]) -> None:
    family = config["model_type"]
    if family == "gpt2":
        writer.add_context_length(config["n_positions"])
        writer.add_embedding_length(config["n_embd"])
        writer.add_block_count(config["n_layer"])
        writer.add_feed_forward_length(config.get("n_inner") or 4 * config["n_embd"])
        writer.add_head_count(config["n_head"])
        writer.add_layer_norm_eps(config["layer_norm_epsilon"])
        return
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(config["rope_theta"])
    writer.add_key_length(config["head_dim"])
    writer.add_value_length(config["head_dim"])
    if family in ("llama", "mistral"):
        writer.add_vocab_size(config["vocab_size"])
        writer.add_rope_dimension_count(config["head_dim"])
    if family in ("gemma3_text", "mistral") and config.get("sliding_window"):
        writer.add_sliding_window(config["sliding_window"])
    scaling = config.get("rope_scaling") or {}
    if scaling.get("rope_type") in ("linear", "yarn"):
        writer.add_rope_scaling_type(gguf.RopeScalingType(scaling["rope_type"]))
        writer.add_rope_scaling_factor(scaling["factor"])
    if scaling.get("rope_type") == "yarn":
        writer.add_rope_scaling_orig_ctx_len(scaling["original_max_position_embeddings"])
        if "attention_factor" in scaling:
            writer.add_rope_scaling_yarn_attn_factor(scaling["attention_factor"])


def _tokenizer(writer: gguf.GGUFWriter, config: Mapping[str, Any]) -> None:
    size = config["vocab_size"]
    control, normal, unused = gguf.TokenType.CONTROL, gguf.TokenType.NORMAL, gguf.TokenType.UNUSED
    tokens = small_vocabulary(size)
    assert len(tokens) == size, "the vocabulary must hold the specials, the bytes and the merges"
    types = [
        control if token in SPECIAL else unused if token.startswith("<filler_") else normal
        for token in tokens
    ]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges(list(MERGES))
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_pad_token_id(2)
    writer.add_add_bos_token(False)
    writer.add_add_space_prefix(False)
    writer.add_chat_template(CHAT_TEMPLATE)

"""Settings from the Hub: old and new spellings, what is refused and how, and the way back."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import transformers
from small_sizes import TINY
from tiny_models import CONFIGS

from tokenloom.model.config import ModelConfig, Rope, UnsupportedModel, from_hub, to_hub

LLAMA: dict[str, Any] = {"model_type": "llama", **TINY}


@pytest.mark.parametrize("name", CONFIGS)
def test_there_and_back(name: str) -> None:
    config = from_hub(CONFIGS[name]().to_dict())
    assert from_hub(to_hub(config)) == config


@pytest.mark.parametrize("name", CONFIGS)
def test_transformers_reads_what_is_written_as_it_was(name: str) -> None:
    first = CONFIGS[name]()
    written = to_hub(from_hub(first.to_dict()))
    again = type(first)(**{k: v for k, v in written.items() if k != "architectures"})
    old, new = first.to_dict(), again.to_dict()
    keys = ("rope_parameters", "sliding_window", "head_dim", "tie_word_embeddings", "hidden_act", "n_inner")
    for key in keys:
        if old.get(key) is not None:
            # Numbers that were left to their defaults may be written out.
            same = {**new[key], **old[key]} if isinstance(old[key], dict) else old[key]
            assert new[key] == same, key


def test_old_and_new_rope_spellings_are_one() -> None:
    values = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
    values["original_max_position_embeddings"] = 16
    old = from_hub({**LLAMA, "rope_theta": 5e5, "rope_scaling": {"rope_type": "llama3", **values}})
    new = from_hub({**LLAMA, "rope_parameters": {"rope_type": "llama3", "rope_theta": 5e5, **values}})
    assert old.rope == new.rope == Rope(5e5, "llama3", 8.0, 16)
    oldest = from_hub({**LLAMA, "rope_scaling": {"type": "linear", "factor": 2.0}})
    assert oldest.rope == Rope(10_000.0, "linear", 2.0)


def test_gemma3_old_spelling() -> None:
    hub = {
        **LLAMA,
        "model_type": "gemma3_text",
        "head_dim": 16,
        "rope_theta": 1e6,
        "rope_local_base_freq": 1e4,
        "rope_scaling": {"rope_type": "linear", "factor": 8.0},
        "sliding_window": 8,
        "sliding_window_pattern": 2,
        "num_hidden_layers": 4,
    }
    config = from_hub(hub)
    assert config.windows == (8, 0, 8, 0)
    assert config.rope_of(0) == Rope(1e4)
    assert config.rope_of(1) == Rope(1e6, "linear", 8.0)
    theirs = transformers.Gemma3TextConfig(**{k: v for k, v in hub.items() if k != "model_type"})
    assert from_hub(theirs.to_dict()) == dataclasses.replace(config, eos_ids=(1,), bos_id=2, pad_id=0)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model_type": "mixtral", "num_local_experts": 8}, "num_local_experts: found 8.*dense"),
        ({"model_type": "qwen3_moe", "num_experts": 128}, "num_experts: found 128"),
        ({"quantization_config": {"quant_method": "fp8"}}, "'fp8'.*bf16 or GGUF release"),
        ({"quantization_config": {"quant_method": "awq", "bits": 4}}, "'awq'.*bf16 or GGUF release"),
        ({"quantization_config": {"quant_method": "gptq"}}, "'gptq'.*bf16 or GGUF release"),
        ({"quantization_config": {"load_in_4bit": True}}, "'bitsandbytes'.*bf16 or GGUF release"),
        ({"model_type": "mamba"}, "model_type: found 'mamba', allowed are gpt2, llama"),
        ({"model_type": None}, "model_type: found None"),
        ({"rope_scaling": {"rope_type": "longrope"}}, "rope_type: found 'longrope'.*--upstream"),
        ({"rope_scaling": {"rope_type": "linear"}}, "factor: found None"),
        ({"rope_parameters": {"partial_rotary_factor": 0.5}}, "partial_rotary_factor: found 0.5"),
        ({"partial_rotary_factor": 0.25}, "partial_rotary_factor: found 0.25"),
        ({"hidden_act": "relu2"}, "hidden_act: found 'relu2', allowed are"),
        ({"hidden_size": None}, "hidden_size: missing"),
        ({"vocab_size": "many"}, "vocab_size: found 'many'"),
        ({"num_key_value_heads": 3}, "n_kv_head: found 3, needs a divisor of n_head 4"),
        ({"num_hidden_layers": 0}, "n_layer: found 0"),
        ({"model_type": "gemma3"}, "its text-only release"),
        ({"model_type": "gemma3_text", "sliding_window": 4, "layer_types": ["x"]}, "layer_types: found"),
    ],
)  # fmt: skip
def test_refused_by_name(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        from_hub({**LLAMA, **change})


def test_gpt2_variants_are_refused() -> None:
    gpt2 = CONFIGS["gpt2"]().to_dict()
    with pytest.raises(UnsupportedModel, match="scale_attn_by_inverse_layer_idx"):
        from_hub({**gpt2, "scale_attn_by_inverse_layer_idx": True})


def test_features_a_family_cannot_say_are_refused_on_the_way_back() -> None:
    config = ModelConfig(
        n_layer=2, n_head=4, n_kv_head=2, dim=32, head_dim=8, ffn_dim=48, vocab_size=97, context=64,
        qk_norm=True,
    )  # fmt: skip
    with pytest.raises(ValueError, match="family: 'llama' has no way to say qk_norm=True"):
        to_hub(config)
    assert from_hub(to_hub(dataclasses.replace(config, family="qwen3", norm_eps=1e-6))).qk_norm

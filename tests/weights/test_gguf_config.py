"""A Hub model written as GGUF comes back with its names, weights and settings. Judge: transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from gguf_fixtures import SMALL, small_llama, small_weights, write_gguf

from tokenloom.weights.errors import BadFile
from tokenloom.weights.gguf import dequantise, open_gguf
from tokenloom.weights.gguf_config import config_from_gguf
from tokenloom.weights.names import hub_name, hub_names, hub_tensors, unpermute

COMMON = {k: SMALL[k] for k in SMALL if k not in ("model_type", "hidden_act")} | {
    "tie_word_embeddings": False
}
FAMILIES: dict[str, dict[str, Any]] = {
    "llama": COMMON,
    "llama with biases": COMMON | {"attention_bias": True, "mlp_bias": True},
    "llama linear": COMMON | {"rope_scaling": {"rope_type": "linear", "factor": 4.0}},
    "llama yarn": COMMON
    | {
        "rope_scaling": {
            "rope_type": "yarn",
            "factor": 4.0,
            "original_max_position_embeddings": 64,
            "attention_factor": 1.1,
        }
    },
    "mistral": COMMON | {"sliding_window": 32},
    "qwen2": COMMON,
    "qwen3": COMMON | {"head_dim": 32},
    "gemma3_text": COMMON
    | {
        "head_dim": 32,
        "num_hidden_layers": 7,
        "sliding_window": 16,
        "query_pre_attn_scalar": 32,
        "rope_theta": 1e6,
    },
    "gpt2": {
        "vocab_size": 320,
        "n_layer": 2,
        "n_head": 4,
        "n_embd": 64,
        "n_positions": 128,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "layer_norm_epsilon": 1e-5,
    },
}


def random_model(case: str) -> tuple[Any, dict[str, np.ndarray]]:
    """A transformers config and the weights of a random model of it, by the Hub's names."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    model_type = case.split()[0]
    config = AutoConfig.for_model(model_type, **FAMILIES[case])
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    weights = {name: weight.numpy() for name, weight in model.state_dict().items()}
    if config.tie_word_embeddings:
        weights.pop("lm_head.weight", None)
    return config, weights


def internal(weights: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """GPT-2's Hub weights under the names used inside."""
    out = {}
    rename = {"wte": "embed_tokens", "wpe": "embed_positions", "ln_f": "norm", "h": "layers"}
    rename |= {"ln_1": "input_layernorm", "ln_2": "post_attention_layernorm", "c_fc": "up_proj"}
    for name, weight in weights.items():
        if name.startswith("lm_head"):
            out[name] = weight
            continue
        parts = name.removeprefix("transformer.").split(".")
        parts = ["model", *(rename.get(part, part) for part in parts)]
        joined = (
            ".".join(parts).replace("attn.c_proj", "self_attn.o_proj").replace("mlp.c_proj", "mlp.down_proj")
        )
        if any(part in name for part in ("c_attn.weight", "c_proj.weight", "c_fc.weight")):
            weight = weight.T
        if "c_attn" in name:
            for letter, piece in zip("qkv", np.split(weight, 3), strict=True):
                out[joined.replace("attn.c_attn", f"self_attn.{letter}_proj")] = piece
        else:
            out[joined] = weight
    return out


@pytest.mark.parametrize("case", FAMILIES)
def test_a_family_comes_back(tmp_path: Path, case: str) -> None:
    from transformers import AutoConfig

    config, weights = random_model(case)
    given = FAMILIES[case] | {"model_type": config.model_type}
    write_gguf(tmp_path / "m.gguf", given, weights)
    file = open_gguf(tmp_path / "m.gguf")
    expected = internal(weights) if case == "gpt2" else weights
    found = hub_tensors(file)
    assert set(found) == set(expected)
    tolerance = 1e-6 if case == "gemma3_text" else 0.0  # 1 is added and taken away in float32
    for name, weight in expected.items():
        assert found[name].shape == weight.shape
        assert np.allclose(found[name].float32(), weight, rtol=0, atol=tolerance), name
    ours = config_from_gguf(file)
    # As transformers understands the two: defaults filled in, old spellings turned into new ones.
    again = AutoConfig.for_model(**ours).to_dict()
    for key, value in config.to_dict().items():
        if key in ("dtype", "pad_token_id", "initializer_range", "use_cache", "n_inner") or "drop" in key:
            continue
        if key == "architectures" or "id2label" in key or "label2id" in key:
            continue
        assert again[key] == value, key


def test_blocks_of_q_and_k_are_unpermuted_like_their_floats(tmp_path: Path) -> None:
    small_llama(tmp_path / "m.gguf", "Q4_1")
    found = hub_tensors(open_gguf(tmp_path / "m.gguf"))
    for part in "qkv":
        tensor = found[f"model.layers.1.self_attn.{part}_proj.weight"]
        floats = gguf.quants.dequantize(tensor.blocks(), gguf.GGMLQuantizationType.Q4_1)
        assert np.array_equal(floats, tensor.float32())
    with pytest.raises(ValueError, match="found a vector"):
        found["model.norm.weight"].blocks()
    straight = found["model.layers.0.mlp.up_proj.weight"].blocks()
    assert np.shares_memory(straight, found["model.layers.0.mlp.up_proj.weight"].source.raw)


def test_unpermute_puts_pairs_into_halves() -> None:
    # Two heads of width 4: the file keeps 0 and 2 side by side, since they turn together.
    stored = np.array([0, 2, 1, 3, 10, 12, 11, 13])[:, None]
    assert unpermute(stored, 2)[:, 0].tolist() == [0, 1, 2, 3, 10, 11, 12, 13]


def test_names_that_hold_several_tensors_or_none() -> None:
    assert hub_name("blk.3.attn_q.weight", "llama") == "model.layers.3.self_attn.q_proj.weight"
    assert hub_names("rope_freqs.weight", "llama") == ()
    assert len(hub_names("blk.0.attn_qkv.bias", "gpt2")) == 3
    with pytest.raises(ValueError, match="holds 3 tensors"):
        hub_name("blk.0.attn_qkv.bias", "gpt2")
    for name in (
        "blk.0.ffn_gate_exps.weight",
        "blk.0.attn_qkv.weight",
        "mm.0.weight",
        "blk.x.attn_q.weight",
        "",
    ):
        with pytest.raises(ValueError, match="allowed: what a dense llama model holds"):
            hub_name(name, "llama")
    with pytest.raises(ValueError, match=r"found 'mamba'; allowed: llama qwen2 qwen3 gemma3 gpt2"):
        hub_name("output.weight", "mamba")


def llama3_divisors(
    width: int, theta: float, factor: float, low: float, high: float, original: int
) -> np.ndarray:
    """By transformers: the plain frequencies over the scaled ones."""
    from transformers import LlamaConfig
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    config = LlamaConfig(
        hidden_size=width, num_attention_heads=1, head_dim=width, max_position_embeddings=8 * original,
        rope_parameters={
            "rope_type": "llama3", "rope_theta": theta, "factor": factor, "low_freq_factor": low,
            "high_freq_factor": high, "original_max_position_embeddings": original,
        },
    )  # fmt: skip
    scaled, _ = ROPE_INIT_FUNCTIONS["llama3"](config, "cpu")
    plain = theta ** (-np.arange(0, width, 2) / width)
    return np.asarray(plain / scaled.numpy(), np.float32)


@pytest.mark.parametrize(
    "numbers",
    [(128, 5e5, 8.0, 1.0, 4.0, 8192), (64, 5e5, 32.0, 1.0, 4.0, 8192), (128, 5e5, 16.0, 1.0, 8.0, 4096)],
)
def test_llama3_scaling_is_found_in_its_divisors(tmp_path: Path, numbers: tuple[Any, ...]) -> None:
    width, theta, factor, low, high, original = numbers
    config = {**SMALL, "head_dim": width, "rope_theta": theta}
    weights = small_weights(config)
    divisors = llama3_divisors(width, theta, factor, low, high, original)
    write_gguf(tmp_path / "m.gguf", config, {**weights, "rope_freqs": divisors})
    file = open_gguf(tmp_path / "m.gguf")
    assert "rope_freqs.weight" in file.tensors
    assert set(hub_tensors(file)) == set(weights)
    assert config_from_gguf(file)["rope_scaling"] == {
        "rope_type": "llama3",
        "factor": factor,
        "low_freq_factor": low,
        "high_freq_factor": pytest.approx(high, rel=1e-3),
        "original_max_position_embeddings": pytest.approx(original, rel=1e-3),
    }


def test_divisors_of_another_scaling_are_refused(tmp_path: Path) -> None:
    for divisors in (np.linspace(1, 9, 8), np.full(8, np.nan), np.full(8, -1.0), np.ones(3)):
        write_gguf(tmp_path / "m.gguf", SMALL, {**small_weights(), "rope_freqs": divisors.astype(np.float32)})
        with pytest.raises(BadFile, match=r"rope_freqs\.weight"):
            config_from_gguf(open_gguf(tmp_path / "m.gguf"))


WRONG: dict[str, tuple[str, Any, str]] = {
    "experts": ("llama.expert_count", 8, "expert_count: found 8.*mixture of experts.*--upstream"),
    "an unknown architecture": ("general.architecture", "mamba", "'mamba'.*llama qwen2.*--upstream"),
    "experts by architecture": ("general.architecture", "qwen3moe", "'qwen3moe'.*dense models"),
    "no layers": ("llama.block_count", 0, "block_count: found 0"),
    "layers that are text": ("llama.block_count", "two", "block_count: found 'two'"),
    "too many layers": ("llama.block_count", 2**31, "block_count: found 2147483648"),
    "too few layers": ("llama.block_count", 1, r"block_count: found 1; .*blk\.1"),
    "another width": ("llama.embedding_length", 128, "embedding_length: found 128; allowed: 64"),
    "heads that do not fit": ("llama.attention.head_count", 3, "head_count"),
    "heads by layer": ("llama.attention.head_count", [4, 4], "the same for all layers"),
    "an epsilon of 0": ("llama.attention.layer_norm_rms_epsilon", 0.0, "epsilon: found 0.0"),
    "half-turned heads": ("llama.rope.dimension_count", 8, "dimension_count: found 8; allowed: 16"),
    "longrope": ("llama.rope.scaling.type", "longrope", "found 'longrope'; allowed: none linear yarn"),
    "no scaling factor": ("llama.rope.scaling.type", "linear", r"scaling\.factor: found None"),
    "no token id": ("tokenizer.ggml.eos_token_id", "two", "eos_token_id: found 'two'"),
}


@pytest.mark.parametrize("case", WRONG)
def test_settings_that_cannot_be_are_refused(tmp_path: Path, case: str) -> None:
    key, value, message = WRONG[case]
    small_llama(tmp_path / "m.gguf")
    file = open_gguf(tmp_path / "m.gguf")
    meta = dict(file.meta) | {key: value}
    object.__setattr__(file, "meta", meta)
    with pytest.raises(BadFile, match=message):
        config_from_gguf(file)


def test_a_turn_may_end_in_several_ways(tmp_path: Path) -> None:
    extra = {
        "tokenizer.ggml.eot_token_id": (5, gguf.GGUFValueType.UINT32),
        "tokenizer.ggml.eom_token_id": (2, gguf.GGUFValueType.UINT32),
    }
    write_gguf(tmp_path / "m.gguf", SMALL, small_weights(), extra=extra)
    assert config_from_gguf(open_gguf(tmp_path / "m.gguf"))["eos_token_id"] == [2, 5]


def test_the_old_spelling_of_linear_scaling(tmp_path: Path) -> None:
    extra = {"llama.rope.scale_linear": (4.0, gguf.GGUFValueType.FLOAT32)}
    write_gguf(tmp_path / "m.gguf", SMALL, small_weights(), extra=extra)
    config = config_from_gguf(open_gguf(tmp_path / "m.gguf"))
    assert config["rope_scaling"] == {"rope_type": "linear", "factor": 4.0}


def test_a_file_without_a_model_is_refused(tmp_path: Path) -> None:
    write_gguf(tmp_path / "m.gguf", SMALL, {"model.norm.weight": np.ones(64, np.float32)})
    with pytest.raises(BadFile, match=r"no token_embd\.weight"):
        config_from_gguf(open_gguf(tmp_path / "m.gguf"))


def test_a_foreign_tensor_is_refused(tmp_path: Path) -> None:
    writer = gguf.GGUFWriter(tmp_path / "m.gguf", "llama")
    writer.add_tensor("blk.0.ssm_conv1d.weight", np.ones((2, 2), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    file = open_gguf(tmp_path / "m.gguf")
    with pytest.raises(BadFile, match=r"'blk\.0\.ssm_conv1d\.weight'; allowed: those of a dense llama"):
        hub_tensors(file)
    assert dequantise(file.tensors["blk.0.ssm_conv1d.weight"]).sum() == 4

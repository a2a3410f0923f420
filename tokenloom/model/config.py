"""Reads and writes a Hub `config.json`: the one place that knows how families spell their features.

Not the features themselves (`model.features`). No torch here. Sources: the published `config.json` of GPT-2,
Llama 2/3, SmolLM2, Mistral, Qwen2/2.5, Qwen3 and Gemma 3 (text); transformers 5 writes `rope_parameters`,
older files `rope_theta` with `rope_scaling`: both are read, and both are written.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tokenloom.model.features import Activation, ModelConfig, Rope, RopeKind

__all__ = ["ModelConfig", "Rope", "UnsupportedModel", "from_hub", "to_hub"]

INSTEAD = "use the bf16 or GGUF release of this model"


class UnsupportedModel(ValueError):
    """The file describes a model this program does not run; the message says what to use instead."""


ACTIVATIONS: Mapping[str, Activation] = {
    "silu": "silu",
    "swish": "silu",
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
}
FAMILIES = ("gpt2", "llama", "mistral", "qwen2", "qwen3", "gemma3_text")


def from_hub(config: Mapping[str, Any]) -> ModelConfig:
    """The features a Hub `config.json` describes.

    Raises UnsupportedModel for an unknown `model_type`, a mixture of experts, pre-quantised weights or an
    unknown rope type; ValueError for a missing or impossible number. Both name the field.
    """
    _refuse(config)
    family = config["model_type"]
    if family == "gpt2":
        return _gpt2(config)
    return _llama_like(config, family)


def _refuse(config: Mapping[str, Any]) -> None:
    family = config.get("model_type")
    for field in ("num_experts", "num_local_experts", "n_routed_experts", "moe_intermediate_size"):
        if config.get(field):
            raise UnsupportedModel(
                f"{field}: found {config[field]!r} (model_type {family!r}): mixtures of experts are not "
                f"supported; use a dense model, or a server that runs this one with `--upstream`"
            )
    quantised = config.get("quantization_config") or config.get("quantisation_config")
    if quantised:
        method = quantised.get("quant_method") if isinstance(quantised, Mapping) else None
        if (
            method is None
            and isinstance(quantised, Mapping)
            and (quantised.get("load_in_4bit") or quantised.get("load_in_8bit"))
        ):
            method = "bitsandbytes"
        raise UnsupportedModel(f"quantization_config: found {method or 'unknown'!r} weights; {INSTEAD}")
    if family not in FAMILIES:
        hint = "its text-only release" if family == "gemma3" else "a model of those families"
        raise UnsupportedModel(f"model_type: found {family!r}, allowed are {', '.join(FAMILIES)}; use {hint}")


def _number(config: Mapping[str, Any], *names: str, default: Any = None) -> Any:
    for name in names:
        if config.get(name) is not None:
            value = config[name]
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise ValueError(f"{name}: found {value!r}, needs a number")
            return value
    if default is None:
        raise ValueError(f"{names[0]}: missing from config.json")
    return default


def _ids(config: Mapping[str, Any], name: str, default: Any = None) -> tuple[int, ...]:
    value = config.get(name, default)
    if value is None:
        return ()
    return tuple(int(i) for i in value) if isinstance(value, list | tuple) else (int(value),)


def _activation(config: Mapping[str, Any], *names: str, default: str) -> Activation:
    name = next((n for n in names if config.get(n) is not None), names[0])
    found = config.get(name, default)
    if found not in ACTIVATIONS:
        raise UnsupportedModel(f"{name}: found {found!r}, allowed are {', '.join(sorted(ACTIVATIONS))}")
    return ACTIVATIONS[found]


def _gpt2(config: Mapping[str, Any]) -> ModelConfig:
    for field in ("scale_attn_by_inverse_layer_idx", "add_cross_attention"):
        if config.get(field):
            raise UnsupportedModel(f"{field}: found true, only false is supported")
    dim, n_head = int(_number(config, "n_embd", "hidden_size")), int(_number(config, "n_head"))
    if dim % n_head:
        raise ValueError(f"n_embd: found {dim}, needs a multiple of n_head {n_head}")
    return ModelConfig(
        n_layer=int(_number(config, "n_layer")),
        n_head=n_head,
        n_kv_head=n_head,
        dim=dim,
        head_dim=dim // n_head,
        ffn_dim=int(_number(config, "n_inner", default=4 * dim)),
        vocab_size=int(_number(config, "vocab_size")),
        context=int(_number(config, "n_positions", "n_ctx")),
        norm="layer",
        norm_eps=float(_number(config, "layer_norm_epsilon", default=1e-5)),
        act=_activation(config, "activation_function", default="gelu_new"),
        gated=False,
        positions="learned",
        qkv_bias=True,
        out_bias=True,
        mlp_bias=True,
        attn_scale=0.0 if config.get("scale_attn_weights", True) else 1.0,
        tied=bool(config.get("tie_word_embeddings", True)),
        eos_ids=_ids(config, "eos_token_id", 50256),
        bos_id=config.get("bos_token_id"),
        pad_id=config.get("pad_token_id"),
        family="gpt2",
    )


def _llama_like(config: Mapping[str, Any], family: str) -> ModelConfig:
    gemma = family == "gemma3_text"
    dim, n_head = int(_number(config, "hidden_size")), int(_number(config, "num_attention_heads"))
    n_layer = int(_number(config, "num_hidden_layers"))
    head_dim = int(_number(config, "head_dim", default=_default_head_dim(family, dim, n_head)))
    context = int(_number(config, "max_position_embeddings"))
    if config.get("use_bidirectional_attention"):
        raise UnsupportedModel("use_bidirectional_attention: found true, only causal models are supported")
    both_bias = bool(config.get("attention_bias", False)) and family != "mistral"
    windows = _windows(config, family, n_layer)
    rope, local = _ropes(config, context, windows)
    scalar = _number(config, "query_pre_attn_scalar", default=head_dim if not gemma else 256)
    return ModelConfig(
        n_layer=n_layer,
        n_head=n_head,
        n_kv_head=int(_number(config, "num_key_value_heads", default=n_head)),
        dim=dim,
        head_dim=head_dim,
        ffn_dim=int(_number(config, "intermediate_size")),
        vocab_size=int(_number(config, "vocab_size")),
        context=context,
        norm_eps=float(_number(config, "rms_norm_eps", default=1e-6)),
        norm_offset=1.0 if gemma else 0.0,
        act=_activation(
            config, "hidden_activation", "hidden_act", default="gelu_pytorch_tanh" if gemma else "silu"
        ),
        rope=rope,
        local_rope=local,
        windows=windows,
        qkv_bias=family == "qwen2" or both_bias,
        out_bias=both_bias and family != "qwen2",
        mlp_bias=bool(config.get("mlp_bias", False)) and family == "llama",
        qk_norm=family in ("qwen3", "gemma3_text"),
        post_norms=gemma,
        embed_scale=float(dim) ** 0.5 if gemma else 1.0,
        attn_scale=float(scalar) ** -0.5 if gemma else 0.0,
        attn_softcap=float(config.get("attn_logit_softcapping") or 0.0),
        logit_softcap=float(config.get("final_logit_softcapping") or 0.0),
        tied=bool(config.get("tie_word_embeddings", gemma)),
        eos_ids=_ids(config, "eos_token_id"),
        bos_id=config.get("bos_token_id"),
        pad_id=config.get("pad_token_id"),
        family=family,
    )


def _default_head_dim(family: str, dim: int, n_head: int) -> int:
    # What transformers assumes where the file is silent.
    fixed = {"gemma3_text": 256, "qwen3": 128}
    if family in fixed:
        return fixed[family]
    if dim % n_head:
        raise ValueError(f"hidden_size: found {dim}, needs a multiple of num_attention_heads {n_head}")
    return dim // n_head


def _windows(config: Mapping[str, Any], family: str, n_layer: int) -> tuple[int, ...]:
    window = int(config.get("sliding_window", 4096 if family == "gemma3_text" else 0) or 0)
    kinds = config.get("layer_types")
    if family == "llama" or not window:
        return ()
    if family in ("qwen2", "qwen3") and not config.get("use_sliding_window", False):
        return ()
    if family == "mistral":
        return (window,) * n_layer
    if kinds is None and family == "gemma3_text":
        every = int(config.get("sliding_window_pattern") or config.get("_sliding_window_pattern") or 6)
        kinds = ["full_attention" if (i + 1) % every == 0 else "sliding_attention" for i in range(n_layer)]
    if kinds is None:
        first = int(_number(config, "max_window_layers", default=28))
        kinds = ["sliding_attention" if i >= first else "full_attention" for i in range(n_layer)]
    unknown = set(kinds) - {"full_attention", "sliding_attention"}
    if unknown or len(kinds) != n_layer:
        raise UnsupportedModel(
            f"layer_types: found {sorted(set(kinds))} x {len(kinds)}, needs full_attention or "
            f"sliding_attention for each of {n_layer} layers"
        )
    windows = tuple(window if kind == "sliding_attention" else 0 for kind in kinds)
    return windows if any(windows) else ()


def _ropes(config: Mapping[str, Any], context: int, windows: tuple[int, ...]) -> tuple[Rope, Rope | None]:
    """The rotation of full layers and, where it differs, of windowed ones."""
    gemma = config["model_type"] == "gemma3_text"
    new = config.get("rope_parameters") or {}
    old = config.get("rope_scaling") or {}
    partial = new.get("partial_rotary_factor") or config.get("partial_rotary_factor") or 1.0
    if float(partial) != 1.0:
        raise UnsupportedModel(f"partial_rotary_factor: found {partial!r}, only 1.0 is supported")
    theta = config.get("rope_theta") or (1_000_000.0 if gemma else 10_000.0)
    if not gemma:
        return _rope({**new, **old}, float(theta), context), None
    nested = "full_attention" in new or "sliding_attention" in new
    full = (new.get("full_attention") or {}) if nested else new
    local = (new.get("sliding_attention") or {}) if nested else {}
    local_theta = float(config.get("rope_local_base_freq") or 10_000.0)
    return _rope({**full, **old}, float(theta), context), _rope(local, local_theta, context)


def _rope(values: Mapping[str, Any], theta: float, context: int) -> Rope:
    kind = values.get("rope_type") or values.get("type") or "default"
    kinds: dict[str, RopeKind] = {"dynamic": "ntk", "default": "default", "linear": "linear"}
    kinds |= {"yarn": "yarn", "llama3": "llama3"}
    if kind not in kinds:
        raise UnsupportedModel(
            f"rope_parameters.rope_type: found {kind!r}, allowed are default, linear, dynamic, yarn, llama3; "
            f"use another model, or a server that runs this one with `--upstream`"
        )
    theta = float(values.get("rope_theta") or theta)
    if kind == "default":
        return Rope(theta)
    original = int(values.get("original_max_position_embeddings") or context)
    factor = values.get("factor")
    if factor is None and kind == "yarn":
        factor = context / original
    if not isinstance(factor, int | float) or factor <= 0:
        raise ValueError(f"rope_parameters.factor: found {factor!r}, {kind} needs a number above 0")

    def optional(name: str) -> float | None:
        return None if values.get(name) is None else float(values[name])

    return Rope(
        theta=theta,
        kind=kinds[kind],
        factor=float(factor),
        original_context=original if kind in ("yarn", "llama3") else 0,
        low_freq_factor=float(values.get("low_freq_factor") or 1.0),
        high_freq_factor=float(values.get("high_freq_factor") or 4.0),
        attention_factor=optional("attention_factor"),
        beta_fast=float(values.get("beta_fast") or 32.0),
        beta_slow=float(values.get("beta_slow") or 1.0),
        mscale=optional("mscale"),
        mscale_all_dim=optional("mscale_all_dim"),
        truncate=bool(values.get("truncate", True)),
    )


ARCHITECTURES = {
    "gpt2": "GPT2LMHeadModel",
    "llama": "LlamaForCausalLM",
    "mistral": "MistralForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
    "gemma3_text": "Gemma3ForCausalLM",
}


def to_hub(config: ModelConfig, dtype: str = "bfloat16") -> dict[str, Any]:
    """The `config.json` of `config`, so that `from_hub` gives it back and transformers opens it.

    Raises ValueError where the family cannot say what the features are.
    """
    if config.family not in FAMILIES:
        raise ValueError(f"family: found {config.family!r}, allowed are {', '.join(FAMILIES)}")
    values: dict[str, Any] = {
        "architectures": [ARCHITECTURES[config.family]],
        "model_type": config.family,
        "dtype": dtype,
        "torch_dtype": dtype,
        "vocab_size": config.vocab_size,
        "tie_word_embeddings": config.tied,
        "bos_token_id": config.bos_id,
        "eos_token_id": eos_value(config),
        "pad_token_id": config.pad_id,
        "use_cache": True,
    }
    values |= _to_gpt2(config) if config.family == "gpt2" else _to_llama_like(config)
    if (back := from_hub(values)) != config:
        lost = [n for n in ModelConfig.__dataclass_fields__ if getattr(back, n) != getattr(config, n)]
        found = ", ".join(f"{n}={getattr(config, n)!r}" for n in lost)
        raise ValueError(f"family: {config.family!r} has no way to say {found}; choose another family")
    return values


def eos_value(config: ModelConfig) -> int | list[int] | None:
    """The ids that end a turn as the Hub's files write them: one, several, or none."""
    if len(config.eos_ids) == 1:
        return config.eos_ids[0]
    return list(config.eos_ids) or None


def _to_gpt2(config: ModelConfig) -> dict[str, Any]:
    return {
        "n_layer": config.n_layer,
        "n_head": config.n_head,
        "n_embd": config.dim,
        "n_inner": config.ffn_dim,
        "n_positions": config.context,
        "n_ctx": config.context,
        "layer_norm_epsilon": config.norm_eps,
        "activation_function": {"gelu_tanh": "gelu_new"}.get(config.act, config.act),
        "scale_attn_weights": config.attn_scale == 0.0,
    }


def _to_llama_like(config: ModelConfig) -> dict[str, Any]:
    act = {"gelu_tanh": "gelu_pytorch_tanh"}.get(config.act, config.act)
    window = max(config.windows, default=0) or None
    values: dict[str, Any] = {
        "hidden_size": config.dim,
        "intermediate_size": config.ffn_dim,
        "num_hidden_layers": config.n_layer,
        "num_attention_heads": config.n_head,
        "num_key_value_heads": config.n_kv_head,
        "head_dim": config.head_dim,
        "max_position_embeddings": config.context,
        "rms_norm_eps": config.norm_eps,
        "rope_theta": config.rope.theta,
        "rope_scaling": _scaling(config.rope),
        "rope_parameters": {"rope_theta": config.rope.theta, **(_scaling(config.rope) or DEFAULT)},
    }
    kinds = ["sliding_attention" if config.window(i) else "full_attention" for i in range(config.n_layer)]
    if config.family == "gemma3_text":
        local = config.local_rope or config.rope
        values |= {
            "hidden_activation": act,
            "query_pre_attn_scalar": round(config.scale**-2),
            "sliding_window": window or config.context,
            "layer_types": kinds,
            "rope_local_base_freq": local.theta,
            "rope_parameters": {
                "full_attention": values["rope_parameters"],
                "sliding_attention": {"rope_theta": local.theta, **(_scaling(local) or DEFAULT)},
            },
            "final_logit_softcapping": config.logit_softcap or None,
            "attn_logit_softcapping": config.attn_softcap or None,
            "attention_bias": config.qkv_bias,
        }
        return values
    values["hidden_act"] = act
    if config.family == "mistral":
        values["sliding_window"] = window
    if config.family in ("llama", "qwen3"):
        values["attention_bias"] = config.qkv_bias
    if config.family == "llama":
        values["mlp_bias"] = config.mlp_bias
    if config.family in ("qwen2", "qwen3"):
        values |= {"use_sliding_window": window is not None, "sliding_window": window, "layer_types": kinds}
        values["max_window_layers"] = kinds.index("sliding_attention") if window else config.n_layer
    return values


DEFAULT = {"rope_type": "default"}


def _scaling(rope: Rope) -> dict[str, Any] | None:
    if rope.kind == "default":
        return None
    values: dict[str, Any] = {"factor": rope.factor}
    values["rope_type"] = "dynamic" if rope.kind == "ntk" else rope.kind
    if rope.kind in ("llama3", "yarn"):
        values["original_max_position_embeddings"] = rope.original_context
    if rope.kind == "llama3":
        values |= {"low_freq_factor": rope.low_freq_factor, "high_freq_factor": rope.high_freq_factor}
    if rope.kind == "yarn":
        values |= {"beta_fast": rope.beta_fast, "beta_slow": rope.beta_slow, "truncate": rope.truncate}
        given = {n: getattr(rope, n) for n in ("attention_factor", "mscale", "mscale_all_dim")}
        values |= {name: value for name, value in given.items() if value is not None}
    return values

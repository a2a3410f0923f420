"""Low-rank adapters: read from a peft folder, and added per row to the products of a step.

Not training and not merging: the base's weights stay as they are, so rows with different adapters share a
batch. Sources: LoRA, Hu et al. 2021, arXiv:2106.09685, section 4.1; rank-stabilised scale: Kalajdzievski
2023, arXiv:2312.03732. The folder is peft's: adapter_config.json and adapter_model.safetensors.
"""

# Shapes: N tokens, r rank

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tokenloom.model.features import ModelConfig

MERGE = "merge it into the model first (peft: merge_and_unload)"
PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
Pair = tuple[torch.Tensor, torch.Tensor]
"""A (r, in) and B (out, r), the scale already in B."""


class BadAdapter(ValueError):
    """The folder is no adapter this program can apply; the message names the field."""


@dataclass(frozen=True)
class Adapter:
    """One adapter: per layer, per projection, its two factors."""

    layers: tuple[Mapping[str, Pair], ...]

    def layer(self, i: int) -> Mapping[str, Pair]:
        """The factors of layer i by projection; empty where the adapter leaves it alone."""
        return self.layers[i] if i < len(self.layers) else {}

    @property
    def rank(self) -> int:
        return max((a.shape[0] for layer in self.layers for a, _ in layer.values()), default=0)

    def placed(self, config: ModelConfig, dtype: torch.dtype, device: torch.device) -> Adapter:
        """The same, checked against the model's sizes and moved to it. BadAdapter if it does not fit."""
        if len(self.layers) > config.n_layer:
            raise BadAdapter(f"layers: the adapter has {len(self.layers)}, the model {config.n_layer}")
        sizes = projection_sizes(config)
        layers = []
        for i, layer in enumerate(self.layers):
            for name, (a, b) in layer.items():
                if name not in sizes or (b.shape[0], a.shape[1]) != sizes[name]:
                    found = f"{b.shape[0]} x {a.shape[1]}"
                    wanted = " x ".join(map(str, sizes.get(name, ("none",))))
                    raise BadAdapter(f"layers.{i}.{name}: the adapter's is {found}, the model's {wanted}")
            layers.append({n: (a.to(device, dtype), b.to(device, dtype)) for n, (a, b) in layer.items()})
        return Adapter(tuple(layers))


def projection_sizes(config: ModelConfig) -> dict[str, tuple[int, int]]:
    """(out, in) of each linear map of a layer."""
    q, kv = config.n_head * config.head_dim, config.n_kv_head * config.head_dim
    sizes = {"q_proj": (q, config.dim), "k_proj": (kv, config.dim), "v_proj": (kv, config.dim)}
    sizes |= {"o_proj": (config.dim, q), "up_proj": (config.ffn_dim, config.dim)}
    sizes["down_proj"] = (config.dim, config.ffn_dim)
    if config.gated:
        sizes["gate_proj"] = (config.ffn_dim, config.dim)
    return sizes


def add_delta(
    out: torch.Tensor, x: torch.Tensor, pair: Pair, index: torch.Tensor | None, columns: slice | None = None
) -> None:
    """out (N, ...)[index, columns] += (x[index] A^T) B^T, in place; index None = all rows."""
    a, b = pair
    target = out if columns is None else out[:, columns]
    if index is None:
        target += (x @ a.T) @ b.T
    else:
        target.index_add_(0, index, (x[index] @ a.T) @ b.T)


def load_adapter(folder: str | Path) -> Adapter:
    """Reads a peft folder. Raises BadAdapter naming what it holds that cannot be applied."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    folder = Path(folder)
    file, weights = folder / "adapter_config.json", folder / "adapter_model.safetensors"
    for needed in (file, weights):
        if not needed.is_file():
            raise BadAdapter(f"{needed.name}: missing from {folder}; an adapter is a folder as peft saves it")
    try:
        settings = json.loads(file.read_text(encoding="utf-8"))
        tensors = load_file(str(weights))
    except (json.JSONDecodeError, SafetensorError) as error:
        raise BadAdapter(f"{folder}: cannot be read: {error}") from error
    return parse_adapter(settings, tensors)


def parse_adapter(settings: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]) -> Adapter:
    """settings: adapter_config.json; tensors: adapter_model.safetensors by name."""
    _refuse(settings)
    layers: dict[int, dict[str, Pair]] = {}
    for name in sorted(tensors):
        if name.endswith(".lora_B.weight"):
            continue
        module = name.removesuffix(".lora_A.weight")
        twin = f"{module}.lora_B.weight"
        if module == name or twin not in tensors:
            raise BadAdapter(
                f"target_modules: found {name!r}, only LoRA of the layers' linear maps is applied"
            )
        layer, parts = _place(module)
        a = tensors[name].float()
        b = tensors[twin].float() * _scale(settings, module, a.shape[0])
        for part, piece in zip(parts, b.chunk(len(parts)), strict=True):
            layers.setdefault(layer, {})[part] = (a, piece.contiguous())
    if not layers:
        raise BadAdapter("adapter_model.safetensors: holds no lora_A weights")
    return Adapter(tuple(layers.get(i, {}) for i in range(max(layers) + 1)))


def _refuse(settings: Mapping[str, Any]) -> None:
    kind = settings.get("peft_type")
    if kind != "LORA":
        raise BadAdapter(f"peft_type: found {kind!r}, only 'LORA' is applied")
    advice = {
        "use_dora": "DoRA scales whole rows; " + MERGE,
        "modules_to_save": "whole modules are replaced; " + MERGE,
        "trainable_token_indices": "new embedding rows; " + MERGE,
        "lora_bias": "biases beside the factors; " + MERGE,
        "layer_replication": "layers are repeated; save the enlarged model instead",
        "alora_invocation_tokens": "activated LoRA depends on the text; use plain LoRA",
        "use_qalora": "QALoRA pools inputs; " + MERGE,
        "megatron_config": "a Megatron layout; save it as plain LoRA",
    }
    for field, words in advice.items():
        if settings.get(field):
            raise BadAdapter(f"{field}: found {settings[field]!r}: {words}")
    if settings.get("bias", "none") != "none":
        raise BadAdapter(f"bias: found {settings['bias']!r}, only 'none' is applied; {MERGE}")


# GPT-2's fused and renamed maps.
GPT2_PARTS = {
    "attn.c_attn": ("q_proj", "k_proj", "v_proj"),
    "attn.c_proj": ("o_proj",),
    "mlp.c_fc": ("up_proj",),
    "mlp.c_proj": ("down_proj",),
}


def _place(module: str) -> tuple[int, tuple[str, ...]]:
    found = re.search(r"\.(?:layers|h)\.(\d+)\.(.+)$", "." + module)
    if found:
        layer, rest = int(found[1]), found[2]
        if rest in GPT2_PARTS:
            return layer, GPT2_PARTS[rest]
        part = rest.rpartition(".")[2]
        if part in PROJECTIONS:
            return layer, (part,)
    raise BadAdapter(f"target_modules: found {module!r}, allowed are {', '.join(PROJECTIONS)} of the layers")


def _scale(settings: Mapping[str, Any], module: str, rank: int) -> float:
    alpha = settings.get("lora_alpha", rank)
    for pattern, value in (settings.get("alpha_pattern") or {}).items():
        # peft matches the end of the module's path.
        if re.match(rf"(.*\.)?({pattern})$", module):
            alpha = value
            break
    return float(alpha) / (math.sqrt(rank) if settings.get("use_rslora") else rank)

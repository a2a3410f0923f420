"""An adapter's folder in peft's layout: written from a model with factors, read to train on.

Not serving's reading (`model.lora`, whose parser this uses). peft's `PeftModel.from_pretrained` opens the
folder on the transformers model; GPT-2's three fused maps share one pair of factors there. The folder is
written beside its place and renamed.
"""

# Shapes: R rank, N inputs, M outputs

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from tokenloom.config import check_place, new_folder, put_json
from tokenloom.model.lora import GPT2_PARTS, PROJECTIONS, Adapter, BadAdapter, Pair, parse_adapter
from tokenloom.model.transformer import Transformer
from tokenloom.train.lora import LoraLinear, lora_maps, put_lora
from tokenloom.version import __version__

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
SCHEMA = 1
Factors = tuple[torch.Tensor, torch.Tensor, float]
"""A (R, N), B (M, R) and what their product is multiplied by."""


def save_adapter(
    model: Transformer,
    folder: str | Path,
    base: str,
    about: Mapping[str, Any] | None = None,
    card: str | None = None,
    overwrite: bool = False,
) -> Path:
    """Writes the model's factors to `folder` and returns it.

    base: name or folder of the model they belong to, as peft shall load it. about: more for tokenloom.json
    (hashes of tokenizer and template). card: README.md; None = a short one. overwrite: replace a folder that
    holds an adapter. Raises ValueError for a model without factors, FileExistsError.
    """
    from safetensors.torch import save_file

    folder = Path(folder)
    factors = _peft_factors(model)
    if not factors:
        raise ValueError("model: it has no LoRA factors to save")
    check_place(folder, overwrite, "adapter", CONFIG)
    with new_folder(folder) as beside:
        tensors = {}
        for module, (a, b, _) in factors.items():
            tensors[f"base_model.model.{module}.lora_A.weight"] = a.contiguous().cpu()
            tensors[f"base_model.model.{module}.lora_B.weight"] = b.contiguous().cpu()
        save_file(tensors, str(beside / WEIGHTS), metadata={"format": "pt"})
        put_json(beside / CONFIG, _config(model, factors, base))
        kind = {"schema": SCHEMA, "kind": "adapter", "tokenloom": __version__, "base": base}
        put_json(beside / "tokenloom.json", {**kind, **(about or {})})
        (beside / "README.md").write_text(card or _card(base, factors), encoding="utf-8")
    return folder


def load_lora(model: Transformer, folder: str | Path) -> None:
    """Puts a folder's factors beside the model's maps, to go on training them at the same scale and dropout.

    Raises BadAdapter naming what cannot be applied to this model.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    folder = Path(folder)
    for needed in (CONFIG, WEIGHTS):
        if not (folder / needed).is_file():
            raise BadAdapter(f"{needed}: missing from {folder}; an adapter is a folder as peft saves it")
    try:
        settings = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        tensors = load_file(str(folder / WEIGHTS))
    except (json.JSONDecodeError, SafetensorError) as error:
        raise BadAdapter(f"{folder}: cannot be read: {error}") from error
    unscaled = {k: v for k, v in settings.items() if k not in ("lora_alpha", "alpha_pattern", "use_rslora")}
    factors = parse_adapter(unscaled, tensors)
    # What serving multiplies B by, read off a B of ones.
    ones = {name: torch.ones_like(t) if ".lora_B." in name else t for name, t in tensors.items()}
    scales = [
        {name: float(b[0, 0]) for name, (_, b) in layer.items()}
        for layer in parse_adapter(settings, ones).layers
    ]
    layers = tuple(_unfused(layer) for layer in factors.layers)
    put_lora(model, Adapter(layers), scales, float(settings.get("lora_dropout") or 0.0))


def _peft_factors(model: Transformer) -> dict[str, Factors]:
    """Module path in the transformers model -> its factors."""
    maps = {(i, name): put for i, _, name, put in lora_maps(model)}
    if model.config.family != "gpt2":
        return {
            f"model.layers.{i}.{'self_attn' if name in PROJECTIONS[:4] else 'mlp'}.{name}": _own(put)
            for (i, name), put in maps.items()
        }
    found: dict[str, Factors] = {}
    for i in range(model.config.n_layer):
        for module, parts in GPT2_PARTS.items():
            puts = [maps.get((i, part)) for part in parts]
            if len(parts) == 1 and puts[0] is not None:
                found[f"transformer.h.{i}.{module}"] = _own(puts[0])
            elif any(puts):
                found[f"transformer.h.{i}.{module}"] = _fused(puts)
    return found


def _own(put: LoraLinear) -> Factors:
    return put.lora_A.detach(), put.lora_B.detach(), put.scale


def _fused(puts: list[LoraLinear | None]) -> Factors:
    """One pair for maps that share their inputs and lie below each other: A stacked, B in blocks."""
    there = [put for put in puts if put is not None]
    rank, rows = there[0].lora_A.shape[0], there[0].lora_B.shape[0]
    a = there[0].lora_A.new_zeros(len(puts) * rank, there[0].lora_A.shape[1])
    b = there[0].lora_B.new_zeros(len(puts) * rows, len(puts) * rank)
    for k, put in enumerate(puts):
        if put is not None:
            a[k * rank : (k + 1) * rank] = put.lora_A.detach()
            b[k * rows : (k + 1) * rows, k * rank : (k + 1) * rank] = put.lora_B.detach()
    return a, b, there[0].scale


def _unfused(layer: Mapping[str, Pair]) -> Mapping[str, Pair]:
    """GPT-2's three maps with their own blocks of fused factors, where `_fused` made them."""
    parts = GPT2_PARTS["attn.c_attn"]
    pairs = [layer[name] for name in parts if name in layer]
    if len(pairs) < 3 or len({pair[0].data_ptr() for pair in pairs}) > 1 or pairs[0][0].shape[0] % 3:
        return layer
    rank = pairs[0][0].shape[0] // 3
    own = {}
    for k, (name, (a, b)) in enumerate(zip(parts, pairs, strict=True)):
        mine = slice(k * rank, (k + 1) * rank)
        rest = b.clone()
        rest[:, mine] = 0
        if rest.any():
            return layer
        own[name] = (a[mine].contiguous(), b[:, mine].contiguous())
    return {**layer, **own}


def _config(model: Transformer, factors: Mapping[str, Factors], base: str) -> dict[str, Any]:
    """adapter_config.json: rank and alpha of most maps, the others' by their path."""
    shapes = {module: (a.shape[0], scale * a.shape[0]) for module, (a, _, scale) in factors.items()}
    rank, alpha = Counter(shapes.values()).most_common(1)[0][0]
    drops = {put.dropout for _, _, _, put in lora_maps(model)}
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "r": rank,
        "lora_alpha": _number(alpha),
        "rank_pattern": {module: r for module, (r, _) in shapes.items() if r != rank},
        "alpha_pattern": {m: _number(x) for m, (r, x) in shapes.items() if (r, x) != (rank, alpha)},
        "lora_dropout": max(drops),
        "target_modules": _targets(model, list(factors)),
        "bias": "none",
        "fan_in_fan_out": model.config.family == "gpt2",
        "init_lora_weights": True,
        "use_rslora": False,
        "use_dora": False,
        "inference_mode": True,
        "modules_to_save": None,
    }


def _targets(model: Transformer, modules: list[str]) -> list[str]:
    """Names of maps where every layer has them, else full paths."""
    names = Counter(module.split(".", 3)[3] for module in modules)
    whole = [name for name, count in names.items() if count == model.config.n_layer]
    rest = [module for module in modules if module.split(".", 3)[3] not in whole]
    if model.config.family != "gpt2":
        whole = [name.rpartition(".")[2] for name in whole]
    return sorted(whole) + sorted(rest)


def _number(value: float) -> int | float:
    return int(value) if value == int(value) else value


def _card(base: str, factors: Mapping[str, Factors]) -> str:
    n = sum(a.numel() + b.numel() for a, b, _ in factors.values())
    return (
        f"---\nlibrary_name: peft\nbase_model: {base}\npipeline_tag: text-generation\n---\n\n"
        f"# An adapter for {base}\n\n"
        f"LoRA: {n / 1e6:.2f} M weights beside {len(factors)} linear maps. Saved by Tokenloom "
        f"{__version__}; peft opens it on the base model.\n"
    )

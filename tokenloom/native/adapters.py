"""LoRA adapters on the native step: read as for PyTorch, handed over as float32.

Imports torch, and only when there is an adapter to read.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokenloom.native.step import NativeStep


def add_adapters(step: NativeStep, folders: Mapping[str, str | Path]) -> None:
    """Adds each adapter by name. Raises BadAdapter where a folder is none or does not fit the model."""
    if not folders:
        return
    import torch

    from tokenloom.model.lora import load_adapter

    for name, folder in folders.items():
        placed = load_adapter(folder).placed(step.config, torch.float32, torch.device("cpu"))
        factors = {}
        for i in range(len(placed.layers)):
            for product, (a, b) in placed.layer(i).items():
                part = "mlp" if product in ("gate_proj", "up_proj", "down_proj") else "self_attn"
                factors[f"model.layers.{i}.{part}.{product}"] = (a.numpy(), b.numpy())
        step.add_adapter(name, factors)

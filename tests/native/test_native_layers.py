"""The native step beside PyTorch with its activations rounded the same way: nothing else is in between.

Depth by depth: a model of 1, 2, 3 layers with the same first layers, so that a wrong layer shows where it is.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gguf_fixtures import SMALL, small_llama
from torch import nn

from tokenloom.model.load import load_model
from tokenloom.native.open import open_native
from tokenloom.step import Row

IDS = [int(i) for i in np.random.default_rng(5).integers(3, 300, 48)]


def rounded(x: torch.Tensor) -> torch.Tensor:
    """int8 in blocks of 32, as the native step sees the inputs of its products."""
    blocks = x.float().unflatten(-1, (-1, 32))
    scale = blocks.abs().amax(-1, keepdim=True) / 127
    return (torch.round(blocks / scale.clamp_min(1e-30)) * scale).flatten(-2)


def reference(path: Path, round_activations: bool) -> np.ndarray:
    model = load_model(path, "float32", "cpu")
    if round_activations:
        for name, module in model.named_modules():
            if isinstance(module, nn.Linear):
                module.register_forward_pre_hook(lambda _, inputs: (rounded(inputs[0]),))
            if name.endswith("v_proj"):  # values lie in the cache as halves; keys too, but turned before
                module.register_forward_hook(lambda *seen: seen[2].half().float())
    with torch.inference_mode():
        hidden = model.hidden(torch.tensor([IDS]))
        if round_activations and model.config.tied:  # the tied output layer is no module of its own
            hidden = rounded(hidden)
        return model.logits(hidden)[0].numpy()


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("kind", ["Q8_0", "Q4_1"])
def test_depth_by_depth(kind: str, layers: int, tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    changes: dict[str, Any] = {"num_hidden_layers": layers}
    assert SMALL["num_hidden_layers"] == 2
    small_llama(path, kind=kind, **changes)
    native = open_native(path, n_slots=1, threads=1).run([Row(0, 0, IDS, want=len(IDS))])[0]
    assert native is not None
    same, plain = reference(path, True), reference(path, False)
    near, far = np.abs(native - same).max(1), np.abs(native - plain).max(1)
    # Positions where no rounding falls the other way (keys are halves in the cache) agree to float order.
    agree = np.mean(near < 1e-4 * np.abs(same).max())
    assert agree > 0.25 or layers > 1
    assert near.mean() < 0.7 * far.mean()
    assert far.min() > 1e-3 * np.abs(same).max()

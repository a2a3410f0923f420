"""Every family equals transformers: two layers, random weights, float32; whole and through the cache."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from tiny_models import CONFIGS

from tokenloom.model.load import load_model
from tokenloom.model.save import save_model
from tokenloom.model.step import TorchStep
from tokenloom.step import Row

HubModel = Callable[[str], tuple[Path, Any]]
T = 40  # longer than the windows (8) and than what the stretched rotations were made for (16)


@pytest.fixture(params=CONFIGS)
def pair(request: pytest.FixtureRequest, hub_model: HubModel) -> tuple[Path, Any, torch.Tensor, np.ndarray]:
    """Folder, transformers' model, ids (2, T), its logits (2, T, V)."""
    folder, theirs = hub_model(request.param)
    ids = torch.randint(0, 97, (2, T), generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        return folder, theirs, ids, theirs(ids).logits.numpy()


def test_forward(pair: tuple[Path, Any, torch.Tensor, np.ndarray]) -> None:
    folder, _, ids, want = pair
    model = load_model(folder, "float32", "cpu")
    with torch.no_grad():
        found = model(ids).numpy()
    assert np.abs(want).max() > 1
    np.testing.assert_allclose(found, want, atol=2e-5)


def test_prefill_chunks_and_decode_through_the_cache(
    pair: tuple[Path, Any, torch.Tensor, np.ndarray],
) -> None:
    """Row 0 whole; row 1 in two chunks and then id by id, beside another row at other lengths."""
    folder, _, ids, want = pair
    step = TorchStep(load_model(folder, "float32", "cpu"), n_slots=4, context=T)
    first, second = ids.tolist()
    whole, _ = step.run([Row(2, 0, first, want=T), Row(1, 0, second[:20])])
    np.testing.assert_allclose(whole, want[0], atol=2e-5)
    chunk, _ = step.run([Row(1, 20, second[20:29], want=9), Row(0, 0, first[:7])])
    np.testing.assert_allclose(chunk, want[1, 20:29], atol=2e-5)
    for i in range(29, T):
        j = 7 + i - 29
        one, two = step.run([Row(1, i, [second[i]], want=1), Row(0, j, [first[j]], want=1)])
        np.testing.assert_allclose(one[0], want[1, i], atol=2e-5)
        np.testing.assert_allclose(two[0], want[0, j], atol=2e-5)


def test_saved_folder_opens_in_transformers(
    pair: tuple[Path, Any, torch.Tensor, np.ndarray], tmp_path: Path
) -> None:
    folder, _, ids, want = pair
    model = load_model(folder, "float32", "cpu")
    saved = save_model(model, tmp_path / "saved", dtype="float32")
    back, notes = transformers.AutoModelForCausalLM.from_pretrained(
        saved, attn_implementation="eager", output_loading_info=True
    )
    assert not notes["missing_keys"]
    assert not notes["unexpected_keys"]
    with torch.no_grad():
        np.testing.assert_allclose(back.eval()(ids).logits.numpy(), want, atol=2e-5)
    again = load_model(saved, "float32", "cpu")
    assert again.config == model.config
    for (name, a), b in zip(model.named_parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b), name


def test_parameters_are_counted(pair: tuple[Path, Any, torch.Tensor, np.ndarray]) -> None:
    folder, theirs, _, _ = pair
    model = load_model(folder, "float32", "cpu")
    assert model.config.n_params == sum(p.numel() for p in model.parameters()) == theirs.num_parameters()

"""Adapters equal peft: read from its folders, and applied per row beside rows with another or none."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import peft
import pytest
import torch

from tokenloom.model.load import load_model
from tokenloom.model.lora import BadAdapter, load_adapter, parse_adapter
from tokenloom.model.step import TorchStep
from tokenloom.step import Row

HubModel = Callable[[str], tuple[Path, Any]]
IDS = [5, 9, 33, 60, 2, 71, 18, 96, 44, 3]
ALL = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def adapted(base: Any, folder: Path, seed: int, **settings: Any) -> np.ndarray:
    """Saves a peft adapter with random factors to `folder`; its logits (T, V) on IDS."""
    config = peft.LoraConfig(task_type="CAUSAL_LM", **settings)
    model = peft.get_peft_model(copy.deepcopy(base), config).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_" in name:
                weight.copy_(0.2 * torch.randn(weight.shape, generator=generator))
        logits = model(torch.tensor([IDS])).logits[0].numpy()
    model.save_pretrained(folder)
    return logits


@pytest.mark.parametrize(
    ("family", "settings"),
    [
        ("llama", {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj"]}),
        ("llama", {"r": 4, "lora_alpha": 6, "target_modules": ALL, "use_rslora": True}),
        ("llama_biases_tied", {"r": 2, "lora_alpha": 8, "target_modules": "all-linear"}),
        ("qwen3", {"r": 4, "target_modules": ALL, "layers_to_transform": [1]}),
        ("gemma3", {"r": 4, "target_modules": ALL}),
        (
            "mistral",
            {
                "r": 4,
                "lora_alpha": 8,
                "target_modules": ALL,
                "rank_pattern": {"k_proj": 2},
                "alpha_pattern": {"k_proj": 16, "layers.1.mlp.up_proj": 3},
            },
        ),
        ("gpt2", {"r": 4, "lora_alpha": 8, "target_modules": ["c_attn", "c_proj", "c_fc"]}),
    ],
)
def test_rows_with_other_adapters_in_one_batch(
    hub_model: HubModel, tmp_path: Path, family: str, settings: dict[str, Any]
) -> None:
    folder, base = hub_model(family)
    want_a = adapted(base, tmp_path / "a", 1, **settings)
    want_b = adapted(base, tmp_path / "b", 2, **settings)
    with torch.no_grad():
        plain = base(torch.tensor([IDS])).logits[0].numpy()
    assert np.abs(want_a - plain).max() > 0.1
    step = TorchStep(load_model(folder, "float32", "cpu"), 4, context=16)
    step.add_adapter("a", load_adapter(tmp_path / "a"))
    step.add_adapter("b", load_adapter(tmp_path / "b"))
    assert step.adapters == ("a", "b")
    n = len(IDS)
    found = step.run([Row(0, 0, IDS, n, adapter="a"), Row(1, 0, IDS, n), Row(2, 0, IDS[:6], 6, adapter="b")])
    for logits, want in zip(found, (want_a, plain, want_b[:6]), strict=True):
        np.testing.assert_allclose(logits, want, atol=3e-5)
    step.run([Row(0, 0, IDS[:5], adapter="a"), Row(1, 0, IDS[:5]), Row(3, 0, IDS[:5], adapter="a")])
    for i in range(6, n):
        rows = [Row(2, i, [IDS[i]], 1, adapter="b"), Row(0, i - 1, [IDS[i - 1]], 1, adapter="a")]
        rows += [Row(1, i - 1, [IDS[i - 1]], 1), Row(3, i - 1, [IDS[i - 1]], 1, adapter="a")]
        for logits, want in zip(
            step.run(rows), (want_b[i], want_a[i - 1], plain[i - 1], want_a[i - 1]), strict=True
        ):
            np.testing.assert_allclose(logits[0], want, atol=3e-5)
    step.remove_adapter("a")
    with pytest.raises(ValueError, match=r"adapter: found 'a', loaded are \['b'\]"):
        step.run([Row(0, 0, IDS, adapter="a")])


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"use_dora": True}, "use_dora.*merge"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save.*merge"),
        ({"bias": "all"}, "bias.*'all'"),
        ({"target_modules": ["lm_head"]}, "target_modules"),
        ({"target_modules": ["embed_tokens"]}, "target_modules.*embed"),
    ],
)
def test_what_cannot_be_applied_is_refused(
    hub_model: HubModel, tmp_path: Path, settings: dict[str, Any], words: str
) -> None:
    _, base = hub_model("llama")
    adapted(base, tmp_path / "a", 1, **{"r": 2, "target_modules": ["q_proj"], **settings})
    with pytest.raises(BadAdapter, match=words):
        load_adapter(tmp_path / "a")


def test_other_methods_and_broken_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadAdapter, match=r"adapter_config\.json: missing"):
        load_adapter(tmp_path)
    (tmp_path / "adapter_config.json").write_text(json.dumps({"peft_type": "IA3"}))
    with pytest.raises(BadAdapter, match=r"adapter_model\.safetensors: missing"):
        load_adapter(tmp_path)
    (tmp_path / "adapter_model.safetensors").write_bytes(b"not that")
    with pytest.raises(BadAdapter, match="cannot be read"):
        load_adapter(tmp_path)
    with pytest.raises(BadAdapter, match="peft_type: found 'IA3'"):
        parse_adapter({"peft_type": "IA3"}, {})
    with pytest.raises(BadAdapter, match="holds no"):
        parse_adapter({"peft_type": "LORA"}, {})


def test_an_adapter_of_another_size_is_refused(hub_model: HubModel, tmp_path: Path) -> None:
    _, base = hub_model("llama")
    adapted(base, tmp_path / "a", 1, r=2, target_modules=["q_proj", "gate_proj"])
    other, _ = hub_model("mistral")
    with pytest.raises(BadAdapter, match=r"layers\.0\.q_proj: the adapter's is 32 x 32, the model's 64 x 32"):
        TorchStep(load_model(other, "float32", "cpu"), 1).add_adapter("a", load_adapter(tmp_path / "a"))
    gpt2, _ = hub_model("gpt2")
    with pytest.raises(BadAdapter, match=r"layers\.0\.gate_proj.*none"):
        TorchStep(load_model(gpt2, "float32", "cpu"), 1).add_adapter("a", load_adapter(tmp_path / "a"))

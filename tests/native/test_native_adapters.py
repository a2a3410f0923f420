"""Low-rank adapters on the native step: as PyTorch applies them, each row its own, beside rows with none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import peft
import pytest
import torch
import transformers
from gguf_fixtures import SMALL, small_weights, write_gguf

from tokenloom.model.load import load_model
from tokenloom.model.lora import BadAdapter, load_adapter
from tokenloom.model.step import TorchStep
from tokenloom.native.adapters import add_adapters
from tokenloom.native.open import open_native
from tokenloom.native.step import NativeStep
from tokenloom.step import Row

IDS = [int(i) for i in np.random.default_rng(3).integers(3, 300, 40)]
ATTENTION = ["q_proj", "k_proj"]
ALL = [*ATTENTION, "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """F32 and Q8_0 files of one model, and the adapters "qk" (where rows are interleaved), "all", "other"."""
    folder = tmp_path_factory.mktemp("adapters")
    weights = small_weights()
    for kind in ("F32", "Q8_0"):
        write_gguf(folder / f"{kind}.gguf", SMALL, weights, kind)
    model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**SMALL))
    for seed, (name, rank, products) in enumerate(
        [("qk", 4, ATTENTION), ("all", 3, ALL), ("other", 16, ALL)]
    ):
        torch.manual_seed(seed)
        config = peft.LoraConfig(task_type="CAUSAL_LM", r=rank, lora_alpha=2 * rank, target_modules=products)
        adapted = peft.get_peft_model(model, config)
        with torch.no_grad():
            for weight_name, weight in adapted.named_parameters():
                if "lora_" in weight_name:
                    weight.normal_(0.0, 0.15)
        adapted.save_pretrained(folder / name)
        model = adapted.unload()
    return folder


def native(folder: Path, kind: str, threads: int = 1) -> NativeStep:
    step = open_native(folder / f"{kind}.gguf", n_slots=4, threads=threads)
    add_adapters(step, {name: folder / name for name in ("qk", "all", "other")})
    return step


def logits(step: NativeStep | TorchStep, adapter: str | None) -> np.ndarray:
    found = step.run([Row(0, 0, IDS, len(IDS), adapter=adapter)])[0]
    assert found is not None
    return found


@pytest.mark.parametrize("adapter", ["qk", "all", "other"])
@pytest.mark.parametrize("kind", ["F32", "Q8_0"])
def test_near_pytorch_with_the_same_adapter(kind: str, adapter: str, folder: Path) -> None:
    torch_ = TorchStep(load_model(folder / f"{kind}.gguf", "float32", "cpu"), 1)
    torch_.add_adapter(adapter, load_adapter(folder / adapter))
    expected, plain = logits(torch_, adapter), logits(torch_, None)
    step = native(folder, kind)
    assert step.adapters == ("qk", "all", "other")
    moved = np.abs(expected - plain).max()
    assert moved > 0.1 * np.abs(expected).max()
    # With F32 only the cache's halves differ; with Q8_0 the activations are int8.
    wrong = np.abs(logits(step, adapter) - expected).max()
    assert wrong < (4e-3 if kind == "F32" else 0.08) * np.abs(expected).max()
    assert wrong < (0.02 if kind == "F32" else 0.3) * moved


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("kind", ["F32", "Q8_0"])
def test_rows_with_other_adapters_in_one_batch_are_each_alone(kind: str, threads: int, folder: Path) -> None:
    names = [None, "qk", "other", "all"]
    alone = {name: logits(native(folder, kind), name) for name in names}
    step = native(folder, kind, threads)
    cut = 11
    together = step.run([Row(s, 0, IDS[: cut + s], cut + s, adapter=name) for s, name in enumerate(names)])
    rest = step.run([Row(s, cut + s, IDS[cut + s :], 5, adapter=name) for s, name in enumerate(names)])
    for s, name in enumerate(names):
        assert np.array_equal(together[s], alone[name][: cut + s])
        assert np.array_equal(rest[s], alone[name][-5:])
    # An adapter leaves no trace on rows without one.
    assert np.array_equal(
        alone[None], logits(open_native(folder / f"{kind}.gguf", n_slots=1, threads=1), None)
    )


def test_a_second_factor_of_zeros_changes_no_bit(folder: Path) -> None:
    """What an adapter adds is added to the product, and to nothing else."""
    step = native(folder, "Q8_0")
    shape = (SMALL["hidden_size"], SMALL["intermediate_size"])
    nothing = (np.ones((2, shape[1]), np.float32), np.zeros((shape[0], 2), np.float32))
    step.add_adapter("nothing", {"model.layers.1.mlp.down_proj": nothing})
    assert np.array_equal(logits(step, "nothing"), logits(step, None))


def test_what_does_not_fit_is_refused(folder: Path, tmp_path: Path) -> None:
    step = native(folder, "F32")
    a, b = np.ones((2, 64), np.float32), np.ones((64, 2), np.float32)
    with pytest.raises(ValueError, match="no product"):
        step.add_adapter("x", {"model.layers.7.self_attn.q_proj": (a, b)})
    with pytest.raises(ValueError, match=r"q_proj: .*\(2, 65\).*\(rank, 64\)"):
        step.add_adapter("x", {"model.layers.0.self_attn.q_proj": (np.ones((2, 65), np.float32), b)})
    with pytest.raises(ValueError, match="q_proj"):
        step.add_adapter("x", {"model.layers.0.self_attn.q_proj": (a, np.ones((64, 3), np.float32))})
    wide = (np.ones((1025, 64), np.float32), np.ones((64, 1025), np.float32))
    with pytest.raises(ValueError, match="rank must be 1 to 1024"):
        step.add_adapter("x", {"model.layers.0.self_attn.q_proj": wide})
    with pytest.raises(BadAdapter):
        add_adapters(step, {"x": tmp_path})
    with pytest.raises(ValueError, match="adapter: found 'x'"):
        logits(step, "x")
    assert step.adapters == ("qk", "all", "other")

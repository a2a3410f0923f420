"""LoRA's laws: starts at the base, merged = unmerged, peft opens it, gradients on an int8 base."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import peft
import pytest
import torch
import transformers
from small_sizes import TINY

from tokenloom.model.load import load_model
from tokenloom.model.lora import BadAdapter, load_adapter
from tokenloom.model.save import save_model
from tokenloom.model.step import TorchStep
from tokenloom.model.transformer import Transformer
from tokenloom.step import Row
from tokenloom.train.adapter import load_lora, save_adapter
from tokenloom.train.int8 import Int8Linear, quantised, restored
from tokenloom.train.lora import (
    LoraLinear,
    LoraSettings,
    adapter_of,
    add_lora,
    drop_lora,
    has_lora,
    int8_base,
    merge,
    plain,
    unmerge,
)

IDS = torch.tensor([[5, 9, 33, 60, 2, 71, 18, 96, 44, 3]])
SMALL = {**TINY, "hidden_size": 64, "intermediate_size": 96}
CONFIGS: dict[str, Callable[[], Any]] = {
    "llama": lambda: transformers.LlamaConfig(**SMALL, attention_bias=True),
    "qwen3": lambda: transformers.Qwen3Config(**SMALL, head_dim=16, tie_word_embeddings=True),
    "gpt2": lambda: transformers.GPT2Config(vocab_size=97, n_embd=64, n_layer=2, n_head=4, n_positions=64),
    "gemma3": lambda: transformers.Gemma3TextConfig(**SMALL, head_dim=16, sliding_window=8),
}


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Path, Any]]:
    """family -> (folder, the transformers model)."""
    made: dict[str, tuple[Path, Any]] = {}

    def make(family: str) -> tuple[Path, Any]:
        if family not in made:
            torch.manual_seed(3)
            model = transformers.AutoModelForCausalLM.from_config(CONFIGS[family]()).eval()
            with torch.no_grad():
                for weight in model.parameters():
                    weight.normal_(0.0, 0.15 if weight.dim() > 1 else 0.5)
            folder = tmp_path_factory.mktemp(family)
            model.save_pretrained(folder)
            made[family] = folder, model
        return made[family]

    return make


def opened(folder: Path) -> Transformer:
    return load_model(folder, "float32", "cpu")


def stir(model: Transformer, seed: int = 1) -> None:
    """Random factors, as if trained."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_" in name:
                weight.copy_(0.1 * torch.randn(weight.shape, generator=generator))


@torch.no_grad()
def logits(model: Transformer) -> np.ndarray:
    return model.eval()(IDS)[0].float().numpy()


def test_training_starts_at_the_base_and_moves_the_factors_alone(bases) -> None:
    model = opened(bases("llama")[0])
    before = logits(model)
    weights = {name: p.detach().clone() for name, p in model.named_parameters()}
    add_lora(model, LoraSettings(rank=4, alpha=8), seed=5)
    np.testing.assert_array_equal(logits(model), before)
    moving = {name: p for name, p in model.named_parameters() if p.requires_grad}
    assert len(moving) == 2 * 7 * 2
    assert all("lora_" in name for name in moving)
    optimiser = torch.optim.AdamW(moving.values(), lr=1e-2)
    losses = []
    for _ in range(8):
        loss = torch.nn.functional.cross_entropy(model.train()(IDS)[0, :-1], IDS[0, 1:])
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]
    drop_lora(model)
    assert not has_lora(model)
    assert all(torch.equal(p, weights[name]) for name, p in model.named_parameters())
    np.testing.assert_array_equal(logits(model), before)


def test_factors_start_as_pefts_do(bases) -> None:
    folder, theirs = bases("llama")
    model = opened(folder)
    add_lora(model, LoraSettings(rank=16, targets=("q_proj",)), seed=1)
    other = peft.get_peft_model(copy.deepcopy(theirs), peft.LoraConfig(r=16, target_modules=["q_proj"]))
    drawn = [p.detach() for name, p in model.named_parameters() if "lora_A" in name]
    wanted = [p.detach() for name, p in other.named_parameters() if "lora_A" in name]
    assert [a.shape for a in drawn] == [a.shape for a in wanted]
    ours, others = torch.cat(drawn).flatten(), torch.cat(wanted).flatten()
    assert ours.abs().max() <= 1 / math.sqrt(64)
    assert ours.std().item() == pytest.approx(others.std().item(), rel=0.05)
    assert all(not p.any() for name, p in model.named_parameters() if "lora_B" in name)
    again = opened(folder)
    add_lora(again, LoraSettings(rank=16, targets=("q_proj",)), seed=1)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))


@pytest.mark.parametrize("family", sorted(CONFIGS))
@pytest.mark.parametrize(
    "settings",
    [
        LoraSettings(rank=4, alpha=6),
        LoraSettings(rank=3, alpha=8, rslora=True),
        LoraSettings(rank=4, alpha=8, targets=("q_proj", "v_proj", "up_proj"), dropout=0.1),
    ],
    ids=["all", "rslora", "some"],
)
def test_peft_and_serving_open_it(bases, tmp_path: Path, family: str, settings: LoraSettings) -> None:
    folder, theirs = bases(family)
    model = opened(folder)
    add_lora(model, settings, seed=2)
    stir(model)
    want = logits(model)
    assert np.abs(want - logits(opened(folder))).max() > 0.05
    save_adapter(model, tmp_path / "a", base=str(folder))
    other = peft.PeftModel.from_pretrained(copy.deepcopy(theirs), tmp_path / "a").eval()
    with torch.no_grad():
        np.testing.assert_allclose(other(IDS).logits[0].numpy(), want, atol=2e-4)
    step = TorchStep(opened(folder), 1, context=16)
    step.add_adapter("a", load_adapter(tmp_path / "a"))
    step.add_adapter("b", adapter_of(model))
    for name in ("a", "b"):
        rows = [Row(0, 0, IDS[0].tolist(), len(IDS[0]), adapter=name)]
        np.testing.assert_allclose(step.run(rows)[0], want, atol=2e-4)
    about = json.loads((tmp_path / "a" / "tokenloom.json").read_text())
    assert (about["kind"], about["base"]) == ("adapter", str(folder))


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_training_goes_on_from_a_folder(bases, tmp_path: Path, family: str) -> None:
    folder, _ = bases(family)
    model = opened(folder)
    add_lora(model, LoraSettings(rank=3, alpha=7, dropout=0.2), seed=2)
    stir(model)
    save_adapter(model, tmp_path / "a", base=str(folder))
    again = opened(folder)
    load_lora(again, tmp_path / "a")
    first, second = dict(model.named_parameters()), dict(again.named_parameters())
    assert first.keys() == second.keys()
    assert all(torch.equal(p, second[name]) for name, p in first.items())
    assert all(p.requires_grad == second[name].requires_grad for name, p in first.items())
    maps = [part for part in again.modules() if isinstance(part, LoraLinear)]
    assert {part.dropout for part in maps} == {0.2}
    assert all(part.scale == pytest.approx(7 / 3) for part in maps)
    np.testing.assert_allclose(logits(again), logits(model), atol=1e-6)


def test_an_adapter_of_pefts_is_trained_on(bases, tmp_path: Path) -> None:
    folder, theirs = bases("llama")
    config = peft.LoraConfig(
        r=4, lora_alpha=8, target_modules=["q_proj", "up_proj"], rank_pattern={"up_proj": 2}, use_rslora=True
    )
    other = peft.get_peft_model(copy.deepcopy(theirs), config).eval()
    with torch.no_grad():
        for name, weight in other.named_parameters():
            if "lora_" in name:
                weight.normal_(0.0, 0.1)
        want = other(IDS).logits[0].numpy()
    other.save_pretrained(tmp_path / "theirs")
    model = opened(folder)
    load_lora(model, tmp_path / "theirs")
    np.testing.assert_allclose(logits(model), want, atol=2e-4)
    scales = {part.lora_A.shape[0]: part.scale for part in model.modules() if isinstance(part, LoraLinear)}
    assert scales == pytest.approx({4: 8 / 2, 2: 8 / math.sqrt(2)})
    save_adapter(model, tmp_path / "ours", base=str(folder))
    back = peft.PeftModel.from_pretrained(copy.deepcopy(theirs), tmp_path / "ours").eval()
    with torch.no_grad():
        np.testing.assert_allclose(back(IDS).logits[0].numpy(), want, atol=2e-4)


@pytest.mark.parametrize("family", sorted(CONFIGS))
def test_merged_equals_unmerged(bases, family: str) -> None:
    model = opened(bases(family)[0])
    add_lora(model, LoraSettings(rank=4, alpha=8), seed=2)
    stir(model)
    want = logits(model)
    np.testing.assert_allclose(logits(plain(model)), want, atol=1e-4)
    assert has_lora(model)
    adapter = drop_lora(model)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    assert plain(model) is model
    merge(model, adapter)
    np.testing.assert_allclose(logits(model), want, atol=1e-4)
    unmerge(model, adapter)
    for name, weight in model.named_parameters():
        torch.testing.assert_close(weight, before[name], atol=1e-6, rtol=0)
    add_lora(model, LoraSettings(rank=2), seed=2)
    with pytest.raises(ValueError, match=r"layers\.0\.q_proj: is int8 or has factors"):
        merge(model, adapter)


def test_a_merged_model_saves_and_opens_in_transformers(bases, tmp_path: Path) -> None:
    model = opened(bases("qwen3")[0])
    add_lora(model, LoraSettings(rank=4, alpha=8), seed=2)
    stir(model)
    want = logits(model)
    save_model(plain(model), tmp_path / "m", dtype="float32")
    other = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "m", dtype=torch.float32).eval()
    with torch.no_grad():
        np.testing.assert_allclose(other(IDS).logits[0].numpy(), want, atol=2e-4)
    shared = dict(plain(model).named_parameters())["model.embed_tokens.weight"]
    assert shared is model.model.embed_tokens.weight


def test_dropout_acts_in_training_alone(bases) -> None:
    model = opened(bases("llama")[0])
    add_lora(model, LoraSettings(rank=4, dropout=0.5), seed=2)
    stir(model)
    np.testing.assert_array_equal(logits(model), logits(model))
    torch.manual_seed(0)
    model.train()
    with torch.no_grad():
        one, two = model(IDS), model(IDS)
    assert not torch.equal(one, two)


def test_int8_rounds_as_q8_0_does() -> None:
    gguf = pytest.importorskip("gguf")
    weight = torch.randn(8, 96) * torch.logspace(-3, 1, 8)[:, None]
    weight[2, 32:64] = 0
    codes, scales = quantised(weight)
    blocks = gguf.quants.quantize(weight.numpy(), gguf.GGMLQuantizationType.Q8_0)
    want = gguf.quants.dequantize(blocks, gguf.GGMLQuantizationType.Q8_0)
    np.testing.assert_allclose(restored(codes, scales, torch.float32).numpy(), want, rtol=0, atol=1e-7)
    ragged = torch.randn(5, 50)
    back = restored(*quantised(ragged), torch.float32)
    assert (back - ragged).abs().max() < ragged.abs().max() / 120


def test_an_int8_base_gives_the_gradients_of_its_float_twin(bases) -> None:
    """Exactly those of the rounded weights, and nearly those of the weights before rounding."""
    folder, _ = bases("llama")

    def gradients(prepare: Callable[[Transformer], None]) -> dict[str, torch.Tensor]:
        model = opened(folder)
        prepare(model)
        add_lora(model, LoraSettings(rank=4, alpha=8), seed=2)
        stir(model)
        torch.nn.functional.cross_entropy(model.train()(IDS)[0, :-1], IDS[0, 1:]).backward()
        return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}

    def rounded(model: Transformer) -> None:
        for part in list(model.modules()):
            if isinstance(part, torch.nn.Linear) and part is not model.lm_head:
                with torch.no_grad():
                    part.weight.copy_(restored(*quantised(part.weight), torch.float32))

    small = gradients(int8_base)
    assert len(small) == 2 * 7 * 2
    for name, grad in gradients(rounded).items():
        torch.testing.assert_close(small[name], grad, atol=1e-5, rtol=1e-4)
    for name, grad in gradients(lambda model: None).items():
        assert (small[name] - grad).norm() < 0.05 * grad.norm(), name


def test_an_int8_base_in_bfloat16_arithmetic(bases) -> None:
    model = opened(bases("llama")[0])
    want = logits(model)
    int8_base(model)
    assert np.abs(logits(model) - want).max() < 0.05 * np.abs(want).max()
    add_lora(model, LoraSettings(rank=4), seed=2)
    with torch.autocast("cpu", torch.bfloat16):
        loss = torch.nn.functional.cross_entropy(model.train()(IDS)[0, :-1].float(), IDS[0, 1:])
    loss.backward()
    grads = [p.grad for p in model.parameters() if p.requires_grad]
    assert all(g is not None and torch.isfinite(g).all() for g in grads)
    np.testing.assert_allclose(logits(plain(model)), logits(model), atol=1e-4)


def held(model: torch.nn.Module) -> int:
    return sum(p.nbytes for p in model.parameters()) + sum(b.nbytes for b in model.buffers())


def test_int8_takes_little_memory_and_keeps_nothing_for_the_backward_pass() -> None:
    weight = torch.randn(1024, 2048)
    part = Int8Linear(weight)
    assert held(part) == 1024 * 2048 * 34 / 32
    x = torch.randn(16, 2048, requires_grad=True)
    kept: list[int] = []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.data_ptr() not in (part.codes.data_ptr(), part.scales.data_ptr()):
            kept.append(tensor.nbytes)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        out = part(x)
    assert sum(kept) == 0
    out.sum().backward()
    want = torch.ones(16, 1024) @ part.float_weight()
    torch.testing.assert_close(x.grad, want, atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"rank": 0}, "lora.rank: found 0"),
        ({"alpha": 0.0}, "lora.alpha: found 0.0"),
        ({"dropout": 1.0}, "lora.dropout: found 1.0"),
        ({"targets": ("lm_head",)}, "lora.targets: found 'lm_head'; allowed: q_proj"),
        ({"targets": ()}, "lora.targets: found none"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        LoraSettings(**settings)


def test_what_does_not_fit_is_refused(bases, tmp_path: Path) -> None:
    gpt2 = opened(bases("gpt2")[0])
    with pytest.raises(ValueError, match=r"lora\.targets: found gate_proj, which this model does not have"):
        add_lora(gpt2, LoraSettings(targets=("gate_proj",)))
    with pytest.raises(ValueError, match="no LoRA factors to save"):
        save_adapter(gpt2, tmp_path / "none", base="x")
    model = opened(bases("llama")[0])
    add_lora(model, LoraSettings(rank=2), seed=2)
    with pytest.raises(ValueError, match="has LoRA factors already"):
        add_lora(model, LoraSettings(rank=2), seed=2)
    save_adapter(model, tmp_path / "a", base="x")
    with pytest.raises(FileExistsError, match="not empty"):
        save_adapter(model, tmp_path / "a", base="x")
    save_adapter(model, tmp_path / "a", base="y", overwrite=True)
    assert json.loads((tmp_path / "a/adapter_config.json").read_text())["base_model_name_or_path"] == "y"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "home"]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="holds no adapter"):
        save_adapter(model, tmp_path / "mine", base="x", overwrite=True)
    with pytest.raises(BadAdapter, match=r"layers\.0\.\w+: the adapter's is"):
        load_lora(gpt2, tmp_path / "a")
    with pytest.raises(BadAdapter, match=r"adapter_config\.json: missing"):
        load_lora(gpt2, tmp_path)
    half = load_model(bases("llama")[0], "bfloat16", "cpu")
    with pytest.raises(ValueError, match="unmerge: the weights are bfloat16"):
        unmerge(half, adapter_of(model))

"""What must hold of any training: it does not matter how a batch is cut, packed, interrupted or resumed."""

from __future__ import annotations

import dataclasses
import json
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tiny_training import WORDS, tiny_recipe, tiny_shards, tiny_tokenizer

from tokenloom.data.pack import Batches, Rows
from tokenloom.model.features import ModelConfig
from tokenloom.model.transformer import Transformer, init_weights
from tokenloom.train.checkpoint import checkpoints
from tokenloom.train.execute import resumed, train
from tokenloom.train.fit import StoppedOnNaN
from tokenloom.train.loop import Trainer
from tokenloom.train.loss import summed_loss
from tokenloom.train.objective import NextId
from tokenloom.train.recipe import OptimPart
from tokenloom.train.scale import Sizes
from tokenloom.train.start import assemble

CONFIG = ModelConfig(
    n_layer=2, n_head=2, n_kv_head=1, dim=32, head_dim=16, ffn_dim=64, vocab_size=300, context=64, tied=True
)


def model(seed: int = 0) -> Transformer:
    made = Transformer(CONFIG)
    init_weights(made, seed, std=0.1)
    return made


def weights(of: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in of.named_parameters()}


def uneven(rows: int = 8, context: int = 16) -> Rows:
    """Rows of which some learn all, some little, one nothing."""
    draw = np.random.default_rng(0)
    ids = draw.integers(0, 300, (rows, context))
    targets = np.roll(ids, -1, 1)
    for row in range(rows):
        targets[row, : context - 2 * row] = -100
    targets[:, -1] = -100
    return Rows(ids, targets, np.zeros_like(ids))


def gradient(batches: list[Rows]) -> dict[str, torch.Tensor]:
    trained = model()
    part = OptimPart(clip=0.0)
    sizes = Sizes(1, len(batches), len(batches[0].ids), 16, 0.0, 1)
    trainer = Trainer(NextId(trained, torch.float32, 7), batches.__getitem__, sizes, part)
    trainer._gradient("model", batches, 0)
    return {name: p.grad.clone() for name, p in trained.named_parameters() if p.grad is not None}


def test_eight_passes_of_one_row_are_one_pass_of_eight() -> None:
    whole = uneven()
    single = [
        Rows(whole.ids[i : i + 1], whole.targets[i : i + 1], whole.documents[i : i + 1]) for i in range(8)
    ]
    one, eight = gradient([whole]), gradient(single)
    assert one.keys() == eight.keys()
    for name in one:
        torch.testing.assert_close(eight[name], one[name], rtol=1e-4, atol=1e-7)


def test_activations_computed_anew_give_the_same_gradient() -> None:
    found = []
    for again in (False, True):
        trained = model().train()
        trained.recompute = again
        kept: list[int] = []

        def pack(tensor: torch.Tensor, kept: list[int] = kept) -> torch.Tensor:
            kept.append(tensor.nbytes)
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            loss, _, _ = NextId(trained, torch.float32, 64).loss("model", uneven())
        loss.backward()
        found.append((sum(kept), {name: p.grad for name, p in trained.named_parameters()}))
    assert found[1][0] < found[0][0] / 2
    for name, grad in found[0][1].items():
        torch.testing.assert_close(found[1][1][name], grad, rtol=1e-6, atol=1e-8)


def test_packed_rows_give_the_loss_of_documents_alone(tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer(tmp_path / "t")
    shards = tiny_shards(tmp_path / "s", tokenizer, WORDS)
    objective = NextId(model(), torch.float32, 64)
    sums = []
    for pack in (True, False):
        batches = Batches([(shards, 1.0)], context=64, rows=1, seed=0, pack=pack)
        rows = [batches.batch(i) for i in range(batches.n_rows)]
        found = [objective.loss("model", row)[:2] for row in rows]
        sums.append((sum(float(loss.detach()) for loss, _ in found), sum(n for _, n in found)))
    assert sums[0][1] == sums[1][1] == sum(len(w) for w in WORDS)
    assert sums[0][0] == pytest.approx(sums[1][0], rel=1e-5)


@pytest.mark.parametrize("cap", [0.0, 3.0])
@pytest.mark.parametrize("rows", [1, 7, 1000])
def test_chunked_loss_is_cross_entropy(rows: int, cap: float) -> None:
    torch.manual_seed(0)
    states, weight = torch.randn(20, 8), torch.randn(50, 8)
    targets = torch.randint(0, 50, (20,))
    results = []
    for own in (True, False):
        x, w = states.clone().requires_grad_(), weight.clone().requires_grad_()
        if own:
            loss = summed_loss(x, w, targets, torch.float32, rows, cap)
        else:
            logits = F.linear(x, w)
            logits = cap * torch.tanh(logits / cap) if cap else logits
            loss = F.cross_entropy(logits, targets, reduction="sum")
        (loss * 0.5).backward()
        results.append((loss.detach(), x.grad, w.grad))
    for own_value, wanted in zip(*results, strict=True):
        torch.testing.assert_close(own_value, wanted, rtol=1e-5, atol=1e-6)


def test_chunked_loss_of_nothing_is_zero() -> None:
    states = torch.zeros(0, 8, requires_grad=True)
    loss = summed_loss(states, torch.randn(5, 8), torch.zeros(0, dtype=torch.int64))
    assert float(loss.detach()) == 0.0


def test_loss_and_gradient_are_those_of_transformers(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    from tokenloom.model.save import save_model

    own = model()
    save_model(own, tmp_path / "m", dtype="float32")
    judge = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "m", dtype=torch.float32)
    ids = torch.randint(0, 300, (3, 16), generator=torch.Generator().manual_seed(1))
    labels = ids.clone()
    labels[0, :9] = -100
    shifted = F.pad(labels[:, 1:], (0, 1), value=-100)
    batch = Rows(ids.numpy(), shifted.numpy(), np.zeros((3, 16), np.int64))
    loss, count, _ = NextId(own, torch.float32, 5).loss("model", batch)
    (loss / count).backward()
    judged = judge(ids, labels=labels).loss
    judged.backward()
    torch.testing.assert_close(loss.detach() / count, judged.detach(), rtol=1e-5, atol=1e-6)
    for name, p in judge.named_parameters():
        mine = dict(own.named_parameters())[name].grad
        torch.testing.assert_close(mine, p.grad, rtol=1e-3, atol=1e-6, msg=name)


@pytest.mark.parametrize("kind", ["muon", "adamw"])
def test_resumed_is_straight_bit_for_bit(tmp_path: Path, kind: str) -> None:
    recipe = tiny_recipe(tmp_path, **{"optim.kind": kind, "run.average": 0.9, "run.save_every": 2})
    straight, _ = train(recipe)
    cut = dataclasses.replace(recipe, run=dataclasses.replace(recipe.run, minutes=1e-9))
    place, outcome = train(cut)
    hops = 0
    while not outcome.finished:
        assert outcome.why == "minutes"
        place, outcome = train(resumed(place, {"minutes": 1e-9 if hops < 3 else 0.0}), place)
        hops += 1
    assert hops == 4
    for file in ("model/model.safetensors",):
        assert (straight / file).read_bytes() == (place / file).read_bytes()
    lines = [
        [json.loads(line) for line in (p / "log.jsonl").read_text().splitlines()] for p in (straight, place)
    ]
    assert [line["loss"] for line in lines[0]] == [line["loss"] for line in lines[1]]
    assert [line["step"] for line in lines[1]] == [1, 2, 3, 4, 5, 6]


def test_a_signal_ends_a_run_with_a_checkpoint(tmp_path: Path) -> None:
    recipe = tiny_recipe(tmp_path, **{"run.steps": 50})
    parts = assemble(recipe)
    made = parts.trainer.batch

    def batch(n: int) -> Rows:
        if n == 6:  # the first pass of the fourth step
            signal.raise_signal(signal.SIGINT)
        return made(n)

    parts.trainer.batch = batch
    from tokenloom.train.fit import fit
    from tokenloom.train.progress import TrainingBar
    from tokenloom.train.run import RunFolder

    with RunFolder.create("r", "", tmp_path / "runs") as folder, TrainingBar(50) as bar:
        outcome = fit(parts.trainer, folder, recipe.run, bar)
        assert (outcome.why, outcome.step) == ("interrupted", 4)
        assert [p.name for p in checkpoints(folder.checkpoints)] == ["step-00000004"]


def test_a_signal_in_the_last_step_leaves_a_finished_run(tmp_path: Path) -> None:
    recipe = tiny_recipe(tmp_path, **{"run.steps": 3})
    parts = assemble(recipe)
    from tokenloom.train.fit import fit
    from tokenloom.train.progress import TrainingBar
    from tokenloom.train.run import RunFolder

    def evaluate() -> dict[str, float]:
        signal.raise_signal(signal.SIGINT)
        return {"held_out_loss": 1.0}

    with RunFolder.create("r", "", tmp_path / "runs") as folder, TrainingBar(3) as bar:
        outcome = fit(parts.trainer, folder, recipe.run, bar, evaluate)
        assert (outcome.why, outcome.step, outcome.finished) == ("done", 3, True)
        assert [p.name for p in checkpoints(folder.checkpoints)] == ["step-00000003"]


def test_a_batch_that_is_no_number_stops_the_run_and_is_kept(tmp_path: Path) -> None:
    recipe = tiny_recipe(tmp_path, **{"run.save_every": 2})
    parts = assemble(recipe)
    loss = parts.objective.loss

    def broken(player: str, batch: Rows) -> tuple[torch.Tensor, int, dict[str, float]]:
        total, count, figures = loss(player, batch)
        return (total * float("nan") if parts.trainer.step_number == 3 else total), count, figures

    parts.objective.loss = broken  # type: ignore[method-assign]
    from tokenloom.train.fit import fit
    from tokenloom.train.progress import TrainingBar
    from tokenloom.train.run import RunFolder

    with RunFolder.create("r", "", tmp_path / "runs") as folder, TrainingBar(6) as bar:
        with pytest.raises(StoppedOnNaN, match=r"step 4: the loss of model is nan"):
            fit(parts.trainer, folder, recipe.run, bar)
        kept = json.loads((folder.path / "bad-batch-4.json").read_text())
        assert kept["ids"] == parts.batches.batch(6).ids.tolist()
        assert [p.name for p in checkpoints(folder.checkpoints)] == ["step-00000002"]
    before = weights(parts.model)
    assert all(bool(torch.isfinite(p).all()) for p in before.values())


def test_a_full_disk_keeps_the_last_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = assemble(tiny_recipe(tmp_path))
    parts.trainer.step()
    place = parts.trainer.save(tmp_path / "c", {}, keep=1)
    parts.trainer.step()
    import safetensors.torch

    def full(tensors: object, path: str, *_: object) -> None:
        Path(path).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(safetensors.torch, "save_file", full)
    with pytest.raises(OSError, match=r"earlier ones are kept.*No space left"):
        parts.trainer.save(tmp_path / "c", {}, keep=1)
    assert list((tmp_path / "c").iterdir()) == [place]
    assert parts.trainer.load(place) == {}
    assert parts.trainer.step_number == 1


def test_a_step_saved_again_is_the_old_checkpoint_or_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = assemble(tiny_recipe(tmp_path))
    parts.trainer.step()
    place = parts.trainer.save(tmp_path / "c", {"n": 1}, keep=1)
    plain = Path.rename

    def rename(self: Path, target: Path) -> Path:
        if target == place and self.suffix == ".part":
            raise OSError(28, "No space left on device")
        return plain(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", rename)
        with pytest.raises(OSError, match="No space left"):
            parts.trainer.save(tmp_path / "c", {"n": 2}, keep=1)
    assert parts.trainer.load(place) == {"n": 1}
    parts.trainer.save(tmp_path / "c", {"n": 2}, keep=1)
    assert parts.trainer.load(place) == {"n": 2}
    assert list((tmp_path / "c").iterdir()) == [place]


def test_a_checkpoint_cut_short_is_refused(tmp_path: Path) -> None:
    parts = assemble(tiny_recipe(tmp_path))
    parts.trainer.step()
    place = parts.trainer.save(tmp_path / "c", {}, keep=1)
    file = place / "optimisers.safetensors"
    file.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(ValueError, match=r"optimisers.safetensors: found \d+ bytes of \d+"):
        parts.trainer.load(place)
    (place / "state.json").write_text("{")
    with pytest.raises(ValueError, match="not a whole checkpoint"):
        parts.trainer.load(place)


def test_the_golden_curve(tmp_path: Path) -> None:
    """Twenty steps of Muon and AdamW in float32; changes only where a commit says why."""
    golden = {"muon": (5.7796, 2.6519, 2.0583), "adamw": (5.7796, 2.6569, 1.9130)}
    for kind, wanted in golden.items():
        recipe = tiny_recipe(tmp_path, **{"optim.kind": kind, "run.steps": 20})
        parts = assemble(recipe)
        losses = [parts.trainer.step().loss for _ in range(20)]
        assert (losses[0], losses[9], losses[19]) == pytest.approx(wanted, abs=5e-3), kind

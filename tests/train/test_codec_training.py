"""A codec and its adversary, trained by the one trainer: against a plain loop, resumed, cut into passes."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tiny_pictures import tiny_codec_recipe, tiny_sprites
from torch import nn

import tokenloom
from tokenloom.codec.adversary import PatchAdversary
from tokenloom.codec.config import ImageCodecConfig, Losses
from tokenloom.codec.folder import open_codec
from tokenloom.codec.image import ImageCodec
from tokenloom.codec.losses import reconstruction
from tokenloom.codec.pixels import to_tensor
from tokenloom.config import read_recipe
from tokenloom.data.picture_splits import emoji_held_out, pair_held_out
from tokenloom.data.sprites import open_sprites
from tokenloom.train.codec import CodecObjective
from tokenloom.train.codec_run import codec_run, measured
from tokenloom.train.execute import resumed, train
from tokenloom.train.kinds import assembled
from tokenloom.train.loop import Trainer
from tokenloom.train.optim import SHARE, make_optimisers
from tokenloom.train.pictures import MadePictures, Mix, further_pictures
from tokenloom.train.recipe import OptimPart, Recipe
from tokenloom.train.scale import Sizes


def players(begins: int, **changes: object) -> tuple[ImageCodec, PatchAdversary]:
    torch.manual_seed(0)
    config = {"size": 32, "widths": (16, 32), "encoder": (1, 1), "decoder": (1, 1), **changes}
    codec = ImageCodec(ImageCodecConfig(**config))  # type: ignore[arg-type]
    for block in codec.modules():  # begin where gradients reach everything
        if isinstance(block, nn.Conv2d):
            nn.init.normal_(block.weight, std=0.1)
    return codec, PatchAdversary(begins, 8, 2, weight=0.5)


def pictures(number: int, n: int = 4) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, (n, 32, 32, 4), dtype=np.uint8)


def plain_loop(codec: ImageCodec, adversary: PatchAdversary, steps: int, lr: float) -> list[float]:
    """As one would write it by hand: both losses followed back on their own for the adaptive weight."""
    ours = torch.optim.AdamW(codec.parameters(), lr, betas=(0.9, 0.95), weight_decay=0.0)
    theirs = torch.optim.AdamW(adversary.parameters(), lr, betas=(0.9, 0.95), weight_decay=0.0)
    losses = []
    for step in range(steps):
        x = to_tensor(pictures(step))
        ground = torch.rand(len(x), 3)
        made, found = codec(x)
        loss = reconstruction(made, x, ground, Losses()).mean() + found.loss
        if step >= adversary.begins:
            with torch.no_grad():
                ((_, wanted),) = adversary(x)
            ((scores, features),) = adversary(made)
            pleased = -scores.mean()
            for mine, true in zip(features, wanted, strict=True):
                pleased = pleased + adversary.matching * (mine - true).abs().mean() / len(features)
            last = codec.last.weight
            pull = torch.autograd.grad(loss, last, retain_graph=True)[0].norm()
            push = torch.autograd.grad(pleased, last, retain_graph=True)[0].norm()
            loss = loss + adversary.weight * (pull / (push + 1e-4)) * pleased
        losses.append(float(loss.detach()))
        ours.zero_grad()
        loss.backward()
        ours.step()
        if step >= adversary.begins:
            theirs.zero_grad()
            true, false = adversary(x)[0][0], adversary(made.detach())[0][0]
            (F.relu(1 - true).mean() + F.relu(1 + false).mean()).backward()
            theirs.step()
    return losses


@pytest.mark.parametrize("changes", [{}, {"quantiser": "vq", "codes": 30, "depth": 2}])
def test_the_two_player_loop_is_a_plain_loop(changes: dict[str, object]) -> None:
    lr, steps = 1e-3, 5
    codec, adversary = players(2, **changes)
    torch.manual_seed(7)
    losses = plain_loop(codec, adversary, steps, lr)
    mine, other = players(2, **changes)
    starts = [[p.detach().clone() for p in player.parameters()] for player in (mine, other)]
    part = OptimPart(kind="adamw", weight_decay=0.0, schedule="constant", clip=0.0)
    objective = CodecObjective(mine, other, Losses(), torch.float32)
    trainer = Trainer(objective, pictures, Sizes(steps, 1, 4, 1, lr, 1), part)
    torch.manual_seed(7)
    told = [trainer.step() for _ in range(steps)]
    for here, there, begun in ((mine, codec, starts[0]), (other, adversary, starts[1])):
        # Adam makes whole steps of gradients that are rounding alone, so the way as a whole is compared.
        pairs = list(zip(here.parameters(), there.parameters(), begun, strict=True))
        apart = sum(float((a - b).detach().square().sum()) for a, b, _ in pairs) ** 0.5
        way = sum(float((b - c).detach().square().sum()) for _, b, c in pairs) ** 0.5
        assert apart < 0.02 * way
    assert [step.loss for step in told] == pytest.approx(losses, rel=1e-4)
    assert [set(step.figures) for step in told[:2]] == [{"psnr"}] * 2
    assert set(told[2].figures) == {"psnr", "convincing", "adapted", "judging", "apart"}
    assert told[2].figures["adapted"] > 0
    assert [step.count for step in told] == [4] * 5


def test_the_adversary_does_not_move_before_its_step_nor_by_the_codecs_loss() -> None:
    codec, adversary = players(1)
    objective = CodecObjective(codec, adversary, Losses(), torch.float32)
    part = OptimPart(kind="adamw", weight_decay=0.0, schedule="constant")
    trainer = Trainer(objective, pictures, Sizes(2, 1, 4, 1, 1e-3, 1), part)
    before = {name: p.detach().clone() for name, p in adversary.named_parameters()}
    trainer.step()
    assert all(torch.equal(p, before[name]) for name, p in adversary.named_parameters())
    turn = objective.prepare(pictures(0), 1)
    loss, _, _ = objective.loss("codec", turn)
    loss.backward()
    assert all(p.grad is None for p in adversary.parameters())
    assert codec.last.weight.grad is not None
    codec.zero_grad()
    loss, _, _ = objective.loss("adversary", turn)
    loss.backward()
    assert all(p.grad is None for p in codec.parameters())
    assert all(p.grad is not None for p in adversary.parameters())


def test_the_adversary_learns_to_tell_and_the_codec_to_please() -> None:
    codec, adversary = players(0)
    x = to_tensor(pictures(0, 16))
    made = codec(x)[0].detach()
    optimiser = torch.optim.Adam(adversary.parameters(), 3e-3)
    for _ in range(40):
        optimiser.zero_grad()
        loss, apart = adversary.judging(x, made)
        loss.mean().backward()
        optimiser.step()
    assert float(apart) > 0.5
    made.requires_grad_(True)
    before = adversary.convincing(x, made).mean()
    (gradient,) = torch.autograd.grad(before, made)
    after = adversary.convincing(x, made - 100 * gradient).mean()
    assert after < before


def test_four_passes_are_one_where_no_adversary_plays() -> None:
    found = []
    for rows in (8, 2):
        codec, _ = players(0)
        whole = pictures(0, 8)
        batch = lambda n, rows=rows, whole=whole: whole[n * rows : (n + 1) * rows]  # noqa: E731
        objective = CodecObjective(codec, None, Losses(), torch.float32)
        part = OptimPart(kind="adamw", weight_decay=0.0, schedule="constant", clip=0.0)
        trainer = Trainer(objective, batch, Sizes(1, 8 // rows, rows, 1, 1e-3, 1), part)
        torch.manual_seed(1)
        turns = [objective.prepare(batch(n), 0) for n in range(8 // rows)]
        for turn in turns:
            turn.ground = torch.full_like(turn.ground, 0.3)
        loss, count, _ = trainer._gradient("codec", turns, 0)
        found.append((loss, count, {k: p.grad for k, p in codec.named_parameters()}))
    assert found[0][1] == found[1][1] == 8
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-5)
    for name, gradient in found[0][2].items():
        torch.testing.assert_close(gradient, found[1][2][name], rtol=1e-3, atol=1e-5, msg=name)


def test_batches_are_a_function_of_their_number_and_hold_nothing_that_is_kept_out(tmp_path: Path) -> None:
    sprites = open_sprites(tiny_sprites(tmp_path / "sprites"))

    def made(seed: int = 0) -> MadePictures:
        return MadePictures(sprites, 48, 16, seed, Mix(0, 0.0, 20, 0.3), 5)

    one, two = made(), made()
    two.batch(0)
    assert np.array_equal(one.batch(3), two.batch(3))
    assert not np.array_equal(one.batch(3), one.batch(4))
    assert not np.array_equal(one.batch(3), made(1).batch(3))
    assert one.batch(3).shape == (16, 48, 48, 4)
    kept = [sprites.sprites[i] for i in one._train]
    assert len(kept) == len(one)
    assert not any(emoji_held_out(s.hexcode) or pair_held_out(s.hexcode, s.style) for s in kept)
    assert {s.style for s in kept} == {"fluent", "noto"}
    assert one.held_out().shape == one.unseen().shape == (5, 48, 48, 4)
    assert (one.batch(0)[..., 3] == 0).any()  # some stand on nothing
    assert ((one.batch(0)[..., 3] == 255).all((1, 2))).any()  # some on a ground
    for share, scenes, size in ((1.5, 1, 64), (0.5, 0, 64), (0.5, 5, 48)):
        with pytest.raises(ValueError, match=r"pictures\.scene"):
            MadePictures(sprites, size, 16, 0, Mix(scenes, share, 0, 0.0), 5)


def test_further_pictures_are_mixed_in_and_checked(tmp_path: Path) -> None:
    sprites = open_sprites(tiny_sprites(tmp_path / "sprites"))
    np.save(tmp_path / "more.npy", np.full((3, 40, 40, 4), 255, np.uint8))
    further = further_pictures([str(tmp_path / "more.npy")])
    made = MadePictures(sprites, 32, 8, 0, Mix(0, 0.0, 60, 1.0), 5, further)
    assert any((picture[picture[..., 3] > 0] == 255).all() for picture in made.drawn())
    np.save(tmp_path / "flat.npy", np.zeros((3, 40, 30, 4), np.uint8))
    (tmp_path / "no.npy").write_text("no")
    for bad in ("absent.npy", "flat.npy", "no.npy"):
        with pytest.raises(ValueError, match=r"pictures\.further"):
            further_pictures([str(tmp_path / bad)])


def test_a_run_learns_and_leaves_a_codec(tmp_path: Path) -> None:
    recipe = tiny_codec_recipe(tmp_path, **{"run.steps": 60, "run.eval_every": 30, "run.rows": 8})
    place, outcome = train(recipe, compare=lambda real, made: {"same": float((real == made).mean())})
    lines = [json.loads(line) for line in (place / "log.jsonl").read_text().splitlines()]
    assert lines[-1]["pictures"] == 480
    assert lines[-1]["pictures_s"] > 0
    assert "tok_s" not in lines[-1]
    assert lines[-1]["psnr"] > lines[0]["psnr"] + 3
    assert outcome.last["psnr"] > 8
    assert {"held_out_loss", "code_use", "perplexity", "unseen_psnr", "same"} <= set(outcome.last)
    assert "judging" in lines[-1]
    assert "judging" not in lines[0]
    codec = open_codec(place / "codec")
    some = MadePictures(open_sprites(tmp_path / "sprites"), 32, 4, 0, Mix(0, 0.0, 0, 0.0), 8).held_out()
    assert codec.decode(codec.encode(some)).shape == some.shape
    assert "No pretrained network" in (place / "codec" / "README.md").read_text()
    assert json.loads((place / "preflight.json").read_text())["n_codes"] == 1000


@pytest.mark.parametrize(
    "changes",
    [
        {"run.average": 0.9, "codec.quantiser": "vq", "codec.codes": 40},
        {"run.batch_tokens": 8, "optim.kind": "muon"},
    ],
    ids=["vq", "fsq, two passes, muon"],
)
def test_resumed_is_straight_bit_for_bit(tmp_path: Path, changes: dict[str, object]) -> None:
    recipe = tiny_codec_recipe(tmp_path, **{"run.save_every": 2, "run.eval_every": 2, **changes})
    straight, _ = train(recipe)
    cut = dataclasses.replace(recipe, run=dataclasses.replace(recipe.run, minutes=1e-9))
    place, outcome = train(cut)
    while not outcome.finished:
        place, outcome = train(resumed(place, {"minutes": 1e-9 if outcome.step < 4 else 0.0}), place)
    file = "codec/model.safetensors"
    assert (straight / file).read_bytes() == (place / file).read_bytes()
    logs = [
        [json.loads(line) for line in (p / "log.jsonl").read_text().splitlines()] for p in (straight, place)
    ]
    for key in ("loss", "psnr", "eval"):
        assert [line.get(key) for line in logs[0]] == [line.get(key) for line in logs[1]]
    assert [line["step"] for line in logs[1]] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize(("size", "places"), [(96, 144), (128, 256)])
def test_larger_pictures_are_a_matter_of_the_recipe(size: int, places: int) -> None:
    recipe = read_recipe(
        Recipe,
        Path(tokenloom.__file__).parent / "recipes" / "picture-codec.toml",
        [f"codec.size={size}", "pictures.scene_share=0"],
    )
    torch.manual_seed(0)
    with torch.no_grad():
        made, found = ImageCodec(recipe.codec)(torch.zeros(1, 4, size, size))
    assert made.shape == (1, 4, size, size)
    assert found.codes[0].numel() == places


def test_measuring_changes_nothing(tmp_path: Path) -> None:
    run = codec_run(tiny_codec_recipe(tmp_path, **{"codec.quantiser": "vq", "codec.codes": 40}))
    before = {k: v.clone() for k, v in run.objective.codec.state_dict().items()}
    random = torch.get_rng_state()
    found = measured(run.objective, run.pictures.held_out())
    assert torch.equal(random, torch.get_rng_state())
    assert all(torch.equal(v, before[k]) for k, v in run.objective.codec.state_dict().items())
    assert 0 < found["code_use"] <= 1
    assert 1 <= found["perplexity"] <= 40
    assert run.objective.codec.training


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"pictures.sprites": ""}, "pictures.sprites: found nothing"),
        ({"pictures.sprites": "absent"}, "sprites: nothing at"),
        ({"pictures.scene_share": 0.5}, "scenes are 64 pixels wide"),
        ({"model": {"depth": 2}}, "model: has no effect with objective = 'codec'"),
        ({"lora": {"rank": 2}}, "lora: has no effect"),
        ({"run.compile": True}, "run.compile: has no effect"),
        ({"run.tokens": 100}, "found both or none of steps and tokens"),
        ({"adversary.begins": 2.0}, "adversary.begins: found 2.0"),
        ({"run.rows": 0}, "run.rows: found 0"),
    ],
)
def test_what_is_refused(tmp_path: Path, changes: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        assembled(tiny_codec_recipe(tmp_path, **changes))


def test_kernels_move_by_muon_as_the_matrices_they_are() -> None:
    torch.manual_seed(0)
    kernel = nn.Conv2d(6, 4, 3)
    matrix = nn.Linear(6 * 9, 4)
    with torch.no_grad():
        matrix.weight.copy_(kernel.weight.flatten(1))
        matrix.bias.copy_(kernel.bias)  # type: ignore[arg-type]
    part = OptimPart(kind="muon", adamw_share=0.2)
    ours, theirs = (make_optimisers(nn.Sequential(m), part, 0.02) for m in (kernel, matrix))
    assert [type(o).__name__ for o in ours] == ["KernelMuon", "AdamW"]
    assert ours[1].param_groups[0][SHARE] == 0.2
    x = torch.randn(5, 6, 3, 3)
    for _ in range(3):
        for module, optimisers, given in ((kernel, ours, x), (matrix, theirs, x.flatten(1))):
            module(given).square().sum().backward()
            for optimiser in optimisers:
                optimiser.step()
                optimiser.zero_grad()
    assert kernel.weight.grad is None
    torch.testing.assert_close(kernel.weight.flatten(1), matrix.weight)
    torch.testing.assert_close(kernel.bias, matrix.bias)
    assert isinstance(
        make_optimisers(nn.Sequential(kernel), OptimPart(kind="adamw"), 0.1)[0], torch.optim.AdamW
    )

"""InfoNCE against a direct computation, twins that are no negatives, and a toy that is learned."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from tokenloom.codec.judge import DualEncoder, JudgeConfig
from tokenloom.train.loop import Trainer
from tokenloom.train.match import MatchObjective, Pairs, info_nce
from tokenloom.train.recipe import OptimPart
from tokenloom.train.scale import Sizes

SIZES = {"text_dim": 32, "widths": (16, 24), "blocks": (1, 1), "out": 24, "hidden": 32, "size": 32}


def direct(logits: list[list[float]], keys: list[int]) -> float:
    """The two cross entropies spelled out, twins left out of every denominator."""
    n, total = len(keys), 0.0
    for i in range(n):
        row = [math.exp(logits[i][j]) for j in range(n) if j == i or keys[j] != keys[i]]
        column = [math.exp(logits[j][i]) for j in range(n) if j == i or keys[j] != keys[i]]
        own = math.exp(logits[i][i])
        total -= (math.log(own / sum(row)) + math.log(own / sum(column))) / 2
    return total


@pytest.mark.parametrize("keys", [[0, 1, 2, 3, 4], [0, 1, 0, 3, 1], [7, 7, 7, 7, 7]])
def test_the_loss_is_the_papers(keys: list[int]) -> None:
    logits = torch.randn(5, 5, generator=torch.Generator().manual_seed(1)) * 2
    total, _ = info_nce(logits, torch.tensor(keys))
    assert float(total) == pytest.approx(direct(logits.tolist(), keys), abs=1e-5)


def test_twins_do_not_push_each_other_away() -> None:
    logits = torch.zeros(4, 4, requires_grad=True)
    total, _ = info_nce(logits, torch.tensor([0, 1, 0, 2]))
    total.backward()
    assert logits.grad is not None
    assert logits.grad[0, 2] == logits.grad[2, 0] == 0
    assert logits.grad[0, 1] > 0
    assert (logits.grad.diagonal() < 0).all()


def test_right_counts_both_directions() -> None:
    logits = torch.tensor([[3.0, 0.0], [4.0, 1.0]])  # caption 1 likes picture 0 better
    _, right = info_nce(logits, torch.tensor([0, 1]))
    # caption 0 and picture 1 find their own; caption 1 and picture 0 do not
    assert right == 0.5


def squares(n: int, seed: int) -> Pairs:
    """A picture is a square of one of four colours in one of four corners; its caption is two ids."""
    random = np.random.default_rng(seed)
    colours = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 0]], np.uint8)
    pictures = np.full((n, 32, 32, 4), 255, np.uint8)
    what = random.integers(0, 4, (n, 2))
    for row, (colour, corner) in zip(pictures, what, strict=True):
        y, x = divmod(int(corner), 2)
        row[2 + 16 * y : 14 + 16 * y, 2 + 16 * x : 14 + 16 * x, :3] = colours[colour]
    ids = np.stack([1 + what[:, 0], 5 + what[:, 1]], 1)
    return Pairs(ids, np.full(n, 2), pictures, what[:, 0] * 4 + what[:, 1])


def trainer(steps: int) -> Trainer:
    torch.manual_seed(0)
    objective = MatchObjective(DualEncoder(JudgeConfig(9, **SIZES)))  # type: ignore[arg-type]
    part = OptimPart(kind="adamw", schedule="constant", weight_decay=0.01)
    return Trainer(objective, lambda n: squares(32, n), Sizes(steps, 1, 32, 1, 3e-3, 5), part)


def test_colours_and_corners_are_learned() -> None:
    training = trainer(60)
    steps = [training.step() for _ in range(60)]
    assert steps[0].loss > 2.0
    assert steps[-1].loss < 0.1 * steps[0].loss
    objective = training.objective
    assert isinstance(objective, MatchObjective)
    new = squares(64, 999)
    with torch.no_grad():
        _, _, figures = objective.loss("judge", new)
    kept = np.unique(new.keys, return_index=True)[1]
    alone = Pairs(new.ids[kept], new.lengths[kept], new.pictures[kept], new.keys[kept])
    with torch.no_grad():
        _, count, figures = objective.loss("judge", alone)
    assert count == len(kept) > 12
    assert figures["right"] > 0.9


def test_the_scale_never_passes_the_papers_limit() -> None:
    network = DualEncoder(JudgeConfig(9, **SIZES))  # type: ignore[arg-type]
    assert float(network.scale.detach()) == pytest.approx(1 / 0.07, rel=1e-5)
    with torch.no_grad():
        network.log_scale.fill_(50.0)
    assert float(network.scale.detach()) == pytest.approx(100, rel=1e-5)


def test_a_resumed_run_is_a_straight_one(tmp_path: Path) -> None:
    straight = trainer(6)
    for _ in range(6):
        straight.step()
    first = trainer(6)
    for _ in range(3):
        first.step()
    place = first.save(tmp_path, {}, 1)
    second = trainer(6)
    second.load(place)
    for _ in range(3):
        second.step()
    ours, theirs = (t.objective.players["judge"].state_dict() for t in (straight, second))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_pairs_that_do_not_fit_are_refused() -> None:
    good = squares(4, 0)
    with pytest.raises(ValueError, match="3 keys"):
        Pairs(good.ids, good.lengths, good.pictures, good.keys[:3])

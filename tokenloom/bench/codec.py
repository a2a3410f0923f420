"""How fast a codec is trained, beside a plain PyTorch loop of the same network: medians and their ratio.

Both take the same pictures, losses, optimizer and arithmetic, in turn, in one process: what differs is the
loop. The plain one is written as one would by hand, with the two losses followed back each on its own for
the adaptive weight. That both learn the same is a test's matter.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from tokenloom.codec.adversary import PatchAdversary
from tokenloom.codec.config import ImageCodecConfig, Losses
from tokenloom.codec.image import ImageCodec
from tokenloom.codec.losses import reconstruction
from tokenloom.codec.pixels import to_tensor
from tokenloom.model.load import pick_dtype
from tokenloom.train.codec import CodecObjective
from tokenloom.train.loop import Trainer
from tokenloom.train.recipe import OptimPart
from tokenloom.train.scale import Sizes

CONFIG = ImageCodecConfig(widths=(64, 160), encoder=(1, 2), decoder=(2, 4))
RATE = 1e-3
Step = Callable[[], object]


def run(
    *,
    rounds: int = 5,
    threads: int | None = None,
    rows: int = 32,
    steps: int = 4,
    config: ImageCodecConfig = CONFIG,
    say: Callable[[str], object] = print,
) -> dict[str, Any]:
    """Measures both, without and with the adversary, `rounds` times in turn; says and returns the figures."""
    threads = threads or len(os.sched_getaffinity(0))
    torch.set_num_threads(threads)
    dtype = pick_dtype("auto", torch.device("cpu"))
    figures: dict[str, Any] = {}
    for plays in (False, True):
        both: dict[str, Step] = {
            "tokenloom": _ours(config, rows, dtype, plays),
            "plain": _plain(config, rows, dtype, plays),
        }
        seen: dict[str, list[float]] = {name: [] for name in both}
        for turn in range(rounds + 1):
            for name, step in both.items():
                begun = time.perf_counter()
                for _ in range(steps if turn else 1):
                    step()
                if turn:  # the first round also sets up
                    seen[name].append(rows * steps / (time.perf_counter() - begun))
        kind = "adversary" if plays else "alone"
        medians = {name: statistics.median(found) for name, found in seen.items()}
        ratios = [a / b for a, b in zip(seen["tokenloom"], seen["plain"], strict=True)]
        figures[kind] = {f"{name}_pictures_s": round(value, 1) for name, value in medians.items()}
        figures[kind]["ratio"] = round(statistics.median(ratios), 3)
        say(f"{kind}: {figures[kind]}")
    result = {"what": "bench codec", "rows": rows, "rounds": rounds, "threads": threads, "dtype": str(dtype)}
    result |= {"weights": sum(p.numel() for p in ImageCodec(config).parameters()), **figures}
    return result


def _batch(config: ImageCodecConfig, rows: int, number: int) -> np.ndarray:
    draw = np.random.default_rng(number)
    return draw.integers(0, 256, (rows, config.size, config.size, 4), dtype=np.uint8)


def _players(config: ImageCodecConfig) -> tuple[ImageCodec, PatchAdversary]:
    torch.manual_seed(0)
    return ImageCodec(config), PatchAdversary(0, width=16)


def _ours(config: ImageCodecConfig, rows: int, dtype: torch.dtype, plays: bool) -> Step:
    codec, adversary = _players(config)
    objective = CodecObjective(codec, adversary if plays else None, Losses(), dtype)
    part = OptimPart(kind="adamw", schedule="constant", weight_decay=0.0)
    sizes = Sizes(1_000_000, 1, rows, 1, RATE, 1)
    return Trainer(objective, lambda n: _batch(config, rows, n), sizes, part).step


def _plain(config: ImageCodecConfig, rows: int, dtype: torch.dtype, plays: bool) -> Step:
    codec, adversary = _players(config)
    settings: dict[str, Any] = {"lr": RATE, "betas": (0.9, 0.95), "weight_decay": 0.0, "fused": True}
    ours = torch.optim.AdamW(codec.parameters(), **settings)
    theirs = torch.optim.AdamW(adversary.parameters(), **settings)
    number = 0

    def step() -> None:
        nonlocal number
        x = to_tensor(_batch(config, rows, number))
        number += 1
        ground = torch.rand(len(x), 3)
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            made, found = codec(x)
        loss = reconstruction(made, x, ground, Losses()).mean()  # in float32, as ours
        if plays:
            with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
                with torch.no_grad():
                    ((_, wanted),) = adversary(x)
                ((scores, features),) = adversary(made)
                pleased = -scores.mean()
                for mine, true in zip(features, wanted, strict=True):
                    pleased = pleased + adversary.matching * F.l1_loss(mine, true).float() / len(features)
            last = codec.last.weight
            pull = torch.autograd.grad(loss, last, retain_graph=True)[0].norm()
            push = torch.autograd.grad(pleased, last, retain_graph=True)[0].norm()
            loss = loss + adversary.weight * (pull / (push + 1e-4)).detach() * pleased
        ours.zero_grad()
        (loss + found.loss).backward()
        torch.nn.utils.clip_grad_norm_(codec.parameters(), 1.0)
        ours.step()
        if plays:
            with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
                true, false = adversary(x)[0][0], adversary(made.detach())[0][0]
                hinge = F.relu(1 - true).mean() + F.relu(1 + false).mean()
            theirs.zero_grad()
            hinge.backward()
            torch.nn.utils.clip_grad_norm_(adversary.parameters(), 1.0)
            theirs.step()

    return step

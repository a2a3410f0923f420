"""Painting with a tiny pipeline of random weights: in this process, and in the engine's."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("diffusers")

from tiny_diffusion import SIZE, tiny_diffusion

from tokenloom.engine import diffusion
from tokenloom.engine.check import BadRequest
from tokenloom.engine.diffusion import Brush, Paint, Refused, Stopped, Stroke, prepare_diffusion
from tokenloom.engine.process import EngineProcess
from tokenloom.engine.request import Delta, Request
from tokenloom.engine.status import EngineError


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    return tiny_diffusion(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def brush(folder: Path) -> Brush:
    return Brush(folder, "float32", "cpu")


def source(width: int = SIZE, height: int = SIZE) -> np.ndarray:
    pixels = np.zeros((height, width, 4), np.uint8)
    pixels[..., 0] = np.linspace(0, 255, width)
    pixels[..., 3] = 255
    return pixels


def test_a_picture_is_its_seed_s(brush: Brush) -> None:
    both = brush.paint(Paint("a red fox", n=2, seed=7, steps=3)).pixels
    assert both.shape == (2, SIZE, SIZE, 4)
    assert both.dtype == np.uint8
    assert (both[..., 3] == 255).all()
    assert (both[0] != both[1]).any()
    alone = brush.paint(Paint("a red fox", seed=8, steps=3)).pixels
    assert (alone[0] == both[1]).all()
    assert (brush.paint(Paint("a blue sea", seed=8, steps=3)).pixels != alone).any()
    assert (brush.paint(Paint("a red fox", seed=8, steps=3, negative="fur")).pixels != alone).any()
    assert (brush.paint(Paint("a red fox", seed=8, steps=4)).pixels != alone).any()
    assert (brush.paint(Paint("a red fox", seed=8, steps=3, guidance=1.0)).pixels != alone).any()


def test_sizes_and_strength(brush: Brush) -> None:
    assert brush.paint(Paint("a fox", steps=2, size=(48, 64))).pixels.shape == (1, 64, 48, 4)
    given = source(64, 48)
    strokes: list[Stroke] = []
    little = brush.paint(Paint("a fox", image=given, steps=10, strength=0.2), strokes.append).pixels[0]
    assert little.shape == given.shape
    assert (strokes[-1].step, strokes[-1].steps) == (2, 2)
    much = brush.paint(Paint("a fox", image=given, steps=10, strength=1.0)).pixels[0]
    assert (little != much).any()
    with pytest.raises(BadRequest, match=r"^strength: found 0\.05 with 10 steps.*at least 0\.1"):
        brush.paint(Paint("a fox", image=given, steps=10, strength=0.05))


def test_a_part_is_painted_anew(brush: Brush) -> None:
    mask = np.zeros((SIZE, SIZE), bool)
    mask[: SIZE // 2] = True
    one = brush.paint(Paint("a hat", seed=1, image=source(), mask=mask, steps=2)).pixels[0]
    other = brush.paint(Paint("a hat", seed=2, image=source(), mask=mask, steps=2)).pixels[0]
    moved = np.abs(one.astype(int) - other.astype(int)).mean(axis=(1, 2))
    assert moved[: SIZE // 2].mean() > 2 * moved[SIZE // 2 + 4 :].mean()


def test_pictures_under_way(brush: Brush) -> None:
    strokes: list[Stroke] = []
    done = brush.paint(Paint("a fox", n=2, steps=6, partials=2), strokes.append)
    assert [(s.picture, s.step) for s in strokes] == [(p, s) for p in (0, 1) for s in range(1, 7)]
    shown = [(s.picture, s.step, s.partial) for s in strokes if s.pixels is not None]
    assert shown == [(0, 2, 0), (0, 4, 1), (1, 2, 0), (1, 4, 1)]
    assert all(s.pixels.shape == done.pixels.shape[1:] for s in strokes if s.pixels is not None)
    plain = brush.paint(Paint("a fox", n=2, steps=6))
    assert (plain.pixels == done.pixels).all()  # looking changes nothing


def test_stopped_between_two_steps(brush: Brush) -> None:
    strokes: list[Stroke] = []
    with pytest.raises(Stopped):
        brush.paint(Paint("a fox", steps=50), strokes.append, lambda: len(strokes) == 3)
    assert len(strokes) == 3


def test_modes_share_their_weights(brush: Brush) -> None:
    modes = [brush._mode(name) for name in ("draw", "change", "inpaint")]
    assert len({id(pipe.unet) for pipe in modes}) == 1
    assert len({type(pipe).__name__ for pipe in modes}) == 3


def test_what_a_safety_checker_holds_back_is_told(brush: Brush, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = brush._mode("draw")

    def check(image: torch.Tensor, device: object, dtype: object) -> tuple[torch.Tensor, list[bool]]:
        return torch.full_like(image, -1.0), [True]

    monkeypatch.setattr(pipe, "run_safety_checker", check)
    found = brush.paint(Paint("a fox", steps=1))
    assert found.withheld == (True,)


def test_the_plan(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = prepare_diffusion(folder)
    weights = sum(path.stat().st_size for path in folder.rglob("*.safetensors"))
    assert (plan.dtype, plan.device, plan.works) == ("float32", "cpu", True)
    assert weights * 0.9 < plan.memory_bytes - diffusion.WORK * SIZE**2 * 4 < weights
    half = prepare_diffusion(folder, "bfloat16")
    assert half.memory_bytes * 2 == pytest.approx(plan.memory_bytes, rel=0.01)
    monkeypatch.setattr(diffusion, "NEEDED", ("diffusers", "no_such_library"))
    with pytest.raises(ValueError, match=r"no_such_library is missing.*pip install 'tokenloom\[diffusion\]'"):
        prepare_diffusion(folder)


# --- in the engine's process --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def engine(folder: Path) -> Iterator[EngineProcess]:
    with EngineProcess(threads=1) as process:
        info = process.load("tiny", str(folder), dtype="float32", device="cpu")
        assert info.memory_bytes > 1_000_000
        yield process


def test_the_engine_s_process_paints(engine: EngineProcess, brush: Brush) -> None:
    strokes: list[Stroke] = []
    paint = Paint("a red fox", seed=7, steps=3, partials=1)
    done = engine.paint("tiny", paint, strokes.append).answer.result(120)
    assert (done.pixels == brush.paint(paint).pixels).all()
    assert [s.step for s in strokes] == [1, 2, 3]
    assert sum(s.pixels is not None for s in strokes) == 1


def test_a_painting_can_be_dropped_and_others_wait_their_turn(engine: EngineProcess) -> None:
    strokes: list[Stroke] = []
    long = engine.paint("tiny", Paint("a fox", steps=500, n=16), strokes.append)
    second = engine.paint("tiny", Paint("a fox", steps=500, n=16), strokes.append)
    last = engine.paint("tiny", Paint("a fox", steps=1), lambda stroke: None)
    end = time.monotonic() + 60
    while not strokes and time.monotonic() < end:
        time.sleep(0.02)
    engine.drop(second)
    with pytest.raises(EngineError, match="given up"):
        second.answer.result(60)
    engine.drop(long)
    with pytest.raises(EngineError, match="given up"):
        long.answer.result(60)
    assert last.answer.result(60).pixels.shape == (1, SIZE, SIZE, 4)
    assert len(strokes) < 500


def test_what_it_cannot_do_is_said(engine: EngineProcess) -> None:
    with pytest.raises(EngineError, match="diffusion model: it has no codec"):
        engine.work("tiny", "encode", source()[None]).result(60)
    bad = Paint("a fox", image=source(), steps=2, strength=0.1)
    assert isinstance(refused := engine.paint("tiny", bad, lambda stroke: None).answer.result(60), Refused)
    assert refused.why.startswith("strength: ")
    with pytest.raises(EngineError, match="unknown"):
        engine.paint("nobody", Paint("a fox"), lambda stroke: None).answer.result(60)
    news: list[Delta] = []
    engine.submit(Request("r1", "tiny", (1, 2), max_tokens=4), news.extend)
    end = time.monotonic() + 60
    while not news and time.monotonic() < end:
        time.sleep(0.02)
    assert news[0].finish == "error"
    assert "writes no text" in (news[0].error or "")

"""The engine's laws on a real model through PyTorch: alone = crowded = put out = continued from a cache."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from plain_answer import drive

from tokenloom.engine.core import Core
from tokenloom.engine.request import Request, Sampling
from tokenloom.model.load import load_model
from tokenloom.model.step import TorchStep

pytestmark = [pytest.mark.model, pytest.mark.slow]
GREEDY = Sampling(temperature=0.0)
CONTEXT = 256


@pytest.fixture(scope="module")
def step(request: pytest.FixtureRequest) -> Iterator[TorchStep]:
    torch.set_num_threads(1)
    step = TorchStep(load_model(request.getfixturevalue("smollm2"), dtype="float32"), 6, CONTEXT)
    yield step
    step.close()


def asks(n_new: int) -> list[Request]:
    """Prompts of many lengths, half of them with a common beginning; ids are pieces of counting text."""
    common = [int(i) for i in np.random.default_rng(1).integers(500, 5000, 70)]
    out = []
    for i in range(6):
        own = [int(x) for x in np.random.default_rng(10 + i).integers(500, 5000, 5 + 9 * i)]
        ids = tuple(common + own) if i % 2 else tuple(own)
        out.append(Request(str(i), "m", ids, n_new, GREEDY))
    return out


def test_alone_in_a_crowd_and_put_out_give_the_same_ids(step: TorchStep) -> None:
    requests = asks(40)[:4]
    alone = {}
    for request in requests:
        alone[request.id] = drive(Core(step, grid=16), request).answer(request.id)
    for park_tok in (None, 0):
        loom = Core(step, grid=16, step_tok=48, budget_tok=320, park_tok=park_tok)
        inbox = drive(loom, *requests)
        assert {r.id: inbox.answer(r.id) for r in requests} == alone
        assert loom.stats()["preempted"] > 0
        assert loom.stats()["cached_tokens"] >= 64


def test_a_second_turn_continues_from_the_cache(step: TorchStep) -> None:
    first = asks(20)[1]
    warm = Core(step, grid=16)
    answer = drive(warm, first).answer("1").ids
    second = first.replace(id="2", ids=(*first.ids, *answer, 600, 601, 602))
    inbox = drive(warm, second)
    assert inbox.answer("2") == drive(Core(step, grid=16), second).answer("2")
    usage = inbox.done["2", 0].usage
    assert usage is not None
    assert usage.cached_tokens == (len(first.ids) + 19) // 16 * 16


def test_drafts_and_beams_and_guidance_run_on_it(step: TorchStep) -> None:
    ids = (*[int(i) for i in np.random.default_rng(3).integers(500, 5000, 12)],) * 3
    plain = Request("r", "m", ids, 12, GREEDY)
    assert drive(Core(step, speculate=4), plain).answer("r") == drive(Core(step), plain).answer("r")
    one = drive(Core(step), plain.replace(guidance=1.0 + 1e-7, negative=(5, 6))).answer("r")
    assert one == drive(Core(step), plain).answer("r")
    beams = drive(Core(step), plain.replace(beams=3, n=3, max_tokens=6)).done
    scores = [beams["r", i].score or 0.0 for i in range(3)]
    assert scores == sorted(scores, reverse=True)
    greedy = plain.replace(max_tokens=6, logprobs=0)
    total = sum(t.logprob for t in drive(Core(step), greedy).answer("r").logprobs)
    assert scores[0] >= total / 6 - 1e-4

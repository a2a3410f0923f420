"""Beam search against transformers' generate(num_beams=...) on a tiny model with random weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from plain_answer import drive
from transformers import LlamaConfig, LlamaForCausalLM

from tokenloom.engine.core import Core
from tokenloom.engine.request import Request, Sampling
from tokenloom.step import Row

VOCAB = 40


class HubStep:
    """A step that keeps each slot's ids and computes whole sequences anew."""

    bytes_per_token = 1
    context = 64
    vocab_size = VOCAB

    def __init__(self, model: LlamaForCausalLM, n_slots: int) -> None:
        self.model, self.n_slots = model, n_slots
        self.ids: list[list[int]] = [[] for _ in range(n_slots)]

    @torch.inference_mode()
    def run(self, rows: Sequence[Row]) -> list[np.ndarray | None]:
        out: list[np.ndarray | None] = []
        for row in rows:
            assert row.start <= len(self.ids[row.slot])
            self.ids[row.slot] = [*self.ids[row.slot][: row.start], *row.ids]
            logits = self.model(torch.tensor([self.ids[row.slot]])).logits[0]
            out.append(logits[len(logits) - row.want :].numpy().copy() if row.want else None)
        return out

    def copy(self, source: int, target: int, length: int) -> None:
        self.ids[target] = self.ids[source][:length]

    def park(self, slot: int, length: int) -> Any:
        return self.ids[slot][:length]

    def unpark(self, parked: Any, slot: int) -> None:
        self.ids[slot] = parked

    def release(self, slot: int) -> None:
        self.ids[slot] = []

    def close(self) -> None:
        self.ids = []


@pytest.fixture(scope="module")
def model() -> LlamaForCausalLM:
    torch.manual_seed(5)
    config = LlamaConfig(
        vocab_size=VOCAB,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=64,
        initializer_range=0.6,
    )
    return LlamaForCausalLM(config).eval()


CASES = [
    {"beams": 2, "n": 2, "stop_ids": (), "length_penalty": 1.0, "max_tokens": 8},
    {"beams": 4, "n": 4, "stop_ids": (3,), "length_penalty": 1.0, "max_tokens": 16},
    {"beams": 4, "n": 2, "stop_ids": (3, 4, 5, 6, 7, 8), "length_penalty": 1.0, "max_tokens": 16},
    {"beams": 3, "n": 3, "stop_ids": tuple(range(10)), "length_penalty": 0.0, "max_tokens": 12},
    {"beams": 3, "n": 3, "stop_ids": tuple(range(10)), "length_penalty": 2.0, "max_tokens": 12},
    {"beams": 3, "n": 3, "stop_ids": tuple(range(10)), "length_penalty": -1.0, "max_tokens": 12},
    {
        "beams": 3,
        "n": 1,
        "stop_ids": tuple(range(10)),
        "length_penalty": 1.0,
        "max_tokens": 12,
        "min_tokens": 6,
    },
]


@pytest.mark.parametrize("case", CASES)
def test_beams_are_those_of_transformers(model: LlamaForCausalLM, case: dict[str, Any]) -> None:
    for seed in range(3):
        prompt = tuple(int(i) for i in np.random.default_rng(seed).integers(10, VOCAB, 5 + seed))
        request = Request("r", "m", prompt, sampling=Sampling(temperature=0.0), **case)
        inbox = drive(Core(HubStep(model, 5), grid=4), request)
        stops = list(case["stop_ids"])
        want = model.generate(
            torch.tensor([prompt]),
            attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
            num_beams=case["beams"],
            num_return_sequences=case["n"],
            do_sample=False,
            early_stopping=False,
            length_penalty=case["length_penalty"],
            max_new_tokens=case["max_tokens"],
            min_new_tokens=case.get("min_tokens"),
            eos_token_id=stops or None,
            pad_token_id=0,
            return_dict_in_generate=True,
            output_scores=True,
        )
        for i in range(case["n"]):
            got = inbox.done["r", i]
            ids = [int(x) for x in want.sequences[i, len(prompt) :]]
            end = next((at for at, x in enumerate(ids) if x in stops), len(ids))
            assert list(got.ids) == ids[:end]
            assert got.stop_id == (ids[end] if end < len(ids) else None)
            assert got.finish == ("stop" if end < len(ids) else "length")
            assert got.score == pytest.approx(float(want.sequences_scores[i]), abs=1e-4)

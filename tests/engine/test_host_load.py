"""What a model will take is worked out from its settings, and the cache is cut to what it may take."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tokenloom.engine.check import BadRequest
from tokenloom.engine.load import CACHE_BYTES, prepare
from tokenloom.engine.request import Constraint, Request, Sampling

SETTINGS = {
    "model_type": "llama",
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 256,
    "max_position_embeddings": 1024,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "eos_token_id": [2, 5],
    "tie_word_embeddings": True,
}
PER_TOKEN = 2 * 2 * 2 * 16 * 4
"""Keys and values, layers, heads, width, bytes of a float32."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "config.json").write_text(json.dumps(SETTINGS))
    return tmp_path


def test_a_small_model_gets_all_its_context(folder: Path) -> None:
    plan = prepare(folder, dtype="float32", device="cpu", n_slots=3)
    assert (plan.n_slots, plan.context, plan.budget_tok) == (3, 1024, 3 * 1024)
    assert (plan.dtype, plan.device, plan.vocab_size, plan.eos_ids) == ("float32", "cpu", 256, (2, 5))
    assert plan.room_bytes is None
    weights = 4 * (256 * 64 + 2 * (64 * 64 * 3 + 64 * 128 * 3))
    assert weights + 3 * 1024 * PER_TOKEN < plan.memory_bytes < 10 * weights + 4 * 1024 * PER_TOKEN
    assert plan.memory_bytes < CACHE_BYTES


def test_a_longer_context_than_the_cache_holds_is_cut_and_said(folder: Path) -> None:
    plan = prepare(folder, dtype="float32", device="cpu", cache_bytes=400 * PER_TOKEN)
    assert plan.context == plan.budget_tok == 320
    assert plan.budget_tok * PER_TOKEN * 5 // 4 <= 400 * PER_TOKEN
    whole = prepare(folder, dtype="float32", device="cpu")
    assert plan.memory_bytes < whole.memory_bytes
    with pytest.raises(BadRequest, match=r"context is 500; .* hold 320 positions"):
        prepare(folder, dtype="float32", device="cpu", cache_bytes=400 * PER_TOKEN, context=500)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"n_slots": 0}, "n_slots is 0"),
        ({"context": 2000}, "context is 2000; this model's is 1 to 1024"),
        ({"dtype": "float8"}, "float8"),
        ({"device": "cuda:99"}, "cuda:99"),
        ({"device": "toaster"}, "toaster"),
    ],
)
def test_what_cannot_be_is_refused_by_name(folder: Path, asked: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        prepare(folder, **{"dtype": "float32", "device": "cpu"} | asked)


@pytest.mark.model
@pytest.mark.parametrize("dtype", ["auto", "float32"])
def test_the_embedded_model_obeys_a_schema(smollm2: Path, dtype: str) -> None:
    from tokenloom.tokens.text import load_tokenizer

    tokenizer = load_tokenizer(smollm2)
    plan = prepare(smollm2, dtype=dtype, device="cpu", n_slots=2, context=256)
    core = plan.open()
    assert (core.context, core.vocab_size) == (plan.context, plan.vocab_size) == (256, tokenizer.vocab_size)
    schema = {
        "type": "object",
        "properties": {"age": {"type": "integer", "maximum": 99}},
        "required": ["age"],
    }
    schema["additionalProperties"] = False
    ids = tuple(tokenizer.encode("A cat of five years as JSON: "))
    constraint = Constraint("json_schema", json.dumps(schema))
    core.add(Request("r", "m", ids, 40, Sampling(temperature=0.0), constraint=constraint))
    out: list[int] = []
    while core.busy:
        for delta in core.step():
            out += delta.ids
            assert delta.finish in (None, "stop")
    assert isinstance(json.loads(tokenizer.decode(out))["age"], int)
    with pytest.raises(BadRequest, match="constraint"):
        core.add(Request("s", "m", ids, 40, constraint=Constraint("regex", "[a-")))
    core.close()

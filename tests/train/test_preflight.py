"""Before a fine-tune: what is shown, what is refused, and how near the memory's estimate comes."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import measured_peak
import pytest
import torch
from family_templates import LLAMA3, SMOLLM2
from rich.console import Console

from tokenloom.data.conversations import Conversation, Dropped
from tokenloom.model.features import ModelConfig
from tokenloom.model.save import save_model
from tokenloom.model.transformer import Transformer, init_weights
from tokenloom.tokens.folder import tokenizer_files
from tokenloom.tokens.text import load_tokenizer
from tokenloom.train.loop import Trainer
from tokenloom.train.lora import LoraSettings, add_lora, int8_base
from tokenloom.train.memory import flops_of, memory_of, seconds_of, trained_weights
from tokenloom.train.objective import NextId
from tokenloom.train.preflight import Preflight, PreflightRefused, Survey, hash_problems, preflight
from tokenloom.train.render import RenderSettings, render_all
from tokenloom.train.scale import Sizes

Folders = Callable[[str, str], Path]


def chat(question: str, answer: str, place: str) -> Conversation:
    turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return Conversation(turns, None, place, {})


ROWS = [chat(f"Question {n}?", "word " * (n + 1), f"a.jsonl:{n + 1}") for n in range(40)]


def surveyed(folder: Path, rows: list[Conversation], **settings: Any) -> Survey:
    survey = Survey(load_tokenizer(folder))
    for row in render_all(rows, survey.tokenizer, RenderSettings(**settings), survey.drop):
        survey.add(row)
    return survey


def shown(found: Preflight) -> str:
    out = io.StringIO()
    Console(file=out, width=110, force_terminal=True, color_system="standard").print(found.table())
    return out.getvalue()


def test_what_a_terminal_and_json_show(chat_folder: Folders) -> None:
    folder = chat_folder("smollm2", SMOLLM2)
    rows = [*ROWS, replace(ROWS[4], source="b.jsonl:1")]
    survey = surveyed(folder, rows)
    survey.drop(Dropped("empty content", "a.jsonl:99", "messages[1]"))
    config = ModelConfig(**measured_peak.BASE)
    recipe = measured_peak.recipe_of({"data": {"context": 128}})
    memory = memory_of(config, recipe, bfloat16=False)
    found = preflight(survey, folder, memory=memory, available=10_000_000, seconds=4000.0).check()
    assert (found.rows, found.n_dropped, found.repeated.count) == (41, 1, 1)
    assert found.repeated.examples == ("b.jsonl:1 = a.jsonl:5",)
    learned = [sum(words.split().count("word") for words, own in s.parts if own) for s in found.samples]
    assert learned == [1, 2, 3]
    assert sum(n for _, _, n in found.histogram) == 41
    assert found.histogram[-1][0] <= found.lengths.most < found.histogram[-1][1]
    assert found.learned_per_row.least < found.learned_per_row.median < found.learned_per_row.most
    text = shown(found)
    green = "\x1b[1;32mword <|im_end|>"
    assert green in text
    assert "\x1b[2mQuestion 0?<|im_end|>" in text
    assert "\x1b[1;32mQuestion" not in text
    for words in ("1 empty content: a.jsonl:99 (messages[1])", "about 67 min", "while resuming", "run.rows"):
        assert words in text, words
    plain = json.loads(json.dumps(found.json()))
    assert plain["dropped"] == [
        {"what": "empty content", "count": 1, "examples": ["a.jsonl:99 (messages[1])"]}
    ]
    assert plain["memory"]["peak"] == memory.peak
    assert plain["template_sha256"] == survey.tokenizer.template.hash


def test_nothing_to_learn_is_refused(chat_folder: Folders) -> None:
    """A whole set whose labels are all masked."""
    rows = [replace(row, messages=row.messages[:1]) for row in ROWS]
    folder = chat_folder("smollm2", SMOLLM2)
    with pytest.raises(PreflightRefused, match="nothing would be learned") as caught:
        preflight(surveyed(folder, rows), max_dropped=1.0).check()
    found = caught.value.preflight
    assert found.dropped[0].what == "nothing to learn"
    assert "nothing would be learned" in shown(found)
    with pytest.raises(PreflightRefused, match="0 rows"):
        preflight(Survey(load_tokenizer(folder))).check()


def test_too_many_dropped_is_refused(chat_folder: Folders) -> None:
    folder = chat_folder("smollm2", SMOLLM2)
    survey = surveyed(folder, ROWS, max_tokens=70)
    lost = sum(map(len, survey.dropped.values()))
    assert 2 < lost < 38
    with pytest.raises(PreflightRefused, match=rf"{lost} of 40 rows were dropped .*too long.*a\.jsonl:\d+"):
        preflight(survey).check()
    assert preflight(survey, max_dropped=lost / 40).check().n_dropped == lost


def test_ends_and_headers_that_do_not_serve_are_noted(chat_folder: Folders) -> None:
    folder = chat_folder("smollm2", SMOLLM2.replace("<|im_end|>", "<|eot_id|>"))
    found = preflight(surveyed(folder, ROWS)).check()
    assert "40 rows have an answer that does not end" in found.notes[0]
    assert "Note:" in shown(found)
    assert not preflight(surveyed(chat_folder("smollm2", SMOLLM2), ROWS)).notes


def test_another_tokenizer_or_template_is_refused(chat_folder: Folders, tmp_path: Path) -> None:
    folder = chat_folder("smollm2", SMOLLM2)
    tokenizer = load_tokenizer(folder)
    model = Transformer(ModelConfig(**{**measured_peak.BASE, "n_layer": 1, "dim": 64, "head_dim": 16}))
    init_weights(model, 0)
    place = save_model(model, tmp_path / "model", tokenizer_files_from=folder)
    assert hash_problems(tokenizer, place) == []
    assert preflight(surveyed(folder, ROWS), place).check().rows == 40
    other = surveyed(chat_folder("llama3", LLAMA3), ROWS)
    with pytest.raises(PreflightRefused, match="template: the rows' is"):
        preflight(other, place).check()
    wider = tokenizer.with_special(["<|new|>"])
    assert hash_problems(wider, place) == []  # the model's own with a token more
    lesser = save_model(model, tmp_path / "wide", files={**tokenizer_files(wider)})
    assert hash_problems(tokenizer, lesser)[0].startswith("tokenizer: the rows' is")
    assert hash_problems(load_tokenizer(folder), place) == []
    # Files changed behind tokenloom.json's back.
    (place / "chat_template.jinja").write_text(LLAMA3, encoding="utf-8")
    found = hash_problems(load_tokenizer(place), place)
    assert len(found) == 1
    assert "template: tokenloom.json of" in found[0]
    (place / "chat_template.jinja").write_text(SMOLLM2, encoding="utf-8")
    (place / "tokenizer.json").write_text(wider.json(), encoding="utf-8")
    assert "tokenizer: tokenloom.json of" in hash_problems(load_tokenizer(place), place)[0]


def test_a_base_model_may_be_given_tokens_and_a_template(chat_folder: Folders, tmp_path: Path) -> None:
    folder = chat_folder("smollm2", SMOLLM2)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    base = load_tokenizer(tmp_path)
    assert base.template is None
    grown = base.with_special(["<|turn|>"]).with_template(SMOLLM2, "<|turn|>")
    assert hash_problems(grown, tmp_path) == []
    assert hash_problems(base.with_special(["<|a|>", "<|b|>"]), tmp_path) == []


CASES: dict[str, dict[str, Any]] = {
    "weights": {"config": {"vocab_size": 2000}, "run": {"rows": 1}, "optim": {"kind": "adamw"}},
    "muon": {"config": {"vocab_size": 500}, "run": {"rows": 1}},
    "activations": {"run": {"rows": 3}, "data": {"context": 256}},
    "bfloat16": {"run": {"rows": 4, "dtype": "bfloat16"}, "data": {"context": 256}},
    "accumulation": {"passes": 2, "run": {"rows": 2}, "data": {"context": 256}},
    "average": {"run": {"rows": 1, "average": 0.9}},
    "logits": {"config": {"vocab_size": 12_000}, "run": {"rows": 1}, "data": {"context": 256}},
    "ungated": {"config": {"gated": False, "act": "gelu", "norm": "layer"}, "run": {"rows": 4}},
    "qk_norm": {"config": {"qk_norm": True, "post_norms": True}, "run": {"rows": 8}},
    "lora": {"lora": {"rank": 8}, "run": {"rows": 2}, "data": {"context": 256}},
    "lora int8": {
        "lora": {"rank": 8, "int8": True, "dropout": 0.1},
        "run": {"rows": 2, "dtype": "bfloat16"},
        "data": {"context": 256},
    },
}  # fmt: skip


def live_peak(config: ModelConfig, recipe: Any, passes: int) -> int:
    """The most bytes in tensors at any time of two steps, as PyTorch's profiler counts them."""
    from torch.profiler import ProfilerActivity, profile

    bfloat16 = recipe.run.dtype == "bfloat16"
    model = Transformer(config)
    init_weights(model, 0)
    if recipe.lora.int8:
        int8_base(model)
    if recipe.lora.rank:
        add_lora(model, LoraSettings(rank=recipe.lora.rank, dropout=recipe.lora.dropout))
    there = sum(p.nbytes for p in model.parameters())
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        objective = NextId(model, torch.bfloat16 if bfloat16 else torch.float32, recipe.run.loss_rows)
        sizes = Sizes(2, passes, recipe.run.rows, recipe.data.context, 1e-4, 1)
        batch = lambda n: measured_peak.batch_of(config, recipe, n)  # noqa: E731
        trainer = Trainer(objective, batch, sizes, recipe.optim, recipe.run.average)
        for _ in range(2):
            trainer.step()
    events = profiled.profiler.kineto_results.events()
    held = most = there
    for _, n in sorted((e.start_ns(), e.nbytes()) for e in events if e.name() == "[memory]"):
        held += n
        most = max(most, held)
    return most


@pytest.mark.parametrize("name", sorted(CASES))
def test_the_memory_of_a_step_is_estimated_within_30_percent(name: str) -> None:
    case = CASES[name]
    config = ModelConfig(**{**measured_peak.BASE, **case.get("config", {})})
    recipe = measured_peak.recipe_of(
        {
            "run": {"dtype": "float32", **case["run"]},
            "data": case.get("data", {"context": 64}),
            "optim": case.get("optim", {}),
            "lora": case.get("lora", {}),
        }
    )
    passes = case.get("passes", 1)
    memory = memory_of(config, recipe, recipe.run.dtype == "bfloat16", passes)
    estimated = memory.peak - memory.program - memory.heap
    assert estimated == pytest.approx(live_peak(config, recipe, passes), rel=0.3)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_memory_of_a_program_is_estimated_within_30_percent(dtype: str) -> None:
    """All of it, as the system counts it: libraries, the heap, and the training."""
    case = {
        "config": {"n_layer": 4},
        "recipe": {"run": {"rows": 8, "dtype": dtype}, "data": {"context": 512}},
    }
    program = [sys.executable, measured_peak.__file__, json.dumps(case)]
    found = json.loads(subprocess.run(program, capture_output=True, text=True, check=True).stdout)
    assert found["estimated"] == pytest.approx(found["high"], rel=0.3)


def test_lora_and_int8_take_less() -> None:
    config = ModelConfig(**{**measured_peak.BASE, "dim": 1024, "head_dim": 256, "ffn_dim": 2816})
    parts = ({}, {"rank": 8}, {"rank": 8, "int8": True})
    found = [memory_of(config, measured_peak.recipe_of({"lora": part}), False) for part in parts]
    assert found[0].peak > found[1].peak > found[2].peak
    assert found[0].resume > found[1].resume > found[2].resume
    assert found[2].weights < 0.35 * found[1].weights
    recipe = measured_peak.recipe_of({"lora": {"rank": 8}})
    model = Transformer(config)
    init_weights(model, 0)
    add_lora(model, LoraSettings(rank=8))
    moving = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert trained_weights(config, recipe.lora) == moving
    assert trained_weights(config, replace(recipe.lora, rank=0)) == config.n_params


def test_time_follows_from_operations() -> None:
    config = ModelConfig(**measured_peak.BASE)
    each = flops_of(config, 512)
    assert each == pytest.approx(6 * config.n_params, rel=0.3)
    assert flops_of(config, 512, lora=True) < each < flops_of(config, 512, twice=True)
    assert seconds_of(1000, 1e9, 1e12, share=0.5) == pytest.approx(2.0)

"""Fine-tuning end to end at toy size: conversations in, an adapter or a model out, and what was forgotten."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from tiny_training import tiny_recipe

from tokenloom.config import fill, read_recipe, to_toml
from tokenloom.data.shards import Shards
from tokenloom.evals.report import build
from tokenloom.model.load import load_model
from tokenloom.model.lora import load_adapter
from tokenloom.tokens.text import load_tokenizer
from tokenloom.train import timing
from tokenloom.train.adapter import save_adapter
from tokenloom.train.evaluate import held_out
from tokenloom.train.execute import train
from tokenloom.train.lora import LoraSettings, add_lora, merge
from tokenloom.train.progress import duration
from tokenloom.train.recipe import Recipe
from tokenloom.train.record import read_run
from tokenloom.train.start import assemble
from tokenloom.train.survey import surveyed

ASKED = [("what is red?", "a rose."), ("what is blue?", "the sky."), ("what is green?", "grass.")]


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKENLOOM_HOME", str(tmp_path / "home"))


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A tiny pretrained model without a chat template."""
    place, _ = train(tiny_recipe(tmp_path, **{"run.steps": 4, "model.context": 256}))
    return place / "model"


def conversations(file: Path, kind: str) -> Path:
    rows: list[dict[str, object]] = []
    for question, answer in ASKED * 4:
        if kind == "openai":
            said = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
            rows.append({"messages": said})
        elif kind == "alpaca":
            rows.append({"instruction": question, "input": "", "output": answer})
        else:
            said = [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]
            rows.append({"conversations": said})
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def recipe(tmp_path: Path, base: Path, file: Path, **more: object) -> Recipe:
    table: dict[str, object] = {
        "name": "tuned",
        "objective": "sft",
        "model": {"start": str(base)},
        "data": {"train": [str(file)], "held_out": [str(file)], "context": 128},
        "optim": {"lr": 0.01, "kind": "adamw"},
        "run": {
            "steps": 6,
            "rows": 2,
            "batch_tokens": 512,
            "dtype": "float32",
            "threads": 1,
            "root": str(tmp_path / "runs"),
        },
    }
    return fill(Recipe, {**table, **more})


@pytest.mark.parametrize("kind", ["openai", "alpaca", "sharegpt"])
def test_conversations_are_learned_as_they_are(tmp_path: Path, base: Path, kind: str) -> None:
    asked = recipe(tmp_path, base, conversations(tmp_path / "c.jsonl", kind))
    parts = assemble(asked)
    row = parts.batches.batch(0)
    learned = row.targets[row.targets >= 0]
    said = parts.tokenizer.decode([int(i) for i in learned])
    assert "a rose." in said
    assert "what is" not in said
    place, outcome = train(asked)
    first = json.loads((place / "log.jsonl").read_text().splitlines()[1])
    assert outcome.last["held_out_loss"] < first["loss"]
    # The base had no template: the tuned model has one, with rows for its tokens, and ends turns with it.
    tokenizer = load_tokenizer(place / "model")
    assert tokenizer.template is not None
    model = load_model(place / "model", dtype="float32")
    assert tokenizer.id_of("<|im_end|>") in model.config.eos_ids
    assert model.config.vocab_size >= tokenizer.vocab_size


@pytest.mark.parametrize("int8", [False, True])
def test_lora_leaves_an_adapter_that_merges_to_what_was_trained(
    tmp_path: Path, base: Path, int8: bool
) -> None:
    file = conversations(tmp_path / "c.jsonl", "openai")
    whole, _ = train(
        recipe(
            tmp_path,
            base,
            file,
            run={
                "steps": 1,
                "rows": 2,
                "batch_tokens": 512,
                "dtype": "float32",
                "root": str(tmp_path / "runs"),
            },
        )
    )
    asked = recipe(tmp_path, whole / "model", file, lora={"rank": 4, "int8": int8, "merge": True})
    parts = assemble(asked)
    trained = {n for n, p in parts.model.named_parameters() if p.requires_grad}
    assert trained
    assert all("lora" in name for name in trained)
    place, _ = train(asked)
    adapter = load_adapter(place / "adapter")
    merged = load_model(place / "model", dtype="float32")
    own = load_model(whole / "model", dtype="float32")
    merge(own, adapter)
    ids = torch.arange(40)[None]
    with torch.no_grad():
        torch.testing.assert_close(own(ids), merged(ids), rtol=0.05, atol=0.05 if not int8 else 0.3)
    about = json.loads((place / "adapter" / "tokenloom.json").read_text())
    assert about["tokenizer_sha256"] == load_tokenizer(whole / "model").hash


def test_an_adapter_is_refused_on_another_base(tmp_path: Path, base: Path) -> None:
    import tokenloom as tl
    from tokenloom.model.transformer import Transformer, init_weights

    model = Transformer(load_model(base, dtype="float32").config)
    init_weights(model, 1)
    add_lora(model, LoraSettings(rank=2))
    hashes = {"right": load_tokenizer(base).hash, "wrong": "0" * 64}
    for name, hash in hashes.items():
        save_adapter(model, tmp_path / name, str(base), about={"tokenizer_sha256": hash})
    with tl.load(str(base), adapters={"a": str(tmp_path / "right")}) as opened:
        assert opened.generate("the cat", adapter="a", max_tokens=2).ids
    with pytest.raises(ValueError, match="'a': was trained with the tokenizer 000000000000"):
        tl.load(str(base), adapters={"a": str(tmp_path / "wrong")})


def test_forgetting_is_measured_before_and_after(tmp_path: Path, base: Path) -> None:
    place, outcome = train(recipe(tmp_path, base, conversations(tmp_path / "c.jsonl", "openai")))
    lines = [json.loads(line) for line in (place / "log.jsonl").read_text().splitlines()]
    assert lines[0]["step"] == 0
    assert lines[0]["watched"]["bits_per_byte"] > 1
    assert outcome.last["watched_bits_per_byte"] != lines[0]["watched"]["bits_per_byte"]
    assert "pydoc" in lines[0]["watched"]["text"]


def test_how_much_is_measured_is_the_recipe_s_choice(tmp_path: Path, base: Path) -> None:
    file = conversations(tmp_path / "c.jsonl", "openai")
    few = train(asked_to_watch(tmp_path, base, file, 300))[1].last["watched_bits_per_byte"]
    more = train(asked_to_watch(tmp_path, base, file, 9_000))[1].last["watched_bits_per_byte"]
    assert few != more, "the first ids of the same text"
    place, outcome = train(asked_to_watch(tmp_path, base, file, 0))
    assert "watched_bits_per_byte" not in outcome.last
    assert "watched" not in (place / "log.jsonl").read_text()
    assert "It was not measured" in build(read_run(place), []).markdown
    with pytest.raises(ValueError, match=r"data\.watch_tokens: found -1; allowed: 0"):
        assemble(asked_to_watch(tmp_path, base, file, -1))


def asked_to_watch(tmp_path: Path, base: Path, file: Path, n: int) -> Recipe:
    data = {"train": [str(file)], "held_out": [str(file)], "context": 128, "watch_tokens": n}
    return recipe(tmp_path, base, file, data=data)


def test_the_estimate_holds_what_is_measured(
    tmp_path: Path, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At a second a row: every row of every evaluation, and of general text once more before the first."""
    file = conversations(tmp_path / "c.jsonl", "openai")
    as_timed = timing.row_seconds
    monkeypatch.setattr(timing, "row_seconds", lambda parts, shards: 1.0)
    asked = asked_to_watch(tmp_path, base, file, 3_000)
    parts = assemble(replace(asked, run=replace(asked.run, eval_every=4)))
    sizes = parts.sizes

    def rows(sets: list[Shards], most: int) -> int:
        told: list[tuple[int, int]] = []
        held_out(
            parts.objective, "model", sets, sizes.context, sizes.rows, most, (), lambda *at: told.append(at)
        )
        assert told[-1][0] == told[-1][1], "it ends at the whole"
        return told[-1][0]

    assert parts.watched is not None
    watched, held = rows(parts.watched[0], 3_000), rows(parts.held_out, 0)
    survey = surveyed(parts)
    evaluations = 2  # of 6 steps: the 4th, the last
    assert survey.measuring == timing.Measuring(3, watched * (evaluations + 1), held * evaluations)
    assert survey.seconds > survey.measuring.seconds
    out = io.StringIO()
    Console(file=out, width=200).print(survey.table())
    assert f"measured 3 times, about {duration(survey.measuring.watched)}, on Python's" in out.getvalue()
    monkeypatch.setattr(timing, "row_seconds", as_timed)
    assert surveyed(parts).measuring.watched > 0, "as it is timed"
    assert parts.model.training
    none = surveyed(assemble(asked_to_watch(tmp_path, base, file, 0)))
    assert none.measuring.watched == 0
    assert none.watched == ""


def test_replay_is_a_second_set_with_a_weight(tmp_path: Path, base: Path) -> None:
    file = conversations(tmp_path / "c.jsonl", "openai")
    parts = assemble(recipe(tmp_path, base, file))
    assert read_recipe(Recipe, _written(tmp_path, to_toml(parts.recipe))) == parts.recipe
    from tokenloom.train.sets import Document, kept_shards

    ids = np.array(parts.tokenizer.encode("the cat sat on the mat " * 20), np.int64)
    shards = kept_shards([Document(ids, None, 10)] * 8, parts.tokenizer)
    mixed = {"train": [str(file), str(shards.folder)], "weights": [0.5, 0.5], "context": 128}
    both = assemble(recipe(tmp_path, base, file, data=mixed))
    assert both.batches.tokens_per_epoch > parts.batches.tokens_per_epoch


def test_nothing_to_learn_is_refused(tmp_path: Path, base: Path) -> None:
    file = tmp_path / "c.jsonl"
    file.write_text(json.dumps({"messages": [{"role": "user", "content": "hi"}]}) + "\n")
    with pytest.raises(ValueError, match=r"assistant|nothing|no conversation"):
        assemble(recipe(tmp_path, base, file))
    assert not (tmp_path / "runs" / "tuned").exists()


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"lora": {"rank": -1}}, "rank"),
        ({"lora": {"rank": 4, "targets": ["nothing"]}}, "targets"),
        ({"model": {"start": "X", "dim": 64}}, "a model's sizes are its own"),
        ({"data": {"train": ["c.jsonl"], "context": 1024}}, "context"),
    ],
)
def test_wrong_fine_tunes_are_refused(
    tmp_path: Path, base: Path, more: dict[str, dict[str, object]], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = conversations(tmp_path / "c.jsonl", "openai")
    monkeypatch.chdir(tmp_path)
    if "model" in more:
        more = {"model": {**more["model"], "start": str(base)}}
    with pytest.raises(ValueError, match=says):
        assemble(recipe(tmp_path, base, file, **more))


def _written(tmp_path: Path, text: str) -> Path:
    (tmp_path / "r.toml").write_text(text)
    return tmp_path / "r.toml"


def test_the_preflight_shows_and_refuses(
    tmp_path: Path, base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from typer.testing import CliRunner

    from tokenloom.cli import app

    file = conversations(tmp_path / "c.jsonl", "openai")
    (tmp_path / "r.toml").write_text(to_toml(recipe(tmp_path, base, file)))
    shown = CliRunner().invoke(app, ["train", str(tmp_path / "r.toml"), "--dry"])
    assert shown.exit_code == 0, shown.output
    assert "a rose." in shown.output
    assert "memory" in shown.output
    with file.open("a") as out:
        for _ in range(3):
            out.write(json.dumps({"messages": [{"role": "user", "content": "no answer"}]}) + "\n")
    refused = CliRunner().invoke(app, ["train", str(tmp_path / "r.toml")])
    assert isinstance(refused.exception, ValueError)
    assert "3 of 15 rows were dropped" in str(refused.exception)
    assert not list((tmp_path / "runs").glob("tuned-*"))

"""The whole road at toy size, by its commands: data, tokenizer, training, fine-tuning, evaluation, report,
export, and a chat with what came out."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tokenloom.cli import app

ANIMALS, PLACES = ["cat", "dog", "fox", "hen", "cow"], ["mat", "hill", "roof", "barn", "road"]


def loom(*words: str) -> str:
    result = CliRunner().invoke(app, list(words))
    assert result.exit_code == 0, (words, result.output, result.exception)
    return result.output


def stories(count: int) -> list[str]:
    draw = random.Random(0)
    said = []
    for number in range(count):
        a, b, c = (draw.choice(ANIMALS) for _ in range(3))
        p, q = (draw.choice(PLACES) for _ in range(2))
        said.append(
            f"Story {number}. The {a} sat on the {p} while the {b} ran to the {q}. "
            f"Then the {c} came, and number {number * 7919 % 9973} went home to the {p}."
        )
    return said


@pytest.mark.slow
def test_from_raw_text_to_a_chat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKENLOOM_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    Path("raw").mkdir()
    lines = [json.dumps({"text": text}) for text in stories(600)]
    Path("raw/stories.jsonl").write_text("\n".join([*lines, lines[0], "{broken"]))
    said = [
        {"messages": [{"role": "user", "content": f"Where is the {a}?"},
                      {"role": "assistant", "content": f"The {a} is on the {p}."}]}
        for a, p in zip(ANIMALS, PLACES, strict=True)
    ]  # fmt: skip
    Path("chat.jsonl").write_text("".join(json.dumps(one) + "\n" for one in said * 8))

    loom("tokenizer", "train", "raw/stories.jsonl", "-o", "words", "--vocab-size", "512")
    prepared = ["raw", "-o", "set", "--preset", "trusted", "--tokenizer", "words", "--workers", "1"]
    loom("data", "prepare", *prepared, "--set", "clean.duplicates.near=false")
    shards = sorted(p.parent for p in Path("set").rglob("manifest.json"))
    train, held = (next(p for p in shards if word in p.name) for word in ("train", "held"))

    recipe = f"""
name = "tiny"
licence = "apache-2.0"
[model]
tokenizer = "words"
n_layer = 2
dim = 64
context = 256
[data]
train = ["{train}"]
held_out = ["{held}"]
context = 128
[optim]
lr = 0.01
[run]
steps = 60
rows = 8
batch_tokens = 1024
threads = 1
dtype = "float32"
samples = ["Story"]
sample_tokens = 8
"""
    Path("pretrain.toml").write_text(recipe)
    loom("train", "pretrain.toml")
    base = next((tmp_path / "home" / "runs").glob("tiny-*"))
    log = [json.loads(line) for line in (base / "log.jsonl").read_text().splitlines()]
    assert log[-1]["loss"] < 0.6 * log[0]["loss"]

    tuned = (
        recipe.split("[model]")[0].replace("tiny", "tuned").replace("licence", 'objective = "sft"\nlicence')
    )
    tuned += f"""
[model]
start = "{base / "model"}"
[data]
train = ["chat.jsonl"]
context = 128
[optim]
lr = 0.01
kind = "adamw"
[run]
steps = 200
rows = 4
batch_tokens = 512
threads = 1
dtype = "float32"
"""
    Path("sft.toml").write_text(tuned)
    loom("train", "sft.toml")
    run = next((tmp_path / "home" / "runs").glob("tuned-*"))

    loom("eval", str(run), "--text", "raw/stories.jsonl")
    loom("report", str(run))
    page = next(run.glob("*.html")).read_text()
    assert "apache-2.0" in page.lower()
    assert "tuned" in loom("runs")
    loom("export", "gguf", str(run / "model"), "-o", "tuned.gguf", "--type", "f16")

    import tokenloom as tl

    for where in (run / "model", Path("tuned.gguf")):
        model = tl.load(str(where))
        answer = model.chat("Where is the fox?", max_tokens=16, temperature=0).text
        assert answer.strip() == "The fox is on the roof."

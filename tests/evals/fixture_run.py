"""A training run as its folder would be, by hand: log, recipe, manifest of shards, model, evaluations."""

from __future__ import annotations

import json
import math
from pathlib import Path

RECIPE = """name = "couplets"
objective = "sft"
seed = 7
licence = "apache-2.0"
about = "Answers <the upper line> with a lower one; see [nothing](http://example.org/x)."

[model]
start = "base"

[data]
train = ["{place}/shards"]
held_out = ["{place}/missing"]

[run]
steps = 200
"""
MANIFEST = {
    "schema": 1,
    "tokenizer_hash": "ab" * 32,
    "vocab_size": 320,
    "dtype": "<u2",
    "masked": False,
    "tokens_per_file": 1000,
    "about": {"source": "poems.jsonl", "licence": "MIT"},
    "documents": 1234,
    "tokens": 56789,
    "bytes": 170367,
    "finished": True,
    "files": [
        {"name": "0", "documents": 1234, "tokens": 56789, "bytes": 170367, "sha256": {}},
    ],
}
SAMPLE = {"prompt": "白日依山盡", "text": "```\n<script>alert('x')</script> ![](http://example.org/y.png)"}
EVALS = [
    {
        "what": "eval",
        "scores": [
            {
                "set": "held-out.txt",
                "metric": "bits_per_byte",
                "value": 9.9,
                "low": None,
                "high": None,
                "n": 1,
            },
            {"set": "held-out.txt", "metric": "bleu", "value": 12.5, "low": 10.25, "high": 14.75, "n": 80},
        ],
    },
    {
        "what": "eval",
        "scores": [
            {
                "set": "held-out.txt",
                "metric": "bits_per_byte",
                "value": 1.5,
                "low": 1.25,
                "high": 1.75,
                "n": 40,
            }
        ],
    },
]


def bare_run(folder: Path) -> Path:
    """A run that has only begun."""
    folder.mkdir(parents=True)
    (folder / "recipe.toml").write_text('name = "begun"\n', encoding="utf-8")
    (folder / "log.jsonl").touch()
    return folder


def full_run(place: Path) -> Path:
    """A finished run beside its shards."""
    (place / "shards").mkdir(parents=True)
    (place / "shards" / "manifest.json").write_text(json.dumps(MANIFEST))
    folder = place / "couplets-20260131-120000"
    folder.mkdir()
    (folder / "recipe.toml").write_text(RECIPE.format(place=place), encoding="utf-8")
    (folder / "status.json").write_text(json.dumps({"state": "finished", "started": "2026-01-31T12:00:00"}))
    environment = {
        "cpu": "Some CPU",
        "cores": 2,
        "command": ["loom", "train", "couplets.toml"],
        "git": {"commit": "0123456789abcdef", "dirty": True},
        "packages": {"torch": "2.13.0", "numpy": "2.4.6"},
    }
    (folder / "environment.json").write_text(json.dumps(environment))
    lines = [{"step": 0, "watched": {"bits_per_byte": 2.0, "text": "general text"}}]
    for step in range(1, 201):
        line = {
            "step": step,
            "tokens": 512 * step,
            "seconds": 0.5 * step,
            "loss": 2 + 4 * math.exp(-step / 40),
        }
        line |= {"lr": 1e-3 * (1 - step / 250), "grad_norm": 1.0, "tok_s": 1024.0}
        if step % 50 == 0:
            line["eval"] = {"held_out_loss": line["loss"] + 0.1, "watched_bits_per_byte": 2.0 + step / 1000}
            line["samples"] = [{"prompt": "old", "text": "old"}, SAMPLE] if step == 200 else [SAMPLE]
        lines.append(line)
    (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    (folder / "evals.jsonl").write_text("".join(json.dumps(line) + "\n" for line in EVALS), encoding="utf-8")
    (folder / "model").mkdir()
    (folder / "model" / "README.md").write_text(
        "---\nlibrary_name: transformers\npipeline_tag: text-generation\n---\n\n# couplets\n\nBy hand.\n"
    )
    return folder

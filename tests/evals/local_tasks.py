"""Three tasks of the harness on a few lines of our own: choices, generation, rolling log-likelihood."""

from __future__ import annotations

import json
from pathlib import Path

QUESTIONS = [
    ("The capital of France is", ["Paris", "Berlin", "a banana", "Rome"], 0),
    ("Water freezes at", ["a hundred degrees Celsius", "zero degrees Celsius", "noon"], 1),
    ("The opposite of hot is", ["warm", "cold"], 1),
    ("Two plus two is", ["five", "four", "fish", "twenty-two"], 1),
    ("The sun rises in the", ["west", "north", "east", "kitchen"], 2),
    ("Bees make", ["honey", "milk", "bread"], 0),
    ("A week has", ["three days", "seven days", "ten months"], 1),
    ("Shakespeare wrote", ["Hamlet", "the Iliad", "Don Quixote"], 0),
    ("The largest planet is", ["Mars", "Jupiter"], 1),
    ("To see we use our", ["ears", "eyes", "elbows", "shoes"], 1),
]
TEXTS = [
    "The wind blew all night, and in the morning the garden was full of leaves.",
    "def add(a, b):\n    return a + b\n\n\nprint(add(1, 2))\n",
    "A short one.",
    "Once upon a time there lived, by the edge of a great forest, a poor woodcutter. " * 8,
]
HEAD = "dataset_path: json\ntest_split: test\ndataset_kwargs:\n  data_files:\n    test: "
CHOICES = (
    "task: loom_choices\n{head}{file}\noutput_type: multiple_choice\n"
    "doc_to_text: '{{{{question}}}}'\ndoc_to_choice: '{{{{choices}}}}'\ndoc_to_target: '{{{{answer}}}}'\n"
    "metric_list:\n  - metric: acc\n  - metric: acc_norm\nmetadata:\n  version: 1.0\n"
)
WRITES = (
    "task: loom_writes\n{head}{file}\noutput_type: generate_until\n"
    "doc_to_text: '{{{{question}}}}'\n"
    "doc_to_target: '{{{{choices[answer]}}}}'\n"
    'generation_kwargs:\n  until: ["\\n", "."]\n  max_gen_toks: 8\n'
    "metric_list:\n  - metric: exact_match\n    ignore_case: true\n    ignore_punctuation: true\n"
    "  - metric: bleu\nmetadata:\n  version: 1.0\n"
)
ROLLS = (
    "task: loom_rolls\n{head}{file}\noutput_type: loglikelihood_rolling\ndoc_to_text: ''\n"
    "doc_to_target: '{{{{text}}}}'\n"
    "metric_list:\n  - metric: word_perplexity\n  - metric: byte_perplexity\n  - metric: bits_per_byte\n"
    "metadata:\n  version: 1.0\n"
)
NAMES = ("loom_choices", "loom_writes", "loom_rolls")


def write_tasks(folder: Path) -> Path:
    """The YAML files and their data."""
    folder.mkdir(parents=True, exist_ok=True)
    questions, texts = folder / "questions.jsonl", folder / "texts.jsonl"
    questions.write_text(
        "".join(
            json.dumps({"question": q, "choices": [f" {c}" for c in cs], "answer": a}) + "\n"
            for q, cs, a in QUESTIONS
        )
    )
    texts.write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS))
    for name, form, data in (
        ("choices", CHOICES, questions),
        ("writes", WRITES, questions),
        ("rolls", ROLLS, texts),
    ):
        (folder / f"{name}.yaml").write_text(form.format(head=HEAD, file=data))
    return folder

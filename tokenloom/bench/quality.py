"""What the native step's int8 activations cost: perplexity beside PyTorch in float32 on the same file."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tokenloom.step import Row, Step


def perplexity(step: Step, ids: list[int], window: int = 1024) -> float:
    """exp of the mean negative log-probability of ids, in windows side by side; each without its first id."""
    total, count = 0.0, 0
    for at in range(0, len(ids) - 1, window):
        part = ids[at : at + window]
        if len(part) < 2:
            break
        logits = step.run([Row(0, 0, part, want=len(part))])[0]
        assert logits is not None
        scores = logits[:-1].astype(np.float64)
        top = scores.max(1, keepdims=True)
        spread = top[:, 0] + np.log(np.exp(scores - top).sum(1))
        total += float((spread - scores[np.arange(len(part) - 1), part[1:]]).sum())
        count += len(part) - 1
    return math.exp(total / count)


def run(
    text: Path, model: str = "smollm2", *, characters: int = 100_000, say: Callable[[str], object] = print
) -> dict[str, Any]:
    """Measures both paths on the first `characters` of a text file; says and returns the figures.

    Raises ValueError where the native step does not run the model, or the text is empty.
    """
    from tokenloom import hub
    from tokenloom.model.load import load_model
    from tokenloom.model.step import TorchStep
    from tokenloom.native.open import NotNative, open_native
    from tokenloom.tokens.text import load_tokenizer

    found = hub.find(model)
    ids = load_tokenizer(found.path).encode(text.read_text(encoding="utf-8")[:characters])
    if len(ids) < 2:
        raise ValueError(f"{text}: {len(ids)} tokens; a text to score has at least 2")
    try:
        native = open_native(found.path, n_slots=1, context=1024)
    except NotNative as error:
        raise ValueError(f"{model} does not run on the native step: {error}") from error
    figures: dict[str, Any] = {"what": "bench quality", "model": model, "text": text.name, "tokens": len(ids)}
    for name, step in (
        ("native", native),
        ("float32", TorchStep(load_model(found.path, "float32", "cpu"), 1, 1024)),
    ):
        start = time.perf_counter()
        figures[f"{name}_perplexity"] = round(perplexity(step, ids), 4)
        say(f"{name}: {figures[f'{name}_perplexity']} after {time.perf_counter() - start:.0f} s")
        step.close()
    figures["change"] = round(figures["native_perplexity"] / figures["float32_perplexity"] - 1, 5)
    say(json.dumps(figures))
    return figures

"""What the native step's int8 activations cost: perplexity beside PyTorch in float32 on the same file."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

WINDOW = 1024
"""Tokens of a window; half of each is context for the other half."""


def run(
    text: Path, model: str = "smollm2", *, characters: int = 100_000, say: Callable[[str], object] = print
) -> dict[str, Any]:
    """Measures both paths on the first `characters` of a text file; says and returns the figures.

    Raises ValueError where the native step does not run the model, or the text is empty.
    """
    from tokenloom import hub
    from tokenloom.evals.score import StepScorer
    from tokenloom.evals.window import document, fit
    from tokenloom.model.load import load_model
    from tokenloom.model.step import TorchStep
    from tokenloom.native.open import NotNative, open_native
    from tokenloom.tokens.text import load_tokenizer

    found = hub.find(model)
    prose = text.read_text(encoding="utf-8")[:characters]
    scored = document(prose, load_tokenizer(found.path), name=text.name)
    try:
        native = open_native(found.path, n_slots=1, context=WINDOW)
    except NotNative as error:
        raise ValueError(f"{model} does not run on the native step: {error}") from error
    figures: dict[str, Any] = {"what": "bench quality", "model": model, "text": text.name}
    figures["tokens"] = len(scored.ids) - 1
    for name, step in (
        ("native", native),
        ("float32", TorchStep(load_model(found.path, "float32", "cpu"), 1, WINDOW)),
    ):
        start = time.perf_counter()
        value = fit(StepScorer(step), [scored], window=WINDOW).perplexity.value
        figures[f"{name}_perplexity"] = round(value, 4)
        say(f"{name}: {figures[f'{name}_perplexity']} after {time.perf_counter() - start:.0f} s")
        step.close()
    figures["change"] = round(figures["native_perplexity"] / figures["float32_perplexity"] - 1, 5)
    return figures

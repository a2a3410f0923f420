"""Puts held-out functions to a fine-tune's start and to what came of it, and leaves the scores in its run.

Not the scores (docstrings.py). In the run's folder: scores.json, examples.json, and a line of evals.jsonl.
The base is read as the training read it, in float32, so that nothing but the training differs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokenloom.config import put_json
from tokenloom.evals import docstrings, ledger

if TYPE_CHECKING:
    from tokenloom.model.transformer import Transformer
    from tokenloom.tokens.text import Tokenizer

SCORES, EXAMPLES = "scores.json", "examples.json"
ROWS = 8
"""Functions that are answered together."""
SHOWN = 4
Progress = Callable[[str, int, int], None]
"""Told which model answers, how many functions are done, of how many."""


@dataclass(frozen=True, slots=True)
class Scored:
    """What came out."""

    changes: tuple[docstrings.Change, ...]
    examples: tuple[dict[str, Any], ...]
    files: tuple[Path, ...]


def score_docstrings(
    run: Path,
    held_out: Sequence[str] = (),
    *,
    n: int = 60,
    max_tokens: int = docstrings.MAX_TOKENS,
    progress: Progress | None = None,
) -> Scored:
    """Answers n held-out functions before and after a finished fine-tune, and writes what came out.

    held_out: files of conversations; none = those the run measured. ValueError where the run has no start or
    is not finished, or where its start has no chat template.
    """
    from tokenloom import hub
    from tokenloom.data.conversations import read_conversations
    from tokenloom.model.load import load_model
    from tokenloom.model.lora import load_adapter
    from tokenloom.tokens.text import load_tokenizer
    from tokenloom.train.lora import merge
    from tokenloom.train.record import read_run

    if n < 1:
        raise ValueError(f"n: found {n}; allowed: 1 or more")
    recipe = read_run(run).recipe
    start = str(recipe.get("model", {}).get("start", ""))
    files = list(held_out) or [str(path) for path in recipe.get("data", {}).get("held_out", [])]
    adapter, whole = run / "adapter", run / "model"
    if not start or not (adapter.is_dir() or whole.is_dir()):
        raise ValueError(
            f"run: {run} is no finished fine-tune: needs a model to start from, and what came out"
        )
    if not files:
        raise ValueError("held_out: found none, nor in the run's recipe; allowed: files of conversations")
    base = hub.find(start).path
    tokenizer = load_tokenizer(base)
    if tokenizer.template is None:
        raise ValueError(f"run: its start {start} has no chat template, so it cannot be asked as the run is")
    model = load_model(base, dtype="float32")
    told: list[str] = []
    talks = list(
        read_conversations(files, on_dropped=lambda drop: told.append(str(drop)), on_note=told.append)
    )
    asked = docstrings.ask(talks, tokenizer, n, model.config.context - max_tokens)
    before = _answers(model, tokenizer, asked, max_tokens, progress, "before")
    if adapter.is_dir():
        merge(model, load_adapter(adapter))
    else:
        tokenizer = load_tokenizer(whole)
        model = load_model(whole, dtype="float32")
        asked = _same(asked, docstrings.ask(talks, tokenizer, n, model.config.context - max_tokens))
    after = _answers(model, tokenizer, asked, max_tokens, progress, "after")
    changes = docstrings.compare(asked, before, after)
    shown = docstrings.examples(asked, before, after)
    put_json(run / SCORES, [change.facts() for change in changes])
    put_json(run / EXAMPLES, shown)
    facts = {
        "model": str(adapter if adapter.is_dir() else whole),
        "scores": docstrings.ledger_rows(changes, f"{len(asked)} functions of {', '.join(files)}"),
        "samples": [{"prompt": one["prompt"], "text": one["after"]} for one in shown[:SHOWN]],
    }
    ledger.append(run / ledger.EVALS, "docstrings", facts)
    places = tuple(run / name for name in (SCORES, EXAMPLES, ledger.EVALS))
    return Scored(tuple(changes), tuple(shown), places)


def _same(before: list[docstrings.Asked], after: list[docstrings.Asked]) -> list[docstrings.Asked]:
    if [one.answer_ids for one in before] != [one.answer_ids for one in after]:
        raise ValueError(
            "run: its model spells the held-out docstrings otherwise than its start; their losses "
            "cannot be compared"
        )
    return after


def _answers(
    model: Transformer,
    tokenizer: Tokenizer,
    asked: Sequence[docstrings.Asked],
    max_tokens: int,
    progress: Progress | None,
    name: str,
) -> list[docstrings.Answered]:
    from tokenloom.engine.core import Core
    from tokenloom.model.step import TorchStep

    longest = max(len(one.prompt_ids) + max(max_tokens, len(one.answer_ids)) for one in asked)
    core = Core(
        TorchStep(model.eval(), min(ROWS, len(asked)), min(longest, model.config.context), pack=False)
    )
    try:
        tell = None if progress is None else (lambda done, of: progress(name, done, of))
        return docstrings.answer(core, tokenizer, asked, max_tokens=max_tokens, progress=tell)
    finally:
        core.close()

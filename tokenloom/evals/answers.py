"""Questions with references: a model's answers to them, and what they score.

Not the metrics (text.py, variety.py, copied.py) and not code (code.py). Questions are JSON lines: "prompt" (a
text to go on with, or a user's message with chat) or "messages"; "reference" (a text) or "references"
(several), or neither where only variety and copying are measured.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenloom.engine.request import Sampling
from tokenloom.evals import text, variety
from tokenloom.evals.ask import GREEDY, Progress, Writer
from tokenloom.evals.copied import Run, longest_runs
from tokenloom.evals.interval import Interval, mean
from tokenloom.tokens.chat import encode_chat
from tokenloom.tokens.text import Tokenizer


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, and what would be right."""

    place: str
    """file:line"""
    prompt: str = ""
    messages: tuple[Mapping[str, Any], ...] = ()
    references: tuple[str, ...] = ()

    @property
    def shown(self) -> str:
        """The prompt, or the last message."""
        return self.prompt or str(self.messages[-1].get("content", ""))


def read_questions(file: Path) -> list[Question]:
    """ValueError names the line and the field at fault."""
    found = []
    for number, raw in enumerate(file.read_bytes().splitlines(), 1):
        if not raw.strip():
            continue
        place = f"{file}:{number}"
        try:
            line = json.loads(raw)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{place}: not JSON: {error}") from error
        if not isinstance(line, dict):
            raise ValueError(f"{place}: found a {type(line).__name__}; needs an object")
        found.append(_question(place, line))
    if not found:
        raise ValueError(f"{file}: found no question; needs one JSON object a line")
    if any(question.references for question in found) != all(question.references for question in found):
        lacking = next(question for question in found if not question.references)
        raise ValueError(f"{lacking.place}: reference: found none, though other lines have one")
    return found


def _question(place: str, line: Mapping[str, Any]) -> Question:
    prompt, messages = line.get("prompt", ""), line.get("messages", [])
    if not isinstance(prompt, str) or not isinstance(messages, list) or bool(prompt) == bool(messages):
        raise ValueError(f"{place}: prompt: needs a text there or a list under messages, not both")
    if any(not isinstance(message, Mapping) or "role" not in message for message in messages):
        raise ValueError(f"{place}: messages: needs objects with role and content")
    references = line.get("references", [line["reference"]] if "reference" in line else [])
    if not isinstance(references, list) or not all(isinstance(one, str) for one in references):
        raise ValueError(f"{place}: references: found {references!r}; needs texts")
    return Question(place, prompt, tuple(messages), tuple(references))


def prompt_ids(question: Question, tokenizer: Tokenizer, chat: bool = False) -> list[int]:
    """The ids that are to be gone on with; chat: a prompt is a user's message."""
    if question.messages:
        return encode_chat(tokenizer, question.messages)
    if chat:
        return encode_chat(tokenizer, [{"role": "user", "content": question.prompt}])
    return tokenizer.encode(question.prompt, bos=True)


def answer(
    questions: Sequence[Question],
    tokenizer: Tokenizer,
    writer: Writer,
    *,
    max_tokens: int = 256,
    stop: Sequence[str] = (),
    sampling: Sampling = GREEDY,
    seed: int = 0,
    chat: bool = False,
    progress: Progress | None = None,
) -> list[str]:
    """One answer to each, without blanks at its ends. ValueError for a prompt the context does not hold."""
    prompts = [prompt_ids(question, tokenizer, chat) for question in questions]
    for question, ids in zip(questions, prompts, strict=True):
        if not ids or len(ids) + max_tokens > writer.context:
            raise ValueError(
                f"{question.place}: prompt: {len(ids)} tokens and {max_tokens} new ones; the model's context "
                f"holds {writer.context}"
            )
    rows = writer.write(
        prompts, max_tokens=max_tokens, stop=stop, sampling=sampling, seed=seed, progress=progress
    )
    return [row[0].text.strip() for row in rows]


@dataclass(frozen=True, slots=True)
class Judged:
    """What the answers scored."""

    scores: tuple[text.Score, ...]
    copied: tuple[Run, ...] = ()


def judge(
    questions: Sequence[Question],
    answers: Sequence[str],
    metrics: Sequence[str] = (),
    training: Iterable[tuple[str, str]] | None = None,
) -> Judged:
    """References by `metrics` (text.METRICS), variety always, copying where training texts are given.

    ValueError where a metric is asked for and there are no references.
    """
    scores: list[text.Score] = []
    if metrics:
        if not questions[0].references:
            raise ValueError(f"{questions[0].place}: reference: found none, which {metrics[0]} needs")
        scores += text.score(metrics, answers, [question.references for question in questions])
    words = [text.words(one) for one in answers]
    for n in (1, 2):
        if any(len(row) >= n for row in words):
            value = variety.distinct(words, n)
            scores.append(text.Score(f"distinct-{n}", Interval(value, n=len(answers)), "words"))
    if any(len(row) >= 4 for row in words):
        scores.append(text.Score("seq-rep-4", variety.repetitions(words, 4), "words"))
    if training is None:
        return Judged(tuple(scores))
    runs = longest_runs(answers, training)
    lengths = [run.length for run in runs]
    scores.append(
        text.Score("longest copied run", Interval(max(lengths), n=len(runs)), "characters, the most")
    )
    scores.append(text.Score("mean copied run", mean(lengths), "characters"))
    return Judged(tuple(scores), tuple(runs))

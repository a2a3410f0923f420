"""One evaluation of a model as it is asked for: texts, tasks, questions and programs, one after the other.

Not the measures themselves (window, harness, text, variety, copied, code), and not the terminal.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from tokenloom.engine.request import Sampling
from tokenloom.evals.ask import Progress
from tokenloom.evals.open import Opened

Bar = Callable[[str], AbstractContextManager[Progress]]
"""Shows how far a piece of work with this title is."""
SAMPLES = 5
"""Answers kept in the ledger."""


@dataclass
class Findings:
    """What one evaluation found, piece by piece."""

    scores: list[dict[str, Any]] = field(default_factory=list)
    samples: list[dict[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, where: str, facts: Mapping[str, Any]) -> None:
        self.scores.append({"set": where, **facts})


@dataclass(frozen=True)
class Asked:
    """What was asked for, beside the model."""

    text: Sequence[str]
    field: str
    task: Sequence[str]
    include: Path | None
    shots: int | None
    answers: Path | None
    metric: Sequence[str]
    training: Sequence[str]
    code: Path | None
    samples: int
    k: Sequence[int]
    window: int | None
    stride: int | None
    limit: int | None
    max_tokens: int
    stop: Sequence[str]
    temperature: float
    chat: bool
    seed: int


def measure(opened: Opened, asked: Asked, bar: Bar) -> Findings:
    """Everything that is asked for. ValueError where it cannot be done, with the option or the line."""
    found = Findings()
    if asked.text:
        _texts(opened, asked, found, bar)
    if asked.task:
        _tasks(opened, asked, found, bar)
    if asked.answers is not None:
        _answers(opened, asked, asked.answers, found, bar)
    if asked.code is not None:
        _programs(opened, asked, asked.code, found, bar)
    return found


def _texts(opened: Opened, asked: Asked, found: Findings, bar: Bar) -> None:
    from tokenloom.evals.window import document, fit, start_id

    start = start_id(opened.tokenizer)
    for path in asked.text:
        texts = _read(path, opened, asked.field, asked.limit, found)
        documents = [
            document(text, opened.tokenizer, start=start, name=place) for place, text in texts if text
        ]
        with bar(f"reading {Path(path).name}") as progress:
            fitted = fit(
                opened.scorer,
                documents,
                window=asked.window,
                stride=asked.stride,
                seed=asked.seed,
                progress=progress,
            )
        settings = f"window {fitted.window}, stride {fitted.stride}, {fitted.tokens:,} tokens"
        for name in ("bits_per_byte", "bits_per_character", "perplexity"):
            found.add(path, {"metric": name, **getattr(fitted, name).facts(), "settings": settings})


def _tasks(opened: Opened, asked: Asked, found: Findings, bar: Bar) -> None:
    _need("lm_eval", "lm-eval")
    from tokenloom.evals.harness import Loom, run_tasks

    with bar("answering the tasks") as progress:
        lm = Loom(opened.tokenizer, opened.scorer, opened.writer, seed=asked.seed, progress=progress)
        scores = run_tasks(
            lm, asked.task, include=asked.include, shots=asked.shots, limit=asked.limit, chat=asked.chat
        )
    for score in scores:
        cut = "" if score.filter == "none" else f", {score.filter}"
        settings = f"lm-evaluation-harness, version {score.version}, {score.shots} shots{cut}"
        found.add(score.task, {"metric": score.metric, **score.interval.facts(), "settings": settings})


def _answers(opened: Opened, asked: Asked, file: Path, found: Findings, bar: Bar) -> None:
    from tokenloom.evals.answers import answer, judge, read_questions

    for name, package in (("bleu", "sacrebleu"), ("chrf", "sacrebleu"), ("rouge", "rouge_score")):
        if name in asked.metric:
            _need(package, package.replace("_", "-"))
    questions = read_questions(file)[: asked.limit]
    with bar("answering") as progress:
        texts = answer(
            questions,
            opened.tokenizer,
            opened.writer,
            max_tokens=asked.max_tokens,
            stop=asked.stop,
            sampling=Sampling(temperature=asked.temperature),
            seed=asked.seed,
            chat=asked.chat,
            progress=progress,
        )
    training = [row for path in asked.training for row in _read(path, opened, asked.field, None, found)]
    judged = judge(questions, texts, asked.metric, training if asked.training else None)
    for score in judged.scores:
        found.add(str(file), score.facts())
    found.samples += [
        {"prompt": question.shown, "text": text}
        for question, text in list(zip(questions, texts, strict=True))[:SAMPLES]
    ]
    if empty := sum(not one.strip() for one in texts):
        found.notes.append(f"{empty} of {len(texts)} answers are empty")
    if judged.copied:
        most = max(judged.copied, key=lambda run: run.length)
        found.notes.append(
            f"longest copied run: {most.text[:200]!r}, in {most.source or 'none of the texts'}"
        )


def _programs(opened: Opened, asked: Asked, file: Path, found: Findings, bar: Bar) -> None:
    from tokenloom.evals.answers import Question, prompt_ids
    from tokenloom.evals.code import STOPS, judge, read_problems
    from tokenloom.evals.sandbox import isolation

    how = isolation()
    found.notes.append(f"programs ran in {how.kind}" + (f" ({how.why})" if how.why else ""))
    problems = read_problems(file)[: asked.limit]
    prompts = [prompt_ids(Question(one.name, one.prompt), opened.tokenizer, asked.chat) for one in problems]
    with bar("programming") as progress:
        rows = opened.writer.write(
            prompts,
            max_tokens=asked.max_tokens,
            stop=asked.stop or (() if asked.chat else STOPS),
            sampling=Sampling(temperature=asked.temperature),
            seed=asked.seed,
            n=asked.samples,
            progress=progress,
        )
    written = [[one.text for one in row] for row in rows]
    with bar("running the programs") as progress:
        scored = judge(problems, written, asked.k, progress=progress)
    settings = (
        f"{asked.samples} programs a problem, temperature {asked.temperature:g}, sandbox: {scored.kind}"
    )
    for k, score in scored.pass_at.items():
        found.add(str(file), {"metric": f"pass@{k}", **score.facts(), "settings": settings})
    found.notes.append(f"programs: {json.dumps(scored.facts()['outcomes'])}")


def _read(
    path: str, opened: Opened, text_field: str, limit: int | None, found: Findings
) -> list[tuple[str, str]]:
    """(place, text) of a file, a folder, or shards."""
    if (Path(path) / "manifest.json").is_file():
        from tokenloom.data.shards import open_shards

        shards = open_shards(path, opened.tokenizer.hash)
        count = shards.n_documents if limit is None else min(limit, shards.n_documents)
        return [
            (f"{path}:{at}", opened.tokenizer.decode([int(id) for id in shards.document(at)]))
            for at in range(count)
        ]
    from tokenloom.data.read import read

    records = read([path], text_field=text_field, on_bad=lambda bad: found.notes.append(f"skipped {bad}"))
    return [(record.source, record.text) for record in islice(records, limit)]


def _need(module: str, package: str) -> None:
    """ValueError where an optional package is missing."""
    if importlib.util.find_spec(module) is None:
        raise ValueError(f"this needs the package {package}: `pip install {package}` adds it")

"""pass@k: the chance that one of k programs a model writes passes a problem's tests.

Not the running of programs (sandbox.py) and not the writing (write.py). Problems are JSON lines in
HumanEval's form: prompt, test, entry_point, task_id. Source: Chen et al. 2021, arXiv:2107.03374, section 2.1.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tokenloom.evals.ask import Progress
from tokenloom.evals.interval import RESAMPLES, Interval, mean
from tokenloom.evals.sandbox import Limits, Outcome, isolation, run_program

STOPS = ("\nclass ", "\ndef ", "\n#", "\nif ", "\nprint(", "\nassert ", "\n```")
"""Where the body of a function has ended; HumanEval's."""
_FENCED = re.compile(r"```(?:python|py)?[ \t]*\n(.*?)(?:\n```|\Z)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Problem:
    """What is to be programmed, and its tests."""

    name: str
    prompt: str
    """The program's beginning."""
    test: str
    """Python that raises when the program is wrong."""
    entry_point: str = ""
    """The function that `check` in `test` is called with; none where the test calls it itself."""


@dataclass(frozen=True, slots=True)
class CodeScores:
    """Of all problems."""

    pass_at: dict[int, Interval]
    """k -> the share, its interval by drawing problems anew."""
    outcomes: tuple[tuple[Outcome, ...], ...]
    """Of each problem's answers."""
    kind: str
    """How the programs were kept in."""

    def facts(self) -> dict[str, Any]:
        """As JSON holds it."""
        found: dict[str, int] = {}
        for row in self.outcomes:
            for outcome in row:
                found[outcome.status] = found.get(outcome.status, 0) + 1
        scores = [{"metric": f"pass@{k}", **score.facts()} for k, score in self.pass_at.items()]
        return {"scores": scores, "outcomes": found, "sandbox": self.kind}


def read_problems(file: Path) -> list[Problem]:
    """ValueError names the line and the field at fault."""
    found = []
    for number, raw in enumerate(file.read_bytes().splitlines(), 1):
        if not raw.strip():
            continue
        try:
            line = json.loads(raw)
        except ValueError as error:
            raise ValueError(f"{file}:{number}: not JSON: {error}") from error
        if not isinstance(line, dict):
            raise ValueError(f"{file}:{number}: found a {type(line).__name__}; needs an object")
        for field in ("prompt", "test"):
            if not isinstance(line.get(field), str) or not line[field]:
                raise ValueError(f"{file}:{number}: {field}: found {line.get(field)!r}; needs a text")
        entry = line.get("entry_point") or ""
        if not isinstance(entry, str) or (entry and not entry.isidentifier()):
            raise ValueError(f"{file}:{number}: entry_point: found {entry!r}; needs a function's name")
        found.append(Problem(str(line.get("task_id", number)), line["prompt"], line["test"], entry))
    if not found:
        raise ValueError(f"{file}: found no problem; needs one JSON object a line")
    return found


def pass_at_k(n: int, c: int, k: int) -> float:
    """The unbiased estimate from n answers of which c pass: 1 - C(n - c, k) / C(n, k)."""
    if not 0 <= c <= n or not 1 <= k <= n:
        raise ValueError(f"n, c, k: found {n}, {c}, {k}; allowed: 0 <= c <= n and 1 <= k <= n")
    if n - c < k:
        return 1.0
    return float(1 - np.prod(1 - k / np.arange(n - c + 1, n + 1)))


def program(problem: Problem, answer: str) -> str:
    """The whole program with its tests.

    An answer that defines the function itself stands for the prompt's beginning of it, and follows what the
    prompt has before; any other goes on where the prompt ends. Of an answer with a fenced part that counts.
    """
    fenced = _FENCED.search(answer)
    code = fenced[1] if fenced else answer
    head = problem.prompt
    if problem.entry_point:
        start = re.compile(rf"^(?:async\s+)?def\s+{problem.entry_point}\b", re.MULTILINE)
        if start.search(code):
            begun = start.search(head)
            head = head[: begun.start()] if begun else ""
    call = f"check({problem.entry_point})\n" if problem.entry_point else ""
    return f"{head}{code}\n\n{problem.test}\n{call}"


def judge(
    problems: Sequence[Problem],
    answers: Sequence[Sequence[str]],
    ks: Sequence[int] = (1,),
    *,
    limits: Limits = Limits(),
    workers: int = 2,
    resamples: int = RESAMPLES,
    progress: Progress | None = None,
) -> CodeScores:
    """Runs every answer of every problem. ValueError where a problem has fewer answers than some k."""
    if not problems or len(problems) != len(answers):
        raise ValueError(f"answers: found {len(answers)} for {len(problems)} problems; needs one set each")
    for problem, row in zip(problems, answers, strict=True):
        if not ks or min(ks) < 1 or max(ks) > len(row):
            raise ValueError(f"k: found {list(ks)}; allowed: 1 to {len(row)}, the answers to {problem.name}")
    # A program that ends before its tests has ended well, too: only one that comes to its end has passed.
    seal = secrets.token_hex(8)
    work = [
        f"{program(p, answer)}\nprint({seal!r})\n"
        for p, row in zip(problems, answers, strict=True)
        for answer in row
    ]
    kind = isolation().kind
    found: list[Outcome] = []
    with ThreadPoolExecutor(max(1, workers)) as pool:
        try:
            for outcome in pool.map(lambda text: run_program(text, limits=limits, kind=kind), work):
                whole = outcome.status != "passed" or outcome.stdout.endswith(f"{seal}\n")
                found.append(outcome if whole else replace(outcome, status="failed"))
                if progress is not None:
                    progress(len(found), len(work))
        finally:  # nothing waits any more where all has run; on Ctrl-C what has not begun is dropped
            pool.shutdown(cancel_futures=True)
    ends = np.cumsum([len(row) for row in answers])
    rows = tuple(tuple(found[end - len(row) : end]) for end, row in zip(ends, answers, strict=True))
    right = [sum(outcome.status == "passed" for outcome in row) for row in rows]
    pass_at = {
        k: mean([pass_at_k(len(row), c, k) for row, c in zip(rows, right, strict=True)], resamples=resamples)
        for k in sorted(set(ks))
    }
    return CodeScores(pass_at, rows, kind)

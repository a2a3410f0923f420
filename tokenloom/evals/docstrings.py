"""What a fine-tune on docstrings changed: the loss, the likeness to the authors' words, and rules of style.

Not a judgement of whether a docstring is true. Held-out functions are put to the model as it was and as it
is, greedily. Likeness is counted on the docstring inside an answer, wherever it stands there; the rules are
about the answer as it comes. Every change has its interval by drawing functions anew, before and after
together. Sources: PEP 257 (a summary of one line, a blank line behind it), PEP 8 (79 columns); chrF and ROUGE
as in text.py.
"""

from __future__ import annotations

import hashlib
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tokenloom.evals.ask import Pair
from tokenloom.evals.interval import Interval, mean, ratio
from tokenloom.evals.score import CoreScorer
from tokenloom.evals.text import RougeWords
from tokenloom.evals.write import CoreWriter

if TYPE_CHECKING:
    from tokenloom.data.conversations import Conversation
    from tokenloom.engine.core import Core
    from tokenloom.tokens.text import Tokenizer

MAX_TOKENS = 128
COLUMNS = 79
RULES = ("bare", "ended", "capital", "summary", "blank line", "columns")
"""What `style` looks at, in its order."""
LOSS, LIKENESS, ROUGE, STYLE = "held-out loss", "chrF", "ROUGE-L", "style"
SETTINGS = {
    LOSS: "nats per token of the docstring",
    LIKENESS: "sacrebleu, 0 to 100, mean over functions",
    ROUGE: "rouge-score, F of 0 to 1, mean over functions",
    STYLE: "share that keeps every rule",
    "bare": "share without quotes, fence or code around it",
    "ended": "share that ends by itself",
    "capital": "share that begins with a capital letter",
    "summary": "share whose first line is a sentence",
    "blank line": "share with one line, or a blank second one",
    "columns": f"share without a line of more than {COLUMNS} columns",
}
_QUOTED = re.compile(r"(\"\"\"|''')(.*?)(?:\1|\Z)", re.DOTALL)
_CODE = re.compile(r"```|\"\"\"|'''|^\s*(?:async )?def \w+\(|^\s*class \w+", re.MULTILINE)
_FENCED = re.compile(r"```\w*\n?(.*?)(?:```|\Z)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Asked:
    """A held-out function."""

    name: str
    """Module and function, where the file says them."""
    prompt: str
    reference: str
    prompt_ids: tuple[int, ...]
    answer_ids: tuple[int, ...]
    """The reference with the id that ends a turn."""


@dataclass(frozen=True, slots=True)
class Answered:
    """What one model made of one function."""

    text: str
    ended: bool
    nats: float
    """Of the reference's ids, under this model."""


@dataclass(frozen=True, slots=True)
class Change:
    """One score before and after."""

    name: str
    before: Interval
    after: Interval
    change: Interval
    """after - before, of the same functions."""
    reference: float | None = None
    """What the authors' own docstrings score."""

    def facts(self) -> dict[str, Any]:
        """As JSON holds it; low and high are the change's."""
        return {
            "name": self.name,
            "before": self.before.value,
            "after": self.after.value,
            "change": self.change.value,
            "low": self.change.low,
            "high": self.change.high,
            "n": self.change.n,
            "before_low": self.before.low,
            "before_high": self.before.high,
            "after_low": self.after.low,
            "after_high": self.after.high,
            "better": "lower" if self.name == LOSS else "higher",
            "reference": self.reference,
            "settings": SETTINGS[self.name],
        }


def ask(conversations: Sequence[Conversation], tokenizer: Tokenizer, n: int, context: int) -> list[Asked]:
    """n of the functions (all where there are fewer), chosen by their text and so the same ones each time.

    Each is the first question of a conversation and its answer. ValueError where none fits into `context`.
    """
    from tokenloom.train.render import RenderSettings, render_all

    settings = RenderSettings(max_tokens=context)
    rendered = {row.source: row for row in render_all(conversations, tokenizer, settings, lambda drop: None)}
    found = []
    for one in conversations:
        row = rendered.get(one.source)
        if row is None or [turn["role"] for turn in one.messages] != ["user", "assistant"]:
            continue
        places = np.flatnonzero(row.learned)
        start, stop = int(places[0]), int(places[-1]) + 1
        ids = [int(id) for id in row.ids]
        name = " ".join(str(one.meta[key]) for key in ("file", "function") if one.meta.get(key))
        prompt, said = (str(turn["content"]) for turn in one.messages)
        found.append(Asked(name or one.source, prompt, said, tuple(ids[:start]), tuple(ids[start:stop])))
    if not found:
        raise ValueError(f"held-out functions: found none of at most {context} tokens; allowed: one or more")
    return sorted(found, key=lambda one: hashlib.sha256(one.prompt.encode()).digest())[:n]


def answer(
    core: Core,
    tokenizer: Tokenizer,
    asked: Sequence[Asked],
    *,
    max_tokens: int = MAX_TOKENS,
    progress: Callable[[int, int], None] | None = None,
) -> list[Answered]:
    """Greedy answers of the model in `core`, and its loss on the references."""
    scored = CoreScorer(core).score([Pair(one.prompt_ids, one.answer_ids) for one in asked])
    written = CoreWriter(core, tokenizer).write(
        [one.prompt_ids for one in asked], max_tokens=max_tokens, progress=progress
    )
    return [
        Answered(said[0].text.strip(), said[0].finish == "stop", -score.total)
        for said, score in zip(written, scored, strict=True)
    ]


def docstring_in(text: str) -> str:
    """An answer's docstring: what stands in the first triple quotes, else outside of fences, else inside."""
    quoted = _QUOTED.search(text)
    said = quoted[2] if quoted else _FENCED.sub("", text).strip() or _FENCED.sub(r"\1", text)
    return inspect.cleandoc(said).strip()


def style(text: str, ended: bool = True) -> dict[str, bool]:
    """Rule -> whether an answer keeps it. An empty one keeps none."""
    lines = text.split("\n")
    if not text.strip():
        return dict.fromkeys(RULES, False)
    return {
        "bare": not _CODE.search(text),
        "ended": ended,
        "capital": text[0].isupper(),
        "summary": lines[0].rstrip().endswith((".", "!", "?")),
        "blank line": len(lines) == 1 or not lines[1].strip(),
        "columns": max(map(len, lines)) <= COLUMNS,
    }


def compare(asked: Sequence[Asked], before: Sequence[Answered], after: Sequence[Answered]) -> list[Change]:
    """Every score, before and after."""
    lengths = np.array([len(one.answer_ids) for one in asked], np.float64)
    old, new = (np.array([one.nats for one in answers]) for answers in (before, after))
    found = [Change(LOSS, ratio(old, lengths), ratio(new, lengths), ratio(new - old, lengths))]
    own = [style(one.reference) for one in asked]
    tables = [_table(asked, answers) for answers in (before, after)]
    for name in tables[0]:
        one, two = (np.array(table[name], np.float64) for table in tables)
        reference = None
        if name == STYLE:
            reference = float(np.mean([all(rules.values()) for rules in own]))
        elif name in RULES:
            reference = float(np.mean([rules[name] for rules in own]))
        found.append(Change(name, mean(one), mean(two), mean(two - one), reference))
    return found


def _table(asked: Sequence[Asked], answers: Sequence[Answered]) -> dict[str, list[float]]:
    """Score -> its value for each function."""
    from rouge_score.rouge_scorer import RougeScorer
    from sacrebleu.metrics.chrf import CHRF

    chrf, rouge = CHRF(), RougeScorer(["rougeL"], tokenizer=RougeWords())
    table: dict[str, list[float]] = {name: [] for name in (LIKENESS, ROUGE, STYLE, *RULES)}
    for one, said in zip(asked, answers, strict=True):
        text = docstring_in(said.text)
        table[LIKENESS].append(chrf.sentence_score(text, [one.reference]).score)
        table[ROUGE].append(rouge.score(one.reference, text)["rougeL"].fmeasure)
        rules = style(said.text, said.ended)
        table[STYLE].append(float(all(rules.values())))
        for name, kept in rules.items():
            table[name].append(float(kept))
    return table


def examples(
    asked: Sequence[Asked], before: Sequence[Answered], after: Sequence[Answered]
) -> list[dict[str, Any]]:
    """Every function with its docstrings, as JSON holds it."""
    return [
        {
            "function": one.name,
            "prompt": one.prompt,
            "reference": one.reference,
            "before": old.text,
            "after": new.text,
        }
        for one, old, new in zip(asked, before, after, strict=True)
    ]


def ledger_rows(changes: Sequence[Change], held_out: str) -> list[Mapping[str, Any]]:
    """The scores after the training in the form of evals.jsonl; what was before stands in their settings."""
    return [
        {
            "set": held_out,
            "metric": one.name,
            **one.after.facts(),
            "settings": f"{SETTINGS[one.name]}; before {one.before}, change {one.change}",
        }
        for one in changes
    ]

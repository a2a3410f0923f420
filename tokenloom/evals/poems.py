"""How well a model foretells verse: bits for each character of a poem's body, its title and form given.

Not a judgement of what a model writes, but for the rules it keeps (`verse_shares`). Each poem is scored
alone, from its first control token; counted are the bits of the ids of its body, divided by the body's
characters with their punctuation, line breaks left out. The whole counts every id but the first (title, form,
body and end) over the characters of title, form and body.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tokenloom.evals.interval import Interval, ratio
from tokenloom.tokens.verse import CI, END, POEM, SHI, Verdict, check, parse, tunes

if TYPE_CHECKING:
    from tokenloom.evals.ngram import KneserNey
    from tokenloom.tokens.text import Tokenizer

LogProbs = Callable[[Sequence[np.ndarray]], Sequence[np.ndarray]]
"""Documents of ids -> for each, the natural logarithm of each id's probability given those before it in the
document. The first entry, which nothing stands before, is not looked at."""

RULES = ("lines", "lengths", "rhyme", "tones", "right")
BATCH = 64
"""Poems handed over at once."""


@dataclass(frozen=True, slots=True)
class VerseFit:
    """How well a model foretells poems."""

    poems: int
    body: Interval
    """Bits per character of the body."""
    whole: Interval
    """Bits per character of title, form, body and the marks between them."""
    by_form: Mapping[str, float]
    """Form -> bits per character of the body; all ci are one."""

    def facts(self) -> dict[str, Any]:
        """As JSON holds it."""
        whole = {"body": self.body.facts(), "whole": self.whole.facts()}
        return {"poems": self.poems, **whole, "by_form": dict(self.by_form)}


def fit_poems(
    log_probs: LogProbs,
    texts: Iterable[str],
    tokenizer: Tokenizer,
    *,
    batch: int = BATCH,
    progress: Callable[[int, int], None] | None = None,
) -> VerseFit:
    """Scores poems in the layout of data/poems.py; intervals by drawing poems anew.

    progress: told of poems done, of how many. ValueError for a text in another layout, where there is no
    poem, and for a log-probability that is no number.
    """
    poems = list(texts)
    parts = [parse(text) for text in poems]
    rows = [np.asarray(tokenizer.encode_control(text), dtype=np.int64) for text in poems]
    poem, end = tokenizer.special[POEM], tokenizer.special[END]
    body_bits, whole_bits = np.zeros(len(poems)), np.zeros(len(poems))
    order = np.argsort([len(row) for row in rows], kind="stable")
    for begin in range(0, len(order), batch):
        some = order[begin : begin + batch]
        for at, found in zip(some, log_probs([rows[i] for i in some]), strict=True):
            row, logs = rows[at], np.asarray(found, np.float64)
            if logs.shape != row.shape or not np.isfinite(logs[1:]).all():
                raise ValueError(
                    f"log_probs: found the shape {logs.shape} for {row.shape} ids, or a value that is no "
                    "number; allowed: a finite one for each id"
                )
            body = slice(int(np.flatnonzero(row == poem)[0]) + 1, len(row) - int(row[-1] == end))
            body_bits[at] = -logs[body].sum() / math.log(2)
            whole_bits[at] = -logs[1:].sum() / math.log(2)
        if progress:
            progress(min(begin + batch, len(order)), len(order))
    letters = np.array([characters(body) for _, _, body in parts], dtype=np.float64)
    others = np.array([len(title) + len(form) for title, form, _ in parts], dtype=np.float64)
    forms: dict[str, list[int]] = {}
    for at, (_, form, _) in enumerate(parts):
        forms.setdefault("词" if form.startswith("词") else form or "-", []).append(at)
    by_form = {
        form: float(body_bits[own].sum() / letters[own].sum())
        for form, own in sorted(forms.items(), key=lambda item: -len(item[1]))
    }
    return VerseFit(len(poems), ratio(body_bits, letters), ratio(whole_bits, letters + others), by_form)


def characters(body: str) -> int:
    """Characters of a body: those of the lines with their punctuation; line breaks are layout."""
    return len(body) - body.count("\n")


def verse_shares(poems: Iterable[tuple[str, str]]) -> dict[str, dict[str, float]]:
    """Form -> the shares of (body, form) that keep its rules of lines, lengths, rhyme, tones, and all.

    All ci are one form; `n` says how many poems a form has. Forms without rules (a ci whose tune has no usual
    arrangement) are left out. `all` is of every poem; a rule that a form lacks is not counted there.
    """
    kept: dict[str, list[Verdict]] = {}
    for body, form in poems:
        if form in SHI or form.removeprefix(CI) in tunes():
            verdict = check(body, form)
            for name in ("词" if form.startswith(CI) else form, "all"):
                kept.setdefault(name, []).append(verdict)
    found = {}
    for form, verdicts in kept.items():
        row: dict[str, float] = {"n": len(verdicts)}
        for rule in RULES:
            stated = [held for verdict in verdicts if (held := getattr(verdict, rule)) is not None]
            if stated:
                row[rule] = sum(stated) / len(stated)
        found[form] = row
    return found


def baseline(
    train: Sequence[np.ndarray],
    texts: Sequence[str],
    tokenizer: Tokenizer,
    n: int = 5,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[KneserNey, VerseFit]:
    """The n-gram model of training poems (ids in the layout), and how well it foretells the same texts."""
    from tokenloom.evals.ngram import count

    model = count(train, tokenizer.vocab_size, n, progress=progress, fallback=(0.5, 1.0, 1.5))
    return model, fit_poems(model.score, texts, tokenizer, batch=4096)


def baseline_of_bodies(
    train: Sequence[np.ndarray], texts: Sequence[str], tokenizer: Tokenizer, n: int = 5
) -> Interval:
    """Bits per character of bodies by an n-gram model that knows bodies alone, without title and form."""
    from tokenloom.evals.ngram import count

    poem, end = tokenizer.special[POEM], tokenizer.special[END]

    def body_of(row: np.ndarray) -> np.ndarray:
        start = int(np.flatnonzero(row == poem)[0]) + 1
        return np.asarray(row[start : len(row) - int(row[-1] == end)])

    model = count([body_of(row) for row in train], tokenizer.vocab_size, n, fallback=(0.5, 1.0, 1.5))
    rows = [body_of(np.asarray(tokenizer.encode_control(text), dtype=np.int64)) for text in texts]
    bits = [-float(found.sum()) / math.log(2) for found in model.score(rows)]
    return ratio(bits, [characters(parse(text)[2]) for text in texts])

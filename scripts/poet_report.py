"""Measures a poet: bits per character beside the n-gram's, rules that are kept, and what is copied.

Not part of the program. `python scripts/poet_report.py MODEL POEMS OUT.json [--poems 1000] [--baseline
FILE]`: MODEL is a model's name or folder, POEMS the folder that data/poem_set.py wrote. The rules are those
of tokens/verse.py, kept by held-out poems and by poems written for the same titles and forms: as users get
them, held to lines and lengths and the best of several drafts; of fewer drafts; and without either, when only
the model itself keeps lines and lengths.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import track

import tokenloom as tl
from tokenloom.api import Generation, Model
from tokenloom.data.jsonl import read_records
from tokenloom.data.shards import open_shards
from tokenloom.engine.request import Constraint
from tokenloom.evals.copied import longest_runs
from tokenloom.evals.poems import baseline, baseline_of_bodies, fit_poems, verse_shares
from tokenloom.tasks import keep, tasks
from tokenloom.tasks.makers import poem_mark
from tokenloom.tokens.stanza import Wish, pattern
from tokenloom.tokens.verse import CI, SHI, parse, prompt, tunes

TOGETHER = 16
USUAL = {field.name: field.default for field in tasks()["poem"].fields}
SAMPLING = {name: USUAL[name] for name in ("temperature", "top_p")}


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("model")
    ask.add_argument("poems", type=Path)
    ask.add_argument("out", type=Path)
    ask.add_argument("--poems", dest="number", type=int, default=1000, help="Poems to write.")
    ask.add_argument("--drafts", type=int, default=USUAL["drafts"], help="Drafts of each, as users get them.")
    ask.add_argument("--fit", type=int, default=0, help="Held-out poems to score; 0 = all, -1 = none.")
    ask.add_argument("--baseline", type=Path, help="A report whose n-gram figures are taken over.")
    given = ask.parse_args()
    held_out = list(read_records(given.poems / "heldout.jsonl"))
    report: dict[str, Any] = {"model": given.model, "held_out": len(held_out), "sampling": SAMPLING}
    report["drafts"] = given.drafts
    with tl.load(given.model) as model:
        if given.fit >= 0:
            report["fit"] = fit(model, [entry["text"] for entry in held_out][: given.fit or None])
        report |= rules(model, held_out, given.number, given.drafts)
    report["copied"] = copied(report.pop("written"), held_out[: given.number], given.poems)
    if given.fit < 0:
        write(given.out, report)
        return
    if given.baseline:
        report["baseline"] = json.loads(given.baseline.read_text("utf-8"))
    else:
        report["baseline"] = ngram(model, [entry["text"] for entry in held_out], given.poems)
    best = min(report["baseline"][name]["value"] for name in ("body_in_layout", "body_alone"))
    report["ratio"] = report["fit"]["body"]["value"] / best
    write(given.out, report)
    print(json.dumps({"bits": report["fit"]["body"]["value"], "ratio": report["ratio"]}))


def write(out: Path, report: dict[str, Any]) -> None:
    out.write_text(json.dumps(report, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def fit(model: Model, texts: Sequence[str]) -> dict[str, Any]:
    """Bits per character, each poem alone."""

    def log_probs(rows: Sequence[np.ndarray]) -> list[np.ndarray]:
        found = []
        for row in rows:
            scores = model.logits(row[:-1].tolist()).astype(np.float64)
            scores -= scores.max(axis=1, keepdims=True)
            own = scores[np.arange(len(row) - 1), row[1:]] - np.log(np.exp(scores).sum(axis=1))
            found.append(np.concatenate([[0.0], own]))
        return found

    rows = [text for text in texts if len(model.tokenizer.encode_control(text)) <= model.context]
    facts = fit_poems(log_probs, rows, model.tokenizer, progress=_bar("scoring")).facts()
    return {**facts, "left_out_as_too_long": len(texts) - len(rows)}


def _bar(what: str) -> Any:
    started = time.monotonic()

    def tell(done: int, of: int) -> None:
        print(f"\r{what} {done:,}/{of:,} {time.monotonic() - started:.0f} s", end="", flush=True)

    return tell


def rules(model: Model, held_out: Sequence[dict[str, str]], number: int, drafts: int) -> dict[str, Any]:
    """The shares of poems that keep their form's rules, real and written."""
    known = [entry for entry in held_out if entry["form"] in SHI or entry["form"].removeprefix(CI) in tunes()]
    some = known[:: max(1, len(known) // number)][:number]
    real = [(parse(entry["text"])[2], entry["form"]) for entry in some]
    by_form: dict[str, list[dict[str, str]]] = {}
    for entry in some:
        by_form.setdefault(entry["form"], []).append(entry)
    counts = sorted({drafts, *(2**power for power in range(5) if 2**power < drafts)})
    held: dict[int, list[tuple[str, str]]] = {count: [] for count in counts}
    free: list[tuple[str, str]] = []
    took_s = dict.fromkeys(held, 0.0)
    for form, entries in track(by_form.items(), "writing"):
        constraint = Constraint("regex", pattern(Wish("", form)))
        for start in range(0, len(entries), TOGETHER):
            part = entries[start : start + TOGETHER]
            ids = [model.tokenizer.encode_control(prompt(entry["title"], form)) for entry in part]
            for count, kept in held.items():
                started = time.process_time()
                answers = model.generate(
                    ids, constraint=constraint, max_tokens=250, seed=1, n=count, **SAMPLING
                )
                took_s[count] += time.process_time() - started
                kept.extend((best(one, form), form) for one in answers)
            answers = model.generate(ids, max_tokens=250, seed=1, **SAMPLING)
            free.extend((answer.text, form) for answer in answers)
    written = {"written" if count == drafts else f"drafts_{count}": rows for count, rows in held.items()}
    shares = {name: verse_shares(rows) for name, rows in {"real": real, **written, "free": free}.items()}
    gap = {
        rule: shares["written"]["all"][rule] - shares["real"]["all"][rule]
        for rule in ("lines", "lengths", "rhyme", "tones", "right")
    }
    speed = {str(count): 1000 * seconds / len(some) for count, seconds in took_s.items()}
    texts = [text for text, _ in held[drafts]]
    return {"rules": shares, "written_less_real": gap, "cpu_ms_a_poem": speed, "written": texts}


def best(answers: Generation | Sequence[Generation], form: str) -> str:
    """The draft that users get."""
    rows = answers if isinstance(answers, Sequence) else [answers]
    (at,) = keep(
        len(rows), poem_mark(form), [one.text for one in rows], [one.finish == "stop" for one in rows]
    )
    return rows[at].text


def copied(written: Sequence[str], held_out: Sequence[dict[str, str]], poems: Path) -> dict[str, Any]:
    """How long the longest verbatim runs are, of written poems and of real ones that were held out."""
    found = {}
    real = [parse(entry["text"])[2] for entry in held_out]
    for name, bodies in (("written", written), ("real", real)):
        texts = ((e["source"], parse(e["text"])[2]) for e in read_records(poems / "train.jsonl"))
        runs = longest_runs(list(bodies), texts)
        lengths = np.array([run.length for run in runs])
        top = max(runs, key=lambda run: run.length)
        found[name] = {
            "median": float(np.median(lengths)),
            "p95": float(np.quantile(lengths, 0.95)),
            "longest": int(lengths.max()),
            "longest_text": top.text,
            "longest_source": top.source,
            "share_over_12": float((lengths > 12).mean()),
        }
    return found


def ngram(model: Model, texts: Sequence[str], poems: Path) -> dict[str, Any]:
    """The interpolated 5-gram on the same ids: as the model sees poems, and of bodies alone."""
    shards = open_shards(poems / "train_all", model.tokenizer.hash)
    train = np.split(shards.take(np.arange(shards.n_tokens)), shards.starts[1:])
    _, found = baseline(train, texts, model.tokenizer)
    alone = baseline_of_bodies(train, texts, model.tokenizer)
    return {"body_in_layout": found.body.facts(), "whole": found.whole.facts(), "body_alone": alone.facts()}


if __name__ == "__main__":
    main()

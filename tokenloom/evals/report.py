"""The report of a training run: what it was made of, how it went, how good it is, what it cost.

Not the evaluation: scores are read from the run's evals.jsonl, which `loom eval` writes. A part that the run
has no figures for is left out. `write_report` leaves report.md with its pictures, report.html, which holds
them, and the scores in the model's card.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenloom.config import put_text
from tokenloom.data.manifest import MANIFEST, BadShards, read_manifest
from tokenloom.evals import ledger, plot
from tokenloom.evals.card import Facts, cell, number, plain, reach, slug, split_head, write_card
from tokenloom.evals.page import page
from tokenloom.train.record import RECIPE, Run, read_run

SAMPLES = 12
"""Texts shown at most."""
CURVES = (
    ("loss.svg", "Loss in nats per token", ("loss", "eval.held_out_loss")),
    ("bits.svg", "Bits per byte", ("eval.bits_per_byte", "eval.watched_bits_per_byte")),
    ("rate.svg", "Learning rate", ("lr",)),
    ("speed.svg", "Tokens per second", ("tok_s",)),
)
NAMES = {
    "loss": "training",
    "eval.held_out_loss": "held out",
    "eval.bits_per_byte": "held out",
    "eval.watched_bits_per_byte": "general text",
    "lr": "learning rate",
    "tok_s": "tokens/s",
}


@dataclass(frozen=True)
class Report:
    """One page, and the pictures it shows."""

    title: str
    markdown: str
    figures: Mapping[str, str]
    """File name -> SVG."""

    def html(self) -> str:
        return page(self.markdown, self.figures, self.title)


def write_report(
    folder: Path, *, facts: Facts = Facts(), extra: Sequence[Mapping[str, Any]] = ()
) -> tuple[Report, list[Path]]:
    """Writes the report of the run in `folder`; returns it and the files written.

    facts: for the model's card; a licence in the recipe counts where none is given. extra: lines like those
    of evals.jsonl that are elsewhere. ValueError where the folder is no run or evals.jsonl is damaged.
    """
    run = read_run(folder)
    lines = [*ledger.read(folder / ledger.EVALS), *extra]
    licence = facts.licence or str(run.recipe.get("licence", ""))
    facts = Facts(licence, facts.languages, facts.datasets or _names(run, "train"))
    written = []
    for model in _models(run):
        write_card(model, str(run.recipe.get("name", run.name)), facts, scores(lines))
        written.append(model / "README.md")
    report = build(run, lines, facts)
    for name, text in {
        **report.figures,
        "report.md": report.markdown,
        "report.html": report.html(),
    }.items():
        written.append(folder / name)
        (folder / name).parent.mkdir(exist_ok=True)
        put_text(folder / name, text)
    return report, written


def build(run: Run, lines: Sequence[Mapping[str, Any]], facts: Facts = Facts()) -> Report:
    """The report of a run with these evaluations."""
    figures = {name: svg for name, title, keys in CURVES if (svg := _figure(run, title, keys)) is not None}
    title = str(run.recipe.get("name", run.name))
    parts = [
        ("", _head(run, title)),
        ("Data", _data(run)),
        ("Curves", "\n\n".join(f"![{_title(name)}](figures/{name})" for name in figures)),
        ("Scores", _score_table(scores(lines))),
        ("What was forgotten", _forgetting(run)),
        ("Samples", _samples(run, lines)),
        ("Cost", _cost(run)),
        ("Licence", _licence(run, facts)),
        ("Model card", _cards(run)),
        ("To make it again", _again(run)),
        ("Damaged lines", "\n".join(f"- {plain(f'{bad.place}: {bad.why}')}" for bad in run.damaged)),
    ]
    text = "\n".join(
        f"## {heading}\n\n{body}\n" if heading else f"{body}\n" for heading, body in parts if body
    )
    return Report(title, text, {f"figures/{name}": svg for name, svg in figures.items()})


def scores(lines: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """All scores of the evaluations; of one score the last time it was measured."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for line in lines:
        for row in line.get("scores") or []:
            if isinstance(row, Mapping) and {"set", "metric", "value"} <= set(row):
                found[str(row["set"]), str(row["metric"])] = dict(row)
    return list(found.values())


def _title(figure: str) -> str:
    return next(title for name, title, _ in CURVES if name == figure)


def _figure(run: Run, title: str, keys: Sequence[str]) -> str | None:
    curves = {NAMES[key]: points for key in keys if len(points := run.curve(key)) > 1}
    return plot.svg_curve(curves, title) if curves else None


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]], right: Sequence[int] = ()) -> str:
    """A Markdown table; columns numbered in `right` stand to the right. Nothing for no rows."""
    if not rows:
        return ""
    rule = ["---:" if at in right else "---" for at in range(len(head))]
    return "\n".join(f"| {' | '.join(map(cell, row))} |" for row in (head, rule, *rows))


def _head(run: Run, title: str) -> str:
    recipe, model = run.recipe, _part(run, "model")
    about = str(recipe.get("about", ""))
    state = run.state + (f" ({run.why})" if run.why else "")
    rows = [("run", f"{run.name}: {state}")]
    if run.started:
        rows.append(("started", run.started.replace("T", " ")))
    rows.append(("objective", str(recipe.get("objective", "pretrain"))))
    if model.get("start"):
        rows.append(("starts from", str(model["start"])))
    rank = _part(run, "lora").get("rank")
    if rank:
        rows.append(("LoRA", f"rank {rank}"))
    if run.lines:
        rows.append(("steps", f"{run.step:,}"))
    for name, key in (("loss at the end", "loss"), ("held-out loss", "eval.held_out_loss")):
        if (value := run.last(key)) is not None:
            rows.append((name, f"{value:.4f} nats per token"))
    if (value := run.last("eval.bits_per_byte")) is not None:
        rows.append(("held-out text", f"{value:.4f} bits per byte"))
    return f"# {plain(title)}\n\n{plain(about) + chr(10) * 2 if about else ''}{_table(('', ''), rows)}"


def _part(run: Run, name: str) -> Mapping[str, Any]:
    found = run.recipe.get(name)
    return found if isinstance(found, Mapping) else {}


def _paths(run: Run, key: str) -> list[str]:
    found = _part(run, "data").get(key) or []
    return [found] if isinstance(found, str) else [str(path) for path in found]


def _names(run: Run, key: str) -> list[str]:
    return [slug(Path(path).name) for path in _paths(run, key)]


def _data(run: Run) -> str:
    rows = []
    for use, key in (("training", "train"), ("held out", "held_out"), ("watched", "watch")):
        rows += [(use, path, *_counts(Path(path))) for path in _paths(run, key)]
    head = ("use", "set", "documents", "tokens", "bytes", "bytes per token", "what its manifest says")
    return _table(head, rows, (2, 3, 4, 5))


def _counts(folder: Path) -> tuple[str, ...]:
    """Documents, tokens, bytes, bytes per token, and the rest, of a folder of shards."""
    if not (folder / MANIFEST).is_file():
        return ("", "", "", "", "no shards lie here")
    try:
        found = read_manifest(folder / MANIFEST)
    except BadShards as error:
        return ("", "", "", "", f"damaged: {error}")
    about = [f"{key}: {value}" for key, value in found["about"].items()]
    about.append(f"tokenizer {found['tokenizer_hash'][:12]}")
    ratio = f"{found['bytes'] / found['tokens']:.2f}" if found["tokens"] else ""
    counts = (f"{found[key]:,}" for key in ("documents", "tokens", "bytes"))
    return (*counts, ratio, "; ".join(about))


def _score_table(rows: Sequence[Mapping[str, Any]]) -> str:
    cells = [
        (
            row["set"],
            row["metric"],
            number(row["value"]),
            reach(row),
            row.get("n", ""),
            row.get("settings", ""),
        )
        for row in rows
    ]
    table = _table(("measured on", "score", "value", "95 % interval", "of", "settings"), cells, (2, 4))
    note = "Intervals are by drawing documents or answers anew, or from the harness's standard error."
    return f"{table}\n\n{note}" if table else ""


def _forgetting(run: Run) -> str:
    before = next((line["watched"] for line in run.lines if isinstance(line.get("watched"), Mapping)), None)
    after = run.last("eval.watched_bits_per_byte")
    if before is None and _part(run, "data").get("watch_tokens") == 0 and _part(run, "model").get("start"):
        return "It was not measured: the recipe's `data.watch_tokens` is 0."
    if before is None or after is None or not isinstance(before.get("bits_per_byte"), int | float):
        return ""
    start = float(before["bits_per_byte"])
    text = str(before.get("text", "text that the run was not made for"))
    change = f"{(after / start - 1) * 100:+.2f} %" if start else ""
    rows = [(text, f"{start:.4f}", f"{after:.4f}", change)]
    head = ("text", "bits per byte before", "after", "change")
    return (
        _table(head, rows, (1, 2, 3)) + "\n\nMore bits per byte than before are what the training took away."
    )


def _samples(run: Run, lines: Sequence[Mapping[str, Any]]) -> str:
    """The last texts of the training, then those of the evaluations."""
    trained = next((line for line in reversed(run.lines) if line.get("samples")), None)
    found = [("step " + str(trained["step"]), one) for one in trained["samples"]] if trained else []
    for line in lines:
        found += [(plain(str(line.get("what", "eval"))), one) for one in line.get("samples") or []]
    blocks = []
    for where, one in found[:SAMPLES]:
        if isinstance(one, Mapping) and "text" in one:
            prompt, text = code(str(one.get("prompt", ""))), code(str(one["text"]))
            blocks.append(f"After the prompt ({where}):\n\n{prompt}\n\nthe model wrote:\n\n{text}")
    if not blocks:
        return ""
    return "Written by the model, not chosen and not changed.\n\n" + "\n\n".join(blocks)


def code(text: str) -> str:
    """A text as a block of code that it cannot end itself."""
    longest = max((len(run) for run in _ticks(text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{text}\n{fence}"


def _ticks(text: str) -> list[str]:
    return re.findall("`+", text)


def _cost(run: Run) -> str:
    rows = []
    seconds, tokens = run.last("seconds"), run.last("tokens")
    if seconds is not None:
        rows.append(("time", _time(seconds)))
    if tokens is not None:
        rows.append(("tokens", f"{tokens:,.0f}"))
    if seconds and tokens:
        rows.append(("speed", f"{tokens / seconds:,.0f} tokens a second"))
    machine = run.environment
    if machine.get("cpu"):
        gpus = [str(gpu) for gpu in machine.get("gpu") or []]
        rows.append(("machine", ", ".join([f"{machine['cpu']}, {machine.get('cores', '?')} cores", *gpus])))
    table = _table(("", ""), rows)
    return f"{table}\n\nEnergy was not measured." if table else ""


def _time(seconds: float) -> str:
    hours, rest = divmod(round(seconds), 3600)
    minutes, left = divmod(rest, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {left} s"


def _licence(run: Run, facts: Facts) -> str:
    if not facts.licence:
        return ""
    text = f"The model's licence: {plain(facts.licence)}."
    return text + (f" Its data: {plain(', '.join(facts.datasets))}." if facts.datasets else "")


def _models(run: Run) -> list[Path]:
    return [run.path / name for name in ("model", "adapter") if (run.path / name).is_dir()]


def _cards(run: Run) -> str:
    cards = []
    for folder in _models(run):
        if (folder / "README.md").is_file():
            head, body = split_head((folder / "README.md").read_text("utf-8"))
            cards.append(
                f"`{folder.name}/README.md`:\n\n{code(f'---{chr(10)}{head}{chr(10)}---{chr(10)}{body.rstrip()}')}"
            )
    return "\n\n".join(cards)


def _again(run: Run) -> str:
    rows = []
    machine = run.environment
    if isinstance(command := machine.get("command"), list):
        rows.append(("command", " ".join(map(str, command))))
    if isinstance(git := machine.get("git"), Mapping):
        changed = ", with changes of its own" if git.get("dirty") else ""
        rows.append(("code", f"commit {git.get('commit')}{changed}"))
    if isinstance(packages := machine.get("packages"), Mapping):
        rows.append(("packages", ", ".join(f"{name} {version}" for name, version in packages.items())))
    recipe = (run.path / RECIPE).read_text("utf-8").rstrip()
    return f"{_table(('', ''), rows)}\n\nThe recipe:\n\n{code(recipe)}".lstrip()

"""`loom eval` and `loom report`: how good a model is, and a page that says so."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tokenloom.cli.runs import Name, Root

if TYPE_CHECKING:
    from tokenloom.evals.ask import Progress
    from tokenloom.evals.suite import Findings

Model = Annotated[
    str,
    typer.Argument(
        help="A model's name, folder or .gguf file; or, for what it made, a training's folder, its whole "
        "name in `loom runs`, or `latest`."
    ),
]


def evaluate(
    model: Model,
    text: Annotated[
        list[str] | None,
        typer.Option(
            help="Bits per byte and perplexity of these texts: files, folders, or shards. May be repeated.",
            show_default=False,
        ),
    ] = None,
    text_field: Annotated[
        str, typer.Option("--field", help="Where a table or JSON lines hold the text.")
    ] = "text",
    task: Annotated[
        list[str] | None,
        typer.Option(help="A task of lm-evaluation-harness. May be repeated.", show_default=False),
    ] = None,
    include: Annotated[
        Path | None, typer.Option(help="A folder with tasks of your own, as YAML.", show_default=False)
    ] = None,
    shots: Annotated[
        int | None,
        typer.Option(help="Examples before each question; else as the task says.", show_default=False, min=0),
    ] = None,
    answers: Annotated[
        Path | None,
        typer.Option(
            help="Questions to be answered: JSON lines with prompt or messages, and reference.",
            show_default=False,
        ),
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(
            help="What compares answers with references: bleu, chrf, rouge, squad. May be repeated.",
            show_default=False,
        ),
    ] = None,
    training: Annotated[
        list[str] | None,
        typer.Option(
            help="Training texts in which the longest copied run of each answer is sought. May be repeated.",
            show_default=False,
        ),
    ] = None,
    code: Annotated[
        Path | None,
        typer.Option(
            help="Programming problems in HumanEval's form. What the model writes is run, in a sandbox.",
            show_default=False,
        ),
    ] = None,
    samples: Annotated[int, typer.Option(help="Programs written for each problem.", min=1)] = 1,
    k: Annotated[
        list[int] | None,
        typer.Option(help="pass@k of this k; 1 unless given. May be repeated.", show_default=False, min=1),
    ] = None,
    window: Annotated[
        int | None,
        typer.Option(help="Tokens seen at once; else 1,024 or the model's context.", show_default=False),
    ] = None,
    stride: Annotated[
        int | None,
        typer.Option(help="New tokens in each window; else half of it. Fewer: slower.", show_default=False),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(help="Only so many texts or questions of each set.", show_default=False, min=1),
    ] = None,
    max_tokens: Annotated[int, typer.Option(help="Tokens of an answer at most.", min=1)] = 256,
    stop: Annotated[
        list[str] | None,
        typer.Option(help="A text that ends an answer. May be repeated.", show_default=False),
    ] = None,
    temperature: Annotated[float, typer.Option(help="0 takes the likeliest token always.", min=0)] = 0.0,
    chat: Annotated[
        bool, typer.Option("--chat", help="Ask through the model's chat template, as a user would.")
    ] = False,
    adapter: Annotated[
        Path | None, typer.Option(help="A LoRA adapter to put on the model.", show_default=False)
    ] = None,
    dtype: Annotated[
        str, typer.Option(help="auto is the fast path; float32, bfloat16, float16 take PyTorch.")
    ] = "auto",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    seed: Annotated[int, typer.Option(help="Of what is drawn.")] = 0,
    ledger: Annotated[Path, typer.Option(help="The result is appended to this file.")] = Path("ledger.jsonl"),
    as_json: Annotated[bool, typer.Option("--json", help="Only one JSON object.")] = False,
) -> None:
    """Measure how good a model is: on texts, tasks, questions with references, and programming problems.

    Every score comes with a 95 % interval. The result is one line in the ledger; a training's own folder gets
    it too, and `loom report` shows it.
    """
    from tokenloom.evals.suite import Asked, measure

    asked = Asked(
        text=text or (),
        field=text_field,
        task=task or (),
        include=include,
        shots=shots,
        answers=answers,
        metric=metric or (),
        training=training or (),
        code=code,
        samples=samples,
        k=k or (1,),
        window=window,
        stride=stride,
        limit=limit,
        max_tokens=max_tokens,
        stop=stop or (),
        temperature=temperature,
        chat=chat,
        seed=seed,
    )
    if not (asked.text or asked.task or asked.answers or asked.code):
        raise ValueError(
            "nothing to measure: name --text, --task, --answers or --code; see `loom eval --help`"
        )
    for option, needed in (("metric", asked.metric), ("training", asked.training)):
        if needed and asked.answers is None:
            raise ValueError(f"--{option} is about answers; name the questions with --answers")
    place = _resolve(model, adapter)
    started = time.perf_counter()
    from tokenloom.evals.open import open_model

    with open_model(place.model, dtype=dtype, device=device, adapter=place.adapter) as opened:
        found = measure(opened, asked, _bar)
    facts = {
        "model": {"name": opened.name, "file": opened.path.name, "dtype": dtype, "device": device},
        **({"adapter": str(place.adapter)} if place.adapter else {}),
        "seconds": round(time.perf_counter() - started, 1),
        "settings": {key: str(v) if isinstance(v, Path) else v for key, v in vars(asked).items() if v},
        "scores": found.scores,
        "samples": found.samples,
    }
    _tell(found, _note(ledger, place.run, facts), as_json)


def report(
    run: Name,
    root: Root = None,
    licence: Annotated[
        str, typer.Option(help="The model's, by the Hub's short name; else the recipe's.", show_default=False)
    ] = "",
    language: Annotated[
        list[str] | None,
        typer.Option(help="A language the model writes, such as en. May be repeated.", show_default=False),
    ] = None,
    dataset: Annotated[
        list[str] | None,
        typer.Option(
            help="A data set for the model's card; else the recipe's. May be repeated.", show_default=False
        ),
    ] = None,
) -> None:
    """Write a training's report: one page as Markdown and as HTML, and the scores into the model's card."""
    from tokenloom.evals.card import Facts
    from tokenloom.evals.report import write_report
    from tokenloom.train.record import find_run

    folder = find_run(run, root)
    facts = Facts(licence, tuple(language or ()), tuple(dataset or ()))
    made, written = write_report(folder, facts=facts)
    for path in written:
        if path.suffix in (".html", ".md"):
            typer.echo(str(path))
    if "## Licence" not in made.markdown:
        typer.echo("The model has no licence; --licence or the recipe's licence names one.", err=True)
    if "## Scores" not in made.markdown:
        typer.echo(f"There are no scores yet; `loom eval {folder}` measures some.", err=True)


@dataclass(frozen=True)
class Place:
    """The model, its adapter, and the run they came from."""

    model: str
    adapter: Path | None = None
    run: Path | None = None


def _resolve(name: str, adapter: Path | None) -> Place:
    """A training stands for its model, or for the base with the adapter that it made."""
    from tokenloom.train.record import find_run, runs_home

    listed = name == "latest" or (runs_home() / name / "recipe.toml").is_file()
    folder = find_run(name) if listed and not Path(name).exists() else Path(name)
    if (folder / "recipe.toml").is_file():
        if (folder / "model").is_dir():
            return Place(str(folder / "model"), adapter, folder)
        if (folder / "adapter").is_dir():
            from tokenloom.train.record import read_run

            start = read_run(folder).recipe.get("model", {}).get("start", "")
            if not start:
                raise ValueError(f"model: {folder} has an adapter, but its recipe names no model.start")
            return Place(str(start), adapter or folder / "adapter", folder)
        raise ValueError(f"model: {folder} has made no model yet; `loom train {folder} --resume` goes on")
    parent = folder.parent
    inside = folder.is_dir() and (parent / "recipe.toml").is_file() and folder.name in ("model", "adapter")
    return Place(name, adapter, parent if inside else None)


@contextmanager
def _bar(title: str) -> Iterator[Progress]:
    """A bar on stderr while something long goes on; nothing where that is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}"))
    with Progress(
        *columns, TimeRemainingColumn(), console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _note(ledger: Path, run: Path | None, facts: Mapping[str, Any]) -> dict[str, Any]:
    """One line in the ledger, and in the run's own folder."""
    from tokenloom.bench.compare import commit, machine
    from tokenloom.evals import ledger as lines
    from tokenloom.version import __version__

    whole = {"version": __version__, "commit": commit(), "machine": machine(), **facts}
    if run is not None:
        lines.append(run / lines.EVALS, "eval", whole)
    return lines.append(ledger, "eval", whole)


def _tell(found: Findings, line: Mapping[str, Any], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(line, ensure_ascii=False))
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from tokenloom.evals.card import number, reach

    table = Table(box=None, pad_edge=False)
    for title in ("measured on", "score", "value", "95 % interval", "of"):
        table.add_column(title, justify="right" if title in ("value", "of") else "left", overflow="fold")
    for row in found.scores:
        table.add_row(
            escape(str(row["set"])),
            str(row["metric"]),
            number(row["value"]),
            reach(row),
            str(row.get("n", "")),
        )
    console = Console()
    console.print(table)
    for note in found.notes:
        console.print(note, markup=False, highlight=False)

"""The data of the models trained here: `loom data poems`, `docstrings` and `docstring-scores`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tokenloom.cli.runs import Name, Root

if TYPE_CHECKING:
    from rich.progress import Progress


def docstrings(
    out: Annotated[Path, typer.Argument(help="The folder to write train.jsonl and heldout.jsonl to.")],
    source: Annotated[
        Path | None,
        typer.Option(
            help="A folder of Python files; when not given the standard library of this Python.",
            show_default=False,
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the counts as JSON.")] = False,
) -> None:
    """Make conversations that ask for a function's docstring, out of Python files, split by module.

    A module's functions are all in train.jsonl or all in heldout.jsonl. Nothing is run or imported.
    """
    import json

    from tokenloom.data.docstrings import write_docstrings

    with _bar() as bar:
        task = bar.add_task("reading files", total=None)
        about = write_docstrings(
            out, source, progress=lambda done, of: bar.update(task, completed=done, total=of)
        )
    if as_json:
        typer.echo(json.dumps(about, ensure_ascii=False))
        return
    for name, count in about["examples"].items():
        typer.echo(f"{out / name}.jsonl: {count:,} functions of {about['modules'][name]:,} modules")
    told = "; ".join(f"{count:,} {reason}" for reason, count in about["dropped"].items())
    typer.echo(f"Left out: {told or 'nothing'}.")


def poems(
    package: Annotated[
        Path,
        typer.Argument(help="The npm package chinese-poetry 2.0.1, unpacked: npm pack chinese-poetry@2.0.1"),
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="The folder of sets, tokenizer and token ids.")
    ] = Path("poems"),
    as_json: Annotated[bool, typer.Option("--json", help="Print the counts as JSON.")] = False,
) -> None:
    """Make the poet's training set: Tang and Song verse, cleaned, named by form, split, as token ids.

    Takes a few minutes. `loom train poet` trains on what it writes.
    """
    import json

    from tokenloom.data.poem_set import write_poems

    if not package.is_dir():
        raise ValueError(f"package: nothing at {package}; allowed: the unpacked folder of chinese-poetry")
    with _bar() as bar:
        task = bar.add_task("reading poems", total=None)
        about = write_poems(
            package, out, progress=lambda done, of: bar.update(task, completed=done, total=of)
        )
    if as_json:
        typer.echo(json.dumps(about, ensure_ascii=False))
        return
    kept = about["poems"]
    typer.echo(f"{kept['train']:,} poems to learn, {kept['heldout']:,} held out; in {out}")


def docstring_scores(
    run: Name,
    held_out: Annotated[
        list[str] | None,
        typer.Option(
            help="A file of held-out conversations; may be given again. When not given the run's own.",
            show_default=False,
        ),
    ] = None,
    root: Root = None,
    n: Annotated[int, typer.Option("-n", help="How many functions to ask for.", min=1)] = 60,
    max_tokens: Annotated[int, typer.Option(help="Tokens of one answer at most.", min=1)] = 128,
    as_json: Annotated[bool, typer.Option("--json", help="Print the scores as JSON.")] = False,
) -> None:
    """Ask for docstrings of held-out functions before and after a fine-tune, and score both.

    The scores go to scores.json, every answer to examples.json in the run's folder, and both to its report.
    """
    import json

    from rich.console import Console
    from rich.table import Table

    from tokenloom.evals.finetune import score_docstrings
    from tokenloom.train.record import find_run

    place = find_run(run, root)
    with _bar() as bar:
        tasks = {name: bar.add_task(f"answers {name}", total=None) for name in ("before", "after")}
        found = score_docstrings(
            place,
            held_out or (),
            n=n,
            max_tokens=max_tokens,
            progress=lambda name, done, of: bar.update(tasks[name], completed=done, total=of),
        )
    if as_json:
        typer.echo(json.dumps([change.facts() for change in found.changes], ensure_ascii=False))
        return
    table = Table(box=None, pad_edge=False)
    for title in ("score", "before", "after", "change", "95 % interval", "authors"):
        table.add_column(title, justify="left" if title == "score" else "right")
    for one in found.changes:
        low, high = one.change.low, one.change.high
        reach = "" if low is None or high is None else f"{low:+.3g} to {high:+.3g}"
        authors = "" if one.reference is None else f"{one.reference:.3g}"
        cells = (f"{one.before.value:.3g}", f"{one.after.value:.3g}", f"{one.change.value:+.3g}")
        table.add_row(one.name, *cells, reach, authors)
    Console().print(table)
    typer.echo(f"{found.changes[0].change.n} functions; written: {', '.join(map(str, found.files))}")


def _bar() -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)

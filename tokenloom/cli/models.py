"""`loom pull`, `models`, `remove`, `verify`: what is on this machine, and what a file says of itself."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from tokenloom.hub import Found


def pull(
    name: Annotated[
        str,
        typer.Argument(
            help="A name from `loom models`; a Hub repository as org/name (org/name@revision, "
            "org/name:Q4_K_M, org/name:file.gguf); or a local folder or .gguf file, which stays where it is."
        ),
    ],
    alias: Annotated[
        str | None, typer.Option("--name", help="The name for a local folder or file.", show_default=False)
    ] = None,
    quiet_if_present: Annotated[
        bool, typer.Option("--quiet-if-present", help="Say nothing when the model is here already.")
    ] = False,
) -> None:
    """Fetch a model, checked against its hash. An interrupted pull goes on where it stopped."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    from tokenloom import hub

    if quiet_if_present and any(f.name == name for f in [*hub.installed(), *hub.recognisers()]):
        return
    console = Console(stderr=True)
    quiet = not console.is_terminal
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True, disable=quiet) as bar:
        task = bar.add_task(name, total=None)
        found = hub.pull(name, lambda done, total: bar.update(task, completed=done, total=total), alias)
    typer.echo(f"{found.name} is ready: {found.path} ({_mb(hub.disk_use(found))})")


def models(
    everything: Annotated[
        bool, typer.Option("--all/--installed", help="Also the catalogue's models that are not here.")
    ] = True,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, one object a line.")] = False,
) -> None:
    """List the models: size, licence, context, abilities, languages, disk use."""
    import json

    from tokenloom import hub

    found = {f.name: f for f in [*hub.installed(), *hub.recognisers(), *hub.shipped()]}
    names = list(found) + [n for n in hub.catalogue() if everything and n not in found]
    if as_json:
        for name in names:
            typer.echo(json.dumps(_model_facts(name, found.get(name)), ensure_ascii=False))
        return
    if not names:
        typer.echo("No model is installed; `loom models --all` lists those that can be pulled.")
        return
    from rich.console import Console

    console = Console()
    console.print(_models_table(names, found))
    for name, why in ((n, _slower(found[n])) for n in names if n in found):
        if why:
            console.print(f"{name}: PyTorch answers, slower on a CPU, for it needs {why}.", highlight=False)
    if any(n not in found for n in names):
        console.print(
            "`loom pull NAME` fetches one; any Hub repository: `loom pull org/name`.", highlight=False
        )


def _model_facts(name: str, found: Found | None) -> dict[str, object]:
    from tokenloom import hub
    from tokenloom.hub.card import card_of

    entry = hub.catalogue().get(name)
    facts: dict[str, object] = {"name": name, "installed": found is not None}
    if entry:
        facts |= {"params": entry.params, "size": entry.size, "licence": entry.licence}
        facts |= {"context": entry.context, "abilities": entry.abilities, "languages": entry.languages}
        facts |= {"summary": entry.summary}
    elif found:
        card = card_of(found.path)
        facts |= {"licence": card.licence, "context": card.context}
        facts |= {"abilities": card.abilities, "languages": card.languages}
    if found:
        facts |= {"disk_use": hub.disk_use(found), "path": str(found.path), "kind": found.kind}
        facts |= {"not_native": _slower(found)}
    return facts


def _slower(found: Found) -> str | None:
    """What keeps the native step from running a model; None where it runs it, or is not asked to."""
    if found.kind == "ctranslate2":
        return None
    from tokenloom.native.open import NotNative, inspect

    try:
        inspect(found.path)
    except (NotNative, ValueError, OSError) as error:
        return str(error)
    return None


def _models_table(names: list[str], found: dict[str, Found]) -> Table:
    from rich.table import Table

    from tokenloom import hub
    from tokenloom.hub.card import card_of

    table = Table(box=None, pad_edge=False)
    for title in ("name", "size", "on disk", "licence", "context", "abilities", "languages"):
        table.add_column(title, justify="right" if title in ("size", "on disk", "context") else "left")
    for name in names:
        entry = hub.catalogue().get(name)
        here = _mb(hub.disk_use(found[name])) if name in found else "-"
        if entry:
            facts = [_mb(entry.size), here, entry.licence, f"{entry.context:,}"]
            facts += [", ".join(entry.abilities), ", ".join(entry.languages)]
        else:
            card = card_of(found[name].path)
            facts = [here, here, card.licence or "not stated", f"{card.context:,}" if card.context else ""]
            facts += [", ".join(card.abilities), ", ".join(card.languages)]
        table.add_row(name, *facts, style="" if name in found else "dim")
    return table


def remove(name: Annotated[str, typer.Argument(help="The model's name, as `loom models` shows it.")]) -> None:
    """Delete a model from this machine. A registered local folder or file is only forgotten."""
    from tokenloom import hub

    freed = hub.remove(name)
    typer.echo(f"{name} was removed; {_mb(freed)} freed")


def verify(
    file: Annotated[
        Path,
        typer.Argument(
            help="A picture (PNG, WebP, JPEG, SVG), a sound (WAV, FLAC, OGG, MP3), a score (MIDI, ABC), or a "
            "text (Markdown, JSON, plain)."
        ),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="As one JSON object.")] = False,
) -> None:
    """Read the labels of a file that say it is AI-generated. Exit status 1: none, or not in order."""
    import json

    from tokenloom import trust

    report = trust.verify(file)
    if as_json:
        hidden = [
            {"where": f.where, "problem": f.problem, "AIGC": f.label.fields() if f.label else None}
            for f in report.hidden
        ]
        facts = {"ok": report.ok, "kind": report.kind, "visible": report.visible, "content": report.content}
        typer.echo(json.dumps({**facts, "hidden": hidden}, ensure_ascii=False))
    else:
        for line in report.lines():
            typer.echo(line)
    if not report.ok:
        raise typer.Exit(1)


def _mb(size: int) -> str:
    return f"{size / 1e6:,.0f} MB" if size >= 1e6 else f"{size / 1e3:,.0f} kB"

"""`loom runs`: the trainings there are, one of them in full, and two beside each other."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from tokenloom.train.record import BadLine, Run

app = typer.Typer(help="List trainings, show one, compare two.", invoke_without_command=True)

Root = Annotated[
    Path | None,
    typer.Option(help="Where runs lie; without it the home's folder runs.", show_default=False),
]
Name = Annotated[
    str,
    typer.Argument(help="A run as `loom runs` lists it, the start of its name, its folder, or `latest`."),
]
MARKS = (0.1, 0.25, 0.5, 0.75, 1.0)
"""Shares of the shorter run's steps at which two curves are compared."""
SMOOTH = 0.02
"""Share of a curve's points that a compared value is the mean of."""
TRANSFORMERS = ("pretrain", "sft")
"""Objectives of which the section model says what is trained."""
OTHERS = {"codec": "picture codec", "match": "picture judge"}
"""What the other objectives train."""


@app.callback()
def runs(
    context: typer.Context,
    root: Root = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, one object a line.")] = False,
) -> None:
    """List the trainings, the newest first: model, step, loss, speed, how each stands."""
    if context.invoked_subcommand is not None:
        return
    from tokenloom.train.record import list_runs, runs_home

    found = list_runs(root)
    if as_json:
        for run in found:
            typer.echo(json.dumps(_facts(run), ensure_ascii=False))
        return
    if not found:
        typer.echo(f"There is no run in {root or runs_home()}; `loom train RECIPE` makes one.")
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column("name", no_wrap=True, overflow="fold")
    for title in ("model", "step", "loss", "tok/s", "state", "when"):
        table.add_column(title, justify="right" if title in ("step", "loss", "tok/s") else "left")
    for run in found:
        facts = _facts(run)
        loss, speed = facts["loss"], facts["tok_s"]
        table.add_row(
            run.name,
            escape(facts["model"]),
            f"{run.step:,}",
            "" if loss is None else f"{loss:.4f}",
            "" if speed is None else f"{speed:,.0f}",
            run.state,
            run.started[:16].replace("T", " "),
        )
    Console().print(table)
    for run in found:
        _tell_damage(run.damaged)


@app.command()
def show(
    run: Name,
    root: Root = None,
    png: Annotated[
        Path | None, typer.Option(help="Also draw the curve into this PNG file.", show_default=False)
    ] = None,
    key: Annotated[
        list[str] | None,
        typer.Option(
            help="What to draw instead of the loss, such as lr or eval.held_out_loss.", show_default=False
        ),
    ] = None,
) -> None:
    """Show one training: how it stands, on what it ran, and its loss curve."""
    from tokenloom.train.record import find_run, read_run

    found = read_run(find_run(run, root))
    facts = _facts(found)
    why = f" ({found.why})" if found.why else ""
    typer.echo(f"{found.name}: {found.state}{why}, step {found.step:,}")
    typer.echo(f"folder   {found.path}")
    typer.echo(f"model    {facts['model']}")
    typer.echo(f"started  {found.started.replace('T', ' ')}, last heard of {found.updated.replace('T', ' ')}")
    for line in _ran_on(found.environment):
        typer.echo(line)
    told = [(name, found.last(name)) for name in ("loss", "lr", "grad_norm", "tok_s", "tokens", "seconds")]
    told += [(f"eval.{name}", found.last(f"eval.{name}")) for name in _evals(found)]
    typer.echo(
        "last     " + ", ".join(f"{name} {_number(value)}" for name, value in told if value is not None)
    )
    curves = {name: points for name in _keys(found, key) if len(points := found.curve(name)) > 1}
    if curves:
        _draw(curves, f"{found.name}: {', '.join(curves)}", png)
    elif png is not None:
        raise ValueError(f"png: {found.name} has no curve of {', '.join(_keys(found, key))} to draw")
    _tell_damage(found.damaged)


@app.command()
def compare(
    first: Name,
    second: Name,
    root: Root = None,
    png: Annotated[
        Path | None, typer.Option(help="Also draw both curves into this PNG file.", show_default=False)
    ] = None,
) -> None:
    """Show two trainings beside each other: what differs in recipe and environment, and both loss curves."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from tokenloom.train.record import find_run, read_run

    a, b = (read_run(find_run(name, root)) for name in (first, second))
    table = Table("", a.name, b.name, box=None, pad_edge=False)
    for name, left, right in [*_differences(a, b), *_marks(a, b)]:
        table.add_row(name, escape(left), escape(right))
    Console().print(table)
    curves = {run.name: points for run in (a, b) if len(points := run.curve()) > 1}
    if curves:
        _draw(curves, "loss", png)
    _tell_damage([*a.damaged, *b.damaged])


def _facts(run: Run) -> dict[str, Any]:
    return {
        "name": run.name,
        "model": model_of(run.recipe),
        "step": run.step,
        "loss": run.last("loss"),
        "tok_s": run.last("tok_s"),
        "state": run.state,
        "why": run.why,
        "started": run.started,
        "path": str(run.path),
        "damaged": [bad.place for bad in run.damaged],
    }


def model_of(recipe: Mapping[str, Any]) -> str:
    """What a recipe trains, in a few words; empty where it does not say."""
    objective = str(recipe.get("objective", TRANSFORMERS[0]))
    if objective not in TRANSFORMERS:
        codec = recipe.get("codec")
        size = codec.get("size") if objective == "codec" and isinstance(codec, Mapping) else None
        return OTHERS.get(objective, objective) + (f" {size} px" if size else "")
    part = recipe.get("model")
    if not isinstance(part, Mapping):
        return ""
    if start := part.get("start"):
        return Path(str(start)).name
    layers = part.get("n_layer") or part.get("depth")
    sizes = "x".join(str(size) for size in (layers, part.get("dim")) if size)
    return " ".join(word for word in (str(part.get("family", "")), sizes) if word)


def _keys(run: Run, asked: list[str] | None) -> list[str]:
    """The curves to draw: those asked for, else the loss and the held-out one beside it."""
    return asked or ["loss", *(f"eval.{name}" for name in _evals(run) if "loss" in name)]


def _evals(run: Run) -> list[str]:
    """The names of what was evaluated."""
    names: dict[str, None] = {}
    for line in run.lines:
        if isinstance(found := line.get("eval"), Mapping):
            names |= dict.fromkeys(str(name) for name in found)
    return list(names)


def _ran_on(environment: Mapping[str, Any]) -> list[str]:
    packages = environment.get("packages")
    torch = packages.get("torch", "?") if isinstance(packages, Mapping) else "?"
    lines = []
    if environment:
        cpu, cores = environment.get("cpu", "?"), environment.get("cores", "?")
        lines.append(f"machine  {cpu}, {cores} cores, Python {environment.get('python', '?')}, torch {torch}")
    if isinstance(git := environment.get("git"), Mapping):
        changed = ", with changes of its own" if git.get("dirty") else ""
        lines.append(f"code     commit {str(git.get('commit', '?'))[:12]}{changed}")
    return lines


def _draw(curves: Mapping[str, list[tuple[float, float]]], title: str, png: Path | None) -> None:
    import shutil

    from tokenloom.evals.plot import save_curve, terminal_curve

    width = min(100, shutil.get_terminal_size((100, 24)).columns)
    typer.echo(terminal_curve(dict(curves), width, 18, title))
    if png is not None:
        save_curve(dict(curves), png, title)
        typer.echo(f"The curve is in {png}.")


def _flat(values: Mapping[str, Any], at: str = "") -> dict[str, str]:
    """Nested tables as key.key -> value."""
    found: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{at}{key}.")
        else:
            found[f"{at}{key}"] = json.dumps(value, ensure_ascii=False, default=str)
    return found


def _differences(a: Run, b: Run) -> list[tuple[str, str, str]]:
    """What the recipes, then the environments, say otherwise."""
    rows = []
    passing = {"time", "command"}
    for group, left, right in (
        ("", a.recipe, b.recipe),
        (
            "environment.",
            {key: value for key, value in a.environment.items() if key not in passing},
            {key: value for key, value in b.environment.items() if key not in passing},
        ),
    ):
        one, two = _flat(left), _flat(right)
        for key in dict.fromkeys((*one, *two)):
            if one.get(key) != two.get(key):
                rows.append((group + key, one.get(key, "-"), two.get(key, "-")))
    return rows


def _marks(a: Run, b: Run) -> list[tuple[str, str, str]]:
    """State, speed, last evaluation, and the smoothed loss at steps both runs have been at."""
    rows = [("state", a.state, b.state), ("step", f"{a.step:,}", f"{b.step:,}")]

    def row(name: str, left: float | None, right: float | None) -> None:
        one, two = ("-" if value is None else _number(value) for value in (left, right))
        rows.append((name, one, two))

    ours, theirs = a.curve(), b.curve()
    if ours and theirs:
        shorter = min(ours[-1][0], theirs[-1][0])
        for step in dict.fromkeys(round(shorter * share) for share in MARKS):
            row(f"loss at step {step:,}", value_at(ours, step), value_at(theirs, step))
    for name in dict.fromkeys((*_evals(a), *_evals(b))):
        row(f"eval.{name}", a.last(f"eval.{name}"), b.last(f"eval.{name}"))
    row("tok/s, median", _median(a.curve("tok_s")), _median(b.curve("tok_s")))
    return rows


def value_at(curve: list[tuple[float, float]], step: float) -> float | None:
    """The mean of a curve's points up to a step, as many as `SMOOTH` of the whole; None before its start."""
    before = [value for at, value in curve if at <= step]
    window = before[-max(1, round(SMOOTH * len(curve))) :]
    return sum(window) / len(window) if window else None


def _number(value: float) -> str:
    """Whole where it is large, five figures where it is not."""
    return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.5g}"


def _median(curve: list[tuple[float, float]]) -> float | None:
    from statistics import median

    return median(value for _, value in curve) if curve else None


def _tell_damage(damaged: Sequence[BadLine]) -> None:
    for bad in damaged:
        typer.echo(f"Damaged, and passed over: {bad.place}: {bad.why}", err=True)

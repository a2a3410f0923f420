"""`loom write --poem`: a poem instead of a continuation, by the model that is made for it."""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Callable, Set
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from tokenloom.api import Generation

POET, WRITER = "poet", "smollm2"

_POEM = Annotated[
    str | None,
    typer.Option(
        "--poem",
        help="Write a poem in classical Chinese instead: a title, a form or tune, or both, such as "
        '"春江花月夜 五言绝句".',
        show_default=False,
    ),
]
_ACROSTIC = Annotated[
    str | None,
    typer.Option(
        "--acrostic",
        help="With --poem: the characters that begin its clauses or lines, such as 春夏秋冬.",
        show_default=False,
    ),
]
_FIRST = Annotated[
    str | None,
    typer.Option("--first", help="With --poem: how it begins, such as 床前明月光.", show_default=False),
]


_DRAFTS = Annotated[
    int | None,
    typer.Option(
        "--drafts",
        help="With --poem: how many drafts of each poem are written side by side; the one that keeps most "
        "rules of its form is taken. 4 when not given; they take about twice as long as one, some hundredths "
        "of a second more.",
        show_default=False,
    ),
]


_MODEL = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        help="A model's name, folder or GGUF file; when not given smollm2, and with --poem poet.",
        show_default=False,
    ),
]


def with_poem(write: Callable[..., Any]) -> Callable[..., Any]:
    """The command `write` with the options of a poem; without --poem it is as it was."""
    signature = inspect.signature(write)
    added = {"poem": _POEM, "acrostic": _ACROSTIC, "first": _FIRST, "drafts": _DRAFTS}
    context = inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
    model = inspect.Parameter("model", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=_MODEL)
    parameters = [
        context,
        *(model if name == "model" else one for name, one in signature.parameters.items()),
        *(
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind)
            for name, kind in added.items()
        ),
    ]

    def command(context: typer.Context, **given: Any) -> Any:
        own = {name: given.pop(name) for name in added}
        if own["poem"] is not None:
            return poem(own, given, {name for name in given if _was_given(context, name)})
        if extra := [name for name in ("acrostic", "first", "drafts") if own[name] is not None]:
            raise ValueError(f"--{extra[0]} belongs to a poem: give its title or form with --poem")
        return write(**given | {"model": given["model"] or WRITER})

    command.__name__ = write.__name__
    command.__doc__ = write.__doc__
    command.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in parameters}
    return command


def _was_given(context: typer.Context, name: str) -> bool:
    """Not merely the option's default."""
    source = context.get_parameter_source(name)
    return source is not None and source.name != "DEFAULT"


def poem(wish: dict[str, Any], given: dict[str, Any], named: Set[str]) -> None:
    """Writes what is wished.

    given: the options of `write`, of which the text has no meaning here; named: those that the user gave.
    """
    from tokenloom.cli.ask import _check_output, _load
    from tokenloom.tasks import build, run, tasks

    for name, option in (("prompt", "a text to continue"), ("file", "--file"), ("stop", "--stop")):
        if given[name]:
            raise ValueError(f"--poem: found {option} as well; a poem takes a title and a form alone")
    if "max_tokens" in named:
        raise ValueError("--poem: found --max-tokens as well; a poem is as long as its form, so leave it out")
    task = tasks()["poem"]
    known = {field.name for field in task.fields}
    wished = {**{name: given[name] for name in named}, **wish}
    made = build(task, {name: value for name, value in wished.items() if name in known}, given["lang"])
    output: Path | None = given["output"]
    if output is not None:
        if made.versions != 1:
            raise ValueError(f"n: found {made.versions}; with --output one version is written to the file")
        _check_output(output)
    with _load(given["model"] or POET, given["dtype"], given["device"]) as model:
        answers = run(model, made)
    for one in answers:
        if one.finish != "stop":
            raise ValueError(
                f"poem: {len(one.ids)} tokens were not enough for it; give a shorter title or form"
            )
    _deliver(made.text, answers, output, given["as_json"], given["lang"])


def _deliver(prompt: str, answers: list[Generation], output: Path | None, as_json: bool, lang: str) -> None:
    from tokenloom.tokens.verse import parse

    title, form, _ = parse(prompt)
    heading = f"《{title}》" if title else ""
    if as_json:
        for one in answers:
            print(json.dumps(_facts(title, form, one), ensure_ascii=False))
    if output is not None:
        from tokenloom.trust import label_work

        whole = f"{heading}\n\n{answers[0].text}\n".lstrip()
        if output.suffix.lower() == ".json":
            whole = json.dumps(_facts(title, form, answers[0]), ensure_ascii=False, indent=2)
        elif output.suffix.lower() != ".txt":
            whole = whole.replace("\n", "  \n")
        label_work(output, whole, lang=lang)
        print(f"written to {output}", file=sys.stderr if as_json else sys.stdout)
    elif not as_json:
        for number, one in enumerate(answers, 1):
            if len(answers) > 1:
                print(f"--- {number} of {len(answers)}, seed {one.seed} ---")
            if heading and sys.stdout.isatty():
                typer.secho(heading, dim=True)
            print(one.text)


def _facts(title: str, form: str, one: Generation) -> dict[str, Any]:
    from tokenloom.tokens.verse import check

    kept = check(one.text, form)
    return {
        "title": title,
        "form": form,
        "text": one.text,
        "ids": list(one.ids),
        "finish": one.finish,
        "seed": one.seed,
        "rules": {
            "lines": kept.lines,
            "lengths": kept.lengths,
            "rhyme": kept.rhyme,
            "tones": kept.tones,
        },
        "total_s": round(one.timing.total_s, 4),
    }

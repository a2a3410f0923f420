"""A task's declaration as a command of the terminal. Knows nothing of models.

The first required text is the command's argument, or comes from `--file PATH` or a pipe (less one line break
at its end, which editors and echo add); every other field is an option named after it, with the declaration's
sentence as its help.
"""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from tokenloom.tasks.declare import LANGS, Task
from tokenloom.tasks.fields import Field, FieldError


def terminal_lang() -> str:
    """zh where the terminal's locale is Chinese, else en."""
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        if value := os.environ.get(name):
            return "zh" if value.lower().startswith("zh") else "en"
    return "en"


def typer_command(task: Task, run: Callable[..., Any], lang: str | None = None) -> Callable[..., Any]:
    """A function for `app.command(task.name)`, which calls run(values, lang, **options).

    values: {field: value}, checked, without the fields that have none. run's further parameters become
    options as they are annotated.
    lang: that of the help sentences and the default of `--lang`; None = the terminal's.
    """
    spoken = lang or terminal_lang()
    lead = next((f for f in task.fields if f.required and f.type == "text"), None)
    parameters = [_parameter(field, field is lead, spoken) for field in task.fields]
    if lead:
        parameters.append(
            _option("file", Path | None, None, f"Read {lead.name} from this file; - is a pipe.")
        )
    words = "The language of the prompt: en or zh."
    parameters.append(_option("lang", str, spoken, words))
    own = list(inspect.signature(run, eval_str=True).parameters.values())[2:]
    names = {p.name for p in parameters}
    if clash := [p.name for p in own if p.name in names]:
        raise ValueError(f"{task.name}: the option {clash[0]!r} is a field already")
    parameters += [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own]

    def command(**given: Any) -> Any:
        chosen = given.pop("lang")
        if chosen not in LANGS:
            raise FieldError(f"lang is {chosen!r}; allowed are {', '.join(LANGS)}")
        options = {p.name: given.pop(p.name) for p in own}
        if lead:
            given[lead.name] = _lead(lead, given[lead.name], given.pop("file"))
        for field in task.fields:
            if given[field.name] is None:
                continue
            if field.type == "file":
                given[field.name] = _read(given[field.name])
            elif field.type == "picture":
                given[field.name] = _data_url(given[field.name])
        values = {f.name: f.check(given[f.name]) for f in task.fields if given[f.name] is not None}
        return run(values, chosen, **options)

    command.__name__ = task.name
    command.__doc__ = task.summary[spoken]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in parameters}
    return command


def _parameter(field: Field, lead: bool, lang: str) -> inspect.Parameter:
    import typer

    words = field.help[lang]
    if field.choices:
        words += f" [{', '.join(c.value for c in field.choices)}]"
    if lead:
        made = typer.Argument(help=words, show_default=False)
        return _keyword(field.name, Annotated[str | None, made], None)
    kinds: dict[str, Any] = {"text": str, "choice": str, "flag": bool, "file": Path}
    kinds["picture"] = Path
    kind = (int if field.whole else float) if field.type == "number" else kinds[field.type]
    names = [f"--{field.name.replace('_', '-')}"]
    if field.type == "flag":
        names = [f"{names[0]}/--no-{field.name.replace('_', '-')}"]
    if field.short:
        names.append(field.short)
    if field.required and field.type != "text":
        return _keyword(
            field.name, Annotated[kind, typer.Option(*names, help=words)], inspect.Parameter.empty
        )
    made = typer.Option(*names, help=words, show_default=field.default not in (None, ""))
    return _keyword(field.name, Annotated[kind | None, made], field.default)


def _option(name: str, kind: Any, default: Any, words: str) -> inspect.Parameter:
    import typer

    return _keyword(name, Annotated[kind, typer.Option(f"--{name}", help=words)], default)


def _keyword(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _lead(field: Field, given: str | None, file: Path | None) -> str:
    """The main text: from the argument, the file or the pipe, and from one of them only."""
    if given is not None and file is not None:
        raise FieldError(f"{field.name} is given twice: as an argument and as a file; give one")
    if given is not None and given != "-":
        return given
    if file is not None and str(file) != "-":
        return _unended(_read(file))
    if given is None and file is None and sys.stdin.isatty():
        raise FieldError(f"{field.name} is missing: give it as an argument, with --file, or through a pipe")
    return _unended(_text(sys.stdin.buffer.read(), "the pipe"))


def _unended(text: str) -> str:
    """The text without one line break at its end."""
    return text.removesuffix("\n").removesuffix("\r")


def _read(path: Path) -> str:
    return _text(path.read_bytes(), str(path))


def _data_url(path: Path) -> str:
    import base64

    from tokenloom.tasks.pictures_in import read_picture

    return f"data:image/{path.suffix[1:] or 'png'};base64,{base64.b64encode(read_picture(path)).decode()}"


def _text(data: bytes, where: str) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise FieldError(f"{where} is not text in UTF-8 (byte {error.start})") from error

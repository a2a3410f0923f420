"""Where Tokenloom keeps things, how they are put there whole, and how a recipe becomes a frozen dataclass.

Not a model's config. The place is the folder named by the environment variable TOKENLOOM_HOME, else
`~/.tokenloom`. Files and folders are written beside their place and renamed. What a recipe in TOML may say is
declared by the dataclass that is filled: its fields are the keys, an unknown key is an error.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import os
import shutil
import tomllib
import typing
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")


def home() -> Path:
    """Tokenloom's own folder, absolute; read from the environment at each call, not created."""
    named = os.environ.get("TOKENLOOM_HOME", "")
    return Path(named).expanduser().absolute() if named else Path.home() / ".tokenloom"


def models_home() -> Path:
    """`home()/models`: one folder per model."""
    return home() / "models"


def check_place(folder: Path, overwrite: bool, holds: str, mark: str) -> None:
    """Refuses a place where a folder of this kind cannot be put; to be asked before the work.

    holds: the kind, for the message; mark: a file that every folder of the kind has. FileExistsError for a
    file, for a folder that is not empty without `overwrite`, and with it for one of another kind.
    """
    if not folder.exists():
        return
    if not folder.is_dir():
        raise FileExistsError(f"folder: {folder} is a file; name another place")
    if any(folder.iterdir()):
        if not overwrite:
            raise FileExistsError(f"folder: {folder} is not empty; name another place, or overwrite it")
        if not (folder / mark).is_file():
            raise FileExistsError(f"folder: {folder} holds no {holds} (no {mark}), so it is not replaced")


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """An empty folder to fill: it becomes `folder` where the block ends well, and goes where it does not."""
    beside = folder.with_name(f".{folder.name}.{os.getpid()}.new")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    try:
        yield beside
        put_folder(beside, folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def put_folder(beside: Path, folder: Path) -> None:
    """Renames `beside` to `folder`; what was there goes only after, and comes back where that fails."""
    if not folder.exists():
        beside.rename(folder)
        return
    old = folder.with_name(f".{folder.name}.{os.getpid()}.old")
    folder.rename(old)
    try:
        beside.rename(folder)
    except OSError:
        old.rename(folder)
        raise
    shutil.rmtree(old)


@contextmanager
def new_file(file: Path) -> Iterator[Path]:
    """A name to write to: what is there becomes `file` where the block ends well, and goes where it does not.

    It is flushed to the disk before, so a reader sees the old file or the new one, whole.
    """
    beside = file.with_name(f".{file.name}.{os.getpid()}.new")
    try:
        yield beside
        with beside.open("rb") as written:
            os.fsync(written.fileno())
        os.replace(beside, file)
    finally:
        beside.unlink(missing_ok=True)


def append_whole(file: int, data: bytes) -> None:
    """Puts data at the end of an open file: all of it, or none where OSError says why or Ctrl-C comes."""
    size = os.fstat(file).st_size
    try:
        while data:  # a disk that fills up takes a part; the rest then raises what is wrong
            data = data[os.write(file, data) :]
    except BaseException:  # whatever stops it: half a line spoils the file
        os.ftruncate(file, size)
        raise


def put_text(file: Path, text: str) -> None:
    """Writes a text file whole or not at all, in UTF-8 with plain line ends."""
    with new_file(file) as beside:
        beside.write_text(text, encoding="utf-8", newline="\n")


def put_json(file: Path, value: Any) -> None:
    """Writes `json_text(value)` whole or not at all."""
    put_text(file, json_text(value))


def json_text(value: Any) -> str:
    """A value as our JSON files hold it: indented, letters as they are, ended by a line's end."""
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


# --- recipes: TOML -> frozen dataclasses ----------------------------------------------------------------


Matters = Callable[[Mapping[str, Any]], Collection[str]]
"""A recipe's table -> its top keys that mean something beside the others, for what an error offers."""


def read_recipe(
    kind: type[T], path: str | Path, changes: Sequence[str] = (), matters: Matters | None = None
) -> T:
    """The dataclass `kind` from a TOML file, with "a.b=value" changes applied (values as TOML, else text).

    Raises ValueError naming the key, what was found and what is allowed; an unknown key is one, and of others
    it names those of the section that is meant, the nearest first. matters: None = all top keys do.
    """
    path = Path(path)
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ValueError(f"recipe: nothing at {path}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"recipe: {path} is not TOML: {error}") from error
    for change in changes:
        _change(table, change)
    return fill(kind, table, matters=matters)


def _change(table: dict[str, Any], change: str) -> None:
    key, sign, value = change.partition("=")
    if not sign or not key.strip():
        raise ValueError(f"--set: found {change!r}; allowed: section.key=value, as in run.steps=100")
    *sections, last = key.strip().split(".")
    for name in sections:
        inner = table.setdefault(name, {})
        if not isinstance(inner, dict):
            raise ValueError(f"--set: {name} in {key!r} is a value, not a section")
        table = inner
    try:
        table[last] = tomllib.loads(f"v = {value}")["v"]
    except tomllib.TOMLDecodeError:
        table[last] = value


def fill(kind: type[T], table: Mapping[str, Any], at: str = "", matters: Matters | None = None) -> T:
    """A frozen dataclass from a table, inner ones from inner tables, every value of its declared type.

    at, matters: for errors; see `read_recipe`.
    """
    return _filled(kind, table, at, lambda: _sections(kind, at, table, matters))


def _filled(kind: type[T], table: Mapping[str, Any], at: str, sections: Callable[[], _Sections]) -> T:
    assert dataclasses.is_dataclass(kind)
    known = {field.name: field for field in dataclasses.fields(kind)}
    types = typing.get_type_hints(kind)
    for name in table:
        if name not in known:
            raise ValueError(f"{at}{name}: unknown key{_hint(name, at, {at: list(known), **sections()})}")
    values = {name: _value(types[name], value, f"{at}{name}", sections) for name, value in table.items()}
    for name, field in known.items():
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if required and name not in values:
            raise ValueError(f"{at}{name}: missing; it has no default")
    return typing.cast(T, kind(**values))


_Sections = Mapping[str, Sequence[str]]
"""The keys of each section that matters, by what stands before them: "" or "run."."""


def _sections(kind: Any, at: str, table: Mapping[str, Any], matters: Matters | None) -> _Sections:
    names = [field.name for field in dataclasses.fields(kind)]
    if matters is not None:
        some = matters(table)
        names = [name for name in names if name in some]
    types = typing.get_type_hints(kind)
    inner = {f"{at}{name}.": types[name] for name in names if dataclasses.is_dataclass(types[name])}
    return {at: names, **{place: [f.name for f in dataclasses.fields(of)] for place, of in inner.items()}}


def _hint(name: str, at: str, sections: _Sections) -> str:
    """The nearest keys and all those of the section that is meant: of another one where they are its own."""
    there = [place for place, keys in sections.items() if name in keys]
    if not there and not difflib.get_close_matches(name, sections[at], 1):
        there = [place for place, keys in sections.items() if difflib.get_close_matches(name, keys, 1)]
    place = there[0] if there else at
    keys = sorted(
        sections[place], key=lambda key: -difflib.SequenceMatcher(None, name, key).ratio()
    )  # of equal ones the first stays first
    if there:
        near = [f"{one}{difflib.get_close_matches(name, sections[one], 1)[0]}" for one in there]
    else:
        near = difflib.get_close_matches(name, keys, 1)
    asked = f", did you mean {' or '.join(map(repr, near))}?" if near else ";"
    where = "here" if place == at else f"in [{place.rstrip('.')}]" if place else "outside the sections"
    return f"{asked} allowed {where}: {', '.join(keys)}"


def _value(kind: Any, value: Any, at: str, sections: Callable[[], _Sections]) -> Any:
    """`value` as `kind`: bool, int, float, str, Literal, tuple of one of these, or a dataclass."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind):
        if not isinstance(value, Mapping):
            raise ValueError(f"{at}: found {value!r}; allowed: a section")
        return _filled(typing.cast(type, kind), value, f"{at}.", sections)
    if origin is typing.Literal:
        if value not in inner:
            raise ValueError(f"{at}: found {value!r}; allowed: {', '.join(map(repr, inner))}")
        return value
    if origin is tuple:
        if not isinstance(value, list | tuple):
            value = [value]
        return tuple(_value(inner[0], item, f"{at}[{i}]", sections) for i, item in enumerate(value))
    words = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not kind:
        raise ValueError(f"{at}: found {value!r}; allowed: {words[kind]}")
    return value


def to_toml(value: Any) -> str:
    """A recipe as TOML with every value spelled out, readable by `read_recipe`."""
    assert dataclasses.is_dataclass(value)
    return "\n".join(_section(value, "")).strip() + "\n"


def _section(value: Any, at: str) -> list[str]:
    lines, inner = [], []
    for field in dataclasses.fields(value):
        item = getattr(value, field.name)
        if dataclasses.is_dataclass(item):
            inner += ["", f"[{at}{field.name}]", *_section(item, f"{at}{field.name}.")]
        else:
            lines.append(f"{field.name} = {_toml(item)}")
    return lines + inner


def _toml(item: Any) -> str:
    if isinstance(item, tuple):
        return "[" + ", ".join(_toml(x) for x in item) + "]"
    # TOML's strings, numbers and booleans are spelled as JSON's, but for the lone surrogates neither allows.
    return json.dumps(item, ensure_ascii=False)

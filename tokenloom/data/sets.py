"""A data set made in one go: read, clean, deduplicate, keep evaluations out, split, tokenise.

Not the steps themselves: reading is `read.py`'s, cleaning `clean.py`'s, the files `prepare.py`'s, the ids
`tokenise.py`'s. What to do is a `Recipe`, from keywords or a TOML file:

    paths = ["books/", "web.jsonl.zst"]
    out = "my-set"
    tokenizer = "my-tokenizer"      # optional: token ids too
    [clean]                         # see settings.py
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from tokenloom.data.contamination import Contamination, Evaluation, evaluation
from tokenloom.data.files import File
from tokenloom.data.manifest import MANIFEST, read_manifest
from tokenloom.data.prepare import HELD_OUT, TRAIN, prepare
from tokenloom.data.read import find_sources, read
from tokenloom.data.record import BadRecord, Limits
from tokenloom.data.report import EXAMPLES, Report
from tokenloom.data.settings import Clean, allowed, clean_settings
from tokenloom.data.shards import Shards, open_shards
from tokenloom.data.tokenise import tokenise

SHARDS = "shards"


@dataclass(frozen=True)
class Recipe:
    """What a data set is made of and how."""

    paths: tuple[str, ...]
    """Files, folders, "-" or hub:org/name[:config][:split]."""
    out: str
    """The folder the set is written to."""
    text_field: tuple[str, ...] = ("text",)
    """The fields that hold the text; several are joined by a blank line."""
    unit: str = "document"
    """What a record of a plain text file is: document, paragraph or line."""
    encoding: str = ""
    """Of plain text files; empty detects it."""
    tokenizer: str = ""
    """A tokenizer's folder; with it the documents are written as token ids too."""
    workers: int = 1
    online: bool = False
    """Whether the Hub may be asked for data sets."""
    max_bad: float = 0.01
    """The run stops when more than this share of the records cannot be read."""
    clean: Clean = field(default_factory=Clean)


@dataclass(frozen=True)
class Made:
    """A finished set: its report, and its shards by name (train, held-out) where ids were asked for."""

    folder: Path
    report: Report
    shards: Mapping[str, Shards]


@dataclass(frozen=True)
class Listeners:
    """Who is told what goes on; each may be left out."""

    on_read: Callable[[int, int], None] = lambda done, total: None
    """(bytes read, bytes in all) of the files."""
    on_batch: Callable[[Report], None] = lambda report: None
    on_bad: Callable[[BadRecord], None] = lambda record: None
    on_note: Callable[[str], None] = lambda note: None
    on_tokens: Callable[[str, int, int], None] = lambda name, done, total: None
    """(train or held-out, bytes of text so far, bytes of its file)."""


def recipe_of(values: Mapping[str, Any], changes: Sequence[str] = ()) -> Recipe:
    """The recipe of a TOML table. changes: "clean.c4=false", "workers=2", each value as in TOML.

    Raises ValueError for an unknown key, naming the nearest one, and for a wrong type.
    """
    table = dict(values)
    for change in changes:
        _set(table, change)
    known = {f.name: f for f in fields(Recipe)}
    for name in table:
        if name not in known:
            raise ValueError(f"{name}: no such setting; {allowed(name, list(known))}")
    for name, given in (("paths", "files or folders"), ("out", "--out")):
        if not table.get(name):
            raise ValueError(f"{name}: is missing; {given} on the command line, or {name} in a recipe")
    made: dict[str, Any] = {}
    for name, value in table.items():
        made[name] = clean_settings(_table(name, value)) if name == "clean" else _plain(name, value)
    return Recipe(**made)


def load_recipe(path: Path | str) -> dict[str, Any]:
    """The table of a recipe file; relative paths in it stay relative to where the command runs."""
    try:
        return tomllib.loads(Path(path).read_text("utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path}: {error}") from error


def make_set(recipe: Recipe, listeners: Listeners | None = None) -> Made:
    """Makes the set a recipe describes; the same call goes on where it was broken off."""
    tell = listeners or Listeners()
    online = recipe.online
    if recipe.tokenizer:  # what is wrong with it is said before the long work
        from tokenloom.tokens.text import load_tokenizer

        if not Path(recipe.tokenizer).exists():
            raise ValueError(
                f"tokenizer: nothing at {recipe.tokenizer}; allowed: a tokenizer's folder "
                "(`loom tokenizer train` makes one)"
            )
        load_tokenizer(recipe.tokenizer)
    sources = find_sources(recipe.paths, lambda note: None, online)
    sets = evaluations(recipe.clean.contamination, online=online) if recipe.clean.contamination else ()
    bad: list[str] = []

    def on_bad(record: BadRecord) -> None:
        bad.append(str(record))
        tell.on_bad(record)

    def finish(report: Report) -> None:
        report.bad = len(bad)
        report.bad_examples = bad[: 10 * EXAMPLES]

    records = read(
        recipe.paths,
        text_field=recipe.text_field,
        on_bad=on_bad,
        on_note=tell.on_note,
        on_progress=tell.on_read,
        unit=recipe.unit,  # type: ignore[arg-type]  # read refuses what it does not know
        encoding=recipe.encoding or None,
        limits=Limits(bad_share=recipe.max_bad),
        online=online,
    )
    folder = Path(recipe.out)
    report = prepare(
        records,
        folder,
        recipe.clean,
        evaluations=sets,
        workers=recipe.workers,
        inputs={
            "files": [_known_by(s) if isinstance(s, File) else s for s in sources],
            "read": [recipe.text_field, recipe.unit, recipe.encoding],
        },
        on_progress=tell.on_batch,
        finish=finish,
    )
    return Made(folder, report, _tokenised(recipe, folder, tell) if recipe.tokenizer else {})


def _known_by(file: File) -> list[str | int]:
    """By which a file is told from another of its name: size, and when it was last written."""
    there = Path(file.path)
    return [file.path, file.size, there.stat().st_mtime_ns if there.exists() else 0]


def _tokenised(recipe: Recipe, folder: Path, tell: Listeners) -> dict[str, Shards]:
    from tokenloom.tokens.text import load_tokenizer

    made = {}
    for file in (TRAIN, HELD_OUT):
        name = file.removesuffix(".jsonl")
        source, place = folder / file, folder / SHARDS / name
        size = source.stat().st_size
        if not size:
            continue
        if (place / MANIFEST).is_file() and read_manifest(place / MANIFEST)["finished"]:
            made[name] = open_shards(place, load_tokenizer(recipe.tokenizer).hash)
            continue

        def on_progress(done: int, name: str = name, size: int = size) -> None:
            tell.on_tokens(name, done, size)

        made[name] = tokenise(
            source,
            place,
            recipe.tokenizer,
            workers=recipe.workers,
            on_progress=on_progress,
            on_refused=lambda why: tell.on_note(f"not tokenised: {why}"),
        )
    return made


def evaluations(rules: Contamination, *, online: bool = False) -> tuple[Evaluation, ...]:
    """The evaluation sets that the rules name, read and ready to be looked for."""
    return tuple(
        evaluation(name, _texts(name, path, rules, online), rules) for name, path in rules.sets.items()
    )


def _texts(name: str, path: str, rules: Contamination, online: bool) -> Iterator[str]:
    try:
        for record in read([path], text_field=rules.fields, online=online):
            yield record.text
    except ValueError as error:
        raise ValueError(f"clean.contamination.sets.{name}: {error}") from error


def _set(table: dict[str, Any], change: str) -> None:
    name, equals, text = change.partition("=")
    parts = name.strip().split(".")
    if not equals or not all(parts):
        raise ValueError(f"--set: found {change!r}; allowed is a.b=value")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()  # a bare word is a text, as in clean.preset=trusted
    for part in parts[:-1]:
        inner = table.get(part)
        table[part] = dict(inner) if isinstance(inner, Mapping) else {}
        table = table[part]
    table[parts[-1]] = value


def _table(name: str, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError(f"{name}: found {value!r}; allowed is a table of settings")
    return value


def _plain(name: str, value: Any) -> Any:
    kinds: dict[str, tuple[type, str]] = {
        "workers": (int, "a whole number"),
        "online": (bool, "true or false"),
        "max_bad": (float, "a number"),
    }
    if name in ("paths", "text_field"):
        texts = [value] if isinstance(value, str) else value
        if not isinstance(texts, list | tuple) or not all(isinstance(v, str) for v in texts):
            raise ValueError(f"{name}: found {value!r}; allowed is a text or a list of texts")
        return tuple(texts)
    kind, words = kinds.get(name, (str, "a text"))
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise ValueError(f"{name}: found {value!r}; allowed is {words}")
    return value

"""What cleaning does: the `[clean]` table of a data recipe, or keywords. Not the rules themselves.

    [clean]
    preset = "web"              # or "trusted": repair, scrubbing, duplicates and evaluations only
    held_out = 0.01
    fineweb = false             # a step left out
    [clean.gopher]              # a step with its own figures
    min_words = 20

An unknown key is an error that names the nearest known one.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from types import UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from tokenloom.data.chinese import Chinese
from tokenloom.data.contamination import Contamination
from tokenloom.data.duplicates import Duplicates
from tokenloom.data.language import Language
from tokenloom.data.quality import C4, Code, FineWeb, Gopher
from tokenloom.data.repetition import Repetition
from tokenloom.privacy import DEFAULT, KINDS, Style


@dataclass(frozen=True)
class Scrub:
    """Private data taken out."""

    kinds: tuple[str, ...] = DEFAULT
    """Kinds as `tokenloom.privacy` names them, such as email."""
    style: Style = "label"
    """label writes [EMAIL] in its place, mask an asterisk for each letter and digit."""

    def __post_init__(self) -> None:
        for place, found, known in (("kinds", self.kinds, KINDS), ("style", (self.style,), get_args(Style))):
            for each in found:
                if each not in known:
                    raise ValueError(f"clean.scrub.{place}: found {each!r}; {allowed(each, list(known))}")


@dataclass(frozen=True)
class Clean:
    """Which steps run, with what figures; a step that is None does not run."""

    max_characters: int = 10_000_000
    """Longer documents are dropped: each is held in memory several times."""
    repair: bool = True
    """Mend wrongly decoded text, control characters and line ends (ftfy)."""
    language: Language | None = field(default_factory=Language)
    repetition: Repetition | None = field(default_factory=Repetition)
    gopher: Gopher | None = field(default_factory=Gopher)
    c4: C4 | None = field(default_factory=C4)
    fineweb: FineWeb | None = field(default_factory=FineWeb)
    chinese: Chinese | None = field(default_factory=Chinese)
    code: Code | None = field(default_factory=Code)
    scrub: Scrub | None = field(default_factory=Scrub)
    contamination: Contamination | None = field(default_factory=Contamination)
    duplicates: Duplicates | None = field(default_factory=Duplicates)
    held_out: float = 0.005
    """Share of the documents that training does not see, chosen by their hash."""
    held_out_by: str = ""
    """A field whose equal values stay together, such as "module"; empty goes by the text itself."""

    def __post_init__(self) -> None:
        if not 0 <= self.held_out < 1:
            raise ValueError(f"clean.held_out: found {self.held_out}; allowed is 0 up to, not including, 1")
        if self.max_characters < 1:
            raise ValueError(f"clean.max_characters: found {self.max_characters}; allowed is 1 or more")

    def facts(self) -> dict[str, Any]:
        """As nested dicts, for a report or a recipe's resolved copy."""
        facts: dict[str, Any] = json.loads(json.dumps(asdict(self)))  # lists, as they are read again
        return facts


WEB = Clean()
TRUSTED = replace(
    WEB,
    language=Language(keep=()),
    repetition=None,
    gopher=None,
    c4=None,
    fineweb=None,
    chinese=None,
    code=None,
)
PRESETS = {"web": WEB, "trusted": TRUSTED}
"""web: all rules, for text of unknown quality. trusted: for books, poems, one's own writing."""


def clean_settings(table: Mapping[str, Any] | None = None, **keywords: Any) -> Clean:
    """The settings of a `[clean]` table, its keys overridden by keywords.

    Raises ValueError for an unknown key, a wrong type or a figure out of range.
    """
    values = {**(table or {}), **keywords}
    preset = values.pop("preset", "web")
    if preset not in PRESETS:
        raise ValueError(f"clean.preset: found {preset!r}; {allowed(str(preset), list(PRESETS))}")
    start = PRESETS[preset]
    kinds = get_type_hints(Clean)
    _check_known("clean", values, list(kinds), extra=("preset",))
    changes: dict[str, Any] = {}
    for name, value in values.items():
        step = _step_of(kinds[name])
        place = f"clean.{name}"
        if step is None:
            changes[name] = _typed(place, value, kinds[name])
        elif isinstance(value, Mapping):
            changes[name] = _section(place, value, step, getattr(start, name))
        elif isinstance(value, bool):
            changes[name] = (getattr(start, name) or step()) if value else None
        else:
            raise ValueError(f"{place}: found {value!r}; allowed is true, false or a table of its settings")
    return replace(start, **changes)


def _step_of(kind: Any) -> type | None:
    """The dataclass in `Dataclass | None`; None for a plain value."""
    if isinstance(kind, UnionType):
        return next(arg for arg in get_args(kind) if arg is not type(None))
    return None


def _section(place: str, table: Mapping[str, Any], step: type, start: Any) -> Any:
    kinds = get_type_hints(step)
    _check_known(place, table, [f.name for f in fields(step)])
    found = {name: _typed(f"{place}.{name}", value, kinds[name]) for name, value in table.items()}
    return replace(start, **found) if start is not None else step(**found)


def _check_known(place: str, table: Mapping[str, Any], known: list[str], extra: tuple[str, ...] = ()) -> None:
    for name in table:
        if name not in known:
            raise ValueError(f"{place}.{name}: no such setting; {allowed(name, [*known, *extra])}")


def allowed(name: str, known: list[str]) -> str:
    """The end of a message about an unknown name: the nearest known one, and all of them."""
    near = difflib.get_close_matches(name, known, 1)
    return (f"did you mean {near[0]}? " if near else "") + "Allowed are " + ", ".join(known)


def _typed(place: str, value: Any, kind: Any) -> Any:
    """The value as its field wants it."""
    if kind is bool and isinstance(value, bool):
        return value
    if kind in (int, float) and isinstance(value, int | float) and not isinstance(value, bool):
        if not value >= 0:
            raise ValueError(f"{place}: found {value}; allowed is 0 or more")
        if kind is float or isinstance(value, int):
            return kind(value)
    if (kind is str or get_origin(kind) is Literal) and isinstance(value, str):
        return value
    if (
        get_origin(kind) is tuple
        and isinstance(value, list | tuple)
        and all(isinstance(v, str) for v in value)
    ):
        return tuple(value)
    texts = get_origin(kind) not in (None, tuple) and isinstance(value, Mapping)
    if texts and all(isinstance(k, str) and isinstance(v, str) for k, v in value.items()):
        return dict(value)
    raise ValueError(f"{place}: found {value!r}; allowed is {_words(kind)}")


def _words(kind: Any) -> str:
    plain = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}
    return plain.get(kind) or ("a list of texts" if get_origin(kind) is tuple else "a table: name = text")

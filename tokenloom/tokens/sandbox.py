"""The sandbox a chat template runs in: a template comes with a model, so it is a stranger's program.

Not a template: that is template.py. jinja2's immutable sandbox keeps it from Python's internals and from
changing what it is given. Beyond that every turn of a loop and every call of a macro is counted, a range, a
repetition and a power have limits, and so has the text that comes out: a template that would run for ever is
stopped with an error. What is not bounded is a text that a template doubles again and again: its memory.
Names, filters and options are those of transformers' apply_chat_template.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.exceptions import SecurityError, TemplateError
from jinja2.ext import Extension, loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

MAX_RANGE = 100_000
"""Numbers a template's range() may have."""
MAX_TURNS = 300_000
"""Turns of loops and calls of macros in one rendering."""
MAX_CHARS = 50_000_000
"""Characters a template may render or repeat."""
BUDGET = "_budget"
"""The variable under which a rendering's Budget is handed in."""


class Budget:
    """How many turns of loops a rendering has left."""

    def __init__(self) -> None:
        self._left = MAX_TURNS

    def _spend(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise SecurityError(f"more than {MAX_TURNS} turns of loops")


class Generation(Extension):
    """{% generation %} marks what the assistant wrote, for training masks; it renders its body."""

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser: Any) -> Any:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("body"), [], [], body).set_lineno(line)

    def body(self, caller: Callable[[], str]) -> str:
        return caller()


class Turns(Extension):
    """Counts the turns of loops and the calls of macros against the rendering's budget."""

    @jinja2.pass_context
    def turn(self, context: Any) -> str:
        context.parent[BUDGET]._spend()  # the values handed in; a template's own variables lie elsewhere
        return ""

    def count(self, tree: nodes.Template) -> None:
        """Puts a count at the head of every loop and macro."""
        for node in tree.find_all((nodes.For, nodes.Macro, nodes.CallBlock)):
            assert isinstance(node, (nodes.For, nodes.Macro, nodes.CallBlock))
            node.body.insert(0, nodes.ExprStmt(self.call_method("turn")).set_lineno(node.lineno))


class Names(jinja2.utils.Namespace):
    """The `namespace` of templates; names with an underscore in front are refused."""

    def __init__(*args: Any, **kwargs: Any) -> None:
        for name in dict(*args[1:], **kwargs):
            _plain_name(name)
        jinja2.utils.Namespace.__init__(*args, **kwargs)

    def __setitem__(self, name: str, value: Any) -> None:
        _plain_name(name)
        super().__setitem__(name, value)


def _plain_name(name: Any) -> None:
    if isinstance(name, str) and name.startswith("_"):
        raise SecurityError(f"namespace: the name {name!r} is not allowed")


class Dict:
    """The `dict` of templates: makes one, and is not the type itself."""

    def __call__(self, *args: Any, **kwargs: Any) -> dict[Any, Any]:
        return dict(*args, **kwargs)

    def fromkeys(self, *args: Any) -> dict[Any, Any]:
        return dict.fromkeys(*args)


class Sandbox(ImmutableSandboxedEnvironment):
    intercepted_binops = frozenset({"*", "**"})

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree = super()._parse(source, name, filename)
        self.extensions[Turns.identifier].count(tree)  # type: ignore[attr-defined]
        return tree

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Repetition and powers stay small, so that one expression cannot fill the memory."""
        if operator == "**" and (abs(left) > 2**64 or abs(right) > 64):
            raise SecurityError("a power that large is not allowed")
        for many, times in ((left, right), (right, left)):
            sized = isinstance(many, (str, list, tuple)) and isinstance(times, int)
            if sized and len(many) * times > MAX_CHARS:
                raise SecurityError("a repetition that large is not allowed")
        return super().call_binop(context, operator, left, right)


def raise_exception(message: str) -> None:
    raise TemplateError(message)


def limited_range(*args: int) -> range:
    numbers = range(*args)
    if len(numbers) > MAX_RANGE:
        raise SecurityError(f"range: found {len(numbers)} numbers; allowed: {MAX_RANGE}")
    return numbers


def now(form: str) -> str:
    return datetime.now().strftime(form)


def to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """JSON as it is, not escaped for HTML as jinja2's own filter does."""
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


def sandbox() -> Sandbox:
    """An environment to compile one template in."""
    made = Sandbox(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols, Turns])
    made.filters["tojson"] = to_json
    globals: Mapping[str, Any] = {
        "raise_exception": raise_exception,
        "strftime_now": now,
        "namespace": Names,
        "dict": Dict(),
        "range": limited_range,
    }
    made.globals.update(globals)
    del made.globals["lipsum"]
    return made

"""What people ask for, each a declaration in a TOML file beside this one. Runs no model.

A declaration has: name, kind, title, summary, fields, prompt (of the kinds complete and chat: a template, or
turns with a role), sampling, after; and may have model (which one it is for) and maker (makers.py: code that
checks the values and says what the answer must look like). All that a person reads is in English and Chinese.
Templates are Jinja in its sandbox and see the fields' values; what a user typed is a value, never a template.
A field named like a sampling value sets it. The terminal's command (terminal.py), the API's route
(`fields_json`) and the page's form come from here.
"""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Mapping, Set
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Literal, cast, get_args

from tokenloom.engine.drafts import MOST, Mark
from tokenloom.engine.request import Constraint
from tokenloom.tasks.fields import Choice, Field, FieldError, FieldType
from tokenloom.tasks.makers import MAKERS, Made

Kind = Literal["complete", "chat", "picture", "caption", "music", "speech"]
"""picture: the answer is pictures; caption: a picture is given, and the answer is words; music: the answer is
tunes; speech: the answer is a text read aloud."""
LANGS = ("en", "zh")
TYPES = get_args(FieldType)
SHAPES: dict[str, tuple[type, ...]] = {
    "required": (bool,),
    "whole": (bool,),
    "min": (int, float),
    "max": (int, float),
    "short": (str,),
    "of": (str,),
    "choices": (list,),
}
"""What TOML may hold under a field's key."""
OF = ("", "codes", "diffusion")
ROLES: dict[str, tuple[str, ...]] = {
    "complete": ("text",),
    "chat": ("system", "user", "assistant"),
    **dict.fromkeys(("picture", "caption", "music", "speech"), ()),
}
"""Of the turns of each kind's prompt; without any the fields are the request (serve.tasks)."""
SAMPLING = frozenset(
    {"temperature", "top_k", "top_p", "min_p", "typical_p", "max_tokens", "min_tokens", "n", "seed", "stop"}
    | {"repetition_penalty", "presence_penalty", "frequency_penalty", "beams", "length_penalty", "guidance"}
)
STEPS = ("trim", "label")
"""trim: no white space at the end. label: the work is labelled when it is published."""


class BadDeclaration(ValueError):
    """A task's file is wrong; the message names the file and the key."""


@dataclass(frozen=True)
class Turn:
    """One message of a chat's prompt, or (role text) the whole of a completion's."""

    role: str
    template: str


@dataclass(frozen=True)
class Task:
    name: str
    kind: Kind
    title: dict[str, str]
    summary: dict[str, str]
    fields: tuple[Field, ...]
    prompt: dict[str, tuple[Turn, ...]]
    """By language; none where the fields are the request, as with pictures."""
    sampling: dict[str, Any]
    after: tuple[str, ...]
    model: str = ""
    """The model it is for; empty: any."""
    maker: str = ""
    """Who makes its prompt's values and the shape of the answer (makers.py); empty: nobody."""

    @property
    def continues(self) -> bool:
        """The answer goes on where the user's text ends."""
        return self.kind == "complete" and not self.maker


@dataclass(frozen=True)
class Prompt:
    """What is asked of a model: a text to continue, or messages to answer."""

    kind: Kind
    text: str
    messages: tuple[dict[str, str], ...]
    sampling: dict[str, Any]
    """n counts every draft of every version."""
    after: tuple[str, ...]
    model: str = ""
    """The model it is for; empty: any."""
    controls: tuple[str, ...] = ()
    """Control tokens that the text is written with, which the model's tokenizer must have."""
    constraint: Constraint | None = None
    """What the answer must match."""
    drafts: int = 1
    """Drafts of each version; `drafts.keep` takes the best of them."""
    mark: Mark | None = None
    """How good a draft is; there where drafts are several."""

    @property
    def versions(self) -> int:
        """Answers that were asked for."""
        return int(self.sampling.get("n", 1)) // self.drafts


def environment() -> Any:
    """Jinja's sandbox, in which an undefined name is an error."""
    from jinja2 import StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    return ImmutableSandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=True)


def parse_task(source: str, where: str = "task") -> Task:
    """A task from its TOML text; BadDeclaration names what is misspelt, missing or wrong."""
    try:
        table = tomllib.loads(source)
    except tomllib.TOMLDecodeError as error:
        raise BadDeclaration(f"{where}: {error}") from error
    _keys(
        where,
        table,
        {f.name for f in dataclasses.fields(Task)},
        optional={"sampling", "after", "model", "maker", "prompt"},
    )
    name, kind = table["name"], table["kind"]
    if not isinstance(name, str) or not name.isidentifier():
        raise BadDeclaration(f"{where}: name is {name!r}; allowed are letters, digits and _")
    if not isinstance(kind, str) or kind not in ROLES:
        raise BadDeclaration(f"{where}: kind is {kind!r}; allowed are {', '.join(ROLES)}")
    for key, shape in (("fields", list), ("prompt", dict), ("sampling", dict), ("after", list)):
        if not isinstance(table.get(key, shape()), shape):
            raise BadDeclaration(f"{where}: {key} is {table[key]!r}; allowed is a {shape.__name__}")
    fields = tuple(_field(f"{where}: field {i + 1}", f) for i, f in enumerate(table["fields"]))
    names = [f.name for f in fields]
    if twice := {n for n in names if names.count(n) > 1}:
        raise BadDeclaration(f"{where}: field {sorted(twice)[0]!r} is declared twice")
    sampling = table.get("sampling", {})
    if unknown := sorted(set(sampling) - SAMPLING):
        raise BadDeclaration(f"{where}: sampling has unknown {unknown}; known are {sorted(SAMPLING)}")
    after = tuple(table.get("after", ()))
    if unknown := [step for step in after if step not in STEPS]:
        raise BadDeclaration(f"{where}: after has unknown {unknown}; known are {list(STEPS)}")
    model, maker = table.get("model", ""), table.get("maker", "")
    if not isinstance(model, str):
        raise BadDeclaration(f"{where}: model is {model!r}; allowed is a model's name")
    if maker and maker not in MAKERS:
        raise BadDeclaration(f"{where}: maker is {maker!r}; known are {', '.join(MAKERS)}")
    title, summary = (_both(where, key, table[key]) for key in ("title", "summary"))
    prompt: dict[str, tuple[Turn, ...]] = {}
    if ROLES[kind]:
        if "prompt" not in table:
            raise BadDeclaration(f"{where}: 'prompt' is missing")
        _keys(f"{where}: prompt", table["prompt"], set(LANGS))
        prompt = {lang: _turns(where, kind, table["prompt"][lang]) for lang in LANGS}
    elif "prompt" in table or maker:
        raise BadDeclaration(f"{where}: a task of kind {kind} has neither prompt nor maker")
    task = Task(name, cast(Kind, kind), title, summary, fields, prompt, sampling, after, model, maker)
    if prompt:
        _check_templates(where, task)
    return task


def _keys(where: str, table: Mapping[str, Any], known: set[str], optional: Set[str] = frozenset()) -> None:
    if extra := sorted(set(table) - known):
        raise BadDeclaration(f"{where}: unknown key {extra[0]!r}; known are {', '.join(sorted(known))}")
    if missing := sorted(known - optional - set(table)):
        raise BadDeclaration(f"{where}: {missing[0]!r} is missing")


def _both(where: str, key: str, value: object) -> dict[str, str]:
    if not isinstance(value, dict) or set(value) != set(LANGS) or not all(map(_is_words, value.values())):
        raise BadDeclaration(f"{where}: {key} needs words under exactly en and zh, got {value!r}")
    return value


def _is_words(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _field(where: str, table: Any) -> Field:
    known = {f.name for f in dataclasses.fields(Field)}
    needed = {"name", "type", "label", "help"}
    if not isinstance(table, dict):
        raise BadDeclaration(f"{where}: is {table!r}, not a table")
    where = f"{where} ({table.get('name', 'without a name')})"
    _keys(where, table, known, optional=known - needed)
    if not isinstance(table["name"], str) or not table["name"].isidentifier():
        raise BadDeclaration(f"{where}: name must be letters, digits and _")
    if table["type"] not in TYPES:
        raise BadDeclaration(f"{where}: type is {table['type']!r}; allowed are {', '.join(TYPES)}")
    for key, kinds in SHAPES.items():
        if key in table and type(table[key]) not in kinds:
            allowed = " or ".join(k.__name__ for k in kinds)
            raise BadDeclaration(f"{where}: {key} is {table[key]!r}; allowed is {allowed}")
    if table.get("of", "") not in OF:
        raise BadDeclaration(f"{where}: of is {table['of']!r}; allowed are {', '.join(filter(None, OF))}")
    words = {key: _both(where, key, table[key]) for key in ("label", "help")}
    choices = tuple(_choice(where, c) for c in table.get("choices", ()))
    if (table["type"] == "choice") != bool(choices):
        raise BadDeclaration(
            f"{where}: choices belong to a field of type choice, and such a field needs them"
        )
    field = Field(**{**table, **words, "choices": choices})
    if field.required and field.default is not None:
        raise BadDeclaration(f"{where}: a required field has no default")
    try:
        if field.default is not None:
            field.check(field.default)
    except FieldError as error:
        raise BadDeclaration(f"{where}: the default is wrong: {error}") from error
    return field


def _choice(where: str, table: Any) -> Choice:
    if not isinstance(table, dict):
        raise BadDeclaration(f"{where}: a choice is a table of value and label, got {table!r}")
    _keys(f"{where}: choices", table, {"value", "label"})
    return Choice(table["value"], _both(where, "a choice's label", table["label"]))


def _turns(where: str, kind: str, value: object) -> tuple[Turn, ...]:
    if kind == "complete":
        if not _is_words(value):
            raise BadDeclaration(f"{where}: prompt needs a template under en and zh, got {value!r}")
        return (Turn("text", str(value)),)
    if not isinstance(value, list) or not value:
        raise BadDeclaration(f"{where}: prompt needs a list of turns under en and zh, got {value!r}")
    for turn in value:
        if not isinstance(turn, dict):
            raise BadDeclaration(f"{where}: a turn of the prompt is role and content, got {turn!r}")
        _keys(f"{where}: prompt", turn, {"role", "content"})
        if turn["role"] not in ROLES["chat"]:
            raise BadDeclaration(f"{where}: role is {turn['role']!r}; allowed are {', '.join(ROLES['chat'])}")
        if not _is_words(turn["content"]):
            raise BadDeclaration(
                f"{where}: the content of a turn is {turn['content']!r}; a template is needed"
            )
    return tuple(Turn(turn["role"], turn["content"]) for turn in value)


def _check_templates(where: str, task: Task) -> None:
    from jinja2 import TemplateSyntaxError, meta

    made = MAKERS[task.maker].values if task.maker else frozenset()
    known = {f.name for f in task.fields}
    used: set[str] = set()
    for turn in (t for turns in task.prompt.values() for t in turns):
        try:
            names = meta.find_undeclared_variables(environment().parse(turn.template))
        except TemplateSyntaxError as error:
            raise BadDeclaration(f"{where}: the template {turn.template!r} is wrong: {error}") from error
        if extra := sorted(names - known - made):
            raise BadDeclaration(
                f"{where}: the prompt uses {extra[0]!r}; fields are {', '.join(sorted(known))}"
            )
        used |= names
    taken = MAKERS[task.maker].fields if task.maker else frozenset()
    if idle := sorted(known - used - taken - SAMPLING):
        raise BadDeclaration(
            f"{where}: field {idle[0]!r} has no effect: neither the prompt nor sampling uses it"
        )


@cache
def tasks() -> dict[str, Task]:
    """The shipped tasks by name."""
    files = sorted(f.name for f in resources.files("tokenloom.tasks").iterdir() if f.name.endswith(".toml"))
    found = {}
    for file in files:
        text = (resources.files("tokenloom.tasks") / file).read_text(encoding="utf-8")
        task = parse_task(text, file)
        if file != f"{task.name}.toml":
            raise BadDeclaration(f"{file}: its name is {task.name!r}, so its file must be {task.name}.toml")
        found[task.name] = task
    return found


def values_of(task: Task, given: Mapping[str, Any], lang: str = "en") -> dict[str, Any]:
    """Every field's value, checked, defaults filled in; None where there is neither. FieldError names it."""
    names = [f.name for f in task.fields]
    if extra := sorted(set(given) - set(names)):
        raise FieldError(f"fields: {task.name} has no field {extra[0]!r}; its fields are {', '.join(names)}")
    values = {}
    for field in task.fields:
        value = given.get(field.name)
        if value is not None:
            values[field.name] = field.check(value)
        elif field.required:
            raise FieldError(f"{field.name} is missing: {field.help[lang]}")
        else:
            values[field.name] = field.default
    return values


def build(task: Task, values: Mapping[str, Any], lang: str = "en") -> Prompt:
    """The prompt and sampling that a task's values make. Turns that come out empty are left out."""
    if lang not in LANGS:
        raise FieldError(f"lang is {lang!r}; allowed are {', '.join(LANGS)}")
    assert task.prompt, f"{task.name} has no prompt: its fields are the request"
    full = values_of(task, values, lang)
    shown = {k: "" if v is None else v for k, v in full.items()}
    made = MAKERS[task.maker].make(shown) if task.maker else Made()
    shown |= made.values
    jinja = environment()
    turns = [(t.role, jinja.from_string(t.template).render(shown)) for t in task.prompt[lang]]
    chosen = {k: v for k, v in full.items() if k in SAMPLING and v is not None}
    sampling = {**task.sampling, **made.sampling, **chosen}
    if made.drafts > 1:
        sampling["n"] = sampling.get("n", 1) * made.drafts
        if sampling["n"] > MOST:
            raise FieldError(
                f"drafts is {made.drafts} for each of {sampling['n'] // made.drafts} versions; allowed are "
                f"{MOST} drafts in all"
            )
    rest = (sampling, task.after, task.model, made.controls, made.constraint, made.drafts, made.mark)
    if task.kind == "complete":
        return Prompt("complete", turns[0][1], (), *rest)
    messages = tuple({"role": role, "content": text} for role, text in turns if text)
    return Prompt("chat", "", messages, *rest)


def finish(task: Task, text: str, lang: str = "en", publish: bool = False) -> str:
    """The answer after the task's steps; publish puts the visible label on it (a file is labelled by
    trust.label_work instead, which adds the hidden one)."""
    if "trim" in task.after:
        text = text.rstrip()
    if publish and "label" in task.after:
        from tokenloom.trust import label_text

        text = label_text(text, lang)
    return text


def fields_json(task: Task) -> dict[str, Any]:
    """The task as the API tells it (GET /v1/tasks): name, kind, title, summary, fields; continues: the answer
    goes on where the required text ends; model: the one it is for, else null."""
    fields = []
    for f in task.fields:
        told: dict[str, Any] = {"name": f.name, "type": f.type, "label": f.label, "help": f.help}
        told |= {"required": f.required, "default": f.default}
        if f.choices:
            told["choices"] = [{"value": c.value, "label": c.label} for c in f.choices]
        told |= {k: v for k, v in (("min", f.min), ("max", f.max)) if v is not None}
        if f.type == "number":
            told["whole"] = f.whole
        if f.of:
            told["of"] = f.of
        fields.append(told)
    return {
        "name": task.name,
        "kind": task.kind,
        "continues": task.continues,
        "model": task.model or None,
        "title": task.title,
        "summary": task.summary,
        "fields": fields,
    }

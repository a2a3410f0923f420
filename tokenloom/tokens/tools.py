"""How a model asks for a tool: the formats, a prompt for models without one, grammars that force a call.

Not the reading of an answer: that is toolparser.py. Three formats: Hermes and Qwen, a JSON object between
<tool_call> and </tool_call>; Llama 3, a bare JSON object with "parameters", maybe after <|python_tag|>;
Mistral, [TOOL_CALLS] and a JSON list. A model whose template has another format, or none, is told Hermes'
format in words.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tokenloom.tokens.text import Tokenizer

OPEN, CLOSE = "<tool_call>", "</tool_call>"
PYTHON, CALLS = "<|python_tag|>", "[TOOL_CALLS]"
_NAME = re.compile(r"[A-Za-z0-9_.\-]{1,64}")
_PROMPT = """You can use the functions below when they help to answer. Each line is one function as JSON: \
its name, what it does, and a JSON schema of its parameters.
<tools>
{tools}
</tools>
To call a function, write its name and arguments as JSON between these tags, one pair of tags for each call:
<tool_call>
{{"name": "the function's name", "arguments": {{"a parameter": "its value"}}}}
</tool_call>
The result comes back between <tool_response> and </tool_response>. If no function helps, answer in words."""


@dataclass(frozen=True)
class ToolFormat:
    """How one model writes calls."""

    kind: Literal["hermes", "llama", "mistral"]
    native: bool
    """The model's own template lists the tools and writes earlier calls; otherwise `tool_prompt` does."""
    ids: Mapping[str, int]
    """The format's markers that are tokens of their own -> id."""
    system: bool = True
    """The template takes a system message."""

    @property
    def shown(self) -> frozenset[str]:
        """Tokens the parser needs to see even if they are special: TextStream(special=...)."""
        return frozenset(self.ids)


def tool_format(tokenizer: Tokenizer) -> ToolFormat:
    """The format of this tokenizer's template, or Hermes' in words where it has none of the three."""
    template = tokenizer.template
    text = "\n".join(template.templates.values()) if template else ""
    native = template is not None and template.takes_tools
    kind: Literal["hermes", "llama", "mistral"] = "hermes"
    if native and CALLS in text and "[ARGS]" not in text:
        kind = "mistral"
    elif native and OPEN in text and "<function=" not in text and CALLS not in text:
        kind = "hermes"
    elif native and '"parameters"' in text and (PYTHON in tokenizer.special or "python_tag" in text):
        kind = "llama"
    else:
        native = False
    markers = {"hermes": (OPEN, CLOSE), "llama": (PYTHON,), "mistral": (CALLS,)}[kind]
    ids = {marker: tokenizer.added[marker] for marker in markers if marker in tokenizer.added}
    return ToolFormat(kind, native, ids, template is None or template.takes_system)


def tool_prompt(
    messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]] | None, format: ToolFormat
) -> list[dict[str, Any]]:
    """The messages with tools, calls and results written out in words, for a template that knows none.

    A native format's messages come back as they are: their template does it.
    """
    if format.native:
        return [dict(message) for message in messages]
    turns: list[dict[str, Any]] = []
    for message in messages:
        turn = _worded(message)
        answered = turns and turns[-1].get("role") == "user" == turn["role"]
        if answered and message.get("role") == "tool":
            turns[-1] = {**turns[-1], "content": f"{_text(turns[-1].get('content'))}\n{turn['content']}"}
        else:
            turns.append(turn)
    return _introduce(turns, tools, format) if tools else turns


def _introduce(
    turns: list[dict[str, Any]], tools: Sequence[Mapping[str, Any]], format: ToolFormat
) -> list[dict[str, Any]]:
    lines = [json.dumps(function_of(tool, index), ensure_ascii=False) for index, tool in enumerate(tools)]
    text = _PROMPT.format(tools="\n".join(lines))
    role = "system" if format.system else "user"
    if turns and turns[0]["role"] == role:
        said = _text(turns[0].get("content"))
        return [
            {**turns[0], "content": f"{said}\n\n{text}" if format.system else f"{text}\n\n{said}"},
            *turns[1:],
        ]
    return [{"role": role, "content": text}, *turns]


def _worded(message: Mapping[str, Any]) -> dict[str, Any]:
    """A message whose calls or result stand in its content."""
    if message.get("role") == "tool":
        return {
            "role": "user",
            "content": f"<tool_response>\n{_text(message.get('content'))}\n</tool_response>",
        }
    turn = {key: value for key, value in message.items() if key != "tool_calls"}
    if calls := message.get("tool_calls"):
        said = _text(message.get("content"))
        turn["content"] = "\n".join(([said] if said else []) + [_written(call) for call in calls])
    return turn


def _written(call: Mapping[str, Any]) -> str:
    function = call.get("function", call)
    arguments = function.get("arguments", {})
    if not isinstance(arguments, str):
        arguments = json.dumps(arguments, ensure_ascii=False)
    name = json.dumps(function.get("name"), ensure_ascii=False)
    return f'{OPEN}\n{{"name": {name}, "arguments": {arguments}}}\n{CLOSE}'


def _text(content: Any) -> str:
    if isinstance(content, (list, tuple)):
        return "".join(str(part.get("text", "")) for part in content if isinstance(part, Mapping))
    return "" if content is None else str(content)


def function_of(tool: Mapping[str, Any], index: int) -> dict[str, Any]:
    """The function of an OpenAI-shaped tool; ValueError names what is wrong."""
    function = tool.get("function", tool) if isinstance(tool, Mapping) else tool
    name = function.get("name") if isinstance(function, Mapping) else None
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError(
            f"tools[{index}].function.name: found {name!r}; allowed: 1 to 64 letters, digits and . _ -"
        )
    if not isinstance(function.get("parameters", {}), Mapping):
        raise ValueError(f"tools[{index}].function.parameters: allowed: a JSON schema, which is an object")
    return dict(function)


def tool_schema(
    tools: Sequence[Mapping[str, Any]], choice: Any, format: ToolFormat, parallel: bool = False
) -> tuple[Literal["grammar"], str] | None:
    """The constraint (kind, text) under which an answer is a well-formed call; None for "auto" and "none".

    choice: "required", a function's name, or {"type": "function", "function": {"name": ...}}; parallel: more
    calls than one may come. Arguments keep to their schema. ValueError for a function that is not there.
    """
    if choice in (None, "auto", "none"):
        return None
    functions = [function_of(tool, index) for index, tool in enumerate(tools)]
    if choice != "required":
        name = choice
        if isinstance(choice, Mapping):
            inner = choice.get("function", choice)
            name = inner.get("name") if isinstance(inner, Mapping) else None
        named = [function for function in functions if function["name"] == name]
        if not named:
            names = ", ".join(function["name"] for function in functions) or "none"
            raise ValueError(
                f"tool_choice: found {name!r}; allowed: auto, none, required, or one of: {names}"
            )
        functions, parallel = named, False
    if not functions:
        raise ValueError("tools: found none; allowed: one or more, where tool_choice asks for a call")
    return "grammar", _grammar(functions, format, parallel)


def _grammar(functions: Sequence[Mapping[str, Any]], format: ToolFormat, parallel: bool) -> str:
    """A Lark grammar of llguidance."""

    def marker(text: str) -> str:
        return f"<[{format.ids[text]}]>" if text in format.ids else json.dumps(text)

    line = json.dumps("\n")
    if format.kind == "hermes":
        one, many = f"{marker(OPEN)} {line} call {line} {marker(CLOSE)}", f"one ({line} one)*"
    elif format.kind == "mistral":
        one, many = "call", f'{marker(CALLS)} "[" one (", " one)* "]"'
        parallel, many = True, many if parallel else f'{marker(CALLS)} "[" one "]"'
    else:
        one, many = "call", 'one ("; " one)*'
    word = "parameters" if format.kind == "llama" else "arguments"
    rules = [f"start: {many if parallel else 'one'}", f"one: {one}"]
    rules.append("call: " + " | ".join(f"call_{index}" for index in range(len(functions))))
    for index, function in enumerate(functions):
        head = json.dumps(f'{{"name": {json.dumps(function["name"])}, "{word}": ')
        rules.append(f'call_{index}: {head} arguments_{index} "}}"')
        rules.append(f"arguments_{index}: %json {json.dumps(_schema(function))}")
    return "\n".join(rules)


def _schema(function: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments' schema, written as models write JSON: one space after a comma and a colon."""
    schema = dict(function.get("parameters") or {"properties": {}, "additionalProperties": False})
    schema.setdefault("type", "object")
    spaces = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
    schema["x-guidance"] = {**spaces, **schema.get("x-guidance", {})}
    return schema

"""The shapes conversations are published in, each as OpenAI messages.

    openai       {"messages": [{"role", "content", ...}], "tools"}
    sharegpt     {"conversations": [{"from", "value"}], "system", "tools"}
    alpaca       {"instruction", "input", "output", "system", "history": [[asked, answered], ...]}
    completion   {"prompt", "completion"}, each a text or messages

Not checked here: whether the messages make a conversation (conversations.py). Sources: the OpenAI fine-tuning
format; Taori et al. 2023, Stanford Alpaca; FastChat's data format for ShareGPT; trl's prompt-completion type.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Message = dict[str, Any]
NOT_A_LIST = "not a list of messages"
NOT_TEXT = "content is not text"
UNKNOWN_ROLE = "unknown role"
BAD_TOOLS = "tools are not a list of objects"
OTHER_SHAPE = "not of the file's shape"


class Misshapen(ValueError):
    """A row that is none of its shape; the reason is one of the constants above."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail = reason, detail


@dataclass(frozen=True)
class Shape:
    """One way of writing a conversation down."""

    name: str
    fields: frozenset[str]
    """All of its fields; the others of a row are meta."""
    matches: Callable[[Mapping[str, Any]], bool]
    messages: Callable[[Mapping[str, Any]], list[Message]]


_FROM = {
    "human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant", "chatgpt": "assistant",
    "bing": "assistant", "bard": "assistant", "model": "assistant", "bot": "assistant", "system": "system",
    "tool": "tool", "observation": "tool", "function_response": "tool", "function_call": "function_call",
}  # fmt: skip


def plain(value: Any) -> Any:
    """A value as JSON has it: a table's column may hold JSON in a text, or lists of fields for a list of
    objects."""
    if isinstance(value, str) and value.lstrip()[:1] in ("[", "{"):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return value
    if isinstance(value, Mapping) and value and all(isinstance(column, list) for column in value.values()):
        sizes = {len(column) for column in value.values()}
        if len(sizes) == 1:
            return [dict(zip(value, row, strict=True)) for row in zip(*value.values(), strict=True)]
    return value


def _list_of_objects(value: Any, where: str) -> list[Mapping[str, Any]]:
    value = plain(value)
    if not isinstance(value, list) or not all(isinstance(turn, Mapping) for turn in value):
        raise Misshapen(NOT_A_LIST, f"{where} is {_said(value)}")
    return value


def _said(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def text_of(content: Any, where: str) -> str | None:
    """A message's content as a text; None stays None. Parts of text are joined."""
    if content is None or isinstance(content, str):
        return content
    if isinstance(content, list) and all(
        isinstance(part, Mapping) and part.get("type") == "text" and isinstance(part.get("text"), str)
        for part in content
    ):
        return "".join(part["text"] for part in content)
    raise Misshapen(NOT_TEXT, f"{where} is {_said(content)}")


def _openai_messages(row: Mapping[str, Any]) -> list[Message]:
    return _messages(row["messages"], "messages")


def _messages(value: Any, where: str) -> list[Message]:
    made = []
    for index, turn in enumerate(_list_of_objects(value, where)):
        message = {key: field for key, field in turn.items() if field is not None}
        message["content"] = text_of(turn.get("content"), f"{where}[{index}].content")
        if message.get("role") == "function":  # the older name
            message["role"] = "tool"
        made.append(message)
    return made


def _sharegpt_messages(row: Mapping[str, Any]) -> list[Message]:
    name = "conversations" if "conversations" in row else "conversation"
    made: list[Message] = _system(row)
    for index, turn in enumerate(_list_of_objects(row[name], name)):
        said, where = turn.get("from", turn.get("role")), f"{name}[{index}]"
        value = text_of(turn.get("value", turn.get("content")), f"{where}.value")
        role = _FROM.get(said.lower()) if isinstance(said, str) else None
        if role is None:
            raise Misshapen(UNKNOWN_ROLE, f"{where}.from is {_said(said)}")
        if role == "function_call":
            made.append(_call(value, where))
        elif index or made != [{"role": role, "content": value}]:  # a system text may be there twice
            made.append({"role": role, "content": value})
    return made


def _call(value: str | None, where: str) -> Message:
    """ShareGPT's function_call: {"name", "arguments"} in a text, or several."""
    calls = plain(value)
    calls = [calls] if isinstance(calls, Mapping) else calls
    if not isinstance(calls, list) or not all(isinstance(c, Mapping) and "name" in c for c in calls):
        raise Misshapen(NOT_TEXT, f"{where}.value is no call: {_said(value)}")
    made = []
    for call in calls:
        arguments = call.get("arguments", {})
        text = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
        made.append({"type": "function", "function": {"name": call["name"], "arguments": text}})
    return {"role": "assistant", "content": None, "tool_calls": made}


def _system(row: Mapping[str, Any]) -> list[Message]:
    system = row.get("system")
    if system is not None and not isinstance(system, str):
        raise Misshapen(NOT_TEXT, f"system is {_said(system)}")
    return [{"role": "system", "content": system}] if system and system.strip() else []


def _text_field(row: Mapping[str, Any], name: str) -> str:
    value = row.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise Misshapen(NOT_TEXT, f"{name} is {_said(value)}")
    return value


def _alpaca_messages(row: Mapping[str, Any]) -> list[Message]:
    made = _system(row)
    history = plain(row.get("history")) or []
    if not isinstance(history, list) or not all(
        isinstance(pair, list) and len(pair) == 2 and all(isinstance(text, str) for text in pair)
        for pair in history
    ):
        raise Misshapen(NOT_A_LIST, f"history is {_said(history)}")
    for asked, answered in history:
        made += [{"role": "user", "content": asked}, {"role": "assistant", "content": answered}]
    asked = "\n\n".join(filter(str.strip, (_text_field(row, "instruction"), _text_field(row, "input"))))
    return [
        *made,
        {"role": "user", "content": asked},
        {"role": "assistant", "content": _text_field(row, "output")},
    ]


def _completion_messages(row: Mapping[str, Any]) -> list[Message]:
    made = []
    for name, role in (("prompt", "user"), ("completion", "assistant")):
        value = plain(row[name])
        spoken = isinstance(value, list) and all(isinstance(v, Mapping) and "role" in v for v in value)
        if spoken or isinstance(row[name], list):
            made += _messages(value, name)
        else:
            made.append({"role": role, "content": _text_field(row, name)})
    return made


def _has(*names: str) -> Callable[[Mapping[str, Any]], bool]:
    return lambda row: all(name in row for name in names)


SHAPES = (
    Shape("openai", frozenset({"messages", "tools", "functions"}), _has("messages"), _openai_messages),
    Shape(
        "sharegpt",
        frozenset({"conversations", "conversation", "system", "tools"}),
        lambda row: "conversations" in row or "conversation" in row,
        _sharegpt_messages,
    ),
    Shape(
        "alpaca",
        frozenset({"instruction", "input", "output", "system", "history"}),
        _has("instruction", "output"),
        _alpaca_messages,
    ),
    Shape(
        "completion",
        frozenset({"prompt", "completion", "tools"}),
        _has("prompt", "completion"),
        _completion_messages,
    ),
)


def shape_of(row: Any) -> Shape | None:
    """The shape a row has, by its fields."""
    if not isinstance(row, Mapping):
        return None
    return next((shape for shape in SHAPES if shape.matches(row)), None)


def tools_of(row: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    """The tools of a row, None where it names none; the older `functions` are tools of their kind."""
    given = plain(row.get("tools"))
    if not given and row.get("functions"):
        given = [{"type": "function", "function": one} for one in _objects(plain(row["functions"]))]
    if given is None or given == "" or given == []:
        return None
    return [dict(tool) for tool in _objects(given)]


def _objects(value: Any) -> list[Mapping[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(one, Mapping) for one in value):
        raise Misshapen(BAD_TOOLS, f"found {_said(value)}")
    return value

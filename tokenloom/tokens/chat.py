"""Chat messages -> ids, through the model's own template.

Not the template's language: that is template.py. The ids are those of transformers' apply_chat_template,
except where a message holds the text of a control token: there it stays text, so that no one forges a turn.

How: before rendering, each such text is wrapped in two noncharacters that occur nowhere in the messages. In
the rendered prompt, control tokens outside a wrap are control; all else, unwrapped, is encoded as plain text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tokenloom.tokens.template import ChatTemplate, Message, TemplateRefused
from tokenloom.tokens.text import Tokenizer
from tokenloom.tokens.tools import tool_format, tool_prompt

__all__ = ["ChatTemplate", "Message", "TemplateRefused", "encode_chat"]

_NONCHARACTERS = [chr(code) for code in range(0xFDD0, 0xFDF0)]


def encode_chat(
    tokenizer: Tokenizer,
    messages: Sequence[Message],
    tools: Sequence[Mapping[str, Any]] | None = None,
    add_generation_prompt: bool = True,
    **kwargs: Any,
) -> list[int]:
    """The prompt's ids. Keywords reach the template (enable_thinking, documents, ...).

    Messages are OpenAI-shaped: content is a text or a list of {"type": "text"} parts, a call's arguments are
    JSON in a text. Where the template has no place for tools, they are told in words (tools.tool_prompt).
    Raises ValueError for a model without a template, for other kinds of parts, and with the template's words
    where it refuses the messages.
    """
    template = tokenizer.template
    if template is None:
        raise ValueError("messages: this model has no chat template; complete a text instead")
    for index, message in enumerate(messages):
        if not isinstance(message, Mapping) or not isinstance(message.get("role"), str):
            raise ValueError(f"messages[{index}]: found {message!r}; allowed: an object with a role")
    format = tool_format(tokenizer)
    if not format.native:
        messages, tools = tool_prompt(messages, tools, format), None
    chat = shaped(template, messages)
    given = [chat, tools, kwargs]
    if not any(tokenizer.control.search(text) for text in _texts(given)):
        return tokenizer.encode_control(template.render(chat, tools, add_generation_prompt, **kwargs))
    joined = "".join(_texts(given))
    free = [mark for mark in _NONCHARACTERS if mark not in joined][:2]
    if len(free) < 2:
        raise ValueError(
            "messages: found nearly every noncharacter U+FDD0 to U+FDEF; allowed: at most 30 kinds"
        )
    start, end = free
    wrap = _wrapper(tokenizer.control, start, end)
    own = _wrapper(tokenizer.control_special, start, end)
    # The model's own earlier turns may hold its markers, such as <think>, and those stay what they were.
    marked = [_mapped(turn, own if turn["role"] == "assistant" else wrap) for turn in chat]
    text = template.render(marked, _mapped(tools, wrap), add_generation_prompt, **_mapped(kwargs, wrap))
    return _encode_marked(tokenizer, text, start, end)


def shaped(template: ChatTemplate, messages: Sequence[Message]) -> list[dict[str, Any]]:
    """OpenAI-shaped messages as templates expect them: arguments as objects, text parts as one text."""
    made = []
    for index, message in enumerate(messages):
        turn = dict(message)
        if isinstance(content := turn.get("content"), (list, tuple)):
            parts = _parts(content, index)
            turn["content"] = parts if template.takes_parts else "".join(part["text"] for part in parts)
        if calls := turn.get("tool_calls"):
            turn["tool_calls"] = [_call(call) for call in calls]
        made.append(turn)
    return made


def _parts(content: Sequence[Any], index: int) -> list[dict[str, Any]]:
    for at, part in enumerate(content):
        if (
            not isinstance(part, Mapping)
            or part.get("type") != "text"
            or not isinstance(part.get("text"), str)
        ):
            kind = part.get("type") if isinstance(part, Mapping) else type(part).__name__
            raise ValueError(
                f'messages[{index}].content[{at}]: found {kind!r}; allowed: "text" with its text'
            )
    return [dict(part) for part in content]


def _call(call: Any) -> Any:
    """A tool call whose arguments, JSON in a text, are an object; others stay as they are."""
    if not isinstance(call, Mapping):
        return call
    if isinstance(inner := call.get("function"), Mapping):
        return {**call, "function": _call(inner)}
    if not isinstance(written := call.get("arguments"), str):
        return dict(call)
    try:
        read = json.loads(written)
    except ValueError:
        return dict(call)
    return {**call, "arguments": read if isinstance(read, dict) else written}


def _texts(value: Any) -> list[str]:
    """All texts in a value, keys too."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, Mapping):
        return [text for pair in value.items() for item in pair for text in _texts(item)]
    if isinstance(value, (list, tuple)):
        return [text for item in value for text in _texts(item)]
    return []


def _mapped(value: Any, change: Callable[[str], str]) -> Any:
    """The value with every text changed, keys too."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {_mapped(key, change): _mapped(item, change) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_mapped(item, change) for item in value]
    return value


def _wrapper(control: re.Pattern[str], start: str, end: str) -> Callable[[str], str]:
    return lambda text: control.sub(lambda found: start + found[0] + end, text)


def _encode_marked(tokenizer: Tokenizer, text: str, start: str, end: str) -> list[int]:
    # A template may escape what is not ASCII (tojson, a printed object): then a mark reads \ufdd0.
    starts, ends = (f"(?:{mark}|\\\\u{ord(mark):04x})" for mark in (start, end))
    control = tokenizer.control.pattern
    pattern = re.compile(f"{starts}(?P<plain>{control}){ends}|(?P<control>{control})|{starts}|{ends}")
    ids: list[int] = []
    plain: list[str] = []
    after: str | None = None
    at = 0
    for found in pattern.finditer(text):
        plain.append(text[at : found.start()])
        at = found.end()
        if found["plain"] is not None:
            plain.append(found["plain"])
        elif found["control"] is not None:
            ids += tokenizer.encode_between("".join(plain), after, found["control"])
            plain, after = [], found["control"]
            ids.append(tokenizer.control_ids[after])
    plain.append(text[at:])
    return ids + tokenizer.encode_between("".join(plain), after, None)

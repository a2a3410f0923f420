"""Tools on both sides of the model: into its prompt, and its calls out of the text in OpenAI's shape.

Not the formats themselves; they are in tokens.tools. With tool_choice auto the model is free, so its
arguments need not fit their schema; where a call is required they do.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tokenloom.engine.request import Constraint
from tokenloom.serve.answers import News
from tokenloom.serve.errors import bad_request
from tokenloom.serve.schema_chat import ChatRequest
from tokenloom.tokens.text import Tokenizer
from tokenloom.tokens.toolparser import CallPiece, TextPiece, ToolParser
from tokenloom.tokens.tools import CALLS, OPEN, PYTHON, ToolFormat, tool_format, tool_prompt, tool_schema

MARKERS = (OPEN, PYTHON, CALLS)
MARKED = 5
"""So many letters of a marker are no text any more."""


@dataclass(frozen=True)
class Tooling:
    """How one request's messages and tools reach the model, and how its calls are read."""

    messages: Sequence[Mapping[str, Any]]
    tools: Sequence[Mapping[str, Any]] | None
    """For the model's own template; None where the messages carry them, or there are none."""
    constraint: Constraint | None
    format: ToolFormat | None
    """None where the answer is not to be searched for calls."""
    names: Collection[str] = ()
    many: bool = True
    """More calls than one may come."""
    forced: bool = False
    """The answer is calls and nothing else."""

    @property
    def shown(self) -> Collection[str]:
        """Special tokens that have to be seen in the text."""
        return () if self.format is None else self.format.shown


def tooling(body: ChatRequest, tokenizer: Tokenizer) -> Tooling:
    """What the request's tools, its tool_choice and its response_format come to."""
    messages = body.dicts()
    constraint = body.constraint()
    choice = body.choice()
    if choice == "none":
        if any("tool_calls" in message or message["role"] == "tool" for message in messages):
            messages = tool_prompt(messages, None, tool_format(tokenizer))
        return Tooling(messages, None, constraint, None)
    tools = body.tool_dicts()
    many = body.parallel_tool_calls is not False
    format = tool_format(tokenizer)
    required = choice != "auto"
    if required and constraint is not None:
        message = "tool_choice requires a call, and response_format or structured_outputs another text"
        raise bad_request(message, "tool_choice")
    asked = choice.removeprefix("function:") if required else "required"
    if required or constraint is not None:
        found = tool_schema(tools, asked, format, parallel=many)
        assert found is not None
        constraint = Constraint(*found) if constraint is None else _either(found[1], constraint)
    written = tool_prompt(messages, tools, format)
    names = {tool["function"]["name"] for tool in tools}
    return Tooling(written, tools if format.native else None, constraint, format, names, many, required)


def _either(calls: str, constraint: Constraint) -> Constraint:
    """A grammar for calls, or for the JSON that response_format asks for."""
    if constraint.kind not in ("json", "json_schema"):
        message = f"structured_outputs ({constraint.kind}) and tools exclude each other; use tool_choice none"
        raise bad_request(message, "structured_outputs")
    schema = json.loads(constraint.text) if constraint.kind == "json_schema" else {"type": "object"}
    head, rest = calls.split("\n", 1)
    assert head.startswith("start: ")
    lines = (
        "start: calls | answer",
        f"answer: %json {json.dumps(schema)}",
        head.replace("start", "calls", 1),
        rest,
    )
    return Constraint("grammar", "\n".join(lines))


def is_whole(call: Mapping[str, Any]) -> bool:
    """Whether a call's arguments are complete JSON."""
    try:
        json.loads(call["function"]["arguments"])
    except ValueError:
        return False
    return True


@dataclass
class Reader:
    """One choice's text on its way to the deltas of a message."""

    tooling: Tooling
    calls: dict[int, dict[str, Any]] = field(default_factory=dict)
    """The whole calls so far, by index."""
    enough: bool = False
    """The one call that was allowed is there; what follows does not count."""

    def __post_init__(self) -> None:
        tooling = self.tooling
        self._parser = None if tooling.format is None else ToolParser(tooling.format, tooling.names)

    def push(self, news: News) -> list[dict[str, Any]]:
        """The message's deltas: content, or tool_calls with index, id and name first, then arguments.

        A name is sent once it is whole and its arguments begin. Arguments are sent as they come, so at a
        limit a stream may end within them; finish_reason length says so.
        """
        if self._parser is None:
            return [{"content": news.text}] if news.text else []
        pieces = self._parser.push(news.text)
        if news.finish is not None:
            rest = self._parser.finish()
            pieces += [piece for piece in rest if not (news.finish == "length" and self._cut(piece))]
        deltas: list[dict[str, Any]] = []
        for piece in pieces:
            if self.enough or (isinstance(piece, CallPiece) and piece.index > 0 and not self.tooling.many):
                self.enough = True
                break
            deltas += [{"content": piece.text}] if isinstance(piece, TextPiece) else self._call(piece)
        return deltas

    def _cut(self, piece: TextPiece | CallPiece) -> bool:
        """Whether what was held back at the limit is the start of a call that has no name yet.

        Where the model was free, a marker or most of one counts as such; a letter or two of it may be text.
        """
        if not isinstance(piece, TextPiece):
            return False
        text = piece.text.lstrip()
        begun = len(text) >= MARKED and any(marker.startswith(text) for marker in MARKERS)
        return self.tooling.forced or begun or text.startswith(MARKERS)

    def whole_calls(self) -> list[dict[str, Any]]:
        """The calls whose arguments are all there, for an answer that is sent at once."""
        return [self.calls[at] for at in sorted(self.calls) if is_whole(self.calls[at])]

    def _call(self, piece: CallPiece) -> list[dict[str, Any]]:
        if piece.broken:  # what was streamed cannot be taken back, but it no longer counts as a call
            del self.calls[piece.index]
            return []
        function: dict[str, Any] = {"arguments": piece.arguments}
        delta: dict[str, Any] = {"index": piece.index, "function": function}
        if piece.name is not None:
            delta = {"index": piece.index, "id": piece.id, "type": "function"}
            delta["function"] = {"name": piece.name, **function}
            whole = {"id": piece.id, "type": "function", "function": {"name": piece.name, **function}}
            self.calls[piece.index] = whole
        else:
            self.calls[piece.index]["function"]["arguments"] += piece.arguments
        return [{"tool_calls": [delta]}]

    def finish_reason(self, finish: str) -> str:
        """tool_calls where calls are the answer; length stays length, since the last call may be cut off."""
        return "tool_calls" if self.calls and finish == "stop" else finish

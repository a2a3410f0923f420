"""What POST /v1/messages takes: Anthropic's route, for the programs that speak it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from tokenloom.serve.body import Body
from tokenloom.serve.schema_chat import Name
from tokenloom.serve.schema_sampling import Part


class Marked(Part):
    cache_control: dict[str, Any] | None = None
    """Accepted; prefixes are found by their content, so no mark is needed."""


class TextBlock(Marked):
    type: Literal["text"]
    text: str
    citations: None = None


class UseBlock(Marked):
    type: Literal["tool_use"]
    id: str
    name: str
    input: dict[str, Any]


class ResultBlock(Marked):
    type: Literal["tool_result"]
    tool_use_id: str
    content: str | list[TextBlock] | None = None
    is_error: bool | None = None
    """Accepted; the content says what went wrong."""


Block = Annotated[TextBlock | UseBlock | ResultBlock, Field(discriminator="type")]


class Turn(Part):
    role: Literal["user", "assistant"]
    content: str | list[Block]


class MessageTool(Marked):
    name: Name
    type: Literal["custom"] | None = None
    description: str | None = None
    input_schema: dict[str, Any]


class ToolChoice(Part):
    type: Literal["auto", "any", "tool", "none"]
    name: str | None = None
    disable_parallel_tool_use: bool | None = None

    @model_validator(mode="after")
    def _named(self) -> ToolChoice:
        if (self.type == "tool") != (self.name is not None):
            raise ValueError("name: belongs to type tool, which needs it")
        return self


class UserId(Part):
    user_id: str | None = None


class NoThinking(Part):
    type: Literal["disabled"]


class MessagesRequest(Body):
    model: str = Field("", min_length=1)
    """When not given: the first that --model names, else smollm2 where it is installed, else another."""
    messages: list[Turn] = Field(min_length=1)
    max_tokens: int = Field(ge=1)
    """New tokens at most, an upper limit: what the context leaves is a limit too."""
    system: str | list[TextBlock] | None = None
    temperature: float | None = Field(None, ge=0, le=1)
    """When not given: as in /v1/chat/completions, the model's recommended sampling, else 1."""
    top_p: float | None = Field(None, gt=0, le=1)
    top_k: int | None = Field(None, ge=0)
    stop_sequences: list[str] | None = None
    stream: bool | None = None
    tools: list[MessageTool] | None = Field(None, max_length=128)
    tool_choice: ToolChoice | None = None
    thinking: NoThinking | None = None
    metadata: UserId | None = None
    service_tier: Literal["auto", "standard_only"] | None = None

    refused: ClassVar[Mapping[str, str]] = {
        "container": "leave it out",
        "mcp_servers": "give their tools as tools",
        "context_management": "leave it out",
        "output_config": "leave it out",
    }

    def chat(self) -> dict[str, Any]:
        """The same request in the shape of /v1/chat/completions."""
        plain = {name: getattr(self, name) for name in ("model", "temperature", "top_p", "top_k", "stream")}
        body: dict[str, Any] = {name: value for name, value in plain.items() if value is not None}
        body["max_tokens"] = self.max_tokens
        body["messages"] = (
            [] if self.system is None else [{"role": "system", "content": _joined(self.system)}]
        )
        for turn in self.messages:
            body["messages"] += _messages(turn)
        if self.stop_sequences:
            body["stop"] = self.stop_sequences
        if self.tools:
            body["tools"] = [_tool(tool) for tool in self.tools]
        if self.tool_choice is not None:
            name = {"type": "function", "function": {"name": self.tool_choice.name}}
            kinds = {"auto": "auto", "any": "required", "none": "none", "tool": name}
            body["tool_choice"] = kinds[self.tool_choice.type]
            body["parallel_tool_calls"] = self.tool_choice.disable_parallel_tool_use is not True
        return body


def _joined(content: str | list[TextBlock]) -> str:
    return content if isinstance(content, str) else "\n".join(block.text for block in content)


def _tool(tool: MessageTool) -> dict[str, Any]:
    function: dict[str, Any] = {"name": tool.name, "parameters": tool.input_schema}
    if tool.description is not None:
        function["description"] = tool.description
    return {"type": "function", "function": function}


def _messages(turn: Turn) -> list[dict[str, Any]]:
    """A turn as chat messages: tool results first, as that route wants them after the calls."""
    if isinstance(turn.content, str):
        return [{"role": turn.role, "content": turn.content}]
    texts = [block.text for block in turn.content if isinstance(block, TextBlock)]
    found: list[dict[str, Any]] = []
    calls = []
    for block in turn.content:
        if isinstance(block, ResultBlock):
            content = "" if block.content is None else _joined(block.content)
            found.append({"role": "tool", "tool_call_id": block.tool_use_id, "content": content})
        elif isinstance(block, UseBlock):
            function = {"name": block.name, "arguments": json.dumps(block.input, ensure_ascii=False)}
            calls.append({"id": block.id, "type": "function", "function": function})
    message: dict[str, Any] = {"role": turn.role, "content": "\n".join(texts)}
    if calls:
        message["tool_calls"] = calls
    return [*found, message] if texts or calls or not found else found

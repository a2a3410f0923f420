"""What POST /v1/responses takes: OpenAI's newer route, without anything stored between requests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator

from tokenloom.serve.body import Body
from tokenloom.serve.schema_chat import Name
from tokenloom.serve.schema_sampling import SEEDS, Part


class Piece(Part):
    type: Literal["input_text", "output_text"]
    text: str
    annotations: list[Any] | None = Field(None, max_length=0)
    logprobs: list[Any] | None = None


class Said(Part):
    type: Literal["message"] = "message"
    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[Piece]
    id: str | None = None
    status: str | None = None
    phase: None = None


class Called(Part):
    type: Literal["function_call"]
    call_id: str
    name: str
    arguments: str
    id: str | None = None
    status: str | None = None


class Returned(Part):
    type: Literal["function_call_output"]
    call_id: str
    output: str | list[Piece]
    id: str | None = None
    status: str | None = None


Item = Said | Called | Returned


class FunctionTool(Part):
    type: Literal["function"]
    name: Name
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class NamedFunction(Part):
    type: Literal["function"]
    name: str


class Text(Part):
    type: Literal["text"]


class JsonObject(Part):
    type: Literal["json_object"]


class Schema(Part):
    type: Literal["json_schema"]
    name: Name
    schema_: dict[str, Any] = Field(alias="schema")
    description: str | None = None
    strict: bool | None = None


class TextOptions(Part):
    format: Annotated[Text | JsonObject | Schema, Field(discriminator="type")] | None = None


class ResponsesRequest(Body):
    model: str = Field("", min_length=1)
    """When not given: the first that --model names, else smollm2 where it is installed, else another."""
    input: str | list[Item]
    instructions: str | None = None
    max_output_tokens: int | None = Field(None, ge=0)
    """New tokens at most, an upper limit: what the context leaves is a limit too."""
    temperature: float | None = Field(None, ge=0, le=2)
    """When not given: as in /v1/chat/completions, the model's recommended sampling, else 1."""
    top_p: float | None = Field(None, gt=0, le=1)
    top_k: int | None = Field(None, ge=-1)
    seed: int | None = Field(None, ge=-SEEDS, lt=SEEDS)
    stream: bool | None = None
    tools: list[FunctionTool] | None = Field(None, max_length=128)
    tool_choice: Literal["auto", "none", "required"] | NamedFunction | None = None
    parallel_tool_calls: bool | None = None
    text: TextOptions | None = None
    truncation: Literal["disabled"] | None = None
    """A prompt too long is an error; nothing is cut."""
    include: list[str] | None = Field(None, max_length=0)
    metadata: dict[str, str] | None = None
    user: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    service_tier: Literal["auto", "default"] | None = None
    store: bool | None = Field(None, json_schema_extra={"enum": [False, None]})
    """Nothing is stored."""

    refused: ClassVar[Mapping[str, str]] = {
        "previous_response_id": "nothing is stored; send the whole conversation as input",
        "conversation": "nothing is stored; send the whole conversation as input",
        "background": "leave it out and wait for the answer",
        "prompt": "write the prompt into input",
        "reasoning": "leave it out",
        "top_logprobs": "ask /v1/chat/completions",
        "max_tool_calls": "leave it out",
        "context_management": "leave it out",
        "stream_options": "usage comes with the last event",
        "messages": "use input, or ask /v1/chat/completions",
    }

    @field_validator("store")
    @classmethod
    def _not_stored(cls, value: bool | None) -> bool | None:
        if value:
            raise ValueError("this server stores nothing; allowed: false")
        return value

    def chat(self) -> dict[str, Any]:
        """The same request in the shape of /v1/chat/completions."""
        plain = {name: getattr(self, name) for name in SAME}
        body = {name: value for name, value in plain.items() if value is not None}
        body["messages"] = self._messages()
        if self.tools:
            body["tools"] = [_tool(tool) for tool in self.tools]
        if isinstance(self.tool_choice, NamedFunction):
            body["tool_choice"] = {"type": "function", "function": {"name": self.tool_choice.name}}
        elif self.tool_choice is not None:
            body["tool_choice"] = self.tool_choice
        if self.max_output_tokens is not None:
            body["max_completion_tokens"] = self.max_output_tokens
        asked = None if self.text is None else self.text.format
        if isinstance(asked, Schema):
            schema = {"name": asked.name, "schema": asked.schema_}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        elif isinstance(asked, JsonObject):
            body["response_format"] = {"type": "json_object"}
        return body

    def _messages(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        if self.instructions is not None:
            found.append({"role": "system", "content": self.instructions})
        items: list[Item] = (
            [Said(role="user", content=self.input)] if isinstance(self.input, str) else self.input
        )
        for item in items:
            if isinstance(item, Said):
                found.append({"role": item.role, "content": _joined(item.content)})
            elif isinstance(item, Returned):
                output = _joined(item.output)
                found.append({"role": "tool", "tool_call_id": item.call_id, "content": output})
            else:
                function = {"name": item.name, "arguments": item.arguments}
                call = {"id": item.call_id, "type": "function", "function": function}
                if not (found and found[-1]["role"] == "assistant"):
                    found.append({"role": "assistant", "content": ""})
                found[-1].setdefault("tool_calls", []).append(call)
        return found


SAME = (
    "model",
    "temperature",
    "top_p",
    "top_k",
    "seed",
    "stream",
    "parallel_tool_calls",
    "metadata",
    "user",
)


def _joined(content: str | list[Piece]) -> str:
    return content if isinstance(content, str) else "".join(piece.text for piece in content)


def _tool(tool: FunctionTool) -> dict[str, Any]:
    function = tool.model_dump(exclude_none=True, exclude={"type"})
    return {"type": "function", "function": function}

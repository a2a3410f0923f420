"""What POST /v1/chat/completions takes: OpenAI's fields that this server does, and a few extras."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from tokenloom.engine.request import Constraint
from tokenloom.serve.errors import bad_request
from tokenloom.serve.schema_sampling import Part, Sampled

TAKEN = frozenset({"tokenizer", "messages", "tools", "add_generation_prompt", "self"})
"""Names of chat templates' variables that the request fills by other fields."""
TEXT_ONLY = "messages hold text, and pictures as image_url"
Name = Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]


class TextPart(Part):
    type: Literal["text"]
    text: str


class ImageUrl(Part):
    url: str = Field(min_length=1)
    """data:image/png;base64,... An outside address only where the server's owner allows it."""
    detail: Literal["auto", "low", "high"] | None = None
    """Accepted: a picture is seen at the model's size."""


class ImagePart(Part):
    """A picture: for picture models, which describe it."""

    type: Literal["image_url"]
    image_url: ImageUrl


Content = str | list[TextPart]
Shown = str | list[Annotated[TextPart | ImagePart, Field(discriminator="type")]]


class Said(Part):
    role: Literal["system", "developer", "user"]
    content: Shown
    name: str | None = None


class CalledFunction(Part):
    name: str
    arguments: str
    """A JSON object as text."""

    @field_validator("arguments")
    @classmethod
    def _object(cls, value: str) -> str:
        try:
            found = json.loads(value)
        except (ValueError, RecursionError):
            raise ValueError("must be a JSON object as text") from None
        if not isinstance(found, dict):
            raise ValueError("must be a JSON object as text")
        return value


class Call(Part):
    id: str
    type: Literal["function"] = "function"
    function: CalledFunction
    index: int | None = None
    """Accepted from clients that send a streamed call back as it came."""


class Answered(Part):
    role: Literal["assistant"]
    content: Content | None = None
    name: str | None = None
    tool_calls: list[Call] | None = None
    refusal: None = None
    annotations: list[Any] | None = Field(None, max_length=0)
    audio: None = None
    function_call: None = None

    @model_validator(mode="after")
    def _something(self) -> Answered:
        if self.content is None and not self.tool_calls:
            raise ValueError("content: required where there are no tool_calls")
        return self


class ToolResult(Part):
    role: Literal["tool"]
    content: Content
    tool_call_id: str
    name: str | None = None


Message = Annotated[Said | Answered | ToolResult, Field(discriminator="role")]


class Function(Part):
    name: Name
    description: str | None = None
    parameters: dict[str, Any] | None = None
    """A JSON schema of an object."""
    strict: bool | None = None


class Tool(Part):
    type: Literal["function"]
    function: Function


class FunctionName(Part):
    name: str


class NamedTool(Part):
    type: Literal["function"]
    function: FunctionName


class JsonSchema(Part):
    name: Name
    description: str | None = None
    schema_: dict[str, Any] | None = Field(None, alias="schema")
    strict: bool | None = None
    """The schema is always held, strict or not."""


class TextFormat(Part):
    type: Literal["text"]


class ObjectFormat(Part):
    type: Literal["json_object"]


class SchemaFormat(Part):
    type: Literal["json_schema"]
    json_schema: JsonSchema


ResponseFormat = Annotated[TextFormat | ObjectFormat | SchemaFormat, Field(discriminator="type")]


class ChatRequest(Sampled):
    messages: list[Message] = Field(min_length=1)
    max_completion_tokens: int | None = Field(None, ge=0)
    """The newer name of max_tokens, an upper limit in the same way; give one of them."""
    tools: list[Tool] | None = Field(None, max_length=128)
    tool_choice: Literal["auto", "none", "required"] | NamedTool | None = None
    parallel_tool_calls: bool | None = None
    response_format: ResponseFormat | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = Field(None, ge=0, le=20)
    modalities: list[Literal["text"]] | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    """Further variables for the model's chat template, such as {"enable_thinking": false}."""

    refused: ClassVar[Mapping[str, str]] = {
        "audio": "it answers in text",
        "prediction": "leave it out",
        "web_search_options": "it reads no outside address",
        "reasoning_effort": "set chat_template_kwargs as the model's template asks",
        "verbosity": "ask for it in a message",
        "functions": "use tools",
        "function_call": "use tool_choice",
        "prompt_cache_retention": "prefixes are kept while there is room",
        "prompt_cache_options": "prefixes are found by their content",
        "moderation": "leave it out",
        "echo": "it belongs to /v1/completions",
        "prompt": "use messages, or ask /v1/completions",
        "best_of": "use n",
    }

    @field_validator("messages", mode="before")
    @classmethod
    def _known_messages(cls, value: Any) -> Any:
        """Roles and parts that others know are refused with a word on what to do."""
        for message in value if isinstance(value, list) else ():
            if not isinstance(message, dict):
                continue
            if message.get("role") == "function":
                raise ValueError("role function is not supported; use tool_calls and role tool")
            parts = message.get("content")
            for part in parts if isinstance(parts, list) else ():
                kind = part.get("type") if isinstance(part, dict) else None
                if kind in ("input_audio", "file", "refusal"):
                    raise ValueError(f"a part of type {kind} is not supported; {TEXT_ONLY}")
                if kind == "image_url" and message.get("role") != "user":
                    raise ValueError("a part of type image_url belongs to a message of the role user")
        return value

    @field_validator("chat_template_kwargs")
    @classmethod
    def _free_names(cls, value: dict[str, Any] | None) -> dict[str, Any] | None:
        for name in value or ():
            if name in TAKEN or not name.isidentifier():
                raise ValueError(
                    f"{name!r} cannot be set; allowed: names other than {', '.join(sorted(TAKEN))}"
                )
        return value

    @model_validator(mode="after")
    def _together(self) -> ChatRequest:
        if self.max_tokens is not None and self.max_completion_tokens is not None:
            raise ValueError("max_tokens and max_completion_tokens are one limit; give one of them")
        if self.top_logprobs is not None and not self.logprobs:
            raise ValueError("top_logprobs has no effect without logprobs: true")
        names = [tool.function.name for tool in self.tools or ()]
        if len(set(names)) != len(names):
            raise ValueError("tools: two functions have the same name")
        return self

    def pictures(self) -> list[ImagePart]:
        """The pictures of all messages."""
        lists = [message.content for message in self.messages if isinstance(message.content, list)]
        return [part for parts in lists for part in parts if isinstance(part, ImagePart)]

    def limit(self) -> int | None:
        """New tokens at most; None = what the context leaves."""
        return self.max_tokens if self.max_completion_tokens is None else self.max_completion_tokens

    def choice(self) -> str:
        """How tools are to be used: none, auto, required, or a function's name after `function:`."""
        names = [tool.function.name for tool in self.tools or ()]
        if isinstance(self.tool_choice, NamedTool):
            name = self.tool_choice.function.name
            if name not in names:
                known = ", ".join(names) or "none"
                raise bad_request(
                    f"tool_choice: no function {name!r} in tools; there are {known}", "tool_choice"
                )
            return f"function:{name}"
        if not names:
            if self.tool_choice == "required":
                raise bad_request("tool_choice: required, but tools is empty", "tool_choice")
            return "none"
        return "auto" if self.tool_choice is None else self.tool_choice

    def constraint(self) -> Constraint | None:
        """What response_format or structured_outputs ask of the text."""
        asked = self.response_format
        if self.structured_outputs is not None:
            if asked is not None and asked.type != "text":
                message = "structured_outputs and response_format both say what the text must be; give one"
                raise bad_request(message, "structured_outputs")
            return self.structured_outputs.constraint()
        if isinstance(asked, ObjectFormat):
            return Constraint("json")
        if isinstance(asked, SchemaFormat):
            schema = asked.json_schema.schema_
            return Constraint("json") if schema is None else Constraint("json_schema", json.dumps(schema))
        return None

    def constraint_field(self) -> str:
        if self.structured_outputs is not None:
            return "structured_outputs"
        return "tools" if self.tools else "response_format"

    def dicts(self) -> list[dict[str, Any]]:
        """The messages as chat templates know them."""
        found = []
        for message in self.messages:
            plain = message.model_dump(exclude_none=True)
            plain.pop("annotations", None)
            if plain["role"] == "developer":
                plain["role"] = "system"
            for call in plain.get("tool_calls", ()):
                call.pop("index", None)
            if message.content is None:
                plain["content"] = ""
            found.append(plain)
        return found

    def tool_dicts(self) -> list[dict[str, Any]]:
        return [tool.model_dump(exclude_none=True) for tool in self.tools or ()]

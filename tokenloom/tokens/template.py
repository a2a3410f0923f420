"""A model's own chat template: messages -> the text it was trained on.

Not encoding: special strings inside messages are dealt with in chat.py. Renders what transformers'
apply_chat_template(tokenize=False) renders, in the sandbox of sandbox.py, over plain JSON values only.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tokenloom.weights.tokenizer_files import template_hash

Message = Mapping[str, Any]
_REASONING = ("reasoning_content", "thinking", "reasoning")


class TemplateRefused(ValueError):
    """The template itself refused the messages (raise_exception) or could not be run."""


@dataclass(frozen=True)
class ChatTemplate:
    """The templates of one model by name ("default", "tool_use", ...) and the strings they may refer to."""

    templates: Mapping[str, str]
    variables: Mapping[str, str] = field(default_factory=dict)
    """bos_token, eos_token, ..."""

    @property
    def source(self) -> str:
        """The template for chats without tools."""
        return self.choose(None)

    @functools.cached_property
    def hash(self) -> str:
        """sha256 of all templates and variables: what tokenloom.json holds."""
        return template_hash(self.templates, self.variables)

    @functools.cached_property
    def takes_tools(self) -> bool:
        """Whether a template of these refers to tools."""
        from jinja2 import meta

        from tokenloom.tokens.sandbox import sandbox

        free = [meta.find_undeclared_variables(sandbox().parse(text)) for text in self.templates.values()]
        return any("tools" in names for names in free)

    @functools.cached_property
    def takes_system(self) -> bool:
        """Whether the template writes a system message, found by trying."""
        turns = [{"role": "system", "content": "SYSTEM"}, {"role": "user", "content": "a"}]
        return "SYSTEM" in self._tried(turns)

    @functools.cached_property
    def takes_parts(self) -> bool:
        """Whether the template walks a content's parts, found by trying."""
        content = [{"type": "text", "text": "FIRST"}, {"type": "text", "text": "SECOND"}]
        text = self._tried([{"role": "user", "content": content}])
        return "SECOND" in text and "'text'" not in text and '"text"' not in text

    def _tried(self, messages: Sequence[Message]) -> str:
        try:
            return self.render(messages)
        except TemplateRefused:
            return ""

    def choose(self, tools: Sequence[Any] | None) -> str:
        """The template that fits: tool_use where there are tools and it exists, else default."""
        if tools is not None and "tool_use" in self.templates:
            return self.templates["tool_use"]
        if "default" in self.templates:
            return self.templates["default"]
        if len(self.templates) == 1:
            return next(iter(self.templates.values()))
        raise ValueError(f"template: found none called default among {sorted(self.templates)}")

    def render(
        self,
        messages: Sequence[Message],
        tools: Sequence[Mapping[str, Any]] | None = None,
        add_generation_prompt: bool = True,
        documents: Sequence[Mapping[str, Any]] | None = None,
        **kwargs: Any,
    ) -> str:
        """The prompt as text; keywords reach the template. TemplateRefused with the template's own words."""
        if not messages:
            raise ValueError("messages: found none; allowed: one or more")
        chat = [_message(message, index) for index, message in enumerate(messages)]
        values = {**self.variables, **plain(kwargs)}
        values.update(messages=chat, tools=plain(tools), documents=plain(documents))
        values["add_generation_prompt"] = add_generation_prompt
        return _run(_compiled(self.choose(tools)), values)


def plain(value: Any) -> Any:
    """Plain JSON types all the way down; ValueError for anything else, which a template must not hold."""
    if value is None or type(value) in (str, int, float, bool):
        return value
    if isinstance(value, Mapping):
        return {plain(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    raise ValueError(f"messages: found a {type(value).__name__}; allowed: texts, numbers, lists and objects")


def _message(message: Message, index: int) -> dict[str, Any]:
    """One message as templates expect it: no nulls, reasoning under each of its names."""
    if not isinstance(message, Mapping):
        raise ValueError(f"messages[{index}]: found a {type(message).__name__}; allowed: an object")
    if not isinstance(message.get("role"), str):
        raise ValueError(f"messages[{index}].role: found {message.get('role')!r}; allowed: a text")
    made = {key: plain(value) for key, value in message.items() if value is not None}
    reasoning = next((made[key] for key in _REASONING if key in made), None)
    if reasoning is not None:
        made = {"thinking": reasoning, **made, "reasoning_content": reasoning}
    return made


def _run(template: Any, values: dict[str, Any]) -> str:
    from jinja2.exceptions import TemplateError

    from tokenloom.tokens.sandbox import BUDGET, MAX_CHARS, Budget

    parts: list[str] = []
    size = 0
    try:
        for part in template.generate({**values, BUDGET: Budget()}):
            size += len(part)
            if size > MAX_CHARS:
                raise TemplateRefused(f"template: rendered more than {MAX_CHARS} characters")
            parts.append(part)
    except TemplateRefused:
        raise
    except TemplateError as error:
        raise TemplateRefused(f"template: {error}") from error
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        raise TemplateRefused(f"template: could not be run on these messages: {error}") from error
    return "".join(parts)


@functools.lru_cache(maxsize=32)
def _compiled(source: str) -> Any:
    """The template, compiled in a sandbox of its own."""
    from jinja2.exceptions import TemplateSyntaxError

    from tokenloom.tokens.sandbox import sandbox

    try:
        return sandbox().from_string(source)
    except TemplateSyntaxError as error:
        raise TemplateRefused(f"template: line {error.lineno}: {error.message}") from error

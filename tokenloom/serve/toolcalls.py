"""Tools on both sides of the model: into its prompt, and its calls out of the text in OpenAI's shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tokenloom.engine.request import Constraint
from tokenloom.serve.answers import News
from tokenloom.serve.schema_chat import ChatRequest
from tokenloom.tokens.text import Tokenizer


@dataclass(frozen=True)
class Tooling:
    """How one request's tools reach the model."""

    messages: Sequence[Mapping[str, Any]]
    tools: Sequence[Mapping[str, Any]] | None
    """For the model's own template; None where the messages carry them."""
    constraint: Constraint | None
    """Where a call is required."""


def tooling(body: ChatRequest, tokenizer: Tokenizer) -> Tooling | None:
    """None where no tools are to be used."""
    return None


class Reader:
    """One choice's text on its way to the deltas of a message."""

    def __init__(self, tooling: Tooling | None) -> None:
        self._tooling = tooling

    def push(self, news: News) -> list[dict[str, Any]]:
        return [{"content": news.text}] if news.text else []

    def finish_reason(self, finish: str) -> str:
        return finish

"""What POST /v1/completions takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar

from pydantic import Field, model_validator

from tokenloom.serve.errors import bad_request
from tokenloom.serve.schema_sampling import Sampled, TokenId

DEFAULT_TOKENS = 16
"""OpenAI's default of this route."""


class CompletionRequest(Sampled):
    prompt: str | list[TokenId] | list[str] | list[list[TokenId]]
    """A text, a list of texts, ids, or a list of lists of ids."""
    echo: bool | None = None
    """The prompt comes first in the text, and in logprobs."""
    logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    """That many alternatives per token, beside the token's own."""
    best_of: int | None = Field(None, ge=1)
    add_special_tokens: bool | None = None
    """Put the model's begin token before a text prompt, where the model has one; true when not given."""
    parse_special: bool | None = None
    """Special tokens written in a text prompt are control tokens; otherwise they are plain text."""

    refused: ClassVar[Mapping[str, str]] = {
        "suffix": "give the text before as prompt",
        "messages": "use prompt, or ask /v1/chat/completions",
        "response_format": "use structured_outputs, or ask /v1/chat/completions",
        "max_completion_tokens": "use max_tokens",
        "tools": "ask /v1/chat/completions",
    }

    @model_validator(mode="after")
    def _together(self) -> CompletionRequest:
        if self.best_of is not None and self.best_of != self.choices():
            raise ValueError(
                f"best_of is {self.best_of}; it must equal n ({self.choices()}): every choice comes back"
            )
        return self

    def prompts(self) -> list[str | list[int]]:
        """Each prompt by itself; none is empty."""
        given: list[str | list[int]]
        if isinstance(self.prompt, str):
            given = [self.prompt]
        elif self.prompt and all(isinstance(item, int) for item in self.prompt):
            given = [[item for item in self.prompt if isinstance(item, int)]]
        else:
            given = [item for item in self.prompt if not isinstance(item, int)]
        if not given or not all(given):
            raise bad_request("prompt: empty; give at least one character or one id", "prompt")
        return given

    def limit(self) -> int:
        return DEFAULT_TOKENS if self.max_tokens is None else self.max_tokens

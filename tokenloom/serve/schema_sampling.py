"""The fields that chat and completions share: sampling, ends, and constraints.

The extras beyond OpenAI's are named after vLLM's, so that clients which know those need no change.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from tokenloom.engine.request import Constraint, Sampling
from tokenloom.serve.body import Body
from tokenloom.serve.errors import bad_request

SEEDS = 2**63
"""A seed is a 64-bit integer; a negative one counts from the top."""
MAX_CHOICES = 128
NOTHING: Mapping[str, float] = {}

Number = TypeVar("Number", int, float)
Bias = Annotated[float, Field(ge=-100, le=100)]
TokenId = Annotated[int, Field(ge=0)]


class Part(BaseModel):
    """A piece of a request: as strict as the whole."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True)


class StreamOptions(Part):
    include_usage: bool | None = None
    """A last chunk with the usage and no choices."""
    include_obfuscation: bool | None = None
    """Accepted; this server adds no padding either way."""


class StructuredOutputs(Part):
    """Exactly one of these; the text must match it."""

    json_: dict[str, Any] | None = Field(None, alias="json")
    """A JSON schema."""
    json_object: bool | None = Field(None, json_schema_extra={"enum": [True, None]})
    """Any JSON object."""
    regex: str | None = None
    choice: list[str] | None = None
    """One of these texts."""
    grammar: str | None = None
    """A grammar in Lark's notation, as llguidance reads it."""

    @model_validator(mode="after")
    def _one(self) -> StructuredOutputs:
        given = [name for name, value in self if value is not None]
        if len(given) != 1:
            raise ValueError(
                f"give exactly one of json, json_object, regex, choice, grammar; {len(given)} are given"
            )
        if self.json_object is False:
            raise ValueError("json_object: false says nothing; allowed: true")
        if self.choice is not None and not (self.choice and all(self.choice)):
            raise ValueError("choice: needs at least one text, and none of them empty")
        return self

    def constraint(self) -> Constraint:
        if self.json_ is not None:
            return Constraint("json_schema", json.dumps(self.json_))
        if self.regex is not None:
            return Constraint("regex", self.regex)
        if self.choice is not None:
            return Constraint("choice", json.dumps(self.choice))
        if self.grammar is not None:
            return Constraint("grammar", self.grammar)
        return Constraint("json")


class Sampled(Body):
    """How ids are chosen and when the answer ends."""

    model: str = Field("", min_length=1)
    """When not given: the first that --model names, else smollm2 where it is installed, else another."""
    temperature: float | None = Field(None, ge=0, le=2)
    """0 = greedy. When not given, the model's recommended sampling fills what is left out (GET
    /v1/models/{id} shows it as `sampling`), else 1; a value that is given always counts."""
    top_p: float | None = Field(None, gt=0, le=1)
    """When not given: 1, or as the model recommends where temperature is not given either."""
    top_k: int | None = Field(None, ge=-1)
    """The k best only; 0 or -1 = all."""
    min_p: float | None = Field(None, ge=0, le=1)
    typical_p: float | None = Field(None, gt=0, le=1)
    repetition_penalty: float | None = Field(None, gt=0)
    presence_penalty: float | None = Field(None, ge=-2, le=2)
    frequency_penalty: float | None = Field(None, ge=-2, le=2)
    logit_bias: dict[str, Bias] | None = None
    """{token id as text: added to its logit}."""
    seed: int | None = Field(None, ge=-SEEDS, lt=SEEDS)
    """The same seed and request give the same answer; drawn when not given, and told in x-tokenloom-seed."""
    n: int | None = Field(None, ge=1, le=MAX_CHOICES)
    stop: str | list[str] | None = None
    """Texts that end the answer; they are not part of it."""
    stop_token_ids: list[TokenId] | None = None
    ignore_eos: bool | None = None
    """The model's own end tokens do not end the answer."""
    min_tokens: int | None = Field(None, ge=0)
    max_tokens: int | None = Field(None, ge=0)
    """New tokens at most, an upper limit: more than the context leaves is no error, the context limits too,
    and finish_reason says length at either."""
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    structured_outputs: StructuredOutputs | None = None
    priority: int | None = Field(None, ge=-(2**31), lt=2**31)
    """Higher goes first."""
    user: str | None = None
    """Accepted and not kept; the same holds for metadata and safety_identifier."""
    metadata: dict[str, str] | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    """Accepted; prefixes are found by their content, so no key is needed."""
    service_tier: Literal["auto", "default"] | None = None
    store: bool | None = Field(None, json_schema_extra={"enum": [False, None]})
    """Nothing is stored."""

    @field_validator("store")
    @classmethod
    def _not_stored(cls, value: bool | None) -> bool | None:
        if value:
            raise ValueError("this server stores nothing; allowed: false")
        return value

    @model_validator(mode="after")
    def _shape(self) -> Sampled:
        if self.stream_options is not None and not self.stream:
            raise ValueError("stream_options has no effect without stream: true; leave it out")
        if any(not text for text in self.stops()):
            raise ValueError("stop holds an empty text; leave it out")
        if len(self.stops()) > 16:
            raise ValueError(f"stop holds {len(self.stops())} texts; at most 16 are allowed")
        return self

    def stops(self) -> tuple[str, ...]:
        if self.stop is None:
            return ()
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop)

    def constraint_field(self) -> str:
        """The field that the engine's constraint came from."""
        return "structured_outputs"

    def choices(self) -> int:
        return 1 if self.n is None else self.n

    def drawn_seed(self) -> int:
        return secrets.randbits(31) if self.seed is None else self.seed % (2 * SEEDS)

    def include_usage(self) -> bool:
        return self.stream_options is not None and self.stream_options.include_usage is True

    def sampling(self, recommended: Mapping[str, float] = NOTHING) -> Sampling:
        """What is asked for. Without a temperature, what else is left out is as the model's makers recommend;
        with one nothing is added, so that temperature 0 stays the likeliest and 1 the plain distribution."""
        hint = recommended if self.temperature is None else NOTHING
        return Sampling(
            temperature=_or(self.temperature, hint.get("temperature", 1.0)),
            top_k=max(0, _or(self.top_k, int(hint.get("top_k", 0)))),
            top_p=_or(self.top_p, hint.get("top_p", 1.0)),
            min_p=_or(self.min_p, hint.get("min_p", 0.0)),
            typical_p=_or(self.typical_p, 1.0),
            repetition_penalty=_or(self.repetition_penalty, hint.get("repetition_penalty", 1.0)),
            presence_penalty=_or(self.presence_penalty, 0.0),
            frequency_penalty=_or(self.frequency_penalty, 0.0),
            logit_bias=tuple(self._biases()),
        )

    def _biases(self) -> list[tuple[int, float]]:
        biases = []
        for name, value in (self.logit_bias or {}).items():
            if not (name.isascii() and name.isdigit() and len(name) < 10):
                raise bad_request(f"logit_bias: {name!r} is not a token id", "logit_bias")
            biases.append((int(name), float(value)))
        return biases


def _or(value: Number | None, default: Number) -> Number:
    return default if value is None else value

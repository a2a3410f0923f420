"""What the engine is asked and what it answers: ids in, ids out. No torch, no text.

All values are frozen dataclasses of plain Python types, so they cross a process boundary as they are.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Literal

from tokenloom.step import Range


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next id is chosen. Filters apply in transformers' order; each default leaves logits alone."""

    temperature: float = 1.0
    """0 = greedy. Logits are divided by it."""
    top_k: int = 0
    """Keep the k best; 0 = all."""
    top_p: float = 1.0
    """Keep the smallest set with this probability mass (Holtzman et al. 2020, arXiv:1904.09751)."""
    min_p: float = 0.0
    """Keep ids at least this fraction as probable as the best (Nguyen et al. 2024, arXiv:2407.01082)."""
    typical_p: float = 1.0
    """Locally typical sampling (Meister et al. 2023, arXiv:2202.00666)."""
    repetition_penalty: float = 1.0
    """Divides (positive) or multiplies (negative) logits of ids seen in prompt or output (CTRL,
    arXiv:1909.05858)."""
    presence_penalty: float = 0.0
    """Subtracted once from the logit of each id already in the output (OpenAI's definition)."""
    frequency_penalty: float = 0.0
    """Subtracted per occurrence in the output (OpenAI's definition)."""
    logit_bias: tuple[tuple[int, float], ...] = ()
    """(id, added to its logit)."""


@dataclass(frozen=True, slots=True)
class Constraint:
    """The answer must match this; followed in the engine, texts by llguidance."""

    kind: Literal["json_schema", "json", "regex", "choice", "grammar", "music"]
    text: str = ""
    """JSON schema, regular expression, JSON list of choices, or Lark grammar; empty for `json`; for `music`
    the rules of a score (tokens.music_grammar). A schema or choices may be given as Python objects."""

    def __post_init__(self) -> None:
        if not isinstance(self.text, str):
            if self.kind not in ("json_schema", "choice"):
                raise ValueError(f"constraint.text: found {type(self.text).__name__}; allowed is a text")
            object.__setattr__(self, "text", json.dumps(self.text, ensure_ascii=False))


@dataclass(frozen=True, slots=True)
class Request:
    id: str
    model: str
    ids: tuple[int, ...]
    """The prompt (T,), not empty."""
    max_tokens: int
    """New ids at most, per choice; 0 = only score the prompt."""
    sampling: Sampling = field(default_factory=Sampling)
    seed: int = 0
    """Noise is keyed by (seed, choice, position); the caller draws one when the user gave none."""
    n: int = 1
    """Independent choices."""
    min_tokens: int = 0
    """Stop ids cannot be chosen before this many."""
    stop_ids: tuple[int, ...] = ()
    """Generation ends when one is chosen; it is not part of the answer's ids."""
    beams: int = 1
    """More than 1: beam search by summed log-probability / length ** length_penalty; the n best come back."""
    length_penalty: float = 1.0
    guidance: float = 1.0
    """Classifier-free guidance: logits = negative + guidance * (prompt - negative) on log-softmax."""
    negative: tuple[int, ...] = ()
    """The prompt of the unconditioned twin row; needed when guidance is not 1."""
    forced: tuple[int, ...] = ()
    """Output i must be forced[i]; -1 leaves it free."""
    allowed: tuple[Range, ...] | None = None
    """Free outputs come from these ranges only (the output layer is sliced)."""
    constraint: Constraint | None = None
    logprobs: int | None = None
    """None = none; k = the chosen id's log-probability and the k best alternatives. Of the raw distribution
    (before temperature and filters)."""
    prompt_logprobs: int | None = None
    """The same for the prompt's own ids (echo); the first has none."""
    adapter: str | None = None
    priority: int = 0
    """Higher goes first and is pre-empted last."""

    def replace(self, **changes: object) -> Request:
        return dataclasses.replace(self, **changes)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    id: int
    logprob: float
    top: tuple[tuple[int, float], ...] = ()
    """(id, log-probability), best first."""


@dataclass(frozen=True, slots=True)
class Usage:
    prompt_tokens: int
    cached_tokens: int
    """Prompt ids whose cache was reused (choice 0)."""
    completion_tokens: int
    """Of this choice, without the stop id."""
    queue_s: float
    ttft_s: float
    """From arrival to this choice's first id."""
    total_s: float


Finish = Literal["stop", "length", "abort", "error"]


@dataclass(frozen=True, slots=True)
class Delta:
    """News of one choice. Several may be merged into one before they are sent."""

    request: str
    choice: int
    ids: tuple[int, ...] = ()
    logprobs: tuple[TokenLogprob, ...] = ()
    """One per id when asked for, else empty."""
    prompt: tuple[TokenLogprob | None, ...] = ()
    """The prompt's own log-probabilities, once, on choice 0, when asked for."""
    finish: Finish | None = None
    stop_id: int | None = None
    """The stop id that ended it, if one did."""
    error: str | None = None
    """What went wrong and what to do, when finish is `error`."""
    usage: Usage | None = None
    """On the last delta of a choice."""
    score: float | None = None
    """Beam search: the hypothesis's score, on the last delta."""


def merge(first: Delta, then: Delta) -> Delta:
    """Two successive deltas of the same choice as one."""
    assert (first.request, first.choice) == (then.request, then.choice)
    assert first.finish is None
    return dataclasses.replace(
        then,
        ids=first.ids + then.ids,
        logprobs=first.logprobs + then.logprobs,
        prompt=first.prompt or then.prompt,
    )

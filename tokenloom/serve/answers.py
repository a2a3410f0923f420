"""From the engine's ids to text, choice by choice: what chat and completions have in common."""

from __future__ import annotations

import re
import secrets
from collections.abc import AsyncGenerator, Collection, Sequence
from dataclasses import dataclass, field

from tokenloom.engine.check import BadRequest, check
from tokenloom.engine.request import Constraint, Delta, Request, TokenLogprob
from tokenloom.serve.bridge import Ticket
from tokenloom.serve.desk import Desk
from tokenloom.serve.errors import ApiError, bad_request
from tokenloom.serve.models import Loaded
from tokenloom.serve.schema_sampling import Sampled
from tokenloom.tokens.stream import TextStream
from tokenloom.tokens.text import Tokenizer

LEAST = -9999.0
"""Stands for a log-probability of minus infinity, which JSON does not have; OpenAI's number."""
# The engine's news have words and no codes; these are the words it uses.
CONSTRAINT = re.compile(r"^constraint(\.text|\.kind)?( \(\w+\))?( is)?")
TOO_MUCH = ("the request needs", "the request may need")
AGAIN = re.compile(r"ask again|stays down|was unloaded|was closed|can be made free")


@dataclass(frozen=True)
class News:
    """More of one choice."""

    index: int
    text: str = ""
    ids: tuple[int, ...] = ()
    """The ids this text came from; with a stop text, those before it."""
    logprobs: tuple[TokenLogprob, ...] = ()
    """One per id, when asked for."""
    prompt: tuple[TokenLogprob | None, ...] = ()
    """The prompt's own, on a choice's first news, when asked for."""
    finish: str | None = None
    """stop or length, on the last one."""
    stopped: str | None = None
    """The stop text that ended it, if one did."""


@dataclass
class Count:
    """What a request used, summed over its choices."""

    prompt: int = 0
    cached: int = 0
    completion: int = 0

    def usage(self) -> dict[str, object]:
        return {
            "prompt_tokens": self.prompt,
            "completion_tokens": self.completion,
            "total_tokens": self.prompt + self.completion,
            "prompt_tokens_details": {"cached_tokens": self.cached},
        }


@dataclass
class _Choice:
    """One choice on its way from ids to text."""

    index: int
    tokenizer: Tokenizer
    stream: TextStream
    ends: Collection[int] = ()
    """Ids that mean the end where the engine was not told so; they are kept."""
    ids: list[int] = field(default_factory=list)
    logprobs: list[TokenLogprob] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    """Of each id, where its bytes start in the answer."""
    read: int = 0
    shown: int = 0
    """Bytes decoded, and bytes of text given out."""
    generated: int = 0

    def take(self, delta: Delta, prompt: tuple[TokenLogprob | None, ...]) -> News:
        """Ids one at a time, so that a stop text ends the answer at its id and not at its delta."""
        text, stopped = "", None
        for number, token in enumerate(delta.ids):
            piece = self.stream.push([token])
            self.generated += 1
            text += piece.text
            self.ids.append(token)
            self.starts.append(self.read)
            self.read += len(self.tokenizer.kept(token, False))
            self.logprobs += delta.logprobs[number : number + 1]
            if piece.stopped is not None:
                stopped = piece.stopped
                break
        if delta.finish is not None and stopped is None:
            rest = self.stream.finish()
            text += rest.text
            stopped = rest.stopped
        ended = stopped is not None or (
            delta.finish == "length" and bool(self.ids) and self.ids[-1] in self.ends
        )
        finish = "stop" if ended else delta.finish
        if not (text or finish):
            return News(self.index, prompt=prompt)
        self.shown += len(text.encode())
        kept = sum(start < self.shown for start in self.starts) if stopped is not None else len(self.ids)
        ids, logprobs = tuple(self.ids[:kept]), tuple(self.logprobs[:kept])
        self.ids, self.logprobs, self.starts = [], [], []
        return News(self.index, text, ids, logprobs, prompt, finish, stopped)


def make_request(
    body: Sampled,
    model: Loaded,
    ids: Sequence[int],
    *,
    limit: int | None,
    seed: int,
    constraint: Constraint | None = None,
    logprobs: int | None = None,
    prompt_logprobs: int | None = None,
    field: str = "prompt",
    keep_end: bool = False,
    max_prompt_tokens: int | None = None,
) -> Request:
    """The engine's request; ApiError 400 for what the model cannot do.

    limit: new tokens at most, None = what the context leaves. field: what the prompt is called here.
    keep_end: an end token that is chosen is part of the answer; for one new token only.
    """
    _check_length(len(ids), model, field, limit, max_prompt_tokens)
    room = model.context - len(ids)
    assert not keep_end or limit == 1
    ends = () if body.ignore_eos or keep_end else model.tokenizer.eos_ids
    request = Request(
        id=f"req-{secrets.token_hex(12)}",
        model=model.base,
        ids=tuple(ids),
        max_tokens=room if limit is None else min(limit, room),
        sampling=body.sampling(model.sampling),
        seed=seed,
        n=body.choices(),
        min_tokens=0 if body.min_tokens is None else body.min_tokens,
        stop_ids=tuple(dict.fromkeys((*ends, *(body.stop_token_ids or ())))),
        constraint=constraint,
        logprobs=logprobs,
        prompt_logprobs=prompt_logprobs,
        adapter=model.adapter,
        priority=0 if body.priority is None else body.priority,
    )
    try:
        check(request, vocab_size=model.vocab_size, context=model.context)
    except BadRequest as error:
        raise _named(str(error), field) from None
    return request


def _check_length(
    length: int, model: Loaded, field: str, limit: int | None, max_prompt_tokens: int | None
) -> None:
    least = 0 if limit == 0 else 1
    if length + least > model.context:
        message = (
            f"{field}: {length} tokens, but {model.name} holds {model.context} for prompt and answer "
            "together; shorten it, nothing is cut in silence"
        )
        raise bad_request(message, field, "context_length_exceeded")
    if max_prompt_tokens is not None and length > max_prompt_tokens:
        message = f"{field}: {length} tokens, but this server takes prompts of at most {max_prompt_tokens}"
        raise bad_request(message, field, "context_length_exceeded")


def _named(message: str, field: str) -> ApiError:
    """The engine's words with the name that the field has here."""
    message = message.removeprefix("sampling.")
    name = message.partition(" ")[0]
    here = field if name == "ids" else name
    return bad_request(here + message[len(name) :], here)


async def answers(
    desk: Desk,
    model: Loaded,
    requests: Sequence[Request],
    body: Sampled,
    count: Count,
    shown: Collection[str] = (),
    enough: Collection[int] = (),
) -> AsyncGenerator[News, None]:
    """Runs the requests together; choices of request r are numbered from r * n. Closing it aborts them.

    shown: special tokens that stay in the text. enough: choices that the caller needs no more of; it may grow
    between two news.
    """
    open_: dict[tuple[str, int], _Choice] = {}
    prompts: dict[str, tuple[TokenLogprob | None, ...]] = {}
    for at, request in enumerate(requests):
        for number in range(request.n):
            stream = TextStream(model.tokenizer, body.stops(), shown)
            ends = () if request.stop_ids or body.ignore_eos else model.tokenizer.eos_ids
            open_[request.id, number] = _Choice(at * request.n + number, model.tokenizer, stream, ends)
        count.prompt += len(request.ids)
        desk.metrics.prompt(model.name, len(request.ids))
    assert desk.engine is not None
    with desk.queue.places(len(requests)):
        async with Ticket(desk.engine, requests) as ticket:
            try:
                while not ticket.done:
                    for delta in await ticket.news():
                        if delta.finish in ("error", "abort"):
                            ticket.abort()
                            raise failure(delta, body.constraint_field())
                        choice = open_[delta.request, delta.choice]
                        if delta.prompt:
                            prompts[delta.request] = delta.prompt
                        news = choice.take(delta, prompts.get(delta.request, ()))
                        if news.finish is not None:
                            ticket.close(delta.request, delta.choice)
                            _finished(desk, model, count, choice, delta)
                        yield news
                        if news.finish is None and news.index in enough:
                            ticket.close(delta.request, delta.choice)
                            _finished(desk, model, count, choice, delta)
            finally:
                if not ticket.done:
                    desk.metrics.left()


def _finished(desk: Desk, model: Loaded, count: Count, choice: _Choice, delta: Delta) -> None:
    count.completion += choice.generated
    if delta.usage is not None and delta.choice == 0:
        count.cached += delta.usage.cached_tokens
    desk.metrics.finished(model.name, delta.usage, choice.generated, delta.choice == 0)


def failure(delta: Delta, constraint: str) -> ApiError:
    """Why the engine gave up, as an error. constraint: what the asker calls the constraint."""
    if delta.finish == "abort":
        return ApiError(503, "The server stopped this answer.", code="aborted", retry_after_s=2)
    message = delta.error or "The engine gave no reason."
    if message.startswith("constraint"):
        return bad_request(CONSTRAINT.sub(f"{constraint}:", message), constraint, "invalid_constraint")
    if message.startswith(TOO_MUCH):
        return bad_request(message, None, "request_too_large")
    if AGAIN.search(message):
        return ApiError(503, message, code="engine_unavailable", retry_after_s=2)
    return ApiError(500, message, code="engine_error")

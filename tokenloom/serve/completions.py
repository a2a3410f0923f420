"""POST /v1/completions: text or ids in, their continuation out; `echo` scores the prompt.

With `echo` and `logprobs` the lists hold the prompt's tokens, then the new ones; an end token that was chosen
is among them, as evaluation harnesses count it (they drop the last entry).
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response

from tokenloom.engine.request import Request, TokenLogprob
from tokenloom.serve import sse
from tokenloom.serve.answers import LEAST, Count, News, answers, make_request
from tokenloom.serve.bridge import unless_gone
from tokenloom.serve.desk import Desk
from tokenloom.serve.errors import bad_request
from tokenloom.serve.models import Loaded
from tokenloom.serve.schema_completions import CompletionRequest
from tokenloom.tokens.text import Tokenizer


@dataclass(frozen=True)
class Completion:
    """A request that is ready to run."""

    body: CompletionRequest
    model: Loaded
    requests: tuple[Request, ...]
    prompts: tuple[str, ...]
    """As text, where they are echoed."""
    id: str
    created: int

    def head(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": "text_completion",
            "created": self.created,
            "model": self.model.name,
            "system_fingerprint": self.model.fingerprint,
        }

    def headers(self) -> dict[str, str]:
        return {"x-tokenloom-seed": str(self.requests[0].seed)}

    def writers(self) -> list[Writer]:
        pairs = [pair for pair in zip(self.requests, self.prompts, strict=True) for _ in range(pair[0].n)]
        return [Writer(self, request, prompt, index) for index, (request, prompt) in enumerate(pairs)]


@dataclass
class Writer:
    """One choice in the shape of this route."""

    completion: Completion
    request: Request
    prompt: str
    index: int
    offset: int = 0
    """Characters written so far."""
    begun: bool = False

    def push(self, news: News) -> dict[str, Any]:
        """The choice with what is new."""
        body, tokenizer = self.completion.body, self.completion.model.tokenizer
        text, lists = "", Lists()
        if not self.begun and body.echo:
            self._echo(news.prompt, lists)
            text = self.prompt
            self.offset = len(text)
        self.begun = True
        finish, ids = news.finish, news.ids
        visible = news.text
        if body.logprobs is not None:
            lists.extend(tokenizer, ids, news.logprobs, self.offset)
        self.offset += len(visible)
        found = None if body.logprobs is None else lists.dict()
        return {"text": text + visible, "index": self.index, "logprobs": found, "finish_reason": finish}

    def _echo(self, prompt: Sequence[TokenLogprob | None], lists: Lists) -> None:
        if self.completion.body.logprobs is not None:
            lists.extend(self.completion.model.tokenizer, self.request.ids, prompt, 0)


@dataclass
class Lists:
    """The four parallel lists of this route's logprobs."""

    tokens: list[str] = field(default_factory=list)
    token_logprobs: list[float | None] = field(default_factory=list)
    top_logprobs: list[dict[str, float] | None] = field(default_factory=list)
    text_offset: list[int] = field(default_factory=list)

    def extend(
        self, tokenizer: Tokenizer, ids: Sequence[int], found: Sequence[TokenLogprob | None], offset: int
    ) -> None:
        for token, known in zip(ids, found, strict=False):
            text = _text(tokenizer, token)
            self.tokens.append(text)
            self.text_offset.append(offset)
            offset += len(text)
            if known is None:
                self.token_logprobs.append(None)
                self.top_logprobs.append(None)
                continue
            self.token_logprobs.append(max(known.logprob, LEAST))
            # Of two ids with the same text the likelier one stays, and the token's own is always there.
            top: dict[str, float] = {}
            for other, logprob in (*known.top, (token, known.logprob)):
                top.setdefault(_text(tokenizer, other), max(logprob, LEAST))
            self.top_logprobs.append(top)

    def join(self, more: dict[str, Any]) -> None:
        self.tokens += more["tokens"]
        self.token_logprobs += more["token_logprobs"]
        self.top_logprobs += more["top_logprobs"]
        self.text_offset += more["text_offset"]

    def dict(self) -> dict[str, Any]:
        return {
            "tokens": self.tokens,
            "token_logprobs": self.token_logprobs,
            "top_logprobs": self.top_logprobs,
            "text_offset": self.text_offset,
        }


def _text(tokenizer: Tokenizer, token: int) -> str:
    """A token as text; one that is not whole characters as OpenAI writes it, bytes:\\xe4\\xbd."""
    raw = tokenizer.token_bytes(token)
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in raw)


async def answer(desk: Desk, http: HttpRequest, body: CompletionRequest) -> Response:
    """The response to a checked request."""
    completion = await prepare(desk, body)
    if body.stream:
        return await sse.stream(
            http,
            _events(desk, completion),
            hold_s=desk.settings.first_news_s,
            keepalive_s=desk.settings.keepalive_s,
            headers=completion.headers(),
        )
    whole = await unless_gone(http, collect(desk, completion))
    return JSONResponse(whole, headers=completion.headers())


async def prepare(desk: Desk, body: CompletionRequest) -> Completion:
    """Tokenises; ApiError for what cannot be done."""
    model = await desk.models.get(body.model)
    model.check_writes()
    prompts = body.prompts()

    def encode() -> list[list[int]]:
        return [_ids(model.tokenizer, body, prompt) for prompt in prompts]

    try:
        rows = await asyncio.to_thread(encode)  # a short prompt may have to wait for the tokenizer too
    except ValueError as error:
        raise bad_request(f"prompt: {error}", "prompt") from None
    seed = body.drawn_seed()
    constraint = None if body.structured_outputs is None else body.structured_outputs.constraint()
    scored = bool(body.echo) and body.logprobs is not None
    requests = tuple(
        make_request(
            body,
            model,
            ids,
            limit=body.limit(),
            seed=seed,
            constraint=constraint,
            logprobs=body.logprobs,
            prompt_logprobs=body.logprobs if body.echo else None,
            keep_end=scored and body.limit() == 1,
            max_prompt_tokens=desk.settings.max_prompt_tokens,
        )
        for ids in rows
    )
    texts = tuple(
        prompt
        if isinstance(prompt, str)
        else model.tokenizer.decode(prompt, special=True)
        if body.echo
        else ""
        for prompt in prompts
    )
    return Completion(body, model, requests, texts, f"cmpl-{secrets.token_hex(12)}", int(time.time()))


def _ids(tokenizer: Tokenizer, body: CompletionRequest, prompt: str | list[int]) -> list[int]:
    if not isinstance(prompt, str):
        return prompt
    if body.parse_special:
        return tokenizer.encode_control(prompt)
    return tokenizer.encode(prompt, bos=body.add_special_tokens is not False)


async def collect(desk: Desk, completion: Completion) -> dict[str, Any]:
    """The whole answer as one text_completion object."""
    count = Count()
    writers = completion.writers()
    choices: list[dict[str, Any]] = [{} for _ in writers]
    lists = [Lists() for _ in writers]
    async with aclosing(
        answers(desk, completion.model, completion.requests, completion.body, count)
    ) as all_news:
        async for news in all_news:
            new = writers[news.index].push(news)
            if new["logprobs"] is not None:
                lists[news.index].join(new["logprobs"])
            text = choices[news.index].get("text", "") + new["text"]
            choices[news.index] = {**new, "text": text}
    if completion.body.logprobs is not None:
        for choice, found in zip(choices, lists, strict=True):
            choice["logprobs"] = found.dict()
    return {**completion.head(), "choices": choices, "usage": count.usage()}


async def _events(desk: Desk, completion: Completion) -> AsyncGenerator[bytes, None]:
    count = Count()
    head = completion.head()
    usage = {"usage": None} if completion.body.include_usage() else {}
    writers = completion.writers()
    async with aclosing(
        answers(desk, completion.model, completion.requests, completion.body, count)
    ) as all_news:
        async for news in all_news:
            yield sse.event({**head, "choices": [writers[news.index].push(news)], **usage})
    if completion.body.include_usage():
        yield sse.event({**head, "choices": [], "usage": count.usage()})
    yield sse.DONE

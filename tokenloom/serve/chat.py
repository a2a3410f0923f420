"""POST /v1/chat/completions: a conversation in, an answer out, whole or streamed."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any

from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response

from tokenloom.engine.request import Request, TokenLogprob
from tokenloom.serve import seeing, sse
from tokenloom.serve.answers import LEAST, Count, News, answers, make_request
from tokenloom.serve.bridge import unless_gone
from tokenloom.serve.desk import Desk
from tokenloom.serve.errors import bad_request
from tokenloom.serve.models import Loaded
from tokenloom.serve.schema_chat import ChatRequest
from tokenloom.serve.toolcalls import Reader, Tooling, tooling
from tokenloom.tokens.chat import encode_chat
from tokenloom.tokens.text import Tokenizer


@dataclass(frozen=True)
class Chat:
    """A chat request that is ready to run."""

    body: ChatRequest
    model: Loaded
    request: Request
    tooling: Tooling
    id: str
    created: int

    def head(self, kind: str) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.model.name,
            "system_fingerprint": self.model.fingerprint,
        }

    def headers(self) -> dict[str, str]:
        return {"x-tokenloom-seed": str(self.request.seed)}

    def reader(self) -> Reader:
        return Reader(self.tooling)


async def answer(desk: Desk, http: HttpRequest, body: ChatRequest) -> Response:
    """The response to a checked request."""
    asked = await desk.models.get(body.model)
    if asked.painter is not None and body.pictures():
        return await seeing.answer(desk, http, body, asked, asked.painter)
    chat = await prepare(desk, body)
    if body.stream:
        return await sse.stream(
            http,
            _events(desk, chat),
            hold_s=desk.settings.first_news_s,
            keepalive_s=desk.settings.keepalive_s,
            headers=chat.headers(),
        )
    whole = await unless_gone(http, collect(desk, chat))
    return JSONResponse(whole, headers=chat.headers())


async def prepare(desk: Desk, body: ChatRequest) -> Chat:
    """Renders and tokenises; ApiError for what cannot be done."""
    model = await desk.models.get(body.model)
    if model.painter is not None:
        raise seeing.refuse(model)
    model.check_writes()
    if body.pictures():
        others = ", ".join(desk.models.seers()) or "none is on offer here"
        raise bad_request(
            f"messages: found a picture, but {model.name} reads text only; picture models: {others}",
            "messages",
        )
    try:
        tools = tooling(body, model.tokenizer)
    except ValueError as error:
        raise bad_request(str(error), "tools") from None
    ids = await _encode(model.tokenizer, body, tools)
    request = make_request(
        body,
        model,
        ids,
        limit=body.limit(),
        seed=body.drawn_seed(),
        constraint=tools.constraint,
        logprobs=(body.top_logprobs or 0) if body.logprobs else None,
        field="messages",
        max_prompt_tokens=desk.settings.max_prompt_tokens,
    )
    return Chat(body, model, request, tools, f"chatcmpl-{secrets.token_hex(12)}", int(time.time()))


async def _encode(tokenizer: Tokenizer, body: ChatRequest, tools: Tooling) -> list[int]:
    """In a thread: a long prompt takes its time, and a short one may have to wait for its tokenizer."""
    more = body.chat_template_kwargs or {}
    try:
        return await asyncio.to_thread(encode_chat, tokenizer, tools.messages, tools=tools.tools, **more)
    except ValueError as error:
        message = str(error)
        raise bad_request(message if "messages" in message else f"messages: {message}", "messages") from None


async def collect(desk: Desk, chat: Chat) -> dict[str, Any]:
    """The whole answer as one chat.completion object."""
    count = Count()
    readers = [chat.reader() for _ in range(chat.request.n)]
    texts = ["" for _ in readers]
    logprobs: list[list[dict[str, Any]]] = [[] for _ in readers]
    finishes = ["stop" for _ in readers]
    async with aclosing(read_news(desk, chat, count, readers)) as all_news:
        async for news, deltas in all_news:
            texts[news.index] += "".join(delta.get("content", "") for delta in deltas)
            logprobs[news.index] += token_logprobs(chat.model.tokenizer, news.ids, news.logprobs)
            if news.finish is not None:
                finishes[news.index] = news.finish
    choices = []
    for index, (reader, text) in enumerate(zip(readers, texts, strict=True)):
        message: dict[str, Any] = {"role": "assistant", "content": text, "refusal": None}
        if reader.calls or chat.tooling.forced:
            message["content"] = text or None
        if whole := reader.whole_calls():
            message["tool_calls"] = whole
        found = {"content": logprobs[index], "refusal": None} if chat.body.logprobs else None
        choices.append(
            {"index": index, "message": message, "logprobs": found, "finish_reason": finishes[index]}
        )
    return {**chat.head("chat.completion"), "choices": choices, "usage": count.usage()}


async def read_news(
    desk: Desk, chat: Chat, count: Count, readers: Sequence[Reader]
) -> AsyncGenerator[tuple[News, list[dict[str, Any]]], None]:
    """The news of each choice with the deltas of its message; finish is what the client is told."""
    enough: set[int] = set()
    run = answers(desk, chat.model, [chat.request], chat.body, count, chat.tooling.shown, enough)
    async with aclosing(run) as all_news:
        async for news in all_news:
            reader = readers[news.index]
            deltas = reader.push(news)
            finish = "stop" if reader.enough else news.finish
            if reader.enough:
                enough.add(news.index)
            yield replace(news, finish=finish and reader.finish_reason(finish)), deltas


async def _events(desk: Desk, chat: Chat) -> AsyncGenerator[bytes, None]:
    count = Count()
    head = chat.head("chat.completion.chunk")
    usage = {"usage": None} if chat.body.include_usage() else {}
    readers = [chat.reader() for _ in range(chat.request.n)]
    begun: set[int] = set()

    def chunk(news: News, delta: dict[str, Any], found: list[dict[str, Any]], finish: str | None) -> bytes:
        logprobs = {"content": found, "refusal": None} if chat.body.logprobs and found else None
        choice = {"index": news.index, "delta": delta, "logprobs": logprobs, "finish_reason": finish}
        return sse.event({**head, "choices": [choice], **usage})

    async with aclosing(read_news(desk, chat, count, readers)) as all_news:
        async for news, deltas in all_news:
            if news.index not in begun:
                begun.add(news.index)
                yield chunk(news, {"role": "assistant", "content": "", "refusal": None}, [], None)
            found = token_logprobs(chat.model.tokenizer, news.ids, news.logprobs)
            if found and not deltas:
                deltas = [{}]
            for number, delta in enumerate(deltas):
                yield chunk(news, delta, found if number == 0 else [], None)
            if news.finish is not None:
                yield chunk(news, {}, [], news.finish)
    if chat.body.include_usage():
        yield sse.event({**head, "choices": [], "usage": count.usage()})
    yield sse.DONE


def token_logprobs(
    tokenizer: Tokenizer, ids: Sequence[int], logprobs: Sequence[TokenLogprob]
) -> list[dict[str, Any]]:
    """OpenAI's form: each token with its bytes and the likeliest others."""

    def one(token: int, logprob: float) -> dict[str, Any]:
        raw = tokenizer.token_bytes(token)
        text = raw.decode("utf-8", "replace")
        return {"token": text, "logprob": max(logprob, LEAST), "bytes": list(raw)}

    return [
        {**one(token, known.logprob), "top_logprobs": [one(*pair) for pair in known.top]}
        for token, known in zip(ids, logprobs, strict=False)
    ]

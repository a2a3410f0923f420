"""POST /v1/messages over the same machinery as chat: content blocks, whole or as Anthropic's events.

A call that max_tokens cut off is left out of a whole answer, since its input is no JSON; stop_reason says so.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response

from tokenloom.serve import sse
from tokenloom.serve.answers import Count, News
from tokenloom.serve.body import checked
from tokenloom.serve.bridge import unless_gone
from tokenloom.serve.chat import Chat, prepare, read_news
from tokenloom.serve.desk import Desk
from tokenloom.serve.errors import ApiError
from tokenloom.serve.schema_chat import ChatRequest
from tokenloom.serve.schema_messages import MessagesRequest

REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}


async def answer(desk: Desk, http: HttpRequest, value: Mapping[str, Any]) -> Response:
    """The response; errors have Anthropic's `"type": "error"` beside OpenAI's shape."""
    try:
        return await _answer(desk, http, value)
    except ApiError as error:
        error.extra = {"type": "error"}
        raise


async def _answer(desk: Desk, http: HttpRequest, value: Mapping[str, Any]) -> Response:
    body = checked(MessagesRequest, value)
    chat = await prepare(desk, checked(ChatRequest, body.chat()))
    if body.stream:
        return await sse.stream(
            http,
            _events(desk, chat),
            hold_s=desk.settings.first_news_s,
            keepalive_s=desk.settings.keepalive_s,
            headers=chat.headers(),
        )
    return JSONResponse(await unless_gone(http, _collect(desk, chat)), headers=chat.headers())


@dataclass
class Blocks:
    """Deltas of a chat message to content blocks, and to the events that tell of them."""

    content: list[dict[str, Any]] = field(default_factory=list)
    written: list[str] = field(default_factory=list)
    """Of each block, its text or its input as JSON."""

    def push(self, delta: Mapping[str, Any]) -> list[dict[str, Any]]:
        events: list[dict[str, Any]] = []
        if "content" in delta:
            if not self.content or self.content[-1]["type"] != "text":
                events += self._begin({"type": "text", "text": ""})
            return [*events, self._more({"type": "text_delta", "text": delta["content"]}, delta["content"])]
        for call in delta.get("tool_calls", ()):
            function = call["function"]
            if "name" in function:
                block = {"type": "tool_use", "id": call["id"], "name": function["name"], "input": {}}
                events += self._begin(block)
            if function["arguments"]:
                more = {"type": "input_json_delta", "partial_json": function["arguments"]}
                events.append(self._more(more, function["arguments"]))
        return events

    def close(self) -> list[dict[str, Any]]:
        return [{"type": "content_block_stop", "index": len(self.content) - 1}] if self.content else []

    def whole(self) -> list[dict[str, Any]]:
        """The blocks with all their text and input."""
        found = []
        for block, written in zip(self.content, self.written, strict=True):
            if block["type"] == "text":
                found.append({**block, "text": written})
            elif (given := _input(written)) is not None:
                found.append({**block, "input": given})
        return found

    def _begin(self, block: dict[str, Any]) -> list[dict[str, Any]]:
        events = self.close()
        self.content.append(block)
        self.written.append("")
        start = {"type": "content_block_start", "index": len(self.content) - 1, "content_block": block}
        return [*events, start]

    def _more(self, delta: dict[str, Any], text: str) -> dict[str, Any]:
        self.written[-1] += text
        return {"type": "content_block_delta", "index": len(self.content) - 1, "delta": delta}


def _input(written: str) -> dict[str, Any] | None:
    try:
        found = json.loads(written)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _head(chat: Chat) -> dict[str, Any]:
    return {
        "id": f"msg_{secrets.token_hex(12)}",
        "type": "message",
        "role": "assistant",
        "model": chat.model.name,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": len(chat.request.ids), "output_tokens": 0},
    }


def _usage(count: Count) -> dict[str, int]:
    return {
        "input_tokens": count.prompt - count.cached,
        "cache_read_input_tokens": count.cached,
        "cache_creation_input_tokens": 0,
        "output_tokens": count.completion,
    }


def _end(last: News | None) -> dict[str, Any]:
    assert last is not None
    assert last.finish is not None
    reason = "stop_sequence" if last.stopped is not None else REASONS[last.finish]
    return {"stop_reason": reason, "stop_sequence": last.stopped}


async def _collect(desk: Desk, chat: Chat) -> dict[str, Any]:
    count, blocks, last = Count(), Blocks(), None
    async with aclosing(read_news(desk, chat, count, [chat.reader()])) as all_news:
        async for news, deltas in all_news:
            for delta in deltas:
                blocks.push(delta)
            last = news
    return {**_head(chat), **_end(last), "content": blocks.whole(), "usage": _usage(count)}


async def _events(desk: Desk, chat: Chat) -> AsyncGenerator[bytes, None]:
    count, blocks, last = Count(), Blocks(), None
    async with aclosing(read_news(desk, chat, count, [chat.reader()])) as all_news:
        async for news, deltas in all_news:
            if last is None:
                yield sse.event({"type": "message_start", "message": _head(chat)}, "message_start")
            for delta in deltas:
                for event in blocks.push(delta):
                    yield sse.event(event, event["type"])
            last = news
    for event in blocks.close():
        yield sse.event(event, event["type"])
    yield sse.event({"type": "message_delta", "delta": _end(last), "usage": _usage(count)}, "message_delta")
    yield sse.event({"type": "message_stop"}, "message_stop")

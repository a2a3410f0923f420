"""POST /v1/responses over the same machinery as chat: items in, items out, whole or as typed events."""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response

from tokenloom.serve import sse
from tokenloom.serve.answers import Count
from tokenloom.serve.body import checked
from tokenloom.serve.bridge import unless_gone
from tokenloom.serve.chat import Chat, prepare, read_news
from tokenloom.serve.desk import Desk
from tokenloom.serve.errors import ApiError
from tokenloom.serve.schema_chat import ChatRequest
from tokenloom.serve.schema_responses import ResponsesRequest
from tokenloom.serve.toolcalls import is_whole

NAMES = {"messages": "input", "max_completion_tokens": "max_output_tokens", "response_format": "text"}
"""What chat's fields are called here."""


async def answer(desk: Desk, http: HttpRequest, value: Mapping[str, Any]) -> Response:
    body = checked(ResponsesRequest, value)
    try:
        chat = await prepare(desk, checked(ChatRequest, body.chat()))
    except ApiError as error:
        raise _renamed(error) from None
    if body.stream:
        return await sse.stream(
            http,
            _events(desk, chat, body),
            hold_s=desk.settings.first_news_s,
            keepalive_s=desk.settings.keepalive_s,
            headers=chat.headers(),
        )
    whole = await unless_gone(http, _collect(desk, chat, body))
    return JSONResponse(whole, headers=chat.headers())


def _renamed(error: ApiError) -> ApiError:
    head, mark, rest = (error.param or "").partition("[")
    if head not in NAMES:
        return error
    name = NAMES[head]
    message = error.message.replace(head, name, 1)
    return ApiError(error.status, message, param=name + mark + rest, code=error.code)


@dataclass
class Writer:
    """Deltas of a chat message to items, and to the events that tell of them."""

    output: list[dict[str, Any]] = field(default_factory=list)
    _open: dict[str, Any] | None = None

    def push(self, delta: Mapping[str, Any]) -> list[dict[str, Any]]:
        if "content" in delta:
            return self._text(delta["content"])
        return [event for call in delta.get("tool_calls", ()) for event in self._call(call)]

    def close(self) -> list[dict[str, Any]]:
        """Ends the item that is open."""
        item, self._open = self._open, None
        if item is None:
            return []
        at: dict[str, Any] = {"output_index": len(self.output) - 1, "item_id": item["id"]}
        cut = item["type"] == "function_call" and not is_whole({"function": item})
        item["status"] = "incomplete" if cut else "completed"
        done = {"type": "response.output_item.done", "output_index": at["output_index"], "item": item}
        if cut:
            return [done]
        if item["type"] == "function_call":
            said = {"name": item["name"], "arguments": item["arguments"]}
            return [{"type": "response.function_call_arguments.done", **at, **said}, done]
        part: dict[str, Any] = item["content"][0]
        at["content_index"] = 0
        text = {"type": "response.output_text.done", **at, "text": part["text"], "logprobs": []}
        return [text, {"type": "response.content_part.done", **at, "part": part}, done]

    def _begin(self, item: dict[str, Any]) -> list[dict[str, Any]]:
        events = self.close()
        self.output.append(item)
        self._open = item
        at = len(self.output) - 1
        shown = {**item, "content": []} if item["type"] == "message" else dict(item)
        return [*events, {"type": "response.output_item.added", "output_index": at, "item": shown}]

    def _text(self, text: str) -> list[dict[str, Any]]:
        events: list[dict[str, Any]] = []
        if self._open is None or self._open["type"] != "message":
            part: dict[str, Any] = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
            new = {"id": _id("msg"), "type": "message", "role": "assistant", "status": "in_progress"}
            events += self._begin({**new, "content": [part]})
            at = {"output_index": len(self.output) - 1, "item_id": self.output[-1]["id"], "content_index": 0}
            events.append({"type": "response.content_part.added", **at, "part": dict(part)})
        item = self.output[-1]
        item["content"][0]["text"] += text
        at = {"output_index": len(self.output) - 1, "item_id": item["id"], "content_index": 0}
        return [*events, {"type": "response.output_text.delta", **at, "delta": text, "logprobs": []}]

    def _call(self, call: Mapping[str, Any]) -> list[dict[str, Any]]:
        events: list[dict[str, Any]] = []
        function = call["function"]
        if "name" in function:
            item = {"id": _id("fc"), "type": "function_call", "status": "in_progress"}
            events += self._begin({**item, "call_id": call["id"], "name": function["name"], "arguments": ""})
        item = self.output[-1]
        item["arguments"] += function["arguments"]
        if function["arguments"]:
            at = {"output_index": len(self.output) - 1, "item_id": item["id"]}
            events.append(
                {"type": "response.function_call_arguments.delta", **at, "delta": function["arguments"]}
            )
        return events


def _id(kind: str) -> str:
    return f"{kind}_{secrets.token_hex(12)}"


def _response(chat: Chat, body: ResponsesRequest, id: str) -> dict[str, Any]:
    """The response object before there is an answer."""
    asked = body.model_dump(by_alias=True, exclude_none=True)
    return {
        "id": id,
        "object": "response",
        "created_at": chat.created,
        "status": "in_progress",
        "error": None,
        "incomplete_details": None,
        "instructions": body.instructions,
        "max_output_tokens": body.max_output_tokens,
        "metadata": body.metadata or {},
        "model": chat.model.name,
        "output": [],
        "parallel_tool_calls": body.parallel_tool_calls is not False,
        "previous_response_id": None,
        "store": False,
        "temperature": chat.request.sampling.temperature,
        "text": asked.get("text", {"format": {"type": "text"}}),
        "tool_choice": asked.get("tool_choice", "auto"),
        "tools": asked.get("tools", []),
        "top_p": chat.request.sampling.top_p,
        "truncation": "disabled",
        "usage": None,
    }


def _ended(head: Mapping[str, Any], writer: Writer, finish: str, count: Count) -> dict[str, Any]:
    usage = {
        "input_tokens": count.prompt,
        "input_tokens_details": {"cached_tokens": count.cached},
        "output_tokens": count.completion,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": count.prompt + count.completion,
    }
    cut = finish == "length"
    return {
        **head,
        "status": "incomplete" if cut else "completed",
        "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
        "output": writer.output,
        "usage": usage,
    }


async def _collect(desk: Desk, chat: Chat, body: ResponsesRequest) -> dict[str, Any]:
    count, writer, finish = Count(), Writer(), "stop"
    async with aclosing(read_news(desk, chat, count, [chat.reader()])) as all_news:
        async for news, deltas in all_news:
            for delta in deltas:
                writer.push(delta)
            finish = news.finish or finish
    writer.close()
    return _ended(_response(chat, body, _id("resp")), writer, finish, count)


async def _events(desk: Desk, chat: Chat, body: ResponsesRequest) -> AsyncGenerator[bytes, None]:
    count, writer, finish, number = Count(), Writer(), "stop", 0
    head = _response(chat, body, _id("resp"))

    def told(value: dict[str, Any]) -> bytes:
        nonlocal number
        number += 1
        return sse.event({**value, "sequence_number": number - 1}, value["type"])

    begun = False
    async with aclosing(read_news(desk, chat, count, [chat.reader()])) as all_news:
        async for news, deltas in all_news:
            if not begun:
                begun = True
                yield told({"type": "response.created", "response": head})
                yield told({"type": "response.in_progress", "response": head})
            for delta in deltas:
                for event in writer.push(delta):
                    yield told(event)
            finish = news.finish or finish
    for event in writer.close():
        yield told(event)
    whole = _ended(head, writer, finish, count)
    yield told({"type": f"response.{whole['status']}", "response": whole})

"""Chat with a picture model: a message with a picture in it is answered by saying what the picture shows.

Such a model does not talk: the words beside the picture say only in which language (Chinese where they are
Chinese). What has no effect here is refused, as everywhere.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from collections.abc import AsyncGenerator
from typing import Any

from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response

from tokenloom.serve import sse
from tokenloom.serve.bridge import unless_gone
from tokenloom.serve.desk import Desk
from tokenloom.serve.errors import ApiError, bad_request
from tokenloom.serve.fetch import read_url
from tokenloom.serve.models import Loaded
from tokenloom.serve.schema_chat import ChatRequest, ImagePart, TextPart
from tokenloom.serve.walking import arrive, named
from tokenloom.tasks.pictures import Described, Painter, describe
from tokenloom.tasks.pictures_in import fit_picture, open_picture

CHINESE = re.compile("[\u3400-\u9fff]")
IDLE = (
    "tools", "tool_choice", "parallel_tool_calls", "response_format", "structured_outputs", "logprobs",
    "top_logprobs", "stop", "stop_token_ids", "logit_bias", "top_p", "top_k", "min_p", "typical_p",
    "repetition_penalty", "presence_penalty", "frequency_penalty", "min_tokens", "ignore_eos",
    "chat_template_kwargs", "parse_special",
)  # fmt: skip
"""Fields of a chat request that have no effect on a description."""


def refuse(model: Loaded) -> ApiError:
    """What a picture model says to a message without a picture."""
    return bad_request(
        f"messages: {model.name} is a picture model and does not talk; send a picture (a part of type "
        "image_url) to have it described, ask /v1/images/generations to have one drawn, or ask a text model",
        "messages",
    )


async def answer(
    desk: Desk, http: HttpRequest, body: ChatRequest, model: Loaded, painter: Painter
) -> Response:
    """What the picture in the last message shows, in chat's shape, whole or streamed."""
    part, lang = _asked(body, model)
    for name in IDLE:
        if getattr(body, name, None) not in (None, [], False):
            raise bad_request(f"{name}: it has no effect where a picture is described; leave it out", name)
    if body.choices() != 1:
        raise bad_request(f"n: found {body.n}; a picture has one description", "n")
    data = await read_url(part.image_url.url, "messages", desk.settings.fetch_images)
    seed = body.drawn_seed()

    async def collect() -> Described:
        try:
            small = await asyncio.to_thread(lambda: fit_picture(open_picture(data, "messages"), painter.size))
            temperature = 0.0 if body.temperature is None else body.temperature
            road = describe(painter, small, lang, _signed(seed), temperature, body.limit())
        except ValueError as error:
            raise named(str(error)) from None
        found: Described = await arrive(desk, model, road)
        return found

    head = {
        "id": f"chatcmpl-{secrets.token_hex(12)}",
        "created": int(time.time()),
        "model": model.name,
        "system_fingerprint": model.fingerprint,
    }
    headers = {"x-tokenloom-seed": str(seed)}
    if body.stream:
        return await sse.stream(
            http,
            _events(head, collect, body.include_usage()),
            hold_s=desk.settings.first_news_s,
            keepalive_s=desk.settings.keepalive_s,
            headers=headers,
        )
    found = await unless_gone(http, collect())
    message = {"role": "assistant", "content": found.text, "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": found.finish}
    whole = {**head, "object": "chat.completion", "choices": [choice], "usage": _usage(found)}
    return JSONResponse(whole, headers=headers)


def _signed(seed: int) -> int:
    return seed - 2**64 if seed >= 2**63 else seed


def _usage(found: Described) -> dict[str, Any]:
    total = found.prompt_tokens + found.completion_tokens
    return {
        "prompt_tokens": found.prompt_tokens,
        "completion_tokens": found.completion_tokens,
        "total_tokens": total,
        "prompt_tokens_details": {"cached_tokens": 0},
    }


async def _events(head: dict[str, Any], collect: Any, with_usage: bool) -> AsyncGenerator[bytes, None]:
    usage = {"usage": None} if with_usage else {}

    def chunk(delta: dict[str, Any], finish: str | None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return sse.event({**head, "object": "chat.completion.chunk", "choices": [choice], **usage})

    found: Described = await collect()
    yield chunk({"role": "assistant", "content": "", "refusal": None}, None)
    yield chunk({"content": found.text}, None)
    yield chunk({}, found.finish)
    if with_usage:
        yield sse.event({**head, "object": "chat.completion.chunk", "choices": [], "usage": _usage(found)})
    yield sse.DONE


def _asked(body: ChatRequest, model: Loaded) -> tuple[ImagePart, str]:
    """The picture of the last message, and the language of its words."""
    last = body.messages[-1].content
    parts = last if isinstance(last, list) else []
    found = [part for part in parts if isinstance(part, ImagePart)]
    if not found or body.messages[-1].role != "user":
        raise refuse(model)
    if len(body.pictures()) > 1:
        raise bad_request(
            f"messages: found {len(body.pictures())} pictures; {model.name} describes one at a time",
            "messages",
        )
    words = "".join(part.text for part in parts if isinstance(part, TextPart))
    return found[0], "zh" if CHINESE.search(words) else "en"

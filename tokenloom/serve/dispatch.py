"""Who answers a body: a model here, or the upstream server where the model is not one of ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request as HttpRequest
from starlette.responses import Response

from tokenloom.serve import chat, completions, messages, responses
from tokenloom.serve.body import checked
from tokenloom.serve.desk import Desk
from tokenloom.serve.errors import ApiError
from tokenloom.serve.schema_chat import ChatRequest
from tokenloom.serve.schema_completions import CompletionRequest


def goes_upstream(desk: Desk, value: Mapping[str, Any]) -> bool:
    """The model it names is not offered here, and there is a server behind."""
    name = value.get("model")
    return desk.upstream is not None and isinstance(name, str) and desk.models.split(name) is None


async def default_model(desk: Desk) -> str:
    """For a body that names none: the default here, else upstream's first; ApiError 404 where none is."""
    here = await desk.models.default()
    names = [] if here is None else [here]
    if not names and desk.upstream is not None:
        names = [card["id"] for card in await desk.upstream.cards()]
    if not names:
        raise ApiError(
            404, "model: none is on offer; run `loom pull smollm2`", param="model", code="model_not_found"
        )
    return names[0]


async def named(desk: Desk, value: Mapping[str, Any]) -> Mapping[str, Any]:
    return value if "model" in value else {**value, "model": await default_model(desk)}


async def answer_chat(desk: Desk, http: HttpRequest, value: Mapping[str, Any]) -> Response:
    value = await named(desk, value)
    if desk.upstream is not None and goes_upstream(desk, value):
        return await desk.upstream.forward(http, "/chat/completions", value)
    return await chat.answer(desk, http, checked(ChatRequest, value))


async def answer_completion(desk: Desk, http: HttpRequest, value: Mapping[str, Any]) -> Response:
    value = await named(desk, value)
    if desk.upstream is not None and goes_upstream(desk, value):
        return await desk.upstream.forward(http, "/completions", value)
    return await completions.answer(desk, http, checked(CompletionRequest, value))


async def answer_response(desk: Desk, http: HttpRequest, value: Mapping[str, Any]) -> Response:
    value = await named(desk, value)
    if desk.upstream is not None and goes_upstream(desk, value):
        return await desk.upstream.forward(http, "/responses", value)
    return await responses.answer(desk, http, value)


async def answer_message(desk: Desk, http: HttpRequest, value: Mapping[str, Any]) -> Response:
    value = await named(desk, value)
    if desk.upstream is not None and goes_upstream(desk, value):
        return await desk.upstream.forward(http, "/messages", value)
    return await messages.answer(desk, http, value)

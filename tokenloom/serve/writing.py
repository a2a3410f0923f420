"""Ids of a request to the engine as they come: what a picture's codes and a tune's events have in common.

Not text, whose answers are streamed word by word (serve.answers).
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Protocol

from tokenloom.serve.answers import failure
from tokenloom.serve.bridge import Ticket
from tokenloom.serve.desk import Desk
from tokenloom.serve.models import Drawing, Loaded

if TYPE_CHECKING:
    from tokenloom.engine.request import Request


class Wanted(Protocol):
    """What a road asks to be written: tasks.pictures.Write, tasks.music.Write."""

    @property
    def n(self) -> int: ...
    def request(self, id: str, model: str) -> Request: ...


async def written(
    desk: Desk, model: Loaded | Drawing, need: Wanted, kind: str
) -> AsyncGenerator[list[list[int]], None]:
    """The ids of every choice so far, each time there are more; the last is whole. kind: of the request's id.

    ApiError for what the engine refuses or fails at. Closing it gives the request up: use `aclosing`.
    """
    assert desk.engine is not None
    request = need.request(f"{kind}-{secrets.token_hex(12)}", model.base)
    ids: list[list[int]] = [[] for _ in range(need.n)]
    desk.metrics.prompt(model.name, len(request.ids))
    with desk.queue.places(1):
        async with Ticket(desk.engine, [request]) as ticket:
            try:
                while not ticket.done:
                    for delta in await ticket.news():
                        if delta.finish in ("error", "abort"):
                            ticket.abort()
                            raise failure(delta, "prompt")
                        ids[delta.choice] += delta.ids
                        if delta.finish is not None:
                            count, first = len(ids[delta.choice]), delta.choice == 0
                            desk.metrics.finished(model.name, delta.usage, count, first)
                    yield ids
            finally:
                if not ticket.done:
                    desk.metrics.left()

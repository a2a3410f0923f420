"""Walks a road of tasks.pictures with the engine's process: what it needs is asked there.

The event loop never computes: codes, pixels and scores come from the engine, files are written in threads.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncGenerator
from concurrent.futures import Future
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import numpy as np

from tokenloom.engine.diffusion import Paint, Painted, Refused, Stroke
from tokenloom.engine.status import EngineError
from tokenloom.serve.desk import Desk
from tokenloom.serve.errors import ApiError, bad_request
from tokenloom.serve.models import Drawing, Loaded
from tokenloom.serve.writing import written
from tokenloom.tasks.artist import Artist
from tokenloom.tasks.picture_early import Partial, blank
from tokenloom.tasks.pictures import Decode, Encode, Judge, Need, Painter, Road, Write
from tokenloom.tasks.pictures_out import veil


@dataclass(frozen=True)
class Progress:
    """What is written of each choice so far."""

    need: Write
    ids: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Done:
    """The road's end: what it returned."""

    value: Any


async def walk(
    desk: Desk, model: Loaded | Drawing, road: Road[Any], partials: int = 0
) -> AsyncGenerator[Progress | Stroke | Done, None]:
    """Progress while ids are written, or strokes while it is painted, then Done. ApiError for what cannot be
    done; closing it aborts. partials: pictures under way that a painting shows."""
    answer: Any = None
    while True:
        try:
            need = road.send(answer)
        except StopIteration as end:
            yield Done(end.value)
            return
        except ValueError as error:
            raise named(str(error)) from None
        if isinstance(need, Write):
            answer = []
            async with aclosing(written(desk, model, need, "pic")) as writing:
                async for ids in writing:
                    answer = [tuple(one) for one in ids]
                    yield Progress(need, tuple(answer))
        elif isinstance(need, Paint):
            async with aclosing(
                _paint(desk, model, dataclasses.replace(need, partials=partials))
            ) as painting:
                async for news in painting:
                    if isinstance(news, Painted):
                        answer = news
                    else:
                        yield news
        else:
            answer = await ask(desk, model, need)


async def arrive(desk: Desk, model: Loaded | Drawing, road: Road[Any]) -> Any:
    """What the road returns."""
    found: Any = None
    async with aclosing(walk(desk, model, road)) as steps:
        async for step in steps:
            found = step.value if isinstance(step, Done) else None
    return found


async def ask(desk: Desk, model: Loaded | Drawing, need: Need) -> Any:
    """What the codec or the judge makes of it."""
    assert desk.engine is not None
    match need:
        case Encode():
            work: Future[Any] = desk.engine.work(model.base, "encode", need.pictures)
        case Decode():
            work = desk.engine.work(model.base, "decode", need.codes)
        case Judge():
            work = desk.engine.work(model.base, "judge", list(need.told), need.pictures)
        case _:
            raise AssertionError(need)
    try:
        return await asyncio.wrap_future(work)
    except EngineError as error:
        raise _engine(error) from None


def _engine(error: EngineError) -> ApiError:
    if "ask again" in str(error) or "stays down" in str(error):
        return ApiError(503, str(error), code="engine_unavailable", retry_after_s=2)
    return ApiError(500, str(error), code="engine_error")


async def _paint(desk: Desk, model: Loaded | Drawing, need: Paint) -> AsyncGenerator[Stroke | Painted, None]:
    """Strokes, then what is painted; leaving it gives the painting up."""
    assert desk.engine is not None
    loop = asyncio.get_running_loop()
    news: asyncio.Queue[Stroke | None] = asyncio.Queue()

    def tell(stroke: Stroke | None) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(news.put_nowait, stroke)

    with desk.queue.places(1):
        try:
            errand = desk.engine.paint(model.base, need, tell)
        except EngineError as error:
            raise _engine(error) from None
        errand.answer.add_done_callback(lambda _: tell(None))
        try:
            while (stroke := await news.get()) is not None:
                yield stroke
            found = errand.answer.result()
        except EngineError as error:
            raise _engine(error) from None
        finally:
            if not errand.answer.done():
                desk.engine.drop(errand)
                desk.metrics.left()
    if isinstance(found, Refused):
        raise named(found.why)
    yield found


def named(message: str) -> ApiError:
    """An error of ours whose message begins with the field at fault."""
    field = message.partition(":")[0]
    return bad_request(message, field if field.isidentifier() else None)


class Partials:
    """Pictures that are under way, as they are to be shown: so many of each, evenly spread."""

    def __init__(self, desk: Desk, model: Loaded | Drawing, artist: Artist, count: int) -> None:
        self._desk, self._model, self._artist = desk, model, artist
        self._count = count
        self._shown: dict[int, int] = {}
        self._neutral: np.ndarray | None = None

    async def of(self, progress: Progress | Stroke) -> list[tuple[int, int, np.ndarray]]:
        """(choice, number, pixels uint8 (S, S, 4)) of those that have become due."""
        if isinstance(progress, Stroke):
            if progress.partial is None or progress.pixels is None:
                return []
            return [(progress.picture, progress.partial, progress.pixels)]
        assert isinstance(self._artist, Painter)
        painter = self._artist
        due = []
        for choice, ids in enumerate(progress.ids):
            whole = painter.tokens.per_picture
            number = min(len(ids) * (self._count + 1) // whole, self._count)
            if number > self._shown.get(choice, 0) and len(ids) < whole:
                self._shown[choice] = number
                due.append((choice, number - 1, ids))
        if not due or not progress.need.picture:
            return []
        if self._neutral is None:
            found = await ask(self._desk, self._model, Encode(blank(painter)))
            self._neutral = found[0]
        some = [Partial(painter, self._neutral, ids, progress.need.ask.forced) for *_, ids in due]
        pixels = await ask(self._desk, self._model, Decode(np.stack([one.codes() for one in some])))
        return [
            (choice, number, veil(picture, one.known()))
            for (choice, number, _), one, picture in zip(due, some, pixels, strict=True)
        ]

"""POST /v1/audio/music: music of words, a score continued, bars of one written anew, chords put under
one, or one played as it is.

A tune is answered whole, or as events with the bars that are written so far. The engine's process computes
the model; scores are read, rendered and written on threads of their own, two at a time, so that the event
loop stays free. A client that leaves ends what has not begun.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import time
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any, TypeVar

from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response

from tokenloom.serve import sse
from tokenloom.serve.body import checked, read_form, read_json
from tokenloom.serve.bridge import unless_gone
from tokenloom.serve.desk import Desk
from tokenloom.serve.errors import ApiError, bad_request
from tokenloom.serve.models import Loaded
from tokenloom.serve.schema_music import BY_RULE, MOST_FILE, MusicRequest, from_form
from tokenloom.serve.writing import written
from tokenloom.sound.score import TICKS, Score
from tokenloom.tasks import music as roads
from tokenloom.tasks.music import How, Made, MusicError, Road, Write
from tokenloom.tasks.music_early import News, Watch
from tokenloom.tasks.music_in import bears_label, read_score
from tokenloom.tasks.music_out import MIME, SOUNDS, deliver
from tokenloom.tokens.music_wish import Wish

PARTIAL, COMPLETED = "music.partial", "music.completed"
"""Events of a tune that is streamed."""
MOST_S = 1200
"""Seconds of a sound, more than 64 bars can have: as samples it is held whole."""
RENDERS = 2
"""Sounds that are made at a time."""
NAMES = {"roll": "svg"}
"""What a format is called in music_out, where it is called otherwise."""
FIELDS = frozenset(MusicRequest.model_fields)
T = TypeVar("T")


@dataclass(frozen=True)
class Job:
    """A request that is ready to run."""

    body: MusicRequest
    wish: Wish
    how: How
    score: Score | None
    """The one that is given."""
    made: bool = True
    """What is answered was generated, or says so: it is labelled."""

    def headers(self) -> dict[str, str]:
        label = {"x-tokenloom-label": "AI-generated"} if self.made else {}
        return {"x-tokenloom-seed": str(self.how.seed), **label}


async def compose(desk: Desk, http: HttpRequest) -> Response:
    """The music, as one file or as JSON."""
    return await composed(desk, http, *await _read(http))


async def composed(desk: Desk, http: HttpRequest, body: MusicRequest, data: bytes | None = None) -> Response:
    """The same of a request that is read, and its file's bytes."""
    job = await asyncio.to_thread(_tried, lambda: _job(body, data))
    model = None if body.does in BY_RULE else await desk.models.composing(body.model)
    if body.stream:
        return await sse.stream(
            http,
            _events(desk, model, job),
            hold_s=desk.settings.first_news_s,
            keepalive_s=desk.settings.keepalive_s,
            headers=job.headers(),
        )
    return await unless_gone(http, _answer(desk, model, job))


def _job(body: MusicRequest, data: bytes | None) -> Job:
    values = {name: getattr(body, name) for name in ("kind", "key", "metre", "tempo", "bars")}
    wish = roads.wish_of(body.prompt, **values)
    options = {name: getattr(body, name) for name in ("seed", "temperature", "top_k", "top_p")}
    how = How(n=body.n or 1, drafts=body.drafts, harmonise=body.harmonise, **options).drawn()
    if body.does != "compose" and data is None:
        raise MusicError(f"file: missing, and required where the task is {body.does}")
    if body.does == "compose" and data is not None:
        raise MusicError("file: found one; allowed: none where the task is compose")
    score = None if data is None else read_score(data, "file")
    made = body.does != "render" or (data is not None and bears_label(data))
    return Job(body, wish, how, score, made)


async def _answer(desk: Desk, model: Loaded | None, job: Job) -> Response:
    made = Made((), 0)
    async with aclosing(_written(desk, model, job)) as writing:
        async for step in writing:
            made = step if isinstance(step, Made) else made
    headers = job.headers()
    if not job.body.as_file:
        return JSONResponse(await _whole(job, model, made), headers=headers)
    if job.wish.unknown:
        headers["x-tokenloom-unknown"] = ", ".join(job.wish.unknown).encode("ascii", "replace").decode()[:200]
    form = job.body.forms[0]
    files = await _files(job, made)
    return Response(files[0][form], headers=headers, media_type=MIME[NAMES.get(form, form)])


async def _events(desk: Desk, model: Loaded | None, job: Job) -> AsyncGenerator[bytes, None]:
    """The bars of each version's first draft as they become whole, then the answer."""
    async with aclosing(_written(desk, model, job)) as writing:
        async for step in writing:
            if isinstance(step, Made):
                made = step
                break
            yield sse.event({"type": PARTIAL, **step}, PARTIAL)
    yield sse.event({"type": COMPLETED, **await _whole(job, model, made)}, COMPLETED)
    yield sse.DONE


async def _whole(job: Job, model: Loaded | None, made: Made) -> dict[str, Any]:
    """The answer as JSON."""
    files = await _files(job, made)
    usage = {
        "input_tokens": made.prompt_tokens,
        "output_tokens": made.music_tokens,
        "total_tokens": made.prompt_tokens + made.music_tokens,
    }
    return {
        "object": "list",
        "created": int(time.time()),
        "model": None if model is None else model.name,
        "seed": made.seed,
        "unknown": list(job.wish.unknown),
        "data": [
            {
                "index": index,
                **about(score),
                "files": {form: base64.b64encode(data).decode() for form, data in files[index].items()},
            }
            for index, score in enumerate(made.scores)
        ],
        "usage": usage,
    }


def about(score: Score) -> dict[str, Any]:
    """What is told of a piece beside its files."""
    beats, unit = score.metres[0][1:]
    return {
        "title": score.title,
        "kind": score.kind or None,
        "key": " ".join(score.keys[0][1:]) if score.keys else None,
        "metre": f"{beats}/{unit}",
        "tempo": round(score.tempos[0][1]) if score.tempos else None,
        "bars": len(score.bars) - bool(score.pickup),
        "pickup": bool(score.pickup),
        "seconds": round(score.seconds, 3),
    }


# --- what is composed ---------------------------------------------------------------------------------------


def _road(job: Job, model: Loaded) -> Road:
    composer, body, score = model.composer, job.body, job.score
    assert composer is not None
    if score is None:
        return roads.compose(composer, job.wish, job.how)
    if body.infill is not None:
        return roads.infill(composer, score, *roads.bars_of(body.infill), job.wish, job.how)
    wish = replace(job.wish, bars=None)
    return roads.go_on(composer, score, job.wish.bars or 8, wish, job.how)


async def _written(desk: Desk, model: Loaded | None, job: Job) -> AsyncGenerator[dict[str, Any] | Made, None]:
    """Walks the road, which asks the engine once: what is told of bars that are whole, if events are asked
    for, then what was made."""
    if model is None:
        assert job.score is not None
        score = job.score
        if job.body.does == "harmonise":
            score = await asyncio.to_thread(_tried, partial(roads.accompanied, score))
        yield Made((score,), job.how.seed or 0)
        return

    def begin() -> tuple[Road, Write]:
        road = _road(job, model)
        return road, next(road)

    def end(road: Road, ids: list[list[int]]) -> Made:
        try:
            road.send([tuple(one) for one in ids])
        except StopIteration as ended:
            made: Made = ended.value
            return made
        raise AssertionError("the road asks once")

    road, need = await asyncio.to_thread(_tried, begin)
    assert model.composer is not None
    watch = Watch(model.composer.tokens, need.ask, need.n // job.how.n)
    whole: list[list[int]] = []
    async with aclosing(written(desk, model, need, "mus")) as writing:
        async for whole in writing:
            for version in watch.due(whole) if job.body.stream else ():
                if news := await asyncio.to_thread(watch.news, version, whole):
                    yield _partial(version, news)
    yield await asyncio.to_thread(_tried, lambda: end(road, whole))


def _partial(version: int, news: News) -> dict[str, Any]:
    """What is told of a version under way: bars that are new, or written since they were told, and how many
    whole ones there shall be."""
    known = about(news.score)
    return {
        "index": version,
        **{name: known[name] for name in ("kind", "key", "metre", "tempo")},
        "ticks": TICKS,
        "of": news.of or None,
        "bars": [
            {
                "number": bar.number,
                "start": bar.start,
                "stop": bar.stop,
                "notes": [[note.start, note.stop, note.pitch, note.velocity] for note in bar.notes],
            }
            for bar in news.bars
        ],
    }


# --- files --------------------------------------------------------------------------------------------------


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(RENDERS, "render")


async def _files(job: Job, made: Made) -> list[dict[str, bytes]]:
    """The labelled files of each piece, by format."""
    loop, body = asyncio.get_running_loop(), job.body
    long = max((score.seconds for score in made.scores), default=0.0)
    if long > MOST_S and any(form in SOUNDS for form in body.forms):
        raise bad_request(f"file: found {long:.0f} seconds of music; as a sound at most {MOST_S}", "file")

    def one(score: Score, form: str) -> bytes:
        return _tried(
            lambda: deliver(
                score,
                NAMES.get(form, form),
                seed=made.seed,
                audible=body.label == "audible",
                lang=body.lang or "en",
                made=job.made,
            )
        )

    works = [loop.run_in_executor(_pool(), one, score, form) for score in made.scores for form in body.forms]
    try:
        found = await asyncio.gather(*works)
    finally:
        for work in works:
            work.cancel()
    rows = iter(found)
    return [{form: next(rows) for form in body.forms} for _ in made.scores]


def _tried(make: Callable[[], T]) -> T:
    """What is made; a ValueError's message begins with the field at fault."""
    try:
        return make()
    except ValueError as error:
        name = str(error).partition(":")[0]
        raise bad_request(str(error), name if name in FIELDS else None) from None


async def _read(http: HttpRequest) -> tuple[MusicRequest, bytes | None]:
    """A form's fields and its file; JSON does as well, with the file in base64."""
    found = http.headers.get("content-type", "").partition(";")[0].strip().lower()
    if found in ("", "application/json"):
        body = checked(MusicRequest, await read_json(http))
        return body, None if body.file is None else _bytes(body.file)
    if found != "multipart/form-data":
        message = f"The body is declared as {found}; send a form (multipart/form-data), or JSON."
        raise ApiError(415, message, code="unsupported_media_type")
    fields, data = await read_form(http, MOST_FILE + 1)
    given = from_form(fields)
    return checked(MusicRequest, given if data is None else {**given, "file": "form"}), data


def _bytes(text: str) -> bytes:
    """A file in base64, or in a data URL of base64."""
    head, comma, rest = text.partition(",")
    if comma and not (head.startswith("data:") and head.endswith(";base64")):
        raise bad_request("file: in JSON it must be base64, or data:audio/midi;base64,...", "file")
    try:
        return base64.b64decode(rest if comma else text, validate=True)
    except (binascii.Error, ValueError):
        raise bad_request("file: found no base64; in JSON it must be base64 or a data URL", "file") from None

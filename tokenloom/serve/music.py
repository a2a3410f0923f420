"""POST /v1/audio/music: music of words, a score continued, bars of one written anew, chords put under one.

The engine's process computes the model; scores are read, rendered and written on threads of their own, two at
a time, so that the event loop stays free. A client that leaves ends what has not begun.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, TypeVar

from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response

from tokenloom.serve.body import checked, read_form, read_json
from tokenloom.serve.bridge import unless_gone
from tokenloom.serve.desk import Desk
from tokenloom.serve.errors import ApiError, bad_request
from tokenloom.serve.models import Loaded
from tokenloom.serve.schema_music import MOST_FILE, MusicRequest, from_form
from tokenloom.serve.writing import written
from tokenloom.sound.score import Score
from tokenloom.tasks import music as roads
from tokenloom.tasks.music import How, Made, MusicError, Road, Write
from tokenloom.tasks.music_in import read_score
from tokenloom.tasks.music_out import MIME, deliver
from tokenloom.tokens.music_wish import Wish

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


async def compose(desk: Desk, http: HttpRequest) -> Response:
    """The music, as one file or as JSON."""
    return await composed(desk, http, *await _read(http))


async def composed(desk: Desk, http: HttpRequest, body: MusicRequest, data: bytes | None = None) -> Response:
    """The same of a request that is read, and its file's bytes."""
    job = await asyncio.to_thread(_tried, lambda: _job(body, data))
    return await unless_gone(http, _answer(desk, job))


def _job(body: MusicRequest, data: bytes | None) -> Job:
    values = {name: getattr(body, name) for name in ("kind", "key", "metre", "tempo", "bars")}
    wish = roads.wish_of(body.prompt, **values)
    options = {name: getattr(body, name) for name in ("seed", "temperature", "top_k", "top_p")}
    how = How(n=body.n or 1, drafts=body.drafts, harmonise=body.harmonise, **options).drawn()
    if body.does != "compose" and data is None:
        raise MusicError(f"file: missing, and required where the task is {body.does}")
    if body.does == "compose" and data is not None:
        raise MusicError("file: found one; allowed: none where the task is compose")
    return Job(body, wish, how, None if data is None else read_score(data, "file"))


async def _answer(desk: Desk, job: Job) -> Response:
    body = job.body
    if body.does == "harmonise":
        assert job.score is not None
        score = job.score
        made = Made((await asyncio.to_thread(_tried, lambda: roads.accompanied(score)),), job.how.seed or 0)
        name = ""
    else:
        model = await desk.models.composing(body.model)
        made, name = await _written(desk, model, job), model.name
    files = await _files(job, made)
    headers = {"x-tokenloom-seed": str(made.seed), "x-tokenloom-label": "AI-generated"}
    if body.as_file:
        form = body.forms[0]
        if job.wish.unknown:
            headers["x-tokenloom-unknown"] = (
                ", ".join(job.wish.unknown).encode("ascii", "replace").decode()[:200]
            )
        return Response(files[0][form], headers=headers, media_type=MIME[NAMES.get(form, form)])
    usage = {
        "input_tokens": made.prompt_tokens,
        "output_tokens": made.music_tokens,
        "total_tokens": made.prompt_tokens + made.music_tokens,
    }
    whole = {
        "object": "list",
        "created": int(time.time()),
        "model": name or None,
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
    return JSONResponse(whole, headers=headers)


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


async def _written(desk: Desk, model: Loaded, job: Job) -> Made:
    """Walks the road: it asks the engine once."""

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
    whole: list[list[int]] = []
    async with aclosing(written(desk, model, need, "mus")) as writing:
        async for ids in writing:
            whole = ids
    return await asyncio.to_thread(_tried, lambda: end(road, whole))


# --- files --------------------------------------------------------------------------------------------------


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(RENDERS, "render")


async def _files(job: Job, made: Made) -> list[dict[str, bytes]]:
    """The labelled files of each piece, by format."""
    loop, body = asyncio.get_running_loop(), job.body

    def one(score: Score, form: str) -> bytes:
        return _tried(
            lambda: deliver(
                score,
                NAMES.get(form, form),
                seed=made.seed,
                audible=body.label == "audible",
                lang=body.lang or "en",
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

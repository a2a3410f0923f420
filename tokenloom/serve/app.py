"""The web application: routes over an engine that runs elsewhere. It computes nothing itself.

`create_app` makes it, `run` serves it with uvicorn until a signal comes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request
from starlette.responses import JSONResponse, Response

from tokenloom import __version__, hub
from tokenloom.serve import audio, dispatch, errors, hearing, images, music, openapi, pages, tasks
from tokenloom.serve.body import read_json
from tokenloom.serve.bridge import ClientGone, Engine
from tokenloom.serve.desk import Desk
from tokenloom.serve.errors import ApiError
from tokenloom.serve.guard import Guard
from tokenloom.serve.keys import load_keys
from tokenloom.serve.limits import Queue
from tokenloom.serve.metrics import Metrics
from tokenloom.serve.models import RETRY_S, Models, Place
from tokenloom.serve.schema_audio import SpeechRequest, TranscriptionRequest, TranslationRequest
from tokenloom.serve.schema_chat import ChatRequest
from tokenloom.serve.schema_completions import CompletionRequest
from tokenloom.serve.schema_images import EditRequest, ImagesRequest, VariationRequest
from tokenloom.serve.schema_messages import MessagesRequest
from tokenloom.serve.schema_music import MusicRequest
from tokenloom.serve.schema_responses import ResponsesRequest
from tokenloom.serve.settings import Settings
from tokenloom.serve.tasks import TaskRequest
from tokenloom.serve.upstream import Upstream
from tokenloom.sound.streams import MIME

BODIES = (
    ChatRequest,
    CompletionRequest,
    ResponsesRequest,
    MessagesRequest,
    TaskRequest,
    ImagesRequest,
    EditRequest,
    VariationRequest,
    SpeechRequest,
    TranscriptionRequest,
    TranslationRequest,
    MusicRequest,
)
DESCRIPTION = "OpenAI's API over models on this machine."


def create_app(
    engine: Engine | None, settings: Settings, *, find: Callable[[str], Place] = hub.find
) -> FastAPI:
    """The application. engine: an EngineProcess or what has its methods; None where everything goes upstream.

    find: how a model's name becomes a place. Raises ValueError for settings that cannot be served: keys that
    are needed and missing, a model that is not installed.
    """
    if engine is None and settings.upstream is None:
        raise ValueError("engine: none given, and no upstream; one of them has to answer")
    keys = load_keys(settings)
    metrics = Metrics()
    queue = Queue(settings.max_requests)
    upstream = None if settings.upstream is None else Upstream(settings, queue)
    desk = Desk(settings, engine, Models(engine, settings, find), queue, metrics, upstream)
    app = FastAPI(
        title="Tokenloom",
        version=__version__,
        description=DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        lifespan=_lifespan(desk),
    )
    app.add_middleware(Guard, settings=settings, keys=keys, metrics=metrics)
    errors.install(app)
    _own_routes(app, desk)
    _openai_routes(app, desk)
    _picture_routes(app, desk)
    _sound_routes(app, desk)
    pages.install(app, settings.studio, keys)
    openapi.install(app, BODIES)
    app.state.desk = desk
    app.state.routes = [path for path in (getattr(route, "path", "") for route in app.routes) if path]
    return app


def _lifespan(desk: Desk) -> Any:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        desk.models.start()
        try:
            yield
        finally:
            await desk.models.close()
            if desk.upstream is not None:
                await desk.upstream.close()
            if desk.engine is not None:
                await asyncio.to_thread(desk.engine.close)

    return lifespan


def _own_routes(app: FastAPI, desk: Desk) -> None:
    @app.get("/health", responses=openapi.errors(503))
    async def health() -> Response:
        """ok; loading while the first model loads; restarting while the engine does. Needs no key."""
        alive = desk.engine is None or desk.engine.alive
        if alive and not desk.models.starting:
            return JSONResponse({"status": "ok"})
        status = "loading" if alive else "restarting"
        return JSONResponse({"status": status}, 503, {"retry-after": str(int(RETRY_S))})

    @app.get(
        "/metrics", responses={**openapi.PLAIN, **openapi.errors(*openapi.AUTH)}, response_class=Response
    )
    async def figures() -> Response:
        """Figures for Prometheus."""
        desk.metrics.in_flight.set(desk.queue.taken)
        if desk.engine is not None:
            desk.metrics.engine(await asyncio.to_thread(desk.engine.status))
        text, kind = desk.metrics.text()
        return Response(text, media_type=kind)


def _openai_routes(app: FastAPI, desk: Desk) -> None:
    asked = openapi.errors(*openapi.ASKED)

    @app.get("/v1/models", responses=openapi.errors(*openapi.AUTH))
    async def models() -> Response:
        """The models on offer: those here, then those upstream."""
        cards = [desk.models.card(name) for name in desk.models.names()]
        headers = {}
        if desk.upstream is not None:
            try:
                known = {card["id"] for card in cards}
                cards += [card for card in await desk.upstream.cards() if card["id"] not in known]
            except ApiError:
                if not cards:
                    raise
                headers["x-tokenloom-upstream"] = "unreachable"
        return JSONResponse({"object": "list", "data": cards}, headers=headers)

    @app.get("/v1/models/{model:path}", responses=openapi.errors(401, 403, 404))
    async def model(model: str) -> Response:
        """One model."""
        if desk.models.split(model) is None and desk.upstream is not None:
            cards = await desk.upstream.cards()
            for card in cards:
                if card["id"] == model:
                    return JSONResponse(card)
            raise desk.models.unknown(model, [card["id"] for card in cards])
        return JSONResponse(desk.models.card(model))

    @app.post(
        "/v1/chat/completions",
        responses={**openapi.streams("The answer."), **asked},
        openapi_extra=openapi.takes(ChatRequest),
    )
    async def chat_completions(request: Request) -> Response:
        """An answer to a conversation."""
        return await dispatch.answer_chat(desk, request, await read_json(request))

    @app.post(
        "/v1/completions",
        responses={**openapi.streams("The continuation."), **asked},
        openapi_extra=openapi.takes(CompletionRequest),
    )
    async def text_completions(request: Request) -> Response:
        """A continuation of a text."""
        return await dispatch.answer_completion(desk, request, await read_json(request))

    @app.post(
        "/v1/responses",
        responses={**openapi.streams("The answer, as items."), **asked},
        openapi_extra=openapi.takes(ResponsesRequest),
    )
    async def items(request: Request) -> Response:
        """An answer as items; nothing is stored."""
        return await dispatch.answer_response(desk, request, await read_json(request))

    @app.post(
        "/v1/messages",
        responses={**openapi.streams("The answer, as content blocks."), **asked},
        openapi_extra=openapi.takes(MessagesRequest),
    )
    async def content_blocks(request: Request) -> Response:
        """An answer in Anthropic's shape."""
        return await dispatch.answer_message(desk, request, await read_json(request))

    @app.get("/v1/tasks", responses=openapi.errors(*openapi.AUTH))
    async def listed_tasks() -> Response:
        """The declared tasks with their fields."""
        return JSONResponse(tasks.listed(desk))

    @app.post(
        "/v1/tasks/{name}",
        responses={**openapi.streams("The answer, as chat or completions give it."), **asked},
        openapi_extra=openapi.takes(TaskRequest),
    )
    async def run_task(request: Request, name: str) -> Response:
        """One task, run."""
        return await tasks.run(desk, request, name)

    @app.exception_handler(ClientGone)
    async def gone(request: Request, error: ClientGone) -> Response:
        return Response(status_code=499)


def _picture_routes(app: FastAPI, desk: Desk) -> None:
    asked = {**openapi.streams("The pictures."), **openapi.errors(*openapi.ASKED)}

    @app.post("/v1/images/generations", responses=asked, openapi_extra=openapi.takes(ImagesRequest))
    async def drawn(request: Request) -> Response:
        """Pictures of words."""
        value = await read_json(request)
        if desk.upstream is not None and dispatch.goes_upstream(desk, value):
            return await desk.upstream.forward(request, "/images/generations", value)
        return await images.generations(desk, request, value)

    form = openapi.takes_form(EditRequest, "image", "mask")

    @app.post("/v1/images/edits", responses=asked, openapi_extra=form)
    async def edited(request: Request) -> Response:
        """A picture with a part drawn anew, or the whole in another style."""
        return await images.edits(desk, request)

    form = openapi.takes_form(VariationRequest, "image")

    @app.post("/v1/images/variations", responses=asked, openapi_extra=form)
    async def varied(request: Request) -> Response:
        """Other pictures of what one shows."""
        return await images.variations(desk, request)


def _sound_routes(app: FastAPI, desk: Desk) -> None:
    asked = openapi.errors(*openapi.ASKED)
    sound: dict[int | str, dict[str, Any]] = {
        200: {
            "description": "The sound, as it is made.",
            "content": {kind: {"schema": {"type": "string", "format": "binary"}} for kind in MIME.values()}
            | {"text/event-stream": {"schema": openapi.EVENT}},
        }
    }

    @app.get("/v1/audio/voices", responses=openapi.errors(*openapi.AUTH))
    async def voices() -> Response:
        """The voices that are here."""
        return JSONResponse(await asyncio.to_thread(audio.voices_here))

    @app.post(
        "/v1/audio/speech",
        responses={**sound, **asked},
        openapi_extra=openapi.takes(SpeechRequest),
        response_class=Response,
    )
    async def spoken(request: Request) -> Response:
        """A text read aloud."""
        return await audio.speech(desk, request, await read_json(request))

    written: dict[int | str, dict[str, Any]] = {
        200: {
            "description": "What was said.",
            "content": {"application/json": {"schema": {"type": "object"}}}
            | {kind: {"schema": {"type": "string"}} for kind in hearing.PLAIN_TEXT.values()},
        }
    }
    form = openapi.takes_form(TranscriptionRequest, "file")

    @app.post("/v1/audio/transcriptions", responses={**written, **asked}, openapi_extra=form)
    async def transcribed(request: Request) -> Response:
        """A recording written down."""
        return await hearing.transcriptions(desk, request)

    form = openapi.takes_form(TranslationRequest, "file")

    @app.post("/v1/audio/translations", responses={**written, **asked}, openapi_extra=form)
    async def translated(request: Request) -> Response:
        """A recording written down in English."""
        return await hearing.translations(desk, request)

    tune: dict[int | str, dict[str, Any]] = {
        200: {
            "description": "The music: one file as it is, or all files as JSON.",
            "content": {"application/json": {"schema": {"type": "object"}}}
            | {kind: {"schema": {"type": "string", "format": "binary"}} for kind in music.MIME.values()}
            | {"text/event-stream": {"schema": openapi.EVENT}},
        }
    }
    form = openapi.takes_form(MusicRequest, "file")

    @app.post("/v1/audio/music", responses={**tune, **asked}, openapi_extra=form)
    async def composed(request: Request) -> Response:
        """Music of words; a given score continued, with bars written anew, or with chords under it."""
        return await music.compose(desk, request)

"""POST /v1/audio/transcriptions and /translations, in OpenAI's shape: what is said, written down.

Not speech (`audio`). The engine's process reads the file and listens. A client that leaves ends its
transcription after the segment under way.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import uuid
from typing import Any, TypeVar

import numpy as np
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, PlainTextResponse, Response

from tokenloom.engine.status import EngineError
from tokenloom.hub import NotInstalled, UnknownModel
from tokenloom.serve.audio import engine_of, failed
from tokenloom.serve.body import checked, read_form, read_json
from tokenloom.serve.bridge import unless_gone
from tokenloom.serve.desk import Desk
from tokenloom.serve.errors import ApiError, bad_request
from tokenloom.serve.schema_audio import Heard as HeardRequest
from tokenloom.serve.schema_audio import TranscriptionRequest, TranslationRequest, from_form
from tokenloom.sound import recognise
from tokenloom.sound.language import NAMES
from tokenloom.sound.recognise import Ask, Heard
from tokenloom.sound.subtitles import srt, vtt

OWN_NAMES = frozenset({"", "whisper-1", "gpt-4o-transcribe", "gpt-4o-mini-transcribe"})
"""Names that stand for the recogniser that is here."""
Asked = TypeVar("Asked", bound=HeardRequest)
SUBTITLES = {"srt": srt, "vtt": vtt}
PLAIN_TEXT = {"srt": "application/x-subrip", "vtt": "text/vtt", "text": "text/plain"}


async def transcriptions(desk: Desk, http: HttpRequest) -> Response:
    """A recording written down."""
    body, data = await _read(http, TranscriptionRequest)
    words = "word" in (body.timestamp_granularities or ())
    ask = _asked(body, language=body.language or None, words=words)
    heard = await unless_gone(http, _hear(desk, body, data, ask))
    return _written(body, heard, "transcribe", words)


async def translations(desk: Desk, http: HttpRequest) -> Response:
    """A recording written down in English."""
    body, data = await _read(http, TranslationRequest)
    heard = await unless_gone(http, _hear(desk, body, data, _asked(body, translate=True)))
    return _written(body, heard, "translate", False)


def _asked(body: HeardRequest, **more: Any) -> Ask:
    return Ask(prompt=body.prompt, temperature=body.temperature, **more)


async def _hear(desk: Desk, body: HeardRequest, data: bytes, ask: Ask) -> Heard:
    engine = engine_of(desk)
    name = None if body.model in OWN_NAMES else body.model
    try:
        folder = await asyncio.to_thread(recognise.recogniser_folder, name)
    except (recognise.CannotHear, NotInstalled, UnknownModel) as error:
        raise ApiError(404, str(error), param="model", code="model_not_found") from None
    ident = uuid.uuid4().hex
    with desk.queue.places(1):
        try:
            heard: Heard = await asyncio.wrap_future(engine.sound("hear", ident, str(folder), data, ask))
        except EngineError as error:
            raise failed(error) from None
        except asyncio.CancelledError:
            with contextlib.suppress(EngineError):
                engine.sound("hush", ident)
            raise
    return heard


def _written(body: HeardRequest, heard: Heard, task: str, words: bool) -> Response:
    """The answer in the form that was asked."""
    if body.form == "json":
        usage = {"type": "duration", "seconds": int(np.ceil(heard.duration))}
        return JSONResponse({"text": heard.text, "usage": usage})
    if body.form in PLAIN_TEXT:
        text = heard.text + "\n" if body.form == "text" else SUBTITLES[body.form](heard)
        return PlainTextResponse(text, media_type=PLAIN_TEXT[body.form])
    whole = verbose(heard, task, words, getattr(body, "timestamp_granularities", None))
    if body.subtitles:
        whole["subtitles"] = {form: SUBTITLES[form](heard) for form in body.subtitles}
    return JSONResponse(whole)


def verbose(heard: Heard, task: str, words: bool, asked: list[Any] | None) -> dict[str, Any]:
    """OpenAI's verbose_json."""
    language = NAMES.get(heard.language, heard.language).lower()
    found: dict[str, Any] = {
        "task": task,
        "language": language,
        "duration": round(heard.duration, 3),
        "text": heard.text,
    }
    if words:
        found["words"] = [
            {"word": w.text.strip(), "start": round(w.start, 3), "end": round(w.end, 3)}
            for one in heard.segments
            for w in one.words
        ]
    if not asked or "segment" in asked:
        found["segments"] = [
            {
                "id": number,
                "seek": one.seek,
                "start": round(one.start, 3),
                "end": round(one.end, 3),
                "text": one.text,
                "tokens": list(one.tokens),
                "temperature": one.temperature,
                "avg_logprob": one.avg_logprob,
                "compression_ratio": one.compression_ratio,
                "no_speech_prob": one.no_speech_prob,
            }
            for number, one in enumerate(heard.segments)
        ]
    return {**found, "usage": {"type": "duration", "seconds": int(np.ceil(heard.duration))}}


async def _read(http: HttpRequest, kind: type[Asked]) -> tuple[Asked, bytes]:
    """A form's fields and its file; JSON does as well, with a data URL for the file."""
    found = http.headers.get("content-type", "").partition(";")[0].strip().lower()
    if found in ("", "application/json"):
        body = checked(kind, await read_json(http))
        if body.file is None:
            raise bad_request("file: missing, and required", "file", "missing_required_parameter")
        return body, _of_url(body.file)
    if found != "multipart/form-data":
        message = f"The body is declared as {found}; send a form (multipart/form-data), or JSON."
        raise ApiError(415, message, code="unsupported_media_type")
    fields, data = await read_form(http)
    body = checked(kind, from_form(fields))
    if data is None:
        raise bad_request("file: missing, and required", "file", "missing_required_parameter")
    return body, data


def _of_url(url: str) -> bytes:
    head, comma, text = url.partition(",")
    if not (comma and head.startswith("data:") and head.endswith(";base64")):
        raise bad_request("file: in JSON it must be data:audio/wav;base64,...", "file")
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        raise bad_request("file: what stands after base64, is none", "file") from None

"""POST /v1/audio/speech and GET /v1/audio/voices, in OpenAI's shape. Not transcriptions (`hearing`).

Speech goes out as it is made, a sentence at a time; the engine's process speaks, here sentences are found and
sound is put into its format. A client that leaves ends its speech after the sentence under way.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import queue
import threading
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import numpy as np
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from tokenloom.engine.status import EngineError
from tokenloom.serve import sse
from tokenloom.serve.body import checked
from tokenloom.serve.bridge import Engine, hangs_up, unless_gone
from tokenloom.serve.desk import Desk
from tokenloom.serve.errors import ApiError, bad_request
from tokenloom.serve.schema_audio import SpeechRequest
from tokenloom.sound import voices
from tokenloom.sound.audio import resample
from tokenloom.sound.say import Piece, ending, pieces_of, seed_of
from tokenloom.sound.streams import MIME, encoded
from tokenloom.trust.wav import PCM, Format, rhythm

AHEAD = 32
"""Pieces of sound that are made ahead of a client that is slow to take them."""
PCM_HZ = 24_000
"""OpenAI's rate of raw samples; other voices than the embedded one are brought to it."""


@dataclass(frozen=True)
class Job:
    """A text that is ready to be read aloud."""

    body: SpeechRequest
    engine: Engine
    voice: str
    pieces: tuple[Piece, ...]

    @property
    def headers(self) -> dict[str, str]:
        return {
            "x-tokenloom-voice": self.voice,
            "x-tokenloom-seed": str(self.body.seed or 0),
            "x-tokenloom-label": "AI-generated",
        }


async def speech(desk: Desk, http: HttpRequest, value: Mapping[str, Any]) -> Response:
    """A text read aloud."""
    body = checked(SpeechRequest, value)
    engine = engine_of(desk)

    def prepare() -> Job:
        pieces = tuple(ending(pieces_of(body.input)))
        words = " ".join(piece.text for piece in pieces)
        return Job(body, engine, voices.choose_voice(words, body.voice_name, body.language), pieces)

    try:
        job = await asyncio.to_thread(prepare)
    except ValueError as error:
        raise named(str(error)) from None
    if body.stream_format == "sse":
        return await sse.stream(
            http,
            _events(desk, job),
            hold_s=desk.settings.first_news_s,
            keepalive_s=desk.settings.keepalive_s,
            headers=job.headers,
        )
    chunks = _bytes(desk, job)
    try:
        first = await unless_gone(http, anext(chunks))
    except BaseException:
        await chunks.aclose()
        raise
    return _Sound(first, chunks, MIME[body.kind], job.headers)


async def _bytes(desk: Desk, job: Job) -> AsyncGenerator[bytes, None]:
    """The encoded stream: a sentence is sent while the next is being spoken."""
    with desk.queue.places(1):
        async with aclosing(_sentences(job)) as sentences:
            rate, first = await anext(sentences)
            encoder = _Encoder(job.body.kind, rate)
            if job.body.label == "audible":
                encoder.feed(_tones(rate))
            encoder.feed(first)
            feeding = asyncio.ensure_future(_feed(encoder, sentences))
            try:
                while data := await encoder.next():
                    yield data
                await feeding
            finally:
                feeding.cancel()
                await asyncio.wait({feeding})


async def _feed(encoder: _Encoder, sentences: AsyncGenerator[tuple[int, np.ndarray], None]) -> None:
    """Hands on what is spoken, no faster than the client takes it."""
    try:
        async for _, samples in sentences:
            encoder.feed(samples)
            while encoder.waiting > AHEAD:
                await asyncio.sleep(0.02)
    finally:
        encoder.feed(None)


async def _sentences(job: Job) -> AsyncGenerator[tuple[int, np.ndarray], None]:
    """(rate, samples) of each piece that can be heard; the next is being spoken while one is sent."""

    def ask(number: int) -> asyncio.Future[Any]:
        seed = seed_of(job.body.seed or 0, number)
        spoken = job.engine.sound("speak", job.voice, job.pieces[number], job.body.speed, seed)
        return asyncio.wrap_future(spoken)

    heard = False
    try:
        following = ask(0)
        for number in range(len(job.pieces)):
            rate, samples = await following
            if number + 1 < len(job.pieces):
                following = ask(number + 1)
            heard = heard or bool(np.any(samples))
            if len(samples):
                yield rate, samples
    except EngineError as error:
        raise failed(error) from None
    if not heard:
        raise bad_request(f"input: the voice {job.voice} can read nothing in it", "input")


class _Encoder:
    """`streams.encoded` on a thread: chunks go in and bytes come out."""

    def __init__(self, kind: str, rate: int) -> None:
        self._rate, self._stored = rate, PCM_HZ if kind == "pcm" else rate
        self._in: queue.SimpleQueue[np.ndarray | None] = queue.SimpleQueue()
        self._out: asyncio.Queue[bytes | Exception] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()
        stream = encoded(self._given(), self._stored, kind)
        threading.Thread(target=self._run, args=(stream,), name="encode", daemon=True).start()

    def feed(self, samples: np.ndarray | None) -> None:
        """Mono samples at the voice's rate; None ends the stream, and does so again without effect."""
        self._in.put(None if samples is None else resample(samples, self._rate, self._stored))

    @property
    def waiting(self) -> int:
        """Pieces that are made and not yet taken."""
        return self._out.qsize()

    async def next(self) -> bytes:
        """The next bytes; b"" at the end."""
        found = await self._out.get()
        if isinstance(found, Exception):
            raise ApiError(500, f"The sound could not be encoded: {found}")
        return found

    def _given(self) -> Iterator[np.ndarray]:
        while (samples := self._in.get()) is not None:
            yield samples

    def _run(self, stream: Iterator[bytes]) -> None:
        try:
            for data in stream:
                if data:
                    self._tell(data)
        except (ValueError, RuntimeError, OSError) as error:
            self._tell(error)
        self._tell(b"")

    def _tell(self, data: bytes | Exception) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended, and nobody waits
            self._loop.call_soon_threadsafe(self._out.put_nowait, data)


def _tones(rate: int) -> np.ndarray:
    """The rhythm that says to the ear: this is AI-generated."""
    tones = np.frombuffer(rhythm(Format(PCM, 1, rate, 2)), "<i2")
    return (tones / np.float32(32768)).astype(np.float32)


async def _events(desk: Desk, job: Job) -> AsyncGenerator[bytes, None]:
    """The stream as OpenAI's events."""
    async with aclosing(_bytes(desk, job)) as chunks:
        async for data in chunks:
            yield sse.event({"type": "speech.audio.delta", "audio": base64.b64encode(data).decode()})
    made = len(job.body.input)
    usage = {"input_tokens": made, "output_tokens": 0, "total_tokens": made}
    yield sse.event({"type": "speech.audio.done", "usage": usage})


class _Sound(Response):
    """Bytes as they are made. The work is given up when the client leaves."""

    def __init__(
        self, first: bytes, chunks: AsyncGenerator[bytes, None], kind: str, headers: Mapping[str, str]
    ) -> None:
        super().__init__(headers={"cache-control": "no-store", **headers}, media_type=kind)
        del self.headers["content-length"]
        self._first, self._chunks = first, chunks

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        gone = asyncio.ensure_future(hangs_up(receive))
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            data: bytes | None = self._first
            while data is not None and not gone.done():
                await send({"type": "http.response.body", "body": data, "more_body": True})
                data = await self._next(gone)
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            gone.cancel()
            await self._chunks.aclose()

    async def _next(self, gone: asyncio.Future[None]) -> bytes | None:
        following = asyncio.ensure_future(anext(self._chunks, None))
        both: set[asyncio.Future[Any]] = {following, gone}
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        if not following.done():
            following.cancel()
            await asyncio.wait({following})
            return None
        return following.result()


def voices_here() -> dict[str, Any]:
    """GET /v1/audio/voices."""
    data = [
        {"id": one.name, "object": "voice", "engine": one.engine, "languages": list(one.languages),
         "licence": one.licence}
        for one in voices.known()
    ]  # fmt: skip
    return {"object": "list", "data": data, "default": data[0]["id"] if data else None}


def engine_of(desk: Desk) -> Engine:
    if desk.engine is None:
        raise ApiError(404, "Nothing speaks or listens here: all models are upstream.", code="no_voice")
    return desk.engine


def failed(error: EngineError) -> ApiError:
    """What the engine could not do: the client's part, or its own."""
    message = str(error)
    if message.startswith("the engine"):
        return ApiError(503, message, code="engine_restarting")
    if message.startswith("the sound: "):
        return bad_request(f"file: {message.removeprefix('the sound: ')}", "file", "invalid_audio")
    return named(message)


def named(message: str) -> ApiError:
    """A 400 for a message that begins with the field at fault; text is what the API calls input."""
    name, colon, rest = message.partition(": ")
    name = {"text": "input"}.get(name, name)
    known = {"input", "voice", "speed", "language", "model", "prompt", "temperature"}
    if not colon or name not in known:
        return bad_request(message)
    return bad_request(f"{name}: {rest}", name)

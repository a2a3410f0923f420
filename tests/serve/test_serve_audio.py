"""Speech and transcriptions over HTTP, by the official client, with a voice of tones."""

from __future__ import annotations

import asyncio
import io
import json
import threading
import time
import wave
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import openai
import pytest
from fake_engine import FakeEngine
from serving import Serve, Served

from tokenloom.engine.status import EngineError
from tokenloom.serve import hearing
from tokenloom.sound import recognise, say, voices
from tokenloom.sound.audio import read_audio
from tokenloom.sound.recognise import Ask, Heard, Segment, Word

RATE = 24_000


class Toned:
    name, languages, rate = "heart", ("en",), RATE

    def utter(self, text: str, speed: float, seed: int) -> np.ndarray:
        n = round(0.1 * RATE * len(text.split()) / speed)
        tone = 0.5 * np.sin(np.arange(n) * 0.05 + seed % 5)
        return np.concatenate([np.zeros(2400), tone, np.zeros(2400)]).astype(np.float32)


class Sounding(FakeEngine):
    """A FakeEngine that speaks in tones and hears "word" for each second."""

    wait_s = 0.0

    def sound(self, kind: str, *arguments: Any) -> Future[Any]:
        self.sounds.append((kind, *arguments))
        return self.pool.submit(getattr(self, f"do_{kind}"), *arguments)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.sounds: list[tuple[Any, ...]] = []
        self.pool = ThreadPoolExecutor(4)

    def do_speak(self, voice: str, piece: say.Piece, speed: float, seed: int) -> tuple[int, np.ndarray]:
        if voice != "heart":
            raise EngineError(f"voice: there is none named {voice!r}; here are: heart")
        time.sleep(self.wait_s)
        return RATE, say.utter(Toned(), piece, speed, seed)

    def do_hear(self, ident: str, folder: str, data: bytes, ask: Ask) -> Heard:
        time.sleep(self.wait_s)
        try:
            samples, rate = read_audio(data, mono=True)
        except ValueError as error:
            raise EngineError(str(error)) from error
        seconds = len(samples) / rate
        words = tuple(Word(i, i + 1.0, " word", 0.9) for i in range(int(seconds)))
        text = " in English" if ask.translate else " word" * len(words)
        segment = Segment(0.0, seconds, text, words if ask.words else (), (1, 2))
        return Heard(ask.language or "en", seconds, (segment,))

    def do_hush(self, ident: str) -> None:
        return None


@pytest.fixture
def sounding(serve: Serve, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Served:
    info = voices.VoiceInfo("heart", "hibari", ("en",), "Apache-2.0")
    monkeypatch.setattr(voices, "known", lambda: [info])
    monkeypatch.setattr(recognise, "recogniser_folder", lambda name: folder_of(name, tmp_path))
    served: Served = serve(engine=Sounding())
    return served


def folder_of(name: str | None, folder: Path) -> Path:
    if name not in (None, "whisper-base"):
        raise recognise.CannotHear(f"model: {name} writes down no speech; those that do: whisper-base")
    return folder


@pytest.fixture
def client(sounding: Served) -> openai.OpenAI:
    http = httpx.Client(trust_env=False)
    return openai.OpenAI(base_url=sounding.v1, api_key="none", http_client=http, max_retries=0)


def recording(seconds: float = 2.0, rate: int = 16_000, channels: int = 1, width: int = 2) -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(b"\x10" * (round(seconds * rate) * channels * width))
    return buffer.getvalue()


# --- speech ---


@pytest.mark.parametrize("kind", ["mp3", "wav", "flac", "opus", "pcm"])
def test_the_official_client_has_text_read_aloud(client: openai.OpenAI, kind: Any) -> None:
    text = "One two three four five. Six seven eight nine ten."
    answer = client.audio.speech.create(model="tts-1", voice="alloy", input=text, response_format=kind)
    data = answer.read()
    if kind == "pcm":
        samples, rate = np.frombuffer(data, "<i2")[:, None] / 32768, RATE
    else:
        samples, rate = read_audio(data)
    wanted = 1.0 + 2 * 3 * say.EDGE_S + say.SENTENCE_S + say.LAST_S
    assert len(samples) / rate == pytest.approx(wanted, abs=0.12)
    assert 0.4 < np.abs(samples).max() <= 0.75
    assert answer.response.headers["x-tokenloom-voice"] == "heart"
    assert answer.response.headers["x-tokenloom-label"] == "AI-generated"


def test_mp3_comes_when_no_format_is_asked(sounding: Served) -> None:
    answer = sounding.post("/v1/audio/speech", {"input": "Hello there.", "voice": "alloy", "model": "tts-1"})
    assert answer.headers["content-type"] == "audio/mpeg"
    assert answer.content[0] == 0xFF or answer.content.startswith(b"ID3")


def test_the_first_sentence_is_sent_before_the_last_is_spoken(sounding: Served) -> None:
    """The last sentence is not spoken until the client has heard the first."""
    engine: Any = sounding.engine
    heard, speak = threading.Event(), engine.do_speak

    def patient(*arguments: Any) -> tuple[int, np.ndarray]:
        if len(engine.sounds) == 8:
            assert heard.wait(60), "nothing was sent while sentences were left to speak"
        found: tuple[int, np.ndarray] = speak(*arguments)
        return found

    engine.do_speak = patient
    body = {"input": "One sentence here. " * 8, "voice": "heart", "response_format": "pcm"}
    with sounding.client.stream("POST", sounding.v1 + "/audio/speech", json=body) as answer:
        pieces = answer.iter_raw()
        next(pieces)
        heard.set()
        assert sum(map(len, pieces)) > 0
    assert len(engine.sounds) == 8


def test_a_client_that_leaves_ends_the_speech(sounding: Served) -> None:
    engine: Any = sounding.engine
    engine.wait_s = 0.1
    body = {"input": "One sentence here. " * 400, "voice": "heart", "response_format": "pcm"}
    with sounding.client.stream("POST", sounding.v1 + "/audio/speech", json=body) as answer:
        next(answer.iter_raw())
    asked = 0
    while len(engine.sounds) > asked:
        asked = len(engine.sounds)
        time.sleep(1)  # ten sentences' time
    assert asked < 400


def test_events(client: openai.OpenAI, sounding: Served) -> None:
    body = {"input": "One. Two.", "voice": "heart", "response_format": "pcm", "stream_format": "sse"}
    answer = sounding.post("/v1/audio/speech", body)
    events = [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: ")]
    assert {event["type"] for event in events[:-1]} == {"speech.audio.delta"}
    assert events[-1]["type"] == "speech.audio.done"
    assert events[-1]["usage"]["total_tokens"] >= events[-1]["usage"]["input_tokens"]


def test_the_same_seed_gives_the_same_bytes_and_the_tones_come_first(sounding: Served) -> None:
    body = {"input": "One two three.", "voice": "heart", "response_format": "pcm", "seed": 3}
    one, two = (sounding.post("/v1/audio/speech", body).content for _ in range(2))
    other = sounding.post("/v1/audio/speech", {**body, "seed": 4}).content
    toned = sounding.post("/v1/audio/speech", {**body, "label": "audible"}).content
    assert one == two != other
    assert toned.endswith(one)
    assert len(toned) > len(one) + RATE


@pytest.mark.parametrize(
    ("body", "param", "why"),
    [
        ({"input": ""}, "input", "must not be empty"),
        ({"input": "  "}, "input", "it is empty"),
        ({"input": "🙂🙂"}, "input", "no letter and no digit"),
        ({"input": "Hi.", "speed": 9}, "speed", "4"),
        ({"input": "Hi.", "voice": "nobody"}, "voice", "none named 'nobody'"),
        ({"input": "Hi.", "voice": "../x.onnx"}, "voice", "must be a name"),
        ({"input": "Hi.", "response_format": "aac"}, "response_format", "allowed: mp3"),
        ({"input": "你好，世界。"}, "voice", "none for Chinese; get apt install espeak-ng"),
        ({"input": "<speak><foo/></speak>"}, "input", "<foo>, which is not read"),
        ({"input": "Hi.", "instructions": "cheerful"}, "instructions", "take none"),
    ],
)
def test_what_cannot_be_read_aloud_is_named(
    sounding: Served, body: dict[str, Any], param: str, why: str
) -> None:
    answer = sounding.post("/v1/audio/speech", {"voice": "alloy", "model": "tts-1", **body})
    error = answer.json()["error"]
    assert answer.status_code in (400, 422), error
    assert error["param"] == param
    assert why in error["message"]


def test_a_voice_of_the_hub_is_asked_by_its_name(sounding: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    info = voices.VoiceInfo("own:org/speaker", "own", ("en",), "Apache-2.0")
    monkeypatch.setattr(voices, "known", lambda: [info])
    sounding.post("/v1/audio/speech", {"input": "Hi.", "voice": "own:org/speaker"})
    asked = sounding.engine.sounds  # type: ignore[attr-defined]
    assert [one[:2] for one in asked] == [("speak", "own:org/speaker")]
    for path in ("own:/etc/speaker", "own:org/other", "org/speaker"):
        answer = sounding.post("/v1/audio/speech", {"input": "Hi.", "voice": path})
        assert answer.json()["error"]["param"] == "voice", path
    assert len(asked) == 1, "no path reaches the engine"


def test_voices_are_listed(sounding: Served) -> None:
    found = sounding.get("/v1/audio/voices").json()
    assert found["default"] == "heart"
    assert found["data"][0]["languages"] == ["en"]


# --- transcriptions ---


def test_the_official_client_has_a_recording_written_down(client: openai.OpenAI) -> None:
    found = client.audio.transcriptions.create(model="whisper-1", file=("a.wav", recording()))
    assert found.text == "word word"
    verbose = client.audio.transcriptions.create(
        model="whisper-base",
        file=("a.wav", recording()),
        response_format="verbose_json",
        language="zh",
        timestamp_granularities=["word", "segment"],
    )
    assert verbose.language == "chinese"
    assert verbose.duration == 2.0
    assert verbose.words is not None
    assert [w.start for w in verbose.words] == [0.0, 1.0]
    assert verbose.segments is not None
    assert verbose.segments[0].tokens == [1, 2]


def test_translations(client: openai.OpenAI) -> None:
    found = client.audio.translations.create(model="whisper-1", file=("a.wav", recording()))
    assert found.text == "in English"


@pytest.mark.parametrize(
    ("form", "kind", "begins"),
    [
        ("text", "text/plain", "word word\n"),
        ("srt", "application/x-subrip", "1\n00:00:00,000 --> 00:00:02,000\nword word"),
        ("vtt", "text/vtt", "WEBVTT\n\n00:00:00.000 --> 00:00:02.000\nword word"),
    ],
)
def test_forms(sounding: Served, form: str, kind: str, begins: str) -> None:
    files = {"file": ("a.wav", recording())}
    answer = sounding.client.post(
        sounding.v1 + "/audio/transcriptions", files=files, data={"response_format": form}
    )
    assert answer.headers["content-type"].startswith(kind)
    assert answer.text.startswith(begins)


@pytest.mark.parametrize("path", ["transcriptions", "translations"])
def test_subtitles_come_with_the_answer(sounding: Served, path: str) -> None:
    def ask(fields: dict[str, Any]) -> httpx.Response:
        files = {"file": ("a.wav", recording())}
        return sounding.client.post(f"{sounding.v1}/audio/{path}", files=files, data=fields)

    verbose = {"response_format": "verbose_json"}
    assert "subtitles" not in ask(verbose).json()
    found = ask({**verbose, "subtitles[]": ["srt", "vtt"]}).json()
    assert found["text"]
    assert found["subtitles"] == {form: ask({"response_format": form}).text for form in ("srt", "vtt")}
    assert list(ask({**verbose, "subtitles": "vtt"}).json()["subtitles"]) == ["vtt"]


@pytest.mark.parametrize(
    ("data", "fields", "param", "why"),
    [
        (b"this is a text, no sound", {}, "file", "it is text, no sound"),
        (b"", {}, "file", "it is empty"),
        (recording()[:500], {}, "file", "cut off"),
        (recording(), {"model": "nothing"}, "model", "writes down no speech"),
        (recording(), {"temperature": "hot"}, "temperature", "must be a number"),
        (recording(), {"timestamp_granularities[]": "word"}, None, "needs response_format: verbose_json"),
        (recording(), {"subtitles": "srt"}, None, "needs response_format: verbose_json"),
        (recording(), {"response_format": "verbose_json", "subtitles": "ass"}, None, "srt"),
        (recording(), {"response_format": "pdf"}, "response_format", "srt"),
    ],
)
def test_what_cannot_be_written_down_is_named(
    sounding: Served, data: bytes, fields: dict[str, str], param: str | None, why: str
) -> None:
    answer = sounding.client.post(
        sounding.v1 + "/audio/transcriptions", files={"file": ("a.wav", data)}, data=fields
    )
    error = answer.json()["error"]
    assert answer.status_code in (400, 404, 422), error
    assert why in error["message"], error
    assert param is None or error["param"] == param


def test_a_form_without_a_file(sounding: Served) -> None:
    answer = sounding.client.post(sounding.v1 + "/audio/transcriptions", data={"model": "whisper-1"})
    assert answer.status_code in (400, 415)


def test_any_rate_depth_and_channels(sounding: Served) -> None:
    for rate, channels, width in [(96_000, 10, 2), (8000, 1, 1), (44_100, 2, 3)]:
        files = {"file": ("a.wav", recording(1.0, rate, channels, width))}
        answer = sounding.client.post(sounding.v1 + "/audio/transcriptions", files=files)
        assert answer.status_code == 200, answer.text


def test_whoever_leaves_while_it_is_listened_to_is_told_to_the_engine(sounding: Served) -> None:
    engine: Any = sounding.engine
    left, hear = threading.Event(), engine.do_hear

    def patient(*arguments: Any) -> Heard:
        left.wait(60)
        found: Heard = hear(*arguments)
        return found

    engine.do_hear = patient

    async def leave() -> None:
        async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
            files = {"file": ("a.wav", recording())}
            asked = asyncio.create_task(client.post(sounding.v1 + "/audio/transcriptions", files=files))
            while not engine.sounds:
                await asyncio.sleep(0.01)
            asked.cancel()
            await asyncio.wait({asked})

    asyncio.run(leave())
    until = time.monotonic() + 60
    while len(engine.sounds) < 2 and time.monotonic() < until:
        time.sleep(0.02)
    left.set()
    assert engine.sounds[1] == ("hush", engine.sounds[0][1])


def test_names_that_stand_for_the_recogniser_here() -> None:
    assert "whisper-1" in hearing.OWN_NAMES


def test_reading_aloud_is_a_task(sounding: Served) -> None:
    listed = {task["name"]: task for task in sounding.get("/v1/tasks").json()["data"]}
    assert (listed["speak"]["kind"], listed["speak"]["model"]) == ("speech", None)
    body = {"fields": {"input": "Hello there.", "speed": 2, "seed": 3}}
    answer = sounding.post("/v1/tasks/speak", body)
    assert answer.headers["content-type"] == "audio/mpeg"
    assert (answer.headers["x-tokenloom-voice"], answer.headers["x-tokenloom-seed"]) == ("heart", "3")
    assert answer.content == sounding.post("/v1/audio/speech", body["fields"]).content, "the route's own"
    streamed = sounding.post("/v1/tasks/speak", {**body, "stream": True})
    assert streamed.headers["content-type"].startswith("text/event-stream")
    for fields, param in (
        ({}, "fields.input"),
        ({"input": "x", "speed": 9}, "fields.speed"),
        ({"input": "x", "voice": "a/b"}, "fields.voice"),
        ({"input": "你好"}, "fields.voice"),
    ):
        error = sounding.post("/v1/tasks/speak", {"fields": fields}).json()["error"]
        assert error["param"] == param, error

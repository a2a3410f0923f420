"""A whole server for the pages of sound: a composer of random weights, a voice of tones, a recogniser that
hears one sentence. The server is real, and its engine is as well but for the voice and the recogniser.
"""

from __future__ import annotations

import io
import sys
import threading
import time
import urllib.error
import urllib.request
import wave
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_composer import tiny_composer

from tokenloom.engine.process import EngineProcess, Sink
from tokenloom.engine.request import Delta, Request
from tokenloom.serve.app import create_app
from tokenloom.serve.settings import Settings
from tokenloom.sound import recognise, voices
from tokenloom.sound.recognise import CannotHear, Heard, Segment

sys.path.append(str(Path(__file__).parents[1] / "serve"))

RATE = 24_000
SAID = "The quick brown fox jumps over the lazy dog."
MISSING = "recogniser: none is here; loom pull whisper-base fetches one"


class Gate:
    """Lets the first ids of an answer's first choice through; what comes after them waits until it opens."""

    def __init__(self, ids: int) -> None:
        self._left = ids
        self._waiting: list[tuple[Sink, Delta]] = []
        self._open = False
        self._lock = threading.Lock()

    def sink(self, sink: Sink) -> Sink:
        def gated(deltas: Sequence[Delta]) -> None:
            with self._lock:
                for delta in deltas:
                    if self._open:
                        sink([delta])
                    elif self._left > 0 and delta.choice == 0:
                        first, rest = delta.ids[: self._left], delta.ids[self._left :]
                        self._left -= len(first)
                        sink([Delta(delta.request, 0, first)])
                        self._waiting.append((sink, replace(delta, ids=rest)))
                    else:
                        self._waiting.append((sink, delta))

        return gated

    def open(self) -> None:
        with self._lock:
            self._open = True
            for sink, delta in self._waiting:
                sink([delta])


class Band(EngineProcess):
    """The engine's process, which composes; speech is done here."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.pool = ThreadPoolExecutor(2)
        self.heard: list[bytes] = []
        self.gate: Gate | None = None
        """Through which answers go, if there is one."""

    def submit(self, request: Request, sink: Sink) -> None:
        super().submit(request, sink if self.gate is None else self.gate.sink(sink))

    def sound(self, kind: str, *arguments: Any) -> Future[Any]:
        return self.pool.submit({"speak": _speak, "hear": self._hear, "hush": _hush}[kind], *arguments)

    def _hear(self, ident: str, folder: str, data: bytes, ask: Any) -> Heard:
        self.heard.append(data)
        text = "A fox." if ask.translate else SAID
        return Heard(ask.language or "en", 2.5, (Segment(0.0, 2.5, f" {text}"),))


def _speak(voice: str, piece: Any, speed: float, seed: int) -> tuple[int, np.ndarray]:
    n = round(0.12 * RATE * max(1, len(piece.text.split())) / speed)
    swell = np.abs(np.sin(np.arange(n) * 0.0004))
    return RATE, (0.5 * swell * np.sin(np.arange(n) * 0.06)).astype(np.float32)


def _hush(ident: str) -> None:
    return None


@contextmanager
def band(place: Path) -> Iterator[tuple[str, Band]]:
    """(address, engine) of the server while it runs. It has the voice `heart`, and no recogniser."""
    import torch
    from fake_engine import Place
    from serving import running

    torch.set_num_threads(1)
    folder = tiny_composer(place / "composer")
    engine = Band(threads=1, flush_ms=5)
    with pytest.MonkeyPatch.context() as patch:
        info = voices.VoiceInfo("heart", "hibari", ("en",), "Apache-2.0")
        patch.setenv("TOKENLOOM_HOME", str(place))
        patch.setattr(voices, "known", lambda: [info])
        patch.setattr(recognise, "recogniser_folder", nobody)
        find: Callable[[str], Any] = lambda name: Place(name, folder)  # noqa: E731
        app = create_app(engine, Settings(models=("composer",), first_news_s=0.2), find=find)
        with running(app) as url:
            for _ in range(600):
                if healthy(url):
                    break
                time.sleep(0.1)
            yield url, engine


def healthy(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=5) as answer:
            return bool(answer.status == 200)
    except urllib.error.HTTPError:
        return False


def nobody(name: str | None) -> Path:
    raise CannotHear(MISSING)


def recording(seconds: float = 0.5) -> dict[str, Any]:
    """A file of a tone, as a person chooses one."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(16_000)
        tone = 8000 * np.sin(np.arange(round(16_000 * seconds)) * 0.1)
        out.writeframes(tone.astype("<i2").tobytes())
    return {"name": "memo.wav", "mimeType": "audio/wav", "buffer": buffer.getvalue()}

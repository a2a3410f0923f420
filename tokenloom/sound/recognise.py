"""Speech written down: Whisper through faster-whisper, with weights that the user pulled.

Not subtitles (`subtitles`) and not reading files (`audio`). Where nothing is said nothing is written:
stretches without a voice are found first, for Whisper makes up words in them.
Source: Radford et al. 2022, Robust Speech Recognition via Large-Scale Weak Supervision; the voice detector is
Silero's, which lies in faster-whisper.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from tokenloom.sound.voices import Samples

RATE = 16_000
DEFAULT = "whisper-base"
GET = "pip install 'tokenloom[sound]'"
SHORTEST_S = 0.05
CLEAR = 0.35
"""The voice detector's threshold: below its own default, so that quiet speech is heard."""
TEMPERATURES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
"""Tried in turn until an answer is neither repetitive nor unlikely."""
PROMPT_MOST = 2000


class CannotHear(ValueError):
    """A recogniser that cannot be opened; the message says what to get."""


class Stopped(Exception):
    """Whoever asked needs no answer any more."""


@dataclass(frozen=True)
class Ask:
    """How speech is to be written down."""

    language: str | None = None
    """ISO 639-1; None = heard in the sound."""
    translate: bool = False
    """To English."""
    words: bool = False
    """The time of each word."""
    prompt: str = ""
    """Words that came before, or names as they are spelled."""
    temperature: float = 0.0
    """0 tries the likeliest first and grows where that fails; otherwise as given."""

    def __post_init__(self) -> None:
        if not 0 <= self.temperature <= 1:
            raise ValueError(f"temperature: found {self.temperature}; allowed are 0 to 1")
        if len(self.prompt) > PROMPT_MOST:
            raise ValueError(f"prompt: {len(self.prompt)} characters; at most {PROMPT_MOST} are used")


@dataclass(frozen=True)
class Word:
    start: float
    end: float
    text: str
    probability: float


@dataclass(frozen=True)
class Segment:
    """What was said without a break; seconds from the start."""

    start: float
    end: float
    text: str
    words: tuple[Word, ...] = ()
    tokens: tuple[int, ...] = ()
    seek: int = 0
    temperature: float = 0.0
    avg_logprob: float = 0.0
    compression_ratio: float = 0.0
    no_speech_prob: float = 0.0


@dataclass(frozen=True)
class Heard:
    """A sound written down."""

    language: str
    """ISO 639-1 of what was said; "" where nothing was."""
    duration: float
    segments: tuple[Segment, ...]

    @property
    def text(self) -> str:
        return "".join(segment.text for segment in self.segments).strip()


class Recogniser:
    """Whisper's weights, open. One at a time may use it."""

    def __init__(self, folder: Path, threads: int = 0) -> None:
        """threads: of the computation; 0 = as many as there are cores, at most four. CannotHear says what is
        missing or wrong."""
        if find_spec("faster_whisper") is None:
            raise CannotHear(f"faster-whisper: not installed; writing down speech needs it: {GET}")
        from faster_whisper import WhisperModel

        try:
            self._model: Any = WhisperModel(
                str(folder), device="cpu", compute_type="int8", cpu_threads=threads, local_files_only=True
            )
        except (RuntimeError, ValueError, OSError) as error:
            raise CannotHear(f"{folder.name}: it cannot be opened as a recogniser ({error})") from error
        self.languages = frozenset(self._model.supported_languages)

    def hear(
        self, samples: Samples, ask: Ask | None = None, tell: Callable[[float], None] | None = None
    ) -> Heard:
        """Mono samples (n,) float32 at 16 kHz, written down. tell(seconds done) is called as it goes on, and
        may raise Stopped to end it. ValueError for a language that it does not know."""
        import ctranslate2

        ask = ask or Ask()
        if ask.language is not None and ask.language not in self.languages:
            raise ValueError(
                f"language: found {ask.language!r}; allowed are codes as en, zh, de: "
                f"{', '.join(sorted(self.languages))}"
            )
        if samples.ndim != 1:
            raise ValueError(f"samples: found the shape {samples.shape}; allowed is (n,), mono")
        duration = len(samples) / RATE
        if duration < SHORTEST_S or not np.any(samples):
            return Heard("", duration, ())
        ctranslate2.set_random_seed(0)
        found, about = self._model.transcribe(
            samples,
            language=ask.language,
            task="translate" if ask.translate else "transcribe",
            word_timestamps=ask.words,
            initial_prompt=ask.prompt or None,
            temperature=ask.temperature or list(TEMPERATURES),
            vad_filter=True,
            vad_parameters={"threshold": CLEAR, "min_silence_duration_ms": 1000},
            condition_on_previous_text=False,
        )
        segments = []
        for one in found:
            segments.append(_segment(one, duration))
            if tell is not None:
                tell(min(one.end, duration))
        return Heard(about.language if segments else "", duration, tuple(segments))


def _segment(one: Any, duration: float) -> Segment:
    """faster-whisper's segment as a value, within the sound."""
    end = min(float(one.end), duration)
    words = tuple(
        Word(min(float(w.start), duration), min(float(w.end), duration), w.word, float(w.probability))
        for w in one.words or ()
    )
    return Segment(
        start=min(float(one.start), end),
        end=end,
        text=one.text,
        words=words,
        tokens=tuple(one.tokens),
        seek=int(one.seek),
        temperature=float(one.temperature or 0.0),
        avg_logprob=float(one.avg_logprob),
        compression_ratio=float(one.compression_ratio),
        no_speech_prob=float(one.no_speech_prob),
    )


def recogniser_folder(name: str | None = None) -> Path:
    """The folder of a recogniser by name or path; None: the first that is here. CannotHear, NotInstalled or
    UnknownModel says what to get."""
    from tokenloom import hub

    here = [one.name for one in hub.recognisers()]
    if name is None:
        if not here:
            raise CannotHear(f"model: no recogniser of speech is here; `loom pull {DEFAULT}` gets one")
        name = DEFAULT if DEFAULT in here else here[0]
    found = hub.find(name)
    if found.kind != "ctranslate2":
        others = ", ".join(here) or f"none is here; `loom pull {DEFAULT}` gets one"
        raise CannotHear(f"model: {name} writes down no speech; those that do: {others}")
    return found.path

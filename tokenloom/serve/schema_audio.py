"""What a client may ask of speech and of transcriptions, in OpenAI's shape. Not how it is done (`audio`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from tokenloom.serve.body import Body
from tokenloom.serve.errors import bad_request
from tokenloom.sound import voices

MOST = 100_000
"""Characters of a text that is read aloud: about two hours."""


class SpeechRequest(Body):
    input: str = Field(min_length=1, max_length=MOST)
    """What is read aloud. A text that begins with <speak> is SSML: break, emphasis, say-as, sub, prosody, p
    and s are known."""
    model: str = "tts-1"
    """Accepted as OpenAI's clients send it; the voice decides what speaks."""
    voice: str | dict[str, str] = "auto"
    """A name of GET /v1/audio/voices. auto and the names of OpenAI's voices (alloy, ...): the voice of the
    text's language."""
    response_format: Literal["mp3", "wav", "flac", "opus", "pcm"] | None = None
    """mp3 when not given. pcm: 16 bits, mono, at 24,000 samples a second."""
    speed: float = Field(1.0, ge=0.25, le=4.0)
    stream_format: Literal["audio", "sse"] | None = None
    """audio (when not given): bytes as they are made. sse: events, speech.audio.delta and at last
    speech.audio.done."""
    seed: int | None = Field(None, ge=0, lt=1 << 31)
    """The same seed and request give the same sound; 0 when not given."""
    language: str | None = Field(None, max_length=16)
    """Of the text, as en or zh; heard from the text when not given."""
    label: Literal["audible", "hidden"] | None = None
    """audible: a rhythm of tones at the start says that it is AI-generated. hidden (when not given): the head
    x-tokenloom-label says so, for pages that show the words beside it."""
    user: str | None = None
    """Accepted and not kept."""

    refused: ClassVar[Mapping[str, str]] = {
        "instructions": "the voices here take none; use speed, or <prosody> and <emphasis> in the input"
    }

    @field_validator("response_format", mode="before")
    @classmethod
    def _no_aac(cls, value: Any) -> Any:
        if value == "aac":
            raise ValueError("aac is not written here; allowed: mp3, wav, flac, opus, pcm")
        return value

    @field_validator("voice")
    @classmethod
    def _voice_name(cls, value: str | dict[str, str]) -> str | dict[str, str]:
        name = value.get("id", "") if isinstance(value, dict) else value
        path = "\\" in name or name.endswith(".onnx")
        if not path and "/" in name:  # but for a model of the Hub that speaks, which is own:org/name
            path = all(name != one.name for one in voices.known())
        if not name or len(name) > 100 or path:
            raise ValueError("it must be a name of GET /v1/audio/voices, or auto")
        return value

    @property
    def voice_name(self) -> str:
        return self.voice.get("id", "auto") if isinstance(self.voice, dict) else self.voice

    @property
    def kind(self) -> str:
        return self.response_format or "mp3"


class Heard(Body):
    """The fields of a form in which a recording comes."""

    model: str = Field("", max_length=200)
    """A recogniser's name; whisper-1 and none: the one that is here."""
    file: str | None = None
    """A file of the form, or data:audio/wav;base64,... in JSON."""
    prompt: str = Field("", max_length=2000)
    """Names and words as they are spelled."""
    response_format: Literal["json", "text", "srt", "vtt", "verbose_json"] | None = None
    subtitles: list[Literal["srt", "vtt"]] | None = None
    """Ours: with verbose_json, subtitles of what was heard come along, a text of each form."""
    temperature: float = Field(0.0, ge=0, le=1)
    """0 tries the likeliest first and grows where that fails."""
    stream: bool | None = None
    """Without effect, as with OpenAI's whisper-1: the answer comes whole."""
    user: str | None = None

    @property
    def form(self) -> str:
        return self.response_format or "json"

    @model_validator(mode="after")
    def _beside(self) -> Heard:
        if self.subtitles and self.form != "verbose_json":
            raise ValueError("subtitles needs response_format: verbose_json")
        return self


class TranscriptionRequest(Heard):
    language: str | None = Field(None, max_length=16)
    """What is spoken, as en or zh; heard from the sound when not given."""
    timestamp_granularities: list[Literal["word", "segment"]] | None = None
    """With verbose_json; segment when not given."""

    refused: ClassVar[Mapping[str, str]] = {
        "include": "the likelihood of each segment comes with verbose_json",
        "chunking_strategy": "recordings of any length are cut where nobody speaks",
        "known_speaker_names": "speakers are not told apart",
        "known_speaker_references": "speakers are not told apart",
    }

    @model_validator(mode="after")
    def _together(self) -> TranscriptionRequest:
        if self.timestamp_granularities and self.form != "verbose_json":
            raise ValueError("timestamp_granularities needs response_format: verbose_json")
        return self


class TranslationRequest(Heard):
    """To English; the language spoken is heard."""


def from_form(fields: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """A form's texts as the values they stand for; ApiError 400 names one that is none."""
    found: dict[str, Any] = {}
    for raw, text in fields:
        name = raw.removesuffix("[]")
        if name in ("timestamp_granularities", "subtitles"):
            found.setdefault(name, []).append(text)
        elif name in found:
            raise bad_request(f"{name}: found twice in the form; give it once", name)
        elif name == "temperature":
            try:
                found[name] = float(text)
            except ValueError:
                raise bad_request(f"{name}: found {text[:80]!r}; it must be a number", name) from None
        elif name == "stream":
            if text.lower() not in ("true", "false"):
                raise bad_request(f"{name}: found {text[:80]!r}; it must be true or false", name)
            found[name] = text.lower() == "true"
        elif name in ("language", "response_format") and not text:
            continue
        else:
            found[name] = text
    return found

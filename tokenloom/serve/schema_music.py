"""What a client may ask of music. Not how it is done (`music`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field, model_validator

from tokenloom.serve.body import Body
from tokenloom.serve.errors import bad_request
from tokenloom.serve.schema_sampling import SEEDS
from tokenloom.tasks.music import DRAFTS, MOST_DRAFTS

Form = Literal["midi", "abc", "wav", "flac", "ogg", "mp3", "roll", "png"]
"""roll: the piano roll as SVG; png: the same as a picture."""
BY_RULE = ("harmonise", "render")
"""Tasks that no model does."""
MOST_FORMS = 8
MOST_FILE = 24 << 20
"""Letters of a file in base64."""
WHOLE = ("bars", "tempo", "n", "seed", "top_k", "drafts")
NUMBERS = ("temperature", "top_p")
SWITCHES = ("harmonise", "stream")


class MusicRequest(Body):
    prompt: str = Field("", max_length=2000)
    """What it shall be, in English or Chinese: a kind, a key, a metre, a pace, a number of bars. Words that
    are not known are told in the answer and have no effect; where none is known, that is an error."""
    model: str = ""
    """When not given: the first composer on offer."""
    task: Literal["compose", "continue", "infill", "harmonise", "render"] | None = None
    """When not given: infill where `infill` is, continue where `file` is, else compose. harmonise puts chords
    and a bass under the melody of `file`, by rules, and composes nothing. render gives `file` as it is in the
    formats that are asked, without a label unless it bears one."""
    file: str | None = Field(None, max_length=MOST_FILE)
    """MIDI, ABC or MusicXML: a file of the form; in JSON base64, or data:audio/midi;base64,..."""
    infill: str | None = Field(None, max_length=20)
    """Bars of `file` to be written anew, as 5-8, counted from 1 (a pickup is 0)."""
    bars: int | None = Field(None, ge=1, le=64)
    """Whole bars: of a new piece (16 when not given), or behind one that is continued (8)."""
    kind: str | None = Field(None, max_length=40)
    """reel, jig, slip jig, hornpipe, air, march, ...; this and the next three go over the prompt."""
    key: str | None = Field(None, max_length=40)
    """As D, A minor, Bb dorian."""
    metre: str | None = Field(None, max_length=10)
    """As 6/8."""
    tempo: int | None = Field(None, ge=1, le=1000)
    """Quarter notes a minute."""
    harmonise: bool = False
    """Chords and a bass under what is composed: by rules, not learned."""
    n: int | None = Field(None, ge=1, le=16)
    seed: int | None = Field(None, ge=-SEEDS, lt=SEEDS)
    """The same seed and request give the same music; drawn when not given; x-tokenloom-seed tells it."""
    drafts: int = Field(DRAFTS, ge=1, le=MOST_DRAFTS)
    """Of each version of a new piece in a key; one that is in the key is kept."""
    temperature: float | None = Field(None, ge=0, le=2)
    top_k: int | None = Field(None, ge=0)
    top_p: float | None = Field(None, gt=0, le=1)
    response_format: Form | list[Form] | None = None
    """midi when not given; a list for several files of each piece."""
    answer: Literal["file", "json"] | None = None
    """file: the one file's bytes, the default where n is 1 and one format is asked. json: the default
    elsewhere: each piece with its files in base64, its key, metre, bars and seconds."""
    stream: bool = False
    """Events: music.partial with the bars that are whole so far of each version's first draft; at last
    music.completed, the answer as JSON, which counts: another draft may be kept, and chords come last."""
    label: Literal["audible", "hidden"] | None = None
    """audible: a rhythm of tones before a sound says that it is AI-generated. hidden (when not given): the
    label in the file and x-tokenloom-label say so, for pages that show the words beside it."""
    lang: Literal["en", "zh"] | None = None
    """Of the visible label's words; en when not given."""
    user: str | None = None
    """Accepted and not kept."""

    @property
    def forms(self) -> tuple[Form, ...]:
        given = self.response_format or "midi"
        return (given,) if isinstance(given, str) else tuple(dict.fromkeys(given))

    @property
    def does(self) -> str:
        """The task."""
        return self.task or ("infill" if self.infill else "continue" if self.file else "compose")

    @property
    def as_file(self) -> bool:
        """The answer is one file's bytes."""
        return not self.stream and self.answer != "json" and (self.n or 1) == 1 and len(self.forms) == 1

    @model_validator(mode="after")
    def _together(self) -> MusicRequest:
        if isinstance(self.response_format, list) and not 1 <= len(self.response_format) <= MOST_FORMS:
            raise ValueError(f"response_format needs 1 to {MOST_FORMS} formats")
        if self.answer == "file" and not self.as_file:
            raise ValueError(
                "answer: file holds one piece in one format; leave answer out for several, and events"
            )
        if self.infill is not None and self.does != "infill":
            raise ValueError(f"infill names bars to be written anew, which the task {self.task} does not do")
        if self.does == "infill" and self.infill is None:
            raise ValueError("infill is missing: name bars to be written anew, as 5-8")
        if self.does in ("infill", *BY_RULE) and self.bars is not None:
            raise ValueError("bars is of a new piece or a continued one; leave it out")
        if self.does in BY_RULE and (self.n or 1) != 1:
            raise ValueError(f"n must be 1 with the task {self.does}, which gives one piece")
        if self.does == "render" and self.harmonise:
            raise ValueError("harmonise changes the piece; the task harmonise does so, and render does not")
        return self


def from_form(fields: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """A form's texts as the values they stand for; ApiError 400 names one that is none."""
    found: dict[str, Any] = {}
    for raw, text in fields:
        name = raw.removesuffix("[]")
        if name == "response_format":
            found.setdefault(name, []).append(text)
        elif name in found:
            raise bad_request(f"{name}: found twice in the form; give it once", name)
        else:
            found[name] = _value(name, text)
    if len(found.get("response_format", ())) == 1:
        found["response_format"] = found["response_format"][0]
    return found


def _value(name: str, text: str) -> Any:
    try:
        if name in WHOLE:
            return int(text)
        if name in NUMBERS:
            return float(text)
    except ValueError:
        raise bad_request(f"{name}: found {text[:80]!r}; it must be a number", name) from None
    if name in SWITCHES:
        if text.lower() not in ("true", "false"):
            raise bad_request(f"{name}: found {text[:80]!r}; it must be true or false", name)
        return text.lower() == "true"
    return text

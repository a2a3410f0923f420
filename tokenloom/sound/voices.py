"""Voices behind one interface: which there are, which reads a text, and what to get where there is none.

Not the engines themselves (`hibari`, `espeak`, `piper`, `kokoro`, `own`) and not sentences (`say`). A voice's
name is that of the embedded one ("heart"), or ENGINE:NAME for one that the user brought or trained.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tokenloom.config import home
from tokenloom.sound.language import OTHER_SCRIPTS, language_of, name_of

Samples = NDArray[np.float32]

EMBEDDED = "heart"
GET_EMBEDDED = "pip install 'tokenloom[sound]'"
GET_ESPEAK = "apt install espeak-ng (or brew install espeak-ng), a program that speaks 100 languages"
OPENAI = frozenset(
    ["alloy", "ash", "ballad", "cedar", "coral", "echo", "marin", "nova", "onyx", "sage", "shimmer", "verse"]
)
"""Voices of OpenAI's that its clients ask for; none is here, and the voice of the text's language reads."""


class NoVoice(ValueError):
    """A voice that is not there; the message says what to get."""


class Voice(Protocol):
    """One voice that is open."""

    name: str
    languages: tuple[str, ...]
    rate: int
    """Samples a second."""

    def utter(self, text: str, speed: float, seed: int) -> Samples:
        """One sentence, (n,) float32 in [-1, 1]; empty where the voice can read nothing in it."""
        ...


@dataclass(frozen=True)
class VoiceInfo:
    """A voice that could be opened."""

    name: str
    engine: str
    languages: tuple[str, ...]
    licence: str = ""
    note: str = ""


def voices_home() -> Path:
    """Where voices lie that the user brought."""
    return home() / "voices"


def known() -> list[VoiceInfo]:
    """The voices that are here, the embedded one first. Opens none."""
    from tokenloom.sound import espeak, hibari, kokoro, own, piper

    found: list[VoiceInfo] = []
    for engine in (hibari, kokoro, piper, espeak, own):
        found += engine.known(voices_home())
    return found


def open_voice(name: str) -> Voice:
    """The voice of a name, or of a piper file's path; those of models (own:NAME) engine.speaker opens.

    NoVoice or ValueError says what is wrong.
    """
    from tokenloom.sound import espeak, hibari, kokoro, piper

    engine, _, which = name.partition(":")
    if name.endswith(".onnx") and (os.sep in name or Path(name).is_file()):
        return piper.open_voice(Path(name).expanduser(), name)
    if engine in hibari.NAMES and not which:
        return hibari.open_voice(engine)
    if engine == "espeak":
        return espeak.open_voice(which)
    if engine == "piper" and which:
        return piper.open_voice(_inside(f"{which}.onnx"), name)
    if engine == "kokoro" and which:
        return kokoro.open_voice(voices_home(), which)
    here = ", ".join(info.name for info in known()) or f"none; {GET_EMBEDDED} brings {EMBEDDED}"
    raise NoVoice(f"voice: there is none named {name!r}; here are: {here}")


def _inside(name: str) -> Path:
    if "/" in name or "\\" in name or name.startswith("."):
        raise NoVoice(f"voice: {name!r} is no name; it may hold no / and not begin with a dot")
    return voices_home() / name


def choose_voice(text: str, wanted: str | None = None, language: str | None = None) -> str:
    """The voice that reads a text: the wanted one, else one of its language.

    wanted: a voice's name; None, "auto" and the names of OpenAI's voices leave the choice to the text.
    NoVoice says what to get for a language without one, and where the wanted voice does not know it.
    """
    spoken = language or language_of(text) or "en"
    here = known()
    if wanted and wanted != "auto" and wanted not in OPENAI:
        info = next((one for one in here if one.name == wanted), None)
        if info and language is None and not _reads(info, spoken) and spoken in OTHER_SCRIPTS:
            raise NoVoice(
                f"voice: {wanted} reads {', '.join(map(name_of, info.languages[:4]))}, and the text is in "
                f"{name_of(spoken)}; {_what_to_get(spoken, here)}"
            )
        return wanted
    for info in here:
        if _reads(info, spoken):
            return f"espeak:{spoken}" if info.engine == "espeak" else info.name
    raise NoVoice(f"voice: there is none for {name_of(spoken)}; {_what_to_get(spoken, here)}")


def _reads(info: VoiceInfo, language: str) -> bool:
    return "*" in info.languages or language in info.languages


def _what_to_get(language: str, here: list[VoiceInfo]) -> str:
    able = [info.name for info in here if _reads(info, language)]
    if able:
        return f"{able[0]} reads it"
    if language == "en":
        return f"get the embedded voice: {GET_EMBEDDED}"
    return (
        f"get {GET_ESPEAK}, or put a piper voice of that language (NAME.onnx and NAME.onnx.json) into "
        f"{voices_home()}"
    )


def onnx_session(path: Path, what: str) -> Session:
    """A model of one thread. ValueError for a file that is none, NoVoice where onnxruntime is missing."""
    if find_spec("onnxruntime") is None:
        raise NoVoice(f"onnxruntime: not installed; {what} needs it: {GET_EMBEDDED}")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        session: Session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
    except _onnx_errors(onnxruntime) as error:
        raise ValueError(f"{path.name}: it cannot be read as a voice ({str(error)[:200]})") from error
    return session


def _onnx_errors(onnxruntime: Any) -> tuple[type[Exception], ...]:
    """What it raises for a file that is no network; its errors have no class in common but Exception."""
    state = onnxruntime.capi.onnxruntime_pybind11_state
    names = ("Fail", "InvalidProtobuf", "InvalidGraph", "InvalidArgument", "NoSuchFile", "NotImplemented")
    return (RuntimeError, ValueError, *(getattr(state, name) for name in names))


class Session(Protocol):
    """What is used of onnxruntime.InferenceSession."""

    def run(self, names: None, inputs: dict[str, Any]) -> list[np.ndarray]: ...
    def get_inputs(self) -> list[InputOf]: ...


class InputOf(Protocol):
    @property
    def name(self) -> str: ...


def files(folder: Path, pattern: str) -> Iterator[Path]:
    """Files of a folder by name; none where there is no folder."""
    yield from sorted(folder.glob(pattern)) if folder.is_dir() else ()

"""Piper voices that the user brings: NAME.onnx with NAME.onnx.json beside it. Not the piper program.

The network reads ids of phonemes with a pad between each two; the phonemes come from espeak-ng as a program,
or are the letters themselves, as the voice's JSON says.
Source: Kim, Kong & Son (2021), VITS; the piper voices' own configuration.
"""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np

from tokenloom.sound import espeak
from tokenloom.sound.voices import NoVoice, Samples, Session, VoiceInfo, files, onnx_session

PAD, START, END = "_", "^", "$"
SCALES = {"noise_scale": 0.667, "length_scale": 1.0, "noise_w": 0.8}
KINDS = ("espeak", "text")
LOUD = 0.9
"""The peak to which a sentence that is too loud is brought down."""


class PiperVoice:
    """One piper voice. Its noise is drawn inside its network, so a seed does not hold it: the same seed may
    sound slightly different."""

    def __init__(self, name: str, settings: dict[str, Any], session: Session) -> None:
        """Raises ValueError for settings that are none of a piper voice."""
        self.name, self._session = name, session
        try:
            self.rate = int(settings["audio"]["sample_rate"])
            self._ids = {str(k): [int(i) for i in v] for k, v in settings["phoneme_id_map"].items()}
            self._espeak = str(settings["espeak"]["voice"])
            self._speakers = int(settings.get("num_speakers", 1))
            given = settings.get("inference", {})
            self._scales = [float(given.get(key, value)) for key, value in SCALES.items()]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ValueError(f"{name}: its JSON is none of a piper voice ({error!r})") from error
        self._kind = str(settings.get("phoneme_type", "espeak"))
        if self._kind not in KINDS:
            raise ValueError(f"{name}: its phonemes are {self._kind!r}; allowed are {', '.join(KINDS)}")
        if not 4000 <= self.rate <= 96_000:
            raise ValueError(f"{name}: its rate is {self.rate}; allowed are 4,000 to 96,000")
        self.languages: tuple[str, ...] = (_language(settings),)
        self._inputs = {one.name for one in session.get_inputs()}

    def utter(self, text: str, speed: float, seed: int) -> Samples:
        spoken = espeak.phonemes(text, self._espeak) if self._kind == "espeak" else text.lower()
        ids = self.ids(spoken)
        if len(ids) <= 2 + len(self._ids.get(PAD, ())):
            return np.zeros(0, np.float32)
        noise, length, width = self._scales
        inputs = {
            "input": np.asarray([ids], np.int64),
            "input_lengths": np.asarray([len(ids)], np.int64),
            "scales": np.asarray([noise, length / speed, width], np.float32),
        }
        if "sid" in self._inputs:
            inputs["sid"] = np.asarray([0], np.int64)
        out = np.asarray(self._session.run(None, inputs)[0], np.float32).reshape(-1)
        peak = float(np.abs(out).max(initial=0.0))
        return out * np.float32(LOUD / peak) if peak > LOUD else out

    def ids(self, spoken: str) -> list[int]:
        """Phonemes as ids, padded as the voice learned them; those it does not know are left out."""
        pad = self._ids.get(PAD, [])
        out = [*self._ids.get(START, []), *pad]
        for c in unicodedata.normalize("NFD", spoken):
            if c in self._ids:
                out += [*self._ids[c], *pad]
        return [*out, *self._ids.get(END, [])]


def _language(settings: dict[str, Any]) -> str:
    stated = settings.get("language", {})
    family = stated.get("family") if isinstance(stated, dict) else None
    code = str(family or settings.get("espeak", {}).get("voice", "en")).partition("-")[0]
    return {"cmn": "zh", "nb": "no"}.get(code, code)


def known(folder: Path) -> list[VoiceInfo]:
    """The piper voices of a folder; those whose JSON cannot be read are passed over."""
    found = []
    for path in files(folder, "*.onnx"):
        beside = path.with_name(path.name + ".json")
        if not beside.is_file():
            continue
        try:
            language = _language(_settings(beside))
        except ValueError:
            continue
        found.append(VoiceInfo(f"piper:{path.stem}", "piper", (language,), "", "as its maker says"))
    return found


def open_voice(path: Path, name: str) -> PiperVoice:
    """A voice's two files. NoVoice where one is missing, ValueError where one cannot be read."""
    beside = path.with_name(path.name + ".json")
    for one in (path, beside):
        if not one.is_file():
            raise NoVoice(
                f"voice: {name} needs {one}, and it is not there; a piper voice is two files, NAME.onnx and "
                "NAME.onnx.json, to be fetched from those who made it"
            )
    return PiperVoice(name, _settings(beside), onnx_session(path, "a piper voice"))


def _settings(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{path.name}: it is no JSON ({error})") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path.name}: it is no JSON object")
    return found

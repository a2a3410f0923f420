"""The embedded voice: hibari, English, 24 kHz, on one core. Not its other voices' download, which is its own.

Its phonemes are also what Kokoro's voices read, so `kokoro` asks here for English.
Source: hibari-tts 0.2 (Apache-2.0), distilled from Kokoro-82M.
"""

from __future__ import annotations

import re
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from tokenloom.sound.english import readable
from tokenloom.sound.voices import EMBEDDED, GET_EMBEDDED, NoVoice, Samples, VoiceInfo

NAMES = (EMBEDDED, "fenrir", "emma", "fable", "kore")
RATE = 24_000
MOST_PHONEMES = 400
"""Of one pass, as the package itself has it."""


class HibariVoice:
    """One of hibari's voices."""

    languages: tuple[str, ...] = ("en",)
    rate = RATE

    def __init__(self, name: str, engine: Any) -> None:
        self.name, self._engine = name, engine

    def utter(self, text: str, speed: float, seed: int) -> Samples:
        rng = np.random.default_rng(seed)
        parts = [
            self._engine.from_ids(self._engine.ids(part), speed, rng)
            for part in _parts(self._engine.g2p(readable(text)))
        ]
        return np.concatenate(parts) if parts else np.zeros(0, np.float32)


def known(folder: Path) -> list[VoiceInfo]:
    """The voices whose files are here; nothing is fetched. folder: not looked at."""
    if find_spec("hibari") is None:
        return []
    return [
        VoiceInfo(name, "hibari", ("en",), "Apache-2.0", "embedded" if name == EMBEDDED else "")
        for name in NAMES
        if name == EMBEDDED or _brought(name).is_file()
    ]


def _brought(name: str) -> Path:
    from hibari.voices import VOICES, cache_dir

    return Path(cache_dir()) / str(VOICES[name]["file"])


def open_voice(name: str) -> HibariVoice:
    """NoVoice where the package, or the voice's file, is missing: nothing is fetched here."""
    if find_spec("hibari") is None:
        raise NoVoice(f"voice: {name} needs the package hibari-tts, which is not installed: {GET_EMBEDDED}")
    if name != EMBEDDED and not _brought(name).is_file():
        raise NoVoice(
            f'voice: {name} is not on this machine; `hibari --voice {name} "Hello." -o hello.wav` fetches it '
            "(8 MB, from the voice's makers)"
        )
    return HibariVoice(name, _engine(name))


@cache
def _engine(name: str) -> Any:
    from hibari import Hibari

    _mend_numerals()
    return Hibari(voice=name)


def _mend_numerals() -> None:
    """Has hibari 0.2.1 take a Roman numeral for one only where there is one: its patterns match no letter at
    all as well, and read "James Cook" as "James the zeroth Cook"."""
    normalize = import_module("hibari.g2p.normalize")  # the package has a function of that name

    for name in ("RE_ROMAN_C", "RE_ROMAN_O"):
        pattern = getattr(normalize, name).pattern
        setattr(normalize, name, re.compile(pattern.replace("(?=[IVXLC])", r"(?=[IVXLCM]+\b)")))


@cache
def english_phonemes(british: bool) -> Any:
    """Words -> phonemes of the alphabet that Kokoro's voices read; NoVoice where the package is missing."""
    if find_spec("hibari") is None:
        raise NoVoice(f"hibari-tts: not installed; Kokoro's English needs its phonemes: {GET_EMBEDDED}")
    from hibari.g2p import G2P

    _mend_numerals()
    return G2P(british=british)


def phoneme_ids() -> dict[str, int]:
    """Kokoro's alphabet."""
    import json

    import hibari

    path = Path(str(hibari.__file__)).parent / "assets" / "vocab.json"
    found: dict[str, int] = json.loads(path.read_text(encoding="utf-8"))
    return found


def _parts(phonemes: str) -> list[str]:
    """Phonemes cut where a pass is full, between words."""
    out: list[str] = []
    for word in phonemes.split(" "):
        if out and len(out[-1]) + len(word) < MOST_PHONEMES:
            out[-1] += " " + word
        else:
            out.append(word[:MOST_PHONEMES])
    return [part for part in out if part.strip()]

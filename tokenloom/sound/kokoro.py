"""Kokoro voices that the user brings: a kokoro*.onnx and a voices*.bin. Not the package kokoro-onnx.

English phonemes are those of the embedded voice, which learned from Kokoro; Spanish, French, Hindi, Italian
and Portuguese ones are espeak-ng's. Japanese and Chinese voices want phonemes that nothing here makes.
Source: Kokoro-82M (hexgrad, Apache-2.0), as exported to ONNX; StyleTTS 2 (Li et al. 2023).
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from tokenloom.sound import espeak
from tokenloom.sound.english import readable
from tokenloom.sound.hibari import english_phonemes, phoneme_ids
from tokenloom.sound.voices import NoVoice, Samples, Session, VoiceInfo, files, onnx_session

RATE = 24_000
LONGEST = 509
"""Phonemes of one pass; a voice has a style for each length."""
LETTERS = {"a": "en", "b": "en", "e": "es", "f": "fr", "h": "hi", "i": "it", "p": "pt", "j": "ja", "z": "zh"}
"""The language that a voice's first letter stands for."""
SPOKEN_AS = {"es": "es", "fr": "fr-fr", "hi": "hi", "it": "it", "pt": "pt-br"}
WITHOUT = ("ja", "zh")


class KokoroVoice:
    """One voice of a Kokoro file. seed has no effect: its network draws nothing."""

    rate = RATE

    def __init__(self, which: str, styles: np.ndarray, ids: dict[str, int], session: Session) -> None:
        """styles: float32 (lengths, 1, 256)."""
        self.name = f"kokoro:{which}"
        self.languages: tuple[str, ...] = (LETTERS[which[0]],)
        self._british = which[0] == "b"
        self._styles, self._ids, self._session = styles, ids, session
        inputs = {one.name for one in session.get_inputs()}
        self._tokens = "input_ids" if "input_ids" in inputs else "tokens"

    def utter(self, text: str, speed: float, seed: int) -> Samples:
        language = self.languages[0]
        if language == "en":
            spoken = str(english_phonemes(self._british)(readable(text)))
        else:
            spoken = espeak.phonemes(text, SPOKEN_AS[language])
        ids = [self._ids[c] for c in spoken if c in self._ids]
        parts = [self._pass(ids[at : at + LONGEST], speed) for at in range(0, len(ids), LONGEST)]
        return np.concatenate(parts) if parts else np.zeros(0, np.float32)

    def _pass(self, ids: list[int], speed: float) -> Samples:
        style = self._styles[min(len(ids), len(self._styles) - 1)].reshape(1, -1)
        inputs = {
            self._tokens: np.asarray([[0, *ids, 0]], np.int64),
            "style": np.asarray(style, np.float32),
            "speed": np.asarray([speed], np.float32),
        }
        return np.asarray(self._session.run(None, inputs)[0], np.float32).reshape(-1)


def known(folder: Path) -> list[VoiceInfo]:
    """The voices of a folder's Kokoro files that can be spoken here; none where one of the two is missing."""
    model, voices = _files(folder)
    if model is None or voices is None:
        return []
    try:
        names = sorted(_names(voices))
    except ValueError:
        return []
    return [
        VoiceInfo(f"kokoro:{name}", "kokoro", (LETTERS[name[0]],), "Apache-2.0")
        for name in names
        if name[:1] in LETTERS and LETTERS[name[0]] not in WITHOUT
    ]


def open_voice(folder: Path, which: str) -> KokoroVoice:
    """A voice out of a folder's files. NoVoice says what is missing, ValueError what cannot be read."""
    model, voices = _files(folder)
    if model is None or voices is None:
        raise NoVoice(
            f"voice: kokoro:{which} needs kokoro*.onnx and voices*.bin in {folder}; fetch both from those "
            "who made them"
        )
    names = _names(voices)
    if which not in names:
        there = ", ".join(sorted(names)[:60])
        raise NoVoice(f"voice: {voices.name} has none named {which!r}; it has {there}")
    language = LETTERS.get(which[:1], "")
    if not language or language in WITHOUT:
        raise NoVoice(
            f"voice: kokoro:{which} needs phonemes of its language, which nothing here makes; "
            f"{'espeak:zh speaks Chinese' if language == 'zh' else 'espeak-ng speaks 100 languages'}"
        )
    try:
        with np.load(voices, allow_pickle=False) as held:
            styles = np.asarray(held[which], np.float32)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise ValueError(f"{voices.name}: the voice {which} cannot be read ({error})") from error
    if styles.ndim != 3 or not len(styles):
        raise ValueError(f"{voices.name}: {which} is of shape {styles.shape}; needed: (lengths, 1, width)")
    return KokoroVoice(which, styles, phoneme_ids(), onnx_session(model, "a Kokoro voice"))


def _files(folder: Path) -> tuple[Path | None, Path | None]:
    return next(files(folder, "kokoro*.onnx"), None), next(files(folder, "voices*.bin"), None)


def _names(voices: Path) -> list[str]:
    """The voices in a file, which is an archive of arrays."""
    try:
        with zipfile.ZipFile(voices) as archive:
            return [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
    except (OSError, zipfile.BadZipFile) as error:
        raise ValueError(f"{voices.name}: it holds no voices ({error})") from error

"""A model that speaks, as a voice like any other: phonemes in, codes of the model, sound of its codec.

Voices of other kinds are opened here too, so that whoever speaks asks in one place. Not the layout
(tokens.speech), not sentences (sound.say).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tokenloom import hub
from tokenloom.engine.request import Request, Sampling
from tokenloom.hub.card import SPEECH as CODEC
from tokenloom.hub.card import speaks
from tokenloom.hub.sampling import recommended
from tokenloom.sound import voices
from tokenloom.sound.english import readable
from tokenloom.sound.own import ENGINE
from tokenloom.sound.voices import NoVoice, Samples, Voice

if TYPE_CHECKING:
    from tokenloom.codec.audio_folder import SoundCodec
    from tokenloom.engine.core import Core
    from tokenloom.tokens.speech import SpeechTokens

TEMPERATURE, TOP_P = 0.7, 0.9
"""Where a model's generation_config.json states none."""
SLOTS = 2


def open_voice(name: str) -> Voice:
    """The voice of a name: own:NAME or own:FOLDER is a model that speaks, others are sound.voices'.

    NoVoice or ValueError says what is wrong.
    """
    engine, _, which = name.partition(":")
    if engine != ENGINE or not which:
        return voices.open_voice(name)
    return open_speaker(hub.find(which).path, name)


def open_speaker(folder: Path, name: str) -> Speaker:
    """The model, its codec and its phonemes. NoVoice or ValueError says what is missing or wrong."""
    from tokenloom.codec.audio_folder import open_audio_codec
    from tokenloom.engine.load import open_core
    from tokenloom.sound.hibari import english_phonemes
    from tokenloom.tokens.speech import SpeechTokens

    if not speaks(folder):
        raise NoVoice(
            f"voice: {folder} is no model that speaks; allowed: a folder with the codec of its sound in "
            f"{CODEC}/"
        )
    codec = open_audio_codec(folder / CODEC)
    tokens = SpeechTokens.open(folder, codec.depth)
    if tokens.codec != codec.sha256:
        learned = f"{tokens.codec[:12]}..." if tokens.codec else "none stated"
        raise ValueError(
            f"{folder / CODEC}: its sha256 is {codec.sha256[:12]}..., the model learned the codes of another "
            f"({learned}); put the codec there that its speech set was made with"
        )
    phonemes = english_phonemes(british=False)
    core = open_core(folder, n_slots=SLOTS)
    return Speaker(name, core, tokens, codec, phonemes, recommended(folder.name, folder))


class Speaker:
    """One model that speaks. Not thread-safe: one owner."""

    languages: tuple[str, ...] = ("en",)

    def __init__(
        self,
        name: str,
        core: Core,
        tokens: SpeechTokens,
        codec: SoundCodec,
        phonemes: Any,
        sampling: Mapping[str, float],
    ) -> None:
        """phonemes: a text's, as hibari's G2P. sampling: what the model's makers recommend."""
        self.name, self.rate = name, codec.rate
        self._core, self._tokens, self._codec, self._phonemes = core, tokens, codec, phonemes
        self._sampling = Sampling(
            temperature=sampling.get("temperature", TEMPERATURE), top_p=sampling.get("top_p", TOP_P)
        )
        self._asked = 0

    def utter(self, text: str, speed: float, seed: int) -> Samples:
        """One sentence, (n,) float32 in [-1, 1]; the same seed gives the same sound.

        speed: frames are left out or said again, so the pitch stays. ValueError for a sentence that is too
        long for the model.
        """
        stream = self._codec.decoding()
        parts = [stream.push(codes) for codes in self.codes(text, speed, seed)]
        return np.concatenate([np.zeros(0, np.float32), *parts, stream.finish()])

    def codes(self, text: str, speed: float, seed: int) -> Iterator[np.ndarray]:
        """The codes of each word, as soon as it is said; int64."""
        from tokenloom.tokens.speech import split_words

        words = split_words(str(self._phonemes(readable(text))))
        said: list[np.ndarray] = []
        for _ in words:
            ask = self._tokens.ask(words, [codes.tolist() for codes in said])
            self._asked += 1
            request = Request(
                id=f"{self.name}-{self._asked}",
                model=self.name,
                sampling=self._sampling,
                seed=(seed + 7919 * len(said)) % 2**63,
                **ask.options(),
            )
            said.append(self._tokens.codes_of(self._written(request)))
            yield paced(said[-1], speed, self._codec.depth)

    def _written(self, request: Request) -> list[int]:
        """What the model says; RuntimeError where a step of it failed."""
        ids: list[int] = []
        self._core.add(request)
        while self._core.busy:
            for delta in self._core.step():
                if delta.finish == "error":
                    raise RuntimeError(f"{self.name}: {delta.error}")
                ids += delta.ids
        return ids


def paced(codes: np.ndarray, speed: float, depth: int) -> np.ndarray:
    """Codes of about 1 / speed as many frames: evenly left out, or said again."""
    frames = codes.reshape(-1, depth)
    n = max(1, round(len(frames) / speed)) if len(frames) else 0
    places = (np.arange(n) * (len(frames) / n)).astype(int) if n else np.zeros(0, int)
    return frames[places].reshape(-1)

"""Speech made by the embedded voice, with its texts, phonemes and the times of its words, in one folder.

    speech/speech.json       rate, voice, seed, counts
    speech/utterances.jsonl  one a line: text, phonemes, where its samples start and stop, ends of its words
    speech/samples.s16       int16, little end first, one after another, memory-mapped

What is said is a small domain (speech_words.py). The split is a pure function of the text, so a text that is
held out is held out in any set; texts are in a set once.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tokenloom.config import check_place, new_folder, put_json
from tokenloom.data.jsonl import read_records, write_records
from tokenloom.data.speech_words import sentence
from tokenloom.sound.audio import resample
from tokenloom.sound.timed import Timed

RATE = 16_000
HELD_OUT = 25
"""One text of so many is held out."""
ABOUT, UTTERANCES, SAMPLES = "speech.json", "utterances.jsonl", "samples.s16"
SCHEMA = 1
LOUDEST = 32767


class Speaker(Protocol):
    """Who speaks: sound.timed.TimedVoice."""

    name: str
    rate: int

    def phonemes(self, text: str) -> str: ...
    def say(self, phonemes: str, speed: float = 1.0, seed: int = 0) -> Timed: ...


@dataclass(frozen=True)
class Utterance:
    """A text that was spoken."""

    text: str
    phonemes: str
    """Words with one space between; marks stand with the word before them."""
    start: int
    """Sample at which it begins."""
    stop: int
    ends: tuple[int, ...]
    """For each word the sample, from `start`, at which it ends."""
    held: bool
    """It is only measured."""


class Speech:
    """Utterances and their samples. Read only."""

    def __init__(
        self, about: dict[str, Any], utterances: list[Utterance], samples: NDArray[np.int16]
    ) -> None:
        self.about, self.utterances, self._samples = about, utterances, samples
        self.rate = int(about["rate"])
        self.voice = str(about["voice"])

    @property
    def seconds(self) -> float:
        """Of all utterances."""
        return len(self._samples) / self.rate

    def sound(self, number: int) -> NDArray[np.float32]:
        """An utterance's samples, (n,) float32 in [-1, 1]."""
        one = self.utterances[number]
        return self._samples[one.start : one.stop].astype(np.float32) / np.float32(LOUDEST)


def is_held_out(text: str) -> bool:
    """Whether a text is kept out of training."""
    digest = hashlib.sha256(f"speech held out\0{text.lower()}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % HELD_OUT == 0


def texts(n: int, seed: int) -> Iterator[str]:
    """n texts, none twice. ValueError where the domain has too few."""
    seen: set[str] = set()
    number = 0
    while len(seen) < n:
        text = sentence(seed, number)
        number += 1
        if text not in seen:
            seen.add(text)
            yield text
        if number > 100 * n + 10_000:
            raise ValueError(f"n: found {n}; the domain gave only {len(seen)} texts")


def write_speech(
    out: Path,
    n: int,
    seed: int,
    voice: Speaker,
    progress: Callable[[int, int], None] | None = None,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Speaks n texts and writes them to `out`, beside first, then renamed; returns the counts.

    ValueError naming the field, FileExistsError.
    """
    if n < 2:
        raise ValueError(f"n: found {n}; allowed: 2 or more")
    check_place(out, overwrite, "speech", ABOUT)
    found: list[Utterance] = []
    with new_folder(out) as beside:
        at = 0
        with (beside / SAMPLES).open("wb") as file:
            for number, text in enumerate(texts(n, seed)):
                one, samples = _spoken(voice, text, (seed * 1_000_003 + number) % 2**32, at)
                if one is not None:
                    file.write(samples.tobytes())
                    at = one.stop
                    found.append(one)
                if progress is not None:
                    progress(number + 1, n)
        held = sum(one.held for one in found)
        about = {
            "schema": SCHEMA,
            "rate": RATE,
            "voice": voice.name,
            "seed": seed,
            "utterances": len(found),
            "held_out": held,
            "samples": at,
            "seconds": round(at / RATE, 1),
        }
        write_records(beside / UTTERANCES, (asdict(one) for one in found))
        put_json(beside / ABOUT, about)
    return about


def _spoken(voice: Speaker, text: str, seed: int, at: int) -> tuple[Utterance | None, NDArray[np.int16]]:
    timed = voice.say(voice.phonemes(text), 1.0, seed)
    sound = resample(timed.samples, voice.rate, RATE)
    samples = np.round(np.clip(sound, -1, 1) * LOUDEST).astype("<i2")
    if not len(samples) or not timed.phonemes:
        return None, samples
    ends = [min(round(end * RATE / voice.rate), len(samples)) for end in timed.ends]
    ends[-1] = len(samples)
    return Utterance(text, timed.phonemes, at, at + len(samples), tuple(ends), is_held_out(text)), samples


def open_speech(folder: Path) -> Speech:
    """Opens what `write_speech` wrote. ValueError saying what is missing or wrong."""
    if not (folder / ABOUT).is_file():
        raise ValueError(f"speech: found no {ABOUT} in {folder}; `loom data speech` writes it")
    try:
        about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
        utterances = [
            Utterance(**{**one, "ends": tuple(one["ends"])}) for one in read_records(folder / UTTERANCES)
        ]
        samples = np.memmap(folder / SAMPLES, "<i2", "r")
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ValueError(f"speech: {folder} is not whole: {error}") from error
    if len(samples) != about["samples"] or not utterances or utterances[-1].stop != len(samples):
        raise ValueError(f"speech: {folder} is cut short; write it again with `loom data speech`")
    return Speech(about, utterances, samples)

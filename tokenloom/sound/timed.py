"""The embedded voice with the time of each of its phonemes: for those who learn from what it says.

Not a voice for reading aloud (sound.hibari). The network counts how long each phoneme lasts and does not tell
it; here that count is asked for as one more answer, by a second `graph` in its file with nothing but the
name: a reader of Protocol Buffers joins what stands twice.
Source: protobuf.dev, "Encoding", last one wins and merged messages; hibari-tts 0.2.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from tokenloom.sound.english import readable
from tokenloom.sound.hibari import RATE, open_voice
from tokenloom.sound.say import heard_part
from tokenloom.sound.voices import EMBEDDED, Samples

COUNT = "/CumSum_output_0"
"""What the network calls the end of each phoneme, in TICKs."""
TICK = 600
"""Samples in one of its counts."""
LEAD = 1
"""TICKs by which a word is heard before it is counted to be, about: the voice's counts lag its sound."""
GRAPH, OUTPUT, NAME = 7, 12, 1
"""Fields of ONNX's ModelProto, GraphProto and ValueInfoProto."""


@dataclass(frozen=True)
class Timed:
    """A sentence that was spoken."""

    samples: Samples
    """(n,) float32 at RATE."""
    phonemes: str
    ends: tuple[int, ...]
    """For each word of the phonemes, between single spaces, the sample where it ends; the last is n."""


class TimedVoice:
    """One of hibari's voices, with times. NoVoice where the package or the voice is missing."""

    rate = RATE

    def __init__(self, name: str = EMBEDDED) -> None:
        self.name = name
        self._engine: Any = open_voice(name)._engine
        self._session = _told(Path(self._engine.model_path))

    def phonemes(self, text: str) -> str:
        """A text's phonemes, words with one space between."""
        return " ".join(str(self._engine.g2p(readable(text))).split())

    def say(self, phonemes: str, speed: float = 1.0, seed: int = 0) -> Timed:
        """Phonemes made sound, without the silence around it. What the voice does not know is left out."""
        from hibari import dsp

        known = "".join(c for c in phonemes if c in self._engine.vocab)
        ids = np.asarray([self._engine.ids(known)], np.int64)
        *parts, ends = self._session.run(None, {"ids": ids, "speed": np.asarray([speed], np.float32)})
        sound = dsp.synth(*(part[0] for part in parts), np.random.default_rng(seed))
        sound = np.asarray(sound, np.float32)
        inside = heard_part(sound, RATE)
        length = inside.stop - inside.start
        found = [int(np.clip(end - inside.start, 0, length)) for end in word_ends(known, np.asarray(ends))]
        return Timed(sound[inside], known, (*found, length))


def word_ends(phonemes: str, ends: np.ndarray) -> list[int]:
    """The sample at which each word but the last ends; ends: of each id in TICKs, silence first and last.

    It is where the sign before the space ends: while the space lasts the next word begins already.
    """
    stops = np.maximum(ends.reshape(-1)[1:-1] - LEAD, 0) * TICK
    return [int(stops[at - 1]) for at, c in enumerate(phonemes) if c == " "]


def _told(path: Path) -> Any:
    """The voice's network with one more answer. ValueError where this release of it has none."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    more = _field(GRAPH, _field(OUTPUT, _field(NAME, COUNT.encode())))
    try:
        session = onnxruntime.InferenceSession(
            path.read_bytes() + more, options, providers=["CPUExecutionProvider"]
        )
    except onnxruntime.capi.onnxruntime_pybind11_state.Fail as error:
        raise ValueError(
            f"{path.name}: it tells no times of phonemes ({error}); those of hibari-tts 0.2 do"
        ) from error
    return session


def _field(number: int, value: bytes) -> bytes:
    """A length-delimited field."""
    size, length = b"", len(value)
    while length >= 0x80:
        size, length = size + bytes([length & 0x7F | 0x80]), length >> 7
    return bytes([number << 3 | 2]) + size + bytes([length]) + value


def words_of(timed: Timed) -> list[tuple[str, int, int]]:
    """(phonemes, start, stop) of each word, in samples."""
    return [
        (word, start, stop)
        for word, (start, stop) in zip(timed.phonemes.split(" "), pairwise((0, *timed.ends)), strict=True)
    ]

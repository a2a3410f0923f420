"""The crops of speech a codec learns from: a batch is a pure function of (seed, number), so a run resumes
exactly.

Not the speech itself (data.speech) and not the learning (train.audio). Texts that are held out are never
among them.
"""

from __future__ import annotations

import numpy as np

from tokenloom.data.speech import Speech

HELD_S = 2.0
"""Seconds of a crop that is only measured."""


class Crops:
    """Stretches of utterances, each as likely as it is long, made louder or softer."""

    def __init__(
        self, speech: Speech, hop: int, rows: int, seed: int, crop_s: float, gain_db: float, held_out: int
    ) -> None:
        """hop: crops are whole frames of so many samples. held_out: crops that an evaluation hears.

        Raises ValueError naming the field.
        """
        if not 0.1 <= crop_s <= 30:
            raise ValueError(f"speech.crop_s: found {crop_s:g}; allowed: 0.1 to 30")
        if not 0 <= gain_db <= 24:
            raise ValueError(f"speech.gain_db: found {gain_db:g}; allowed: 0 to 24")
        self.speech, self.rows, self.seed, self.gain_db, self.held = speech, rows, seed, gain_db, held_out
        self.size = max(1, round(crop_s * speech.rate / hop)) * hop
        self.held_size = round(HELD_S * speech.rate / hop) * hop
        each = speech.utterances
        self._train = [i for i, one in enumerate(each) if not one.held]
        self._held = [i for i, one in enumerate(each) if one.held]
        if not self._train:
            raise ValueError("speech.folder: holds no utterance that may be trained on")
        self._ends = np.cumsum([each[i].stop - each[i].start for i in self._train])

    def __len__(self) -> int:
        """Utterances that are trained on."""
        return len(self._train)

    def batch(self, number: int) -> np.ndarray:
        """float32 (rows, size) in [-1, 1]; the same for the same number."""
        rng = np.random.default_rng((self.seed, number))
        found = np.zeros((self.rows, self.size), np.float32)
        for row in found:
            place = int(np.searchsorted(self._ends, rng.integers(self._ends[-1]), side="right"))
            sound = self.speech.sound(self._train[place])
            begin = int(rng.integers(max(1, len(sound) - self.size + 1)))
            part = sound[begin : begin + self.size]
            at = int(rng.integers(self.size - len(part) + 1))
            row[at : at + len(part)] = part * 10 ** (rng.uniform(-1, 1) * self.gain_db / 20)
        return np.clip(found, -1.0, 1.0)

    def held_out(self) -> np.ndarray:
        """float32 (N, samples): the beginnings of utterances that only evaluations hear."""
        n = min(self.held, len(self._held))
        found = np.zeros((n, self.held_size), np.float32)
        for row, place in zip(found, np.linspace(0, len(self._held) - 1, n).astype(int), strict=True):
            part = self.speech.sound(self._held[place])[: self.held_size]
            row[: len(part)] = part
        return found

"""The objective of a codec of sound: how far a crop is, and what is told of it.

Not the two players' game, which is any codec's (train.codec).
"""

from __future__ import annotations

import numpy as np
import torch

from tokenloom.codec.adversary import Adversary
from tokenloom.codec.audio import AudioCodec
from tokenloom.codec.config import AudioLosses
from tokenloom.codec.spectra import mel_distance, sound_distance
from tokenloom.train.codec import Turn, TwoPlayers
from tokenloom.train.objective import Figures


class AudioObjective(TwoPlayers):
    """A codec of sound."""

    def __init__(
        self, codec: AudioCodec, adversary: Adversary | None, weights: AudioLosses, dtype: torch.dtype
    ) -> None:
        """See TwoPlayers."""
        super().__init__(codec, adversary, dtype)
        self.codec, self.weights = codec, weights

    def prepare(self, batch: np.ndarray, step: int) -> Turn:
        """batch: float32 (N, samples) in [-1, 1], whole frames."""
        return Turn(torch.from_numpy(batch).to(self.codec.last.weight.device), self.plays(step))

    def far(self, made: torch.Tensor, turn: Turn) -> torch.Tensor:
        return sound_distance(made, turn.wanted, self.codec.config.rate, self.weights)

    @torch.no_grad()
    def told(self, made: torch.Tensor, turn: Turn) -> Figures:
        return {"mel_db": float(mel_distance(made, turn.wanted, self.codec.config.rate).mean())}

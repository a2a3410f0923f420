"""Captions and pictures that belong together are drawn together, all others of the batch apart: InfoNCE.

The objective of a dual encoder (codec.judge). Not its data (train.match_set). Source: CLIP, Radford et al.
2021, arXiv:2103.00020, section 2.3 and figure 3: the mean of two cross entropies, over a caption's pictures
and over a picture's captions, of the products of unit vectors times a learned scale. Two rows of one meaning
are no negatives of each other, so a caption that stands twice in a batch is not punished for fitting twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from tokenloom.codec.judge import DualEncoder
from tokenloom.codec.pixels import to_tensor
from tokenloom.train.objective import Figures


@dataclass(frozen=True)
class Pairs:
    """A batch of captions with their pictures."""

    ids: np.ndarray
    """(N, T) int64."""
    lengths: np.ndarray
    """(N,) int64: ids of each caption; what stands after them is not read."""
    pictures: np.ndarray
    """(N, H, W, 4) uint8 RGBA."""
    keys: np.ndarray
    """(N,) int64: rows of one key say the same, so they are no negatives of each other."""

    def __post_init__(self) -> None:
        n = len(self.ids)
        if not n == len(self.lengths) == len(self.pictures) == len(self.keys):
            raise ValueError(
                f"pairs: found {n} captions, {len(self.lengths)} lengths, {len(self.pictures)} pictures and "
                f"{len(self.keys)} keys; allowed: as many of each"
            )


class MatchObjective:
    """InfoNCE of a dual encoder, in both directions.

    A batch's negatives are those of its own pass: a step of eight passes of 32 is not one of 256.
    """

    def __init__(self, network: DualEncoder, dtype: torch.dtype = torch.float32) -> None:
        """dtype: arithmetic of the towers; the products and their softmax are float32."""
        self.network, self.dtype = network, dtype

    @property
    def players(self) -> Mapping[str, nn.Module]:
        return {"judge": self.network}

    def prepare(self, batch: Pairs, step: int) -> Pairs:
        return batch

    def loss(self, player: str, batch: Pairs) -> tuple[torch.Tensor, int, Figures]:
        """Nats, summed over pairs; figures: the share of captions and pictures whose own is the nearest."""
        device = self.network.log_scale.device
        ids, lengths, keys = (
            torch.from_numpy(part).to(device) for part in (batch.ids, batch.lengths, batch.keys)
        )
        x = to_tensor(batch.pictures).to(device)
        with torch.autocast(device.type, self.dtype, enabled=self.dtype != torch.float32):
            texts, pictures = self.network.embed_text(ids, lengths), self.network.embed_images(x)
        logits = self.network.scale * texts @ pictures.T
        total, right = info_nce(logits, keys)
        return total, len(keys), {"right": right, "scale": float(self.network.scale.detach())}


def info_nce(logits: torch.Tensor, keys: torch.Tensor) -> tuple[torch.Tensor, float]:
    """logits (N, N): captions by pictures, pairs on the diagonal; keys (N,): equal ones are no negatives.

    Returns the sum over pairs of the mean of the two cross entropies, and the share of right answers over
    both directions.
    """
    n = len(keys)
    same = (keys[:, None] == keys[None, :]) & ~torch.eye(n, dtype=torch.bool, device=keys.device)
    logits = logits.float().masked_fill(same, float("-inf"))
    own = torch.arange(n, device=keys.device)
    total = (
        F.cross_entropy(logits, own, reduction="sum") + F.cross_entropy(logits.T, own, reduction="sum")
    ) / 2
    right = ((logits.argmax(1) == own).float().mean() + (logits.argmax(0) == own).float().mean()) / 2
    return total, float(right)

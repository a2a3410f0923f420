"""The codec's objective: two players, an autoencoder that is to say a picture in few codes and its adversary.

Not the networks (tokenloom.codec) and not where pictures come from (train.pictures). The codec moves first;
the adversary learns from what the codec made in the same step, as it was before it moved.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import nn

from tokenloom.codec.adversary import Adversary
from tokenloom.codec.config import Losses
from tokenloom.codec.image import ImageCodec
from tokenloom.codec.losses import reconstruction
from tokenloom.codec.pixels import to_tensor
from tokenloom.train.objective import Figures


@dataclass
class Turn:
    """One pass of one step: what is wanted, and what the codec made of it once it has moved."""

    wanted: torch.Tensor
    """(N, 4, S, S) float32 in [-1, 1], premultiplied."""
    ground: torch.Tensor
    """(N, 3) in [0, 1]: the third ground it is compared over."""
    plays: bool
    """The adversary is on."""
    made: torch.Tensor | None = field(default=None, repr=False)

    def tolist(self) -> list[float]:
        """The pictures' values, for the record of a step that failed."""
        found: list[float] = self.wanted.tolist()
        return found


class CodecObjective:
    """Reconstruction, the quantiser's own loss and, from the step on in which it begins, the adversary."""

    def __init__(
        self, codec: ImageCodec, adversary: Adversary | None, weights: Losses, dtype: torch.dtype
    ) -> None:
        """dtype: of the products; float32 or bfloat16 (autocast). adversary: None = none."""
        self.codec, self.adversary, self.weights, self.dtype = codec, adversary, weights, dtype
        self._players: dict[str, nn.Module] = {"codec": codec}
        if adversary is not None:
            self._players["adversary"] = adversary

    @property
    def players(self) -> Mapping[str, nn.Module]:
        return self._players

    def prepare(self, batch: np.ndarray, step: int) -> Turn:
        """batch: uint8 (N, S, S, 4). The grounds come from torch's random state, which checkpoints keep."""
        wanted = to_tensor(batch)
        ground = torch.rand(len(wanted), 3)
        device = self.codec.last.weight.device
        plays = self.adversary is not None and self.adversary.plays(step)
        return Turn(wanted.to(device), ground.to(device), plays)

    def loss(self, player: str, batch: Turn) -> tuple[torch.Tensor, int, Figures]:
        """(sum over pictures, pictures, figures)."""
        if player == "codec":
            return self._codec(batch)
        return self._adversary(batch)

    def _codec(self, turn: Turn) -> tuple[torch.Tensor, int, Figures]:
        with self._autocast(turn):
            made, found = self.codec(turn.wanted)
        turn.made = made.detach()
        count = len(made)
        squared = over_white(made.detach(), turn.wanted)
        figures = {"psnr": float(-10 * torch.log10(squared).mean())}
        far = reconstruction(made, turn.wanted, turn.ground, self.weights).mean()
        if not turn.plays:
            return (far + found.loss) * count, count, figures
        assert self.adversary is not None
        with self._autocast(turn):
            pleased = self.adversary.convincing(turn.wanted, made).mean()
            loss, weight = self.adversary.balanced(far, pleased, made, self.codec.last.weight)
        return (
            (loss + found.loss) * count,
            count,
            figures | {"convincing": float(pleased.detach()), "adapted": weight},
        )

    def _adversary(self, turn: Turn) -> tuple[torch.Tensor, int, Figures]:
        if not turn.plays:
            return turn.wanted.new_zeros(()), 0, {}
        assert self.adversary is not None
        assert turn.made is not None
        with self._autocast(turn):
            hinge, apart = self.adversary.judging(turn.wanted, turn.made)
        return hinge.sum(), len(hinge), {"judging": float(hinge.detach().mean()), "apart": float(apart)}

    def _autocast(self, turn: Turn) -> torch.autocast:
        return torch.autocast(turn.wanted.device.type, self.dtype, enabled=self.dtype != torch.float32)


def over_white(made: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Mean squared error of each picture composited over white, values in [0, 1]: (N,) and never 0."""
    difference = (made.clamp(-1, 1) - wanted) / 2
    composite = difference[:, :3] - difference[:, 3:]
    return composite.square().mean((1, 2, 3)).clamp(min=1e-10)

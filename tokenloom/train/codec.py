"""A codec's objective: two players, an autoencoder that is to say a work in few codes and its adversary.

Not the networks (tokenloom.codec), not where works come from (train.pictures, train.speech). The codec moves
first; the adversary learns from what the codec made in the same step, as it was before it moved. What is a
medium's own stands in a class of its own: CodecObjective for pictures, train.audio for sound.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

import numpy as np
import torch
from torch import nn

from tokenloom.codec.adversary import Adversary
from tokenloom.codec.config import Losses
from tokenloom.codec.image import ImageCodec
from tokenloom.codec.losses import reconstruction
from tokenloom.codec.pixels import to_tensor
from tokenloom.codec.quantise import Quantised
from tokenloom.train.objective import Figures


class Autoencoder(Protocol):
    """What is asked of a codec's network."""

    last: nn.Conv1d | nn.Conv2d
    """Its last layer."""

    def __call__(self, x: torch.Tensor) -> tuple[torch.Tensor, Quantised]:
        """Works (N, ...) -> what is decoded, of the same shape, and what was said."""
        ...


@dataclass
class Turn:
    """One pass of one step: what is wanted, and what the codec made of it once it has moved."""

    wanted: torch.Tensor
    """(N, ...) float32 in [-1, 1]: works as the codec's network has them."""
    plays: bool
    """The adversary is on."""
    ground: torch.Tensor | None = None
    """Pictures: (N, 3) in [0, 1], the third ground they are compared over."""
    made: torch.Tensor | None = field(default=None, repr=False)

    def tolist(self) -> list[float]:
        """The works' values, for the record of a step that failed."""
        found: list[float] = self.wanted.tolist()
        return found


class TwoPlayers(ABC):
    """Reconstruction, the quantiser's own loss and, from the step on in which it begins, the adversary."""

    def __init__(self, codec: nn.Module, adversary: Adversary | None, dtype: torch.dtype) -> None:
        """codec: an Autoencoder. dtype: of the products; float32 or bfloat16 (autocast). adversary: None =
        none."""
        self.adversary, self.dtype = adversary, dtype
        self._network = cast(Autoencoder, codec)
        self._players: dict[str, nn.Module] = {"codec": codec}
        if adversary is not None:
            self._players["adversary"] = adversary

    @property
    def players(self) -> Mapping[str, nn.Module]:
        return self._players

    @abstractmethod
    def prepare(self, batch: Any, step: int) -> Turn:
        """The works of a batch, as the network has them."""

    @abstractmethod
    def far(self, made: torch.Tensor, turn: Turn) -> torch.Tensor:
        """How far each work is from the one wanted, (N,)."""

    @abstractmethod
    def told(self, made: torch.Tensor, turn: Turn) -> Figures:
        """What is logged of what was made."""

    def plays(self, step: int) -> bool:
        """Whether there is an adversary that is on in this step."""
        return self.adversary is not None and self.adversary.plays(step)

    def loss(self, player: str, batch: Turn) -> tuple[torch.Tensor, int, Figures]:
        """(sum over works, works, figures)."""
        if player == "codec":
            return self._codec(batch)
        return self._adversary(batch)

    def _codec(self, turn: Turn) -> tuple[torch.Tensor, int, Figures]:
        with self._autocast(turn):
            made, found = self._network(turn.wanted)
        turn.made = made.detach()
        count = len(made)
        figures = self.told(turn.made, turn)
        far = self.far(made, turn).mean()
        if not turn.plays:
            return (far + found.loss) * count, count, figures
        assert self.adversary is not None
        with self._autocast(turn):
            pleased = self.adversary.convincing(turn.wanted, made).mean()
            loss, weight = self.adversary.balanced(far, pleased, made, self._network.last.weight)
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


class CodecObjective(TwoPlayers):
    """A codec of pictures."""

    def __init__(
        self, codec: ImageCodec, adversary: Adversary | None, weights: Losses, dtype: torch.dtype
    ) -> None:
        """See TwoPlayers."""
        super().__init__(codec, adversary, dtype)
        self.codec, self.weights = codec, weights

    def prepare(self, batch: np.ndarray, step: int) -> Turn:
        """batch: uint8 (N, S, S, 4). The grounds come from torch's random state, which checkpoints keep."""
        wanted = to_tensor(batch)
        ground = torch.rand(len(wanted), 3)
        device = self.codec.last.weight.device
        return Turn(wanted.to(device), self.plays(step), ground.to(device))

    def far(self, made: torch.Tensor, turn: Turn) -> torch.Tensor:
        assert turn.ground is not None
        return reconstruction(made, turn.wanted, turn.ground, self.weights)

    def told(self, made: torch.Tensor, turn: Turn) -> Figures:
        return {"psnr": float(-10 * torch.log10(over_white(made, turn.wanted)).mean())}


def over_white(made: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Mean squared error of each picture composited over white, values in [0, 1]: (N,) and never 0."""
    difference = (made.clamp(-1, 1) - wanted) / 2
    composite = difference[:, :3] - difference[:, 3:]
    return composite.square().mean((1, 2, 3)).clamp(min=1e-10)

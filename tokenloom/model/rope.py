"""Rotary position embedding in PyTorch: tables of cos and sin, and the rotation itself.

Not the angles of each kind of stretching (`model.frequency`), not the cache and not the attention. Source: Su
et al. 2021, arXiv:2104.09864. The pairing is "rotate half" (dimension i with i + E/2), as weights on the Hub
have it.
"""

from __future__ import annotations

import torch

from tokenloom.model.features import Rope
from tokenloom.model.frequency import angles


def frequencies(rope: Rope, head_dim: int, context: int, length: int) -> tuple[torch.Tensor, float]:
    """`frequency.angles` with a tensor (E/2,) float32."""
    angle, factor = angles(rope, head_dim, context, length)
    return torch.from_numpy(angle), factor


def rope_table(
    rope: Rope,
    head_dim: int,
    context: int,
    length: int,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> tuple[torch.Tensor, torch.Tensor]:
    """cos and signed sin of positions 0 .. length - 1, each (length, E), for `rotate`.

    The first half of sin is negated, so a rotation is x * cos + swapped halves of x * sin.
    """
    angle, factor = frequencies(rope, head_dim, context, length)
    phase = torch.arange(length, dtype=torch.float32)[:, None] * angle[None, :]
    cos, sin = phase.cos() * factor, phase.sin() * factor
    table = torch.cat((cos, cos), -1), torch.cat((-sin, sin), -1)
    return table[0].to(device, dtype), table[1].to(device, dtype)


def rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """x (..., E) turned by the tables' rows, which must broadcast against it."""
    return torch.addcmul(x * cos, torch.roll(x, x.shape[-1] // 2, -1), sin)

"""Rotary position embedding: the angles of each kind of stretching, and the rotation itself.

Not the cache and not the attention. Sources: Su et al. 2021, arXiv:2104.09864; linear: Chen et al. 2023,
arXiv:2306.15595; yarn (and ntk by parts): Peng et al. 2023, arXiv:2309.00071; llama3: the Llama 3.1 release.

The pairing is "rotate half" (dimension i with i + E/2), as weights on the Hub have it.
"""

from __future__ import annotations

import math

import torch

from tokenloom.model.features import Rope


def frequencies(rope: Rope, head_dim: int, context: int, length: int) -> tuple[torch.Tensor, float]:
    """Angle per position of each pair of dimensions (E/2,) float32, and the factor of cos and sin.

    context: positions the model was made for. length: positions of the whole sequence; only `ntk` asks for
    it, and leaves the angles alone up to `context`.
    """
    theta = rope.theta
    if rope.kind == "ntk":
        stretch = rope.factor * max(length, context) / context - (rope.factor - 1)
        theta *= stretch ** (head_dim / (head_dim - 2))
    plain = 1.0 / theta ** (torch.arange(0, head_dim, 2, dtype=torch.float32) / head_dim)
    if rope.kind == "linear":
        return plain / rope.factor, 1.0
    if rope.kind == "llama3":
        return _llama3(rope, plain), 1.0
    if rope.kind == "yarn":
        return _yarn(rope, plain, head_dim), _yarn_factor(rope)
    return plain, 1.0


def _llama3(rope: Rope, plain: torch.Tensor) -> torch.Tensor:
    # Short wavelengths stay, long ones are divided, the band between is mixed.
    turns = rope.original_context * plain / (2 * math.pi)
    mix = (turns - rope.low_freq_factor) / (rope.high_freq_factor - rope.low_freq_factor)
    mix = mix.clamp(0.0, 1.0)
    return (1 - mix) * plain / rope.factor + mix * plain


def _yarn(rope: Rope, plain: torch.Tensor, head_dim: int) -> torch.Tensor:
    def dimension(turns: float) -> float:
        # The dimension that makes this many turns over the original context (section 3.2).
        return head_dim * math.log(rope.original_context / (turns * 2 * math.pi)) / (2 * math.log(rope.theta))

    low, high = dimension(rope.beta_fast), dimension(rope.beta_slow)
    if rope.truncate:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, head_dim - 1)
    if low == high:
        high += 0.001
    ramp = ((torch.arange(head_dim // 2, dtype=torch.float32) - low) / (high - low)).clamp(0.0, 1.0)
    return plain / rope.factor * ramp + plain * (1 - ramp)


def _yarn_factor(rope: Rope) -> float:
    if rope.attention_factor is not None:
        return rope.attention_factor

    def scale(weight: float) -> float:
        return 1.0 if rope.factor <= 1 else 0.1 * weight * math.log(rope.factor) + 1.0

    if rope.mscale and rope.mscale_all_dim:
        return scale(rope.mscale) / scale(rope.mscale_all_dim)
    return scale(1.0)


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

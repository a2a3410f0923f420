"""How fast each pair of dimensions turns in a rotary position embedding, by kind of stretching. No torch.

Not the rotation itself (model.rope in PyTorch, native/src/model.cpp in C++). Sources: Su et al. 2021,
arXiv:2104.09864; linear: Chen et al. 2023, arXiv:2306.15595; yarn (and ntk by parts): Peng et al. 2023,
arXiv:2309.00071; llama3: the Llama 3.1 release.
"""

from __future__ import annotations

import math

import numpy as np

from tokenloom.model.features import Rope


def angles(rope: Rope, head_dim: int, context: int, length: int) -> tuple[np.ndarray, float]:
    """Angle per position of each pair of dimensions (E/2,) float32, and the factor of cos and sin.

    context: positions the model was made for. length: positions of the whole sequence; only `ntk` asks for
    it, and leaves the angles alone up to `context`.
    """
    theta = rope.theta
    if rope.kind == "ntk":
        stretch = rope.factor * max(length, context) / context - (rope.factor - 1)
        theta *= stretch ** (head_dim / (head_dim - 2))
    exponent = np.arange(0, head_dim, 2, dtype=np.float32) / np.float32(head_dim)
    plain = np.float32(1.0) / np.float32(theta) ** exponent
    if rope.kind == "linear":
        return plain / np.float32(rope.factor), 1.0
    if rope.kind == "llama3":
        return _llama3(rope, plain), 1.0
    if rope.kind == "yarn":
        return _yarn(rope, plain, head_dim), _yarn_factor(rope)
    return plain, 1.0


def _llama3(rope: Rope, plain: np.ndarray) -> np.ndarray:
    # Short wavelengths stay, long ones are divided, the band between is mixed.
    turns = rope.original_context * plain / np.float32(2 * math.pi)
    mix = (turns - rope.low_freq_factor) / (rope.high_freq_factor - rope.low_freq_factor)
    mix = mix.clip(0.0, 1.0).astype(np.float32)
    return (1 - mix) * plain / np.float32(rope.factor) + mix * plain


def _yarn(rope: Rope, plain: np.ndarray, head_dim: int) -> np.ndarray:
    def dimension(turns: float) -> float:
        # The dimension that makes this many turns over the original context (section 3.2).
        return head_dim * math.log(rope.original_context / (turns * 2 * math.pi)) / (2 * math.log(rope.theta))

    low, high = dimension(rope.beta_fast), dimension(rope.beta_slow)
    if rope.truncate:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, head_dim - 1)
    if low == high:
        high += 0.001
    ramp = (
        ((np.arange(head_dim // 2, dtype=np.float32) - low) / (high - low)).clip(0.0, 1.0).astype(np.float32)
    )
    return plain / np.float32(rope.factor) * ramp + plain * (1 - ramp)


def _yarn_factor(rope: Rope) -> float:
    if rope.attention_factor is not None:
        return rope.attention_factor

    def scale(weight: float) -> float:
        return 1.0 if rope.factor <= 1 else 0.1 * weight * math.log(rope.factor) + 1.0

    if rope.mscale and rope.mscale_all_dim:
        return scale(rope.mscale) / scale(rope.mscale_all_dim)
    return scale(1.0)

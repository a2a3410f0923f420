"""A frozen linear map whose weights are int8, for training adapters on it.

Not a trained map, and not serving's (the native step and GGUF have their own). The weights are Q8_0's: blocks
of 32 along the inputs with a float16 scale each, so an adapter is trained on the very base that a CPU serves.
They become floats at each use, in the forward and again in the backward pass: what is kept is 8.5 bits a
weight. Sources: Dettmers et al. 2023, arXiv:2305.14314, section 3 (adapters on a quantised base); Q8_0: ggml.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.autograd.function import once_differentiable

BLOCK = 32
# Shapes: N inputs, M outputs, K = ceil(N / 32) blocks


def quantised(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """weight (M, N) -> int8 (M, N) and float16 scales (M, K), as Q8_0 rounds: scale = largest / 127."""
    m, n = weight.shape
    whole = F.pad(weight.detach().float(), (0, -n % BLOCK)).view(m, -1, BLOCK)
    scales = whole.abs().amax(2) / 127
    # The blocks are rounded with the exact scale; only what is stored of it is float16.
    inverse = torch.where(scales > 0, 1 / scales, torch.zeros_like(scales))
    codes = (whole * inverse[:, :, None]).round_().clamp_(-127, 127).to(torch.int8)
    return codes.view(m, -1)[:, :n].contiguous(), scales.half()


def restored(codes: torch.Tensor, scales: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """The weights (M, N) in `dtype`; their products with the scales are not rounded before that."""
    m, n = codes.shape
    exact = torch.float32 if dtype == torch.float32 else torch.float16
    if n % BLOCK:
        spread = scales.to(exact).repeat_interleave(BLOCK, 1)[:, :n]
        return codes.to(exact).mul_(spread).to(dtype)
    return codes.to(exact).view(m, -1, BLOCK).mul_(scales.to(exact)[:, :, None]).view(m, n).to(dtype)


class _Product(torch.autograd.Function):
    """x W^T; nothing but the int8 weights is kept for the backward pass."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, codes: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(codes, scales)
        return x @ restored(codes, scales, x.dtype).T

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        codes, scales = ctx.saved_tensors
        return grad @ restored(codes, scales, grad.dtype), None, None


class Int8Linear(nn.Module):
    """y = x W^T + b with a fixed W."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None = None) -> None:
        super().__init__()
        codes, scales = quantised(weight)
        # Parameters, not buffers: a checkpoint holds what moves, and these never do.
        self.codes = nn.Parameter(codes, requires_grad=False)
        self.scales = nn.Parameter(scales, requires_grad=False)
        self.bias = None if bias is None else nn.Parameter(bias.detach().clone(), requires_grad=False)

    @property
    def out_features(self) -> int:
        return self.codes.shape[0]

    @property
    def in_features(self) -> int:
        return self.codes.shape[1]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        kind = x.device.type
        if torch.is_autocast_enabled(kind):
            x = x.to(torch.get_autocast_dtype(kind))
        with torch.autocast(kind, enabled=False):
            out = _Product.apply(x, self.codes, self.scales)
            return out if self.bias is None else out + self.bias.to(out.dtype)

    def float_weight(self, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        """W (M, N)."""
        return restored(self.codes, self.scales, dtype)

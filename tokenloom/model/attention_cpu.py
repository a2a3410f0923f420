"""Attention with gradients on a CPU: batched products over blocks of queries, in two to three times less time
than PyTorch's fused kernel takes there for bfloat16 (docs/bench.md).

Not the choice of who may look where, and not generation (`attention.attend`). The products run in the type of
the values; the softmax inside in float32. Keys that lie behind a block are skipped, and a group's heads share
one product. The weights of the softmax are kept for the backward pass in short rows and computed anew in long
ones. Sources: Vaswani et al. 2017, arXiv:1706.03762, section 3.2.1; blocks and the backward pass as in Dao et
al. 2022, arXiv:2205.14135, section 3.1, without their running softmax: a block of queries sees all its keys.
"""

# Shapes: B rows, T positions, H query heads, G key/value heads, E head width; N = B G, R = H / G

from __future__ import annotations

from typing import Any

import torch
from torch.autograd.function import once_differentiable

from tokenloom.model.attention import additive, causal_mask

BLOCK = 128
"""Queries of one product."""
KEPT = 512
"""Rows of so many positions at most keep the softmax's weights for the backward pass."""


def attend_with_gradients(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, scale: float, allow: torch.Tensor | None = None
) -> torch.Tensor:
    """softmax(q k^T * scale) v for grouped heads, T = S; the same as `attend` up to rounding.

    q (B, H, T, E); k, v (B, G, T, E) with H a multiple of G, taken in v's dtype. allow: None = query t sees
    keys 0 .. t; else (T, T) or (B, 1, T, T), bool (True = may look) or numbers added to the logits, in which
    no query sees a later key. Returns (B, H, T, E).
    """
    if allow is not None:
        allow = additive(allow, v.dtype) if allow.dtype == torch.bool else allow.to(v.dtype)
        allow = allow[(None,) * (4 - allow.dim())]
    return torch.Tensor(_Blocked.apply(q.to(v.dtype), k.to(v.dtype), v, scale, allow))


class _Blocked(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, scale: float, allow: torch.Tensor | None
    ) -> torch.Tensor:
        rows, _, length, width = q.shape
        n = rows * k.shape[1]
        q = (q * scale).reshape(n, -1, length, width)
        k, v = k.reshape(n, length, width), v.reshape(n, length, width)
        out = torch.empty_like(q)
        kept = []
        for a, b in _blocks(length):
            weights = _weights(q[:, :, a:b], k[:, :b], allow, rows, a)
            out[:, :, a:b] = torch.bmm(weights, v[:, :b]).view(n, -1, b - a, width)
            if length <= KEPT:
                kept.append(weights)
        ctx.save_for_backward(q, k, v, *kept)
        ctx.scale, ctx.allow, ctx.rows = scale, allow, rows
        return out.view(rows, -1, length, width)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        q, k, v, *kept = ctx.saved_tensors
        n, group, length, width = q.shape
        grad = grad.reshape(q.shape)
        d_q = torch.empty_like(q)
        # Every block adds to the keys before it: in float32, as one product over all queries would.
        d_k, d_v = (torch.zeros(n, length, width, dtype=torch.float32) for _ in range(2))
        for i, (a, b) in enumerate(_blocks(length)):
            part, g = (x[:, :, a:b].reshape(n, -1, width) for x in (q, grad))
            weights = kept[i] if kept else _weights(q[:, :, a:b], k[:, :b], ctx.allow, ctx.rows, a)
            d_v[:, :b] += torch.bmm(weights.transpose(1, 2), g)
            d_weights = torch.bmm(g, v[:, :b].transpose(1, 2))
            d_logits = torch._softmax_backward_data(d_weights, weights, -1, weights.dtype)
            d_q[:, :, a:b] = torch.bmm(d_logits, k[:, :b]).view(n, group, b - a, width)
            d_k[:, :b] += torch.bmm(d_logits.transpose(1, 2), part)
        heads = (ctx.rows, -1, length, width)
        d_k, d_v = (x.to(v.dtype).view(heads) for x in (d_k, d_v))
        return d_q.mul_(ctx.scale).view(heads), d_k, d_v, None, None


def _blocks(length: int) -> list[tuple[int, int]]:
    return [(a, min(length, a + BLOCK)) for a in range(0, length, BLOCK)]


def _weights(
    q: torch.Tensor, k: torch.Tensor, allow: torch.Tensor | None, rows: int, first: int
) -> torch.Tensor:
    """Queries first .. first + t, scaled (N, R, t, E), and all keys that any of them sees (N, S, E) -> (N, R
    t, S)."""
    n, group, t, width = q.shape
    logits = torch.bmm(q.reshape(n, group * t, width), k.transpose(1, 2))
    if allow is None:
        logits.view(n * group, t, -1)[:, :, first:].add_(additive(causal_mask(t, t), logits.dtype))
    else:
        seen = k.shape[1]
        logits.view(rows, -1, t, seen).add_(allow[:, :, first : first + t, :seen])
    return torch.softmax(logits, -1)

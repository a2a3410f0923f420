"""Scaled dot-product attention behind one function, and the plain reference it is held to.

Not the cache and not the masks' meaning: who may look where is an argument. Sources: Vaswani et al. 2017,
arXiv:1706.03762, section 3.2.1; grouped heads: Ainslie et al. 2023, arXiv:2305.13245, section 2.2; soft
capping: Gemma 2, arXiv:2408.00118, section 2.
"""

# Shapes: B rows, T new positions, S visible positions, H query heads, G key/value heads, E head width

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F

BLOCK = 64
"""Queries of one product in `attend_in_blocks`."""


def attend(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    scale: float | None = None,
    allow: torch.Tensor | None = None,
    causal: bool = False,
    softcap: float = 0.0,
) -> torch.Tensor:
    """softmax(q k^T * scale) v for grouped heads.

    q (B, H, T, E); k, v (B, G, S, E) with H a multiple of G. scale: None = 1 / sqrt(E). allow, broadcast
    against (B, 1, T, S): bool, True = may look; or q's dtype, added to the logits. causal: query t sees keys
    0 .. t; needs T = S and no allow. softcap: cap * tanh(logit / cap), 0 = off. Returns (B, H, T, E) in q's
    dtype; the softmax runs in float32.
    """
    assert not (causal and (allow is not None or q.shape[2] != k.shape[2]))
    if softcap:
        return attend_reference(q, k, v, scale, allow, causal, softcap)
    n_head, n_kv = q.shape[1], k.shape[1]
    if q.shape[2] == 1:
        # One query per head: the heads of a group become positions, so no key or value is repeated.
        b, _, _, e = q.shape
        mask = allow if allow is None or allow.dim() == 4 else allow[(None,) * (4 - allow.dim())]
        grouped = q.reshape(b, n_kv, n_head // n_kv, e)
        return F.scaled_dot_product_attention(grouped, k, v, attn_mask=mask, scale=scale).reshape(q.shape)
    return F.scaled_dot_product_attention(
        q, k, v, attn_mask=allow, is_causal=causal, scale=scale, enable_gqa=n_head != n_kv
    )


@dataclass(frozen=True, slots=True)
class Block:
    """Queries [a, b) of a chunk and the keys [lo, hi) they see among the chunk's visible ones."""

    a: int
    b: int
    lo: int
    hi: int
    allow: torch.Tensor
    """(b - a, m): added to the logits of the last m of those keys; all may see the others."""


def blocks_of(
    n_query: int,
    n_key: int,
    window: int,
    dtype: torch.dtype,
    device: torch.device | str = "cpu",
    size: int = BLOCK,
) -> tuple[Block, ...]:
    """The queries are the last of the keys' positions; `window` as in `causal_mask`."""
    found = []
    for a in range(0, n_query, size):
        b = min(n_query, a + size)
        hi = n_key - n_query + b
        lo = max(0, hi - (b - a) + 1 - window) if window else 0
        # Without a window only the last b - a keys are hidden from some of the block.
        m = hi - lo if window else b - a
        seen = causal_mask(b - a, m, window, device)
        found.append(Block(a, b, lo, hi, additive(seen, dtype)))
    return tuple(found)


def attend_in_blocks(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    scale: float,
    blocks: Sequence[Block],
    softcap: float = 0.0,
) -> torch.Tensor:
    """`attend` of one row's chunk as matrix products over blocks of queries.

    q (T, H, E); k, v (G, S, E). Returns (T, H * E). On CPUs this takes half the time of PyTorch's fused
    kernel: keys beyond a block are skipped, and a group's heads share one product.
    """
    n, n_head, e = q.shape
    n_kv = k.shape[0]
    out = torch.empty(n, n_head * e, dtype=q.dtype, device=q.device)
    turned = k.transpose(1, 2)
    q = (q * scale).view(n, n_kv, -1, e).permute(1, 2, 0, 3)  # (G, H / G, T, E)
    for block in blocks:
        t, s = block.b - block.a, block.hi - block.lo
        part = q[:, :, block.a : block.b].reshape(n_kv, -1, e)
        logits = torch.bmm(part, turned[:, :, block.lo : block.hi])
        if softcap:
            logits = torch.tanh(logits.div_(softcap)).mul_(softcap)
        logits.view(n_head, t, s)[:, :, s - block.allow.shape[1] :].add_(block.allow)
        part = torch.bmm(torch.softmax(logits, -1), v[:, block.lo : block.hi])
        out.view(n, n_head, e)[block.a : block.b] = part.view(n_head, t, e).transpose(0, 1)
    return out


def attend_reference(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    scale: float | None = None,
    allow: torch.Tensor | None = None,
    causal: bool = False,
    softcap: float = 0.0,
) -> torch.Tensor:
    """What `attend` computes, written out: products, cap, mask, float32 softmax."""
    repeat = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(repeat, 1), v.repeat_interleave(repeat, 1)
    logits = (q.float() @ k.float().transpose(-1, -2)) * (q.shape[-1] ** -0.5 if scale is None else scale)
    if softcap:
        logits = softcap * torch.tanh(logits / softcap)
    if causal:
        allow = causal_mask(q.shape[2], k.shape[2], device=q.device)
    if allow is not None:
        logits = logits.masked_fill(~allow, -math.inf) if allow.dtype == torch.bool else logits + allow
    return (torch.softmax(logits, -1) @ v.float()).to(q.dtype)


def causal_mask(
    n_query: int, n_key: int, window: int = 0, device: torch.device | str | None = None
) -> torch.Tensor:
    """(T, S) bool: the queries are the last T of S positions; each sees itself, `window` positions at
    most."""
    query = torch.arange(n_key - n_query, n_key, device=device)[:, None]
    key = torch.arange(n_key, device=device)[None, :]
    allow = key <= query
    return allow & (key > query - window) if window else allow


def additive(allow: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """A bool mask as what is added to logits: 0 or minus infinity."""
    return torch.zeros(allow.shape, dtype=dtype, device=allow.device).masked_fill_(~allow, -math.inf)


def document_mask(documents: torch.Tensor, window: int = 0) -> torch.Tensor:
    """documents (B, T) int: which document each position belongs to. (B, 1, T, T) bool: causal within
    each."""
    same = documents[:, :, None] == documents[:, None, :]
    return (same & causal_mask(documents.shape[1], documents.shape[1], window, documents.device))[:, None]

"""The fast attention equals the reference written out, for groups, masks, windows, caps and gradients."""

from __future__ import annotations

import math

import pytest
import torch

from tokenloom.model.attention import (
    additive,
    attend,
    attend_in_blocks,
    attend_reference,
    blocks_of,
    causal_mask,
    document_mask,
)
from tokenloom.model.transformer import positions_in


def tensors(b: int, h: int, g: int, t: int, s: int, e: int = 8) -> tuple[torch.Tensor, ...]:
    draw = torch.Generator().manual_seed(t + s)
    return tuple(torch.randn(b, n, m, e, generator=draw) for n, m in ((h, t), (g, s), (g, s)))


@pytest.mark.parametrize(("h", "g"), [(4, 4), (6, 2), (3, 1)])
@pytest.mark.parametrize(("t", "s"), [(1, 1), (1, 9), (7, 7), (5, 12)])
@pytest.mark.parametrize("softcap", [0.0, 1.5])
def test_attend_is_the_reference(h: int, g: int, t: int, s: int, softcap: float) -> None:
    q, k, v = tensors(3, h, g, t, s)
    allow = causal_mask(t, s, 4)[None, None]
    for mask in (None, allow, additive(allow, torch.float32)):
        found = attend(q, k, v, 0.3, mask, softcap=softcap)
        torch.testing.assert_close(found, attend_reference(q, k, v, 0.3, mask, softcap=softcap))
    if t == s:
        found = attend(q, k, v, causal=True, softcap=softcap)
        torch.testing.assert_close(found, attend_reference(q, k, v, None, causal_mask(t, s), softcap=softcap))


def test_the_reference_is_the_formula() -> None:
    """softmax(Q K^T / sqrt(d_k)) V, by loops."""
    q, k, v = tensors(1, 2, 1, 3, 3, e=4)
    found = attend_reference(q, k, v, causal=True)
    for head in range(2):
        for i in range(3):
            weights = [math.exp(float(q[0, head, i] @ k[0, 0, j]) / math.sqrt(4)) for j in range(i + 1)]
            want = sum(w * v[0, 0, j] for j, w in enumerate(weights)) / sum(weights)
            torch.testing.assert_close(found[0, head, i], want)


@pytest.mark.parametrize("window", [0, 1, 5, 64, 200])
@pytest.mark.parametrize(("t", "s"), [(2, 2), (64, 64), (65, 65), (130, 130), (3, 90), (100, 141)])
@pytest.mark.parametrize("softcap", [0.0, 2.0])
def test_blocks_are_the_reference(t: int, s: int, window: int, softcap: float) -> None:
    q, k, v = tensors(1, 6, 2, t, s)
    want = attend_reference(q, k, v, 0.4, causal_mask(t, s, window), softcap=softcap)
    blocks = blocks_of(t, s, window, torch.float32)
    found = attend_in_blocks(q[0].transpose(0, 1), k[0], v[0], 0.4, blocks, softcap)
    torch.testing.assert_close(found, want[0].transpose(0, 1).flatten(1))


def test_gradients_are_the_references() -> None:
    q, k, v = (x.requires_grad_() for x in tensors(2, 4, 2, 6, 6))
    weights = torch.randn(2, 4, 6, 8)
    fast = torch.autograd.grad((attend(q, k, v, causal=True) * weights).sum(), (q, k, v))
    slow = torch.autograd.grad((attend_reference(q, k, v, causal=True) * weights).sum(), (q, k, v))
    torch.testing.assert_close(fast, slow)


def test_masks() -> None:
    assert causal_mask(2, 4).int().tolist() == [[1, 1, 1, 0], [1, 1, 1, 1]]
    assert causal_mask(3, 3, 2).int().tolist() == [[1, 0, 0], [1, 1, 0], [0, 1, 1]]
    documents = torch.tensor([[4, 4, 7, 7]])
    want = [[1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 1, 1]]
    assert document_mask(documents)[0, 0].int().tolist() == want
    assert positions_in(torch.tensor([[4, 4, 7, 7, 7, 4]])).tolist() == [[0, 1, 0, 1, 2, 0]]

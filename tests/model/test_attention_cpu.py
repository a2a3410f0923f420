"""Attention with gradients on a CPU against the written-out reference, and against itself in other shapes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from tokenloom.model.attention import attend_reference, causal_mask, document_mask
from tokenloom.model.attention_cpu import KEPT, attend_with_gradients

Tensors = tuple[torch.Tensor, ...]


def drawn(rows: int, n_head: int, n_kv: int, length: int, width: int, dtype: torch.dtype) -> Tensors:
    generator = torch.Generator().manual_seed(length * n_head + n_kv)
    make = lambda heads: torch.randn(rows, length, heads, width, generator=generator).to(dtype)  # noqa: E731
    # As the model makes them: heads behind positions in memory.
    return tuple(make(heads).transpose(1, 2) for heads in (n_head, n_kv, n_kv, n_head))


def gradients(
    run: Callable[..., torch.Tensor], q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, g: torch.Tensor
) -> Tensors:
    given = [x.detach().clone().requires_grad_() for x in (q, k, v)]
    out = run(*given)
    return (out.detach(), *torch.autograd.grad(out, given, g.to(out.dtype)))


@pytest.mark.parametrize("length", [1, 2, 127, 128, 129, 300, KEPT + 60])
@pytest.mark.parametrize(("n_head", "n_kv"), [(2, 2), (6, 2), (3, 1)])
def test_answer_and_gradients_are_the_reference_s(length: int, n_head: int, n_kv: int) -> None:
    given = drawn(2, n_head, n_kv, length, 16, torch.float32)
    found = gradients(lambda q, k, v: attend_with_gradients(q, k, v, 0.2), *given)
    wanted = gradients(lambda q, k, v: attend_reference(q, k, v, 0.2, causal=True), *given)
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("length", [40, 200, KEPT + 60])
def test_documents_and_windows_hide_what_they_should(length: int) -> None:
    given = drawn(2, 4, 2, length, 8, torch.float32)
    documents = torch.stack([torch.arange(length) // 33, torch.arange(length) // 150])
    for allow in (document_mask(documents), causal_mask(length, length, window=20)):
        found = gradients(lambda q, k, v, a=allow: attend_with_gradients(q, k, v, 0.3, a), *given)
        wanted = gradients(lambda q, k, v, a=allow: attend_reference(q, k, v, 0.3, a), *given)
        for one, other in zip(found, wanted, strict=True):
            torch.testing.assert_close(one, other, rtol=2e-5, atol=2e-5)


def test_bfloat16_is_as_near_to_the_truth_as_the_fused_kernel_nearly() -> None:
    q, k, v, g = drawn(2, 4, 4, 256, 64, torch.bfloat16)
    truth = gradients(
        lambda q, k, v: attend_reference(q, k, v, 0.125, causal=True), *(x.float() for x in (q, k, v, g))
    )
    ours = gradients(lambda q, k, v: attend_with_gradients(q, k, v, 0.125), q, k, v, g)
    fused = gradients(
        lambda q, k, v: torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True), q, k, v, g
    )
    away = lambda found: [float((a.float() - b).norm() / b.norm()) for a, b in zip(found, truth, strict=True)]  # noqa: E731
    for one, other in zip(away(ours), away(fused), strict=True):
        assert one < 2 * other < 0.02


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_row_alone_is_the_row_among_others(dtype: torch.dtype) -> None:
    given = drawn(3, 4, 2, 140, 16, dtype)
    run = lambda q, k, v: attend_with_gradients(q, k, v, 0.25)  # noqa: E731
    together = gradients(run, *given)
    alone = gradients(run, *(x[1:2] for x in given))
    for one, other in zip(together, alone, strict=True):
        assert torch.equal(one[1:2], other)

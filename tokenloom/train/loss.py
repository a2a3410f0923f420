"""Cross-entropy over a large vocabulary without ever holding all logits.

Not the model's output layer in generation. The gradients are computed chunk by chunk in the forward pass, so
that nothing is computed twice; what is kept is as large as the states and the output layer. Source: the idea
of Wijmans et al. 2024, arXiv:2411.09009, section 4, without their filtering of small gradients.
"""

# Shapes: N positions, D dim, V vocabulary

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch.autograd.function import once_differentiable


class _Summed(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        states: torch.Tensor,
        weight: torch.Tensor,
        targets: torch.Tensor,
        dtype: torch.dtype,
        rows: int,
        cap: float,
    ) -> torch.Tensor:
        total = states.new_zeros((), dtype=torch.float32)
        matrix = weight.to(dtype)
        need_states, need_weight = ctx.needs_input_grad[0], ctx.needs_input_grad[1]
        d_states = torch.empty_like(states) if need_states else None
        d_weight = torch.zeros_like(weight, dtype=torch.float32) if need_weight else None
        for at in range(0, len(states), rows):
            x, wanted = states[at : at + rows].to(dtype), targets[at : at + rows, None]
            logits = F.linear(x, matrix).float()
            if cap:
                logits = cap * torch.tanh(logits / cap)
            norm = logits.logsumexp(1, keepdim=True)
            total += (norm - logits.gather(1, wanted)).sum()
            if not (need_states or need_weight):
                continue
            slope = 1 - (logits / cap).square_() if cap else None
            grad = logits.sub_(norm).exp_()  # the probabilities
            grad.scatter_add_(1, wanted, torch.full_like(wanted, -1, dtype=grad.dtype))
            grad = (grad * slope if slope is not None else grad).to(dtype)
            if d_states is not None:
                d_states[at : at + rows] = grad @ matrix
            if d_weight is not None:
                d_weight += grad.T @ x
        ctx.save_for_backward(d_states, d_weight)
        ctx.weight_dtype = weight.dtype
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[Any, ...]:
        d_states, d_weight = ctx.saved_tensors
        return (
            None if d_states is None else d_states * grad,
            None if d_weight is None else (d_weight * grad).to(ctx.weight_dtype),
            None,
            None,
            None,
            None,
        )


def summed_loss(
    states: torch.Tensor,
    weight: torch.Tensor,
    targets: torch.Tensor,
    dtype: torch.dtype = torch.float32,
    rows: int = 512,
    cap: float = 0.0,
) -> torch.Tensor:
    """Sum over positions of -log softmax(states weight^T)[target], in nats, float32.

    states (N, D); weight (V, D); targets (N,) int64, all learned. dtype: of the products; the softmax runs in
    float32. rows: positions whose logits are held at once. cap: soft cap of the logits, 0 = off.
    """
    return torch.Tensor(_Summed.apply(states, weight, targets, dtype, rows, cap))

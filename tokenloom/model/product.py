"""Matrix products of the step: weights behind one input run as one, packed for the CPU where that helps.

Not nn.Linear: weights are fixed. oneDNN's packed bfloat16 product takes half the time of `F.linear`, which
lays the weight out anew at each call.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import torch
import torch.nn.functional as F


@cache
def can_pack() -> bool:
    """Whether this CPU and this build of torch have packed bfloat16 products."""
    ops = torch.ops.mkldnn
    known = all(hasattr(ops, name) for name in ("_reorder_linear_weight", "_linear_pointwise"))
    return known and torch.backends.mkldnn.is_available() and bool(ops._is_mkldnn_bf16_supported())


class Product:
    """y = x W^T + b, the rows of W being those of all `weights` in turn."""

    def __init__(
        self, weights: Sequence[torch.Tensor], biases: Sequence[torch.Tensor | None] = (), pack: bool = True
    ) -> None:
        whole = weights[0].detach() if len(weights) == 1 else torch.cat([w.detach() for w in weights])
        given = [b.detach() for b in biases if b is not None]
        assert not given or len(given) == len(weights)
        self.bias = torch.cat(given) if given else None
        self.packed = pack and whole.device.type == "cpu" and whole.dtype == torch.bfloat16 and can_pack()
        self.weight = (
            torch.ops.mkldnn._reorder_linear_weight(whole.contiguous(), None) if self.packed else whole
        )

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """x (N, in) -> (N, out)."""
        if self.packed:
            return torch.ops.mkldnn._linear_pointwise.default(x, self.weight, self.bias, "none", [], "")
        return F.linear(x, self.weight, self.bias)

    def add(self, x: torch.Tensor, residual: torch.Tensor) -> torch.Tensor:
        """residual (N, out) + x W^T + b, rounded once where packed; may overwrite `residual`."""
        if self.packed:
            return torch.ops.mkldnn._linear_pointwise.binary(x, residual, self.weight, self.bias, "add")
        return residual.add_(F.linear(x, self.weight, self.bias))

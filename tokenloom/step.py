"""The contract of the compute paths: what one step of a model is asked, and what it answers.

Two implementations: `model.step.TorchStep` (the reference, and the fast path on GPUs) and the native step for
CPUs. The engine knows this file only, so it imports neither torch nor the native library.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np

Range = tuple[int, int]
"""Token ids from start (included) to stop (excluded)."""


@dataclass(frozen=True, slots=True)
class Row:
    """New tokens of one sequence in this step: one for decoding, many for a prefill chunk."""

    slot: int
    """The cache slot that holds the sequence's keys and values for positions [0, start)."""
    start: int
    """Absolute position of the first new token; positions from here on are overwritten."""
    ids: Sequence[int]
    """The new tokens (T,), at positions start .. start + T - 1."""
    want: int = 0
    """How many trailing positions need logits: 0 none, 1 the last, T all."""
    allowed: tuple[Range, ...] | None = None
    """Only these columns of the output layer are computed, concatenated in this order; None = all."""
    adapter: str | None = None
    """Name of the LoRA adapter applied to this row; None = the base model."""


class Step(Protocol):
    """One model with its cache. One thread owns it; calls do not overlap."""

    n_slots: int
    """Sequences the cache can hold at once."""
    context: int
    """Positions a sequence may have."""
    vocab_size: int
    """Columns of the output layer."""
    bytes_per_token: int
    """Cache bytes one position takes."""

    def run(self, rows: Sequence[Row]) -> list[np.ndarray | None]:
        """Runs all rows (each with another slot), extends the cache, answers per row.

        Row i answers float32 logits (want_i, columns_i), or None where want_i is 0. The arrays are the
        caller's to change.
        """
        ...

    def copy(self, source: int, target: int, length: int) -> None:
        """Copies positions [0, length) of one slot's cache to another slot."""
        ...

    def park(self, slot: int, length: int) -> Any:
        """Takes positions [0, length) of a slot out of the cache; the value goes back with `unpark`."""
        ...

    def unpark(self, parked: Any, slot: int) -> None:
        """Puts what `park` gave back into a slot, bit for bit."""
        ...

    def release(self, slot: int) -> None:
        """The slot's contents are not needed any more; its memory may go back to the system."""
        ...

    def close(self) -> None:
        """Frees everything."""
        ...

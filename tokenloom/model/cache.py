"""Keys and values of many sequences: one slot each, memory taken from the system as positions are written.

Not the attention and not the choice of slots. On the CPU the whole cache is one anonymous mapping: pages cost
nothing before they are written, and a released slot gives its pages back.
"""

# Shapes: L layers, G key/value heads, C context, E head width

from __future__ import annotations

import math
import mmap

import torch

from tokenloom.model.features import ModelConfig


def bytes_per_token(config: ModelConfig, dtype: torch.dtype) -> int:
    """Cache bytes one position takes, keys and values of all layers."""
    return 2 * config.n_layer * config.n_kv_head * config.head_dim * dtype.itemsize


class SlotCache:
    """`kv` (slots, L, 2 G, C, E): the first G heads are keys, the others values."""

    def __init__(
        self, config: ModelConfig, n_slots: int, context: int, dtype: torch.dtype, device: torch.device
    ) -> None:
        shape = (n_slots, config.n_layer, 2 * config.n_kv_head, context, config.head_dim)
        self.slot_bytes = math.prod(shape[1:]) * dtype.itemsize
        self._memory: mmap.mmap | None = None
        if device.type == "cpu" and hasattr(mmap, "MADV_DONTNEED"):
            # Private, not the default shared mapping: only private pages are freed by MADV_DONTNEED.
            flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_NORESERVE", 0)
            self._memory = mmap.mmap(-1, self.slot_bytes * n_slots, flags=flags)
            self.kv = torch.frombuffer(self._memory, dtype=dtype).view(shape)
        else:
            # Zeros, since masked positions are multiplied by probability 0 and 0 * NaN is NaN.
            self.kv = torch.zeros(shape, dtype=dtype, device=device)

    def layers(self) -> list[torch.Tensor]:
        """Per layer a view (slots, 2 G, C, E)."""
        return list(self.kv.unbind(1))

    def copy(self, source: int, target: int, length: int) -> None:
        """Positions [0, length) of one slot to another."""
        self.kv[target, :, :, :length].copy_(self.kv[source, :, :, :length])

    def park(self, slot: int, length: int) -> torch.Tensor:
        """Positions [0, length) of a slot (L, 2 G, length, E), out of the cache."""
        return self.kv[slot, :, :, :length].clone()

    def unpark(self, parked: torch.Tensor, slot: int) -> None:
        self.kv[slot, :, :, : parked.shape[2]].copy_(parked)

    def release(self, slot: int) -> None:
        """Gives the slot's whole pages back to the system; they read as zeros afterwards."""
        if self._memory is None:
            return
        page = mmap.PAGESIZE
        start = -(-slot * self.slot_bytes // page) * page
        stop = (slot + 1) * self.slot_bytes // page * page
        if stop > start:
            self._memory.madvise(mmap.MADV_DONTNEED, start, stop - start)

    def close(self) -> None:
        """Frees the cache; views of it must be gone."""
        del self.kv
        self._memory = None

"""How one step's rows are laid out: flat order, groups that share an attention call, and who may look where.

Not the arithmetic (`model.step`). Everything here is made once per step and used by every layer.
"""

# Shapes: N new tokens of all rows, n decode rows of a group, T new positions of a chunk, S visible positions

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch

from tokenloom.model.attention import Block, additive, blocks_of, causal_mask
from tokenloom.step import Range, Row


@dataclass(frozen=True, slots=True)
class View:
    """The keys a group sees in layers of one window."""

    first: int
    stop: int
    """Positions [first, stop) of the cache."""
    allow: torch.Tensor | None = None
    """Added to the logits, broadcast against (n or 1, 1, 1 or T, S)."""
    blocks: tuple[Block, ...] = ()
    """Of a chunk on the CPU, in place of `allow`."""
    causal: bool = False
    """Of a chunk from position 0, in place of `allow`."""


@dataclass(frozen=True, slots=True)
class Group:
    """Rows whose attention is one call: decode rows in neighbouring slots, or one prefill chunk."""

    lo: int
    hi: int
    """Flat positions [lo, hi) of the new tokens."""
    slot: int
    """The first slot; decode rows take one each from here on."""
    start: int
    """A chunk's first absolute position; -1 for decode rows."""
    stop: int
    """One past the last absolute position of any of its rows."""
    views: Mapping[int, View]
    """By window."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Rows that need logits of the same columns."""

    rows: tuple[int, ...]
    """Their places in the caller's list."""
    counts: tuple[int, ...]
    """Logits of each, in turn."""
    index: torch.Tensor | None
    """Flat positions; None = all in order."""
    allowed: tuple[Range, ...] | None


@dataclass(frozen=True, slots=True)
class Plan:
    ids: torch.Tensor
    positions: torch.Tensor
    groups: tuple[Group, ...]
    n_decode: int
    """Decode rows come first: flat positions [0, n_decode)."""
    slots: torch.Tensor
    """(n_decode,) the slot of each decode row."""
    wanted: tuple[Wanted, ...]
    adapters: tuple[tuple[str, torch.Tensor | None], ...]
    """(name, flat positions it applies to; None = all)."""


def check_rows(
    rows: Sequence[Row], n_slots: int, context: int, vocab_size: int, adapters: Iterable[str]
) -> None:
    """Raises ValueError naming the field of the first row that cannot run."""
    seen: set[int] = set()
    known = set(adapters)
    for row in rows:
        n = len(row.ids)
        if not 0 <= row.slot < n_slots or row.slot in seen:
            raise ValueError(f"slot: found {row.slot}, needs another one for each row, 0 to {n_slots - 1}")
        if n < 1 or row.start < 0 or row.start + n > context:
            raise ValueError(f"ids: {n} from position {row.start} do not fit 1 to {context} positions")
        if not 0 <= row.want <= n:
            raise ValueError(f"want: found {row.want}, allowed is 0 to {n}, the row's new tokens")
        if row.adapter is not None and row.adapter not in known:
            raise ValueError(f"adapter: found {row.adapter!r}, loaded are {sorted(known)}")
        for lo, hi in row.allowed or ():
            if not 0 <= lo < hi <= vocab_size:
                raise ValueError(f"allowed: found {lo}..{hi}, needs ranges within 0..{vocab_size}")
        if min(row.ids) < 0 or max(row.ids) >= vocab_size:
            raise ValueError(f"ids: found {min(row.ids)}..{max(row.ids)}, allowed is 0..{vocab_size - 1}")
        seen.add(row.slot)


def make_plan(
    rows: Sequence[Row], windows: Iterable[int], dtype: torch.dtype, device: torch.device, in_blocks: bool
) -> Plan:
    """Decode rows first, by slot, then chunks; masks for each distinct window.

    in_blocks: chunks attend by `attend_in_blocks`, as suits CPUs; else by the fused kernel.
    """
    order = sorted(range(len(rows)), key=lambda i: (len(rows[i].ids) > 1, rows[i].slot))
    n_decode = sum(len(row.ids) == 1 for row in rows)
    ids: list[int] = []
    positions: list[int] = []
    at = [0] * len(rows)
    for i in order:
        at[i] = len(ids)
        ids.extend(rows[i].ids)
        positions.extend(range(rows[i].start, rows[i].start + len(rows[i].ids)))
    distinct = tuple(windows)
    groups = [
        _decode_group(lo, [rows[i] for i in order[lo:hi]], distinct, dtype, device)
        for lo, hi in _decode_spans([rows[i] for i in order[:n_decode]])
    ]
    groups += [_chunk_group(at[i], rows[i], distinct, dtype, device, in_blocks) for i in order[n_decode:]]
    return Plan(
        ids=torch.tensor(ids, device=device),
        positions=torch.tensor(positions, device=device),
        groups=tuple(groups),
        n_decode=n_decode,
        slots=torch.tensor([rows[i].slot for i in order[:n_decode]], device=device),
        wanted=_wanted(rows, at, len(ids), device),
        adapters=_adapters(rows, at, len(ids), device),
    )


def _decode_spans(rows: Sequence[Row]) -> list[tuple[int, int]]:
    """Splits decode rows, sorted by slot, where slots are not neighbours or padding would cost too much."""
    spans: list[tuple[int, int]] = []
    lo = total = longest = 0
    for i, row in enumerate(rows):
        length = row.start + 1
        padded = max(longest, length) * (i - lo + 1)
        neighbour = i > lo and row.slot == rows[i - 1].slot + 1
        # A call of its own costs about as much as 128 padded positions.
        if i > lo and not (neighbour and padded <= 1.5 * (total + length) + 128 * (i - lo + 1)):
            spans.append((lo, i))
            lo, total, longest = i, 0, 0
        total, longest = total + length, max(longest, length)
    return [*spans, (lo, len(rows))] if rows else []


def _decode_group(
    lo: int, rows: Sequence[Row], windows: Iterable[int], dtype: torch.dtype, device: torch.device
) -> Group:
    lengths = [row.start + 1 for row in rows]
    stop = max(lengths)
    views: dict[int, View] = {}
    for window in windows:
        starts = [max(0, length - window) if window else 0 for length in lengths]
        first = min(starts)
        allow = None
        if len(set(lengths)) > 1:
            key = torch.arange(first, stop)
            seen = (key < torch.tensor(lengths)[:, None]) & (key >= torch.tensor(starts)[:, None])
            allow = additive(seen, dtype).to(device)[:, None, None]
        views[window] = View(first, stop, allow)
    return Group(lo, lo + len(rows), rows[0].slot, -1, stop, views)


def _chunk_group(
    lo: int, row: Row, windows: Iterable[int], dtype: torch.dtype, device: torch.device, in_blocks: bool
) -> Group:
    n, stop = len(row.ids), row.start + len(row.ids)
    views: dict[int, View] = {}
    for window in windows:
        first = max(0, row.start + 1 - window) if window else 0
        if in_blocks:
            views[window] = View(first, stop, blocks=blocks_of(n, stop - first, window, dtype, device))
        elif row.start == 0 and (not window or window >= n):
            views[window] = View(0, stop, causal=True)
        else:
            allow = additive(causal_mask(n, stop - first, window, device), dtype)
            views[window] = View(first, stop, allow)
    return Group(lo, lo + n, row.slot, row.start, stop, views)


def _wanted(rows: Sequence[Row], at: Sequence[int], total: int, device: torch.device) -> tuple[Wanted, ...]:
    by_columns: dict[tuple[Range, ...] | None, list[int]] = {}
    for i, row in enumerate(rows):
        if row.want:
            by_columns.setdefault(row.allowed, []).append(i)
    found = []
    for allowed, members in by_columns.items():
        flat = [
            j
            for i in members
            for j in range(at[i] + len(rows[i].ids) - rows[i].want, at[i] + len(rows[i].ids))
        ]
        index = None if flat == list(range(total)) else torch.tensor(flat, device=device)
        found.append(Wanted(tuple(members), tuple(rows[i].want for i in members), index, allowed))
    return tuple(found)


def _adapters(
    rows: Sequence[Row], at: Sequence[int], total: int, device: torch.device
) -> tuple[tuple[str, torch.Tensor | None], ...]:
    flat: dict[str, list[int]] = {}
    for i, row in enumerate(rows):
        if row.adapter is not None:
            flat.setdefault(row.adapter, []).extend(range(at[i], at[i] + len(row.ids)))
    return tuple(
        (name, None if len(places) == total else torch.tensor(places, device=device))
        for name, places in flat.items()
    )

"""What the scheduler speaks of: sequences, groups, moves of cache contents, and the plan of one step.

Not a policy (that is `engine.scheduler`) and not a computation. Plain Python: neither torch nor numpy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(eq=False, slots=True)
class Seq:
    """One sequence of ids and where its cache is. Only the scheduler writes to it."""

    ids: list[int]
    """Prompt and output so far; empty for a beam that does not exist yet."""
    most: int
    """Cache positions it may ever take."""
    adapter: str | None = None
    reuse: bool = True
    """May begin with a prefix that another row computed."""
    wide: bool = False
    """Every position's logits are wanted, so its prefill runs under a smaller budget."""
    slot: int = -1
    computed: int = 0
    """Positions [0, computed) are in the cache, or in what was parked."""
    reused: int = 0
    """Positions it did not have to compute at its first admission."""

    @property
    def remaining(self) -> int:
        """Known ids that are not in the cache yet."""
        return len(self.ids) - self.computed


@dataclass(eq=False, slots=True)
class Group:
    """Sequences that are admitted, parked and removed together: one row, beams, or guidance twins."""

    seqs: tuple[Seq, ...]
    priority: int = 0
    arrival: int = 0
    state: str = "new"
    """new, waiting, running, parked (waiting with its contents kept), gone."""
    waited: int = 0
    """Plans in which it was held back for a prefix that another row was computing."""
    order: tuple[int, int] = field(init=False)

    def __post_init__(self) -> None:
        self.order = (-self.priority, self.arrival)


@dataclass(frozen=True, slots=True)
class Copy:
    """Positions [0, length) of the source's cache go to the target."""

    source: int
    target: int
    length: int


@dataclass(frozen=True, slots=True)
class Park:
    """The sequence's positions [0, length) leave the slot and are kept aside."""

    seq: Seq
    slot: int
    length: int


@dataclass(frozen=True, slots=True)
class Unpark:
    """What was kept aside comes back into a slot."""

    seq: Seq
    slot: int


@dataclass(frozen=True, slots=True)
class Release:
    """The slot's contents are not needed any more."""

    slot: int


Move = Copy | Park | Unpark | Release


@dataclass(frozen=True, slots=True)
class Chunk:
    """Compute seq.ids[start:stop]."""

    seq: Seq
    start: int
    stop: int

    @property
    def decodes(self) -> bool:
        """One id, after which the sequence's next one can be chosen."""
        return self.stop - self.start == 1 and self.stop == len(self.seq.ids)


@dataclass(frozen=True, slots=True)
class Plan:
    moves: tuple[Move, ...]
    """To be done in this order, before the rows."""
    rows: tuple[Chunk, ...]


def ceil_to(length: int, grid: int) -> int:
    return -(-length // grid) * grid


def floor_to(length: int, grid: int) -> int:
    return length // grid * grid


def shared(a: Sequence[int], b: Sequence[int], limit: int, grid: int) -> int:
    """Length of the common prefix of a and b in whole grid blocks, at most `limit` positions."""
    limit = floor_to(min(len(a), len(b), limit), grid)
    at = 0
    while at < limit and a[at : at + grid] == b[at : at + grid]:
        at += grid
    return at

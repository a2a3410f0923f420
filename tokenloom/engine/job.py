"""One request in the engine: its answers, which of them are open, and what their last delta says of time
and use.

Not what is computed (`engine.choice`, `engine.beam`) and not when (`engine.scheduler`).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from tokenloom.engine.beam import BeamSearch
from tokenloom.engine.choice import Choice
from tokenloom.engine.request import Delta, Request, Usage

Part = Choice | BeamSearch
"""What has a group of rows of its own: one sampled choice, or a beam search that answers all of them."""


@dataclass(eq=False, slots=True)
class Job:
    request: Request
    arrived: float
    parts: list[Part]
    open: set[int] = field(init=False)
    """Choices that have not ended."""
    admitted: float | None = None
    _first: dict[int, float] = field(default_factory=dict)
    """Choice -> when its first id came."""
    _counts: dict[int, int] = field(default_factory=dict)
    """Choice -> ids sent."""

    def __post_init__(self) -> None:
        self.open = set(range(self.request.n))

    @property
    def cached(self) -> int:
        """Prompt ids of choice 0 whose cache was there already."""
        return min(self.parts[0].group.seqs[0].reused, len(self.request.ids))

    def tell(self, delta: Delta, now: float) -> Delta:
        """Counts a delta that is about to be sent; the last one of a choice gets its usage."""
        choice = delta.choice
        if delta.ids:
            self._first.setdefault(choice, now)
            self._counts[choice] = self._counts.get(choice, 0) + len(delta.ids)
        if delta.finish is None:
            return delta
        self.open.discard(choice)
        usage = Usage(
            prompt_tokens=len(self.request.ids),
            cached_tokens=self.cached,
            completion_tokens=self._counts.get(choice, 0),
            queue_s=(now if self.admitted is None else self.admitted) - self.arrived,
            ttft_s=self._first.get(choice, now) - self.arrived,
            total_s=now - self.arrived,
        )
        return replace(delta, usage=usage)

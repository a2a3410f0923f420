"""Prompt-lookup speculation: guess that text repeats, and let one step check several ids.

Not a second model and not an approximation: a drafted id stays only if the sampler, given the model's
logits and its keyed noise, chooses it; so the answer is the one without drafts (to the last bit where the
compute path answers each row the same whatever its length, else up to ties). Worth it where text repeats
itself or its prompt, and while a step is bound by reading the weights; `most` and `Payoff` keep it to that.
Source: Saxena 2023, prompt lookup decoding; Leviathan et al. 2023, arXiv:2211.17192, for checking drafts in
one step.
"""

from __future__ import annotations

from collections.abc import Sequence

AHEAD = 8
"""Ids guessed ahead of one sequence, where nothing else is asked for."""
STEP_IDS = 16
"""Drafts never make a step longer than this many ids: up to here reading the weights is most of its time."""
NGRAM = 3
"""Ids that must have occurred before in the same order."""
EXPLORE = 64
"""Every so many steps the way that looks worse is measured again."""
TRIALS = 4
"""Steps each way is measured at first."""
KEEP = 0.9
"""Weight of what was measured before."""


def most(ahead: int, rows: int) -> int:
    """How many ids to guess for each of `rows` that decode in one step, at most `ahead`; 0 in a crowd."""
    return max(min(ahead, STEP_IDS // rows - 1), 0)


class Lookup:
    """Where each run of NGRAM ids last occurred in one sequence."""

    def __init__(self) -> None:
        self.ids: list[int] = []
        self._after: dict[tuple[int, ...], int] = {}
        """N ids -> the position after their latest occurrence that something follows."""

    def extend(self, ids: Sequence[int]) -> None:
        for i in ids:
            at = len(self.ids)
            if at >= NGRAM:
                self._after[tuple(self.ids[at - NGRAM :])] = at
            self.ids.append(i)

    def draft(self, most: int) -> list[int]:
        """The ids that followed the last time the sequence ended like this, at most `most`; often none."""
        at = self._after.get(tuple(self.ids[-NGRAM:])) if most > 0 else None
        return [] if at is None else self.ids[at : at + most]


class Payoff:
    """Whether steps with drafts bring more ids per second than steps without, as measured."""

    def __init__(self) -> None:
        self._turn = 0
        self._rates: dict[bool, float] = {}
        self._seen = {False: 0, True: 0}

    def draft(self) -> bool:
        """Whether the next step should try drafts."""
        self._turn += 1
        for way in (True, False):
            if self._seen[way] < TRIALS:
                return way
        better = self._rates[True] > self._rates[False]
        return better != (self._turn % EXPLORE == 0)

    def note(self, drafted: bool, ids: int, seconds: float) -> None:
        """A step in which every row decoded brought this many ids."""
        rate = ids / max(seconds, 1e-9)
        old = self._rates.get(drafted, rate)
        self._rates[drafted] = KEEP * old + (1 - KEEP) * rate
        self._seen[drafted] += 1

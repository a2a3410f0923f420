"""Several drafts of one answer, of which the best is kept. Writes none itself.

For rules that a constraint cannot hold while a model writes, such as rhyme, or the key a tune is in. Draft d
of version v is choice v * drafts + d of one request, and the noise of a choice is keyed by (seed, choice):
the same seed keeps the same draft again, and a version stays what it is however many are asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

MOST = 128
"""Drafts of all versions of one request."""
Mark = Callable[[str], tuple[int, ...]]
"""How good a draft of words is: a greater mark is better."""
Draft = TypeVar("Draft")


def keep(
    drafts: int,
    mark: Callable[[Draft], tuple[int, ...]] | None,
    made: Sequence[Draft],
    whole: Sequence[bool] | None = None,
) -> list[int]:
    """Which choices are kept: of each version's drafts the first with the best mark, (versions,).

    made, whole: of all choices in their order (versions * drafts,); whole: it ended by itself and not for
    want of tokens, which is better than any mark. None: all did.
    """
    assert len(made) % drafts == 0
    if drafts == 1:
        return list(range(len(made)))
    assert mark is not None
    done = [True] * len(made) if whole is None else whole
    marks = [(ended, *mark(one)) for one, ended in zip(made, done, strict=True)]
    starts = range(0, len(made), drafts)
    return [max(range(at, at + drafts), key=marks.__getitem__) for at in starts]

"""Several drafts of one answer, of which the best is kept. Writes none itself.

For rules that a constraint cannot hold while a model writes, such as rhyme. Draft d of version v is choice
v * drafts + d of one request, and the noise of a choice is keyed by (seed, choice): the same seed keeps the
same draft again, and a version stays what it is however many are asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

MOST = 128
"""Drafts of all versions of one request."""
Mark = Callable[[str], tuple[int, ...]]
"""How good a draft is: a greater mark is better."""


def keep(drafts: int, mark: Mark | None, texts: Sequence[str], whole: Sequence[bool]) -> list[int]:
    """Which choices are kept: of each version's drafts the first with the best mark, (versions,).

    texts, whole: of all choices in their order (versions * drafts,); whole: it ended by itself and not for
    want of tokens, which is better than any mark.
    """
    assert len(texts) == len(whole)
    assert len(texts) % drafts == 0
    if drafts == 1:
        return list(range(len(texts)))
    assert mark is not None
    marks = [(done, *mark(text)) for text, done in zip(texts, whole, strict=True)]
    starts = range(0, len(texts), drafts)
    return [max(range(at, at + drafts), key=marks.__getitem__) for at in starts]

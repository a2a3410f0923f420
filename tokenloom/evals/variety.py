"""How varied texts are: distinct-n over all of them, and how much each repeats itself.

Not how good they are: noise is varied. Works on words, characters or ids alike.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence

from tokenloom.evals.interval import RESAMPLES, Interval, mean

Tokens = Sequence[Hashable]


def distinct(texts: Sequence[Tokens], n: int) -> float:
    """Different n-grams / all n-grams of the texts together; 1 = none comes twice.

    It falls as texts grow: compare equal amounts. ValueError where no text has n tokens.
    Source: Li et al. 2016, arXiv:1510.03055, section 5.3 (distinct-1, distinct-2).
    """
    found = [gram for text in texts for gram in _grams(text, n)]
    if not found:
        raise ValueError(f"texts: found none of {n} tokens or more, so there are no {n}-grams to count")
    return len(set(found)) / len(found)


def repetition(text: Tokens, n: int) -> float | None:
    """seq-rep-n: 1 - different n-grams / all n-grams of one text; None where it is shorter than n.

    Source: Welleck et al. 2020, arXiv:1908.04319, section 6.1, equation 10.
    """
    found = list(_grams(text, n))
    return 1 - len(set(found)) / len(found) if found else None


def repetitions(texts: Sequence[Tokens], n: int = 4, *, resamples: int = RESAMPLES) -> Interval:
    """The mean of seq-rep-n over the texts that have n tokens; ValueError where none has."""
    found = [value for text in texts if (value := repetition(text, n)) is not None]
    if not found:
        raise ValueError(f"texts: found none of {n} tokens or more, so there are no {n}-grams to count")
    return mean(found, resamples=resamples)


def _grams(text: Tokens, n: int) -> Iterator[tuple[Hashable, ...]]:
    if n < 1:
        raise ValueError(f"n: found {n}; allowed: 1 or more")
    return (tuple(text[at : at + n]) for at in range(len(text) - n + 1))

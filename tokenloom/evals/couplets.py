"""How well a model foretells the lower line of a couplet from its upper line, and an n-gram beside it.

Not a judgement of what a model answers. Counted are the bits of the lower line's ids, over its characters.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from tokenloom.data.couplets import Couplet
from tokenloom.evals.interval import Interval, ratio
from tokenloom.evals.poems import LogProbs


def fit_answers(
    log_probs: LogProbs,
    rows: Sequence[np.ndarray],
    counted: Sequence[np.ndarray],
    characters: Sequence[int],
    *,
    batch: int = 256,
    progress: Callable[[int, int], None] | None = None,
) -> Interval:
    """Bits per character of the ids that count.

    rows: each a conversation's ids (T,); counted: (T,) bool, True for the ids of the answer's text, its end
    left out; characters: of each answer. ValueError for a row of which nothing counts.
    """
    bits = np.zeros(len(rows))
    for begin in range(0, len(rows), batch):
        some = range(begin, min(begin + batch, len(rows)))
        for at, found in zip(some, log_probs([rows[at] for at in some]), strict=True):
            if not counted[at].any() or counted[at][0]:
                raise ValueError(
                    f"counted[{at}]: found nothing, or the first id; allowed: ids behind another"
                )
            bits[at] = -float(np.asarray(found, np.float64)[counted[at]].sum()) / math.log(2)
        if progress:
            progress(some.stop, len(rows))
    return ratio(bits, np.asarray(characters, dtype=np.float64))


def baseline_answers(train: Sequence[Couplet], held_out: Sequence[Couplet], n: int = 5) -> Interval:
    """The same by an n-gram model over characters, which reads the upper line, a break, and the lower line.

    Its vocabulary holds the held-out characters, too, which is to its advantage.
    """
    from tokenloom.evals.ngram import count

    letters = {"\n": 0}
    for pair in (*train, *held_out):
        for letter in pair.upper + pair.lower:
            letters.setdefault(letter, len(letters))

    def ids(pair: Couplet) -> np.ndarray:
        return np.array([letters[letter] for letter in f"{pair.upper}\n{pair.lower}\n"], dtype=np.int64)

    model = count([ids(pair) for pair in train], len(letters), n, fallback=(0.5, 1.0, 1.5))
    rows = [ids(pair) for pair in held_out]
    counted = []
    for pair, row in zip(held_out, rows, strict=True):
        lower = np.zeros(row.shape, dtype=bool)
        lower[len(pair.upper) + 1 : -1] = True
        counted.append(lower)
    return fit_answers(model.score, rows, counted, [len(pair.lower) for pair in held_out], batch=4096)

"""How well a model matches a lower line to an upper one: bits beside an n-gram's, and what its answers keep.

Not the n-gram's own bits (couplets.baseline_answers) and not taste. Of the answers three plain things are
counted: whether they are as long as the upper line, whether a character comes twice, and whether they stand
in the training lines letter for letter; each beside the share among real lower lines.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tokenloom.data.couplets import Couplet
from tokenloom.engine.request import Sampling
from tokenloom.evals.ask import Pair, Progress
from tokenloom.evals.interval import Interval, mean, ratio
from tokenloom.evals.open import Opened
from tokenloom.tokens.chat import encode_chat
from tokenloom.tokens.text import Tokenizer

SAMPLING = Sampling(temperature=0.7, top_p=0.95)
"""As `loom chat` draws."""
SEED = 0
MOST_TOKENS = 32


@dataclass(frozen=True, slots=True)
class Kept:
    """Shares of lower lines."""

    equal_length: Interval
    """As long as the upper line."""
    repeated: Interval
    """With a character that comes twice in the pair."""
    copied: Interval
    """That stand whole in a training line."""

    def facts(self) -> dict[str, Any]:
        """As JSON holds it."""
        return asdict(self)


def prompt(tokenizer: Tokenizer, upper: str) -> list[int]:
    """The ids that ask for a lower line, as serving sends them."""
    return encode_chat(tokenizer, [{"role": "user", "content": upper}])


def matching_bits(opened: Opened, pairs: Sequence[Couplet], progress: Progress | None = None) -> Interval:
    """Bits per character of the lower lines, each given its upper line; where it ends is not counted."""
    tokenizer = opened.tokenizer
    asked = [Pair(tuple(prompt(tokenizer, p.upper)), tuple(tokenizer.encode(p.lower))) for p in pairs]
    scored = opened.scorer.score(asked, progress)
    return ratio([-one.total / math.log(2) for one in scored], [float(len(pair.lower)) for pair in pairs])


def answers(opened: Opened, uppers: Sequence[str], progress: Progress | None = None) -> list[str]:
    """A lower line to each upper line; the same ones each time."""
    rows = opened.writer.write(
        [prompt(opened.tokenizer, upper) for upper in uppers],
        max_tokens=MOST_TOKENS,
        sampling=SAMPLING,
        seed=SEED,
        progress=progress,
    )
    return [row[0].text for row in rows]


def kept(pairs: Sequence[tuple[str, str]], train: Sequence[Couplet]) -> Kept:
    """What pairs of an upper line and an answer keep. ValueError where there are none."""
    known = {line for pair in train for line in (pair.upper, pair.lower)}
    return Kept(
        equal_length=mean([float(len(upper) == len(answer)) for upper, answer in pairs]),
        repeated=mean([float(len(set(upper + answer)) < len(upper + answer)) for upper, answer in pairs]),
        copied=mean([float(answer in known) for _, answer in pairs]),
    )


def scores(found: Mapping[str, Interval], where: str, settings: str) -> list[dict[str, Any]]:
    """Rows of a run's evals.jsonl, as `loom report` shows them."""
    return [
        {"set": where, "metric": name, **interval.facts(), "settings": settings}
        for name, interval in found.items()
    ]

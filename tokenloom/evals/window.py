"""Bits per byte, bits per character and perplexity of texts, with a sliding window over long ones.

Every id is scored once. After the first window each has at least `window - stride` ids before it: the smaller
the stride, the more context, the longer it takes. Windows are computed anew, so positions start at 0 in each.
Source: the strided evaluation of the transformers documentation ("Perplexity of fixed-length models"), after
Press et al. 2020, "Shortformer", arXiv:2012.15832, section 2 (sliding window against non-overlapping).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tokenloom.evals.ask import Pair, Progress, Scorer
from tokenloom.evals.interval import LEVEL, RESAMPLES, Interval, ratio

if TYPE_CHECKING:
    from tokenloom.tokens.text import Tokenizer

WINDOW = 1024
BATCH_TOK = 1 << 15
"""Ids handed to the scorer at once."""


@dataclass(frozen=True, slots=True)
class Document:
    """A text as ids (T,), and how much text those after the first one stand for."""

    ids: tuple[int, ...]
    bytes: int
    """UTF-8 bytes of the ids that are scored."""
    characters: int
    name: str = ""


@dataclass(frozen=True, slots=True)
class Fit:
    """How well a model foretells texts."""

    documents: int
    tokens: int
    """Ids scored."""
    bytes: int
    characters: int
    nats: float
    """Negative natural log-probability of all of them."""
    bits_per_byte: Interval
    bits_per_character: Interval
    perplexity: Interval
    """Per token of this tokenizer: not to be compared between tokenizers."""
    window: int
    stride: int

    def facts(self) -> dict[str, Any]:
        """As JSON holds it."""
        counts = {name: getattr(self, name) for name in ("documents", "tokens", "bytes", "characters")}
        scores = {
            name: getattr(self, name).facts()
            for name in ("bits_per_byte", "bits_per_character", "perplexity")
        }
        return {**counts, "nats": self.nats, **scores, "window": self.window, "stride": self.stride}


def document(text: str, tokenizer: Tokenizer, *, start: int | None = None, name: str = "") -> Document:
    """A text as ids. start: an id put in front, so that the first one is scored too; None = it is not, and
    its bytes do not count. ValueError where nothing is left to score."""
    ids = tokenizer.encode(text)
    raw = text.encode()
    if start is None and ids:
        first = tokenizer.token_bytes(ids[0])
        skip = len(first) - (tokenizer.spelling.strip and first.startswith(b" "))
        raw = raw[skip:]
    row = ids if start is None else [start, *ids]
    if len(row) < 2:
        raise ValueError(f"text{f' of {name}' if name else ''}: nothing to score in {len(ids)} tokens")
    # A character counts where its first byte is: its later bytes are 10xxxxxx.
    return Document(tuple(row), len(raw), sum(byte & 0xC0 != 0x80 for byte in raw), name)


def start_id(tokenizer: Tokenizer) -> int | None:
    """What stands in front of a text to be scored: the begin token, else an end token, else nothing."""
    if tokenizer.bos_id is not None:
        return tokenizer.bos_id
    return tokenizer.eos_ids[0] if tokenizer.eos_ids else None


def pairs(ids: Sequence[int], window: int, stride: int) -> Iterator[Pair]:
    """The windows over ids (T,): every id but the first is in one continuation, in order.

    window: ids of context and continuation together; stride: new ids in each window after the first.
    """
    _check(window, stride)
    known = 1
    for begin in range(0, len(ids), stride):
        end = min(begin + window, len(ids))
        if end > known:
            yield Pair(tuple(ids[begin:known]), tuple(ids[known:end]))
        known = max(known, end)
        if end == len(ids):
            return


def fit(
    scorer: Scorer,
    documents: Iterable[Document],
    *,
    window: int | None = None,
    stride: int | None = None,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
    seed: int = 0,
    progress: Progress | None = None,
) -> Fit:
    """Scores documents; intervals by drawing documents anew.

    window: None = 1,024 or the model's context if that is less; stride: None = half the window. progress is
    told of ids scored. ValueError for a window the model does not hold, and where there is no document.
    """
    size = min(WINDOW, scorer.context) if window is None else window
    step = max(1, size // 2) if stride is None else stride
    _check(size, step)
    if size > scorer.context:
        raise ValueError(f"window: found {size}; the model's context holds {scorer.context}")
    texts = list(documents)
    if not texts:
        raise ValueError("documents: found none; needs one text or more")
    nats = np.zeros(len(texts))
    whole, done = sum(len(one.ids) - 1 for one in texts), 0
    for batch in _batches((at, pair) for at, one in enumerate(texts) for pair in pairs(one.ids, size, step)):
        for (at, pair), scored in zip(batch, scorer.score([pair for _, pair in batch]), strict=True):
            nats[at] -= scored.total
            done += len(pair.continuation)
        if progress is not None:
            progress(done, whole)
    rows = [
        (float(n), len(one.ids) - 1, one.bytes, one.characters) for n, one in zip(nats, texts, strict=True)
    ]
    return _fit(rows, size, step, resamples, level, seed)


def _fit(
    rows: Sequence[tuple[float, int, int, int]],
    window: int,
    stride: int,
    resamples: int,
    level: float,
    seed: int,
) -> Fit:
    nats, tokens, size, characters = (np.array(column, np.float64) for column in zip(*rows, strict=True))

    def per(below: np.ndarray, unit: float) -> Interval:
        return ratio(nats / unit, below, resamples=resamples, level=level, seed=seed)

    mean = per(tokens, 1.0)
    return Fit(
        documents=len(rows),
        tokens=int(tokens.sum()),
        bytes=int(size.sum()),
        characters=int(characters.sum()),
        nats=math.fsum(nats),
        bits_per_byte=per(size, math.log(2)),
        bits_per_character=per(characters, math.log(2)),
        perplexity=Interval(
            _exp(mean.value),
            None if mean.low is None else _exp(mean.low),
            None if mean.high is None else _exp(mean.high),
            level,
            mean.n,
        ),
        window=window,
        stride=stride,
    )


def _exp(value: float) -> float:
    return math.exp(value) if value < 700 else math.inf


def _batches(work: Iterable[tuple[int, Pair]]) -> Iterator[list[tuple[int, Pair]]]:
    batch: list[tuple[int, Pair]] = []
    held = 0
    for at, pair in work:
        batch.append((at, pair))
        held += len(pair.context) + len(pair.continuation)
        if held >= BATCH_TOK:
            yield batch
            batch, held = [], 0
    if batch:
        yield batch


def _check(window: int, stride: int) -> None:
    if window < 2:
        raise ValueError(f"window: found {window}; allowed: 2 or more")
    if not 1 <= stride < window:
        raise ValueError(f"stride: found {stride}; allowed: 1 to {window - 1}, less than the window")

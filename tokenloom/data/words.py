"""Words, stop words and keywords, for classical uses: counting, clouds, search. Not for training a GPT.

A GPT keeps every word and needs no segmentation: its tokenizer learns its own pieces from bytes. English is
split at what is no letter or digit, Chinese by jieba's dictionary and hidden Markov model. Keywords are
ranked by TF-IDF with smoothed document frequencies (Salton and Buckley 1988; the smoothing as in
scikit-learn), so that one document alone is ranked by its counts.
"""

from __future__ import annotations

import logging
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

PIECE = re.compile(
    r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\u3007]+|[^\W\u3400-\u9fff\uf900-\ufaff]+(?:['’-]\w+)*"
)
ENGLISH_STOP_WORDS = frozenset(
    re.findall(
        r"\S+",
        """a about above after again against all also am an and any are as at be because been before being
        below between both but by can could did do does doing don't down during each few for from further
        had has have having he her here hers herself him himself his how i if in into is isn't it its
        itself just let me might more most must my myself no nor not now of off on once only or other our
        ours ourselves out over own same shall she should so some such than that the their theirs them
        themselves then there these they this those through to too under until up upon us very was we were
        what when where which while who whom why will with would you your yours yourself yourselves""",
    )
)
CHINESE_STOP_WORDS = frozenset(
    re.findall(
        r"\S+",
        """的 了 是 在 和 与 與 及 或 而 也 都 就 还 還 又 不 没 沒 没有 沒有 有 我 你 您 他 她 它 我们 我們
        你们 你們 他们 他們 她们 她們 它们 它們 这 這 那 这个 這個 那个 那個 这些 這些 那些 这样 這樣 那样
        那樣 这里 這裡 那里 那裡 什么 什麼 怎么 怎麼 为什么 為什麼 哪 哪里 哪裡 谁 誰 一 一个 一個 一些
        一种 一種 个 個 们 們 之 其 以 于 於 为 為 因为 因為 所以 但 但是 如果 虽然 雖然 而且 并 並 并且
        並且 或者 以及 对 對 对于 對於 把 被 让 讓 使 从 從 到 向 由 给 給 比 等 着 著 过 過 吗 嗎 呢 吧
        啊 很 更 最 太 再 只 可 可以 能 能够 能夠 会 會 要 说 說 上 下 中 里 裡 来 來 去 者 所 乃 焉 矣 兮
        乎 哉""",
    )
)
STOP_WORDS = ENGLISH_STOP_WORDS | CHINESE_STOP_WORDS


@dataclass(frozen=True, slots=True)
class Keyword:
    """A word, how often it occurs, in how many documents, and its TF-IDF over the collection."""

    word: str
    count: int
    documents: int
    tf_idf: float


def segment(text: str, *, keep_stop_words: bool = True) -> list[str]:
    """The words of a text in order, punctuation left out; English in lower case."""
    return list(_words(text, keep_stop_words))


def keywords(texts: Iterable[str], *, top: int = 50, keep_stop_words: bool = False) -> list[Keyword]:
    """The `top` words of a collection by TF-IDF, the highest first; equal ones in the words' own order.

    tf_idf = sum over documents of count / words of the document, times ln((1 + N) / (1 + df)) + 1.
    """
    if top < 1:
        raise ValueError(f"top: found {top}; allowed is 1 or more")
    total: Counter[str] = Counter()
    found_in: Counter[str] = Counter()
    share: dict[str, float] = {}
    n = 0
    for text in texts:
        counts = Counter(_words(text, keep_stop_words))
        size = counts.total()
        n += 1
        total.update(counts)
        found_in.update(counts.keys())
        for word, count in counts.items():
            share[word] = share.get(word, 0.0) + count / size
    made = [
        Keyword(word, total[word], df, share[word] * (math.log((1 + n) / (1 + df)) + 1))
        for word, df in found_in.items()
    ]
    return sorted(made, key=lambda k: (-k.tf_idf, k.word))[:top]


def _words(text: str, keep_stop_words: bool) -> Iterator[str]:
    for match in PIECE.finditer(text):
        piece = match.group()
        parts = _jieba().lcut(piece) if "\u3007" <= piece[0] <= "\ufaff" else [piece.lower()]
        for word in parts:
            if keep_stop_words or word.replace("’", "'") not in STOP_WORDS:
                yield word


@cache
def _jieba() -> Any:
    import jieba

    jieba.setLogLevel(logging.WARNING)
    return jieba

"""Scores of texts beside references: BLEU and chrF, ROUGE, exact match and F1.

Not the writing of the texts. BLEU and chrF are sacrebleu's and ROUGE is rouge-score's, as they come, with
their settings in the result; Chinese is cut into characters. Every score has its interval over the texts.
Sources: Post 2018, arXiv:1804.08771 (sacrebleu); Popovic 2015 (chrF); Lin 2004 (ROUGE); Rajpurkar et al.
2016, arXiv:1606.05250 (SQuAD's exact match and F1).
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tokenloom.evals.interval import LEVEL, RESAMPLES, Interval, mean

HAN = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af"
"""Ranges of Chinese characters, for use inside [ ]."""
_HAN = re.compile(f"[{HAN}]")
_PUNCTUATION = str.maketrans("", "", string.punctuation)
_MARKS = re.compile(
    r"[\u3000-\u303f\uff01-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65\u2014\u2018-\u201d\u2026]"
)
"""Chinese punctuation."""
_ARTICLES = re.compile(r"\b(a|an|the)\b")
ROUGE_KINDS = ("rouge1", "rouge2", "rougeL", "rougeLsum")


@dataclass(frozen=True, slots=True)
class Score:
    """One number of a set of texts."""

    name: str
    interval: Interval
    settings: str = ""
    """What a comparison must share: sacrebleu's signature, the tokenizer."""

    def facts(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {"metric": self.name, **self.interval.facts(), "settings": self.settings}


def has_han(texts: Sequence[str]) -> bool:
    return any(_HAN.search(text) for text in texts)


def words(text: str) -> list[str]:
    """Lower-case words and numbers; each Chinese character is a word of its own."""
    return re.findall(rf"[{HAN}]|[^\W{HAN}]+", text.lower())


def check(answers: Sequence[str], references: Sequence[Sequence[str]]) -> None:
    """ValueError unless there is an answer, and one reference or more for each."""
    if not answers:
        raise ValueError("answers: found none; needs one or more")
    if len(answers) != len(references):
        raise ValueError(
            f"references: found {len(references)} for {len(answers)} answers; needs one set each"
        )
    for at, refs in enumerate(references):
        if isinstance(refs, str) or not refs:
            raise ValueError(f"references[{at}]: found {refs!r}; needs a list of one text or more")


def bleu(
    answers: Sequence[str],
    references: Sequence[Sequence[str]],
    *,
    tokenize: str | None = None,
    resamples: int = RESAMPLES,
) -> Score:
    """Corpus BLEU of 0 to 100; the interval by drawing texts anew (Koehn 2004).

    tokenize: sacrebleu's name; None = zh where a reference has Chinese characters, else 13a.
    """
    from sacrebleu.metrics.bleu import BLEU

    check(answers, references)
    kind = tokenize or ("zh" if has_han([text for refs in references for text in refs]) else "13a")
    if kind not in BLEU.TOKENIZERS:
        raise ValueError(f"tokenize: found {kind!r}; allowed: {', '.join(sorted(BLEU.TOKENIZERS))}")
    return _sacre("bleu", BLEU(tokenize=kind), answers, references, resamples)


def chrf(
    answers: Sequence[str],
    references: Sequence[Sequence[str]],
    *,
    word_order: int = 0,
    resamples: int = RESAMPLES,
) -> Score:
    """Corpus chrF of 0 to 100; word_order 2 is chrF++."""
    from sacrebleu.metrics.chrf import CHRF

    check(answers, references)
    name = "chrf" + "+" * word_order
    return _sacre(name, CHRF(word_order=word_order), answers, references, resamples)


def _sacre(
    name: str, metric: Any, answers: Sequence[str], references: Sequence[Sequence[str]], resamples: int
) -> Score:
    # sacrebleu wants reference k of every text together; texts with fewer have none there.
    most = max(len(refs) for refs in references)
    columns = [[refs[k] if k < len(refs) else None for refs in references] for k in range(most)]
    value = float(metric.corpus_score(list(answers), columns).score)
    settings = metric.get_signature().format()
    if len(answers) < 2:
        return Score(name, Interval(value, n=len(answers)), settings)
    # Its own bootstrap holds all draws at once and fails where one of them scores nothing.
    stats = np.array(metric._extract_corpus_statistics(list(answers), columns), np.float64)
    random = np.random.default_rng(0)
    drawn = [
        metric._compute_score_from_stats(
            stats[random.integers(0, len(stats), len(stats))].sum(0).tolist()
        ).score
        for _ in range(resamples)
    ]
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Score(name, Interval(value, float(low), float(high), LEVEL, len(answers)), settings)


class RougeWords:
    """rouge-score's own words (a to z and digits), and each Chinese character as one."""

    def __init__(self, stem: bool = False) -> None:
        from rouge_score.tokenizers import DefaultTokenizer

        self._latin = DefaultTokenizer(stem)

    def tokenize(self, text: str) -> list[str]:
        if not _HAN.search(text):
            return list(self._latin.tokenize(text))
        out: list[str] = []
        for part in re.split(f"([{HAN}])", text):
            out += [part] if _HAN.match(part) else self._latin.tokenize(part)
        return out


def rouge(
    answers: Sequence[str],
    references: Sequence[Sequence[str]],
    *,
    kinds: Sequence[str] = ROUGE_KINDS,
    stem: bool = False,
    resamples: int = RESAMPLES,
) -> list[Score]:
    """F-measures of 0 to 1, the mean over texts; of several references the best counts."""
    from rouge_score.rouge_scorer import RougeScorer

    check(answers, references)
    if unknown := sorted(set(kinds) - set(ROUGE_KINDS)):
        raise ValueError(f"kinds: found {', '.join(unknown)}; allowed: {', '.join(ROUGE_KINDS)}")
    scorer = RougeScorer(list(kinds), tokenizer=RougeWords(stem))
    rows = [scorer.score_multi(list(refs), text) for text, refs in zip(answers, references, strict=True)]
    settings = "rouge-score, Chinese by characters" + (", stemmed" if stem else "")
    return [
        Score(kind, mean([row[kind].fmeasure for row in rows], resamples=resamples), settings)
        for kind in kinds
    ]


def normal(text: str) -> str:
    """SQuAD's normal form: lower case, without punctuation, articles and extra blanks. In a text with Chinese
    characters their punctuation goes too."""
    text = text.lower().translate(_PUNCTUATION)
    if _HAN.search(text):
        text = _MARKS.sub("", text)
    return " ".join(_ARTICLES.sub(" ", text).split())


def _pieces(text: str) -> list[str]:
    """The words of a normal form; each Chinese character is one."""
    return re.sub(f"([{HAN}])", r" \1 ", normal(text)).split()


def exact(answer: str, reference: str) -> float:
    """1 where both have one normal form, else 0."""
    return float(normal(answer) == normal(reference))


def f1(answer: str, reference: str) -> float:
    """Harmonic mean of precision and recall over words; SQuAD 1.1's, so that without a word in common it is
    0, also where both are empty."""
    found, want = _pieces(answer), _pieces(reference)
    common = sum((Counter(found) & Counter(want)).values())
    return 2 * common / (len(found) + len(want)) if common else 0.0


def squad(
    answers: Sequence[str], references: Sequence[Sequence[str]], *, resamples: int = RESAMPLES
) -> list[Score]:
    """exact_match and f1 of 0 to 100; of several references the best counts."""
    check(answers, references)

    def over(kind: Callable[[str, str], float]) -> Interval:
        best = [
            100 * max(kind(text, ref) for ref in refs) for text, refs in zip(answers, references, strict=True)
        ]
        return mean(best, resamples=resamples)

    return [
        Score("exact_match", over(exact), "SQuAD 1.1"),
        Score("f1", over(f1), "SQuAD 1.1, Chinese by characters"),
    ]


METRICS: dict[str, Callable[[Sequence[str], Sequence[Sequence[str]]], list[Score]]] = {
    "bleu": lambda answers, references: [bleu(answers, references)],
    "chrf": lambda answers, references: [chrf(answers, references)],
    "rouge": lambda answers, references: rouge(answers, references),
    "squad": lambda answers, references: squad(answers, references),
}
"""By the names `loom eval` takes."""


def score(names: Sequence[str], answers: Sequence[str], references: Sequence[Sequence[str]]) -> list[Score]:
    """The scores of these metrics, in order."""
    if unknown := sorted(set(names) - set(METRICS)):
        raise ValueError(f"metric: found {', '.join(unknown)}; allowed: {', '.join(METRICS)}")
    return [found for name in names for found in METRICS[name](answers, references)]

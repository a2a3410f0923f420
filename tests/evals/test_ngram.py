"""Kneser-Ney against a slow plain reference; the measure of verse; the baselines."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from tokenloom.data.couplets import Couplet
from tokenloom.data.poem_set import character_tokenizer, count_characters
from tokenloom.evals.couplets import baseline_answers, fit_answers
from tokenloom.evals.ngram import KneserNey, count, discounts_of
from tokenloom.evals.poems import baseline, baseline_of_bodies, characters, fit_poems, verse_shares
from tokenloom.tokens.text import Tokenizer
from tokenloom.tokens.verse import layout

VOCAB = 12
FALLBACK = (0.5, 1.0, 1.5)


def chains(seed: int, n: int) -> list[np.ndarray]:
    """Documents of a Markov chain."""
    random = np.random.default_rng(seed)
    table = np.random.default_rng(0).dirichlet(np.ones(VOCAB) * 0.3, size=VOCAB)
    found = []
    for _ in range(n):
        ids = [int(random.integers(VOCAB))]
        for _ in range(int(random.integers(1, 9))):
            ids.append(int(random.choice(VOCAB, p=table[ids[-1]])))
        found.append(np.array(ids))
    return found


def reference(documents: Sequence[np.ndarray], n: int) -> Callable[[int, tuple[int, ...]], float]:
    """p(word, history of n - 1) as the paper writes it, by dictionaries."""
    raw: list[Counter[tuple[int, ...]]] = [Counter() for _ in range(n + 1)]
    for document in documents:
        text = [VOCAB] * (n - 1) + [int(id) for id in document]
        for at in range(n - 1, len(text)):
            for k in range(1, n + 1):
                raw[k][tuple(text[at - k + 1 : at + 1])] += 1
    counts: list[dict[tuple[int, ...], int]] = [{} for _ in range(n + 1)]
    for k in range(1, n + 1):
        for gram, times in raw[k].items():
            kinds = sum((before, *gram) in raw[k + 1] for before in range(VOCAB + 1)) if k < n else times
            counts[k][gram] = times if gram[0] == VOCAB else kinds
    taken: list[tuple[float, ...]] = [()]
    for k in range(1, n + 1):
        seen = Counter(counts[k].values())
        if not (seen[1] and seen[2] and seen[3]):
            taken.append((0.0, *FALLBACK))
            continue
        share = seen[1] / (seen[1] + 2 * seen[2])
        steps = [m - (m + 1) * share * seen[m + 1] / seen[m] for m in (1, 2, 3)]
        taken.append((0.0, *steps))

    def p(word: int, history: tuple[int, ...]) -> float:
        k = len(history) + 1
        lower = p(word, history[1:]) if history else 1 / VOCAB
        after = {gram: times for gram, times in counts[k].items() if gram[:-1] == history}
        total = sum(after.values())
        if not total:
            return lower
        own = after.get((*history, word), 0)
        left = sum(taken[k][min(times, 3)] for times in after.values())
        return max(own - taken[k][min(own, 3)], 0) / total + left / total * lower

    return p


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5])
def test_as_the_plain_reference(n: int) -> None:
    documents = chains(1, 300)
    model, p = count(documents, VOCAB, n, fallback=FALLBACK), reference(documents, n)
    assert model.n == n
    for document, logs in zip(chains(2, 12), model.score(chains(2, 12)), strict=True):
        text = [VOCAB] * n + [int(id) for id in document]
        expected = [p(text[at], tuple(text[at - n + 1 : at])) for at in range(n, len(text))]
        np.testing.assert_allclose(np.exp(logs), expected, rtol=1e-12)


@pytest.mark.parametrize("history", [[], [3], [1, 2], [5, 5, 5, 5, 5], [0, 7, 2, 11, 4, 3]])
def test_probabilities_sum_to_one(history: list[int]) -> None:
    model = count(chains(1, 300), VOCAB, 4, fallback=FALLBACK)
    found = model.distribution(history)
    assert found.shape == (VOCAB,)
    assert (found > 0).all()
    assert found.sum() == pytest.approx(1, abs=1e-12)


def test_longer_contexts_and_more_text_help() -> None:
    held_out = chains(9, 200)

    def bits(model: KneserNey) -> float:
        return -float(np.concatenate(model.score(held_out)).mean()) / math.log(2)

    one, two = (count(chains(1, 400), VOCAB, n, fallback=FALLBACK) for n in (1, 2))
    more = count(chains(1, 4000), VOCAB, 2, fallback=FALLBACK)
    assert bits(more) < bits(two) < bits(one) - 0.3


def test_documents_do_not_see_each_other() -> None:
    model = count(chains(1, 300), VOCAB, 3, fallback=FALLBACK)
    some = chains(4, 3)
    together = model.score(some)
    for alone, one in zip(some, together, strict=True):
        np.testing.assert_array_equal(model.score([alone])[0], one)
    assert model.score([]) == []


def test_discounts_are_the_papers() -> None:
    counts = np.repeat([1, 2, 3, 4, 9], [40, 12, 6, 3, 5])
    share = 40 / 64
    expected = (0.0, 1 - 2 * share * 12 / 40, 2 - 3 * share * 6 / 12, 3 - 4 * share * 3 / 6)
    assert discounts_of(counts, 2) == pytest.approx(expected)
    with pytest.raises(ValueError, match="0 n-grams of length 2"):
        discounts_of(np.array([1, 2, 9]), 2)
    assert discounts_of(np.array([1, 2, 9]), 2, FALLBACK) == (0.0, *FALLBACK)


@pytest.mark.parametrize(
    ("documents", "n", "words"),
    [([], 3, "found none"), ([np.array([0, 12])], 3, "found id 12"), ([np.array([0])], 0, "found 0")],
)
def test_wrong_input_is_named(documents: list[np.ndarray], n: int, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        count(documents, VOCAB, n)


BODIES = [
    "白日依山尽，黄河入海流。\n欲穷千里目，更上一层楼。",
    "春眠不觉晓，处处闻啼鸟。\n夜来风雨声，花落知多少。",
]
TEXTS = [layout("登楼", "五言绝句", BODIES[0]), layout("", "五言绝句", BODIES[1])]


def poet() -> Tokenizer:
    return Tokenizer(character_tokenizer(count_characters(TEXTS), least=1))


def test_bits_are_of_the_body_and_over_its_characters() -> None:
    tokenizer = poet()

    def each_two_bits(rows: Sequence[np.ndarray]) -> list[np.ndarray]:
        return [np.full(len(row), -2 * math.log(2)) for row in rows]

    found = fit_poems(each_two_bits, TEXTS, tokenizer)
    ids = sum(len(tokenizer.encode(body)) for body in BODIES)  # line breaks are ids, but no characters
    assert characters(BODIES[0]) == 24
    assert found.body.value == pytest.approx(2 * ids / 48)
    whole = sum(len(tokenizer.encode_control(text)) - 1 for text in TEXTS)
    assert found.whole.value == pytest.approx(2 * whole / (48 + 2 + 8))
    assert found.by_form == {"五言绝句": pytest.approx(2 * ids / 48)}
    with pytest.raises(ValueError, match="no number"):
        fit_poems(lambda rows: [np.full(len(row), np.nan) for row in rows], TEXTS, tokenizer)
    with pytest.raises(ValueError, match=r"allowed: <\|title\|>"):
        fit_poems(each_two_bits, ["白日"], tokenizer)


def test_only_the_body_counts() -> None:
    tokenizer = poet()
    poem, end = tokenizer.special["<|poem|>"], tokenizer.special["<|end|>"]

    def sees_the_body(rows: Sequence[np.ndarray]) -> list[np.ndarray]:
        found = []
        for row in rows:
            logs = np.full(len(row), -99.0)
            logs[list(row).index(poem) + 1 : list(row).index(end)] = 0.0
            found.append(logs)
        return found

    fit = fit_poems(sees_the_body, TEXTS, tokenizer, batch=1)
    assert fit.body.value == 0
    assert fit.whole.value > 10


def test_baselines_of_poems() -> None:
    tokenizer = poet()
    rows = [np.array(tokenizer.encode_control(text)) for text in TEXTS * 3]
    _, fit = baseline(rows, TEXTS, tokenizer, n=3)
    alone = baseline_of_bodies(rows, TEXTS, tokenizer, n=3)
    assert 0 < fit.body.value < 2
    assert 0 < alone.value < 2
    _, other = baseline(rows[:1] * 3, TEXTS[1:], tokenizer, n=3)
    assert other.body.value > fit.body.value + 3


def test_baseline_of_couplets() -> None:
    pairs = [Couplet("白日依山尽", "黄河入海流", "a:1"), Couplet("明月松间照", "清泉石上流", "a:2")] * 2
    known = baseline_answers(pairs, pairs[:2], n=3)
    unknown = baseline_answers(pairs, [Couplet("大漠孤烟直", "长河落日圆", "b:1")], n=3)
    assert known.value < 1.5 < 4 < unknown.value


def test_answers_count_where_they_are_marked() -> None:
    rows = [np.arange(4), np.arange(3)]
    counted = [np.array([False, False, True, True]), np.array([False, True, False])]
    found = fit_answers(lambda some: [-np.log(2.0) * row for row in some], rows, counted, [2, 1])
    assert found.value == pytest.approx((2 + 3 + 1) / 3)
    with pytest.raises(ValueError, match=r"counted\[0\]"):
        fit_answers(lambda some: list(some), rows[:1], [np.zeros(4, dtype=bool)], [1])


def test_shares_of_rules_that_are_kept() -> None:
    found = verse_shares(
        [(BODIES[0], "五言绝句"), (BODIES[1], "五言绝句"), ("一。", "词·没有这个"), ("一。", "杂言诗")]
    )
    assert found["五言绝句"] == {"n": 2, "lines": 1, "lengths": 1, "rhyme": 1, "tones": 0.5, "right": 0.5}
    assert found["all"]["n"] == 3
    assert "词" not in found

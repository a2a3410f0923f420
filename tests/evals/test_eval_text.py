"""Scores beside references: values by hand, sacrebleu's and rouge-score's own, Chinese, wrong inputs."""

from __future__ import annotations

import math

import pytest
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu import corpus_bleu, corpus_chrf

from tokenloom.evals import text

ANSWERS = ["The cat sat on the mat.", "It is raining again today", "He bought 3 red apples, didn't he?"]
REFERENCES = [
    ["The cat is on the mat.", "There is a cat on the mat."],
    ["Today it rains again."],
    ["He bought three red apples.", "He has bought 3 red apples, hasn't he?"],
]
POEM, TRUE = (
    ["牀前明月光，疑是地上霜。", "白日依山盡"],
    [["床前明月光，疑是地上霜。"], ["白日依山盡，黃河入海流。"]],
)


def columns(references: list[list[str]]) -> list[list[str | None]]:
    most = max(map(len, references))
    return [[refs[k] if k < len(refs) else None for refs in references] for k in range(most)]


def test_bleu_and_chrf_are_sacrebleus() -> None:
    found = text.bleu(ANSWERS, REFERENCES)
    assert found.interval.value == pytest.approx(corpus_bleu(ANSWERS, columns(REFERENCES)).score, abs=1e-9)
    assert "tok:13a" in found.settings
    assert found.interval.low is not None
    assert found.interval.high is not None
    assert found.interval.low < found.interval.value < found.interval.high
    assert text.chrf(ANSWERS, REFERENCES).interval.value == pytest.approx(
        corpus_chrf(ANSWERS, columns(REFERENCES)).score, abs=1e-9
    )
    plus = text.chrf(ANSWERS, REFERENCES, word_order=2)
    assert plus.name == "chrf++"
    assert plus.interval.value == pytest.approx(
        corpus_chrf(ANSWERS, columns(REFERENCES), word_order=2).score, abs=1e-9
    )


def test_bleu_by_hand() -> None:
    """Precisions 5/6, 3/5, 2/4, 1/3 and equal lengths."""
    found = text.bleu(["the cat sat on the mat"], [["the cat sits on the mat"]], resamples=5)
    assert found.interval.low is None
    # 1-grams 5 of 6, 2-grams 3 of 5, 3-grams 1 of 4, 4-grams 0 of 3: smoothed to 1/2 of 1/3 by sacrebleu
    want = 100 * math.exp(sum(map(math.log, (5 / 6, 3 / 5, 1 / 4, 1 / 2 / 3))) / 4)
    assert found.interval.value == pytest.approx(want)


def test_chinese_bleu_is_cut_into_characters() -> None:
    found = text.bleu(POEM, TRUE)
    assert "tok:zh" in found.settings
    assert found.interval.value == pytest.approx(corpus_bleu(POEM, columns(TRUE), tokenize="zh").score)


def test_rouge_is_rouge_scores_on_english() -> None:
    scorer = RougeScorer(list(text.ROUGE_KINDS))
    theirs = [scorer.score_multi(refs, answer) for answer, refs in zip(ANSWERS, REFERENCES, strict=True)]
    for found in text.rouge(ANSWERS, REFERENCES):
        assert found.interval.value == pytest.approx(sum(row[found.name].fmeasure for row in theirs) / 3)


def test_rouge_of_chinese_by_hand() -> None:
    one, two, longest, _ = text.rouge(["春眠不覺曉"], [["春曉眠不覺"]])
    assert one.interval.value == 1.0
    assert two.interval.value == pytest.approx(2 / 4)  # 眠不 and 不覺 of four
    assert longest.interval.value == pytest.approx(4 / 5)  # 春眠不覺
    assert text.RougeWords().tokenize("GPT-2寫詩2首") == ["gpt", "2", "寫", "詩", "2", "首"]


@pytest.mark.parametrize(
    ("answer", "reference", "exact", "f1"),
    [  # figures of HF evaluate's squad
        ("The cat's hat", "cat hat", 0.0, 0.5),
        ("in Paris, France", "Paris", 0.0, 0.5),
        ("a", "the", 1.0, 0.0),
        ("“naïve” — don’t", "naïve don’t", 0.0, 0.4),
        ("1,000 x-rays of the U.S.", "1000 x rays of US", 0.0, 2 * (3 / 4) * (3 / 5) / (3 / 4 + 3 / 5)),
        ("The  Eiffel Tower!", "eiffel tower", 1.0, 1.0),
    ],
)
def test_exact_match_and_f1_are_squads(answer: str, reference: str, exact: float, f1: float) -> None:
    assert text.exact(answer, reference) == exact
    assert text.f1(answer, reference) == pytest.approx(f1)


def test_f1_of_chinese_is_over_characters() -> None:
    assert text.f1("李白。", "李白") == 1.0
    assert text.exact("《靜夜思》", "靜夜思") == 1.0
    assert text.f1("詩人李白", "李白") == pytest.approx(2 * 0.5 * 1 / 1.5)


def test_of_several_references_the_best_counts() -> None:
    exact, f1 = text.squad(["the dog", "no"], [["cat", "dog"], ["yes"]])
    assert exact.interval.value == 50
    assert f1.interval.value == 50
    assert (exact.interval.low, exact.interval.high) == (0, 100)


def test_scores_by_name() -> None:
    names = [found.name for found in text.score(["squad", "rouge", "bleu", "chrf"], ANSWERS, REFERENCES)]
    assert names == ["exact_match", "f1", "rouge1", "rouge2", "rougeL", "rougeLsum", "bleu", "chrf"]
    with pytest.raises(ValueError, match=r"metric: found meteor; allowed: bleu, chrf, rouge, squad"):
        text.score(["meteor"], ANSWERS, REFERENCES)


def test_nothing_in_common_is_zero_and_not_an_error() -> None:
    for found in text.score(["bleu", "chrf", "rouge", "squad"], ["x y", ""], [["k q"], ["z"]]):
        assert found.interval.value == 0
        assert found.interval.low == 0


@pytest.mark.parametrize(
    ("answers", "references", "said"),
    [
        ([], [], "answers: found none"),
        (["a"], [], "found 0 for 1 answers"),
        (["a"], [[]], r"references\[0\]"),
        (["a"], ["text"], r"references\[0\]"),
    ],
)
def test_wrong_inputs_are_named(answers: list[str], references: list[list[str]], said: str) -> None:
    for metric in text.METRICS.values():
        with pytest.raises(ValueError, match=said):
            metric(answers, references)


def test_an_unknown_tokenizer_or_kind_is_named() -> None:
    with pytest.raises(ValueError, match="tokenize: found 'xx'"):
        text.bleu(["a"], [["a"]], tokenize="xx")
    with pytest.raises(ValueError, match="kinds: found rouge9"):
        text.rouge(["a"], [["a"]], kinds=["rouge9"])

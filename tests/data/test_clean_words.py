"""Words, stop words and TF-IDF."""

from __future__ import annotations

import math

import pytest

from tokenloom.data.words import keywords, segment


def test_segment_english_and_chinese() -> None:
    assert segment("The keeper's dog, 3 well-known cats.") == [
        "the",
        "keeper's",
        "dog",
        "3",
        "well-known",
        "cats",
    ]
    assert segment("我们在北京大学学习人工智能。") == ["我们", "在", "北京大学", "学习", "人工智能"]
    assert segment("用PyTorch训练模型") == ["用", "pytorch", "训练", "模型"]
    assert segment("") == []


def test_stop_words_are_left_out_on_request() -> None:
    assert segment("the cat and the dog don’t", keep_stop_words=False) == ["cat", "dog"]
    assert segment("我们的学习", keep_stop_words=False) == ["学习"]


def test_keywords_are_ranked_by_tf_idf() -> None:
    texts = ["cat cat dog", "dog fish", "dog bird bird bird"]
    found = {k.word: k for k in keywords(texts)}
    assert (found["dog"].count, found["dog"].documents) == (3, 3)
    assert found["bird"].tf_idf == pytest.approx(3 / 4 * (math.log(4 / 2) + 1))
    assert found["dog"].tf_idf == pytest.approx(1 / 3 + 1 / 2 + 1 / 4)
    assert [k.word for k in keywords(texts, top=2)] == ["bird", "cat"]


def test_one_document_is_ranked_by_counts() -> None:
    assert [k.word for k in keywords(["the sea, the sea; the ship"])] == ["sea", "ship"]
    assert keywords(["the sea"], keep_stop_words=True)[0].tf_idf == pytest.approx(0.5)
    assert keywords([]) == []
    with pytest.raises(ValueError, match="top: found 0"):
        keywords(["a"], top=0)

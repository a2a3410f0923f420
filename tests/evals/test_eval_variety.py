"""distinct-n, seq-rep-n and intervals: values by hand, and what cannot be counted."""

from __future__ import annotations

import numpy as np
import pytest

from tokenloom.evals import interval
from tokenloom.evals.variety import distinct, repetition, repetitions


def test_distinct_by_hand() -> None:
    texts = [list("abab"), list("ac")]
    assert distinct(texts, 1) == 3 / 6
    assert distinct(texts, 2) == 3 / 4  # ab ba ab ac
    assert distinct(texts, 4) == 1
    assert distinct([[1, 1, 1, 1]], 2) == pytest.approx(1 / 3)


def test_repetition_by_hand() -> None:
    assert repetition("abcabcabc", 3) == pytest.approx(1 - 3 / 7)
    assert repetition("abcdefg", 4) == 0
    assert repetition("abc", 4) is None
    found = repetitions(["aaaaa", "abcde", "x"], 4)
    assert found.value == pytest.approx((0.5 + 0) / 2)
    assert found.n == 2


@pytest.mark.parametrize(
    "call", [lambda: distinct([], 1), lambda: distinct(["a"], 2), lambda: repetitions(["abc"])]
)
def test_too_short_to_count_is_an_error(call: object) -> None:
    with pytest.raises(ValueError, match="tokens or more"):
        call()  # type: ignore[operator]


def test_n_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="n: found 0"):
        distinct(["abc"], 0)


def test_an_interval_holds_what_it_should() -> None:
    """95 % intervals of the mean of 60 draws hold the true mean in about 95 of 100 cases."""
    random = np.random.default_rng(0)
    held = 0
    for seed in range(200):
        found = interval.mean(random.exponential(2.0, 60), resamples=300, seed=seed)
        assert found.low is not None
        assert found.high is not None
        held += found.low <= 2.0 <= found.high
    assert 175 <= held <= 199


def test_an_interval_of_a_ratio_is_of_the_sums() -> None:
    found = interval.ratio([10, 0], [1, 9])
    assert found.value == 1.0
    assert (found.low, found.high) == (0.0, 10.0)


def test_an_interval_of_one_item_has_no_bounds() -> None:
    assert str(interval.mean([0.25])) == "0.25"
    assert interval.mean([0.25]).facts() == {"value": 0.25, "low": None, "high": None, "level": 0.95, "n": 1}


def test_an_interval_from_a_standard_error() -> None:
    found = interval.from_error(0.5, 0.1, 20)
    assert found.low == pytest.approx(0.5 - 1.959964 * 0.1)
    assert interval.from_error(0.5, float("nan"), 20).low is None


def test_nothing_to_score_is_an_error() -> None:
    with pytest.raises(ValueError, match="nothing to score"):
        interval.mean([])
    with pytest.raises(ValueError, match="one number an item"):
        interval.ratio([1, 2], [1])

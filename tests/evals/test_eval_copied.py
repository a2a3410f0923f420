"""Memorisation: planted runs are found whole, and every length is that of a plain search."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenloom.evals.copied import longest_runs


def plainly(answer: str, texts: list[str]) -> int:
    return max(
        (
            j - i
            for i in range(len(answer))
            for j in range(i + 1, len(answer) + 1)
            if any(answer[i:j] in t for t in texts)
        ),
        default=0,
    )


def named(texts: list[str]) -> list[tuple[str, str]]:
    return [(f"text:{at}", text) for at, text in enumerate(texts)]


def test_planted_runs_are_found_with_their_place() -> None:
    draw = random.Random(0)
    texts = ["".join(chr(draw.randrange(0x4E00, 0x9FFF)) for _ in range(500)) for _ in range(300)]
    answers, plants = [], []
    for size in (1, 5, 7, 8, 9, 23, 64, 200, 500):
        text = draw.randrange(len(texts))
        at = draw.randrange(501 - size)
        run = texts[text][at : at + size]
        answers.append("ABC" + run + "xyz")
        plants.append((size, text, run))
    for block in (1000, 1 << 22):
        for found, (size, text, run) in zip(
            longest_runs(answers, named(texts), block=block), plants, strict=True
        ):
            assert (found.length, found.text, found.start) == (size, run, 3)
            assert size == 1 or found.source == f"text:{text}"


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.text("ab", max_size=40), max_size=4),
    st.lists(st.text("ab", max_size=60), min_size=1, max_size=5),
    st.integers(1, 100),
)
def test_lengths_are_those_of_a_plain_search(answers: list[str], texts: list[str], block: int) -> None:
    for found, answer in zip(longest_runs(answers, named(texts), block=block), answers, strict=True):
        assert found.length == plainly(answer, texts)
        assert answer[found.start : found.start + found.length] == found.text
        assert not found.text or found.text in texts[int(found.source.partition(":")[2])]


def test_a_run_does_not_go_from_one_text_into_the_next() -> None:
    assert longest_runs(["abcdef"], [("1", "abc"), ("2", "def")])[0].length == 3


def test_a_whole_copy_and_nothing_in_common() -> None:
    text = "To be, or not to be, that is the question.\n" * 3
    copied, other, empty = longest_runs([text, "ΩΩΩ", ""], [("play", text)])
    assert copied.length == len(text)
    assert (other.length, other.text, other.source) == (0, "", "")
    assert empty.length == 0


def test_long_repeats_are_no_trouble() -> None:
    assert longest_runs(["-" * 5000 + "x"], [("a", "-" * 100_000)])[0].length == 5000


def test_no_training_text_is_an_error() -> None:
    with pytest.raises(ValueError, match="texts: found none"):
        longest_runs(["a"], [])
    assert longest_runs([], [("a", "b")]) == []

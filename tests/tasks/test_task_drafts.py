"""Drafts: which one is kept, by whatever road a poem is asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenloom.engine.drafts import MOST
from tokenloom.serve.schema_sampling import MAX_CHOICES
from tokenloom.tasks import FieldError, build, keep, tasks
from tokenloom.tasks.makers import poem_mark

GOOD = "白日依山尽，黄河入海流。\n欲穷千里目，更上一层楼。"
UNRHYMED = GOOD.replace("一层楼", "一层天")
TONELESS = GOOD.replace("欲穷千里目", "千里欲穷目")
NEITHER = UNRHYMED.replace("欲穷千里目", "千里欲穷目")


def mark(text: str) -> tuple[int, ...]:
    return (int(text),)


def test_the_first_that_keeps_every_rule_is_kept() -> None:
    def kept(*drafts: str) -> list[int]:
        return keep(len(drafts), poem_mark("五言绝句"), drafts, [True] * len(drafts))

    assert kept(UNRHYMED, GOOD, NEITHER, GOOD) == [1]
    assert kept(GOOD, GOOD) == [0]
    assert kept(NEITHER, NEITHER) == [0], "where none is better the first"
    assert kept(NEITHER, UNRHYMED) == [1], "the one that keeps more"
    assert kept(UNRHYMED, TONELESS) == [1], "of two that keep as many the one that rhymes"
    assert kept("白日。", NEITHER) == [1]


def test_a_draft_that_was_cut_off_is_the_last_choice() -> None:
    assert keep(2, poem_mark("五言绝句"), [GOOD, NEITHER], [False, True]) == [1]


@given(st.lists(st.integers(0, 3), min_size=1, max_size=6), st.integers(1, 5), st.data())
def test_each_version_keeps_the_first_of_its_best(heads: list[int], drafts: int, data: st.DataObject) -> None:
    rows = [
        [head, *data.draw(st.lists(st.integers(0, 3), min_size=drafts - 1, max_size=drafts - 1))]
        for head in heads
    ]
    texts = [str(number) for row in rows for number in row]
    kept = keep(drafts, mark, texts, [True] * len(texts))
    assert kept == [at * drafts + row.index(max(row)) for at, row in enumerate(rows)]


def test_one_draft_each_needs_no_mark() -> None:
    assert keep(1, None, ["a", "b"], [True, False]) == [0, 1]


@pytest.mark.parametrize(
    ("values", "choices", "versions"),
    [({}, 4, 1), ({"drafts": 1}, 1, 1), ({"n": 3}, 12, 3), ({"n": 64, "drafts": 2}, 128, 64)],
)
def test_what_the_model_is_asked_for(values: dict[str, Any], choices: int, versions: int) -> None:
    prompt = build(tasks()["poem"], {"poem": "春", **values})
    assert (prompt.sampling["n"], prompt.versions) == (choices, versions)


def test_too_many_are_refused() -> None:
    assert MOST <= MAX_CHOICES
    with pytest.raises(
        FieldError, match=r"^drafts is 4 for each of 64 versions; allowed are 128 drafts in all"
    ):
        build(tasks()["poem"], {"poem": "春", "n": 64})
    with pytest.raises(FieldError, match=r"^drafts is 17; allowed is a whole number, 1 to 16"):
        build(tasks()["poem"], {"poem": "春", "drafts": 17})


@pytest.mark.parametrize("form", ["五言绝句", "七言律诗", "五言古诗", "杂言诗", "词·如梦令"])
def test_every_form_has_a_mark(form: str) -> None:
    judge: Callable[[str], tuple[int, ...]] = poem_mark(form)
    assert judge("") < (4, True)
    assert (
        build(tasks()["poem"], {"poem": "春", "form": form} if "·" in form else {"poem": form}).mark
        is not None
    )

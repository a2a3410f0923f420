"""Duplicates: equal and nearly equal texts are found, different ones kept, the first of a group stays."""

from __future__ import annotations

import random

import numpy as np
import pytest
from clean_texts import CHINESE, CLASSICAL, ENGLISH, varied

from tokenloom.data.duplicates import Duplicates, Seen, Twin, exact_key, shingles, signatures

LONG = " ".join(random.Random(1).choices(ENGLISH.split(), k=1000))


def offer(texts: list[str], rules: Duplicates | None = None) -> list[Twin | None]:
    seen = Seen(rules or Duplicates())
    found = signatures(texts, seen.rules)
    bands = seen.band_keys(found)
    return [seen.offer(exact_key(t), s, b) for t, s, b in zip(texts, found, bands, strict=True)]


def test_exact_duplicates_differ_in_case_and_space_only() -> None:
    assert exact_key(" The  CAT\n") == exact_key("the cat")
    assert exact_key("the cat.") != exact_key("the cat")
    assert offer([ENGLISH, CHINESE, ENGLISH.upper().replace(" ", "\n")]) == [None, None, Twin(0, 1.0, True)]


def test_near_duplicates_are_found_and_others_kept() -> None:
    near, far = varied(LONG, 0.01), varied(LONG, 0.2)
    first, twin, other = offer([LONG, near, far])
    assert first is None
    assert twin is not None
    assert (twin.number, twin.exact) == (0, False)
    assert 0.8 < twin.similarity < 1
    assert other is None


def test_punctuation_and_case_make_no_difference_to_near_duplicates() -> None:
    twin = offer([ENGLISH, ENGLISH.replace(",", " -").replace('"', "“").title()])[1]
    assert twin == Twin(0, 1.0, False)


def test_chinese_near_duplicates() -> None:
    changed = CHINESE.replace("三十年", "四十年")
    assert [t is None for t in offer([CHINESE, CLASSICAL, changed])] == [True, True, False]
    assert len(shingles("春眠不覺曉，處處聞啼鳥。", Duplicates(characters=5))) == 6


def test_the_threshold_is_kept() -> None:
    texts = [LONG, *(varied(LONG, share, seed=i) for i, share in enumerate((0.005, 0.02, 0.05, 0.1)))]
    counts = []
    for threshold in (0.3, 0.5, 0.7, 0.9, 0.99):
        counts.append(sum(t is not None for t in offer(texts, Duplicates(threshold=threshold))))
    assert counts == sorted(counts, reverse=True)
    assert counts[0] == 4
    assert counts[-1] == 0


def test_steps_that_are_off_find_nothing() -> None:
    assert offer([ENGLISH, ENGLISH], Duplicates(exact=False, near=False)) == [None, None]
    twin = offer([ENGLISH, ENGLISH], Duplicates(exact=False))[1]
    assert twin == Twin(0, 1.0, False)
    assert offer([ENGLISH, varied(ENGLISH, 0.01)], Duplicates(near=False))[1] is None


def test_short_and_empty_texts_are_compared_whole() -> None:
    found = offer(["one two", "one, two!", "one three", "!!!", "???", "春眠", "春曉"])
    assert [t is None for t in found] == [True, False, True, True, True, True, True]


def test_bands_find_pairs_at_the_threshold() -> None:
    for threshold in (0.2, 0.5, 0.75, 0.9, 1.0):
        bands, rows = Duplicates(threshold=threshold).bands
        assert bands * rows <= 128
        assert 1 - (1 - threshold**rows) ** bands >= 0.95


def test_what_stayed_can_be_taken_in_again() -> None:
    texts = [varied(LONG, 0.5, seed=i) for i in range(1100)]  # more than the first table holds
    rules = Duplicates()
    found, keys = signatures(texts, rules), [exact_key(t) for t in texts]
    straight, restored = Seen(rules), Seen(rules)
    for key, signature, bands in zip(keys, found, straight.band_keys(found), strict=True):
        assert straight.offer(key, signature, bands) is None
    restored.restore(keys, found)
    again = signatures([varied(t, 0.005) for t in texts[::100]], rules)
    for seen in (straight, restored):
        twins = [seen.offer(b"", s, b) for s, b in zip(again, seen.band_keys(again), strict=True)]
        assert [t.number for t in twins if t] == list(range(0, 1100, 100))


def test_signatures_of_no_texts() -> None:
    assert signatures([], Duplicates()).shape == (0, 128)
    assert signatures(["a"], Duplicates(permutations=64)).dtype == np.uint32


@pytest.mark.parametrize(
    ("field", "value"),
    [("threshold", 0), ("threshold", 1.5), ("words", 0), ("permutations", 8), ("seed", -1)],
)
def test_figures_out_of_range_are_refused(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"clean\.duplicates\.{field}: found {value}"):
        Duplicates(**{field: value})  # type: ignore[arg-type]

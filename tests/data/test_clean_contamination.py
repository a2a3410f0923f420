"""Evaluation sets are kept out: their items found inside longer texts, other texts left alone."""

from __future__ import annotations

import pytest
from clean_texts import CHINESE, CLASSICAL, ENGLISH

from tokenloom.data.clean import Dropped, steps
from tokenloom.data.contamination import Contamination, cut, evaluation, find
from tokenloom.data.record import Record
from tokenloom.data.settings import clean_settings

QUESTION = (
    "How many stairs did the keeper of the northern lighthouse climb each evening before he lit the lamp?"
)
GAOKAO = "下列各句中，没有语病且句意明确的一项是哪一句？请说明你的理由并改正其他各句。"
RULES = Contamination()


def test_an_item_is_found_whatever_its_case_and_punctuation() -> None:
    sets = [evaluation("quiz", [QUESTION], RULES)]
    assert sets[0].runs[0][0] == 13
    hidden = f"{ENGLISH}\n{QUESTION.upper().replace(' ', ', ')}\n{ENGLISH}"
    found = find(hidden, sets)
    assert [f.name for f in found] == ["quiz"]
    first, last = found[0].places[0]
    assert hidden[first:last].startswith("HOW, MANY")
    assert find(ENGLISH, sets) == []


def test_chinese_items_are_found_by_characters() -> None:
    sets = [evaluation("gaokao", [GAOKAO], RULES), evaluation("quiz", [QUESTION], RULES)]
    assert sets[0].runs[0][0] == 20
    assert [f.name for f in find(CHINESE + GAOKAO.replace("，", " "), sets)] == ["gaokao"]
    assert find(CHINESE + CLASSICAL, sets) == []


def test_the_runs_are_as_long_as_the_items_allow() -> None:
    assert (
        evaluation(
            "e", [QUESTION] * 30 + ["one two three four five six seven eight nine ten"] * 5, RULES
        ).runs[0][0]
        == 10
    )
    short = evaluation("e", ["one two three"], RULES)
    assert (short.items, short.too_short, short.runs) == (1, 1, ())
    assert evaluation("e", [], RULES).runs == ()


def test_a_shared_run_shorter_than_n_is_no_contamination() -> None:
    sets = [evaluation("quiz", [QUESTION], RULES)]
    words = QUESTION.split()
    assert find(ENGLISH + " ".join(words[:12]), sets) == []
    assert find(ENGLISH + " ".join(words[:13]), sets) != []


def test_the_document_is_dropped_or_cut() -> None:
    text = ENGLISH + QUESTION + "\n" + ENGLISH
    sets = [evaluation("quiz", [QUESTION], RULES)]
    drop = {s.name: s for s in steps(clean_settings(preset="trusted"), sets)}["contamination"]
    assert drop.apply(Record(text, "x")) == Dropped("evaluation_text", "quiz")
    clean = Record(ENGLISH, "y")
    assert drop.apply(clean) is clean
    settings = clean_settings(preset="trusted", contamination={"cut": True})
    made = {s.name: s for s in steps(settings, sets)}["contamination"].apply(Record(text, "x"))
    assert isinstance(made, Record)
    assert "stairs did" not in made.text
    assert made.text.startswith("The lighthouse")
    assert len(made.text) > 600
    assert not find(made.text, sets)


def test_pieces_shorter_than_what_is_cut_around_go() -> None:
    sets = [evaluation("quiz", [QUESTION], RULES)]
    assert cut(QUESTION + " a short end", find(QUESTION + " a short end", sets), RULES) == []


@pytest.mark.parametrize("around", [0, 1, 37, 200])
def test_no_word_is_cut_apart(around: int) -> None:
    rules = Contamination(around=around)
    text = " ".join(ENGLISH.split()) + " " + QUESTION + " " + " ".join(ENGLISH.split())
    pieces = cut(text, find(text, [evaluation("quiz", [QUESTION], rules)]), rules)
    assert len(pieces) == 2
    assert all(pieces)
    assert pieces[0].split() == ENGLISH.split()[: len(pieces[0].split())]
    assert pieces[1].split() == ENGLISH.split()[-len(pieces[1].split()) :]
    gone = len(text) - sum(map(len, pieces))
    assert 2 * around + 80 <= gone <= 2 * around + len(QUESTION) + 4 * 20


def test_chinese_is_cut_where_it_is_said() -> None:
    text = "甲" * 500 + GAOKAO + "乙" * 500
    pieces = cut(text, find(text, [evaluation("gaokao", [GAOKAO], RULES)]), RULES)
    assert pieces == ["甲" * 300, "乙" * 301]  # the question's full stop is no part of the run


def test_without_sets_there_is_no_step() -> None:
    assert "contamination" not in {s.name for s in steps(clean_settings())}


def test_limits_that_cross_are_refused() -> None:
    with pytest.raises(ValueError, match=r"clean\.contamination\.min_words: found 20; allowed is 1 to 13"):
        Contamination(min_words=20)
    with pytest.raises(ValueError, match=r"clean\.contamination\.around: found -1; allowed is 0 or more"):
        Contamination(around=-1)
    with pytest.raises(ValueError, match=r"clean\.contamination\.max_pieces: found 0; allowed is 1 or more"):
        Contamination(max_pieces=0)

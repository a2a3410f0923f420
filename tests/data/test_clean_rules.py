"""Each rule of cleaning: a text that passes and one that fails it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from clean_texts import CHINESE, CLASSICAL, CODE, ENGLISH

from tokenloom.data import quality
from tokenloom.data.chinese import Chinese, chinese, convert
from tokenloom.data.clean import Dropped, clean, clean_batch, repair, steps
from tokenloom.data.language import Guess, identify
from tokenloom.data.quality import C4, Code, FineWeb, Gopher, c4, code, fineweb, gopher
from tokenloom.data.record import Record
from tokenloom.data.repetition import Repetition, repetition
from tokenloom.data.report import Report
from tokenloom.data.settings import Clean, clean_settings
from tokenloom.data.spans import folded, hash_words, windows, words

LONG = ENGLISH * 40


def test_good_texts_pass_all_rules_untouched() -> None:
    records = [
        Record(ENGLISH, "a.txt"),
        Record(CHINESE, "b.txt"),
        Record(CLASSICAL, "c"),
        Record(CODE, "d.py"),
    ]
    batch = clean_batch(records, steps(Clean()), Clean())
    assert [r.text for r in batch.records] == [ENGLISH, CHINESE, CLASSICAL, CODE]
    assert [r.meta["language"] for r in batch.records] == ["en", "zh", "zh", "code"]


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        ("few_words", "The cat sat with the dog."),
        ("short_words", "a b c of to be it is " * 30),
        ("long_words", "the and " + "Donaudampfschifffahrt " * 60),
        ("hash_signs", ENGLISH + "# " * 40),
        ("ellipses", ENGLISH.replace(" ", " ... ", 40)),
        ("bullet_lines", "\n".join("- the price of the item and that with it" for _ in range(20))),
        ("ellipsis_lines", "\n".join("the first words of the story and of the end..." for _ in range(20))),
        ("few_alphabetic_words", ENGLISH + " 123 456 789" * 30),
        ("few_stop_words", "lorem ipsum dolor sit amet consectetur " * 12),
    ],
)
def test_gopher(reason: str, text: str) -> None:
    assert gopher(text, Gopher()) == reason
    assert gopher(ENGLISH, Gopher()) is None


def test_gopher_upper_limit_is_off_unless_asked() -> None:
    assert gopher(LONG, Gopher()) is None
    assert gopher(LONG, Gopher(max_words=1000)) == "many_words"


def test_c4_drops_lines_and_keeps_paragraphs_apart() -> None:
    debris = (
        "Home\n"
        + ENGLISH
        + "Please enable JavaScript to go on with this page.\n\n\n\nWe use cookies for it.\n"
    )
    text, reason = c4(debris + "A fact[12] is a fact.", C4())
    assert reason is None
    assert text == ENGLISH + "\nA fact is a fact."
    assert c4("x" * 2000 + " and then\n" + ENGLISH, C4())[0] == ENGLISH


@pytest.mark.parametrize(
    ("reason", "text", "rules"),
    [
        ("lorem_ipsum", ENGLISH + "Lorem ipsum dolor.", C4()),
        ("curly_bracket", ENGLISH + "function f() { return }", C4()),
        ("few_sentences", "This is a sentence of it. This is another one.", C4()),
        ("few_sentences", ENGLISH.replace(".", ",").replace('"', ""), C4(line_ends=True)),
        ("no_lines", "Home\nAbout", C4(min_sentences=0)),
    ],
)
def test_c4_drops_documents(reason: str, text: str, rules: C4) -> None:
    assert c4(text, rules)[1] == reason


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        ("lines_without_end", "\n".join(f"A line of a menu without any end, number {i}" for i in range(20))),
        ("short_lines", "\n".join(f"Item {i} is cheap." for i in range(20))),
        ("repeated_lines", ENGLISH + ENGLISH.split("\n")[0] + "\n"),
        ("line_breaks", "\n".join(f"supercalifragilisticexpialidocious{i}." for i in range(20))),
        ("no_lines", "\n \n"),
    ],
)
def test_fineweb(reason: str, text: str) -> None:
    assert fineweb(text, FineWeb()) == reason
    assert fineweb(ENGLISH, FineWeb()) is None


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        ("duplicate_paragraphs", "\n\n".join(["One paragraph."] * 3 + ["Another one."])),
        ("duplicate_lines", "\n".join(["One line."] * 3 + ["Another quite different line."])),
        (
            "duplicate_paragraph_characters",
            "\n\n".join(["A rather long paragraph, twice."] * 2 + list("abcdef")),
        ),
        (
            "duplicate_line_characters",
            "\n".join(["A rather long line, that is here twice."] * 2 + list("abcdef")),
        ),
        ("top_2_gram", "buy now " + " and buy now".join(list("abcdefgh"))),
        ("duplicate_5_grams", " ".join(ENGLISH.split()[:60] + ENGLISH.split()[20:36])),
    ],
)
def test_repetition(reason: str, text: str) -> None:
    found = repetition(text, Repetition())
    assert found is not None
    assert found == reason
    assert repetition(ENGLISH, Repetition()) is None


def test_repetition_in_chinese_counts_characters() -> None:
    assert repetition(CHINESE, Repetition()) is None
    assert repetition(CLASSICAL, Repetition()) is None
    assert repetition("买一送一优惠大减价" * 12, Repetition()) == "top_3_gram"
    assert repetition(CLASSICAL + CLASSICAL[20:90], Repetition()) == "duplicate_8_grams"
    assert repetition(CLASSICAL + CLASSICAL, replace(Repetition(), ngrams=False)) is None


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        ("few_characters", "今天天气很好。"),
        ("low_han_share", CHINESE[:120] + " abcdefghij" * 140),
        ("few_common_characters", "甲乙丙丁戊己庚辛壬癸。" * 12),
        (
            "lines_without_end",
            "\n".join(f"这是一个没有句号的菜单项目第{c}" for c in "一二三四五六七八九十百千"),
        ),
        (
            "short_lines",
            "\n".join(f"它的价是{c}元的。" for c in "一二三四五六七八九十百千万亿兆零壹贰叁肆伍陆"),
        ),
        ("repeated_lines", CHINESE + CHINESE.split("\n")[0]),
    ],
)
def test_chinese(reason: str, text: str) -> None:
    assert chinese(text, Chinese(max_short_lines=0.67))[1] == reason
    assert chinese(CHINESE, Chinese()) == (CHINESE, None)
    assert chinese(CLASSICAL, Chinese())[1] is None


def test_chinese_boilerplate_lines_go() -> None:
    assert chinese("版权所有\n", Chinese(min_characters=0, min_common=0))[1] == "no_lines"
    text, reason = chinese(CHINESE + "版权所有，未经许可不得转载。\n", Chinese())
    assert (text.rstrip(), reason) == (CHINESE.rstrip(), None)


def test_opencc_converts_on_request_only() -> None:
    assert convert("頭髮與發現", "t2s") == "头发与发现"
    assert convert("头发与发现", "s2t") == "頭髮與發現"
    plain = clean_settings(preset="trusted")
    assert plain.chinese is None
    wanted = clean_settings(
        preset="trusted", chinese={"convert": "t2s", "min_characters": 0, "min_common": 0}
    )
    report = Report()
    made = clean(Record(CLASSICAL, "x"), steps(wanted), report)
    assert made is not None
    assert "驪" not in made.text
    assert report.steps["convert"].changed == 1
    assert clean(Record(CODE + "# 驪山\n", "x.py"), steps(wanted), report).text.endswith("# 驪山\n")  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        ("long_line", CODE + "x = '" + "a" * 1001 + "'\n"),
        ("long_lines", "\n".join("value = " + "a + " * 40 for _ in range(9))),
        ("few_letters", CODE + "[[[{{{((()))}}}]]];;;;\n" * 90),
    ],
)
def test_code(reason: str, text: str) -> None:
    assert code(text, Code()) == reason
    assert code(CODE, Code()) is None


@pytest.mark.parametrize(
    ("text", "source", "language"),
    [
        (ENGLISH, "", "en"),
        (CHINESE, "", "zh"),
        (CLASSICAL[:30], "", "zh"),
        (CODE, "", "code"),
        ("hello", "lib/tree.c:12", "code"),
        ("今日はとてもいい天気ですから、公園を散歩しましょう。", "", "ja"),
        (
            "Le phare se dressait au bout d'une longue jetée, et le gardien y vivait depuis trente ans.",
            "",
            "fr",
        ),
        ("오늘은 날씨가 좋아서 공원을 산책했습니다.", "", "ko"),
    ],
)
def test_language(text: str, source: str, language: str) -> None:
    guess = identify(text, source)
    assert guess.language == language
    assert 0.5 < guess.confidence <= 1


def test_text_without_letters_has_no_language() -> None:
    assert identify("*** 🙂 ***") == Guess("unknown", 0.0)


def test_languages_not_asked_for_and_unsure_ones_are_dropped() -> None:
    french = "Le phare se dressait au bout d'une longue jetée, et le gardien y vivait."
    find = {s.name: s for s in steps(Clean())}["language"].apply
    assert find(Record(french, "x")) == Dropped("other_language", "fr 1.00")
    dropped = find(Record("The cat sat.", "x"))
    assert isinstance(dropped, Dropped)
    assert dropped.reason in ("unsure", "other_language")
    kept = {s.name: s for s in steps(clean_settings(language={"keep": ["fr"]}))}["language"].apply
    result = kept(Record(french, "x", {"id": 7}))
    assert isinstance(result, Record)
    assert (result.meta["language"], result.meta["id"]) == ("fr", 7)


def test_repair_mends_what_is_broken_and_keeps_good_typography() -> None:
    assert repair("donâ€™t stop") == "don’t stop"
    assert repair("a\r\nb\rc\x00\x1b[31md") == "a\nb\ncd"
    assert repair("Tom &amp; Jerry") == "Tom & Jerry"
    assert repair("<b>Tom &amp; Jerry</b>") == "<b>Tom &amp; Jerry</b>"
    assert repair("s = '&amp;'", entities=False) == "s = '&amp;'"
    assert repair("cafe\u0301") == "café"
    for kept in ("他说：“你好，世界！”ＡＢＣ", ENGLISH, CHINESE, CLASSICAL, CODE, "naïve — “quoted” …"):
        assert repair(kept) == kept


def test_empty_and_huge_texts_are_dropped_and_surrogates_replaced() -> None:
    size = steps(clean_settings(max_characters=100))[0].apply
    assert size(Record(" \n", "x")) == Dropped("empty")
    assert size(Record("a" * 101, "x")) == Dropped("too_long", "101 characters")
    assert size(Record("a\ud800b", "x")) == Record("a\ufffdb", "x")


def test_a_huge_line_is_handled() -> None:
    line = "the cat and the dog " * 100_000
    batch = clean_batch([Record(line, "x"), Record("a" * 2_000_000, "y")], steps(Clean()), Clean())
    assert batch.records == []
    assert {s: c.dropped for s, c in batch.report.steps.items() if c.dropped}.keys() <= {
        "repetition",
        "language",
    }


def test_private_data_is_scrubbed_and_counted() -> None:
    settings = clean_settings(preset="trusted")
    batch = clean_batch(
        [Record("Write to a.b@example.org or to c@example.org.", "x")], steps(settings), settings
    )
    assert batch.records[0].text == "Write to [EMAIL] or to [EMAIL]."
    assert batch.report.scrubbed == {"email": 2}
    assert "scrubbed" not in batch.records[0].meta


def test_reports_add_up_the_same_in_any_cut() -> None:
    records = [Record(ENGLISH + "x " * i, f"r:{i}") for i in range(20)] + [Record("", "e")] * 5
    settings = Clean()
    whole, parts = clean_batch(records, steps(settings), settings).report, Report()
    for i in range(0, 25, 4):
        parts.add(clean_batch(records[i : i + 4], steps(settings), settings).report)
    for report in (whole, parts):
        for step in report.steps.values():
            step.seconds = 0
    assert parts == whole
    assert whole.steps["size"].reasons == {"empty": 5}
    assert len(whole.steps["size"].examples) == 3


def test_words_and_windows() -> None:
    text = "The cat, 你好，“world”"
    assert [text[a:b] for a, b in zip(words(text).starts, words(text).ends, strict=True)] == [
        "The", "cat,", "你", "好", "，", "“world”",
    ]  # fmt: skip
    assert [text[a:b] for a, b in zip(folded(text).starts, folded(text).ends, strict=True)] == [
        "The", "cat", "你", "好", "world",
    ]  # fmt: skip
    assert (folded("THE Cat, 你").hashes == folded("the “cat” 你").hashes).all()
    each = ENGLISH.split()
    runs = {tuple(each[i : i + 5]) for i in range(len(each) - 4)}
    assert len(set(windows(words(ENGLISH).hashes, 5).tolist())) == len(runs)
    assert len(windows(words("one two").hashes, 3)) == 0
    # The same everywhere: a change would make prepared sets impossible to go on with.
    assert hash_words(["the"])[0] == words("the").hashes[0] == 17657492357701762432
    with pytest.raises(ValueError, match="one word"):
        hash_words(["two words"])


def test_the_stop_words_are_found_as_words() -> None:
    assert quality.gopher("the, and. " * 40, Gopher(min_word_characters=0)) == "few_stop_words"

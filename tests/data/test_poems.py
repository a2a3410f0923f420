"""Verse as training texts: cleaning, forms, the split, the tokenizer with one id a character."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tokenloom.data.couplets import read_couplets, write_couplets
from tokenloom.data.jsonl import read_records
from tokenloom.data.poem_set import (
    character_tokenizer,
    count_characters,
    is_held_out,
    record,
    split,
    write_poems,
)
from tokenloom.data.poems import Dropped, Poem, clean, poem_of, read_poems
from tokenloom.data.shards import open_shards
from tokenloom.tokens.text import Tokenizer, load_tokenizer
from tokenloom.tokens.verse import CONTROL, parse, prompt

PACKAGE = Path(__file__).parent.parent / "fixtures" / "poems"


def same(text: str) -> str:
    return text


def poem(body: str, title: str = "", form: str = "五言绝句") -> Poem:
    return Poem(title, form, tuple(body.splitlines()), "", "test:1")


def poems() -> list[Poem]:
    return list(read_poems(PACKAGE, lambda drop: None))


def test_the_fixture_is_read_in_simplified_characters() -> None:
    dropped: list[Dropped] = []
    found = list(read_poems(PACKAGE, dropped.append))
    assert [one.why for one in dropped] == ["gaps, or signs that no poem has"]
    assert "[欸]" in dropped[0].text
    assert len(found) == 79
    moon = next(one for one in found if one.title == "静夜思")
    assert (moon.form, moon.author) == ("五言绝句", "李白")
    assert moon.body == "床前看月光，疑是地上霜。\n举头望山月，低头思故乡。"
    assert moon.source.startswith("quantangshi/poet.tang.0.json:")
    ci = [one for one in found if one.form.startswith("词·")]
    assert len(ci) == 14
    assert all(one.title == "" for one in ci)


@pytest.mark.parametrize(
    ("raw", "lines"),
    [
        (["白日（一作日）依山盡，黃河入海流。"], ("白日依山盡，黃河入海流。",)),
        (["a，b。"], "gaps, or signs that no poem has"),
        (["白日□山盡，黃河入海流。"], "gaps, or signs that no poem has"),
        (["春眠，不覺", "曉。"], ("春眠，不覺。", "曉。")),
        (["春眠「不覺」曉？", "處處聞啼鳥"], ("春眠不覺曉？", "處處聞啼鳥。")),
        (["信脚到太古。", "《誠齋集》卷一一四《詩話》ff。"], ("信脚到太古。",)),
        (["（整首是注。", "又一句。）"], "empty"),
        (["春" * 17 + "。"], "prose"),
        (["春眠，" * 250], "too long"),
        ([], "empty"),
    ],
)
def test_a_body_is_cleaned_or_left_out(raw: list[str], lines: tuple[str, ...] | str) -> None:
    assert clean(raw, same) == lines


@pytest.mark.parametrize(
    ("entry", "ci", "expected"),
    [
        ({"title": "句", "paragraphs": ["一二三四五，一二三四五。"] * 2}, False, "a fragment"),
        ({"title": "句  其一", "paragraphs": ["一二三四五，一二三四五。"] * 2}, False, "a fragment"),
        ({"title": "月", "paragraphs": ["一二三四五，一二三四五。"]}, False, "fewer than four clauses"),
        ({"title": "月", "paragraphs": ["一二三四五，一二三四五。"] * 2}, False, ("月", "五言绝句")),
        ({"title": "帝京 一", "paragraphs": ["一二三四，一二三四。"] * 3}, False, ("帝京·一", "四言诗")),
        ({"title": "有□", "paragraphs": ["一二三，一二三四。"] * 3}, False, ("", "杂言诗")),
        ({"rhythmic": "凤栖梧・蝶恋花", "paragraphs": ["一二三四。"]}, True, ("", "词·蝶恋花")),
        ({"rhythmic": "失调名", "paragraphs": ["一二三四。"]}, True, ("", "词")),
        ({"title": "长相思·山一程", "para": ["山一程，水一程"]}, True, ("山一程", "词·长相思")),
        ({"title": "菩萨蛮 其一", "rhythmic": "菩萨蛮", "paragraphs": ["一二。"]}, True, ("", "词·菩萨蛮")),
    ],
)
def test_an_entry_gets_title_and_form(
    entry: dict[str, object], ci: bool, expected: str | tuple[str, str]
) -> None:
    found = poem_of(entry, same, "x:1", ci)
    if isinstance(found, Dropped):
        assert found.why == expected
    else:
        assert (found.title, found.form) == expected


def test_a_folder_without_poems_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="found no quantangshi"):
        list(read_poems(tmp_path, lambda drop: None))
    (tmp_path / "quantangshi").mkdir()
    (tmp_path / "quantangshi" / "poet.tang.0.json").write_text("[", "utf-8")
    with pytest.raises(ValueError, match="not JSON"):
        list(read_poems(tmp_path, lambda drop: None))


def test_repeats_leave_and_held_out_poems_have_no_likeness_in_training() -> None:
    heads = "天地玄黄宇宙洪荒日月盈昃辰宿列张寒来暑往秋收冬藏闰余成岁律吕调阳云腾致雨露结为霜"
    many = [
        poem(f"{a}{b}一{a}二，{b}三{a}{b}四。\n{a}五{b}六{a}，七{b}{a}八{b}。") for a in heads for b in heads
    ]
    held = next(one for one in many if is_held_out(one))
    a, b, c, d = held.body.replace("\n", "").replace("。", "，").split("，")[:4]
    repeat = poem(f"{a}，{b}；\n{c}，{d}！".replace("；\n", "。\n").replace("！", "。"), "又")
    lines = poem(f"{a}，甲乙丙丁戊。\n{c}，己庚辛壬癸。")
    runs = poem(f"{a}，{b[:4]}变。\n子丑寅卯辰，{d}。")
    sets = split([*many, repeat, lines, runs])
    assert held in sets.held_out
    assert sets.dropped["repeats another poem"] == 1
    assert sets.dropped["nearly repeats another poem"] == 2
    assert len(sets.train) + len(sets.held_out) + sum(sets.dropped.values()) == len(many) + 3
    assert 0.005 < len(sets.held_out) / len(many) < 0.04
    # Longer works, of which less than half is the held-out poem's, are told by the lines they share.
    rest = "\n".join(f"{x}子丑寅{x}，{x}卯辰巳{x}。" for x in heads[:6])
    sets = split([*many, poem(f"{a}，甲乙丙丁戊。\n{c}，己庚辛壬癸。\n{rest}", form="五言古诗")])
    assert sets.dropped == {"resembles a held-out poem": 1}


def test_the_split_does_not_hang_on_the_order() -> None:
    found = poems()
    assert {one.letters for one in split(found).held_out} == {
        one.letters for one in split(found[::-1]).held_out
    }


def test_some_training_texts_lack_title_or_form_and_no_held_out_one_does() -> None:
    many = [poem(f"{chr(0x4E00 + n)}一二三四，五六七八九。", "题") for n in range(2000)]
    learned = [parse(record(one, True)["text"]) for one in many]
    assert 0.07 < sum(not title for title, _, _ in learned) / len(many) < 0.13
    assert 0.03 < sum(not form for _, form, _ in learned) / len(many) < 0.07
    assert all(all(parse(record(one, False)["text"])) for one in many)
    assert all(record(one, True)["title"] == "题" for one in many)


def test_each_frequent_character_is_one_id_and_no_merge_crosses_characters() -> None:
    texts = [record(one, False)["text"] for one in poems()]
    counts = count_characters(texts)
    backend = character_tokenizer(counts, least=2)
    tokenizer = Tokenizer(backend)
    assert tokenizer.vocab_size % 64 == 0
    assert set(tokenizer.special) == set(CONTROL)
    ids = [len(tokenizer.encode(letter)) for letter, n in counts.most_common() if n >= 2]
    assert ids[0] == 1
    assert sum(n == 1 for n in ids) >= len(ids) - 64
    for text in [*texts, "生僻：龘𪚥 and Latin\n"]:
        assert tokenizer.decode(tokenizer.encode_control(text), special=True) == text
        parts = [piece for letter in text.split("<|end|>")[0].split("<|poem|>")[-1] for piece in [letter]]
        body = "".join(parts)
        assert tokenizer.encode(body) == [id for letter in body for id in tokenizer.encode(letter)]
    few = Tokenizer(character_tokenizer(counts, least=1, most=320))
    assert few.vocab_size <= 320


def test_the_whole_is_written_and_read_again(tmp_path: Path) -> None:
    package = tmp_path / "package"
    shutil.copytree(PACKAGE, package)
    made = {
        "author": "某",
        "title": "题",
        "paragraphs": ["日照香炉紫，遥看瀑布川。", "飞流三千尺，疑是银河天。"],
    }
    extra = package / "dist" / "quantangshi" / "poet.song.0.json"
    extra.write_text(json.dumps([made], ensure_ascii=False), encoding="utf-8")
    out = tmp_path / "out"
    about = write_poems(package, out)
    assert about["poems"]["train"] + about["poems"]["heldout"] == 80
    tokenizer = load_tokenizer(out / "tokenizer")
    train = open_shards(out / "train", tokenizer.hash)
    records = list(read_records(out / "train.jsonl"))
    assert train.n_documents == len(records)
    document, learned = train.document(0), train.learned(0)
    title, form, body = parse(records[0]["text"])
    assert tokenizer.decode(document.tolist(), special=True) == records[0]["text"]
    assert learned is not None
    assert tokenizer.decode(document[~learned].tolist(), special=True) == prompt(title, form)
    assert tokenizer.decode(document[learned].tolist()) == body
    whole = open_shards(out / "train_all", tokenizer.hash)
    assert whole.learned(0) is None
    assert (whole.document(0) == document).all()


def test_couplets_come_from_the_middle_of_regulated_verse(tmp_path: Path) -> None:
    verse = [one for one in poems() if one.form in ("五言律诗", "七言律诗")]
    assert len(verse) >= 10
    held, train = verse[:2], verse[2:]
    stolen = Poem("", "五言律诗", (*verse[3].lines[:1], held[0].lines[1], *verse[3].lines[2:]), "", "x:1")
    if verse[3].form != held[0].form:
        stolen = Poem("", held[0].form, (held[1].lines[0], *held[0].lines[1:]), "", "x:1")
    for name, some in (("heldout", held), ("train", [*train, stolen])):
        lines = [json.dumps(record(one, False), ensure_ascii=False) for one in some]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    written = write_couplets(tmp_path, tmp_path / "out")
    assert written.held_out == 4
    assert written.dropped >= 1
    assert written.train == 2 * (len(train) + 1) - written.dropped
    pairs = list(read_couplets(tmp_path / "out" / "couplets.heldout.jsonl"))
    first = held[0].lines[1].rstrip("。").split("，")
    assert (pairs[0].upper, pairs[0].lower) == tuple(first)
    few = write_couplets(tmp_path, tmp_path / "few", most=3)
    assert few.train == 3

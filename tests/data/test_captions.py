"""Captions say what the record holds, in both languages, and a prompt's style is found again."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
from drawn_sprites import drawn_sprites

from tokenloom.data.captions import article, caption, description, phrase, split_style, styled, usual
from tokenloom.data.layouts import choose
from tokenloom.data.picture_record import Ground, Record, Slot, Thing
from tokenloom.data.picture_words import COLOURS, LANGS, noun_of, nouns, word, words
from tokenloom.data.sprites import Sprites

FOX, TREE = "1f98a", "1f333"


@pytest.fixture(scope="module")
def sprites() -> Sprites:
    return drawn_sprites()


def thing(hexcode: str, n: int = 1, **more: object) -> Thing:
    slots = tuple(Slot(8 * i, 8, 8) for i in range(n))
    return replace(Thing(0, hexcode, "a label", "标签", slots), **more)  # type: ignore[arg-type]


def all_of(record: Record, lang: str) -> set[str]:
    return {caption(record, lang, Random(seed)) for seed in range(300)}  # type: ignore[arg-type]


def test_one_thing_in_both_languages() -> None:
    red = thing(FOX, colour="red", recoloured=True)
    record = Record("one", "noto", (red,), Ground("plain", ((0, 0, 255),), "blue"))
    english = all_of(record, "en")
    assert "a red fox" in english
    assert "a red fox on a blue background" in english
    assert all(text.startswith("a red fox") for text in english)
    chinese = all_of(record, "zh")
    assert {"一只红色的狐狸", "一只红狐狸", "蓝色背景上的一只红色的狐狸"} <= chinese


def test_counts_take_plurals_and_measure_words() -> None:
    record = Record("count", "noto", (thing("1f401", 3),), Ground("none"))
    assert all_of(record, "en") == {"three mice"}
    assert all_of(record, "zh") == {"三只老鼠"}
    two = Record("count", "noto", (thing(TREE, 2),), Ground("none"))
    assert all_of(two, "zh") == {"两棵树"}


def test_pairs_say_their_relation() -> None:
    pair = Record("pair", "noto", (thing(FOX), thing(TREE)), Ground("none"), "left")
    assert all_of(pair, "en") == {"a fox to the left of a tree"}
    assert all_of(pair, "zh") == {"一只狐狸在一棵树的左边", "一棵树左边的一只狐狸"}
    beside = replace(pair, relation="next")
    assert all_of(beside, "en") == {"a fox next to a tree"}
    assert all_of(beside, "zh") == {"一只狐狸在一棵树旁边", "一棵树旁边的一只狐狸"}


def test_a_place_and_a_scenery_fit_together_in_chinese() -> None:
    small = thing(FOX, size="small", place="left")
    chinese = all_of(Record("one", "noto", (small,), Ground("meadow", ((0, 0, 0), (1, 1, 1)))), "zh")
    assert "左边的一只小狐狸，草地上" in chinese
    assert not any("上上" in text or "的的" in text or "上的的" in text for text in chinese)


def test_a_colour_that_was_given_is_always_said_and_no_other_is(sprites: Sprites) -> None:
    given = named = 0
    for index in range(3000):
        record = choose(sprites, 1, index)
        true = {t.colour for t in record.things} | {record.ground.colour}
        en, zh = (caption(record, lang, Random(index)) for lang in LANGS)
        for one in record.things:
            if one.recoloured:
                given += 1
                assert f"{one.colour} " in en
                assert word("colours", str(one.colour), "zh") in zh
        for colour in COLOURS:
            if f" {colour} " in f" {en} " and not any(t.en.startswith("odd") for t in record.things):
                named += 1
                assert colour in true
    assert given > 100
    assert named > given


def test_captions_are_short_and_several(sprites: Sprites) -> None:
    texts = [caption(choose(sprites, 2, i), "en", Random(i)) for i in range(1000)]
    assert max(len(text.split()) for text in texts) <= 22
    assert sum(len(text.split()) for text in texts) / len(texts) < 10
    record = choose(sprites, 2, 1, kind="pair")
    assert len(all_of(record, "en")) >= 2


def test_a_description_of_one_thing_alone_is_its_name() -> None:
    alone = Record("sticker", "noto", (thing(FOX),), Ground("none"))
    fox = {lang: {description(alone, lang, Random(seed)) for seed in range(40)} for lang in LANGS}
    assert fox == {"en": {"a fox"}, "zh": {"一只狐狸"}}
    other = replace(alone, things=(thing("1f9ff"),))
    assert {description(other, "en", Random(seed)) for seed in range(40)} == {"a label"}
    scene = Record("one", "noto", (thing(FOX, place="left"),), Ground("plain", ((0, 0, 255),), "blue"))
    assert {description(scene, "en", Random(seed)) for seed in range(300)} == all_of(scene, "en")


def test_an_unknown_thing_is_called_by_its_label() -> None:
    assert (
        phrase(Thing(0, "ffff", "grinning cat", "大笑的猫", (Slot(0, 0, 8),)), "en", Random(0))
        == "grinning cat"
    )
    assert (
        phrase(Thing(0, "ffff", "grinning cat", "大笑的猫", (Slot(0, 0, 8),)), "zh", Random(0)) == "大笑的猫"
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [("fox", "a fox"), ("apple", "an apple"), ("unicorn", "a unicorn"), ("hourglass", "an hourglass")],
)
def test_articles(text: str, said: str) -> None:
    assert article(text) == said


def test_bread_takes_no_article() -> None:
    assert phrase(thing("1f35e"), "en", Random(0)) == "bread"
    assert phrase(thing("1f35e", 2), "en", Random(0)) == "two loaves of bread"


def test_the_vocabulary_is_whole() -> None:
    seen: set[str] = set()
    for noun in nouns().values():
        assert noun.zh
        assert len(noun.measure) == 1, noun
        assert seen.isdisjoint(noun.hexcodes), noun
        seen.update(noun.hexcodes)
    assert 300 <= len(nouns()) <= 450
    assert tuple(words()["colours"]) == COLOURS
    for table in ("colours", "counts", "sizes", "places", "relations", "grounds", "sceneries", "styles"):
        assert all(len(pair) == 2 for pair in words()[table].values())
    assert set(words()["styles"]) == set(words()["style_names"])


@pytest.mark.parametrize("lang", LANGS)
@pytest.mark.parametrize("style", ["fluent", "noto", "twemoji", "openmoji", "clipart"])
def test_a_style_that_is_named_is_found_again(style: str, lang: str) -> None:
    text = {"en": "a cat to the left of a tree", "zh": "蓝色背景上的三个绿苹果"}[lang]
    assert split_style(styled(text, style, lang)) == (text, style)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("prompt", "rest", "style"),
    [
        ("a red fox", "a red fox", None),
        ("a red fox in fluent style", "a red fox", "fluent"),
        ("a red fox in the Twitter style", "a red fox", "twemoji"),
        ("a fluent-style red fox", "a red fox", "fluent"),
        ("a red fox, noto", "a red fox", "noto"),
        ("谷歌风格的红色狐狸", "红色狐狸", "noto"),
        ("一只红色的狐狸，扁平风格", "一只红色的狐狸", "twemoji"),
        ("a flat tyre", "a flat tyre", None),
        ("an android robot", "an android robot", None),
        ("a style of flat shoe", "a style of flat shoe", None),
    ],
)
def test_a_users_words_for_a_style(prompt: str, rest: str, style: str | None) -> None:
    assert split_style(prompt) == (rest, style)


def test_wrong_names_are_told() -> None:
    record = Record("one", "noto", (thing(FOX),), Ground("none"))
    with pytest.raises(ValueError, match="lang: found 'de'; allowed: en, zh"):
        caption(record, "de", Random(0))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="style: found 'oil'; allowed: fluent"):
        styled("a fox", "oil", "en")


@pytest.mark.parametrize(
    ("prompt", "said"),
    [
        ("2 gray kittens", "two grey cats"),
        ("a huge pony next to a TV", "a big horse next to a television"),
        ("three puppies", "three dogs"),
        ("a football", "a football"),
        ("a hat on a boat", "a top hat on a sailboat"),
        ("a love letter", "a love letter"),
        ("a moon cake on a bag", "a moon cake on a handbag"),
        ("a letter, a moon and a ball", "an envelope, a crescent moon and a football"),
        ("a category of boats", "a category of sailboats"),
        ("两个番茄", "两个西红柿"),
        ("一台电视机", "一台电视机"),
        ("一台电视", "一台电视机"),
        ("一个闹钟", "一个闹钟"),
        ("褐色的猫咪", "棕色的猫"),
        ("一个薛定谔方程", "一个薛定谔方程"),
    ],
)
def test_users_words_become_the_captions_words(prompt: str, said: str) -> None:
    assert usual(prompt) == said


def test_captions_are_already_in_usual_words(sprites: Sprites) -> None:
    told = 0
    for index in range(1500):
        record = choose(sprites, 9, index)
        if all(noun_of(t.hexcode) for t in record.things):
            told += 1
            for lang in LANGS:
                text = caption(record, lang, Random(index))
                assert usual(text) == text
    assert told > 300

"""The rules of verse on poems that keep and break them, and the expressions that hold a poem to its form."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from tokenloom.tokens.rhyme import LEVEL, OBLIQUE, WIDE, groups, rhyme, tones_of
from tokenloom.tokens.stanza import Wish, longest, pattern, read_wish
from tokenloom.tokens.verse import (
    SHI,
    Verdict,
    arrangements,
    check,
    clauses,
    form_of,
    layout,
    parse,
    tunes,
)

TOWER = "白日依山尽，黄河入海流。\n欲穷千里目，更上一层楼。"
SPRING = (
    "国破山河在，城春草木深。\n感时花溅泪，恨别鸟惊心。\n烽火连三月，家书抵万金。\n白头搔更短，浑欲不胜簪。"
)
MAPLE = "月落乌啼霜满天，江枫渔火对愁眠。\n姑苏城外寒山寺，夜半钟声到客船。"
DREAM = "常记溪亭日暮。沉醉不知归路。兴尽晚回舟，误入藕花深处。争渡。争渡。惊起一滩鸥鹭。"


@pytest.mark.parametrize(
    ("body", "form"),
    [
        (TOWER, "五言绝句"),
        (SPRING, "五言律诗"),
        (MAPLE, "七言绝句"),
        (SPRING + "\n" + TOWER, "五言古诗"),
        ("关关雎鸠，在河之洲。窈窕淑女，君子好逑。", "四言诗"),
        ("前不见古人，后不见来者。念天地之悠悠，独怆然而涕下。", "杂言诗"),
        ("一二三，一二三。一二三，一二三。", "杂言诗"),
    ],
)
def test_a_form_is_named_from_lines_and_lengths(body: str, form: str) -> None:
    assert form_of(body) == form
    assert form in SHI


def test_layout_and_back() -> None:
    assert parse(layout("题", "五言绝句", TOWER)) == ("题", "五言绝句", TOWER)
    assert parse("<|title|><|form|><|poem|>春") == ("", "", "春")
    with pytest.raises(ValueError, match=r"allowed: <\|title\|>"):
        parse("春")
    assert clauses("一，二、三。\n四！") == ["一", "二", "三", "四"]


@pytest.mark.parametrize(
    ("body", "form"),
    [(TOWER, "五言绝句"), (SPRING, "五言律诗"), (MAPLE, "七言绝句"), (DREAM, "词·如梦令")],
)
def test_famous_poems_are_right(body: str, form: str) -> None:
    found = check(body, form)
    assert found.right, found


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda text: text[:-1], Verdict(True, False, False, False)),  # its last line is not whole
        (lambda text: text.replace("楼。", "。"), Verdict(True, False, False, False)),
        (lambda text: text + "\n春。", Verdict(False, False, False, False)),
        (lambda text: text.replace("楼", "台"), Verdict(True, True, False, True)),
        (lambda text: text.replace("楼", "路"), Verdict(True, True, False, False)),
        (lambda text: text.replace("日", "云"), Verdict(True, True, True, False)),  # opposes no more
        (lambda text: text.replace("穷", "尽"), Verdict(True, True, True, False)),
        (lambda text: text.replace("入海", "归山"), Verdict(True, True, True, False)),
        (lambda text: "", Verdict(False, False, False, False)),
    ],
)
def test_each_rule_can_be_broken(change: Callable[[str], str], expected: Verdict) -> None:
    assert check(change(TOWER), "五言绝句") == expected


def test_the_eased_line_is_right() -> None:
    # 无为在歧路 is 平平仄平仄, where the pattern has 平平平仄仄.
    first = "城阙辅三秦，风烟望五津。\n与君离别意，同是宦游人。\n"
    farewell = first + "海内存知己，天涯若比邻。\n无为在歧路，儿女共沾巾。"
    assert check(farewell, "五言律诗").tones is True
    assert check(farewell.replace("无为在歧路", "无为歧路在"), "五言律诗").tones is True
    assert check(farewell.replace("无为在歧路", "风雨在歧路"), "五言律诗").tones is False


def test_old_style_may_change_its_rhyme() -> None:
    # 流 and 楼 rhyme, then 深 and 心: the rhyme changes after two couplets.
    body = f"{TOWER}\n国破山河在，城春草木深。\n感时花溅泪，恨别鸟惊心。\n东西南北中，一二三四金。"
    assert check(body, "五言古诗") == Verdict(True, True, True, None)
    assert check(body.replace("金", "天"), "五言古诗").rhyme is False
    assert check(body.replace("四金。", "金。"), "五言古诗").lengths is False


def test_a_ci_follows_its_tune() -> None:
    assert check(DREAM, "词·如梦令") == Verdict(True, True, True, None)
    assert check(DREAM.replace("争渡。争渡。", "争渡。"), "词·如梦令").lines is False
    assert check(DREAM.replace("常记", ""), "词·如梦令").lengths is False
    assert check(DREAM.replace("路", "山"), "词·如梦令").rhyme is False
    with pytest.raises(ValueError, match=r"词·没有这个.*allowed: 五言绝句"):
        check(DREAM, "词·没有这个")


def test_rhyme_and_tone_are_the_rhyme_books() -> None:
    assert len({name for names in groups().values() for name in names}) == 106
    assert set(" ".join(WIDE).split()) == {name for names in groups().values() for name in names}
    assert rhyme("流") & rhyme("楼") == {"平尤"}
    assert not rhyme("东") & rhyme("冬")
    assert rhyme("东", wide=True) & rhyme("冬", wide=True)
    assert tones_of("白") == tones_of("月") == {OBLIQUE}  # level in speech today
    assert tones_of("中") == {LEVEL, OBLIQUE}
    assert tones_of("A") == {LEVEL, OBLIQUE}
    assert rhyme("A") == frozenset()


def test_a_poem_of_each_form_matches_its_expression() -> None:
    for body, form in ((TOWER, "五言绝句"), (SPRING, "五言律诗"), (MAPLE, "七言绝句")):
        expression = pattern(Wish("", form))
        assert re.fullmatch(expression, body)
        assert not re.fullmatch(expression, body[:-1])
        assert not re.fullmatch(expression, body + "\n" + body)
        assert longest(Wish("", form)) == len(body)
    assert re.fullmatch(pattern(Wish("", "五言古诗")), SPRING + "\n" + TOWER)
    assert not re.fullmatch(pattern(Wish("", "五言古诗")), SPRING)  # that would be a 律诗
    lines = "\n".join(re.findall("[^。]+。", DREAM))
    assert re.fullmatch(pattern(Wish("", "词·如梦令")), lines)


@pytest.mark.parametrize("form", [*SHI, *(f"词·{tune}" for tune in list(tunes())[::40])])
def test_what_an_expression_allows_is_right(form: str) -> None:
    """The first way to fill an expression keeps lines and lengths."""
    for alternative in pattern(Wish("", form)).split("|")[:5]:
        body = re.sub(r"\[一-鿿\]\{(\d+)\}", lambda found: "春" * int(found[1]), alternative)
        found = check(body, form)
        assert found.lines in (True, None)
        assert found.lengths
        if form in SHI:
            assert form_of(body) == form


@pytest.mark.parametrize(
    ("given", "wish"),
    [
        (("春江花月夜 五言绝句",), Wish("春江花月夜", "五言绝句")),
        (("五言絕句 春",), Wish("春", "五言绝句")),
        (("春江花月夜",), Wish("春江花月夜", "七言绝句")),
        (("水调歌头",), Wish("", "词·水调歌头")),
        (("中秋 词·水调歌头",), Wish("中秋", "词·水调歌头")),
        (("登高 其一 七言律诗",), Wish("登高·其一", "七言律诗")),
        (("春", "五言律诗"), Wish("春", "五言律诗")),
        (("春 五言律诗", "五言律诗"), Wish("春", "五言律诗")),
        (("春", "", "春夏秋冬", "春眠"), Wish("春", "七言绝句", "春夏秋冬", "春眠")),
    ],
)
def test_wishes(given: tuple[str, ...], wish: Wish) -> None:
    assert read_wish(*given) == wish


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (("",), "poem is empty"),
        (("  ",), "poem is empty"),
        (("春 六言绝句",), "poem asks for the form '六言绝句'; allowed are 五言绝句"),
        (("春 词·不存在",), "poem asks for the form '词·不存在'"),
        (("春", "sonnet"), "form is 'sonnet'; allowed are 五言绝句"),
        (("春 五言绝句", "七言绝句"), "form is '七言绝句', but poem asks for '五言绝句'"),
        (("spring",), "poem has 's' in its title"),
        (("春" * 49,), "title of 49 characters"),
        (("春", "", "abcd"), "acrostic has 'a'"),
        (("春", "", "春，夏"), "acrostic has '，'"),
        (("春", "", "", "hello"), "first has 'h'"),
        (("春 五言绝句", "", "春夏秋"), "acrostic has 3 characters; 五言绝句 takes 2 or 4"),
        (("春 五言律诗", "", "春夏秋"), "takes 4 or 8"),
        (("春 五言绝句", "", "", "床前明月光照"), "first has clauses of 6 characters"),
        (("春 五言绝句", "", "", "床前明月，"), "begins with 5, 5, 5, 5"),
        (("春 五言绝句", "", "春夏秋冬", "床前"), "first has '床' where acrostic has '春'"),
    ],
)
def test_wishes_that_cannot_be_met_name_the_field(given: tuple[str, ...], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        pattern(read_wish(*given))


def test_heads_and_beginnings_stand_in_their_places() -> None:
    assert pattern(read_wish("五言绝句", "", "春夏秋冬")) == (
        "春[一-鿿]{4}，夏[一-鿿]{4}。\n秋[一-鿿]{4}，冬[一-鿿]{4}。"
    )
    assert pattern(read_wish("五言绝句", "", "春秋")) == (
        "春[一-鿿]{4}，[一-鿿]{5}。\n秋[一-鿿]{4}，[一-鿿]{5}。"
    )
    begun = pattern(read_wish("五言绝句", "", "", "床前明月光，疑"))
    assert begun == "床前明月光，疑[一-鿿]{4}。\n[一-鿿]{5}，[一-鿿]{5}。"
    assert begun == pattern(read_wish("五言绝句", "", "", "床前明月光 疑"))
    assert all(
        "黄河" in one for one in pattern(read_wish("杂言诗", "", "", "君不见黄河之水天上来")).split("|")
    )
    assert len(pattern(read_wish("水调歌头")).split("|")) == len(arrangements()["水调歌头"])

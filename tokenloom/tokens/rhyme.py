"""Rhyme and tone of Chinese characters as classical verse counts them, not as they are spoken today.

Not pinyin. rhymes.tsv holds the 106 groups of the Pingshui book (scripts/verse_tables.py tells from where),
each named by its tone 平 上 去 入 and its head; a character may stand in several. The wider classes, in which
ci and old-style verse rhyme, are the nineteen of 《词林正韵》 (Ge Zai 1821); groups that it divides count in
both.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from functools import cache
from importlib import resources

LEVEL, OBLIQUE = "平", "仄"

WIDE = (
    "平东 平冬 上董 上肿 去送 去宋",
    "平江 平阳 上讲 上养 去绛 去漾",
    "平支 平微 平齐 平灰 上纸 上尾 上荠 上贿 去寘 去未 去霁 去泰 去队",
    "平鱼 平虞 上语 上麌 去御 去遇",
    "平佳 平灰 上蟹 上贿 去泰 去卦 去队",
    "平真 平文 平元 上轸 上吻 上阮 去震 去问 去愿",
    "平寒 平删 平先 平元 上旱 上潸 上铣 上阮 去翰 去谏 去霰 去愿",
    "平萧 平肴 平豪 上筿 上巧 上皓 去啸 去效 去号",
    "平歌 上哿 去个",
    "平佳 平麻 上马 去卦 去祃",
    "平庚 平青 平蒸 上梗 上迥 去敬 去径",
    "平尤 上有 去宥",
    "平侵 上寝 去沁",
    "平覃 平盐 平咸 上感 上琰 上豏 去勘 去艳 去陷",
    "入屋 入沃",
    "入觉 入药",
    "入质 入陌 入锡 入职 入缉",
    "入物 入月 入曷 入黠 入屑 入叶",
    "入合 入洽",
)
"""The nineteen classes, by the groups in them."""


@cache
def groups() -> Mapping[str, frozenset[str]]:
    """Character -> its groups."""
    table = (resources.files("tokenloom.tokens") / "rhymes.tsv").read_text(encoding="utf-8")
    found: dict[str, set[str]] = defaultdict(set)
    for line in table.splitlines():
        name, _, letters = line.partition("\t")
        for letter in letters:
            found[letter].add(name)
    return {letter: frozenset(names) for letter, names in found.items()}


@cache
def _classes() -> Mapping[str, frozenset[int]]:
    found: dict[str, set[int]] = defaultdict(set)
    for number, names in enumerate(WIDE):
        for name in names.split():
            found[name].add(number)
    return {name: frozenset(numbers) for name, numbers in found.items()}


def rhyme(letter: str, wide: bool = False) -> frozenset[str]:
    """What a character can rhyme in: its groups, or (wide) the classes that hold them. Empty: not known."""
    own = groups().get(letter, frozenset())
    if not wide:
        return own
    return frozenset(str(number) for name in own for number in _classes()[name])


def tones_of(letter: str) -> frozenset[str]:
    """LEVEL, OBLIQUE, or both; both for a character that the tables do not hold."""
    own = groups().get(letter)
    if not own:
        return frozenset((LEVEL, OBLIQUE))
    return frozenset(LEVEL if name[0] == "平" else OBLIQUE for name in own)

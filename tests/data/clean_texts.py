"""Texts for the tests of cleaning: good prose in English and Chinese, and variations of it."""

from __future__ import annotations

import random

from tokenloom.bench.data import documents, prose
from tokenloom.data.record import Record

ENGLISH = """\
The lighthouse stood at the end of a long pier, and the keeper had lived there for thirty years with his dog.
Every evening he climbed the stairs to light the lamp, although the harbour had not seen a ship since the war.

When the children of the village asked him why he went on, he said that a lamp is not lit for the ships alone.
"It is lit for everyone who looks at the sea," he told them, and they did not understand what he meant.

Years later one of them came back to the village in a storm. She saw the light from the hill and knew the way.
She thought of the old man and of his dog, and that evening she climbed the stairs to light the lamp herself.
"""

CHINESE = """\
那座灯塔立在长长的码头尽头，守塔的老人和他的狗在那里住了三十年。每天傍晚他都会走上台阶，把灯点亮，虽然战争以后港口里再也没有来过一条船。

村里的孩子们问他为什么还要点灯，他说灯不只是为船点的。“它是为每一个望着大海的人点的。”他这样告诉他们，可是孩子们并不明白他的意思。

许多年以后，其中一个女孩在暴风雨里回到了村子。她在山上看见了那盏灯，于是找到了回家的路。她想起老人和他的狗，那天晚上她自己走上台阶，点亮了灯。
"""

CLASSICAL = (
    "六王畢，四海一，蜀山兀，阿房出。覆壓三百餘里，隔離天日。驪山北構而西折，直走咸陽。二川溶溶，流入宮牆。"
    "五步一樓，十步一閣；廊腰縵迴，簷牙高啄；各抱地勢，鉤心鬥角。盤盤焉，囷囷焉，蜂房水渦，矗不知其幾千萬落。"
    "長橋臥波，未雲何龍？複道行空，不霽何虹？高低冥迷，不知西東。歌臺暖響，春光融融；舞殿冷袖，風雨淒淒。"
)

CODE = '''\
import math


def area(radius: float) -> float:
    """The area of a circle."""
    if radius < 0:
        raise ValueError("radius: found a negative number")
    return math.pi * radius**2


class Circle:
    def __init__(self, radius):
        self.radius = radius
'''


def varied(text: str, share: float, seed: int = 0) -> str:
    """The text with this share of its words replaced."""
    rng = random.Random(seed)
    words = text.split(" ")
    for i in rng.sample(range(len(words)), round(len(words) * share)):
        words[i] = f"word{rng.randrange(10**6)}"
    return " ".join(words)


def made(megabytes: float, seed: int = 0) -> list[Record]:
    """Real prose in documents, some of them duplicates and debris; with a few Chinese ones and an e-mail."""
    records = documents(prose(), megabytes, seed)
    rng = random.Random(seed)
    for i in range(0, len(records), 9):
        sentences = CHINESE.replace("\n", "").split("。")[:-1]
        text = "。".join(rng.sample(sentences, len(sentences))) + "。"
        mail = f"{records[i].text}\n\nWrite to someone{i}@example.com about it, and do not wait."
        records[i] = Record(text, f"zh:{i}") if i % 2 else Record(mail, f"mail:{i}")
    return records

"""Words that ask for music, in English and Chinese, as tags: "a lively reel in D", "一首D大调的里尔舞曲".

Not a language model: what it knows is listed here, what it does not know is said (`Wish.unknown`), so that
nobody is given something else in silence. A key without a mode is major, as musicians say it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

from tokenloom.tokens.music_events import BARS, KINDS, METRES, TEMPOS

KIND_WORDS = {
    "reel": ("reel", "里尔舞曲", "里尔舞", "里尔"),
    "slip jig": ("slip jig", "slipjig", "hop jig", "滑步吉格舞曲", "滑步吉格舞", "滑步吉格", "滑吉格"),
    "jig": ("double jig", "jig", "吉格舞曲", "吉格舞", "吉格", "基格舞曲", "基格", "捷格舞曲", "捷格"),
    "hornpipe": ("hornpipe", "horn pipe", "号笛舞曲", "号笛舞", "角笛舞曲", "角笛舞", "号管舞曲"),
    "air": ("slow air", "air", "song", "抒情曲", "曲调", "小调歌曲", "歌谣", "慢歌"),
    "march": ("march", "进行曲"),
    "strathspey": ("strathspey", "斯特拉斯佩舞曲", "斯特拉斯贝舞曲", "斯特拉斯佩"),
    "clog": ("clog dance", "clog", "木屐舞曲", "木屐舞", "木鞋舞曲", "木鞋舞"),
    "fling": ("highland fling", "fling", "高地舞曲", "高地舞"),
    "set dance": ("set dance", "long dance", "长舞曲", "套舞"),
}
MODE_WORDS = {
    "major": ("major", "maj", "ionian", "大调"),
    "minor": ("minor", "min", "aeolian", "小调"),
    "dorian": ("dorian", "dor", "多利亚调式", "多利亚"),
    "mixolydian": ("mixolydian", "mix", "混合利底亚调式", "混合利底亚"),
    "phrygian": ("phrygian", "phr", "弗里几亚调式", "弗里几亚"),
    "lydian": ("lydian", "lyd", "利底亚调式", "利底亚"),
    "locrian": ("locrian", "loc", "洛克里亚调式", "洛克里亚"),
}
PACE_WORDS = {
    0.7: (
        "very slow",
        "slow",
        "slowly",
        "gentle",
        "calm",
        "sad",
        "tender",
        "缓慢",
        "很慢",
        "慢速",
        "舒缓",
        "慢",
        "安静",
        "悲伤",
    ),
    0.85: ("moderate", "moderately", "relaxed", "steady", "中速", "适中", "从容"),
    1.1: (
        "lively",
        "cheerful",
        "merry",
        "happy",
        "spirited",
        "bright",
        "欢快",
        "活泼",
        "轻快",
        "快乐",
        "明快",
    ),
    1.25: ("fast", "quick", "very lively", "quickly", "快速", "很快", "飞快", "快"),
}
"""Ratio to the custom of the kind: words."""
SKIPPED = (
    *("a", "an", "the", "in", "of", "with", "and", "for", "me", "please", "compose", "write", "make", "play"),
    *(
        "some",
        "tune",
        "music",
        "piece",
        "melody",
        "dance",
        "key",
        "time",
        "irish",
        "folk",
        "that",
        "is",
        "long",
    ),
    *("to", "on", "at", "it", "i", "want", "like", "would", "new", "short", "bars", "bar", "beat"),
    *(
        "一首",
        "一支",
        "一段",
        "一个",
        "请",
        "帮我",
        "给我",
        "写",
        "作",
        "创作",
        "来",
        "谱",
        "的",
        "曲子",
        "音乐",
        "旋律",
        "乐曲",
    ),
    *(
        "爱尔兰",
        "民间",
        "传统",
        "舞曲",
        "曲",
        "用",
        "在",
        "调",
        "节奏",
        "速度",
        "为",
        "拍",
        "长",
        "共",
        "首",
        "我",
        "想要",
        "要",
    ),
)
"""Words that say nothing of what a tag holds."""
_DIGITS = {digit: at for at, digit in enumerate("〇一二三四五六七八九")} | {"零": 0, "两": 2}


@dataclass(frozen=True)
class Wish:
    """What a piece shall be; None leaves it to the model."""

    kind: str | None = None
    metre: tuple[int, int] | None = None
    mode: str | None = None
    tonic: str | None = None
    tempo: int | None = None
    """Quarter notes a minute."""
    pace: float | None = None
    """The same by its ratio to the custom of the kind."""
    bars: int | None = None
    """Whole bars."""
    unknown: tuple[str, ...] = ()
    """Words that are not understood."""

    def __post_init__(self) -> None:
        from tokenloom.tokens.music_events import MODE_NAMES, TONICS

        def check(name: str, allowed: object, fine: bool) -> None:
            value = getattr(self, name)
            if value is not None and not fine:
                raise ValueError(f"{name}: found {value!r}; allowed: {allowed}")

        check("kind", ", ".join(KINDS[1:]), bool(self.kind) and self.kind in KINDS)
        check("metre", "2/4, 3/4, 4/4, 6/8, 9/8, ...: bars of at most two whole notes", self.metre in METRES)
        check("mode", ", ".join(MODE_NAMES[1:]), bool(self.mode) and self.mode in MODE_NAMES)
        check("tonic", "C, C#, Db, D, ..., B", bool(self.tonic) and self.tonic in TONICS)
        low, high = TEMPOS[0], TEMPOS[-1]
        check("tempo", f"{low} to {high} quarter notes a minute", low <= (self.tempo or 0) <= high)
        check("pace", "0.25 to 4", 0.25 <= (self.pace or 0) <= 4)
        check("bars", f"1 to {BARS[-1]}", 1 <= (self.bars or 0) <= BARS[-1])
        if self.tonic is not None and self.mode is None:
            object.__setattr__(self, "mode", "major")

    def over(self, other: Wish) -> Wish:
        """This one, with what it leaves open taken from another."""
        mine = {field.name: getattr(self, field.name) for field in fields(self)}
        both = {name: getattr(other, name) if value is None else value for name, value in mine.items()}
        if self.tempo is not None or self.pace is not None:
            both["tempo"], both["pace"] = self.tempo, self.pace
        if self.tonic is not None or self.mode is not None:
            both["mode"] = self.mode
        return Wish(**{**both, "unknown": self.unknown + other.unknown})


def parse_wish(text: str) -> Wish:
    """The tags of a wish in English or Chinese, also mixed.

    ValueError for a tag said twice that differs, or out of its range; words that are not known are in
    `unknown`.
    """
    rest = f" {text.strip()} "
    found: dict[str, Any] = {}
    for pattern, take in _PATTERNS:
        rest = pattern.sub(lambda match, take=take: _taken(match, take, found, text), rest)  # type: ignore[misc]
    for name, words in (("kind", KIND_WORDS), ("mode", MODE_WORDS), ("pace", PACE_WORDS)):
        for value, said in words.items():
            for word in said:
                pattern = _word(word)
                if pattern.search(rest):
                    _put(found, name, value, text)
                    rest = pattern.sub(" ", rest)
    for word in sorted(SKIPPED, key=len, reverse=True):
        rest = _word(word).sub(" ", rest)
    unknown = re.findall(r"[^\W_]+(?:['#/-][^\W_]+)*", rest)
    return Wish(**found, unknown=tuple(dict.fromkeys(unknown)))


def _word(word: str) -> re.Pattern[str]:
    """Finds a word, whole in English, with an s or ly behind it, anywhere in Chinese."""
    if word.isascii():
        return re.compile(rf"(?<![A-Za-z]){re.escape(word)}(?:s|es)?(?![A-Za-z#])", re.I)
    return re.compile(re.escape(word))


def _put(found: dict[str, Any], name: str, value: Any, text: str) -> None:
    if found.get(name, value) != value:
        raise ValueError(f"{name}: found both {found[name]} and {value} in {text!r}; allowed: one of them")
    found[name] = value


def _taken(
    match: re.Match[str],
    take: Callable[[re.Match[str]], dict[str, Any]],
    found: dict[str, Any],
    text: str,
) -> str:
    for name, value in take(match).items():
        if value is not None:
            _put(found, name, value, text)
    return " "


def _number(text: str) -> int:
    """12, 十二, 三十二, 一百二十."""
    if text.isascii():
        return int(text)
    total, digit = 0, 0
    for letter in text:
        if letter in "十百":
            total += (digit or 1) * (10 if letter == "十" else 100)
            digit = 0
        else:
            digit = _DIGITS[letter]
    return total + digit


def _beats(pair: str) -> tuple[int, int]:
    """四三拍 and 三四拍 are both three quarters: what is no unit of beats counts them."""
    first, second = (_DIGITS[letter] for letter in pair)
    return (second, first) if first in (4, 8) and (second not in (4, 8) or first == 8) else (first, second)


def _mode(text: str | None) -> str | None:
    if not text:
        return None
    if text == "m":
        return "minor"
    lowered = text.lower()
    return next(mode for mode, words in MODE_WORDS.items() if lowered in words)


def _key(match: re.Match[str]) -> dict[str, Any]:
    letter, said = match["letter"].upper(), match["sign"] or ""
    before = match.groupdict().get("before") or ""
    sharp = said.strip(" -").lower() in ("#", "♯", "sharp") or before == "升"
    flat = said.strip(" -").lower() in ("b", "♭", "flat") or before == "降"
    return {
        "tonic": letter + ("#" if sharp else "b" if flat else ""),
        "mode": _mode(match["mode"]) or "major",
    }


_MODES = "|".join(
    sorted((word for words in MODE_WORDS.values() for word in words if word.isascii()), key=len, reverse=True)
)
_MODES_ZH = "|".join(
    sorted(
        (word for words in MODE_WORDS.values() for word in words if not word.isascii()), key=len, reverse=True
    )
)
_COUNT = r"\d+|[零〇一二两三四五六七八九十百]+"
_SIGN = r"(?P<sign>#|♯|♭|b(?![a-z])|[ -]?sharp|[ -]?flat)?"
_LETTER = rf"(?P<letter>[A-G]){_SIGN}(?P<mode>m)?(?![A-Za-z#'])"
_PATTERNS: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], dict[str, Any]]], ...] = (
    (
        re.compile(rf"(?P<n>{_COUNT})[ -]*(?:bars?|measures?|小节)(?![A-Za-z])", re.I),
        lambda match: {"bars": _number(match["n"])},
    ),
    (
        re.compile(
            r"(?P<n>\d{2,3})\s*(?:bpm|beats? (?:a|per) minute|拍每分钟)"
            r"|(?:tempo|速度)\s*(?:为|是|=|:|：)?\s*(?P<m>\d{2,3})",
            re.I,
        ),
        lambda match: {"tempo": int(match["n"] or match["m"])},
    ),
    (
        re.compile(r"(?<!\d)(?P<beats>\d{1,2})/(?P<unit>\d{1,2})(?!\d)(?:[ -]*time|拍子|拍)?"),
        lambda match: {"metre": (int(match["beats"]), int(match["unit"]))},
    ),
    (
        re.compile(rf"(?P<unit>{_COUNT})分之?(?P<beats>{_COUNT})拍?子?"),
        lambda match: {"metre": (_number(match["beats"]), _number(match["unit"]))},
    ),
    (
        re.compile(r"(?P<pair>[二三四六八九][二三四六八九])拍子?"),
        lambda match: {"metre": _beats(match["pair"])},
    ),
    (
        re.compile(rf"(?P<before>[升降])?(?P<letter>[A-Ga-g]){_SIGN}\s*(?P<mode>{_MODES_ZH})"),
        _key,
    ),
    (
        re.compile(rf"(?<![A-Za-z'])(?P<letter>[A-Ga-g]){_SIGN}[ -]*(?P<mode>{_MODES})(?![A-Za-z])", re.I),
        _key,
    ),
    (re.compile(rf"(?:\b(?:in|of)\s+){_LETTER}", re.I), _key),
    (re.compile(rf"(?<![A-Za-z'])(?!A[^\w#♯♭]){_LETTER}"), _key),
)
"""What is found by its shape: bars, tempo, metre, key; in this order, as an A may be a word."""

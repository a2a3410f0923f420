"""Classical Chinese verse as training texts: read from the `chinese-poetry` collection, cleaned, named.

Not a judge of verse (tokens/verse.py), and not the split (poem_set.py). A poem is its lines in simplified
characters, each line ending in a full stop as the collection has them; notes, variants and doubtful poems
are left out. Its form is named from the number and the length of its clauses; a ci has its tune's name.
Source: npm `chinese-poetry` 2.0.1 (MIT; the texts are in the public domain): Complete Tang and Song shi, Song
ci, the ci of the Five Dynasties and of Nalan Xingde, the poems of Cao Cao. Simplified by OpenCC's t2s.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenloom.tokens.verse import CI, CLAUSE_END, HAN, LETTERS, clauses, form_of

MAX_BODY = 640
"""Characters; longer poems (one in a thousand) are left out."""
MAX_TITLE = 48
"""Characters; a longer title is a preface: the poem keeps an empty one."""

_SHI_FILES = "quantangshi/poet.*.json"
_CI_FILES = ("songci/ci.song.*.json", "wudaishici/huajianji/*-juan.json", "wudaishici/nantang/poetrys.json")
_OTHER_CI = "nalanxingde/*.json"
_OTHER_SHI = "caocaoshiji/caocao.json"

_NOTE = re.compile(r"（[^（）]*）|\([^()]*\)|〔[^〔〕]*〕|【[^【】]*】|〖[^〖〗]*〗")
_BODY = re.compile(f"[{LETTERS}{CLAUSE_END}]+")
_SENTENCE = re.compile(r"[^。？！]+[。？！]")
_QUOTES = str.maketrans("", "", "「」『』“”‘’\"' \u3000《》")
_POINTS = str.maketrans({",": "，", ".": "。", "?": "？", "!": "！", ";": "；", ":": "：", "﹑": "、"})
_VARIANTS = (
    "疎疏踈疏牕窗徧遍慙惭隄堤逈迥猨猿欵款鴈雁緜绵葢盖徃往囘回竝并徤健覩睹寃冤廼乃粧妆塲场恠怪甞尝栢柏冺泯於于"
    "隠隐髪发頼赖浄净歳岁揺摇毎每薫薰懐怀渇渴戯戏艶艳様样効效巌岩穏稳醤酱勲勋歴历黙默痩瘦専专撃击帯带覧览掲揭"
    "捜搜涙泪荘庄壊坏壌壤聴听縦纵醸酿黒黑歩步逓递豊丰増增闘斗従从賛赞錬炼瀬濑髄髓穣穰穂穗奨奖稲稻収收犠牺恵惠"
    "児儿鉄铁徳德挿插抜拔両两尭尧圏圈剰剩繍绣関关譲让縁缘焼烧曽曾騒骚銭钱塩盐酔醉暁晓遅迟乗乘晩晚衞卫敍叙糭粽"
    "麽么寛宽簷檐"
)
SAME = str.maketrans(dict(zip(_VARIANTS[::2], _VARIANTS[1::2], strict=True)))
"""Shapes of the collection that t2s leaves: older ones, and Japanese ones."""
_FRAGMENT = re.compile(r"句(?:$|[\s其一二三四五六七八九十])")


@dataclass(frozen=True, slots=True)
class Poem:
    """A poem, clean, in simplified characters."""

    title: str
    """May be empty."""
    form: str
    """One of SHI, or 词·<tune>, or 词 where the tune is not known."""
    lines: tuple[str, ...]
    """Sentences with their punctuation, the last mark a full stop, question or exclamation mark."""
    author: str
    source: str
    """Where it was read: file, and number in the file."""

    @property
    def body(self) -> str:
        return "\n".join(self.lines)

    @property
    def letters(self) -> str:
        """The characters alone: what makes two poems the same."""
        return "".join(HAN.findall("".join(self.lines)))


@dataclass(frozen=True, slots=True)
class Dropped:
    """A poem left out, and why."""

    source: str
    why: str
    text: str


def read_poems(
    folder: Path, on_drop: Callable[[Dropped], None], on_file: Callable[[int, int], None] | None = None
) -> Iterator[Poem]:
    """The poems of an unpacked `chinese-poetry` package (the folder that holds `dist`), in a fixed order.

    on_drop is told of each poem left out; on_file(done, of) of each file. ValueError where no poem is found.
    """
    from opencc import OpenCC

    convert = OpenCC("t2s").convert

    def simplify(text: str) -> str:
        return str(convert(text)).translate(SAME)

    root = folder / "dist" if (folder / "dist").is_dir() else folder
    patterns = (_SHI_FILES, _OTHER_SHI, *_CI_FILES, _OTHER_CI)
    files = [file for pattern in patterns for file in sorted(root.glob(pattern), key=_natural)]
    if not files:
        raise ValueError(f"{folder}: found no {_SHI_FILES}; allowed: the folder of npm chinese-poetry")
    for number, file in enumerate(files):
        if on_file:
            on_file(number, len(files))
        name = file.relative_to(root).as_posix()
        ci = not (name.startswith("quantangshi") or name == _OTHER_SHI)
        for index, entry in enumerate(_entries(file)):
            found = poem_of(entry, simplify, f"{name}:{index + 1}", ci)
            if isinstance(found, Dropped):
                on_drop(found)
            else:
                yield found


def _natural(file: Path) -> list[Any]:
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", file.as_posix())]


def _entries(file: Path) -> list[dict[str, Any]]:
    try:
        value = json.loads(file.read_text("utf-8"))
    except ValueError as error:
        raise ValueError(f"{file}: not JSON: {error}") from error
    if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
        raise ValueError(f"{file}: found no list of objects; allowed: the collection's own files")
    return value


def poem_of(
    entry: Mapping[str, Any], simplify: Callable[[str], str], source: str, ci: bool = False
) -> Poem | Dropped:
    """One entry of the collection, cleaned; Dropped where it cannot be trusted."""
    raw = entry.get("paragraphs") or entry.get("para") or []
    title, form = str(entry.get("title") or ""), ""
    lines = clean(raw, simplify)
    if isinstance(lines, str):
        return Dropped(source, lines, "".join(raw)[:80])
    if ci:
        tune = simplify(str(entry.get("rhythmic") or ""))
        if not tune:
            tune, _, title = title.partition("·")
        elif simplify(title).startswith(tune):
            title = ""
        form = _ci_form(tune)
    else:
        if _FRAGMENT.match(title):
            return Dropped(source, "a fragment", "".join(lines))
        if len(clauses("".join(lines))) < 4:
            return Dropped(source, "fewer than four clauses", "".join(lines))
        form = form_of("".join(lines))
    author = simplify(str(entry.get("author") or ""))
    return Poem(_clean_title(simplify(title)), form, lines, author, source)


def _ci_form(tune: str) -> str:
    """The form of a tune; of two names the second is the usual one."""
    name = re.split("[・·]", _NOTE.sub("", tune))[-1].strip()
    return f"{CI}{name}" if name and name != "失调名" and re.fullmatch(f"[{LETTERS}]+", name) else "词"


def clean(raw: Sequence[str], simplify: Callable[[str], str]) -> tuple[str, ...] | str:
    """A body's lines in simplified characters, without notes; else the reason why it is left out."""
    text = "".join(
        line if line[-1:] in "。？！；，、：》" else line + "。" for line in map(str.strip, raw) if line
    )
    text = re.sub(r"《[^》]*》[^。]*ff。?|^ff。|(?<=。)ff。", "", text)  # where a line was found
    while (shorter := _NOTE.sub("", text)) != text:
        text = shorter
    text = simplify(text.translate(_QUOTES).translate(_POINTS))
    text = re.sub("。+", "。", re.sub("[，、；：]+(?=[。？！])", "", text)).lstrip(CLAUSE_END)
    if not text:
        return "empty"
    if not _BODY.fullmatch(text):
        return "gaps, or signs that no poem has"
    if len(text) > MAX_BODY:
        return "too long"
    lines = tuple(_SENTENCE.findall(text if text[-1] in "。？！" else text + "。"))
    longest = max(len(clause) for line in lines for clause in clauses(line))
    return "prose" if longest > 16 else lines


def _clean_title(title: str) -> str:
    """A title without notes; empty where it has gaps or is a preface."""
    title = _NOTE.sub("", title).translate(str.maketrans("", "", "「」『』“”‘’\"'《》〈〉"))
    title = re.sub(r"[\s\u3000・]+", "·", title.strip()).strip("·，。；：、")
    allowed = re.fullmatch(f"[{LETTERS}·{CLAUSE_END}]*", title)
    return title if allowed and len(title) <= MAX_TITLE and title != "无题" else ""

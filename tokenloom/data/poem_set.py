"""Poems -> a training and a held-out set without repeats, and a tokenizer with one id for each character.

Not a general cleaner of text (clean.py) and not a trainer of tokenizers. The split is a pure function of
a poem's characters, so it holds however the collection is ordered; what resembles a held-out poem is not
learned.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokenloom.data.jsonl import read_records, write_records
from tokenloom.data.poems import Poem, read_poems
from tokenloom.data.shards import Shards, ShardWriter
from tokenloom.tokens.folder import tokenizer_files
from tokenloom.tokens.text import Tokenizer
from tokenloom.tokens.verse import CONTROL, END, POEM, clauses, layout

if TYPE_CHECKING:
    import tokenizers

HELD_OUT = 50
"""One poem of so many is held out."""
_GRAM = 5
_SHARE = 0.3
"""A poem that shares this part of its 5-grams with a held-out one resembles it."""


@dataclass(frozen=True, slots=True)
class Sets:
    train: tuple[Poem, ...]
    held_out: tuple[Poem, ...]
    dropped: Mapping[str, int]
    """Why -> how many."""


def number(text: str, purpose: str) -> int:
    """A number for a text, the same on any machine; another one for each purpose."""
    return int.from_bytes(hashlib.sha256(f"{purpose}\0{text}".encode()).digest()[:8], "big")


def is_held_out(poem: Poem) -> bool:
    return number(poem.letters, "held out") % HELD_OUT == 0


def split(poems: Iterable[Poem]) -> Sets:
    """Training and held-out poems, in their order, without repeats.

    Dropped are: a poem whose characters are those of an earlier one; one of which half of the clauses stand
    in one earlier poem; from training, one that shares with a held-out poem a clause of seven characters, two
    clauses, or three tenths of its runs of five characters.
    """
    dropped: Counter[str] = Counter()
    kept = _without_repeats(poems, dropped)
    held_out = [poem for poem in kept if is_held_out(poem)]
    resembles = _resemblance(held_out)
    train = []
    for poem in kept:
        if is_held_out(poem):
            continue
        if resembles(poem):
            dropped["resembles a held-out poem"] += 1
        else:
            train.append(poem)
    return Sets(tuple(train), tuple(held_out), dict(dropped))


def _without_repeats(poems: Iterable[Poem], dropped: Counter[str]) -> list[Poem]:
    seen: set[str] = set()
    first: dict[str, int] = {}  # a clause -> the first poem that has it
    kept: list[Poem] = []
    for poem in poems:
        if poem.letters in seen:
            dropped["repeats another poem"] += 1
            continue
        parts = set(clauses(poem.body))
        shared = Counter(first[part] for part in parts if part in first and len(part) >= 4)
        if shared and max(shared.values()) * 2 >= len(parts):
            dropped["nearly repeats another poem"] += 1
            continue
        seen.add(poem.letters)
        for part in parts:
            first.setdefault(part, len(kept))
        kept.append(poem)
    return kept


def _resemblance(held_out: Sequence[Poem]) -> Callable[[Poem], bool]:
    """Whether a poem resembles one of these."""
    lines: dict[str, list[int]] = {}
    grams: dict[str, list[int]] = {}
    sizes = []
    for index, poem in enumerate(held_out):
        for part in set(clauses(poem.body)):
            lines.setdefault(part, []).append(index)
        found = _grams(poem.letters)
        sizes.append(len(found))
        for gram in found:
            grams.setdefault(gram, []).append(index)

    def resembles(poem: Poem) -> bool:
        parts = set(clauses(poem.body))
        if any(len(part) >= 7 and part in lines for part in parts):
            return True
        same = Counter(index for part in parts if len(part) >= 4 for index in lines.get(part, ()))
        if same and max(same.values()) >= 2:
            return True
        own = _grams(poem.letters)
        shared = Counter(index for gram in own for index in grams.get(gram, ()))
        return any(count >= _SHARE * min(len(own), sizes[index]) for index, count in shared.items())

    return resembles


def _grams(letters: str) -> set[str]:
    return {letters[at : at + _GRAM] for at in range(len(letters) - _GRAM + 1)}


def record(poem: Poem, learned: bool) -> dict[str, str]:
    """A poem as a line of a data set.

    learned: for training; then one text of ten has no title and one of twenty no form, so that a model learns
    to do without.
    """
    title = "" if learned and number(poem.letters, "title") % 10 == 0 else poem.title
    form = "" if learned and number(poem.letters, "form") % 20 == 0 else poem.form
    text = layout(title, form, poem.body)
    return {
        "text": text,
        "title": poem.title,
        "form": poem.form,
        "author": poem.author,
        "source": poem.source,
    }


def count_characters(texts: Iterable[str]) -> Counter[str]:
    """How often each character stands in the texts; ASCII is left out, which is the control tokens'."""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(text)
    return Counter({letter: count for letter, count in counts.items() if not letter.isascii()})


def character_tokenizer(
    counts: Mapping[str, int], least: int = 8, most: int = 8192, multiple: int = 64
) -> tokenizers.Tokenizer:
    """A byte-level BPE in which no merge crosses a character, and each frequent character is one id.

    Ids: 256 bytes, then the beginnings of characters and the characters, then the control tokens. Characters
    seen fewer than `least` times, and the rarest ones where there would be more than `most` ids or no
    multiple of `multiple`, are spelt in bytes.
    """
    from tokenizers import AddedToken

    from tokenloom.tokens.train import character_bpe

    backend = character_bpe(counts, most - len(CONTROL), least)
    while (size := backend.get_vocab_size()) > 256 and (over := (size + len(CONTROL)) % multiple):
        backend = character_bpe(counts, size - over, least)
    backend.add_special_tokens([AddedToken(mark, normalized=False) for mark in CONTROL])
    return backend


def write_poems(
    package: Path, out: Path, progress: Callable[[int, int], None] | None = None
) -> dict[str, Any]:
    """Writes train.jsonl, heldout.jsonl, tokenizer/ and the shards train/, train_all/, heldout/; the counts.

    package: an unpacked `chinese-poetry`. In train/ and heldout/ only a poem's body and its end are learned;
    in train_all/ title and form, too.
    """
    why: Counter[str] = Counter()
    sets = split(read_poems(package, lambda drop: why.update([drop.why]), progress))
    out.mkdir(parents=True, exist_ok=True)
    write_records(out / "train.jsonl", (record(poem, True) for poem in sets.train))
    write_records(out / "heldout.jsonl", (record(poem, False) for poem in sets.held_out))
    counts = count_characters(entry["text"] for entry in read_records(out / "train.jsonl"))
    backend = character_tokenizer(counts)
    tokenizer = Tokenizer(backend, named={"eos_token": int(backend.token_to_id(END) or 0)})
    (out / "tokenizer").mkdir(exist_ok=True)
    for name, text in tokenizer_files(tokenizer).items():
        (out / "tokenizer" / name).write_text(text, encoding="utf-8")
    about = {
        "poems": {"train": len(sets.train), "heldout": len(sets.held_out)},
        "body_characters": {
            "train": sum(len(poem.body) for poem in sets.train),
            "heldout": sum(len(poem.body) for poem in sets.held_out),
        },
        "dropped": {**why, **sets.dropped},
        "vocab_size": tokenizer.vocab_size,
        "characters_with_an_id": sum(len(tokenizer.encode(letter)) == 1 for letter in counts),
        "characters": len(counts),
    }
    for name, source, masked in (
        ("train", "train", True),
        ("train_all", "train", False),
        ("heldout", "heldout", True),
    ):
        shards = _write_shards(out / name, read_records(out / f"{source}.jsonl"), tokenizer, masked)
        about[f"tokens_{name}"] = shards.n_tokens
    return about


def _write_shards(
    folder: Path, entries: Iterable[Mapping[str, str]], tokenizer: Tokenizer, masked: bool
) -> Shards:
    start = tokenizer.special[POEM]
    with ShardWriter(
        folder, tokenizer_hash=tokenizer.hash, vocab_size=tokenizer.vocab_size, masked=masked
    ) as writer:
        for entry in entries:
            ids = tokenizer.encode_control(entry["text"])
            body = ids.index(start) + 1
            learned = [at >= body for at in range(len(ids))] if masked else None
            writer.add(ids, learned, n_bytes=len(entry["text"].encode()))
        return writer.finish()

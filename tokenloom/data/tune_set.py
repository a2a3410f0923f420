"""Tunes -> a training and a held-out set that share no melody, and the tokenizer of a composer.

Not the reading of collections (tunes.py) and not the layouts (tokens/music.py). The two books share many
tunes, under other names and in other keys; what is alike is found by runs of intervals and put in one group,
and a group is wholly learned or wholly held out. For training a tune is written in its own key and in others,
with its parts repeated now and then, and with bars hidden to be filled in. All is a pure function of the
tunes and a seed.
"""

from __future__ import annotations

import hashlib
import itertools
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

from tokenloom.config import put_json
from tokenloom.data.jsonl import read_records, write_records
from tokenloom.data.shards import Shards, ShardWriter
from tokenloom.data.tunes import Tune, read_tunes
from tokenloom.sound.score import Note, Score, Track, bar_ticks, transposed
from tokenloom.tokens.layout import Example
from tokenloom.tokens.music import MusicTokens, add_music
from tokenloom.tokens.train import Plan, train_tokenizer, write_tokenizer

HELD_OUT = 20
"""One group of so many is held out."""
RUN = 10
"""Intervals of a run by which tunes are compared."""
SHARE = 0.25
"""Tunes are alike where they share this part of the runs of the one that has fewer."""
TUNES, TRAIN, HELD, TOKENIZER = "tunes.jsonl", "train", "held", "tokenizer"
SHIFTS = range(-5, 7)
"""Semitones by which a tune is moved for training."""
LOWEST, HIGHEST = 53, 93
"""Pitches within which a moved tune stays."""


@dataclass(frozen=True)
class Mix:
    """How the training set is made of a tune."""

    keys: int = 3
    """Documents of a whole tune: one in its own key, the others moved."""
    repeated: float = 0.2
    """Share of them in which each part of eight bars is played twice."""
    infills: int = 2
    """Documents in which bars are hidden."""
    longest: int = 512
    """Ids of a document at most; longer ones are left out."""


def write_tunes(wheel: Path, out: Path, progress: Callable[[int, int], None] | None = None) -> dict[str, Any]:
    """Reads the collections and writes out/tunes.jsonl, a tune a line; returns the counts."""
    dropped: Counter[str] = Counter()
    out.mkdir(parents=True, exist_ok=True)
    tunes = list(read_tunes(wheel, lambda why: dropped.update([why]), progress))
    write_records(out / TUNES, (_record(tune) for tune in tunes))
    kinds = Counter(tune.score.kind or "none" for tune in tunes)
    return {"tunes": len(tunes), "kinds": dict(kinds.most_common()), "dropped": dict(dropped)}


def _record(tune: Tune) -> dict[str, Any]:
    score = tune.score
    return {
        "source": tune.source,
        "kind": score.kind,
        "key": score.keys[0][1:],
        "metre": score.metres[0][1:],
        "tempo": score.tempos[0][1],
        "pickup": score.pickup,
        "notes": [[note.start, note.duration, note.pitch] for note in score.tracks[0].notes],
    }


def _tune(record: dict[str, Any]) -> Tune:
    score = Score(
        (Track(tuple(Note(*note) for note in record["notes"])),),
        ((0, *record["metre"]),),
        ((0, *record["key"]),),
        ((0, record["tempo"]),),
        record["pickup"],
        kind=record["kind"],
    )
    return Tune(score, record["source"])


def open_tunes(folder: Path) -> list[Tune]:
    """What `write_tunes` wrote. ValueError where nothing is there."""
    if not (folder / TUNES).is_file():
        raise ValueError(f"tunes: found no {TUNES} in {folder}; `loom data tunes` writes it")
    return [_tune(record) for record in read_records(folder / TUNES)]


# --- what is alike ----------------------------------------------------------------------------------------


def intervals(score: Score) -> tuple[int, ...]:
    """Semitones from each note of the melody to the next; repeated notes are one."""
    pitches = [note.pitch for note in score.tracks[0].notes]
    steps = (then - now for now, then in itertools.pairwise(pitches))
    return tuple(step for step in steps if step)


def groups(tunes: Sequence[Tune]) -> list[list[int]]:
    """Places of tunes that are alike, directly or over others; each tune is in one group, in their order."""
    grams = [_runs(intervals(tune.score)) for tune in tunes]
    having: dict[tuple[int, ...], list[int]] = {}
    parent = list(range(len(tunes)))

    def root(at: int) -> int:
        while parent[at] != at:
            parent[at] = parent[parent[at]]
            at = parent[at]
        return at

    for at, own in enumerate(grams):
        shared = Counter(other for gram in own for other in having.get(gram, ()))
        for other, count in shared.items():
            if count >= max(3, SHARE * min(len(own), len(grams[other]))):
                parent[root(at)] = root(other)
        for gram in own:
            having.setdefault(gram, []).append(at)
    found: dict[int, list[int]] = {}
    for at in range(len(tunes)):
        found.setdefault(root(at), []).append(at)
    return list(found.values())


def _runs(steps: tuple[int, ...]) -> set[tuple[int, ...]]:
    return {steps[at : at + RUN] for at in range(len(steps) - RUN + 1)}


@dataclass(frozen=True)
class Split:
    train: tuple[Tune, ...]
    held: tuple[Tune, ...]
    """One tune of each group that is held out."""
    about: dict[str, int]


def split_tunes(tunes: Sequence[Tune]) -> Split:
    """Whole groups, by their first tune's intervals; of tunes with the same intervals the first stays."""
    train: list[Tune] = []
    held: list[Tune] = []
    about: Counter[str] = Counter()
    for group in groups(tunes):
        seen: set[tuple[int, ...]] = set()
        about["groups"] += 1
        about["largest group"] = max(about["largest group"], len(group))
        first = intervals(tunes[group[0]].score)
        if number(" ".join(map(str, first)), "held out") % HELD_OUT == 0:
            held.append(tunes[group[0]])
            about["alike to one held out"] += len(group) - 1
            continue
        for at in group:
            steps = intervals(tunes[at].score)
            if steps in seen:
                about["the same intervals"] += 1
                continue
            seen.add(steps)
            train.append(tunes[at])
    return Split(tuple(train), tuple(held), dict(about))


def number(text: str, purpose: str) -> int:
    """A number for a text, the same on any machine; another one for each purpose."""
    return int.from_bytes(hashlib.sha256(f"{purpose}\0{text}".encode()).digest()[:8], "big")


# --- examples ---------------------------------------------------------------------------------------------


def examples(tune: Tune, tokens: MusicTokens, mix: Mix, seed: int) -> Iterator[Example]:
    """The training documents of a tune."""
    rng = Random(number(tune.source, f"examples {seed}"))
    score = tune.score
    shifts = [shift for shift in SHIFTS if shift and _fits(score, shift)]
    rng.shuffle(shifts)
    for shift in [0, *shifts][: mix.keys]:
        moved = transposed(score, shift)
        if rng.random() < mix.repeated:
            moved = with_repeats(moved)
        yield tokens.example_compose(moved)
    bars = len(score.bars)
    for _ in range(mix.infills if bars > 5 else 0):
        size = rng.randint(1, min(8, bars // 2))
        first = rng.randint(1 if score.pickup else 0, bars - size)
        shift = rng.choice([0, *shifts])
        yield tokens.example_infill(transposed(score, shift), range(first, first + size))


def _fits(score: Score, shift: int) -> bool:
    pitches = [note.pitch + shift for note in score.tracks[0].notes]
    return min(pitches) >= LOWEST and max(pitches) <= HIGHEST


def with_repeats(score: Score, part: int = 8) -> Score:
    """Each part of so many bars twice, as it is played; as it was where the bars make no whole parts."""
    bars = score.bars[bool(score.pickup) :]
    if len(bars) % part or len(bars) > 24:
        return score
    length = bar_ticks(*score.metres[0][1:])
    notes = [note for note in score.tracks[0].notes if note.start < score.pickup]
    for at in range(0, len(bars), part):
        begin, end = bars[at][0], bars[at + part - 1][1]
        inside = [note for note in score.tracks[0].notes if begin <= note.start < end]
        for shift in (at * length, (at + part) * length):
            notes += [replace(note, start=note.start + shift) for note in inside]
    return replace(score, tracks=(Track(tuple(notes)),))


# --- the set ----------------------------------------------------------------------------------------------


def write_tune_set(
    folder: Path,
    mix: Mix = Mix(),
    seed: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Writes tokenizer/, train/ and held/ beside the tunes of a folder; returns the counts.

    In held/ each tune stands once, in its own key. ValueError without tunes.
    """
    tunes = open_tunes(folder)
    found = split_tunes(tunes)
    write_music_tokenizer(folder / TOKENIZER)
    tokens = MusicTokens.open(folder / TOKENIZER)
    about: dict[str, Any] = {
        "tunes": {"train": len(found.train), "held": len(found.held)},
        **found.about,
        "vocab_size": tokens.vocabulary.size,
    }
    documents = [
        example
        for tune in _told(found.train, progress)
        for example in examples(tune, tokens, mix, seed)
        if len(example.ids) <= mix.longest
    ]
    Random(seed).shuffle(documents)
    for name, some in (
        (TRAIN, documents),
        (HELD, [tokens.example_compose(tune.score) for tune in found.held]),
    ):
        shards = _write(folder / name, [one for one in some if len(one.ids) <= mix.longest], tokens, about)
        about[f"documents_{name}"], about[f"tokens_{name}"] = shards.n_documents, shards.n_tokens
    write_records(folder / "held.jsonl", (_record(tune) for tune in found.held))
    put_json(folder / "about.json", about)
    return about


def _told(tunes: Sequence[Tune], progress: Callable[[int, int], None] | None) -> Iterator[Tune]:
    for at, tune in enumerate(tunes):
        if progress is not None:
            progress(at, len(tunes))
        yield tune


def write_music_tokenizer(folder: Path) -> None:
    """Bytes, the layouts' marks and the events; one that is there is replaced."""
    trained = train_tokenizer(["music"], Plan(vocab_size=258, characters=True, chat=False))
    tokenizer, vocabulary = add_music(trained.tokenizer, trained.vocabulary)
    write_tokenizer(folder, replace(trained, tokenizer=tokenizer, vocabulary=vocabulary), overwrite=True)


def _write(folder: Path, documents: Iterable[Example], tokens: MusicTokens, about: dict[str, Any]) -> Shards:
    shutil.rmtree(folder, ignore_errors=True)
    with ShardWriter(
        folder,
        tokenizer_hash=tokens.tokenizer.hash,
        vocab_size=tokens.vocabulary.size,
        masked=True,
        about={key: value for key, value in about.items() if not isinstance(value, dict)},
    ) as writer:
        for ids, learned in documents:
            writer.add(ids, learned, n_bytes=len(ids))
        return writer.finish()

"""Tunes on their way: what is seen of them agrees with what they become."""

from __future__ import annotations

import random

import pytest
from tiny_composer import ABC

from tokenloom.sound.abc import read_tune
from tokenloom.sound.score import Note, Score, cut
from tokenloom.tasks.music_early import Watch, bars_of, so_far
from tokenloom.tokens.music import MusicAsk, MusicTokens, add_music, melody
from tokenloom.tokens.music_score import snapped
from tokenloom.tokens.music_wish import Wish
from tokenloom.tokens.train import Plan, train_tokenizer

PICKUP = """X:1
R:jig
M:6/8
L:1/8
K:G
D|GAB d2 z|z6|c3- c2 B|AGF G2 z|B2 z z3|G6|]
"""

CHANGED = """X:1
R:air
M:4/4
L:1/4
K:D
DEFA|d2A2-|[M:3/4]A2F-|F3|EFG|z3|A2z|D3|]
"""
"""Notes sound on into bars of another metre, of which nothing is known when they are written."""


@pytest.fixture(scope="module")
def tokens() -> MusicTokens:
    trained = train_tokenizer(["music"], Plan(vocab_size=258, characters=True, chat=False))
    return MusicTokens(*add_music(trained.tokenizer, trained.vocabulary))


def answer_of(tokens: MusicTokens, ask: MusicAsk, score: Score) -> list[int]:
    """The ids that a model would have written for a score, behind what was asked."""
    ids = tokens.ids_of(score)
    if ask.around is None:
        return ids[len(ask.ids) :]
    return tokens.example_infill(score, range(ask.hidden[0], ask.hidden[-1] + 1)).ids[len(ask.ids) :]


def asks(tokens: MusicTokens, score: Score) -> dict[str, MusicAsk]:
    first, bars = int(not score.pickup), len(score.bars)
    whole = bars - bool(score.pickup)
    front = cut(score, first, whole - 3)
    return {
        "compose": tokens.compose(Wish()),
        "key": tokens.compose(Wish(kind=score.kind, metre=score.metres[0][1:])),
        "continue": tokens.go_on(front, whole),
        "middle": tokens.infill(score, 2, 4),
        "front": tokens.infill(score, first, 2),
        "end": tokens.infill(score, whole - 1, whole),
    }


@pytest.mark.parametrize("abc", [ABC, PICKUP, CHANGED], ids=["reel", "jig", "air"])
@pytest.mark.parametrize("task", ["compose", "key", "continue", "middle", "front", "end"])
def test_what_is_seen_grows_into_the_score(tokens: MusicTokens, abc: str, task: str) -> None:
    line = snapped(melody(read_tune(abc)))
    ask = asks(tokens, line)[task]
    ids = answer_of(tokens, ask, line)
    whole = tokens.score(ask, ids)
    final = {bar.number: bar for bar in bars_of(whole)}
    watch = Watch(tokens, ask, drafts=2)
    seen: dict[int, tuple[Note, ...]] = {}
    shown = []
    pick = random.Random(3)
    at = 0
    while at < len(ids):
        at = min(len(ids), at + pick.randint(1, 4))
        answers = [ids[:at], ids[: at // 2]]
        for version in watch.due(answers):
            news = watch.news(version, answers)
            if news is not None:
                seen.update({bar.number: bar.notes for bar in news.bars})
                shown.append(len(seen))
                assert news.of == len(line.bars) - bool(line.pickup)
                for bar in news.bars:
                    assert (bar.start, bar.stop) == (final[bar.number].start, final[bar.number].stop)
                    assert bar.notes in ((), final[bar.number].notes), "whole, or not written yet"
    assert len(shown) > 1, "it grows"
    news = watch.news(0, [ids, ids])
    seen.update({bar.number: bar.notes for bar in news.bars} if news else {})
    assert seen == {number: bar.notes for number, bar in final.items()}
    assert watch.news(0, [ids, ids]) is None, "nothing is told twice"


def test_nothing_is_seen_before_the_first_bar_is_whole(tokens: MusicTokens) -> None:
    score = read_tune(ABC)
    ask = tokens.compose(Wish())
    ids = answer_of(tokens, ask, score)
    found = [so_far(tokens, ask, ids[:at]) for at in range(len(ids))]
    first = next(at for at, one in enumerate(found) if one is not None)
    assert first > 6
    counts = [whole for _, whole in filter(None, found)]
    assert counts == sorted(counts)

"""A constraint of kind `music` in the engine: whatever its logits are, what comes is a score."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_step import FakeStep
from plain_answer import drive

from tokenloom.engine.check import BadRequest
from tokenloom.engine.core import Core
from tokenloom.engine.load import _Compiler
from tokenloom.engine.request import Constraint, Request, Sampling
from tokenloom.tokens.music import MusicTokens, add_music
from tokenloom.tokens.music_wish import Wish
from tokenloom.tokens.train import Plan, train_tokenizer


@pytest.fixture(scope="module")
def tokens() -> MusicTokens:
    trained = train_tokenizer(["music"], Plan(vocab_size=258, characters=True, chat=False))
    return MusicTokens(*add_music(trained.tokenizer, trained.vocabulary))


def core(tokens: MusicTokens) -> Core:
    size = tokens.vocabulary.size
    compile_ = _Compiler(Path("nowhere"), tokens.tokenizer.eos_ids, size)
    return Core(FakeStep(vocab_size=size, context=512), compile_constraint=compile_)


@pytest.mark.parametrize("temperature", [0.0, 1.0, 5.0])
def test_scores_of_one_request_and_of_many(tokens: MusicTokens, temperature: float) -> None:
    wishes = [Wish("reel", tonic="D", bars=8), Wish("slip jig", bars=6), Wish()]
    asks = [tokens.compose(wish) for wish in wishes]
    requests = [
        Request(
            str(at),
            "m",
            ask.ids,
            ask.max_tokens,
            Sampling(temperature=temperature),
            seed=at,
            n=2,
            stop_ids=ask.stop_ids,
            constraint=Constraint("music", ask.rules),
        )
        for at, ask in enumerate(asks)
    ]
    inbox = drive(core(tokens), *requests)
    for at, ask in enumerate(asks):
        for choice in range(2):
            answer = inbox.answer(str(at), choice)
            assert answer.finish == "stop"
            assert answer.stop_id == ask.stop_ids[0]
            score = tokens.score(ask, answer.ids)
            assert wishes[at].bars in (None, len(score.bars) - bool(score.pickup))
        alone = drive(core(tokens), requests[at])
        assert alone.answer(str(at)) == inbox.answer(str(at))


def test_rules_that_are_none(tokens: MusicTokens) -> None:
    request = Request("a", "m", (1, 2), 8, constraint=Constraint("music", "{}"))
    with pytest.raises(BadRequest, match=r"constraint.text \(music\): rules of music"):
        core(tokens).add(request)

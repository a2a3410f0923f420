"""The road without an engine: what it asks for step by step, what is shown of a half-written picture."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_painter import PLACES, SIZE, tiny_painter

from tokenloom.tasks.picture_early import Partial, blank
from tokenloom.tasks.picture_wish import PictureError, Wish
from tokenloom.tasks.pictures import (
    Decode,
    Encode,
    Judge,
    Painter,
    Write,
    describe,
    draw,
    edit,
    restyle,
    vary,
    walk,
)
from tokenloom.tokens.image import DESCRIPTIONS, DRAFTS, RESTYLING, STYLES


@pytest.fixture(scope="module", params=[1, 2], ids=["one code a place", "two codes a place"])
def painter(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Painter:
    folder = tmp_path_factory.mktemp("road") / f"painter{request.param}"
    return Painter.open(tiny_painter(folder, depth=request.param), "painter")


class Taker:
    """Answers every need with something plain, and remembers what was needed."""

    def __init__(self, painter: Painter) -> None:
        self.painter = painter
        self.needs: list[Any] = []
        self.fits = np.array([0.3, 0.9, 0.7, 0.5, 0.2, 0.8, 0.1, 0.1], np.float32)

    def __call__(self, need: Any) -> Any:
        self.needs.append(need)
        tokens = self.painter.tokens
        match need:
            case Write(picture=True):
                first, _ = tokens.vocabulary.range("image")
                return [
                    tuple(
                        id if id >= 0 else first + i % tokens.n_codes
                        for id in (need.ask.forced or (-1,) * tokens.per_picture)
                    )
                    for i in range(need.n)
                ]
            case Write():
                words = ["a fox", "", "a cat", "a dog", "a cow", "a bear", "a pig", "a rat"]
                return [tuple(tokens.tokenizer.encode(text)) for text in words[: need.n]]
            case Encode():
                return np.arange(tokens.per_picture)[None] % tokens.n_codes
            case Decode():
                return (
                    np.repeat(need.codes[:, :1, None, None], SIZE, 1)
                    .repeat(SIZE, 2)
                    .repeat(4, 3)
                    .astype("u1")
                )
            case Judge():
                return np.resize(self.fits, (len(need.told), len(need.pictures)))

    @property
    def kinds(self) -> list[str]:
        return [type(need).__name__ for need in self.needs]


def source() -> np.ndarray:
    return np.zeros((SIZE, SIZE, 4), np.uint8)


def test_drawing(painter: Painter) -> None:
    take = Taker(painter)
    drawn = walk(draw(painter, "a fox", "noto", Wish(n=3, seed=5)), take)
    assert take.kinds == ["Write", "Decode"]
    request = take.needs[0].request("id", "model")
    assert (request.n, request.seed, request.guidance) == (3, 5, 2.0)
    assert request.max_tokens == painter.tokens.per_picture
    assert request.allowed == (painter.tokens.vocabulary.range("image"),)
    assert len(request.negative) < len(request.ids)
    assert drawn.codes[:, 0].tolist() == [0, 1, 2]
    assert drawn.picture_tokens == 3 * painter.tokens.per_picture


def test_words_are_those_of_captions_and_a_style_may_be_among_them(painter: Painter) -> None:
    take = Taker(painter)
    drawn = walk(draw(painter, "2 gray kittens in noto style"), take)
    assert drawn.prompt == "two grey cats"
    assert take.needs[0].ask == painter.tokens.draw("two grey cats", "noto")
    walk(draw(painter, "一只红色的狐狸，扁平风格", "fluent"), take)
    assert take.needs[2].ask.ids[-2] == painter.tokens.tokenizer.special["<|style:fluent|>"], (
        "given beats named"
    )
    with pytest.raises(PictureError, match="prompt: it is empty"):
        walk(draw(painter, "noto style"), take)


def test_guidance_of_one_has_no_twin(painter: Painter) -> None:
    take = Taker(painter)
    walk(draw(painter, "a fox", None, Wish(guidance=1.0, temperature=0.5, top_k=9, top_p=0.8)), take)
    request = take.needs[0].request("id", "model")
    assert request.negative == ()
    assert (request.sampling.temperature, request.sampling.top_k, request.sampling.top_p) == (0.5, 9, 0.8)


def test_the_best_of_each_group_in_order(painter: Painter) -> None:
    take = Taker(painter)
    drawn = walk(draw(painter, "a fox", None, Wish(n=2, best_of=3, seed=1)), take)
    assert take.kinds == ["Write", "Decode", "Judge"]
    assert take.needs[0].n == 6
    assert drawn.codes[:, 0].tolist() == [1, 5], "0.9 of the first three, 0.8 of the others"
    assert drawn.scores == pytest.approx((0.9, 0.8))


def test_an_edit_forces_what_is_known(painter: Painter) -> None:
    take = Taker(painter)
    marked = np.zeros((SIZE, SIZE), bool)
    marked[0, 0] = True
    drawn = walk(edit(painter, source(), marked, "a hat", None, Wish(seed=1)), take)
    assert take.kinds == ["Encode", "Write", "Decode"]
    forced = np.array(take.needs[1].ask.forced)
    assert (forced < 0).sum() == painter.depth, "one place is free"
    assert drawn.codes[0, painter.depth :].tolist() == list(range(painter.depth, painter.tokens.per_picture))


def test_the_other_roads(painter: Painter) -> None:
    take = Taker(painter)
    assert walk(describe(painter, source(), "zh", best_of=1), take).text == "a fox"
    assert take.kinds == ["Encode", "Write"]
    assert take.needs[1].sampling.temperature == 0
    take = Taker(painter)
    assert walk(vary(painter, source()), take).prompt == "a bear"
    assert take.kinds == ["Encode", "Write", "Judge", "Write", "Decode"]


def test_of_drafts_in_another_style_the_one_is_kept_that_fits_what_the_source_shows(painter: Painter) -> None:
    take = Taker(painter)
    take.fits = np.zeros((1 + len(STYLES), 1 + 2 * DRAFTS), np.float32)
    take.fits[0, [1 + 3, 1 + DRAFTS + 5]] = 1.0
    drawn = walk(restyle(painter, source(), "noto", Wish(n=2)), take)
    assert take.kinds == ["Encode", "Write", "Decode", "Write", "Judge"]
    assert take.needs[1].n == 2 * DRAFTS
    request = take.needs[1].request("id", "model")
    assert (request.guidance, request.sampling.temperature) == RESTYLING
    told, shown = take.needs[-1].told, take.needs[-1].pictures
    assert np.array_equal(told[0], source())
    names = (*STYLES[:3], "clip art")
    assert told[1:] == tuple(f"a fox, {name} style" for name in names), "its description, in every style"
    assert np.array_equal(shown[0], source())
    assert len(shown) == 1 + 2 * DRAFTS
    second = (DRAFTS + 5) % painter.tokens.n_codes
    assert drawn.codes[:, 0].tolist() == [3, second], "each of its own drafts"
    assert drawn.pixels[:, 0, 0, 0].tolist() == [3, second]
    assert drawn.picture_tokens == 2 * DRAFTS * painter.tokens.per_picture
    for wish, drafts in ((Wish(n=2, best_of=3), 6), (Wish(n=64), 256)):  # as many as are allowed
        take = Taker(painter)
        walk(restyle(painter, source(), "noto", wish), take)
        assert take.needs[1].n == drafts
    for wish in (Wish(best_of=1), Wish(temperature=0.0)):  # all drafts would be one
        take = Taker(painter)
        walk(restyle(painter, source(), "noto", wish), take)
        assert take.kinds == ["Encode", "Write", "Decode"]
        assert take.needs[1].n == 1


def test_without_a_judge_the_draft_is_kept_that_is_like_the_others(painter: Painter) -> None:
    alone = replace(painter, judges=False)
    take = Taker(alone)
    drawn = walk(restyle(alone, source(), "noto"), take)
    assert take.kinds == ["Encode", "Write", "Decode"]
    made = take.needs[2].codes[:, 0]
    assert made.min() < drawn.codes[0, 0] < made.max()


def test_the_judge_chooses_among_the_likeliest_descriptions(painter: Painter) -> None:
    take = Taker(painter)
    found = walk(describe(painter, source()), take)
    assert found.text == "a bear", "what says nothing is not chosen, however it is judged"
    request = take.needs[1].request("id", "model")
    assert (request.n, request.beams) == (DESCRIPTIONS, DESCRIPTIONS)
    take = Taker(painter)
    walk(describe(painter, source(), temperature=0.5, best_of=3), take)
    request = take.needs[1].request("id", "model")
    assert (request.n, request.beams, request.sampling.temperature) == (3, 1, 0.5)
    alone = replace(painter, judges=False)
    take = Taker(alone)
    assert walk(describe(alone, source()), take).text == "a fox"
    with pytest.raises(PictureError, match="best_of: found 2; painter has no judge"):
        walk(describe(alone, source(), best_of=2), take)


def test_a_half_written_picture_shows_its_whole_places(painter: Painter) -> None:
    first, _ = painter.tokens.vocabulary.range("image")
    neutral = np.full(painter.tokens.per_picture, 7)
    partial = Partial(painter, neutral, (first + 3, first + 4, first + 5))
    assert partial.codes()[:5].tolist() == [3, 4, 5, 7, 7]
    assert partial.known().tolist() == [i < 3 // painter.depth for i in range(PLACES)]
    forced = (-1,) * painter.depth + (first + 9,) * (painter.tokens.per_picture - painter.depth)
    edited = Partial(painter, neutral, (), forced)
    assert edited.known().tolist() == [False] + [True] * (PLACES - 1), "what an edit keeps is known at once"
    assert edited.codes()[-1] == 9
    assert blank(painter).shape == (1, SIZE, SIZE, 4)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda p: describe(p, source(), best_of=0), "best_of: found 0"),
        (
            lambda p: describe(p, source(), best_of=17),
            "best_of: found 17; allowed: a whole number from 1 to 16",
        ),
        (lambda p: restyle(p, source(), "oil"), "style: found 'oil'"),
        (lambda p: edit(p, source(), np.zeros((SIZE, SIZE), bool), "hat"), "mask: nothing is marked"),
        (lambda p: edit(p, source(), np.ones((SIZE, SIZE), bool), " "), "prompt: it is empty"),
        (lambda p: describe(p, source(), "fr"), "lang: found 'fr'"),
        (lambda p: describe(p, source(), temperature=3), "temperature: found 3"),
        (lambda p: describe(p, source(), max_tokens=0), "max_tokens: found 0"),
    ],
)
def test_a_wish_at_fault_says_so_before_anything_is_computed(painter: Painter, make: Any, words: str) -> None:
    take = Taker(painter)
    with pytest.raises(PictureError, match=words):
        walk(make(painter), take)
    assert "Write" not in take.kinds


def test_a_text_model_is_no_painter(tmp_path: Path) -> None:
    with pytest.raises(PictureError, match="draws no pictures and sees none"):
        Painter.open(tmp_path)

"""The Python API on a small random model: lists, streams, stop texts, seeds, closing, threads."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
from gguf_fixtures import small_llama

import tokenloom as tl


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> tl.Model:
    path = tmp_path_factory.mktemp("api") / "small.gguf"
    small_llama(path, kind="Q8_0")
    return tl.load(path, slots=4)


def test_one_and_many(model: tl.Model) -> None:
    one = model.generate("hello there", max_tokens=8, temperature=0)
    ids = model.generate(model.tokenizer.encode("hello there", bos=True), max_tokens=8, temperature=0)
    many = model.generate(["hello there", list(one.prompt_ids), "the in"], max_tokens=8, temperature=0)
    assert one.ids == ids.ids == many[0].ids == many[1].ids
    assert len(many) == 3
    assert one.text == model.tokenizer.decode(one.ids)
    assert model.generate([], max_tokens=3) == []


def test_seeds_and_choices(model: tl.Model) -> None:
    first = model.generate("hello", max_tokens=12, seed=5, n=3)
    again = model.generate("hello", max_tokens=12, seed=5, n=3)
    assert [g.ids for g in first] == [g.ids for g in again]
    assert len({g.ids for g in first}) == 3
    drawn = model.generate("hello", max_tokens=12)
    assert model.generate("hello", max_tokens=12, seed=drawn.seed).ids == drawn.ids


def test_a_zero_is_a_zero(model: tl.Model) -> None:
    assert model.generate("hello", max_tokens=0).ids == ()
    assert len({model.generate("hello", max_tokens=6, temperature=0, seed=s).ids for s in range(4)}) == 1


def test_stream_is_generate(model: tl.Model) -> None:
    whole = model.generate("hello there", max_tokens=20, seed=3)
    pieces = list(model.stream("hello there", max_tokens=20, seed=3))
    assert "".join(p.text for p in pieces) == whole.text
    assert pieces[-1].result is not None
    assert pieces[-1].result.ids == whole.ids
    assert all(p.result is None for p in pieces[:-1])


def test_a_closed_stream_frees_its_slot(model: tl.Model) -> None:
    for _ in range(12):  # more than there are slots
        stream = model.stream("hello", max_tokens=100, ignore_eos=True)
        next(stream)
        stream.close()
    assert not model._open
    assert len(model.generate("hello", max_tokens=5, ignore_eos=True).ids) == 5


def test_two_streams_and_a_call_between(model: tl.Model) -> None:
    alone = [model.generate(t, max_tokens=10, seed=1).text for t in ("hello", "the in")]
    one = model.stream("hello", max_tokens=10, seed=1)
    two = model.stream("the in", max_tokens=10, seed=1)
    said = [next(one).text, next(two).text]
    model.generate("er er", max_tokens=5)
    said[0] += "".join(p.text for p in one)
    said[1] += "".join(p.text for p in two)
    assert said == alone


def test_a_stop_text_ends_and_is_dropped(model: tl.Model) -> None:
    whole = model.generate("hello", max_tokens=30, seed=9, ignore_eos=True)
    stop = whole.text[5:8]
    cut = model.generate("hello", max_tokens=30, seed=9, ignore_eos=True, stop=stop)
    assert cut.text == whole.text[: whole.text.index(stop)]
    assert cut.finish == "stop"
    assert cut.timing.total_s > 0


def test_threads_are_served_together(model: tl.Model) -> None:
    alone = {s: model.generate("hello", max_tokens=15, seed=s).ids for s in range(6)}
    found: dict[int, tuple[int, ...]] = {}

    def ask(seed: int) -> None:
        found[seed] = model.generate("hello", max_tokens=15, seed=seed).ids

    threads = [threading.Thread(target=ask, args=(s,)) for s in alone]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == alone


def test_logits_are_the_greedy_choice(model: tl.Model) -> None:
    result = model.generate("hello there", max_tokens=1, temperature=0, ignore_eos=True)
    scores = model.logits(result.prompt_ids)
    assert scores.shape == (len(result.prompt_ids), 320)
    assert scores.dtype == np.float32
    assert int(scores[-1].argmax()) == result.ids[0]


def test_log_probabilities(model: tl.Model) -> None:
    result = model.generate(
        "hello", max_tokens=5, temperature=0, logprobs=2, prompt_logprobs=0, ignore_eos=True
    )
    assert len(result.logprobs) == len(result.ids) == 5
    assert all(p.top[0][0] == i for p, i in zip(result.logprobs, result.ids, strict=True))
    assert len(result.prompt_logprobs) == len(result.prompt_ids)
    assert result.prompt_logprobs[0] is None


def test_beams(model: tl.Model) -> None:
    found = model.generate("hello", max_tokens=6, beams=3, n=3)
    assert [g.score for g in found] == sorted((g.score for g in found), reverse=True)


def test_constraint(model: tl.Model) -> None:
    choice = tl.Constraint("choice", ["hello", "the"])
    assert model.generate("er", constraint=choice, max_tokens=20).text in ("hello", "the")


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"prompt": ""}, "prompt"),
        ({"prompt": [5] * 300}, "256"),
        ({"prompt": [999999]}, "vocabulary"),
        ({"prompt": "hello", "temperature": -1.0}, "temperature"),
        ({"prompt": "hello", "top_p": 2.0}, "top_p"),
        ({"prompt": "hello", "max_tokens": -1}, "max_tokens"),
        ({"prompt": "hello", "adapter": "none"}, "adapter"),
        ({"prompt": "hello", "constraint": tl.Constraint("regex", "(")}, "regex"),
        ({"prompt": "hello", "constraint": {"type": "object"}}, "constraint"),
        ({"prompt": None}, "prompt"),
        ({"prompt": [None]}, "prompt"),
    ],
)
def test_bad_input_names_the_field(model: tl.Model, options: dict[str, object], word: str) -> None:
    with pytest.raises(ValueError, match=word):
        model.generate(**options)
    assert model.generate("hello", max_tokens=2, ignore_eos=True).ids
    assert not model._open


def test_unknown_models_and_options(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no-such-model"):
        tl.load("no-such-model")
    with pytest.raises(AttributeError, match="nothing"):
        tl.nothing  # noqa: B018

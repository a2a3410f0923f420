"""What each field of a request does, held against answers computed without an engine."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
from fake_step import FakeStep, logits_after
from plain_answer import Inbox, close, drive, plain, plain_scores

from tokenloom.engine.core import Core
from tokenloom.engine.request import Constraint, Request, Sampling
from tokenloom.engine.sampling import log_softmax
from tokenloom.step import Row

GREEDY = Sampling(temperature=0.0)
PROMPT = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10)


def core(step: FakeStep | None = None, **more: object) -> Core:
    settings = {"grid": 4, "step_tok": 16, **more}
    return Core(step or FakeStep(), **settings)  # type: ignore[arg-type]


def ask(id: str = "r", **more: object) -> Request:
    fields: dict[str, object] = {"model": "m", "ids": PROMPT, "max_tokens": 8, "seed": 3, **more}
    return Request(id, **fields)  # type: ignore[arg-type]


KINDS = {
    "plain": ask(),
    "greedy": ask(sampling=GREEDY),
    "long": ask(max_tokens=500),
    "stop": ask(max_tokens=40, stop_ids=(3, 7, 11, 15)),
    "min tokens": ask(max_tokens=40, stop_ids=(3, 7, 11, 15), min_tokens=30),
    "filters": ask(sampling=Sampling(top_k=5, top_p=0.9, repetition_penalty=1.3, frequency_penalty=0.5)),
    "logprobs": ask(logprobs=3, max_tokens=20, stop_ids=(3, 7)),
    "forced": ask(forced=(5, -1, 6, 6, 6, -1, 2)),
    "forced to the end": ask(max_tokens=3, forced=(5, 6, 7)),
    "forced stop": ask(forced=(5, -1, 6, 7), stop_ids=(7,)),
    "forced with logprobs": ask(forced=(5, -1, 6, 6), logprobs=1),
    "allowed": ask(allowed=((2, 5), (9, 12)), max_tokens=20),
    "allowed with logprobs": ask(allowed=((2, 5), (9, 12)), max_tokens=20, logprobs=0),
    "allowed with stop": ask(allowed=((2, 5), (9, 12)), max_tokens=40, stop_ids=(10,), min_tokens=4),
    "guidance": ask(guidance=2.5, negative=(9, 9, 1)),
    "guidance sliced": ask(guidance=2.5, negative=tuple(range(17)), allowed=((3, 9),), max_tokens=30),
    "guidance forced": ask(guidance=0.5, negative=(8,), forced=(-1, 4, 4), logprobs=2),
    "one id": ask(ids=(4,)),
    "adapter": ask(adapter="a"),
    "scored and forced": ask(prompt_logprobs=1, forced=(5, 6, 7), max_tokens=3),
    "scored": ask(prompt_logprobs=2, logprobs=1),
}


@pytest.mark.parametrize("kind", KINDS)
def test_alone_it_gets_what_the_model_says(kind: str) -> None:
    request = KINDS[kind]
    inbox = drive(core(adapters=("a",)), request)
    expected = plain(request)
    assert inbox.answer("r") == expected
    got = inbox.done["r", 0]
    assert len(got.logprobs) == len(expected.logprobs)
    assert all(map(close, got.logprobs, expected.logprobs))
    if request.prompt_logprobs is not None:
        assert all(map(close, got.prompt, plain_scores(request)))
    assert got.usage is not None
    assert got.usage.completion_tokens == len(expected.ids)


@pytest.mark.parametrize("park_tok", [0, 30, None])
@pytest.mark.parametrize("n_slots", [2, 3, 8])
def test_in_a_crowd_it_gets_the_same(n_slots: int, park_tok: int | None) -> None:
    """Every kind at once, three of each, with a cache that holds little more than one of them."""
    step = FakeStep(n_slots)
    loom = core(step, step_tok=8, budget_tok=140, park_tok=park_tok, adapters=("a",))
    crowd = [r.replace(id=f"{kind} {i}", seed=i) for kind, r in KINDS.items() for i in range(3)]
    inbox = drive(loom, *crowd)
    for request in crowd:
        assert inbox.answer(request.id) == plain(request), request.id
        if request.prompt_logprobs is not None:
            assert all(map(close, inbox.done[request.id, 0].prompt, plain_scores(request)))
    stats = loom.stats()
    assert n_slots < 8 or stats["preempted"] > 0
    assert (
        stats["running"]
        == stats["waiting"]
        == stats["parked"]
        == stats["parked_tok"]
        == stats["slots_running"]
        == 0
    )
    assert stats["cached_tokens"] > 0


def test_choices_differ_and_the_same_request_twice_is_equal() -> None:
    request = ask(n=4, max_tokens=12)
    first, second = drive(core(), request), drive(core(n_slots := FakeStep(2)), request)
    answers = [first.answer("r", i) for i in range(4)]
    assert answers == [second.answer("r", i) for i in range(4)]
    assert answers == [plain(request, i) for i in range(4)]
    assert len({a.ids for a in answers}) == 4
    prompt_work = sum(len(row.ids) for rows in n_slots.runs for row in rows if len(row.ids) > 1)
    assert prompt_work == 10 + 3 * 2, "the prompt was computed more than once"


def test_nothing_is_asked_for_when_only_scoring() -> None:
    step = FakeStep()
    request = ask(max_tokens=0, prompt_logprobs=2, n=2)
    inbox = drive(core(step, step_tok=4), request)
    done = inbox.done["r", 0]
    assert (done.ids, done.finish) == ((), "length")
    assert len(done.prompt) == len(PROMPT)
    assert all(map(close, done.prompt, plain_scores(request)))
    assert inbox.done["r", 1].prompt == ()
    assert len(step.runs) == 3


def test_scoring_never_reuses() -> None:
    loom = core()
    drive(loom, ask())
    inbox = drive(loom, ask("again"), ask("scored", prompt_logprobs=0))
    assert inbox.done["again", 0].usage.cached_tokens == 8  # type: ignore[union-attr]
    assert inbox.done["scored", 0].usage.cached_tokens == 0  # type: ignore[union-attr]


def test_scoring_goes_on_where_it_was_when_its_cache_is_dropped() -> None:
    loom = core(FakeStep(2), step_tok=1, budget_tok=52, park_tok=0)
    scored = ask("scored", ids=tuple(i % 24 for i in range(40)), max_tokens=0, prompt_logprobs=1)
    older = ask("older", ids=(1, 2, 3, 4), max_tokens=20)
    inbox = drive(loom, older, scored)
    assert loom.stats()["dropped"] == 1
    assert inbox.answer("older") == plain(older)
    assert len(inbox.done["scored", 0].prompt) == 40
    assert all(map(close, inbox.done["scored", 0].prompt, plain_scores(scored)))


def test_forced_ids_are_fed_as_one_chunk() -> None:
    step = FakeStep()
    request = ask(max_tokens=30, forced=(-1, *[4] * 20), ids=(1, 2))
    assert drive(core(step, step_tok=64), request).answer("r") == plain(request)
    assert [len(rows[0].ids) for rows in step.runs] == [2, 21] + [1] * 8
    step = FakeStep()
    assert drive(core(step), ask(max_tokens=3, forced=(5, 6, 7))).answer("r").ids == (5, 6, 7)
    assert step.runs == [], "every id was known"


def test_the_output_layer_is_sliced_unless_log_probabilities_need_it_whole() -> None:
    step = FakeStep()
    drive(core(step), ask(allowed=((2, 5),)))
    assert {row.allowed for rows in step.runs for row in rows} == {((2, 5),)}
    step = FakeStep()
    drive(core(step), ask(allowed=((2, 5),), logprobs=0))
    assert {row.allowed for rows in step.runs for row in rows} == {None}


def test_guidance_of_one_is_off() -> None:
    step = FakeStep()
    drive(core(step), ask())
    assert max(map(len, step.runs)) == 1
    step = FakeStep()
    request = ask(guidance=1.0 + 1e-9, negative=(3, 3))
    assert drive(core(step), request).answer("r").ids == plain(ask()).ids
    assert max(map(len, step.runs)) == 2


class Digits:
    """A matcher: even ids, three of them; id 20 may end it. Fails where told; `must` follow the first id."""

    def __init__(
        self, length: int = 3, fail: str = "", ends: bool = False, must: tuple[int, ...] = ()
    ) -> None:
        self.length, self.fail, self.ends, self.must, self.seen = length, fail, ends, must, 0

    @property
    def done(self) -> bool:
        return self.seen >= self.length

    @property
    def may_end(self) -> bool:
        return self.ends

    def mask(self, vocab: int) -> np.ndarray:
        if self.fail == "mask":
            raise ValueError("the grammar is too complex")
        mask = np.arange(vocab) % 2 == 0
        mask[20] = False
        if self.ends:
            mask = np.arange(vocab) == 20
        return mask

    def forced(self, most: int) -> list[int]:
        return list(self.must[self.seen - 1 :][:most]) if self.seen else []

    def accept(self, id: int) -> None:
        if self.fail == "accept" and self.seen == 1:
            raise ValueError("the grammar is stuck")
        assert id % 2 == 0
        self.seen += 1


def constrained(make: Callable[[], Digits], **more: object) -> Inbox:
    loom = core(compile_constraint=lambda _: make(), eos_ids=(20,))
    return drive(loom, ask(constraint=Constraint("json"), **more), ask("other"))


def test_a_constraint_masks_and_ends() -> None:
    done = constrained(Digits, n=2).done
    for i in range(2):
        assert done["r", i].finish == "stop"
        assert len(done["r", i].ids) == 3
        assert all(id % 2 == 0 for id in done["r", i].ids)
    ended = constrained(lambda: Digits(ends=True), stop_ids=()).done["r", 0]
    assert (ended.ids, ended.finish, ended.stop_id) == ((), "stop", 20)


def test_what_a_constraint_forces_is_fed_as_one_chunk_and_scored_one_by_one() -> None:
    answers = []
    for logprobs in (None, 1):
        step = FakeStep()
        loom = core(step, compile_constraint=lambda _: Digits(9, must=(4, 6, 8, 4, 6)))
        inbox = drive(loom, ask(ids=(1, 2), max_tokens=20, constraint=Constraint("json"), logprobs=logprobs))
        answers.append(inbox.answer("r"))
        assert [len(rows[0].ids) for rows in step.runs] == (
            [2, 6, 1, 1] if logprobs is None else [2] + [1] * 8
        )
    assert answers[0] == answers[1]
    assert answers[0].ids[1:6] == (4, 6, 8, 4, 6)
    assert len(answers[1].logprobs) == 9


def test_min_tokens_holds_against_an_end_the_constraint_forces() -> None:
    for least, length in ((0, 1), (4, 8)):
        done = constrained(lambda: Digits(9, must=(20,)), min_tokens=least).done["r", 0]
        assert (len(done.ids), done.stop_id) == (length, 20 if length == 1 else None)


def test_a_complete_text_that_nothing_may_follow_ends() -> None:
    done = constrained(lambda: Digits(ends=True), allowed=((1, 5),)).done["r", 0]
    assert (done.ids, done.finish, done.stop_id) == ((), "stop", None)


@pytest.mark.parametrize(
    ("make", "more", "said"),
    [
        (lambda: Digits(fail="accept"), {}, "the grammar is stuck"),
        (lambda: Digits(fail="mask"), {}, "the grammar is too complex"),
        (lambda: Digits(), {"allowed": ((1, 2),)}, "no id may come next"),
        (lambda: Digits(), {"allowed": ((1, 2),), "logprobs": 1}, "no id may come next"),
        (lambda: Digits(ends=True), {"min_tokens": 2}, "no id may come next"),
    ],
)
def test_a_failing_constraint_ends_only_its_request(
    make: Callable[[], Digits], more: dict[str, object], said: str
) -> None:
    inbox = constrained(make, n=2, **more)
    for i in range(2):
        assert inbox.done["r", i].finish == "error"
        assert said in str(inbox.done["r", i].error)
    assert inbox.answer("other") == plain(ask("other"))


@pytest.mark.parametrize("more", [{}, {"beams": 2}, {"guidance": 2.0, "negative": (5, 13)}, {"n": 2}])
def test_logits_that_are_no_numbers_end_only_their_request(more: dict[str, object]) -> None:
    loom = core(FakeStep(poison=13))
    inbox = drive(loom, ask(ids=(1, 13), **more), ask("other"))
    assert inbox.done["r", 0].finish == "error"
    assert "NaN" in str(inbox.done["r", 0].error)
    assert inbox.answer("other") == plain(ask("other"))
    assert loom.stats()["slots_running"] == 0


def test_abort_in_every_state_says_so_and_frees() -> None:
    step = FakeStep(2, context=40)
    loom = core(step, budget_tok=48, park_tok=100)
    inbox = Inbox()
    for name in ("running", "parked", "waiting"):
        loom.add(ask(name, ids=tuple(range(9)), max_tokens=30, n=1, seed=ord(name[0])))
    while not loom.stats()["parked"]:
        inbox.take(loom.step())
    assert loom.stats()["waiting"] == 1
    for name in ("parked", "waiting", "running"):
        loom.abort(name)
        loom.abort(name)
    inbox.take(loom.step())
    assert {key: d.finish for key, d in inbox.done.items()} == dict.fromkeys(
        [("parked", 0), ("waiting", 0), ("running", 0)], "abort"
    )
    stats = loom.stats()
    assert stats["running"] == stats["waiting"] == stats["parked"] == stats["parked_tok"] == 0
    assert not loom.busy
    loom.abort("never seen")
    assert drive(loom, ask()).answer("r") == plain(ask(), context=40)


def test_the_last_delta_tells_tokens_and_times() -> None:
    ticks = itertools.count()
    loom = core(clock=lambda: float(next(ticks)))
    done = drive(loom, ask(n=2, stop_ids=(3, 7))).done
    for i in range(2):
        usage = done["r", i].usage
        assert usage is not None
        assert usage.prompt_tokens == 10
        assert usage.cached_tokens == 0
        assert usage.completion_tokens == len(plain(ask(stop_ids=(3, 7)), i).ids)
        assert 0 < usage.queue_s < usage.ttft_s <= usage.total_s
    again = drive(loom, ask("again")).done["again", 0].usage
    assert again is not None
    assert again.cached_tokens == 8


def test_what_cannot_be_done_is_refused_with_the_field() -> None:
    loom = core(FakeStep(2, context=32), adapters=("a",))
    bad: list[tuple[dict[str, object], list[str]]] = [
        ({"ids": ()}, ["ids", "empty"]),
        ({"ids": (1, 24)}, ["ids", "24", "23"]),
        ({"ids": (1,) * 32}, ["ids", "32"]),
        ({"ids": (1,) * 33, "max_tokens": 0}, ["ids", "33", "32"]),
        ({"max_tokens": -1}, ["max_tokens", "-1"]),
        ({"n": 0}, ["n is 0"]),
        ({"min_tokens": 9}, ["min_tokens", "9", "8"]),
        ({"stop_ids": (24,)}, ["stop_ids", "24"]),
        ({"forced": (-2,)}, ["forced", "-2"]),
        ({"forced": (1,) * 9}, ["forced", "9", "8"]),
        ({"allowed": ()}, ["allowed", "empty"]),
        ({"allowed": ((3, 3),)}, ["allowed", "(3, 3)"]),
        ({"allowed": ((3, 8), (7, 9))}, ["allowed", "overlaps"]),
        ({"allowed": ((3, 25),)}, ["allowed", "24"]),
        ({"guidance": 2.0}, ["guidance", "negative"]),
        ({"negative": (1,)}, ["guidance", "negative"]),
        ({"guidance": math.nan, "negative": (1,)}, ["guidance", "nan"]),
        ({"beams": 3}, ["3 rows", "2 slots"]),
        ({"beams": 2, "n": 3}, ["n is 3", "beams 2"]),
        ({"beams": 2, "guidance": 2.0, "negative": (1,)}, ["guidance", "beam"]),
        ({"beams": 2, "sampling": Sampling(top_k=3)}, ["sampling", "beam"]),
        ({"constraint": Constraint("json")}, ["constraint"]),
        ({"adapter": "b"}, ["adapter", "'b'", "a"]),
        ({"logprobs": -1}, ["logprobs", "-1"]),
        ({"sampling": Sampling(temperature=-0.1)}, ["sampling.temperature", "-0.1"]),
        ({"sampling": Sampling(temperature=math.inf)}, ["sampling.temperature", "inf"]),
        ({"sampling": Sampling(top_p=0.0)}, ["sampling.top_p", "0"]),
        ({"sampling": Sampling(repetition_penalty=0.0)}, ["sampling.repetition_penalty"]),
        ({"sampling": Sampling(logit_bias=((24, 1.0),))}, ["logit_bias", "24"]),
        ({"sampling": Sampling(logit_bias=((2, math.nan),))}, ["logit_bias", "nan"]),
    ]
    for fields, said in bad:
        with pytest.raises(ValueError) as refused:
            loom.add(ask(**fields))
        assert all(word in str(refused.value) for word in said), (fields, str(refused.value))
        assert not loom.busy
    loom.add(ask())
    with pytest.raises(ValueError, match="in use"):
        loom.add(ask())
    with pytest.raises(ValueError, match="cache holds 16"):
        core(budget_tok=16).add(ask())


def test_beam_search_finds_the_best_of_all_when_it_is_wide_enough() -> None:
    """With as many beams as there are sequences the search is exhaustive."""
    vocab, length = 4, 3
    step = FakeStep(n_slots=16, vocab_size=vocab)
    request = ask(ids=(1, 2), max_tokens=length, beams=16, n=5, logprobs=0)
    inbox = drive(core(step), request)
    scores = {}
    for ids in itertools.product(range(vocab), repeat=length):
        parts = [log_softmax(logits_after([1, 2, *ids[:i]], vocab)[None])[0][ids[i]] for i in range(length)]
        scores[ids] = float(sum(parts)) / length
    best = sorted(scores, key=lambda ids: -scores[ids])[:5]
    for i, ids in enumerate(best):
        done = inbox.done["r", i]
        assert done.ids == ids
        assert done.score == pytest.approx(scores[ids], abs=1e-5)
        assert sum(t.logprob for t in done.logprobs) / length == pytest.approx(scores[ids], abs=1e-5)


def test_beams_survive_being_put_out() -> None:
    beams = ask("beams", ids=tuple(range(9)), beams=3, n=3, max_tokens=20, stop_ids=(2,), length_penalty=0.5)
    alone = drive(core(FakeStep(8)), beams)
    for park_tok in (0, 500):
        loom = core(FakeStep(8), budget_tok=100, park_tok=park_tok)
        loom.add(ask("first", ids=(7,) * 30, max_tokens=30, seed=8))
        inbox = drive(loom, beams, ask("last", ids=(8,) * 30, max_tokens=30))
        assert loom.stats()["preempted"] > 0
        for i in range(3):
            assert inbox.answer("beams", i) == alone.answer("beams", i)
            assert inbox.done["beams", i].score == alone.done["beams", i].score


def test_a_borrowed_slot_leaves_every_answer_as_it_was() -> None:
    step = FakeStep(2)
    loom = core(step, budget_tok=64)
    inbox = Inbox()
    requests = [ask(str(i), max_tokens=20, seed=i) for i in range(3)]
    for request in requests:
        loom.add(request)
    for _ in range(4):
        inbox.take(loom.step())
    slot = loom.borrow_slot()
    logits = step.run([Row(slot, 0, [5, 6, 7], want=3)])[0]
    assert logits is not None
    np.testing.assert_array_equal(logits[2], logits_after([5, 6, 7], 24))
    with pytest.raises(ValueError, match="64"):
        loom.borrow_slot()
    loom.return_slot(slot)
    while loom.busy:
        inbox.take(loom.step())
    assert [inbox.answer(r.id) for r in requests] == [plain(r) for r in requests]
    assert loom.stats()["preempted"] > 0

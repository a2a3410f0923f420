"""The engine's process: answers, restarts, aborts, ends; no call hangs, whatever dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fake_opener import path
from fake_step import FakeStep

from tokenloom.engine import process
from tokenloom.engine.check import BadRequest
from tokenloom.engine.child import News
from tokenloom.engine.core import Core
from tokenloom.engine.process import EngineProcess
from tokenloom.engine.request import Delta, Request, Sampling
from tokenloom.engine.status import EngineError

OPENER = "fake_opener:prepare"


class Answer:
    """A sink that can be waited for."""

    def __init__(self, choices: int = 1) -> None:
        self.deltas: list[Delta] = []
        self.calls = 0
        self._left = choices
        self._done = threading.Event()
        self._news = threading.Event()

    def __call__(self, deltas: list[Delta]) -> None:
        self.deltas += deltas
        self.calls += 1
        self._left -= sum(d.finish is not None for d in deltas)
        self._news.set()
        if self._left <= 0:
            self._done.set()

    def begun(self) -> Answer:
        assert self._news.wait(60)
        return self

    def end(self) -> Delta:
        assert self._done.wait(60)
        return self.deltas[-1]

    @property
    def ids(self) -> list[int]:
        return [i for d in self.deltas for i in d.ids]


@pytest.fixture
def engine() -> Iterator[EngineProcess]:
    with EngineProcess(memory_limit=1000, opener=OPENER, flush_ms=5) as engine:
        yield engine


@pytest.fixture
def loaded(engine: EngineProcess) -> EngineProcess:
    engine.load("a", path(step_s=0.001))
    return engine


def ask(name: str = "r", model: str = "a", **more: object) -> Request:
    fields = {"ids": (10,), "max_tokens": 5} | more
    return Request(name, model, **fields)  # type: ignore[arg-type]


def submit(engine: EngineProcess, request: Request) -> Answer:
    answer = Answer(request.n)
    engine.submit(request, answer)
    return answer


def pid_of(engine: EngineProcess) -> int:
    pid = engine.status().pid
    assert pid is not None
    return pid


def wait_for(what: Callable[[], bool], within_s: float = 60) -> None:
    until = time.monotonic() + within_s
    while not what():
        assert time.monotonic() < until
        time.sleep(0.01)


def gone(pid: int) -> bool:
    """No such process, or a dead one nobody has waited for."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_it_loads_and_answers_in_another_process(loaded: EngineProcess) -> None:
    answers = [submit(loaded, ask(str(i), ids=(10 * i,), n=2)) for i in range(1, 9)]
    for i, answer in enumerate(answers, 1):
        assert answer.end().finish == "length"
        for choice in (0, 1):
            ids = [id for d in answer.deltas if d.choice == choice for id in d.ids]
            assert ids == [10 * i + 1 + at + 1000 * choice for at in range(5)]
    assert pid_of(loaded) != os.getpid()
    figures = loaded.status().models["a"].figures
    assert figures["new_tokens"] == 80
    assert figures["requests"] == 0
    assert loaded.load("a", path(step_s=0.001)).context == 64


def test_the_process_answers_as_the_core_alone_does(engine: EngineProcess) -> None:
    engine.load("a", path(real=True))
    asked = [
        ask(str(i), ids=tuple(range(1 + i, 9 + i)), max_tokens=9 + i, n=1 + i % 2, seed=i, logprobs=2)
        for i in range(8)
    ]
    for request, answer in [(request, submit(engine, request)) for request in asked]:
        assert answer.end().finish == "length"
        alone = Core(FakeStep(), grid=8, step_tok=16)
        alone.add(request)
        deltas: list[Delta] = []
        while alone.busy:
            deltas += alone.step()
        for choice in range(request.n):
            have, want = ([d for d in of if d.choice == choice] for of in (answer.deltas, deltas))
            assert [i for d in have for i in d.ids] == [i for d in want for i in d.ids]
            assert [p for d in have for p in d.logprobs] == [p for d in want for p in d.logprobs]
            assert have[-1].usage is not None
    figures = engine.status().models["a"].figures
    assert figures["prompt_tokens"] == sum(len(request.ids) for request in asked)
    assert figures["new_tokens"] == sum(request.n * request.max_tokens for request in asked)
    assert figures["running"] == figures["waiting"] == 0
    assert {"slots", "cache_tok", "preempted", "cached_tokens"} <= figures.keys()


def test_many_ids_come_in_few_messages() -> None:
    with EngineProcess(memory_limit=1000, opener=OPENER, flush_ms=50) as engine:
        engine.load("a", path(step_s=0.001))
        started = time.monotonic()
        answer = submit(engine, ask(max_tokens=300))
        assert answer.begun().ids[0] == 11
        answer.end()
        assert answer.ids == list(range(11, 311))
        assert answer.calls <= 3 + (time.monotonic() - started) / 0.05


def test_the_first_id_and_the_end_of_a_choice_are_sent_at_once() -> None:
    news = News(flush_s=1.0)
    news.add([Delta("r", 0, (1,))])
    assert news.due(0.0, idle=False) == [Delta("r", 0, (1,))]
    news.add([Delta("r", 0, (2,))])
    assert news.due(0.5, idle=False) == []
    news.add([Delta("r", 0, (3,))])
    assert news.due(0.9, idle=False) == []
    assert news.due(1.0, idle=False) == [Delta("r", 0, (2, 3))]
    news.add([Delta("r", 0, (4,))])
    assert news.due(1.1, idle=True) == [Delta("r", 0, (4,))]
    news.add([Delta("r", 0, (5,))])
    news.add([Delta("r", 0, (6,), finish="stop")])
    assert news.due(1.2, idle=False) == [Delta("r", 0, (5, 6), finish="stop")]
    news.add([Delta("r", 0, (7,))])
    assert news.due(1.3, idle=False) == [Delta("r", 0, (7,))], "the same name again is a new choice"


def test_errors_of_a_request_are_its_own(loaded: EngineProcess) -> None:
    unknown, refused = submit(loaded, ask("x", "nope", n=2)), submit(loaded, ask("y", ids=(500,)))
    good = submit(loaded, ask("z"))
    assert unknown.end().finish == "error"
    assert "known: a" in str(unknown.deltas[0].error)
    assert "500" in str(refused.end().error)
    assert good.end().finish == "length"
    long = submit(loaded, ask("w", max_tokens=10**6)).begun()
    with pytest.raises(BadRequest, match="in use"):
        loaded.submit(ask("w"), Answer())
    loaded.abort("w")
    assert long.end().finish == "abort"


def test_loads_that_fail_raise_and_the_engine_goes_on(engine: EngineProcess) -> None:
    for where, words in (("nowhere", "nothing at"), (path(broken="bad bytes"), "bad bytes")):
        with pytest.raises(EngineError, match=words):
            engine.load("a", where)
    with pytest.raises(EngineError, match=r"needs 5\.00 GB of memory"):
        engine.load("big", path(memory_bytes=5 * 10**9))
    with pytest.raises(EngineError, match="unknown"):
        engine.unload("a")
    engine.load("a", path())
    assert submit(engine, ask()).end().finish == "length"
    engine.unload("a")
    assert submit(engine, ask()).end().finish == "error"


def test_an_opener_that_cannot_be_imported_is_an_error_not_a_hang() -> None:
    with EngineProcess(memory_limit=1, opener="no_such_module:prepare") as engine:
        with pytest.raises(EngineError, match="no_such_module"):
            engine.load("a", "x")
        assert engine.alive


def test_one_model_answers_while_another_loads(loaded: EngineProcess) -> None:
    other = threading.Thread(target=loaded.load, args=("b", path(load_s=2.0)))
    other.start()
    wait_for(lambda: "b" in loaded.status().models)
    waits = submit(loaded, ask("w", "b"))
    assert submit(loaded, ask()).end().finish == "length"
    assert waits.deltas == []
    other.join()
    assert waits.end().finish == "length"


def test_aborts_at_any_time(loaded: EngineProcess) -> None:
    loaded.abort("never came")
    answer = submit(loaded, ask(max_tokens=10**6, n=2)).begun()
    for _ in range(2):
        loaded.abort("r")
    answer.end()
    assert [d.finish for d in answer.deltas if d.finish] == ["abort"] * 2
    loaded.abort("r")
    at_once = submit(loaded, ask("s", max_tokens=10**6))
    loaded.abort("s")
    assert at_once.end().finish == "abort"
    assert submit(loaded, ask("r")).end().finish == "length"
    assert loaded.status().models["a"].figures["requests"] == 0


def test_a_killed_child_is_replaced_and_its_models_come_back(loaded: EngineProcess) -> None:
    loaded.load("b", path())
    before = pid_of(loaded)
    answers = [submit(loaded, ask(str(i), max_tokens=10**6, n=2)).begun() for i in range(3)]
    os.kill(before, signal.SIGKILL)
    for answer in answers:
        last = answer.end()
        assert last.finish == "error"
        assert "the engine stopped (SIGKILL)" in str(last.error)
        assert "ask again" in str(last.error)
        assert {d.choice for d in answer.deltas if d.finish} == {0, 1}
    for model in "ab":
        again = submit(loaded, ask(f"again {model}", model))
        assert again.end().finish == "length", "a request after the death is answered by the new child"
    status = loaded.status()
    assert status.restarts == 1
    assert status.pid != before
    assert {name: m.state for name, m in status.models.items()} == {"a": "ready", "b": "ready"}


def test_a_request_may_come_at_the_moment_of_death(loaded: EngineProcess) -> None:
    os.kill(pid_of(loaded), signal.SIGKILL)
    started = time.monotonic()
    answers = [submit(loaded, ask(str(i))) for i in range(20)]
    assert time.monotonic() - started < 30.0
    for answer in answers:
        assert answer.end().finish in ("length", "error")


def test_a_model_that_kills_the_process_while_loading_is_not_tried_again(loaded: EngineProcess) -> None:
    with pytest.raises(EngineError, match="the engine stopped"):
        loaded.load("b", path(deadly=True))
    assert submit(loaded, ask()).end().finish == "length"
    assert set(loaded.status().models) == {"a"}
    assert loaded.status().restarts == 1


def test_a_child_that_keeps_dying_is_left_down_for_a_while(
    loaded: EngineProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    for i in range(process.CRASHES):
        last = submit(loaded, ask(str(i), ids=(999,))).end()
        assert last.finish == "error"
    assert "stays down" in str(last.error)
    assert not loaded.alive
    down = submit(loaded, ask("down", n=2)).end()
    assert "stays down" in str(down.error)
    with pytest.raises(EngineError, match="stays down"):
        loaded.load("b", path())
    assert not loaded.status().alive
    loaded.abort("down")
    monkeypatch.setattr(process, "WINDOW_S", 0.0)
    assert submit(loaded, ask("up")).end().finish == "length"


def test_ctrl_c_does_not_reach_the_child(loaded: EngineProcess) -> None:
    pid = pid_of(loaded)
    assert os.getpgid(pid) != os.getpgid(0)
    answer = submit(loaded, ask(max_tokens=200)).begun()
    os.kill(pid, signal.SIGINT)
    assert answer.end().finish == "length"
    assert pid_of(loaded) == pid


PARENT = """
import sys, time
from fake_opener import path
from tokenloom.engine.process import EngineProcess
from tokenloom.engine.request import Request
engine = EngineProcess(memory_limit=1000, opener="fake_opener:prepare")
engine.load("a", path(step_s=0.001))
if sys.argv[1] == "busy":
    engine.submit(Request("r", "a", (1,), 10**6), lambda deltas: None)
print(engine.status().pid, flush=True)
if sys.argv[1] != "ends":
    time.sleep(60)
"""


@pytest.mark.parametrize("how", ["idle", "busy", "ends"])
def test_the_child_ends_with_its_parent(how: str) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, how],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    if how != "ends":
        assert not gone(child)
        parent.kill()
    parent.wait(60)
    parent.stdout.close()
    wait_for(lambda: gone(child))


def test_closing_leaves_no_process_and_tells_who_waits() -> None:
    engine = EngineProcess(memory_limit=1000, opener=OPENER)
    engine.load("a", path(step_s=0.001))
    pid = pid_of(engine)
    answer = submit(engine, ask(max_tokens=10**6)).begun()
    threads = threading.active_count()
    engine.close()
    assert answer.end().finish == "error"
    assert "closed" in str(answer.deltas[-1].error)
    assert gone(pid)
    assert threading.active_count() == threads - 2
    engine.close()
    assert not engine.alive
    assert "closed" in str(submit(engine, ask("late")).end().error)
    with pytest.raises(EngineError, match="closed"):
        engine.load("a", path())


def test_closing_while_a_model_loads() -> None:
    engine = EngineProcess(memory_limit=1000, opener=OPENER)
    failed: list[str] = []

    def load() -> None:
        try:
            engine.load("a", path(load_s=30.0))
        except EngineError as error:
            failed.append(str(error))

    thread = threading.Thread(target=load)
    thread.start()
    pid = pid_of(engine)
    engine.close()
    thread.join(10)
    assert "closed" in failed[0]
    assert gone(pid)


def test_a_sink_whose_event_loop_has_ended_is_dropped(loaded: EngineProcess) -> None:
    def sink(deltas: list[Delta]) -> None:
        raise RuntimeError("Event loop is closed")

    loaded.submit(ask("r", max_tokens=10**6), sink)
    assert submit(loaded, ask("s")).end().finish == "length"
    wait_for(lambda: loaded.status().models["a"].figures["requests"] == 0)


def test_the_number_of_threads_reaches_the_child() -> None:
    with EngineProcess(memory_limit=1000, opener=OPENER, threads=3) as engine:
        engine.load("a", path())
        assert engine.status().models["a"].figures["threads"] == 3


@pytest.mark.model
@pytest.mark.slow
def test_the_embedded_model_answers_survives_a_kill_and_obeys_a_constraint(smollm2: Path) -> None:
    from tokenloom.engine.request import Constraint
    from tokenloom.tokens.text import load_tokenizer

    tokenizer = load_tokenizer(smollm2)
    greedy = Sampling(temperature=0.0)
    prompt = tuple(tokenizer.encode("The capital of France is"))
    with EngineProcess(threads=2) as engine:
        info = engine.load("smollm2", str(smollm2))
        assert info.vocab_size == tokenizer.vocab_size
        assert info.memory_bytes > 100e6
        answer = Answer()
        engine.submit(Request("r", "smollm2", prompt, 4, greedy), answer)
        answer.end()
        assert "Paris" in tokenizer.decode(answer.ids)
        os.kill(pid_of(engine), signal.SIGKILL)
        again, picked = Answer(), Answer()
        wait_for(lambda: engine.status().restarts == 1)
        engine.submit(Request("again", "smollm2", prompt, 4, greedy), again)
        choice = Constraint("choice", '["a green car", "a red car"]')
        engine.submit(Request("c", "smollm2", prompt, 30, greedy, constraint=choice), picked)
        assert again._done.wait(120)
        assert picked._done.wait(120)
        assert again.ids == answer.ids
        assert picked.deltas[-1].finish == "stop"
        assert tokenizer.decode(picked.ids) in ("a green car", "a red car")

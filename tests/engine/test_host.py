"""The host: admission by memory, letting go, fair turns, errors that stay with their own requests."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_opener import path

from tokenloom.engine.check import BadRequest
from tokenloom.engine.host import Host
from tokenloom.engine.memory import available_bytes
from tokenloom.engine.request import Delta, Request
from tokenloom.engine.status import ModelInfo, Source

OPENER = "fake_opener:prepare"


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def host(clock: Clock) -> Iterator[Host]:
    host = Host(memory_limit=250, opener=OPENER, clock=clock)
    yield host
    host.close()


def load(host: Host, name: str, **behaviour: object) -> ModelInfo | str:
    """Waits for the load; the model or the error."""
    told: list[ModelInfo | str | None] = []
    host.load(Source(name, path(**behaviour)), lambda info, error: told.append(info or error))
    until = time.monotonic() + 60
    while not told and time.monotonic() < until:
        assert host.step() == []
        time.sleep(0.001)
    assert len(told) == 1
    assert told[0] is not None
    return told[0]


def ask(name: str = "r", model: str = "a", **more: object) -> Request:
    fields = {"ids": (10,), "max_tokens": 3} | more
    return Request(name, model, **fields)  # type: ignore[arg-type]


def drain(host: Host, within_s: float = 60.0) -> list[Delta]:
    found: list[Delta] = []
    until = time.monotonic() + within_s
    while (host.busy or host.loading) and time.monotonic() < until:
        found += host.step()
        if not host.busy:
            time.sleep(0.001)
    return found


def state(host: Host, name: str) -> str:
    return host.status().models[name].state


def test_a_loaded_model_answers(host: Host) -> None:
    info = load(host, "a")
    assert isinstance(info, ModelInfo)
    assert (info.name, info.context, info.vocab_size, info.memory_bytes) == ("a", 64, 500, 100)
    host.submit(ask(n=2))
    deltas = drain(host)
    ids = {c: [i for d in deltas if d.choice == c for i in d.ids] for c in (0, 1)}
    assert ids == {0: [11, 12, 13], 1: [1011, 1012, 1013]}
    assert [d.finish for d in deltas if d.finish] == ["length"] * 2
    assert host.sleep_s is None


def test_loading_twice_answers_at_once_and_other_settings_are_refused(host: Host) -> None:
    first = load(host, "a")
    assert load(host, "a") == first
    error = load(host, "a", memory_bytes=50)
    assert isinstance(error, str)
    assert "unload it first" in error
    assert state(host, "a") == "ready"


def test_two_loads_of_one_model_are_one(host: Host) -> None:
    told: list[ModelInfo | None] = []
    for _ in range(2):
        host.load(Source("a", path(load_s=0.05)), lambda info, error: told.append(info))
    drain(host)
    assert len(told) == 2
    assert told[0] is not None
    assert told[0] == told[1]


@pytest.mark.parametrize(
    ("where", "words"),
    [("nowhere", "nothing at nowhere"), (path(broken="bad bytes"), "bad bytes"), ("{", "Expecting property")],
)
def test_a_load_that_fails_says_why_and_is_forgotten(host: Host, where: str, words: str) -> None:
    told: list[str | None] = []
    host.load(Source("a", where), lambda info, error: told.append(error))
    host.submit(ask())
    deltas = drain(host)
    assert words in str(told[0])
    assert deltas[0].finish == "error"
    assert words in str(deltas[0].error)
    assert host.status().models == {}
    assert host.memory_used == 0
    assert isinstance(load(host, "a"), ModelInfo)


def test_an_opener_that_cannot_be_imported_is_an_error() -> None:
    host = Host(memory_limit=1, opener="no_such_module:prepare")
    told: list[str | None] = []
    host.load(Source("a", "x"), lambda info, error: told.append(error))
    drain(host)
    assert "no_such_module" in str(told[0])
    host.close()


def test_the_longest_unused_idle_model_makes_room(host: Host, clock: Clock) -> None:
    for clock.now, name in ((1, "a"), (2, "b")):
        load(host, name)
    clock.now = 3
    host.submit(ask(model="a"))
    drain(host)
    clock.now = 4
    assert isinstance(load(host, "c"), ModelInfo)
    assert [state(host, name) for name in "abc"] == ["ready", "unloaded", "ready"]
    assert host.memory_used == 200


def test_what_can_never_fit_is_refused_with_both_numbers_and_nothing_is_let_go(host: Host) -> None:
    load(host, "a")
    error = load(host, "big", memory_bytes=20_000_000)
    assert isinstance(error, str)
    assert "0.02 GB" in error
    assert "0.00 MB" in error
    assert state(host, "a") == "ready"


def test_a_busy_model_is_never_let_go(host: Host) -> None:
    load(host, "a")
    load(host, "b")
    host.submit(ask(max_tokens=10**6))
    host.submit(ask("s", "b", max_tokens=10**6))
    told: list[str | None] = []
    host.load(Source("c", path()), lambda info, error: told.append(error))
    until = time.monotonic() + 60
    while not told and time.monotonic() < until:
        host.step()
        time.sleep(0.001)
    assert "in use or reserved by a" in str(told[0])
    assert state(host, "a") == state(host, "b") == "ready"


def test_an_idle_model_is_let_go_and_comes_back_with_its_next_request(clock: Clock) -> None:
    host = Host(memory_limit=1000, idle_s=60, opener=OPENER, clock=clock)
    load(host, "a")
    host.submit(ask())
    drain(host)
    assert host.sleep_s == 60
    clock.now = 59
    host.step()
    assert state(host, "a") == "ready"
    clock.now = 60
    host.step()
    assert state(host, "a") == "unloaded"
    assert host.memory_used == 0
    assert host.sleep_s is None
    host.submit(ask("again"))
    assert [i for d in drain(host) for i in d.ids] == [11, 12, 13]
    figures = host.status().models["a"].figures
    assert figures["new_tokens"] == 6, "counters go on across loads"
    host.close()


def test_requests_wait_for_a_model_that_loads_and_others_go_on(host: Host) -> None:
    load(host, "a")
    host.load(Source("b", path(load_s=0.3)))
    host.submit(ask("slow", "b"))
    host.submit(ask("quick", "a"))
    assert host.status().models["b"].figures["waiting"] == 1
    order = [d.request for d in drain(host) if d.finish]
    assert order == ["quick", "slow"]


def test_turns_are_fair(host: Host) -> None:
    load(host, "a")
    load(host, "b")
    for i in range(8):
        host.submit(ask(f"a{i}", "a", max_tokens=50))
    host.submit(ask("b", "b", max_tokens=20))
    steps = 0
    while host.busy:
        steps += 1
        if any(d.request == "b" and d.finish for d in host.step()):
            break
    assert steps <= 41


def test_an_unknown_model_and_a_bad_request_are_errors_of_their_own(host: Host) -> None:
    load(host, "a")
    host.submit(ask("x", "nope", n=2))
    host.submit(ask("y", ids=(500,)))
    host.submit(ask("z"))
    deltas = drain(host)
    unknown = [d for d in deltas if d.request == "x"]
    assert [(d.choice, d.finish) for d in unknown] == [(0, "error"), (1, "error")]
    assert "known: a" in str(unknown[0].error)
    assert [d.error for d in deltas if d.request == "y"] == [
        "ids contains 500; the vocabulary's ids are 0 to 499"
    ]
    assert sum(len(d.ids) for d in deltas if d.request == "z") == 3
    host.submit(ask("w"))
    with pytest.raises(BadRequest, match="in use"):
        host.submit(ask("w"))


def test_aborts_at_any_time(host: Host) -> None:
    host.abort("never came")
    host.load(Source("a", path(load_s=0.05)))
    host.submit(ask("early", n=2))
    host.abort("early")
    host.abort("early")
    deltas = drain(host)
    assert [(d.choice, d.finish) for d in deltas] == [(0, "abort"), (1, "abort")]
    host.submit(ask("late", max_tokens=10**6))
    host.step()
    host.abort("late")
    host.abort("late")
    assert [d.finish for d in drain(host)] == ["abort"]
    host.abort("late")
    assert not host.busy


def test_a_step_that_fails_ends_its_models_requests_only_and_the_model_comes_back(host: Host) -> None:
    load(host, "a")
    load(host, "b")
    host.submit(ask("bad", "a", ids=(666,)))
    host.submit(ask("same model", "a"))
    host.submit(ask("other model", "b"))
    ends = {d.request: d for d in drain(host) if d.finish}
    assert ends["bad"].finish == ends["same model"].finish == "error"
    assert "out of fake memory" in str(ends["bad"].error)
    assert ends["other model"].finish == "length"
    assert host.memory_used == 100
    host.submit(ask("again", "a"))
    assert [d.finish for d in drain(host) if d.finish] == ["length"]


def test_unloading_ends_requests_and_forgets(host: Host) -> None:
    assert not host.unload("a")
    load(host, "a")
    host.submit(ask(max_tokens=10**6))
    host.step()
    assert host.unload("a")
    [delta] = drain(host)
    assert delta.finish == "error"
    assert "unloaded" in str(delta.error)
    host.submit(ask())
    assert "unknown" in str(drain(host)[0].error)


def test_unloading_while_it_loads(host: Host) -> None:
    told: list[str | None] = []
    host.load(Source("a", path(load_s=1.5)), lambda info, error: told.append(error))
    until = time.monotonic() + 60
    while host.memory_used == 0 and time.monotonic() < until:
        host.step()
    assert host.unload("a")
    assert "while it loaded" in str(told[0])
    assert host.memory_used == 0
    assert isinstance(load(host, "a"), ModelInfo)


def test_available_memory_heeds_a_container(tmp_path: Path) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal: 900 kB\nMemAvailable:    800 kB\n")
    assert available_bytes(meminfo, tmp_path) == 800 * 1024
    (tmp_path / "memory.current").write_text("1000\n")
    (tmp_path / "memory.max").write_text("max\n")
    assert available_bytes(meminfo, tmp_path) == 800 * 1024
    (tmp_path / "memory.max").write_text("51000\n")
    assert available_bytes(meminfo, tmp_path) == 50_000
    assert available_bytes(tmp_path / "none", tmp_path / "none") > 0

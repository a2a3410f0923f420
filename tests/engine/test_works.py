"""Codec and judge beside the models: asked by host and process, a piece at a time, never in a text's way."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import wait
from typing import Any

import numpy as np
import pytest
from fake_opener import path

from tokenloom.engine.host import Host
from tokenloom.engine.process import EngineProcess
from tokenloom.engine.request import Delta, Request
from tokenloom.engine.status import EngineError, Source
from tokenloom.engine.works import PIECE, works_bytes
from tokenloom.hub.card import has_codec

OPENERS = {"opener": "fake_opener:prepare", "works_opener": "fake_opener:open_works"}


@pytest.fixture
def host() -> Iterator[Host]:
    host = Host(memory_limit=1000, **OPENERS)  # type: ignore[arg-type]
    yield host
    host.close()


@pytest.fixture
def engine() -> Iterator[EngineProcess]:
    with EngineProcess(memory_limit=1000, flush_ms=5, **OPENERS) as engine:  # type: ignore[arg-type]
        engine.load("painter", path(works=True))
        yield engine


def drain(host: Host, within_s: float = 60.0) -> list[Delta]:
    found: list[Delta] = []
    until = time.monotonic() + within_s
    while (host.busy or host.loading) and time.monotonic() < until:
        found += host.step()
    return found


def load(host: Host, name: str, **behaviour: object) -> None:
    told: list[str | None] = []
    host.load(Source(name, path(**behaviour)), lambda info, error: told.append(error))
    drain(host)
    assert told == [None]


def codes(count: int, value: int = 1) -> np.ndarray:
    return np.full((count, 3), value, np.int64)


def work(host: Host, kind: Any, name: str, *arguments: Any) -> list[tuple[Any, str | None]]:
    told: list[tuple[Any, str | None]] = []
    host.work(kind, name, arguments, lambda value, error: told.append((value, error)))
    return told


def done(host: Host, kind: Any, name: str, *arguments: Any) -> tuple[Any, str | None]:
    told = work(host, kind, name, *arguments)
    drain(host)
    assert len(told) == 1
    return told[0]


def test_each_kind_is_done_whole(host: Host) -> None:
    load(host, "p", works=True)
    pictures, error = done(host, "decode", "p", codes(11, 5))
    assert error is None
    assert pictures.shape == (11, 2, 2, 4)
    assert (pictures[..., 0] == 5).all()
    assert set(pictures[:, 0, 0, 3]) == {PIECE, 11 - PIECE}, "in pieces of at most PIECE"
    back, _ = done(host, "encode", "p", pictures)
    assert back.tolist() == [[5]] * 11
    scores, _ = done(host, "judge", "p", ["a", "bcd"], pictures)
    assert scores.tolist() == [[5.0] * 11, [15.0] * 11]
    shown, _ = done(host, "judge", "p", [pictures[0], "a"], pictures)
    assert shown.tolist() == [[25.0] * 11, [5.0] * 11], "a picture may be told, too"
    assert host.sleep_s is None


def test_a_text_that_is_written_gets_its_steps_between_small_pieces(host: Host) -> None:
    load(host, "p", works=True)
    load(host, "a")
    host.step()
    told = work(host, "decode", "p", codes(4 * PIECE))
    host.submit(Request("r", "a", (10,), max_tokens=6))
    for _ in range(4):
        assert not told
        assert host.step(), "each step brings an id"
    assert len(told) == 1
    assert len(drain(host)) == 2


def test_a_work_of_a_model_that_was_let_go_loads_it_again() -> None:
    now = [0.0]
    host = Host(memory_limit=1000, idle_s=5, clock=lambda: now[0], **OPENERS)  # type: ignore[arg-type]
    try:
        load(host, "p", works=True)
        told = work(host, "decode", "p", codes(20))
        now[0] = 6.0
        drain(host)
        assert told[0][1] is None, "not let go while it works"
        now[0] = 20.0
        host.step()
        assert host.status().models["p"].state == "unloaded"
        assert done(host, "decode", "p", codes(2))[0].shape == (2, 2, 2, 4)
        assert host.status().models["p"].state == "ready"
    finally:
        host.close()


@pytest.mark.parametrize(
    ("name", "kind", "arguments", "words"),
    [
        ("nobody", "decode", (codes(1),), "'nobody' is unknown; known: p, text, broken"),
        ("text", "decode", (codes(1),), "text is no picture model"),
        ("broken", "decode", (codes(1),), "its codec cannot be opened: no codec here"),
        ("p", "decode", (codes(0),), "found no picture"),
        ("p", "decode", (codes(1, 9),), "decode: codes: found 9"),
    ],
)
def test_what_cannot_be_done_says_why(
    host: Host, name: str, kind: str, arguments: tuple[Any, ...], words: str
) -> None:
    load(host, "p", works=True)
    load(host, "text")
    load(host, "broken", works=True, broken_codec=True)
    value, error = done(host, kind, name, *arguments)
    assert value is None
    assert words in str(error)
    assert done(host, "decode", "p", codes(1))[1] is None, "the next one is not touched"


def test_unloading_ends_what_waits(host: Host) -> None:
    load(host, "p", works=True)
    told = work(host, "decode", "p", codes(3))
    assert host.unload("p")
    assert told == [(None, "the model p was unloaded")]


def test_a_failed_load_ends_what_waits(host: Host) -> None:
    told: list[Any] = []
    host.load(Source("p", path(works=True, broken="bad bytes", load_s=0.05)), lambda *_: None)
    host.work("decode", "p", (codes(1),), lambda value, error: told.append(error))
    drain(host)
    assert "bad bytes" in told[0]


def test_the_process_answers_from_several_threads(engine: EngineProcess) -> None:
    asked = [engine.work("painter", "decode", codes(3, value)) for value in range(5)]
    wait(asked, 60)
    assert [int(one.result()[0, 0, 0, 0]) for one in asked] == [0, 1, 2, 3, 4]
    scores = engine.work("painter", "judge", ["ab"], asked[4].result()).result(60)
    assert scores.tolist() == [[8.0] * 3]


def test_the_process_says_what_went_wrong(engine: EngineProcess) -> None:
    with pytest.raises(EngineError, match="codes: found 9"):
        engine.work("painter", "decode", codes(1, 9)).result(60)
    with pytest.raises(EngineError, match="'other' is unknown"):
        engine.work("other", "decode", codes(1)).result(60)


def test_a_death_ends_a_work_with_an_error(engine: EngineProcess) -> None:
    slow = engine.work("painter", "decode", codes(2000, 13))
    engine.submit(Request("r", "painter", (999,), max_tokens=1), lambda deltas: None)
    with pytest.raises(EngineError, match="the engine stopped"):
        slow.result(60)
    assert engine.work("painter", "decode", codes(1)).result(60).shape == (1, 2, 2, 4), "loaded again"


def test_a_folder_with_a_codec_is_seen(tmp_path: Any) -> None:
    assert not has_codec(tmp_path)
    assert works_bytes(tmp_path) == 0
    (tmp_path / "codec").mkdir()
    (tmp_path / "codec" / "config.json").write_text("{}")
    (tmp_path / "codec" / "model.safetensors").write_bytes(bytes(100))
    assert has_codec(tmp_path)
    assert works_bytes(tmp_path) >= 200

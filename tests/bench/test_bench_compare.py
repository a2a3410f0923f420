"""The comparison with peers: its statistics, its lines, what a worker must answer. No speed is asserted."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import typer
from gguf_fixtures import small_llama

from tokenloom import bench, hub
from tokenloom.bench import compare, peers, worker
from tokenloom.bench.compare import METRICS, Sizes, WorkerFailed, ask, lead, spread, summary, table

FIGURES = {
    "load_s": 1.0, "cold_s": 2.0, "cold_memory_mb": 300.0, "decode_tok_s": 50.0, "prefill_tok_s": 400.0,
    "streams_tok_s": 200.0, "memory_mb": 400.0,
}  # fmt: skip


def answer(**changes: float) -> dict[str, Any]:
    return {"figures": {**FIGURES, **changes}, "versions": {"torch": "2"}, "runs": "CPU"}


@pytest.fixture
def found(tmp_path: Path) -> hub.Found:
    small_llama(tmp_path / "small.gguf")
    return hub.find(str(tmp_path / "small.gguf"))


def script(path: Path, body: str) -> Path:
    path.write_text("import json, os, sys, time\nspec = json.loads(sys.argv[1])\n" + body, encoding="utf-8")
    return path


# --- statistics ---------------------------------------------------------------------------------------------


def test_the_spread_is_the_median_and_the_ends() -> None:
    assert spread([3.0, 100.0, 1.0]) == {"median": 3.0, "low": 1.0, "high": 100.0}
    assert spread([1.0, 2.0]) == {"median": 1.5, "low": 1.0, "high": 2.0}
    assert spread([123456.789]) == {"median": 123500.0, "low": 123500.0, "high": 123500.0}


def test_a_lead_above_one_is_always_ours() -> None:
    assert lead("decode_tok_s", ours=100, theirs=50) == 2.0
    assert lead("cold_s", ours=1, theirs=4) == 4.0
    assert lead("memory_mb", ours=400, theirs=200) == 0.5


def test_a_summary_compares_medians() -> None:
    two = [peer for peer in peers.PEERS if peer.name in ("tokenloom", "llama.cpp")]
    given = {
        "tokenloom": [answer(decode_tok_s=v) for v in (10.0, 30.0, 20.0)],
        "llama.cpp": [answer(decode_tok_s=v) for v in (80.0, 1.0, 40.0)],
    }
    made = summary(two, given, "tokenloom")
    assert made["peers"]["tokenloom"]["figures"]["decode_tok_s"] == {
        "median": 20.0,
        "low": 10.0,
        "high": 30.0,
    }
    assert made["peers"]["llama.cpp"]["precision"] == two[1].precision
    assert made["peers"]["llama.cpp"]["runs"] == "CPU"
    assert made["ratio"] == {"llama.cpp": dict.fromkeys(METRICS, 1.0) | {"decode_tok_s": 0.5}}


def test_a_summary_without_ourselves_has_no_ratio() -> None:
    only = [peer for peer in peers.PEERS if peer.name == "llama.cpp"]
    assert summary(only, {"llama.cpp": [answer()]}, "tokenloom")["ratio"] == {}
    assert summary(only, {"llama.cpp": []}, "tokenloom")["peers"] == {}


# --- the worker's protocol ----------------------------------------------------------------------------------


def test_a_worker_is_given_its_spec_and_answers_on_its_last_line(tmp_path: Path) -> None:
    fake = script(
        tmp_path / "w.py",
        "print('noise'); late = time.time() - spec['started']\n"
        "print(json.dumps({'figures': {'late': late, 'threads': int(os.environ['OMP_NUM_THREADS'])},"
        " 'versions': {'path': sys.path[0]}, 'runs': 'fast'}))\n",
    )
    got = ask(Path(sys.executable), {"peer": "x"}, 3, fake)
    assert got["figures"]["threads"] == 3
    assert got["runs"] == "fast"
    assert 0 <= got["figures"]["late"] < 60
    assert got["versions"]["path"] != str(tmp_path), "a worker's folder must not shadow the peer's packages"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("sys.exit('no such model')", "exit status 1: no such model"),
        ("pass", "exit status 0"),
        ("print('ready')", "its last line is no answer: 'ready'"),
        ("print('[]')", "no answer"),
        ("print(json.dumps({'figures': {'a': 'fast'}, 'versions': {}}))", "no answer"),
        ("raise ValueError('bad')", "ValueError: bad"),
    ],
)
def test_a_worker_that_does_not_answer_says_why(tmp_path: Path, body: str, message: str) -> None:
    with pytest.raises(WorkerFailed, match=message):
        ask(Path(sys.executable), {}, 1, script(tmp_path / "w.py", body))


def test_a_worker_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compare, "WORKER_SECONDS", 0.5)
    with pytest.raises(WorkerFailed, match=r"no answer within 0\.5 s"):
        ask(Path(sys.executable), {}, 1, script(tmp_path / "w.py", "time.sleep(60)"))


class Recorder:
    """A peer that takes a millisecond for each token and remembers what it was asked."""

    def __init__(self, short: int = 0) -> None:
        self.asked: list[tuple[list[list[int]], int]] = []
        self.texts: list[str] = []
        self.short = short

    def load(self, spec: dict[str, Any]) -> None:
        pass

    def text(self, prompt: str) -> None:
        self.texts.append(prompt)

    def ids(self, prompts: list[list[int]], new: int) -> int:
        self.asked.append((prompts, new))
        time.sleep(new / 1000)
        return new * len(prompts) - self.short


SPEC = {
    "peer": "x", "model": "m", "options": {}, "started": 0.0, "threads": 1, "seed": 7, "vocab_size": 99_999,
    "decode": 8, "streams": 3, "prompt": 20, "text": "Hello", "openings": [[i] * 16 for i in range(12)],
}  # fmt: skip


def test_every_figure_is_measured_with_prompts_used_once() -> None:
    peer = Recorder()
    figures = worker.measure(peer, SPEC)
    assert set(figures) == set(FIGURES)
    assert peer.texts == ["Hello"]
    used = [tuple(prompt) for prompts, _ in peer.asked for prompt in prompts]
    assert len(set(used)) == len(used)
    assert {len(prompt) for prompt in used} == {16, 20}
    assert {(len(prompts), new) for prompts, new in peer.asked} >= {(1, 8), (1, 1), (3, 8), (3, 1)}
    again = Recorder()
    worker.measure(again, SPEC)
    assert again.asked == peer.asked
    other = Recorder()
    worker.measure(other, SPEC | {"seed": 8})
    assert [ids for ids, _ in other.asked if len(ids[0]) == 20] != [
        ids for ids, _ in peer.asked if len(ids[0]) == 20
    ]


def test_a_peer_that_stops_early_is_not_measured() -> None:
    with pytest.raises(RuntimeError, match="asked for 4 tokens, got 3"):
        worker.measure(Recorder(short=1), SPEC)


def test_every_peer_has_a_worker() -> None:
    assert {peer.worker for peer in peers.PEERS} == set(worker.PEERS)
    assert len(set(peers.NAMES)) == len(peers.PEERS)


# --- a whole run --------------------------------------------------------------------------------------------


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Runs without processes: what every worker is asked, by a stand-in that answers at once."""
    specs: list[dict[str, Any]] = []

    def stand_in(python: Path, spec: dict[str, Any], threads: int) -> dict[str, Any]:
        specs.append({**spec, "python": python})
        if spec["peer"] == "openvino-genai":
            raise WorkerFailed("exit status 1: no such device")
        return answer(decode_tok_s=10.0 * (spec["seed"] + 1))

    monkeypatch.setattr(compare, "ask", stand_in)
    return specs


def test_a_run_says_a_table_and_one_json_line_and_keeps_it(
    found: hub.Found, said: list[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        compare, "missing", lambda peer, found: "loom x" if peer.name == "llama.cpp" else None
    )
    lines: list[str] = []
    ledger = tmp_path / "ledger.jsonl"
    ledger.write_text('{"what": "before"}\n')
    sizes = Sizes(decode=4, streams=2, prompt=9)
    got = bench.run(str(found.path), rounds=3, threads=2, sizes=sizes, ledger=ledger, say=lines.append)
    assert json.loads(lines[-1]) == got
    assert [json.loads(line) for line in ledger.read_text().splitlines()] == [{"what": "before"}, got]
    assert got["missing"] == {"llama.cpp": "loom x"}
    assert got["failed"] == {"openvino-genai": "exit status 1: no such device"}
    assert got["sizes"] == {"decode": 4, "streams": 2, "prompt": 9}
    assert got["peers"]["tokenloom"]["figures"]["decode_tok_s"]["median"] == 20.0
    assert set(got["peers"]) == set(peers.NAMES) - {"llama.cpp", "openvino-genai"}
    # All peers once, then again: nobody gets the quiet minutes.
    assert [spec["peer"] for spec in said if spec["seed"] == 1] == [
        *["tokenloom"] * 4, *["transformers"] * 2, "onnxruntime-genai",
    ]  # fmt: skip
    assert {spec["vocab_size"] for spec in said} == {320}
    assert any("2 streams, tok/s" in line for line in lines)
    assert any("llama.cpp is missing: loom x" in line for line in lines)


def test_the_table_has_a_row_for_each_peer() -> None:
    two = [peer for peer in peers.PEERS if peer.name in ("tokenloom", "llama.cpp")]
    made = summary(two, {"tokenloom": [answer()], "llama.cpp": [answer(cold_s=4.0)]}, "llama.cpp")
    lines = table({**made, "sizes": {"streams": 16, "decode": 128, "prompt": 500}})
    assert "16 streams" in lines[0]
    assert lines[1].split()[0] == "tokenloom"
    assert "2 (0.5x)" in lines[1]
    assert lines[2].split()[0] == "llama.cpp"
    assert "how many times better llama.cpp is" in lines[3]
    assert len({len(line) for line in lines[:3]}) == 1


def test_what_cannot_be_is_refused(found: hub.Found) -> None:
    with pytest.raises(ValueError, match=r"peers: found vllm; allowed: tokenloom, tokenloom-plain"):
        bench.run(str(found.path), ["vllm"])
    with pytest.raises(ValueError, match="base: found vllm; allowed: tokenloom"):
        bench.run(str(found.path), base="vllm")
    for options in ({"rounds": 0}, {"threads": 0}):
        with pytest.raises(ValueError, match="found 0; allowed: 1 or more"):
            bench.run(str(found.path), ["tokenloom"], **options)
    with pytest.raises(ValueError, match="decode: found 1; allowed: 2 or more"):
        Sizes(decode=1)


# --- environments -------------------------------------------------------------------------------------------


def test_a_missing_peer_is_named_with_its_command(found: hub.Found, home: Path) -> None:
    from tokenloom.cli import app

    by_name = {peer.name: peer for peer in peers.PEERS}
    assert peers.missing(by_name["tokenloom"], found) is None
    lack = str(peers.missing(by_name["llama.cpp"], found))
    assert lack == f"loom bench --setup --peer llama.cpp --model {found.name}"
    command = typer.main.get_command(app).commands["bench"]
    command.make_context("bench", lack.split()[2:])  # raises where the terminal would not take it
    assert peers.interpreter(by_name["llama.cpp"]).is_relative_to(home / "peers" / "llama.cpp")
    assert peers.model_path(by_name["llama.cpp"], found) == found.path
    assert peers.model_path(by_name["transformers"], found) == home / "peers" / "models" / "small" / "hub"


def test_an_environment_is_made_once_and_again_when_packages_change(
    found: hub.Found, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands: list[list[str]] = []

    def run(peer: peers.Peer, command: list[str]) -> None:
        commands.append(command)
        if command[1:3] == ["-m", "venv"]:
            Path(command[3]).mkdir(parents=True)

    monkeypatch.setattr(peers, "_run", run)
    monkeypatch.setenv("TORCH_INDEX", "http://mirror/cpu")
    peer = peers.Peer("p", "llama.cpp", "p", (peers.TORCH, "numpy"), "gguf", "any")
    peers.prepare(peer, found, lambda text: None)
    assert commands[0][1:3] == ["-m", "venv"]
    assert commands[1][-3:] == [peers.TORCH, "--index-url", "http://mirror/cpu"]
    assert commands[2][-2:] == [peers.TORCH, "numpy"]
    assert peers.missing(peer, found) is None
    peers.prepare(peer, found, lambda text: None)
    assert len(commands) == 3
    newer = peers.Peer("p", "llama.cpp", "p", ("numpy>2",), "gguf", "any", without=("extra",))
    assert peers.missing(newer, found) is not None
    peers.prepare(newer, found, lambda text: None)
    assert commands[-2][-1] == "numpy>2"
    assert commands[-1][-4:] == ["uninstall", "-q", "-y", "extra"]


def test_a_setup_that_fails_says_how_and_is_not_taken_for_done(
    found: hub.Found, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = [sys.executable, "-c", "import sys; sys.exit('disk full')"]
    with pytest.raises(peers.SetupFailed, match=r"(?s)failed with 1:\ndisk full"):
        peers._run(peers.PEERS[-1], bad)

    def run(peer: peers.Peer, command: list[str]) -> None:
        if command[1:3] == ["-m", "venv"]:
            Path(command[3]).mkdir(parents=True)
        else:
            raise peers.SetupFailed("no network")

    monkeypatch.setattr(peers, "_run", run)
    peer = next(peer for peer in peers.PEERS if peer.name == "llama.cpp")
    with pytest.raises(peers.SetupFailed, match="no network"):
        peers.prepare(peer, found, lambda text: None)
    assert peers.missing(peer, found) is not None


def test_forms_are_made_from_our_own_folder_and_appear_whole(
    found: hub.Found, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []

    def run(peer: peers.Peer, command: list[str]) -> None:
        part = next(Path(word) for word in command if word.endswith(".part"))
        part.mkdir(parents=True)
        made.append(" ".join(command))

    monkeypatch.setattr(peers, "_run", run)
    monkeypatch.setattr(peers, "_save_hub", lambda found, target: target.mkdir(parents=True))
    for name in ("onnxruntime-genai", "openvino-genai"):
        peer = next(peer for peer in peers.PEERS if peer.name == name)
        target = peers.model_path(peer, found)
        peers.make_form(peer, found, target)
        assert target.is_dir()
    assert "-i " + str(home / "peers" / "models" / "small" / "hub") in made[0]
    assert "--weight-format int8" in made[1]
    assert not list((home / "peers" / "models" / "small").glob("*.part"))


def test_a_folder_cannot_be_run_by_a_reader_of_gguf(tmp_path: Path) -> None:
    folder = hub.Found("m", tmp_path, "hub")
    by_name = {peer.name: peer for peer in peers.PEERS}
    assert "reads GGUF files" in str(peers.unfit(by_name["llama.cpp"], folder))
    assert peers.unfit(by_name["transformers"], folder) is None
    assert peers.model_path(by_name["transformers"], folder) == tmp_path
    (tmp_path / "config.json").write_text('{"vocab_size": 77}')
    assert compare.vocabulary(folder) == 77


@pytest.mark.slow
@pytest.mark.model
def test_ourselves_through_a_real_worker(smollm2: Path, tmp_path: Path) -> None:
    sizes = Sizes(decode=3, streams=2, prompt=20)
    lines: list[str] = []
    got = bench.run(
        str(smollm2), ["tokenloom"], rounds=1, threads=1, sizes=sizes, ledger=None, say=lines.append
    )
    assert got["failed"] == {}
    assert set(got["peers"]["tokenloom"]["figures"]) == set(FIGURES)
    assert got["peers"]["tokenloom"]["runs"].endswith("Step")
    assert json.loads(lines[-1]) == got

"""A run's folder: what is in it, that its log is whole whatever happens, and how it is found again."""

from __future__ import annotations

import json
import logging
import math
import re
import resource
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tokenloom.train.record import find_run, git_state, latest, list_runs, read_log, read_run
from tokenloom.train.run import RunBusy, RunFolder, scalars

RECIPE = '[model]\nfamily = "llama"\nn_layer = 2\n'


def line(step: int, **more: object) -> dict[str, object]:
    return {"step": step, "tokens": 10 * step, "loss": 5.0 / step, "tok_s": 100.0, **more}


def test_what_a_run_leaves(tmp_path: Path) -> None:
    with RunFolder.create("toy", RECIPE, tmp_path, seeds={"data": 7}) as run:
        for step in (1, 2, 3):
            run.log(line(step, eval={"bits": 2.0} if step == 3 else {}))
        assert read_run(run.path).state == "running"
    assert re.fullmatch(r"toy-\d{8}-\d{6}", run.path.name)
    assert run.recipe == RECIPE
    told = read_run(run.path)
    assert (told.state, told.step, told.damaged) == ("finished", 3, [])
    assert told.recipe["model"]["n_layer"] == 2
    assert told.curve("eval.bits") == [(3.0, 2.0)]
    assert told.curve() == [(1.0, 5.0), (2.0, 2.5), (3.0, 5 / 3)]
    about = told.environment
    assert about["seeds"] == {"data": 7}
    assert about["packages"]["torch"].startswith("2.")
    assert about["cores"] >= 1
    assert about["memory_bytes"] > 1 << 28
    assert about["command"] == sys.argv
    assert {"python", "platform", "cpu", "git", "gpu"} <= set(about)


def test_the_home_is_where_runs_live(home: Path) -> None:
    with RunFolder.create("a", "") as run:
        pass
    assert run.path.parent == home / "runs"
    assert latest() == run.path
    assert (
        find_run("latest") == find_run("a-") == find_run(run.path.name) == find_run(str(run.path)) == run.path
    )


def test_a_repository_is_told_with_what_was_changed(tmp_path: Path) -> None:
    def git(*words: str) -> None:
        who = ["-c", "user.name=a", "-c", "user.email=a@b"]
        subprocess.run(["git", "-C", str(tmp_path), *who, *words], check=True, capture_output=True)

    assert git_state(tmp_path) is None
    git("init")
    (tmp_path / "a.py").write_text("1")
    git("add", "a.py")
    git("commit", "-m", "a")
    state = git_state(tmp_path)
    assert state is not None
    assert len(state["commit"]) == 40
    assert state["dirty"] is False
    (tmp_path / "a.py").write_text("2")
    assert git_state(tmp_path) == {**state, "dirty": True}


def test_runs_of_one_name_at_once_are_two(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        runs = list(pool.map(lambda _: RunFolder.create("same", RECIPE, tmp_path), range(8)))
    assert len({run.path for run in runs}) == 8
    for index, run in enumerate(runs):
        run.log(line(index + 1))
        run.close()
    assert sorted(read_run(run.path).step for run in runs) == list(range(1, 9))
    assert len(list_runs(tmp_path)) == 8


def test_two_processes_do_not_write_to_one_run(tmp_path: Path) -> None:
    run = RunFolder.create("one", RECIPE, tmp_path)
    with pytest.raises(RunBusy, match="written to by another process"):
        RunFolder.open(run.path)
    run.close()
    RunFolder.open(run.path).close()


@pytest.mark.parametrize("name", ["", "a/b", "..", ".hidden", "a b", "x" * 81])
def test_names_that_are_no_folders(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="name: found"):
        RunFolder.create(name, RECIPE, tmp_path)
    assert list(tmp_path.glob("*-*")) == []


def test_names_in_any_script(tmp_path: Path) -> None:
    with RunFolder.create("诗人", RECIPE, tmp_path) as run:
        pass
    assert run.path.name.startswith("诗人-")


def test_resuming_forgets_later_steps(tmp_path: Path) -> None:
    with RunFolder.create("toy", RECIPE, tmp_path) as run:
        for step in range(1, 8):
            run.log(line(step))
    started = read_run(run.path).started
    with RunFolder.open(run.path, step=4) as again:
        assert read_run(run.path).state == "running"
        again.log(line(5, loss=0.5))
    told = read_run(run.path)
    assert [entry["step"] for entry in told.lines] == [1, 2, 3, 4, 5]
    assert told.last("loss") == 0.5
    assert told.started == started


def test_a_torn_line_is_reported_and_mended(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with RunFolder.create("toy", RECIPE, tmp_path) as run:
        run.log(line(1))
        run.log(line(2))
    file = run.path / "log.jsonl"
    file.write_bytes(file.read_bytes() + b'{"step": 3, "lo')
    file.write_bytes(file.read_bytes().replace(b'"step": 2', b'"step": "two"') + b"\n\xff\xfe\n[1]\n")
    told = read_run(run.path)
    assert [entry["step"] for entry in told.lines] == [1]
    assert [Path(bad.place).name for bad in told.damaged] == [f"log.jsonl:{n}" for n in (2, 3, 4, 5)]
    with caplog.at_level(logging.WARNING), RunFolder.open(run.path) as again:
        again.log(line(2))
    assert "log.jsonl:3: a damaged line was dropped" in caplog.text
    assert read_run(run.path).damaged == []
    assert read_run(run.path).step == 2


def test_damaged_files_are_told_of(tmp_path: Path) -> None:
    with RunFolder.create("toy", RECIPE, tmp_path) as run:
        run.log(line(1))
    for name in ("status.json", "environment.json", "recipe.toml"):
        (run.path / name).write_text("{{")
    told = read_run(run.path)
    assert told.state == "unknown"
    assert {Path(bad.place).name for bad in told.damaged} == {
        "status.json",
        "environment.json",
        "recipe.toml",
    }
    assert told.step == 1
    with pytest.raises(ValueError, match="is no run folder"):
        read_run(tmp_path)
    with pytest.raises(ValueError, match="is no run folder"):
        RunFolder.open(tmp_path)


def test_numbers_without_a_word_in_json(tmp_path: Path) -> None:
    with RunFolder.create("toy", RECIPE, tmp_path) as run:
        run.log(line(1, loss=math.nan, eval={"bits": math.inf}))
        with pytest.raises(ValueError, match="step: found None"):
            run.log({"loss": 1.0})
        with pytest.raises(ValueError, match="what JSON does not"):
            run.log(line(2, what=object()))
    lines, damaged = read_log(run.path / "log.jsonl")
    assert damaged == []
    assert [entry["loss"] for entry in lines] == [None]
    assert lines[0]["eval"] == {"bits": None}


def test_how_a_run_ended(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), RunFolder.create("a", RECIPE, tmp_path) as stopped:
        raise KeyboardInterrupt
    assert (read_run(stopped.path).state, read_run(stopped.path).why) == ("stopped", "interrupted")
    with pytest.raises(ZeroDivisionError), RunFolder.create("b", RECIPE, tmp_path) as failed:
        1 / 0  # noqa: B018
    assert read_run(failed.path).state == "failed"
    assert "ZeroDivisionError" in read_run(failed.path).why


KILLED = """
import sys, time
from tokenloom.train.run import RunFolder
run = RunFolder.create("killed", "", sys.argv[1])
run.log({"step": 1, "loss": 2.0})
print(run.path, flush=True)
time.sleep(60)
"""


def test_a_killed_run_does_not_run(tmp_path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    path = Path(child.stdout.readline().strip())
    assert read_run(path).state == "running"
    with pytest.raises(RunBusy):
        RunFolder.open(path)
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    told = read_run(path)
    assert (told.state, told.why, told.step) == ("stopped", "its process is gone", 1)
    with RunFolder.open(path, step=1) as again:
        again.log(line(2))
    assert read_run(path).state == "finished"


FULL = """
import resource, sys
from tokenloom.train import run as runs
if sys.argv[2] == "alone":
    runs._board = lambda folder, step: runs._NoBoard()
run = runs.RunFolder.create("full", "", sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))
steps = 0
try:
    while True:
        steps += 1
        run.log({"step": steps, "loss": 2.0, "text": "x" * 100})
except OSError as error:
    print(steps, error.errno)
"""


@pytest.mark.parametrize("board", ["alone", "with TensorBoard"])
def test_a_full_disk_leaves_whole_lines(tmp_path: Path, board: str) -> None:
    done = subprocess.run([sys.executable, "-c", FULL, str(tmp_path), board], capture_output=True, text=True)
    steps, code = map(int, done.stdout.split())
    assert code == 27, "the limit on a file's size"
    (path,) = tmp_path.glob("full-*")
    lines, damaged = read_log(path / "log.jsonl")
    assert damaged == []
    assert [entry["step"] for entry in lines] == list(range(1, steps))
    assert steps > 20
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 4000


def test_the_newest_is_first(tmp_path: Path) -> None:
    paths = []
    for index, name in enumerate(("b", "a", "c")):
        with RunFolder.create(name, RECIPE, tmp_path) as run:
            pass
        status = json.loads((run.path / "status.json").read_text())
        (run.path / "status.json").write_text(
            json.dumps({**status, "started": f"2026-01-0{index + 1}T00:00:00"})
        )
        paths.append(run.path)
    (tmp_path / "notes").mkdir()
    assert [run.path for run in list_runs(tmp_path)] == paths[::-1]
    assert latest(tmp_path) == paths[2]
    assert latest(tmp_path, "a") == paths[1]
    with pytest.raises(ValueError, match="found none of 'z'"):
        latest(tmp_path, "z")
    with pytest.raises(ValueError, match="found none called 'zz'"):
        find_run("zz", tmp_path)
    assert list_runs(tmp_path / "nothing") == []


def test_a_name_that_no_run_has_is_answered_with_the_nearest(tmp_path: Path) -> None:
    for name in ("poet", "poet-small", "docstrings", *(f"try-{n}" for n in range(7))):
        with RunFolder.create(name, RECIPE, tmp_path):
            pass

    def said(name: str) -> str:
        with pytest.raises(ValueError) as error:
            find_run(name, tmp_path)
        return str(error.value)

    assert re.search(r"nearest are: poet-2\d+-\d+; --root", said("peot"))
    assert re.search(r"nearest are: docstrings-\d+-\d+; --root names another place", said("docstring-scores"))
    assert re.search(r"there are: .* and 5 more; --root", said("zzz"))
    assert "'poet' begins 2 names: poet-" in said("poet")
    assert "'try' begins 7 names: " in said("try")
    assert "and 2 more; name one of them whole" in said("try")
    with pytest.raises(ValueError, match="none is there, `loom train RECIPE` makes one; --root"):
        find_run("poet", tmp_path / "nowhere")


def test_what_tensorboard_is_told() -> None:
    told = scalars(line(3, eval={"bits": 1.5, "name": "x"}, samples=["a"], lr=math.nan, ok=True))
    assert told == {"train/tokens": 30.0, "train/loss": 5 / 3, "train/tok_s": 100.0, "eval/bits": 1.5}


def test_tensorboard_reads_it_also_after_a_resume(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with RunFolder.create("toy", RECIPE, tmp_path) as run:
        for step in (1, 2, 3, 4):
            run.log(line(step))
    time.sleep(1.1)  # TensorBoard names its files by the second
    with RunFolder.open(run.path, step=2) as again:
        again.log(line(3, loss=0.25))
    board = EventAccumulator(str(run.path / "tensorboard"))
    board.Reload()
    assert [(e.step, e.value) for e in board.Scalars("train/loss")] == [(1, 5.0), (2, 2.5), (3, 0.25)]


def test_without_tensorboard_the_log_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with caplog.at_level(logging.WARNING), RunFolder.create("toy", RECIPE, tmp_path) as run:
        run.log(line(1))
        run.log(line(2))
    assert caplog.text.count("pip install tensorboard") == 1
    assert read_run(run.path).step == 2
    assert not (run.path / "tensorboard").exists()

"""A prepared set: split, written, gone on with, and the same for any number of workers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from clean_texts import CHINESE, ENGLISH, made, varied

from tokenloom.data import prepare as module
from tokenloom.data.duplicates import exact_key
from tokenloom.data.prepare import is_held_out, prepare, read_report
from tokenloom.data.record import Record
from tokenloom.data.report import Report, markdown
from tokenloom.data.settings import clean_settings
from tokenloom.data.workers import WorkerDied, in_order

SETTINGS = clean_settings(held_out=0.2)
FILES = ("train.jsonl", "held-out.jsonl")


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BATCH_RECORDS", 8)


@pytest.fixture(scope="module")
def records() -> list[Record]:
    return made(0.4)


def contents(folder: Path) -> list[bytes]:
    return [(folder / name).read_bytes() for name in FILES]


def counts(report: Report) -> dict[str, Any]:
    """What must be equal: all but times and workers."""
    facts = report.facts()
    for step in facts["steps"].values():
        step.pop("seconds")
    return {k: v for k, v in facts.items() if k not in ("seconds", "workers", "mb_per_second")}


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for name in FILES for line in (folder / name).read_text("utf-8").splitlines()]


def test_a_set_is_cleaned_split_and_reported(records: list[Record], tmp_path: Path) -> None:
    report = prepare(iter(records), tmp_path / "set", SETTINGS)
    assert sorted(p.name for p in (tmp_path / "set").iterdir()) == sorted(
        [*FILES, "report.json", "report.md"]
    )
    written = lines(tmp_path / "set")
    assert report.documents_in == len(records)
    assert report.documents_out == len(written) == len({exact_key(line["text"]) for line in written})
    assert 0 < report.held_out < report.documents_out
    assert report.held_out == len((tmp_path / "set/held-out.jsonl").read_text("utf-8").splitlines())
    assert report.bytes_in == sum(len(r.text.encode()) for r in records)
    assert {"exact", "near"} <= {name for name, step in report.steps.items() if step.dropped}
    assert report.scrubbed["email"] >= 1
    assert set(report.languages) == {"en", "zh"}
    assert all(line["meta"]["language"] in ("en", "zh") and line["source"] for line in written)
    kept = {line["source"] for line in written}
    for step in ("exact", "near"):
        twin = report.steps[step].examples[0]
        assert twin.source not in kept
        assert twin.detail.split()[-1] in kept
    assert read_report(tmp_path / "set") == report
    page = (tmp_path / "set/report.md").read_text("utf-8")
    assert page == markdown(report)
    assert "near_duplicate" in page


def test_two_workers_give_what_one_gives(records: list[Record], tmp_path: Path) -> None:
    one = prepare(iter(records), tmp_path / "1", SETTINGS)
    two = prepare(iter(records), tmp_path / "2", SETTINGS, workers=2)
    assert contents(tmp_path / "1") == contents(tmp_path / "2")
    assert counts(one) == counts(two)


@pytest.mark.parametrize("after", [0, 1, 40])
def test_going_on_gives_what_a_straight_run_gives(
    after: int, records: list[Record], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight = prepare(iter(records), tmp_path / "straight", SETTINGS)

    def interrupted() -> Iterator[Record]:
        yield from records[:after]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(interrupted(), tmp_path / "set", SETTINGS)
    assert not (tmp_path / "set" / "train.jsonl").exists()
    # Broken off again, now in the middle of a batch and after a saving: what is half written is cut off.
    monkeypatch.setattr(module, "SAVE_EVERY_S", 0.0)
    calls = 0

    def fails(*arguments: Any) -> bool:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise OSError(28, "No space left on device")
        return is_held_out(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(module, "is_held_out", fails)
        with pytest.raises(OSError, match="No space left"):
            prepare(iter(records), tmp_path / "set", SETTINGS)
    report = prepare(iter(records), tmp_path / "set", SETTINGS)
    assert contents(tmp_path / "set") == contents(tmp_path / "straight")
    assert counts(report) == counts(straight)
    assert not (tmp_path / "set" / ".work").exists()


def test_going_on_with_something_else_is_refused(records: list[Record], tmp_path: Path) -> None:
    def broken() -> Iterator[Record]:
        yield from records[:20]
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        prepare(broken(), tmp_path / "set", SETTINGS, inputs={"files": ["a"]})
    with pytest.raises(ValueError, match="a run with other settings; give the same"):
        prepare(iter(records), tmp_path / "set", clean_settings(), inputs={"files": ["a"]})
    with pytest.raises(ValueError, match="a run with other inputs"):
        prepare(iter(records), tmp_path / "set", SETTINGS, inputs={"files": ["b"]})


def test_a_finished_set_is_not_written_over(tmp_path: Path) -> None:
    report = prepare([Record(ENGLISH, "a")], tmp_path / "set", SETTINGS)
    before = contents(tmp_path / "set")
    assert prepare([], tmp_path / "set", SETTINGS) == report
    with pytest.raises(FileExistsError, match="holds a set made otherwise"):
        prepare([Record(CHINESE, "a")], tmp_path / "set", clean_settings())
    assert contents(tmp_path / "set") == before
    (tmp_path / "other").mkdir()
    (tmp_path / "other/train.jsonl").write_text("mine")
    with pytest.raises(FileExistsError, match=r"holds train\.jsonl already"):
        prepare([Record(ENGLISH, "a")], tmp_path / "other", SETTINGS)
    (tmp_path / "file").write_text("x")
    with pytest.raises(ValueError, match="is a file; name a folder"):
        prepare([Record(ENGLISH, "a")], tmp_path / "file", SETTINGS)


def test_a_break_while_the_files_are_put_in_place_is_mended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight = prepare([Record(ENGLISH, "a")], tmp_path / "straight", SETTINGS)

    def broken(folder: Path) -> None:
        (folder / ".work" / "train.jsonl").replace(folder / "train.jsonl")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, "_settle", broken)
        with pytest.raises(KeyboardInterrupt):
            prepare([Record(ENGLISH, "a")], tmp_path / "set", SETTINGS)
    report = prepare([Record(ENGLISH, "a")], tmp_path / "set", SETTINGS)
    assert counts(report) == counts(straight)
    assert contents(tmp_path / "set") == contents(tmp_path / "straight")
    assert not (tmp_path / "set" / ".work").exists()


def test_a_cut_working_file_is_said(records: list[Record], tmp_path: Path) -> None:
    def broken() -> Iterator[Record]:
        yield from records[:40]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(broken(), tmp_path / "set", SETTINGS)
    file = tmp_path / "set/.work/train.jsonl"
    file.write_bytes(file.read_bytes()[:-5])
    with pytest.raises(ValueError, match=r"train\.jsonl: is shorter than when it was left"):
        prepare(iter(records), tmp_path / "set", SETTINGS)


def test_the_held_out_documents_stay_so_when_the_data_grows(records: list[Record], tmp_path: Path) -> None:
    prepare(records[:40], tmp_path / "small", SETTINGS)
    prepare(records, tmp_path / "large", SETTINGS)
    small = set((tmp_path / "small/held-out.jsonl").read_text("utf-8").splitlines())
    large = set((tmp_path / "large/held-out.jsonl").read_text("utf-8").splitlines())
    assert small
    assert small < large


def test_documents_of_one_field_are_held_out_together() -> None:
    settings = clean_settings(held_out=0.5, held_out_by="module")
    sides = {
        m: {is_held_out(Record(f"{i}", "x", {"module": m}), b"", settings) for i in range(9)}
        for m in range(40)
    }
    assert all(len(side) == 1 for side in sides.values())
    assert 8 < sum(True in side for side in sides.values()) < 32
    by_file = clean_settings(held_out=0.5, held_out_by="source")
    assert len({is_held_out(Record("", f"a.jsonl:{i}"), exact_key(str(i)), by_file) for i in range(30)}) == 1
    with pytest.raises(ValueError, match="held_out_by: x has no field 'module'; its fields are path"):
        is_held_out(Record("", "x", {"path": 1}), b"", settings)


def test_an_empty_set_and_one_where_nothing_stays(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="found none; an empty set"):
        prepare([], tmp_path / "none", SETTINGS)
    report = prepare([Record("Buy now!", "a")], tmp_path / "dropped", SETTINGS)
    assert (report.documents_in, report.documents_out) == (1, 0)
    assert contents(tmp_path / "dropped") == [b"", b""]


def test_odd_meta_is_written(tmp_path: Path) -> None:
    settings = clean_settings(preset="trusted")
    prepare([Record("line\u2028one\nline two", "a", {"when": Path("x"), "n": [1, None]})], tmp_path, settings)
    found = json.loads((tmp_path / "train.jsonl").read_text("utf-8").split("\n")[0])
    assert found["text"] == "line\u2028one\nline two" or found["text"] == "line\none\nline two"
    assert found["meta"]["when"] == "x"
    assert found["meta"]["n"] == [1, None]


def test_without_duplicates_all_stay(tmp_path: Path) -> None:
    settings = clean_settings(preset="trusted", duplicates=False, held_out=0)
    report = prepare([Record(ENGLISH, "a"), Record(ENGLISH, "b")], tmp_path / "all", settings)
    assert report.documents_out == 2
    exact = clean_settings(preset="trusted", duplicates={"near": False}, held_out=0)
    texts = [ENGLISH, ENGLISH, varied(ENGLISH, 0.02)]
    report = prepare([Record(t, "a") for t in texts], tmp_path / "exact", exact)
    assert report.documents_out == 2


def _dies(how: str) -> Any:
    import os

    return lambda job: os._exit(3) if job == how else job


def test_a_dead_worker_is_said() -> None:
    with pytest.raises(WorkerDied, match="for want of memory"):
        list(in_order(_dies, ("b",), ["a", "b", "c"], 2))
    with pytest.raises(ValueError, match="workers: found 0"):
        list(in_order(_dies, ("b",), ["a"], 0))


PROGRAM = """
import sys
from tokenloom.cli.data import app

if __name__ == "__main__":
    app()
"""


@pytest.mark.slow
def test_ctrl_c_leaves_things_whole(tmp_path: Path) -> None:
    """The real signal, to the program and its workers; then the same command goes on."""
    program, raw = tmp_path / "program.py", tmp_path / "raw.jsonl"
    program.write_text(PROGRAM)
    raw.write_text("".join(json.dumps({"text": r.text}) + "\n" for r in made(6)))
    arguments = [
        sys.executable,
        str(program),
        "prepare",
        str(raw),
        "--workers",
        "2",
        "--preset",
        "trusted",
        "-o",
    ]
    started = subprocess.Popen(
        [*arguments, str(tmp_path / "set")], start_new_session=True, stderr=subprocess.PIPE
    )
    note, working = tmp_path / "set/.work/progress.json", tmp_path / "set/.work/train.jsonl"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not (working.exists() and working.stat().st_size > 2_500_000):
        time.sleep(0.02)
    os.killpg(started.pid, signal.SIGINT)
    _, said = started.communicate(timeout=120)
    assert started.returncode == 130
    assert b"The same command goes on" in said
    assert json.loads(note.read_text("utf-8"))["cursor"] > 0
    assert not (tmp_path / "set/train.jsonl").exists()
    for name in ("set", "straight"):
        subprocess.run([*arguments, str(tmp_path / name)], check=True, capture_output=True)
    assert contents(tmp_path / "set") == contents(tmp_path / "straight")

"""Files and folders are put in their places whole: what fails halfway leaves what was there, alone."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tokenloom.config import append_whole, check_place, new_file, new_folder, put_json, put_text


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "place").mkdir()
    return tmp_path / "place"


def broken_file(file: Path, error: BaseException) -> None:
    with new_file(file) as beside:
        beside.write_text("half")
        raise error


def broken_folder(folder: Path, error: BaseException) -> None:
    with new_folder(folder) as beside:
        (beside / "a").write_text("half")
        raise error


@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_file_broken_off_is_the_old_one(place: Path, there: bool, error: BaseException) -> None:
    file = place / "f.txt"
    if there:
        put_text(file, "old")
    with pytest.raises(type(error)):
        broken_file(file, error)
    assert [(p.name, p.read_text()) for p in place.iterdir()] == ([("f.txt", "old")] if there else [])


@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_folder_broken_off_is_the_old_one(place: Path, there: bool, error: BaseException) -> None:
    if there:
        with new_folder(place / "d") as beside:
            (beside / "a").write_text("old")
    with pytest.raises(type(error)):
        broken_folder(place / "d", error)
    assert [p.name for p in place.iterdir()] == (["d"] if there else [])
    assert not there or (place / "d" / "a").read_text() == "old"


def test_a_folder_replaces_the_old_one_with_all_it_held(place: Path) -> None:
    for name in ("a", "b"):
        with new_folder(place / "d") as beside:
            (beside / name).write_text(name)
    assert [str(p.relative_to(place)) for p in place.rglob("*")] == ["d", "d/b"]


def test_a_rename_that_fails_brings_the_old_folder_back(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with new_folder(place / "d") as beside:
        (beside / "a").write_text("old")
    plain = Path.rename

    def rename(self: Path, target: Path) -> Path:
        if self.name.endswith(".new"):
            raise PermissionError(13, "Permission denied")
        return plain(self, target)

    monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises(PermissionError), new_folder(place / "d") as beside:
        (beside / "a").write_text("new")
    assert (place / "d" / "a").read_text() == "old"
    assert os.listdir(place) == ["d"]


@pytest.mark.parametrize("error", [OSError("the disk is full"), KeyboardInterrupt()], ids=["full", "ctrl-c"])
def test_a_line_broken_off_is_none(
    place: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    file = os.open(place / "log", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    append_whole(file, b"first\n")
    write = os.write

    def part(descriptor: int, data: bytes) -> int:
        if len(data) < 6:
            raise error
        return write(descriptor, data[:3])

    with monkeypatch.context() as broken:
        broken.setattr(os, "write", part)
        with pytest.raises(type(error)):
            append_whole(file, b"second\n")
    append_whole(file, b"third\n")
    os.close(file)
    assert (place / "log").read_bytes() == b"first\nthird\n"


def test_json_is_spelled_as_it_is(place: Path) -> None:
    put_json(place / "j.json", {"word": "春"})
    raw = (place / "j.json").read_bytes()
    assert raw == '{\n  "word": "春"\n}\n'.encode()
    assert json.loads(raw) == {"word": "春"}


def test_a_place_is_refused_before_the_work(place: Path) -> None:
    check_place(place / "new", False, "model", "config.json")
    (place / "empty").mkdir()
    check_place(place / "empty", False, "model", "config.json")
    (place / "file").write_text("")
    with pytest.raises(FileExistsError, match="is a file"):
        check_place(place / "file", True, "model", "config.json")
    with pytest.raises(FileExistsError, match="is not empty"):
        check_place(place, False, "model", "config.json")
    with pytest.raises(FileExistsError, match=r"holds no model \(no config\.json\)"):
        check_place(place, True, "model", "config.json")
    (place / "config.json").write_text("{}")
    check_place(place, True, "model", "config.json")

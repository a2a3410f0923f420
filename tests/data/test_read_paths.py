"""Which files a path means, in which order; and what is no path at all."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
from pathlib import Path

import pytest
from reading import listen

from tokenloom.data.read import read
from tokenloom.data.record import DataError


def plant(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)


def test_folders_are_read_recursively_and_sorted(tmp_path: Path) -> None:
    plant(
        tmp_path,
        "b/z.txt",
        "b/a.md",
        "a.txt",
        "c.rst",
        "b/.hidden.txt",
        ".git/x.txt",
        "p.png",
        "q.PNG",
        "b/code.py",
    )
    heard = listen(tmp_path)
    assert heard.texts == ["a.txt", "b/a.md", "b/z.txt", "c.rst"]
    assert heard.notes == [
        f"{tmp_path}: passed over 5 files of other kinds (2 hidden, 2 .png, 1 .py)"
    ]  # fmt: skip


def test_paths_come_in_the_order_given_and_each_file_once(tmp_path: Path) -> None:
    plant(tmp_path, "b.txt", "a.txt", "x/code.py")
    heard = listen(tmp_path / "b.txt", tmp_path, tmp_path / "x" / "code.py")
    assert heard.texts == ["b.txt", "a.txt", "x/code.py"]
    assert f"{tmp_path}/b.txt is named twice; it is read once" in heard.notes


def test_globs(tmp_path: Path) -> None:
    plant(tmp_path, "b.txt", "a.txt", "x/y/c.txt", "d.md", "[odd].txt")
    assert listen(f"{tmp_path}/[ab].txt").texts == ["a.txt", "b.txt"]
    assert listen(f"{tmp_path}/**/*.txt").texts == ["[odd].txt", "a.txt", "b.txt", "x/y/c.txt"]
    assert listen(f"{tmp_path}/[odd].txt").texts == ["[odd].txt"]  # a file of that very name comes first
    with pytest.raises(DataError, match="no file matches this pattern"):
        listen(f"{tmp_path}/*.jsonl")


def test_names_with_spaces_and_other_letters(tmp_path: Path) -> None:
    plant(tmp_path, "a b/中文 é.txt")
    assert listen(tmp_path).places(tmp_path) == ["a b/中文 é.txt:1"]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("", "paths: found an empty name"),
        ("nowhere.txt", "nowhere.txt: there is no such file or folder"),
        ("archive.zip", "archive.zip is an archive: unpack it"),
        ("all.tar.gz", "all.tar.gz is an archive: unpack it"),
        ("empty", "empty: the folder holds no file that is read here; these are: .txt "),
        ("pictures", "pictures: the folder holds no file that is read here"),
        ("circle.txt", "circle.txt: its symbolic links lead in a circle"),
        ("dangling.txt", "dangling.txt: No such file or directory"),
        ("looped", "looped/inner/back is a link to .*/looped, which holds it: a loop"),
    ],
)
def test_what_cannot_be_read_is_said_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    plant(tmp_path, "archive.zip", "all.tar.gz", "pictures/a.png", "looped/inner/a.txt")
    (tmp_path / "empty").mkdir()
    os.symlink("circle.txt", "circle.txt")
    os.symlink("gone", "dangling.txt")
    os.symlink("../../looped", "looped/inner/back")
    with pytest.raises(DataError, match=message):
        read([path])


def test_a_link_that_is_no_loop_is_followed(tmp_path: Path) -> None:
    plant(tmp_path, "a/one.txt", "b/two.txt")
    os.symlink("../b", tmp_path / "a" / "other")
    assert listen(tmp_path / "a").texts == ["a/one.txt", "b/two.txt"]


@pytest.mark.parametrize(
    ("name", "data"), [("a.jsonl", b""), ("a.txt", b"\n \n"), ("a.csv", b"text\n"), ("a.json", b"[]")]
)
def test_an_empty_set_is_an_error(tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError, match=rf"nothing was read from .*{name}: the set is empty"):
        listen(tmp_path)


def test_a_set_with_bad_records_only_lists_them(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("bad\n")
    with pytest.raises(DataError, match=r"all 1 records are bad:\n.*a\.jsonl:1: it is not JSON"):
        listen(tmp_path)


@pytest.mark.parametrize("paths", ["a.txt", []])
def test_paths_are_a_list(paths: list[str]) -> None:
    with pytest.raises(DataError, match="allowed: a list of at least one path"):
        read(paths)


def test_progress_counts_the_bytes_on_disk(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "a.jsonl.gz", "wt") as file:
        file.write('{"text": "x"}\n' * 50_000)
    (tmp_path / "b.txt").write_text("text\n" * 1000)
    total = sum(path.stat().st_size for path in tmp_path.glob("*.*"))
    seen: list[tuple[int, int]] = []
    listen(tmp_path, on_progress=lambda done, of: seen.append((done, of)))
    assert seen[-1] == (total, total)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_memory_stays_flat(tmp_path: Path) -> None:
    """80 MB are read in a process that may grow by 40 MB over what reading nearly nothing takes."""
    line = '{"text": "' + "words and " * 100 + '"}\n'
    (tmp_path / "small.jsonl").write_text(line)
    (tmp_path / "small.json").write_text(f"[{line}]")
    with (tmp_path / "big.jsonl").open("w") as file, (tmp_path / "big.json").open("w") as array:
        array.write("[" + line)
        for _ in range(40):
            file.write(line * 1000)
            array.write(f",{line}" * 1000)
        array.write("]")
    code = (
        "import sys; from tokenloom.bench.worker import peak_mb; from tokenloom.data.read import read\n"
        "print(sum(1 for _ in read(sys.argv[1:])), peak_mb())"
    )

    def peak(size: str) -> tuple[int, float]:
        files = [str(tmp_path / f"{size}.jsonl"), str(tmp_path / f"{size}.json")]
        done = subprocess.run(
            [sys.executable, "-c", code, *files], capture_output=True, text=True, check=True
        )
        count, megabytes = done.stdout.split()
        return int(count), float(megabytes)

    (few, low), (many, high) = peak("small"), peak("big")
    assert (few, many) == (2, 80_001)
    assert high - low < 40

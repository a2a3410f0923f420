"""Shards: what is written is read, damage is refused, a broken writing goes on."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenloom.data.shards import BadShards, Shards, ShardWriter, open_shards

HASH = "0123456789abcdef" * 4
DOCUMENTS = [[1, 2, 3], [4], [5, 6, 7, 8, 9, 10, 11], [12, 13], [14, 15, 16, 17]]


def write(folder: Path, documents: list[list[int]] = DOCUMENTS, **options: Any) -> Shards:
    with ShardWriter(folder, **{"tokenizer_hash": HASH, "vocab_size": 100, **options}) as writer:
        for number, ids in enumerate(documents):
            writer.add(ids, n_bytes=10 * number)
    return open_shards(folder)


@given(
    st.lists(st.lists(st.tuples(st.integers(0, 69_999), st.booleans()), min_size=1, max_size=9), min_size=1),
    st.integers(1, 12),
    st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory,
    documents: list[list[tuple[int, bool]]],
    per_file: int,
    masked: bool,
) -> None:
    folder = tmp_path_factory.mktemp("any") / "shards"
    options = {"tokenizer_hash": HASH, "vocab_size": 70_000, "tokens_per_file": per_file, "masked": masked}
    with ShardWriter(folder, **options) as writer:
        for document in documents:
            writer.add([i for i, _ in document], [m for _, m in document] if masked else None)
    shards = open_shards(folder, HASH)
    assert (shards.n_documents, len(shards)) == (len(documents), len(documents))
    assert shards.n_tokens == sum(map(len, documents)) == shards.lengths.sum()
    assert shards.lengths.dtype == np.int64
    for index, document in enumerate(documents):
        assert shards.document(index).tolist() == [i for i, _ in document]
        found = shards.learned(index)
        assert found is None if found is None else found.tolist() == [m for _, m in document]
        assert (found is None) is not masked
    for file in shards.manifest["files"]:
        assert file["tokens"] <= per_file or file["documents"] == 1
    shards.verify()


def test_the_files_are_what_the_manifest_says(tmp_path: Path) -> None:
    shards = write(tmp_path / "s", tokens_per_file=8, about={"text": "numbers"})
    assert [f["documents"] for f in shards.manifest["files"]] == [2, 1, 2]
    assert shards.manifest["about"] == {"text": "numbers"}
    assert (shards.n_bytes, shards.bytes.tolist()) == (100, [0, 10, 20, 30, 40])
    raw = (tmp_path / "s" / "00001.ids").read_bytes()
    assert np.frombuffer(raw, "<u2").tolist() == DOCUMENTS[2]
    assert hashlib.sha256(raw).hexdigest() == shards.manifest["files"][1]["sha256"]["ids"]
    assert np.fromfile(tmp_path / "s" / "00000.offsets", "<i8").tolist() == [0, 3, 4]


def test_what_is_known_only_at_the_end_is_stated(tmp_path: Path) -> None:
    with ShardWriter(tmp_path / "s", tokenizer_hash=HASH, vocab_size=9, about={"a": 1, "b": 1}) as writer:
        writer.add([1, 2])
        assert writer.finish({"b": 2}).manifest["about"] == {"a": 1, "b": 2}
    assert open_shards(tmp_path / "s").manifest["about"] == {"a": 1, "b": 2}


def test_ids_are_as_wide_as_the_vocabulary_needs(tmp_path: Path) -> None:
    assert write(tmp_path / "a", vocab_size=65_535).manifest["dtype"] == "<u2"
    wide = write(tmp_path / "b", [[70_000, 5]], vocab_size=1 << 17)
    assert wide.manifest["dtype"] == "<u4"
    assert wide.document(0).tolist() == [70_000, 5]


@pytest.mark.parametrize("kind", ["ids", "offsets", "bytes", "learned"])
def test_damage_is_refused(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "s"
    write(folder, masked=True)
    path = folder / f"00000.{kind}"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    with pytest.raises(BadShards, match=rf"00000\.{kind}: is cut short: it has .* the manifest says"):
        open_shards(folder)
    path.write_bytes(whole + b"\0")
    with pytest.raises(BadShards, match=rf"00000\.{kind}: is too long"):
        open_shards(folder)
    path.unlink()
    with pytest.raises(BadShards, match=rf"00000\.{kind}: missing"):
        open_shards(folder)
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(BadShards, match=rf"00000\.{kind}: (sha256 is|its document borders)"):
        open_shards(folder).verify()


def test_verify_reads_all_and_says_how_far_it_is(tmp_path: Path) -> None:
    shards, read = write(tmp_path / "s", tokens_per_file=5), []
    shards.verify(read.append)
    files = [p for p in (tmp_path / "s").iterdir() if p.suffix != ".json"]
    assert sum(read) == sum(p.stat().st_size for p in files)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"schema": 9}, "schema: found 9; allowed: 1"),
        ({"dtype": "<f8"}, "dtype: found '<f8'"),
        ({"documents": 4}, "documents: found 4, but its files have 5"),
        ({"tokens": "17"}, "tokens: found '17'; allowed: int"),
        ({"files": [3]}, "files: found 3"),
        ({"files": [{"name": "../x", "documents": 5, "tokens": 17, "bytes": 0, "sha256": {}}]}, "plain name"),
        ({"finished": False}, "broken off after 5 documents"),
    ],
)
def test_a_wrong_manifest_is_named(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    folder = tmp_path / "s"
    write(folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, **change}))
    with pytest.raises(BadShards, match=words):
        open_shards(folder)


def test_other_wrong_folders(tmp_path: Path) -> None:
    with pytest.raises(BadShards, match=r"manifest\.json: missing"):
        open_shards(tmp_path)
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(BadShards, match="not JSON"):
        open_shards(tmp_path)
    write(tmp_path / "s")
    with pytest.raises(BadShards, match="but the tokenizer in use is ffffffffffff"):
        open_shards(tmp_path / "s", "f" * 64)
    with pytest.raises(FileExistsError, match="holds finished shards"):
        write(tmp_path / "s")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("dear")
    with pytest.raises(FileExistsError, match="is not empty"):
        write(tmp_path / "full")
    with pytest.raises(BadShards, match="no document was added"):
        write(tmp_path / "none", [])


@pytest.mark.parametrize(
    ("ids", "learned", "words"),
    [
        ([], None, "at least one id"),
        ([[1, 2]], None, "found the shape"),
        ([1, 100], None, "found 100; allowed: 0 to 99"),
        ([-1], None, "found -1"),
        ([1, 2], [True], "found 1 marks for 2 ids"),
    ],
)
def test_wrong_documents_are_named_and_leave_no_trace(tmp_path: Path, ids, learned, words: str) -> None:
    with ShardWriter(tmp_path / "s", tokenizer_hash=HASH, vocab_size=100, masked=True) as writer:
        writer.add([1, 2, 3])
        with pytest.raises(ValueError, match=words):
            writer.add(ids, learned)
        writer.add([4, 5])
    shards = open_shards(tmp_path / "s")
    assert [shards.document(i).tolist() for i in range(2)] == [[1, 2, 3], [4, 5]]
    shards.verify()
    with pytest.raises(ValueError, match="but these shards have none"):
        ShardWriter(tmp_path / "t", tokenizer_hash=HASH, vocab_size=9).add([1], [True])
    with pytest.raises(IndexError, match="found 2; allowed: 0 to 1"):
        shards.document(2)


def break_off(folder: Path, documents: list[list[int]]) -> None:
    writer = ShardWriter(folder, tokenizer_hash=HASH, vocab_size=100)
    for ids in documents:
        writer.add(ids)
    writer.close()


@pytest.mark.parametrize("at", range(1, 9))
def test_ctrl_c_in_the_middle_of_an_addition(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    """Whichever of the files was reached, what the manifest says is what goes on."""
    monkeypatch.setattr("tokenloom.data.shards.SAVE_EVERY", 1)
    writes = []

    def write_then_break(self: ShardWriter, kind: str, data: bytes) -> None:
        plain(self, kind, data)
        writes.append(kind)
        if len(writes) == at:
            raise KeyboardInterrupt

    plain = ShardWriter._write
    monkeypatch.setattr(ShardWriter, "_write", write_then_break)
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "s", tokens_per_file=4)
    monkeypatch.setattr(ShardWriter, "_write", plain)
    with ShardWriter(tmp_path / "s", tokenizer_hash=HASH, vocab_size=100, tokens_per_file=4) as writer:
        for number in range(writer.n_documents, len(DOCUMENTS)):
            writer.add(DOCUMENTS[number], n_bytes=10 * number)
    write(tmp_path / "straight", tokens_per_file=4)
    assert contents(tmp_path / "s") == contents(tmp_path / "straight")


def contents(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted(folder.iterdir())}


@pytest.mark.parametrize("per_file", [4, 100])
def test_a_broken_writing_goes_on_to_the_same_files(tmp_path: Path, per_file: int) -> None:
    def run(folder: Path, stop_at: int | None) -> None:
        options = {"tokenizer_hash": HASH, "vocab_size": 100, "masked": True, "tokens_per_file": per_file}
        with ShardWriter(folder, **options) as writer:
            for number, ids in enumerate(DOCUMENTS):
                if writer.cursor is not None and number <= writer.cursor["line"]:
                    continue
                if number == stop_at:
                    raise KeyboardInterrupt
                writer.add(ids, [id % 2 for id in ids], n_bytes=number, cursor={"line": number})

    run(tmp_path / "straight", None)
    for stop_at in (0, 2, 4):
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "broken", stop_at)
        with pytest.raises(BadShards, match=f"broken off after {stop_at} documents"):
            open_shards(tmp_path / "broken")
    run(tmp_path / "broken", None)
    assert contents(tmp_path / "broken") == contents(tmp_path / "straight")


def test_what_was_written_after_the_last_saving_is_written_anew(tmp_path: Path) -> None:
    """As after a kill: the files are longer than the manifest says, and there is one it does not know."""
    folder = tmp_path / "s"
    break_off(folder, DOCUMENTS[:2])
    for kind in ("ids", "offsets", "bytes"):
        with (folder / f"00000.{kind}").open("ab") as file:
            file.write(b"half")
        (folder / f"00001.{kind}").write_bytes(b"of another file")
    with ShardWriter(folder, tokenizer_hash=HASH, vocab_size=100, tokens_per_file=1 << 27) as writer:
        assert writer.n_documents == 2
        for ids in DOCUMENTS[2:]:
            writer.add(ids)
    shards = open_shards(folder)
    shards.verify()
    assert [shards.document(i).tolist() for i in range(5)] == DOCUMENTS


def test_a_killed_process_leaves_shards_that_go_on(tmp_path: Path) -> None:
    code = (
        "import sys, tokenloom.data.shards as s; s.SAVE_EVERY = 50\n"
        f"w = s.ShardWriter(sys.argv[1], tokenizer_hash={HASH!r}, vocab_size=100, tokens_per_file=1000)\n"
        "n = 0\n"
        "while True:\n"
        "    n += 1; w.add([n % 97] * 7, cursor=n)\n"
        "    if n == 3000: print('far', flush=True)\n"
    )
    child = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "s")], stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    child.stdout.close()
    with ShardWriter(tmp_path / "s", tokenizer_hash=HASH, vocab_size=100, tokens_per_file=1000) as writer:
        reached = writer.cursor
        assert reached == writer.n_documents > 2000
        writer.add([99] * 3)
    shards = open_shards(tmp_path / "s")
    shards.verify()
    assert all(set(shards.document(i).tolist()) == {(i + 1) % 97} for i in range(reached))
    assert shards.document(reached).tolist() == [99] * 3


def test_a_broken_writing_goes_on_with_the_same_settings_only(tmp_path: Path) -> None:
    folder = tmp_path / "s"
    break_off(folder, [[1, 2, 3]])
    with pytest.raises(BadShards, match="vocab_size: was begun with 100, asked for is 200"):
        ShardWriter(folder, tokenizer_hash=HASH, vocab_size=200)
    with pytest.raises(BadShards, match="tokenizer_hash: was begun with"):
        ShardWriter(folder, tokenizer_hash="f" * 64, vocab_size=100)
    (folder / "00000.ids").write_bytes(b"\0")
    with pytest.raises(BadShards, match="cut short, so it cannot be continued"):
        ShardWriter(folder, tokenizer_hash=HASH, vocab_size=100)

"""Folders of safetensors: what is read, and what is refused by name."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from tokenloom.weights.errors import BadFile
from tokenloom.weights.safetensors import open_folder, read_header

TENSORS = {
    "model.norm.weight": torch.arange(4, dtype=torch.float32),
    "model.embed_tokens.weight": torch.arange(12).reshape(6, 2).to(torch.bfloat16),
    "model.half": torch.ones(2, 3, dtype=torch.float16),
    "model.scalar": torch.tensor(3, dtype=torch.int64),
    "model.empty": torch.zeros(0, 2),
}


def sharded(folder: Path) -> None:
    names = list(TENSORS)
    files = {"model-00001-of-00002.safetensors": names[:2], "model-00002-of-00002.safetensors": names[2:]}
    for file, held in files.items():
        save_file({name: TENSORS[name] for name in held}, folder / file)
    places = {name: file for file, held in files.items() for name in held}
    index = {"metadata": {"total_size": 1}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def write(path: Path, header: Any, data: bytes = b"", length: int | None = None) -> None:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(raw) if length is None else length) + raw + data)


def item(dtype: str = "F32", shape: Any = (2,), offsets: Any = (0, 8)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


@pytest.mark.parametrize("shards", [False, True])
def test_what_was_saved_is_read(tmp_path: Path, shards: bool) -> None:
    if shards:
        sharded(tmp_path)
    else:
        save_file(TENSORS, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with open_folder(tmp_path) as folder:
        assert sorted(folder.names()) == sorted(TENSORS)
        assert len(folder) == len(TENSORS)
        for name, tensor in TENSORS.items():
            assert folder.shape(name) == tuple(tensor.shape)
            assert torch.equal(folder.tensor(name, tuple(tensor.shape)), tensor)
        assert folder.dtype("model.embed_tokens.weight") == "BF16"
        assert folder.nbytes() == sum(t.nbytes for t in TENSORS.values())
        assert folder.metadata == ({} if shards else {"format": "pt"})
        kept = folder.tensor("model.norm.weight")
    assert torch.equal(kept, TENSORS["model.norm.weight"])


def test_one_file_and_another_stem(tmp_path: Path) -> None:
    save_file(TENSORS, tmp_path / "adapter_model.safetensors")
    assert len(open_folder(tmp_path / "adapter_model.safetensors")) == len(TENSORS)
    assert len(open_folder(tmp_path, "adapter_model")) == len(TENSORS)
    with pytest.raises(
        BadFile, match=r"none among .*'adapter_model.safetensors'.*; allowed: model.safetensors"
    ):
        open_folder(tmp_path)
    with pytest.raises(FileNotFoundError):
        open_folder(tmp_path / "nowhere")


def test_tensors_are_mapped_not_copied(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(1000)}, tmp_path / "model.safetensors")
    folder = open_folder(tmp_path)
    first, second = folder.tensor("a"), folder.tensor("a")
    assert first.data_ptr() == second.data_ptr()


def test_a_missing_name_and_another_shape(tmp_path: Path) -> None:
    save_file(TENSORS, tmp_path / "model.safetensors")
    folder = open_folder(tmp_path)
    with pytest.raises(BadFile, match=r"no 'lm_head.weight'; allowed: one of 5"):
        folder.tensor("lm_head.weight")
    with pytest.raises(BadFile, match=r"'model.half': found shape \(2, 3\); allowed: \(3, 2\)"):
        folder.tensor("model.half", (3, 2))


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "model.pth", "last.ckpt", "w.pkl"])
def test_pickles_are_refused_by_name(tmp_path: Path, name: str) -> None:
    torch.save({"a": torch.ones(1)}, tmp_path / name)
    for path in (tmp_path, tmp_path / name):
        with pytest.raises(BadFile, match=f"found {name}, a pickle.*safetensors"):
            open_folder(path)


def test_a_pickle_named_safetensors_is_no_safetensors(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(1)}, tmp_path / "model.safetensors")
    with pytest.raises(BadFile, match="header"):
        open_folder(tmp_path)


def test_shards_that_are_missing_or_foreign(tmp_path: Path) -> None:
    sharded(tmp_path)
    index = tmp_path / "model.safetensors.index.json"
    good = index.read_text()
    second = tmp_path / "model-00002-of-00002.safetensors"
    kept = second.read_bytes()
    second.unlink()
    with pytest.raises(BadFile, match=r"1 of 2 missing: model-00002-of-00002\.safetensors"):
        open_folder(tmp_path)
    save_file({"other": torch.ones(1)}, second)
    with pytest.raises(
        BadFile, match=r"00002-of.*no 'model\.half'; allowed: what model\.safetensors\.index\.json says"
    ):
        open_folder(tmp_path)
    save_file({"model.norm.weight": torch.ones(4)}, second)
    with pytest.raises(
        BadFile, match=r"'model.norm.weight', which model-00001-of-00002.safetensors holds too"
    ):
        open_folder(tmp_path)
    second.write_bytes(kept)
    for bad in ('{"weight_map": {"a": "../model.safetensors"}}', '{"weight_map": {"a": "m.bin"}}'):
        index.write_text(bad)
        with pytest.raises(BadFile, match="names of safetensors files in the same folder"):
            open_folder(tmp_path)
    for bad in (
        good[:-9],
        "[]",
        '{"weight_map": 3}',
        "{}",
        "\ud800".encode("utf-8", "surrogatepass").decode("latin1"),
    ):
        index.write_text(bad)
        with pytest.raises(BadFile, match='allowed: JSON with a "weight_map"'):
            open_folder(tmp_path)


HOSTILE: dict[str, tuple[Any, bytes, int | None, str]] = {
    "a huge header": ({}, b"", 2**63, "9223372036854775808 bytes claimed"),
    "a header past the end": ({}, b"", 3, "3 bytes claimed; allowed: 2"),
    "no JSON": (b"{no", b"", None, "JSONDecodeError"),
    "not UTF-8": (b'{"\xff": 1}', b"", None, "UnicodeDecodeError"),
    "deep JSON": (b"[" * 100_000, b"", None, "header: found"),
    "a list": ([], b"", None, "found list; allowed: a JSON object"),
    "a name twice": (b'{"a": 1, "a": 2}', b"", None, "a name stands twice"),
    "metadata that is no text": ({"__metadata__": {"a": 1}}, b"", None, "texts by name"),
    "an entry that is none": ({"a": 3}, b"", None, "allowed: dtype, shape and data_offsets"),
    "an unknown dtype": ({"a": item("F128")}, bytes(8), None, "dtype 'F128'; allowed: BF16"),
    "a negative shape": ({"a": item(shape=[-2])}, bytes(8), None, "a list of whole numbers"),
    "an absurd shape": ({"a": item(shape=[2**62] * 40)}, bytes(8), None, "data_offsets"),
    "a shape of text": ({"a": item(shape="ab")}, bytes(8), None, "a list of whole numbers"),
    "bool offsets": ({"a": item(offsets=[False, 8])}, bytes(8), None, "a list of whole numbers"),
    "another size": ({"a": item(offsets=[0, 12])}, bytes(12), None, "8 bytes for F32"),
    "a hole": ({"a": item(offsets=[8, 16])}, bytes(16), None, "offset 8; allowed: 0"),
    "an overlap": (
        {"a": item(), "b": item(offsets=[4, 12])},
        bytes(16),
        None,
        "'b': found offset 4; allowed: 8",
    ),
    "data cut short": ({"a": item()}, bytes(7), None, "truncated"),
    "data too long": ({"a": item()}, bytes(9), None, "found 9 bytes; allowed: 8"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_headers_are_refused(tmp_path: Path, case: str) -> None:
    header, data, length, message = HOSTILE[case]
    write(tmp_path / "model.safetensors", header, data, length)
    with pytest.raises(BadFile, match=message) as caught:
        open_folder(tmp_path)
    assert "model.safetensors: " in str(caught.value)


def test_every_truncation_is_noticed(tmp_path: Path) -> None:
    save_file(TENSORS, tmp_path / "model.safetensors")
    whole = (tmp_path / "model.safetensors").read_bytes()
    for length in range(len(whole)):
        (tmp_path / "model.safetensors").write_bytes(whole[:length])
        with pytest.raises(BadFile):
            open_folder(tmp_path)


def test_mutated_files_work_or_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_file({name: tensor for name, tensor in TENSORS.items() if tensor.numel()}, path)
    whole = path.read_bytes()
    worked, refused = [], []

    @settings(max_examples=300, deadline=None, database=None)
    @given(edits=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=4))
    def body(edits: list[tuple[float, int]]) -> None:
        content = bytearray(whole)
        for place, value in edits:
            content[int(place * (len(content) - 1))] = value
        path.write_bytes(bytes(content))
        try:
            names = list(read_header(path)[0])
            for name in names:
                assert tuple(open_folder(tmp_path).tensor(name).shape) == open_folder(tmp_path).shape(name)
            worked.append(len(names))
        except BadFile as error:
            refused.append(str(error))

    body()
    assert len(worked) > 5
    assert len(refused) > 10
    assert all("model.safetensors: " in message for message in refused)

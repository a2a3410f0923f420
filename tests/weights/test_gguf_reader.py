"""The reader of GGUF headers: what it reads, and that no file can hurt it."""

from __future__ import annotations

import struct
import tracemalloc
from collections import Counter
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from gguf_fixtures import small_llama, small_vocabulary
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tokenloom.weights.errors import BadFile
from tokenloom.weights.gguf import open_gguf
from tokenloom.weights.gguf_config import config_from_gguf
from tokenloom.weights.names import hub_tensors

U32, U64 = struct.Struct("<I").pack, struct.Struct("<Q").pack


def text(value: str | bytes) -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    return U64(len(raw)) + raw


def pair(key: str | bytes, kind: int, value: bytes) -> bytes:
    return text(key) + U32(kind) + value


def info(name: str, dims: tuple[int, ...], kind: int = 0, offset: int = 0) -> bytes:
    return text(name) + U32(len(dims)) + b"".join(map(U64, dims)) + U32(kind) + U64(offset)


def file_bytes(
    pairs: list[bytes] | None = None,
    infos: list[bytes] | None = None,
    data: int = 0,
    version: int = 3,
    n_pairs: int | None = None,
    n_infos: int | None = None,
) -> bytes:
    pairs, infos = pairs or [], infos or []
    head = b"GGUF" + U32(version)
    head += U64(len(infos) if n_infos is None else n_infos) + U64(len(pairs) if n_pairs is None else n_pairs)
    head += b"".join(pairs) + b"".join(infos)
    return head + bytes(-len(head) % 32) + bytes(data)


def opened(tmp_path: Path, content: bytes) -> Any:
    path = tmp_path / "m.gguf"
    path.write_bytes(content)
    return open_gguf(path)


def test_what_is_read_is_what_the_package_reads(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    small_llama(path, "Q4_1")
    reader = gguf.GGUFReader(path)
    with open_gguf(path) as file:
        expected = {key: f.contents() for key, f in reader.fields.items() if not key.startswith("GGUF.")}
        assert dict(file.meta) == expected
        assert file.meta["tokenizer.ggml.tokens"] == small_vocabulary()
        assert file.version == 3
        assert list(file.tensors) == [tensor.name for tensor in reader.tensors]
        for tensor in reader.tensors:
            ours = file.tensors[tensor.name]
            assert ours.shape == tuple(int(n) for n in tensor.shape[::-1])
            assert (int(ours.type), ours.offset, ours.nbytes) == (
                int(tensor.tensor_type),
                int(tensor.data_offset),
                int(tensor.n_bytes),
            )
            assert np.array_equal(ours.raw, tensor.data.reshape(-1).view(np.uint8))


def test_raw_is_a_view_that_outlives_the_file_object(tmp_path: Path) -> None:
    small_llama(tmp_path / "m.gguf")
    with open_gguf(tmp_path / "m.gguf") as file:
        raw = file.tensors["output_norm.weight"].raw
        assert not raw.flags.owndata
        assert not raw.flags.writeable
        before = raw.copy()
    assert not file.tensors
    assert np.array_equal(raw, before)


def test_every_kind_of_value(tmp_path: Path) -> None:
    writer = gguf.GGUFWriter(tmp_path / "m.gguf", "llama")
    writer.add_uint8("a", 255)
    writer.add_int8("b", -128)
    writer.add_uint16("c", 65535)
    writer.add_int16("d", -32768)
    writer.add_int32("e", -(2**31))
    writer.add_float32("f", 0.5)
    writer.add_bool("g", True)
    writer.add_uint64("h", 2**64 - 1)
    writer.add_int64("i", -(2**63))
    writer.add_float64("j", 0.1)
    writer.add_string("k", "ünï")
    writer.add_array("l", [True, False])
    writer.add_array("m", [1.5, 2.5])
    writer.add_array("n", ["", "a", "日本"])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    meta = dict(open_gguf(tmp_path / "m.gguf").meta)
    assert meta.pop("general.architecture") == "llama"
    values = [255, -128, 65535, -32768, -(2**31), 0.5, True, 2**64 - 1, -(2**63), 0.1, "ünï"]
    assert list(meta.values()) == [*values, [True, False], [1.5, 2.5], ["", "a", "日本"]]
    assert type(meta["g"]) is bool
    assert type(meta["l"][0]) is bool


def test_versions_and_alignment(tmp_path: Path) -> None:
    aligned = [pair("general.alignment", 4, U32(64))]
    content = file_bytes(aligned, [info("a", (16,)), info("b", (16,), offset=64)])
    content = content + bytes(-len(content) % 64) + bytes(128)
    file = opened(tmp_path, content)
    assert (file.alignment, file.tensors["b"].offset - file.tensors["a"].offset) == (64, 64)
    assert file.tensors["a"].offset % 64 == 0
    assert opened(tmp_path, file_bytes(version=2)).version == 2


WIDE = 2**61
HOSTILE: dict[str, tuple[bytes, str]] = {
    "not a GGUF file": (b"PK\x03\x04 zip", "first bytes: found b'PK.*allowed: b'GGUF'"),
    "empty": (b"", "first bytes: found b''"),
    "only the magic": (b"GGUF", "version: found 4 bytes claimed"),
    "version 1": (file_bytes(version=1), "version: found 1; allowed: 2 or 3"),
    "big-endian": (b"GGUF" + struct.pack(">I", 3) + bytes(16), "big-endian"),
    "a huge tensor count": (file_bytes(n_infos=2**63), "tensor count: found 9223372036854775808"),
    "a huge metadata count": (file_bytes(n_pairs=2**40), "metadata count: found 1099511627776"),
    "more pairs than there are": (file_bytes([pair("a", 0, b"\x01")], n_pairs=2), "an empty key"),
    "a string past the end": (file_bytes([text("k") + U32(8) + U64(2**62)]), "k: found .* bytes claimed"),
    "a key past the end": (file_bytes([U64(2**62) + bytes(32)]), "key 0 of the metadata"),
    "an array past the end": (file_bytes([pair("k", 9, U32(4) + U64(WIDE))]), "k: found .* bytes claimed"),
    "a string array past the end": (file_bytes([pair("k", 9, U32(8) + U64(WIDE))]), "k: found .* strings"),
    "strings cut short": (file_bytes([pair("k", 9, U32(8) + U64(2) + text("a") + U64(99))]), "found 2 str"),
    "an array of arrays": (file_bytes([pair("k", 9, U32(9) + U64(1) + bytes(64))]), "an array of arrays"),
    "an unknown item type": (file_bytes([pair("k", 9, U32(77) + U64(1) + bytes(64))]), "value type 77"),
    "an unknown value type": (file_bytes([pair("k", 13, bytes(64))]), "value type 13; allowed: 0 to 12"),
    "a bool of 2": (file_bytes([pair("k", 7, b"\x02")]), "a bool of 2"),
    "a key not UTF-8": (file_bytes([pair(b"\xff\xfe", 0, b"\x01")]), "not UTF-8"),
    "a string not UTF-8": (file_bytes([pair("k", 8, text(b"\xc3("))]), "k: found .*not UTF-8"),
    "an item not UTF-8": (
        file_bytes([pair("k", 9, U32(8) + U64(2) + text("a") + text(b"\x80"))]),
        r"k\[1\]: found .*not UTF-8",
    ),
    "a key twice": (file_bytes([pair("k", 0, b"\x01")] * 2), "the key 'k' twice"),
    "an alignment of 0": (file_bytes([pair("general.alignment", 4, U32(0))]), "alignment: found 0"),
    "an alignment of 48": (file_bytes([pair("general.alignment", 4, U32(48))]), "a power of two"),
    "an alignment of text": (file_bytes([pair("general.alignment", 8, text("x"))]), "a power of two"),
    "part of a split model": (file_bytes([pair("split.count", 2, b"\x03\x00")]), "one of 3 parts.*--merge"),
    "a tensor twice": (file_bytes(infos=[info("a", (8,))] * 2, data=64), "the name 'a' twice"),
    "no dimensions": (file_bytes(infos=[info("a", ())], data=64), "0 dimensions"),
    "nine dimensions": (file_bytes(infos=[info("a", (1,) * 9)], data=64), "9 dimensions"),
    "2^32 dimensions": (file_bytes(infos=[text("a") + U32(2**32 - 1) + bytes(64)]), "4294967295 dimensions"),
    "a dimension of 0": (file_bytes(infos=[info("a", (8, 0))], data=64), "at least 1"),
    "absurd dimensions": (file_bytes(infos=[info("a", (WIDE, WIDE))], data=64), "bytes; allowed"),
    "a shape too large": (file_bytes(infos=[info("a", (1024,))], data=64), "allowed: .* file's size"),
    "half a block": (file_bytes(infos=[info("a", (48,), 2)], data=64), "rows of 48 in Q4_0; allowed: mult"),
    "an unknown tensor type": (file_bytes(infos=[info("a", (8,), 99)], data=64), "type 99; allowed: F32"),
    "a removed tensor type": (file_bytes(infos=[info("a", (32,), 4)], data=64), "tensor type 4"),
    "an offset past the end": (file_bytes(infos=[info("a", (8,), 0, 2**60)], data=64), "where the file ends"),
    "an offset that wraps": (file_bytes(infos=[info("a", (8,), 0, 2**64 - 32)], data=64), "the file ends"),
    "an offset not aligned": (file_bytes(infos=[info("a", (8,), 0, 4)], data=64), "offset 4; allowed: mult"),
    "overlapping tensors": (
        file_bytes(infos=[info("a", (16,)), info("b", (8,), 0, 32)], data=128),
        "tensor 'b': found offset 32, inside tensor 'a'",
    ),
    "data cut short": (file_bytes(infos=[info("a", (8,))], data=31), "truncated"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_files_are_refused(tmp_path: Path, case: str) -> None:
    content, message = HOSTILE[case]
    with pytest.raises(BadFile, match=message) as caught:
        dict(opened(tmp_path, content).meta)
    assert "m.gguf: " in str(caught.value)
    assert "; allowed: " in str(caught.value)


@pytest.mark.parametrize("case", [c for c in HOSTILE if "huge" in c or "past" in c or "absurd" in c])
def test_a_claimed_size_is_never_allocated(tmp_path: Path, case: str) -> None:
    tracemalloc.start()
    with pytest.raises(BadFile):
        opened(tmp_path, HOSTILE[case][0])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        open_gguf(tmp_path / "none.gguf")


def test_every_truncation_of_a_file_is_noticed(tmp_path: Path) -> None:
    small_llama(tmp_path / "whole.gguf", "Q8_0")
    whole = (tmp_path / "whole.gguf").read_bytes()
    for length in [*range(0, 200, 7), *range(200, len(whole), 4099), len(whole) - 40]:
        with pytest.raises(BadFile):
            opened(tmp_path, whole[:length])


def works(path: Path) -> bool:
    """All that is done with an outside file; False where it is refused, anything but BadFile is raised."""
    try:
        with open_gguf(path) as file:
            assert len(dict(file.meta)) == len(file.meta)
            for tensor in file.tensors.values():
                assert tensor.raw.size == tensor.nbytes
            config_from_gguf(file)
            for hub in hub_tensors(file).values():
                if hub.source.type.name in ("F32", "Q4_0"):
                    assert hub.float32().shape == hub.shape
    except BadFile:
        return False
    return True


def mutated(content: bytes, edits: list[tuple[float, int]], cut: float, near_head: bool) -> bytes:
    changed = bytearray(content)
    # Most of a header is the vocabulary: edits fall before it as often as anywhere.
    reach = 700 if near_head else len(changed)
    for place, value in edits:
        changed[int(place * (reach - 1))] = value
    return bytes(changed[: int(len(changed) * min(1.0, cut))])


EDITS = {
    "edits": st.lists(
        st.tuples(st.floats(0, 1), st.one_of(st.integers(0, 255), st.sampled_from([0, 1, 127, 128, 255]))),
        min_size=1,
        max_size=6,
    ),
    "cut": st.just(1.0) | st.floats(0, 1),
    "near_head": st.booleans(),
}


@pytest.fixture
def tiny(tmp_path: Path) -> bytes:
    small_llama(tmp_path / "tiny.gguf", "Q4_0", num_hidden_layers=1)
    return (tmp_path / "tiny.gguf").read_bytes()


def fuzz(tiny: bytes, path: Path, examples: int) -> Counter[bool]:
    """How many of the mutated files work, and how many are refused."""
    found: Counter[bool] = Counter()

    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(**EDITS)
    def body(edits: list[tuple[float, int]], cut: float, near_head: bool) -> None:
        path.write_bytes(mutated(tiny, edits, cut, near_head))
        found[works(path)] += 1

    body()
    return found


def test_mutated_files_work_or_are_refused(tiny: bytes, tmp_path: Path) -> None:
    (tmp_path / "whole.gguf").write_bytes(tiny)
    assert works(tmp_path / "whole.gguf")
    found = fuzz(tiny, tmp_path / "f.gguf", 300)
    assert min(found[True], found[False]) > 10, "most of a file is weights, and a header breaks: both are met"


@pytest.mark.slow
def test_ten_thousand_mutated_files_work_or_are_refused(tiny: bytes, tmp_path: Path) -> None:
    found = fuzz(tiny, tmp_path / "f.gguf", 10_000)
    assert min(found[True], found[False]) > 100


@pytest.mark.model
def test_the_embedded_model_opens(smollm2: Path) -> None:
    file = open_gguf(smollm2)
    assert len(file.meta["tokenizer.ggml.tokens"]) == 49152
    assert len(file.meta["tokenizer.ggml.merges"]) == 48900
    assert len(file.tensors) == 272
    config = config_from_gguf(file)
    assert (config["model_type"], config["hidden_size"], config["rms_norm_eps"]) == ("llama", 576, 1e-5)


def test_forgotten_blocks_come_from_the_file_again(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    small_llama(path, kind="Q8_0")
    with open_gguf(path) as gguf:
        for tensor in gguf.tensors.values():
            before = tensor.raw.copy()
            tensor.forget()
            assert np.array_equal(tensor.raw, before)

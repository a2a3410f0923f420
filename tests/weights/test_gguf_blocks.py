"""Blocks become the floats that the gguf package makes of them, bit for bit."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
import pytest
from gguf_fixtures import small_llama

from tokenloom.weights.blocks import BLOCK_SIZES, FAST, READABLE, SLOW, BlockType, blocks_to_float
from tokenloom.weights.errors import BadFile
from tokenloom.weights.gguf import dequantise, open_gguf


def random_blocks(kind: BlockType, n_blocks: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, n_blocks * BLOCK_SIZES[kind][1], dtype=np.uint8)


def theirs(raw: np.ndarray, kind: BlockType) -> np.ndarray:
    with np.errstate(all="ignore"):
        rows = raw.reshape(-1, BLOCK_SIZES[kind][1])
        return gguf.quants.dequantize(rows, gguf.GGMLQuantizationType(int(kind))).reshape(-1)


def same_bits(ours: np.ndarray, expected: np.ndarray) -> bool:
    # A NaN has no sign or payload worth keeping; all else must agree in every bit.
    nan = np.isnan(expected)
    return bool(
        (np.isnan(ours) == nan).all()
        and (ours[~nan].view(np.uint32) == expected[~nan].astype(np.float32).view(np.uint32)).all()
    )


def test_the_table_is_that_of_the_gguf_package() -> None:
    assert {t.name: int(t) for t in BlockType} == {t.name: int(t) for t in gguf.GGML_QUANT_SIZES}
    assert {int(t): size for t, size in BLOCK_SIZES.items()} == {
        int(t): size for t, size in gguf.GGML_QUANT_SIZES.items()
    }


def test_every_type_the_package_reads_is_read() -> None:
    readable = set()
    for kind in BlockType:
        try:
            theirs(np.zeros(BLOCK_SIZES[kind][1], np.uint8), kind)
        except NotImplementedError:
            continue
        readable.add(kind)
    assert readable == READABLE


@pytest.mark.parametrize("kind", sorted(READABLE), ids=lambda kind: kind.name)
def test_random_blocks_equal(kind: BlockType) -> None:
    raw = random_blocks(kind, 3 if kind in SLOW else 700)
    out = np.empty(raw.size // BLOCK_SIZES[kind][1] * BLOCK_SIZES[kind][0], np.float32)
    blocks_to_float(raw, kind, out)
    assert same_bits(out, theirs(raw, kind))


@pytest.mark.parametrize("kind", sorted(FAST), ids=lambda kind: kind.name)
def test_chunks_join_without_a_seam(kind: BlockType) -> None:
    weights, size = BLOCK_SIZES[kind]
    raw = random_blocks(kind, 150_000 // weights + 1, seed=1)
    out = np.empty(raw.size // size * weights, np.float32)
    blocks_to_float(raw, kind, out)
    assert same_bits(out, theirs(raw, kind))


@pytest.mark.parametrize("kind", ["I8", "I64", "F64", "Q8_1", "Q8_K", "Q1_0"])
def test_types_that_hold_no_readable_weights_are_refused_by_name(kind: str) -> None:
    with pytest.raises(ValueError, match=rf"found {kind}; allowed as weights: BF16 F16"):
        blocks_to_float(np.zeros(0, np.uint8), BlockType[kind], np.zeros(0, np.float32))


@pytest.mark.parametrize("kind", ["F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1"])
def test_a_file_and_its_rows(tmp_path: Path, kind: str) -> None:
    given = small_llama(tmp_path / "m.gguf", kind)["model.embed_tokens.weight"]
    with open_gguf(tmp_path / "m.gguf") as file:
        tensor = file.tensors["token_embd.weight"]
    assert tensor.type.name == kind
    assert tensor.shape == given.shape
    whole = dequantise(tensor)
    expected = theirs(
        gguf.quants.quantize(given, gguf.GGMLQuantizationType[kind]).view(np.uint8).reshape(-1), tensor.type
    )
    assert same_bits(whole.reshape(-1), expected)
    for rows in (slice(0, 1), slice(17, 40), slice(319, None), slice(-2, None), slice(5, 5), slice(9, 3)):
        assert np.array_equal(dequantise(tensor, rows), whole[rows])
    out = np.empty((3, 64), np.float32)
    assert dequantise(tensor, slice(4, 7), out=out) is out
    assert np.array_equal(out, whole[4:7])


def test_impossible_rows_and_outputs_are_refused(tmp_path: Path) -> None:
    small_llama(tmp_path / "m.gguf")
    file = open_gguf(tmp_path / "m.gguf")
    with pytest.raises(ValueError, match="step of 2"):
        dequantise(file.tensors["token_embd.weight"], slice(0, 8, 2))
    with pytest.raises(ValueError, match=r"vector 'output_norm.weight'"):
        dequantise(file.tensors["output_norm.weight"], slice(0, 8))
    with pytest.raises(ValueError, match=r"found float64 \(64,\); allowed: contiguous float32 \(64,\)"):
        dequantise(file.tensors["output_norm.weight"], out=np.empty(64))


def test_an_integer_tensor_is_refused_by_name(tmp_path: Path) -> None:
    writer = gguf.GGUFWriter(tmp_path / "m.gguf", "llama")
    writer.add_tensor("ids", np.arange(4, dtype=np.int32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(BadFile, match=r"tensor 'ids'.*I32"):
        dequantise(open_gguf(tmp_path / "m.gguf").tensors["ids"])


@pytest.mark.model
def test_the_embedded_model_equals(smollm2: Path) -> None:
    file = open_gguf(smollm2)
    for name in ("blk.0.attn_k.weight", "blk.29.attn_output.weight", "output_norm.weight"):
        tensor = file.tensors[name]
        assert same_bits(
            dequantise(tensor).reshape(-1), theirs(np.ascontiguousarray(tensor.raw), tensor.type)
        )
    embedding = file.tensors["token_embd.weight"]
    raw = embedding.raw.reshape(embedding.shape[0], -1)[40_000:41_000]
    assert same_bits(
        dequantise(embedding, slice(40_000, 41_000)).reshape(-1),
        theirs(np.ascontiguousarray(raw).reshape(-1), embedding.type),
    )

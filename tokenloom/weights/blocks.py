"""Blocks of quantised weights, and how they become float32.

Not a quantiser: blocks are only read. The common types have a vectorised path here, which gives the same
bits as `gguf.quants`; the rarer ones go through that package, imported when first needed since the import
costs time at start. Source: the block structures of ggml (ggml-common.h), sizes as in gguf.GGML_QUANT_SIZES.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum

import numpy as np


class BlockType(IntEnum):
    """The type number of a tensor in a GGUF file; equal to gguf.GGMLQuantizationType of the same name."""

    F32 = 0
    F16 = 1
    Q4_0 = 2
    Q4_1 = 3
    Q5_0 = 6
    Q5_1 = 7
    Q8_0 = 8
    Q8_1 = 9
    Q2_K = 10
    Q3_K = 11
    Q4_K = 12
    Q5_K = 13
    Q6_K = 14
    Q8_K = 15
    IQ2_XXS = 16
    IQ2_XS = 17
    IQ3_XXS = 18
    IQ1_S = 19
    IQ4_NL = 20
    IQ3_S = 21
    IQ2_S = 22
    IQ4_XS = 23
    I8 = 24
    I16 = 25
    I32 = 26
    I64 = 27
    F64 = 28
    IQ1_M = 29
    BF16 = 30
    TQ1_0 = 34
    TQ2_0 = 35
    MXFP4 = 39
    NVFP4 = 40
    Q1_0 = 41


BLOCK_SIZES: dict[BlockType, tuple[int, int]] = {
    BlockType.F32: (1, 4),
    BlockType.F16: (1, 2),
    BlockType.Q4_0: (32, 18),
    BlockType.Q4_1: (32, 20),
    BlockType.Q5_0: (32, 22),
    BlockType.Q5_1: (32, 24),
    BlockType.Q8_0: (32, 34),
    BlockType.Q8_1: (32, 40),
    BlockType.Q2_K: (256, 84),
    BlockType.Q3_K: (256, 110),
    BlockType.Q4_K: (256, 144),
    BlockType.Q5_K: (256, 176),
    BlockType.Q6_K: (256, 210),
    BlockType.Q8_K: (256, 292),
    BlockType.IQ2_XXS: (256, 66),
    BlockType.IQ2_XS: (256, 74),
    BlockType.IQ3_XXS: (256, 98),
    BlockType.IQ1_S: (256, 50),
    BlockType.IQ4_NL: (32, 18),
    BlockType.IQ3_S: (256, 110),
    BlockType.IQ2_S: (256, 82),
    BlockType.IQ4_XS: (256, 136),
    BlockType.I8: (1, 1),
    BlockType.I16: (1, 2),
    BlockType.I32: (1, 4),
    BlockType.I64: (1, 8),
    BlockType.F64: (1, 8),
    BlockType.IQ1_M: (256, 56),
    BlockType.BF16: (1, 2),
    BlockType.TQ1_0: (256, 54),
    BlockType.TQ2_0: (256, 66),
    BlockType.MXFP4: (32, 17),
    BlockType.NVFP4: (64, 36),
    BlockType.Q1_0: (128, 18),
}
"""Type -> (weights in a block, bytes of a block)."""

CHUNK_WEIGHTS = 64 * 1024
"""Weights converted at a time: 256 KiB of float32, so that the passes stay in the second-level cache."""

# Shapes: N blocks, each of 32 weights in the quantised types with a path here; unquantised ones are one row.
Chunk = Callable[[np.ndarray, np.ndarray], None]
"""(blocks (N, bytes) uint8, out (N, weights) float32 to be filled)."""


def _halves(blocks: np.ndarray, start: int, count: int) -> np.ndarray:
    """`count` float16 fields of each block from byte `start` on -> (N, count) float32."""
    return np.ascontiguousarray(blocks[:, start : start + 2 * count]).view("<f2").astype(np.float32)


def _nibbles(packed: np.ndarray, high_bits: np.ndarray | None = None) -> np.ndarray:
    """(N, 16) bytes -> (N, 32) numbers: all low nibbles, then all high ones, each under its bit of (N, 4)."""
    q = np.empty((len(packed), 32), np.uint8)
    np.bitwise_and(packed, 0x0F, out=q[:, :16])
    np.right_shift(packed, 4, out=q[:, 16:])
    if high_bits is not None:
        bits = np.unpackbits(np.ascontiguousarray(high_bits), axis=1, bitorder="little")
        np.left_shift(bits, 4, out=bits)
        q |= bits
    return q


def _q4_0(blocks: np.ndarray, out: np.ndarray) -> None:
    out[...] = _nibbles(blocks[:, 2:])
    out -= np.float32(8)
    out *= _halves(blocks, 0, 1)


def _q4_1(blocks: np.ndarray, out: np.ndarray) -> None:
    scale_min = _halves(blocks, 0, 2)
    out[...] = _nibbles(blocks[:, 4:])
    out *= scale_min[:, :1]
    out += scale_min[:, 1:]


def _q5_0(blocks: np.ndarray, out: np.ndarray) -> None:
    out[...] = _nibbles(blocks[:, 6:], blocks[:, 2:6])
    out -= np.float32(16)
    out *= _halves(blocks, 0, 1)


def _q5_1(blocks: np.ndarray, out: np.ndarray) -> None:
    scale_min = _halves(blocks, 0, 2)
    out[...] = _nibbles(blocks[:, 8:], blocks[:, 4:8])
    out *= scale_min[:, :1]
    out += scale_min[:, 1:]


def _q8_0(blocks: np.ndarray, out: np.ndarray) -> None:
    out[...] = blocks[:, 2:].view(np.int8)
    out *= _halves(blocks, 0, 1)


def _f32(blocks: np.ndarray, out: np.ndarray) -> None:
    out[...] = blocks.view("<f4")


def _f16(blocks: np.ndarray, out: np.ndarray) -> None:
    out[...] = blocks.view("<f2")


def _bf16(blocks: np.ndarray, out: np.ndarray) -> None:
    bits = out.view(np.uint32)
    bits[...] = blocks.view("<u2")
    bits <<= np.uint32(16)


FAST: dict[BlockType, Chunk] = {
    BlockType.Q4_0: _q4_0,
    BlockType.Q4_1: _q4_1,
    BlockType.Q5_0: _q5_0,
    BlockType.Q5_1: _q5_1,
    BlockType.Q8_0: _q8_0,
    BlockType.F32: _f32,
    BlockType.F16: _f16,
    BlockType.BF16: _bf16,
}
SLOW = frozenset(
    {
        *(BlockType.Q2_K, BlockType.Q3_K, BlockType.Q4_K, BlockType.Q5_K, BlockType.Q6_K),
        *(BlockType.IQ1_S, BlockType.IQ1_M, BlockType.IQ2_XXS, BlockType.IQ2_XS, BlockType.IQ2_S),
        *(BlockType.IQ3_XXS, BlockType.IQ3_S, BlockType.IQ4_NL, BlockType.IQ4_XS),
        *(BlockType.TQ1_0, BlockType.TQ2_0, BlockType.MXFP4, BlockType.NVFP4),
    }
)
"""Types that go through gguf.quants."""
READABLE = frozenset(FAST) | SLOW


def _with_gguf(kind: BlockType) -> Chunk:
    import gguf

    wanted = gguf.GGMLQuantizationType(int(kind))

    def chunk(blocks: np.ndarray, out: np.ndarray) -> None:
        out[...] = gguf.quants.dequantize(np.ascontiguousarray(blocks), wanted)

    return chunk


def blocks_to_float(raw: np.ndarray, kind: BlockType, out: np.ndarray) -> None:
    """Fills `out` with the weights that `raw` holds, in order.

    raw (bytes,) uint8; out (weights,) float32, contiguous. One thread: this is bound by memory.
    Raises ValueError for a type that holds no weights (integers) or that no reader here knows.
    """
    if kind not in READABLE:
        allowed = " ".join(sorted(t.name for t in READABLE))
        raise ValueError(f"tensor type: found {kind.name}; allowed as weights: {allowed}")
    weights, size = BLOCK_SIZES[kind]
    assert (raw.dtype, out.dtype, out.flags.c_contiguous) == (np.uint8, np.float32, True)
    assert raw.size * weights == out.size * size, (raw.size, kind, out.size)
    chunk = FAST[kind] if kind in FAST else _with_gguf(kind)
    step = CHUNK_WEIGHTS // weights
    with np.errstate(all="ignore"):  # a scale may be infinite or NaN: the weights then say so themselves
        for start in range(0, out.size // weights, step):
            part = out[start * weights : (start + step) * weights]
            chunk_bytes = raw[start * size : (start + step) * size]
            if weights == 1:
                chunk(chunk_bytes[None], part[None])
            else:
                chunk(chunk_bytes.reshape(-1, size), part.reshape(-1, weights))

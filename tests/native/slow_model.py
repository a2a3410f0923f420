"""The native step's arithmetic in plain, slow Python: the same integers, the same float32 steps.

Written from the description at the head of src/products.inl, not from its code. Every operation is one
float32 rounding; fused multiply-adds are libm's fmaf. Used to hold the native products bit for bit.
"""

from __future__ import annotations

import ctypes
import ctypes.util

import gguf
import numpy as np

_libm = ctypes.CDLL(ctypes.util.find_library("m"))
_libm.fmaf.restype = ctypes.c_float
_libm.fmaf.argtypes = [ctypes.c_float] * 3
F = np.float32


def fma(a: np.float32, b: np.float32, c: np.float32) -> np.float32:
    """a * b + c with one rounding."""
    return F(_libm.fmaf(a, b, c))


def quantise(x: np.ndarray) -> list[tuple[np.ndarray, np.float32, np.float32]]:
    """int8 in blocks of 32 -> per block q (32,), its scale, and scale times the sum of q."""
    blocks = []
    for block in x.astype(F).reshape(-1, 32):
        top = F(np.abs(block).max())
        d, inverse = top / F(127), F(127) / top if top > 1e-35 else F(0)
        q = np.rint(block * inverse).astype(np.int64)
        blocks.append((q, d, d * F(q.sum())))
    return blocks


def unsigned(
    row: np.ndarray, kind: gguf.GGMLQuantizationType
) -> list[tuple[np.ndarray, np.float32, np.float32]]:
    """One row of blocks -> per block u (32,) 0..255, scale d, offset m: w = d * u + m. Simple kinds only."""
    size = {"Q4_0": 18, "Q4_1": 20, "Q8_0": 34}[kind.name]
    blocks = []
    for block in row.reshape(-1, size):
        d = F(block[:2].view(np.float16)[0])
        if kind.name == "Q8_0":
            u, m = block[2:].view(np.int8).astype(np.int64) + 128, F(-128) * d
        else:
            nibbles = block[4 if kind.name == "Q4_1" else 2 :]
            u = np.concatenate([nibbles & 15, nibbles >> 4]).astype(np.int64)
            m = F(block[2:4].view(np.float16)[0]) if kind.name == "Q4_1" else F(-8) * d
        blocks.append((u, d, m))
    return blocks


def product(row: np.ndarray, kind: gguf.GGMLQuantizationType, x: np.ndarray) -> np.float32:
    """The native step's w . x for one row of blocks and one row of activations."""
    y = F(0)
    for (u, d, m), (q, scale, total) in zip(unsigned(row, kind), quantise(x), strict=True):
        y = fma(F((u * q).sum()), d * scale, y)
        y = fma(m, total, y)
    return y

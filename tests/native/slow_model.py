"""The native step's arithmetic in plain, slow Python: the same integers, the same float32 steps.

Written from the description at the head of src/kernels.inl, not from its code. Every operation is one float32
rounding; fused multiply-adds are libm's fmaf. Used to hold the native products bit for bit.
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


def fma(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """a * b + c with one rounding, lane by lane."""
    return np.array([_libm.fmaf(x, y, z) for x, y, z in zip(a, b, c, strict=True)], F)


def tree(lanes: np.ndarray) -> np.float32:
    """16 lanes summed: i with i + 8, i + 4, i + 2, i + 1."""
    for s in (8, 4, 2, 1):
        lanes = lanes[:s] + lanes[s : 2 * s]
    return F(lanes[0])


def quantise(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """int8 in blocks of 32 -> q (K,), scale and sum per 16 columns."""
    q, scale, sums = [], [], []
    for block in x.astype(F).reshape(-1, 32):
        top = np.abs(block).max()
        d, inverse = F(top) / F(127), F(127) / F(top) if top > 1e-35 else F(0)
        one = np.rint(block * inverse).astype(np.int32)
        q.append(one)
        scale += [d, d]
        sums += [d * F(one[:16].sum()), d * F(one[16:].sum())]
    return np.concatenate(q), np.array(scale, F), np.array(sums, F)


def unsigned(row: np.ndarray, kind: gguf.GGMLQuantizationType) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One row of blocks as u (K,) 0..255, scale d and offset m per 16 columns: w = d * u + m.

    Found from gguf's own dequantisation of the row and of its scales, for the simple kinds.
    """
    size = {"Q4_0": 18, "Q4_1": 20, "Q8_0": 34}[kind.name]
    u, d, m = [], [], []
    for block in row.reshape(-1, size):
        scale = F(block[:2].view(np.float16)[0])
        if kind.name == "Q8_0":
            one, offset = block[2:].view(np.int8).astype(np.int32) + 128, F(-128) * scale
        else:
            head = 4 if kind.name == "Q4_1" else 2
            nibbles = block[head:]
            one = np.concatenate([nibbles & 15, nibbles >> 4]).astype(np.int32)
            offset = F(block[2:4].view(np.float16)[0]) if kind.name == "Q4_1" else F(-8) * scale
        u.append(one)
        d += [scale, scale]
        m += [offset, offset]
    return np.concatenate(u), np.array(d, F), np.array(m, F)


def padded(values: np.ndarray, size: int) -> np.ndarray:
    return np.concatenate([values, np.zeros(size - len(values), values.dtype)])


def product(row: np.ndarray, kind: gguf.GGMLQuantizationType, x: np.ndarray) -> np.float32:
    """The native step's w . x for one row of blocks and one row of activations."""
    u, d, m = unsigned(row, kind)
    q, scale, sums = quantise(x)
    k = len(q)
    whole = -(-k // 256) * 256
    u, q = padded(u, whole), padded(q, whole)
    d, m, scale, sums = (padded(v, whole // 16) for v in (d, m, scale, sums))
    lanes = np.zeros(16, F)
    for b in range(whole // 256):
        at = slice(16 * b, 16 * b + 16)
        s = d[at] * scale[at]
        lanes = fma(m[at], sums[at], lanes)
        for j in range(-(-min(256, k - 256 * b) // 64)):
            c = 256 * b + 64 * j
            dots = (u[c : c + 64].astype(np.int64) * q[c : c + 64]).reshape(16, 4).sum(1)
            lanes = fma(dots.astype(F), np.repeat(s[4 * j : 4 * j + 4], 4), lanes)
    return tree(lanes)

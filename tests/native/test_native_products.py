"""Products of blocks: against gguf's dequantisation, the slow model bit for bit, every instruction set."""

from __future__ import annotations

import ctypes as c

import gguf
import numpy as np
import pytest
from slow_model import product

from tokenloom.native.library import CMatrix, load

KINDS = {k.name: k for k in gguf.GGMLQuantizationType}
BLOCKS = ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q4_K", "Q5_K", "Q6_K"]
FLOATS = ["F32", "F16", "BF16"]
SETS = ["avx512", "avxvnni", "avx2", "neon", "portable"]


def random_blocks(name: str, rows: int, cols: int, seed: int = 0) -> np.ndarray:
    """(rows, bytes of a row) uint8: any bits, with scales that are ordinary numbers."""
    rng = np.random.default_rng(seed)
    if name == "F32":
        return rng.standard_normal((rows, cols)).astype(np.float32).view(np.uint8)
    if name == "F16":
        return rng.standard_normal((rows, cols)).astype(np.float16).view(np.uint8)
    if name == "BF16":
        bits = rng.standard_normal((rows, cols)).astype(np.float32).view(np.uint32) >> 16
        return bits.astype(np.uint16).view(np.uint8)
    block, size = gguf.GGML_QUANT_SIZES[KINDS[name]]
    raw = rng.integers(0, 256, (rows, cols // block, size), dtype=np.uint8)
    halves = {"Q4_1": (0, 2), "Q5_1": (0, 2), "Q4_K": (0, 2), "Q5_K": (0, 2), "Q6_K": (208,)}.get(name, (0,))
    for at in halves:
        scale = rng.uniform(-0.02, 0.02, raw.shape[:2]).astype(np.float16)
        raw[..., at : at + 2] = scale[..., None].view(np.uint8)
    return raw.reshape(rows, -1)


def native(name: str, raw: np.ndarray, cols: int, x: np.ndarray, isa: str | None = None) -> np.ndarray | None:
    """y (n, rows), or None where this machine has not the instruction set."""
    library = load()
    assert library is not None
    matrix = CMatrix(raw.ctypes.data, raw.nbytes, int(KINDS[name]), raw.shape[0], cols, None)
    y = np.full((x.shape[0], raw.shape[0]), np.nan, np.float32)
    code = library.loom_matmul(
        None if isa is None else isa.encode(), c.byref(matrix), x.ctypes.data, x.shape[0], y.ctypes.data
    )
    return None if code else y


def dequantised(name: str, raw: np.ndarray, cols: int) -> np.ndarray:
    if name in ("F32", "F16"):
        return raw.view(np.float32 if name == "F32" else np.float16).astype(np.float64)
    return gguf.quants.dequantize(raw, KINDS[name]).reshape(raw.shape[0], cols).astype(np.float64)


def rounded(x: np.ndarray) -> np.ndarray:
    """Activations as the step sees them: int8 in blocks of 32."""
    blocks = x.reshape(len(x), -1, 32)
    d = np.abs(blocks).max(-1, keepdims=True) / np.float32(127)
    return (np.rint(blocks / np.where(d == 0, 1, d)) * d).reshape(x.shape)


@pytest.mark.parametrize("cols", [256, 768, 1536])
@pytest.mark.parametrize("name", BLOCKS + FLOATS)
def test_equals_the_formula_on_ggufs_own_dequantisation(name: str, cols: int) -> None:
    raw = random_blocks(name, 19, cols)
    x = np.random.default_rng(1).standard_normal((21, cols)).astype(np.float32)
    seen = x if name in FLOATS else rounded(x)
    expected = seen.astype(np.float64) @ dequantised(name, raw, cols).T
    found = native(name, raw, cols, x)
    assert found is not None
    assert np.abs(found - expected).max() < 3e-6 * np.abs(expected).max()


@pytest.mark.parametrize("cols", [32, 64, 96, 160, 288, 576, 608])
@pytest.mark.parametrize("name", ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", *FLOATS])
def test_rows_that_end_inside_a_superblock(name: str, cols: int) -> None:
    raw = random_blocks(name, 5, cols, seed=cols)
    x = np.random.default_rng(2).standard_normal((3, cols)).astype(np.float32)
    seen = x if name in FLOATS else rounded(x)
    expected = seen.astype(np.float64) @ dequantised(name, raw, cols).T
    found = native(name, raw, cols, x)
    assert found is not None
    assert np.abs(found - expected).max() < 3e-6 * max(1e-3, np.abs(expected).max())


@pytest.mark.parametrize("cols", [32, 96, 256, 576])
@pytest.mark.parametrize("name", ["Q4_0", "Q4_1", "Q8_0"])
def test_bit_for_bit_the_slow_model(name: str, cols: int) -> None:
    raw = random_blocks(name, 4, cols, seed=3)
    x = np.random.default_rng(4).standard_normal((2, cols)).astype(np.float32)
    found = native(name, raw, cols, x)
    assert found is not None
    for r in range(2):
        for n in range(4):
            assert found[r, n] == product(raw[n], KINDS[name], x[r])


@pytest.mark.parametrize("isa", SETS)
@pytest.mark.parametrize("name", BLOCKS + FLOATS)
def test_every_instruction_set_gives_the_same_bits(name: str, isa: str) -> None:
    raw = random_blocks(name, 17, 512, seed=5)
    x = np.random.default_rng(6).standard_normal((19, 512)).astype(np.float32)
    expected = native(name, raw, 512, x)
    found = native(name, raw, 512, x, isa)
    if found is None:
        pytest.skip(f"this machine has no {isa}")
    assert np.array_equal(found, expected)


@pytest.mark.parametrize("name", BLOCKS + FLOATS)
def test_a_row_does_not_depend_on_its_company(name: str) -> None:
    raw = random_blocks(name, 8, 768, seed=7)
    x = np.random.default_rng(8).standard_normal((40, 768)).astype(np.float32)
    crowd = native(name, raw, 768, x)
    assert crowd is not None
    for r in (0, 1, 15, 16, 31, 39):
        alone = native(name, raw, 768, x[r : r + 1].copy())
        assert alone is not None
        assert np.array_equal(alone[0], crowd[r])


@pytest.mark.parametrize("name", BLOCKS)
def test_zeros_and_extremes(name: str) -> None:
    raw = random_blocks(name, 3, 256, seed=9)
    x = np.zeros((3, 256), np.float32)
    x[1] = 1e30
    x[2, ::7] = np.linspace(-1e-30, 1e-30, x[2, ::7].size)
    found = native(name, raw, 256, x)
    assert found is not None
    assert np.array_equal(found[0], np.zeros(3, np.float32))
    expected = rounded(x).astype(np.float64) @ dequantised(name, raw, 256).T
    assert np.allclose(found, expected, rtol=1e-4, atol=1e-6 * np.abs(expected).max())


def test_what_is_not_run_is_refused() -> None:
    library = load()
    assert library is not None
    for kind, cols in (
        (KINDS["Q2_K"], 256),
        (KINDS["Q4_K"], 128),
        (KINDS["Q4_0"], 16),
        (KINDS["Q8_0"], 0),
        (99, 32),
    ):
        assert library.loom_row_bytes(int(kind), cols) == 0

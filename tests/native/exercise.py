"""A program that drives the native step hard, for the sanitizers: python exercise.py FOLDER.

Weights lie in heap buffers of their exact size, so that a read behind the last row is seen. It says "done"
at its end; what it finds wrong by itself is an AssertionError. Not a test: test_native_sanitizers.py runs it.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]

from gguf_fixtures import SMALL, small_llama, small_weights  # noqa: E402
from test_native_products import BLOCKS, FLOATS, KINDS, random_blocks  # noqa: E402

from tokenloom.model.config import from_hub  # noqa: E402
from tokenloom.native.open import NotNative, open_native  # noqa: E402
from tokenloom.native.step import Blocks, NativeStep  # noqa: E402
from tokenloom.step import Row  # noqa: E402

RNG = np.random.default_rng(0)
WIDE = {**SMALL, "hidden_size": 256, "intermediate_size": 512, "head_dim": 32, "num_attention_heads": 8}
NARROW = {
    **SMALL,
    "hidden_size": 96,
    "num_attention_heads": 6,
    "num_key_value_heads": 1,
    "tie_word_embeddings": False,
}
IDS = [int(i) for i in RNG.integers(3, 300, 90)]


def exact(values: np.ndarray) -> np.ndarray:
    """A copy that the allocator knows: numpy keeps small ones in pools of its own."""
    return np.frombuffer(bytearray(values.tobytes()), values.dtype).reshape(values.shape)


def opened(sizes: dict[str, Any], kind: str, threads: int) -> NativeStep:
    matrices, vectors = {}, {}
    for i, (name, weight) in enumerate(small_weights(sizes).items()):
        if weight.ndim == 2:
            matrices[name] = Blocks(
                exact(random_blocks(kind, *weight.shape, seed=i)), int(KINDS[kind]), weight.shape[1]
            )
        else:
            vectors[name] = exact(weight)
    return NativeStep(from_hub(sizes), matrices, vectors, n_slots=5, threads=threads, pairs=kind != "Q8_0")


def with_adapters(step: NativeStep, sizes: dict[str, Any]) -> NativeStep:
    rng = np.random.default_rng(1)
    q = sizes["num_attention_heads"] * sizes["head_dim"]
    shapes = {"self_attn.q_proj": (sizes["hidden_size"], q), "self_attn.o_proj": (q, sizes["hidden_size"])}
    shapes["mlp.up_proj"] = (sizes["hidden_size"], sizes["intermediate_size"])
    shapes["mlp.down_proj"] = shapes["mlp.up_proj"][::-1]
    for name, rank in (("small", 1), ("large", 19)):
        factors = {
            f"model.layers.{rank % 2}.{part}": (
                rng.standard_normal((rank, cols), np.float32),
                rng.standard_normal((rows, rank), np.float32),
            )
            for part, (cols, rows) in shapes.items()
        }
        step.add_adapter(name, factors)
    return step


def mixes(step: NativeStep) -> Iterator[bytes]:
    """Prefill, decode, chunks, slices, adapters, parking and copying; the bits that come out."""
    for rows in (
        [Row(0, 0, IDS[:70], 70), Row(3, 0, IDS[:1], 1)],
        [
            Row(1, 0, IDS[:17], 0),
            Row(0, 70, IDS[70:71], 1),
            Row(2, 0, IDS[:5], 2, ((0, 3), (5, 5), (300, 320))),
        ],
        [
            Row(1, 17, IDS[:3], 3, adapter="large"),
            Row(2, 5, IDS[:2], 1, ()),
            Row(0, 71, [5], 1, adapter="small"),
        ],
        [Row(s, 80, [s + 3], 1) for s in range(5)],
        [Row(4, 255, [9], 1), Row(0, 240, IDS[:16], 16)],
    ):
        yield from (found.tobytes() for found in step.run(rows) if found is not None)
    for length in (0, 1, 16, 33):
        parked = step.park(0, length)
        step.release(1)
        step.unpark(parked, 1)
        step.copy(1, 2, length)
        step.copy(2, 2, length)
        yield from (found.tobytes() for found in step.run([Row(2, length, IDS[:3], 3)]) if found is not None)


def impossible(step: NativeStep) -> None:
    for row in (Row(9, 0, [1], 1), Row(0, 200, [1] * 100, 1), Row(0, -1, [1], 1), Row(0, 0, [320], 1)):
        try:
            step.run([row])
        except ValueError:
            continue
        raise AssertionError(row)


def forks(step: NativeStep) -> None:
    """Its threads asleep or awake, a child goes on with its own, and closes what it got."""
    expected = step.run([Row(0, 0, IDS, 2)])[0]
    for nap in (0, 0.01):
        time.sleep(nap)
        child = os.fork()
        if child == 0:
            same = np.array_equal(step.run([Row(1, 0, IDS, 2)])[0], expected)
            step.close()
            os._exit(0 if same else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def damaged(folder: Path, times: int) -> None:
    """A file with bytes changed or cut off opens, or is refused."""
    whole = folder / "whole.gguf"
    small_llama(whole, kind="Q4_1")
    good, bad = whole.read_bytes(), folder / "bad.gguf"
    opens = 0
    for _ in range(times):
        data = bytearray(good)
        for at in RNG.integers(0, len(data) if RNG.random() < 0.3 else 9000, RNG.integers(1, 8)):
            data[at] = RNG.integers(0, 256)
        bad.write_bytes(data[: RNG.integers(0, len(data))] if RNG.random() < 0.2 else data)
        try:
            step = open_native(bad, n_slots=1, threads=1, context=64)
        except (ValueError, NotNative):
            continue
        opens += 1
        step.run([Row(0, 0, [1, 2, 3][: step.context], 1)])
        step.close()
    assert 0 < opens < times


def main() -> None:
    folder, quick = Path(sys.argv[1]), sys.argv[2:] == ["threads"]
    for kind in ["Q4_1", "Q8_0"] if quick else BLOCKS + FLOATS:
        for sizes in (WIDE, NARROW) if KINDS[kind] not in (12, 13, 14) else (WIDE,):
            seen = set()
            for threads in (1, 2, 5):
                step = with_adapters(opened(sizes, kind, threads), sizes)
                seen.add(b"".join(mixes(step)))
                impossible(step)
                step.close()
            assert len(seen) == 1, kind
    if not quick:  # the thread sanitizer cannot follow threads that a fork starts
        forks(opened(NARROW, "Q8_0", 3))
    for _ in range(20):
        step = opened(NARROW, "F16", 3)
        step.run([Row(0, 0, IDS[:3], 1)])
        step.close()
    if not quick:
        damaged(folder, 400)
    print("done")


if __name__ == "__main__":
    main()

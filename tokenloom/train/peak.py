"""The fastest matrix product this machine is seen to do, so that a training's share of it can be told.

Not a data sheet's number: it is measured, a second or two, and kept in `home()/peak.json` by processor,
threads, type and version of torch. Other programs at work make it lower, so the best product ever seen
counts: each call measures again, shortly, and the kept number only grows. A product of (n, k) and (k, m) is
2 n k m operations.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokenloom.config import home, put_json
from tokenloom.train.record import cpu_name

if TYPE_CHECKING:
    import torch

DTYPES = ("bfloat16", "float16", "float32")
CPU_WIDTH, GPU_WIDTH = 1536, 8192
"""Rows and columns of the square matrices: large enough to fill the machine, small enough for a second."""


@dataclass(frozen=True)
class Peak:
    """Floating-point operations a second, as measured."""

    flops: float
    dtype: str
    device: str
    """The processor's own name."""
    threads: int
    """0 on a GPU."""

    def share(self, flops: float) -> float:
        """What part of it some speed is, 0 to 1."""
        return flops / self.flops


def peak(dtype: str = "bfloat16", device: str = "cpu", seconds: float = 1.0, fresh: bool = False) -> Peak:
    """The peak for products in `dtype`: the best of now and before. Measured for `seconds` at first, for a
    quarter of that later; fresh: what was seen before is forgotten.

    dtype: "bfloat16", "float16" or "float32"; device: "cpu", "cuda", "cuda:1". ValueError names what is not.
    """
    import torch

    if dtype not in DTYPES:
        raise ValueError(f"dtype: found {dtype!r}; allowed: {', '.join(DTYPES)}")
    place = torch.device(device)
    if place.type not in ("cpu", "cuda"):
        raise ValueError(f"device: found {device!r}; allowed: cpu, cuda, cuda:N")
    if place.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device: found {device!r}, but this machine or this build of torch has no CUDA")
    cpu = place.type == "cpu"
    name = cpu_name() if cpu else torch.cuda.get_device_name(place)
    threads = torch.get_num_threads() if cpu else 0
    key = f"{name} | {threads} threads | {dtype} | torch {torch.__version__}"
    found = _read(home() / "peak.json").get(key)
    seen = float(found) if isinstance(found, int | float) and not fresh else 0.0
    flops = _measure(getattr(torch, dtype), place, seconds / 4 if seen > 0 else seconds)
    if seen >= flops:
        return Peak(seen, dtype, name, threads)
    _write(home() / "peak.json", {**_read(home() / "peak.json"), key: flops})
    return Peak(flops, dtype, name, threads)


def _measure(dtype: torch.dtype, device: torch.device, seconds: float) -> float:
    """Operations a second of the fastest of all products done in `seconds`, two at least."""
    import torch

    width = CPU_WIDTH if device.type == "cpu" else GPU_WIDTH
    left, right = (torch.randn(width, width, device=device).to(dtype) for _ in range(2))
    out = torch.empty(width, width, dtype=dtype, device=device)

    def product() -> float:
        begin = time.perf_counter()
        torch.mm(left, right, out=out)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter() - begin

    with torch.no_grad():
        product()  # the first one also sets up
        best, end = product(), time.perf_counter() + seconds
        while time.perf_counter() < end:
            best = min(best, product())
    return 2 * width**3 / best


def _read(file: Path) -> dict[str, Any]:
    """What was measured before; a damaged file means measuring again."""
    try:
        value = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def _write(file: Path, values: dict[str, Any]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    put_json(file, values)

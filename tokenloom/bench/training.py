"""How fast a model is trained, beside transformers, on the same rows in turn: medians and ratios.

Not the trainers themselves (training_worker.py, a process each) and not accuracy, which the tests hold. A
second measurement, `packing`, trains the same conversations packed and one a row.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tokenloom.bench.training_worker import SIZES

WORKER = "tokenloom.bench.training_worker"
PAIRS = [(who, compiled) for compiled in (False, True) for who in ("tokenloom", "transformers")]


def flops_per_id(context: int) -> float:
    """Of forward and backward: six for each weight of a product, and attention's over half the context."""
    inner = SIZES["n_layer"] * (4 * SIZES["dim"] ** 2 + 3 * SIZES["dim"] * SIZES["ffn_dim"])
    attention = 6.0 * SIZES["n_layer"] * SIZES["dim"] * context
    return 6.0 * (inner + SIZES["vocab_size"] * SIZES["dim"]) + attention


def run(
    *,
    rounds: int = 5,
    threads: int | None = None,
    rows: int = 16,
    context: int = 256,
    steps: int = 8,
    compiled: bool = True,
    say: Callable[[str], object] = print,
) -> dict[str, Any]:
    """Measures each, `rounds` times in turn; says and returns medians, ratios and shares of the peak."""
    threads = threads or len(os.sched_getaffinity(0))
    seen: dict[tuple[str, bool], list[dict[str, Any]]] = {}
    for turn in range(rounds):
        for who, compile_ in PAIRS:
            if compile_ and not compiled:
                continue
            spec: dict[str, Any] = {"who": who, "compile": compile_, "threads": threads, "warm": 3}
            spec |= {"rows": rows, "context": context, "steps": steps}
            found = _child(spec)
            seen.setdefault((who, compile_), []).append(found)
            name = who + (" compiled" if compile_ else "")
            say(f"round {turn + 1}: {name} {found['tok_s']:.0f} ids/s")
    best = statistics.median(f["peak_flops"] for runs in seen.values() for f in runs)
    figures: dict[str, Any] = {}
    for (who, compile_), runs in seen.items():
        median = statistics.median(f["tok_s"] for f in runs)
        figures[f"{who}{'_compiled' if compile_ else ''}"] = {
            "tok_s": round(median, 1),
            "share_of_peak": round(median * flops_per_id(context) / best, 3),
            "first_s": round(statistics.median(f["first_s"] for f in runs), 1),
        }
    ratios = {
        f"ratio{suffix}": round(
            figures[f"tokenloom{suffix}"]["tok_s"] / figures[f"transformers{suffix}"]["tok_s"], 3
        )
        for suffix in ("", "_compiled")
        if f"tokenloom{suffix}" in figures
    }
    return {
        "what": "bench training",
        "model": SIZES,
        "rows": rows,
        "context": context,
        "rounds": rounds,
        "threads": threads,
        "peak_gflops": round(best / 1e9, 1),
        **figures,
        **ratios,
    }


def _child(spec: dict[str, Any]) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", WORKER, json.dumps(spec)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{spec['who']}: {done.stderr.strip()[-800:]}")
    answer: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return answer


def packing(
    path: str, start: str, *, context: int = 1024, say: Callable[[str], object] = print
) -> dict[str, Any]:
    """Seconds of one pass over conversations, packed and one a row, on the model `start` (in steps measured
    and multiplied, as each step of one kind takes as long as another)."""
    import dataclasses
    import time

    from tokenloom.config import fill
    from tokenloom.train.recipe import Recipe
    from tokenloom.train.start import assemble

    table: dict[str, Any] = {"name": "packing", "objective": "sft", "model": {"start": start}}
    table |= {"data": {"train": [path], "context": context, "max_dropped": 1.0}, "lora": {"rank": 8}}
    recipe = fill(Recipe, {**table, "run": {"rows": 2, "batch_tokens": 2 * context, "steps": 1000}})
    found: dict[str, Any] = {}
    for packed in (True, False):
        parts = assemble(dataclasses.replace(recipe, data=dataclasses.replace(recipe.data, pack=packed)))
        parts.trainer.step()
        seconds = []
        for _ in range(5):
            begun = time.perf_counter()
            parts.trainer.step()
            seconds.append(time.perf_counter() - begun)
        steps = parts.batches.n_rows / recipe.run.rows
        name = "packed" if packed else "alone"
        found[name] = {"rows": parts.batches.n_rows, "filled": round(parts.batches.filled, 3)}
        found[name] |= {"epoch_s": round(steps * statistics.median(seconds), 1)}
        say(f"{name}: {found[name]}")
    result = {"what": "bench packing", "set": Path(path).name, "model": start, "context": context, **found}
    result["ratio"] = round(found["alone"]["epoch_s"] / found["packed"]["epoch_s"], 2)
    return result

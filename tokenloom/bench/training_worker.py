"""One trainer, measured once, in a process of its own: `python -m tokenloom.bench.training_worker '{...}'`.

The same model (a Llama of 6 layers, 384 wide, a vocabulary
of 8,192), the same random rows, the same fused AdamW, bfloat16 products on float32 weights, and glibc told to
keep its memory for both. The last line on stdout is one JSON object: ids a second over all steps after the
first ones, the loss of each step, and the peak of matrix products in the same process.
"""

from __future__ import annotations

import ctypes
import json
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

SIZES = {"n_layer": 6, "dim": 384, "n_head": 6, "ffn_dim": 1024, "vocab_size": 8192}
Step = Callable[[int], float]


def keep_memory() -> None:
    """As tokenloom.train.allocator, for whoever does not have it."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(-3, 1 << 30)
        libc.mallopt(-1, 1 << 30)


def transformers(spec: dict[str, Any], rows: Any) -> Step:
    """The Hub's own model class with its own loss, as its Trainer drives it."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        num_hidden_layers=SIZES["n_layer"],
        hidden_size=SIZES["dim"],
        num_attention_heads=SIZES["n_head"],
        num_key_value_heads=SIZES["n_head"],
        intermediate_size=SIZES["ffn_dim"],
        vocab_size=SIZES["vocab_size"],
        max_position_embeddings=spec["context"],
        tie_word_embeddings=True,
    )
    model = LlamaForCausalLM(config).train()
    run = torch.compile(model) if spec["compile"] else model
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)

    def step(n: int) -> float:
        ids = rows(n)
        with torch.autocast("cpu", torch.bfloat16):
            loss = run(input_ids=ids, labels=ids).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        return float(loss.detach())

    return step


def tokenloom(spec: dict[str, Any], rows: Any) -> Step:
    """Our own loop, whole: objective, optimizer, clipping, learning rates."""
    import numpy as np
    import torch

    from tokenloom.data.pack import Rows
    from tokenloom.model.features import ModelConfig
    from tokenloom.model.transformer import Transformer, init_weights
    from tokenloom.train.loop import Trainer
    from tokenloom.train.objective import NextId
    from tokenloom.train.recipe import OptimPart
    from tokenloom.train.scale import Sizes

    n_head = SIZES["n_head"]
    config = ModelConfig(
        n_layer=SIZES["n_layer"],
        n_head=n_head,
        n_kv_head=n_head,
        dim=SIZES["dim"],
        head_dim=SIZES["dim"] // n_head,
        ffn_dim=SIZES["ffn_dim"],
        vocab_size=SIZES["vocab_size"],
        context=spec["context"],
        tied=True,
    )
    model = Transformer(config)
    init_weights(model, 0)

    def batch(n: int) -> Rows:
        ids = rows(n).numpy()
        targets = np.full_like(ids, -100)
        targets[:, :-1] = ids[:, 1:]
        return Rows(ids, targets, np.zeros_like(ids))

    objective = NextId(model, torch.bfloat16, 512, spec["compile"])
    part = OptimPart(kind="adamw", schedule="constant")
    sizes = Sizes(spec["steps"], 1, spec["rows"], spec["context"], 1e-3, 1)
    trainer = Trainer(objective, batch, sizes, part)
    return lambda n: trainer.step().loss


def measure(spec: dict[str, Any]) -> dict[str, Any]:
    """spec: who, compile, threads, rows, context, warm, steps."""
    import torch

    keep_memory()
    torch.set_num_threads(spec["threads"])
    shape = (spec["rows"], spec["context"])

    def rows(n: int) -> Any:
        return torch.randint(0, SIZES["vocab_size"], shape, generator=torch.Generator().manual_seed(n))

    torch.manual_seed(0)
    start = time.perf_counter()
    step = {"transformers": transformers, "tokenloom": tokenloom}[spec["who"]](spec, rows)
    losses, seconds = [], []
    for n in range(spec["warm"] + spec["steps"]):
        begun = time.perf_counter()
        losses.append(step(n))
        seconds.append(time.perf_counter() - begun)
    warm = seconds[spec["warm"] :]
    return {
        "tok_s": spec["rows"] * spec["context"] / statistics.median(warm),
        "first_s": time.perf_counter() - start - sum(warm),
        "losses": losses,
        "peak_flops": peak(torch),
    }


def peak(torch: Any) -> float:
    """Operations a second of the best of several bfloat16 products of 4096 x 4096."""
    a, b = (torch.randn(4096, 4096).bfloat16() for _ in range(2))
    best = 0.0
    for _ in range(4):
        begun = time.perf_counter()
        a @ b
        best = max(best, 2 * 4096**3 / (time.perf_counter() - begun))
    return best


if __name__ == "__main__":
    print("\n" + json.dumps(measure(json.loads(sys.argv[1]))), flush=True)

"""Run as a program: two steps of a real training, and the memory they took. Prints a line of JSON.

argv: a JSON object {"config", "recipe"} with the changed fields of ModelConfig and of the recipe's parts.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from tokenloom.bench.worker import peak_mb
from tokenloom.data.pack import Rows
from tokenloom.model.features import ModelConfig
from tokenloom.model.transformer import Transformer, init_weights
from tokenloom.train.allocator import keep_memory
from tokenloom.train.loop import Trainer
from tokenloom.train.lora import LoraSettings, add_lora, int8_base
from tokenloom.train.memory import memory_of
from tokenloom.train.objective import NextId
from tokenloom.train.recipe import Recipe
from tokenloom.train.scale import Sizes

BASE = {
    "n_layer": 2, "n_head": 4, "n_kv_head": 4, "dim": 256, "head_dim": 64, "ffn_dim": 704,
    "vocab_size": 1000, "context": 1024, "tied": True,
}  # fmt: skip


def recipe_of(changes: dict[str, dict[str, Any]]) -> Recipe:
    recipe = Recipe(name="x")
    for part, fields in changes.items():
        recipe = replace(recipe, **{part: replace(getattr(recipe, part), **fields)})
    return recipe


def batch_of(config: ModelConfig, recipe: Recipe, n: int) -> Rows:
    shape = recipe.run.rows, recipe.data.context
    ids = np.random.default_rng(n).integers(0, config.vocab_size, shape)
    documents = np.repeat(np.arange(shape[1])[None] // 100, shape[0], 0)
    return Rows(ids, ids, documents)


def high() -> int:
    return int(peak_mb() * 1e6)


def main() -> None:
    asked = json.loads(sys.argv[1])
    torch.set_num_threads(1)
    keep_memory()
    config, recipe = ModelConfig(**{**BASE, **asked.get("config", {})}), recipe_of(asked.get("recipe", {}))
    bfloat16 = recipe.run.dtype == "bfloat16"
    small = Transformer(replace(config, n_layer=1, dim=64, head_dim=16, ffn_dim=64, vocab_size=64))
    init_weights(small, 0)
    small(torch.zeros(1, 4, dtype=torch.long)).sum().backward()  # what libraries take at their first use
    program = high()
    model = Transformer(config)
    init_weights(model, 0)
    if recipe.lora.int8:
        int8_base(model)
    if recipe.lora.rank:
        add_lora(model, LoraSettings(rank=recipe.lora.rank, alpha=8, dropout=recipe.lora.dropout))
    passes = asked.get("passes", 1)
    objective = NextId(model, torch.bfloat16 if bfloat16 else torch.float32, recipe.run.loss_rows)
    sizes = Sizes(2, passes, recipe.run.rows, recipe.data.context, 1e-4, 1)
    part = recipe.optim
    trainer = Trainer(objective, lambda n: batch_of(config, recipe, n), sizes, part, recipe.run.average)
    for _ in range(2):
        trainer.step()
    memory = memory_of(config, recipe, bfloat16, passes)
    print(json.dumps({"real": high() - program, "estimated": memory.peak, "high": high()}))


if __name__ == "__main__":
    main()

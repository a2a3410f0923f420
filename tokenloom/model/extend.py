"""More ids for a model: new rows in the embedding and the output layer.

Not the tokenizer's side (`tokens.vocabulary`). New rows start as the mean of the old ones with a little of
their spread, so that they neither win nor lose every softmax. Source: Hewitt 2021, "Initializing New Word
Embeddings for Pretrained Language Models".
"""

from __future__ import annotations

import dataclasses

import torch
from torch import nn

from tokenloom.model.transformer import Transformer

NOISE = 0.1
"""Standard deviation of new rows, in those of the old rows per dimension."""


@torch.no_grad()
def extend_vocabulary(model: Transformer, vocab_size: int, seed: int, noise: float = NOISE) -> None:
    """Grows the model, in place, to `vocab_size` ids; the old rows stay as they are.

    Raises ValueError where that is fewer ids than the model has.
    """
    old = model.config.vocab_size
    if vocab_size < old:
        raise ValueError(f"vocab_size: found {vocab_size}, needs at least {old}, what the model has")
    if vocab_size == old:
        return
    generator = torch.Generator().manual_seed(seed)
    tables: list[nn.Embedding | nn.Linear] = [model.model.embed_tokens]
    if model.lm_head is not None:
        tables.append(model.lm_head)
    for table in tables:
        table.weight = nn.Parameter(
            _grown(table.weight, vocab_size, noise, generator), requires_grad=table.weight.requires_grad
        )
    model.model.embed_tokens.num_embeddings = vocab_size
    if model.lm_head is not None:
        model.lm_head.out_features = vocab_size
    model.config = dataclasses.replace(model.config, vocab_size=vocab_size)


def _grown(rows: torch.Tensor, n: int, noise: float, generator: torch.Generator) -> torch.Tensor:
    """rows (V, D) -> (n, D). Drawn on the CPU in float32, so that a seed means the same rows everywhere."""
    known = rows.float().cpu()
    fresh = torch.randn(n - len(rows), rows.shape[1], generator=generator)
    fresh = known.mean(0) + noise * known.std(0) * fresh
    return torch.cat((rows, fresh.to(rows.device, rows.dtype)))

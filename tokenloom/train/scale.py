"""One dial: what follows from `depth`, each rule with its source, unless the recipe says otherwise by hand.

- dim = 64 depth, heads of 64: nanochat's aspect ratio (Karpathy 2025), after Kaplan et al. 2020,
  arXiv:2001.08361, figure 5 (loss hardly depends on the ratio).
- ffn_dim = 8/3 dim: Shazeer 2020, arXiv:2002.05202, section 3 (a gated MLP of a plain one's size).
- tokens = 20 for each weight: Hoffmann et al. 2022, arXiv:2203.15556, table 3.
- batch and learning rate from the compute C = 6 N D: DeepSeek LLM, arXiv:2401.02954, section 3.1:
  batch = 0.2920 C^0.3271 ids, lr = 0.3118 C^-0.1250. The rate is AdamW's; Muon's update is scaled to the same
  root mean square (Liu et al. 2025, arXiv:2502.16982, section 2.2), so it takes the same.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from tokenloom.model.features import ModelConfig, Rope
from tokenloom.train.recipe import ModelPart, Recipe

HEAD = 64
TOKENS_PER_WEIGHT = 20


@dataclass(frozen=True)
class Sizes:
    """A run's numbers with nothing left open."""

    steps: int
    passes: int
    """Forward passes of one step."""
    rows: int
    """Rows of one forward pass."""
    context: int
    lr: float
    warmup: int

    @property
    def batch_tokens(self) -> int:
        return self.passes * self.rows * self.context

    @property
    def tokens(self) -> int:
        return self.steps * self.batch_tokens


def fresh_config(
    part: ModelPart,
    vocab_size: int,
    context: int,
    eos_ids: tuple[int, ...],
    bos_id: int | None,
    pad_id: int | None,
) -> ModelConfig:
    """The settings of a model that starts from nothing. Raises ValueError naming the field."""
    n_layer = part.n_layer or part.depth
    dim = part.dim or HEAD * part.depth
    if not n_layer or not dim:
        raise ValueError("model: found no start, no depth and no sizes; set model.depth, or n_layer and dim")
    n_head = part.n_head or max(1, dim // HEAD)
    if dim % n_head:
        raise ValueError(f"model.n_head: found {n_head}, needs a divisor of dim {dim}")
    return ModelConfig(
        n_layer=n_layer,
        n_head=n_head,
        n_kv_head=part.n_kv_head or n_head,
        dim=dim,
        head_dim=dim // n_head,
        ffn_dim=part.ffn_dim or math.ceil(dim * 8 / 3 / 64) * 64,
        vocab_size=vocab_size,
        context=part.context or context,
        norm_eps=1e-6,
        rope=Rope(theta=part.rope_theta),
        qk_norm=part.family == "qwen3",
        tied=part.tied,
        eos_ids=eos_ids,
        bos_id=bos_id,
        pad_id=pad_id,
        family=part.family,
    )


def sizes(recipe: Recipe, n_params: int, trained: int, tokens_per_epoch: int) -> Sizes:
    """Steps, batch and learning rate of a run on a model of `n_params` weights, `trained` of which move.

    tokens_per_epoch: what the data give; a fine-tune (a model to start from) sees it three times unless told.
    """
    run, context = recipe.run, recipe.data.context
    if run.steps and run.tokens:
        raise ValueError("run: found both steps and tokens; allowed: one of them")
    if run.rows < 1:
        raise ValueError(f"run.rows: found {run.rows}; allowed: 1 or more")
    fresh = not recipe.model.start
    tokens = run.tokens or (TOKENS_PER_WEIGHT * n_params if fresh else 3 * tokens_per_epoch)
    compute = 6.0 * n_params * tokens
    wanted = run.batch_tokens or (0.2920 * compute**0.3271 if fresh else 8192)
    passes = max(1, round(wanted / (run.rows * context)))
    batch = passes * run.rows * context
    steps = run.steps or max(1, math.ceil(tokens / batch))
    by_rule = 0.3118 * (6.0 * n_params * steps * batch) ** -0.1250
    if not fresh:
        # LoRA wants about ten times the rate of whole weights (Schulman 2025, "LoRA Without Regret").
        by_rule = 2e-4 if trained < n_params else 2e-5
    lr = recipe.optim.lr or by_rule
    return Sizes(steps, passes, run.rows, context, lr, recipe.optim.warmup or max(1, steps // 50))


def resolved(recipe: Recipe, found: Sizes) -> Recipe:
    """The recipe with those numbers written out."""
    return replace(
        recipe,
        optim=replace(recipe.optim, lr=found.lr, warmup=found.warmup),
        run=replace(recipe.run, steps=found.steps, tokens=0, batch_tokens=found.batch_tokens),
    )

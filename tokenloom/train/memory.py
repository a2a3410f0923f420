"""How much memory a training run takes at its worst moment, and how long it takes, before it starts.

An estimate, not a measurement: what PyTorch keeps for the backward pass of `model.Transformer`, tensor by
tensor, and the optimizers' states. Source of the way of counting: Korthikanti et al. 2022,
arXiv:2205.05198, section 4; the numbers are those of this Transformer and of `train.loss`.
"""

from __future__ import annotations

from dataclasses import dataclass

from tokenloom.model.attention_cpu import BLOCK, KEPT
from tokenloom.model.features import ModelConfig
from tokenloom.model.lora import projection_sizes
from tokenloom.train.int8 import BLOCK as INT8_BLOCK
from tokenloom.train.recipe import LoraPart, Recipe

PROGRAM = 350_000_000
"""Bytes of Python, PyTorch and its libraries before there is a model."""
HEAP = 0.2
"""Share on top that the heap of a CPU keeps between blocks in use; 0.1 to 0.4 was seen."""
SHARE = 0.5
"""What part of the machine's peak a training reaches, where it has not been measured."""


@dataclass(frozen=True)
class Memory:
    """Bytes, by what they are for."""

    weights: int
    gradients: int
    optimizer: int
    """Moments, and the averaged weights where there are any."""
    activations: int
    """Kept for the backward pass of one forward pass."""
    logits: int
    """The loss's chunk of logits, its copy of the output layer and that layer's gradient."""
    program: int
    heap: int
    """What the allocator holds beside what is in use."""
    peak: int
    """The largest sum at any one time of a training step."""
    resume: int
    """While a checkpoint is read."""

    @property
    def most(self) -> int:
        return max(self.peak, self.resume)


def memory_of(config: ModelConfig, recipe: Recipe, bfloat16: bool, passes: int = 1, base: int = 4) -> Memory:
    """A run's memory.

    bfloat16: the products' arithmetic; passes: forward passes of one step; base: bytes of a fixed weight in
    memory (LoRA), where it is not int8.
    """
    run, lora = recipe.run, recipe.lora
    linear = sum(out * width for out, width in projection_sizes(config).values())
    moving = trained_weights(config, lora)
    weights = 4 * config.n_params
    if lora.rank:
        fixed = config.n_layer * linear
        inner = fixed * (1 + 2 / INT8_BLOCK) if lora.int8 else fixed * base
        weights = int(inner) + (config.n_params - fixed) * base + 4 * moving
    muon = config.n_layer * linear if recipe.optim.kind == "muon" and not lora.rank else 0
    optimizer = 4 * muon + 8 * (moving - muon) + (4 * moving if run.average else 0)
    positions = run.rows * recipe.data.context
    each = layer_activations(config, positions, recipe.data.context, bfloat16)
    if lora.int8 and bfloat16:
        each -= 2 * linear  # int8 weights become floats anew instead of being kept
    if lora.rank:
        each += lora_activations(config, lora, positions, bfloat16)
    layers = config.n_layer * each
    if run.checkpoint_activations:
        layers = config.n_layer * positions * config.dim * 4 + each
    ends = positions * config.dim * 4 * 5  # the embedding's output, the last norm's, the loss's and its slope
    logits = loss_bytes(config, min(run.loss_rows, positions), bfloat16, trained=not lora.rank)
    gradients = 4 * moving
    forward = layers + ends + logits + (gradients if passes > 1 else 0)
    used = weights + optimizer + max(forward, gradients + logits // 2)
    heap = int(HEAP * used)
    resume = PROGRAM + weights + 4 * moving + optimizer + (4 * moving if run.average else 0)
    peak = PROGRAM + used + heap
    return Memory(weights, gradients, optimizer, layers + ends, logits, PROGRAM, heap, peak, resume)


def trained_weights(config: ModelConfig, lora: LoraPart) -> int:
    """How many weights move."""
    if not lora.rank:
        return config.n_params
    sizes = {name: pair for name, pair in projection_sizes(config).items() if name in lora.targets}
    return config.n_layer * lora.rank * sum(out + width for out, width in sizes.values())


def layer_activations(config: ModelConfig, positions: int, context: int, bfloat16: bool) -> int:
    """Bytes that one layer keeps for the backward pass."""
    c, size = config, 2 if bfloat16 else 4
    q, kv = c.n_head * c.head_dim, c.n_kv_head * c.head_dim
    norms = 2 + 2 * c.post_norms
    # A norm keeps its input and, as root mean squares are written, the normalised input; both in float32.
    kept = norms * c.dim * 4 * (1 if c.norm == "layer" else 2)
    # What the linear maps were given: one copy for each under autocast, else the norm's one output.
    kept += (3 + 1 + c.gated) * c.dim * 2 if bfloat16 else 2 * c.dim * 4
    if c.qk_norm:
        kept += (q + kv) * (size + 4) + q * 4
    kept += (2 * q + 2 * kv) * size + 4 * c.n_head  # query, answer, key, value
    kept += context * size  # the mask of the documents, as numbers
    if context <= KEPT and not c.attn_softcap:
        kept += c.n_head * (context + min(BLOCK, context)) // 2 * size  # the softmax's weights
    if c.attn_softcap:
        kept += 4 * c.n_head * context * 4  # written out instead of fused
    kept += (4 if c.gated else 2) * c.ffn_dim * size
    casts = 2 * sum(out * width for out, width in projection_sizes(c).values()) if bfloat16 else 0
    return positions * kept + casts


def lora_activations(config: ModelConfig, lora: LoraPart, positions: int, bfloat16: bool) -> int:
    """Bytes that the factors of one layer keep beside."""
    sizes = [pair for name, pair in projection_sizes(config).items() if name in lora.targets]
    kept = len(sizes) * lora.rank * (2 if bfloat16 else 4)
    if lora.dropout:
        kept += sum(width for _, width in sizes) * 5  # the dropped inputs and which they are
    return positions * kept


def loss_bytes(config: ModelConfig, rows: int, bfloat16: bool, trained: bool) -> int:
    """Bytes of `train.loss.summed_loss` beside its states."""
    chunk = rows * config.vocab_size * (10 if bfloat16 else 8)
    matrix = config.vocab_size * config.dim
    return chunk + matrix * ((2 if bfloat16 else 0) + (8 if trained else 0))


def flops_of(config: ModelConfig, context: int, lora: bool = False, twice: bool = False) -> float:
    """Operations for one id, forward and backward: 6 for a weight, 4 where its gradient is not wanted.

    twice: activations are computed anew for the backward pass. Source: Kaplan et al. 2020, arXiv:2001.08361,
    section 2.1.
    """
    embedding = 0 if config.tied else config.vocab_size * config.dim
    each = (4.0 if lora else 6.0) + (2.0 if twice else 0.0)
    attention = config.n_layer * config.n_head * config.head_dim * context * (6.0 + (2.0 if twice else 0.0))
    return each * (config.n_params - embedding) + attention


def seconds_of(tokens: int, flops: float, peak_flops: float, share: float = SHARE) -> float:
    """Time for so many ids at a share of the machine's peak (train.peak)."""
    return tokens * flops / (peak_flops * share)

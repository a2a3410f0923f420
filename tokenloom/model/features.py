"""What a decoder-only Transformer is made of, as features.

Not a list of families: the forward pass asks for features only, and `family` is kept to write the file back.
Reading and writing `config.json` is `model.config`. No torch here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Activation = Literal["silu", "gelu_tanh", "gelu"]
RopeKind = Literal["default", "linear", "ntk", "yarn", "llama3"]


@dataclass(frozen=True)
class Rope:
    """Rotary position embedding (Su et al. 2021, arXiv:2104.09864) and how it is stretched."""

    theta: float = 10_000.0
    kind: RopeKind = "default"
    factor: float = 1.0
    """How much longer the context becomes; unused by `default`."""
    original_context: int = 0
    """Positions seen before stretching (yarn, llama3)."""
    low_freq_factor: float = 1.0
    """llama3: wavelengths above original_context / this are divided by factor."""
    high_freq_factor: float = 4.0
    """llama3: wavelengths below original_context / this are left alone."""
    attention_factor: float | None = None
    """yarn: scale of the rotation; None = from factor and the mscales."""
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    mscale: float | None = None
    mscale_all_dim: float | None = None
    truncate: bool = True
    """yarn: round the bounds of the ramp to whole dimensions."""


@dataclass(frozen=True)
class ModelConfig:
    """One decoder-only Transformer."""

    n_layer: int
    n_head: int
    n_kv_head: int
    dim: int
    head_dim: int
    ffn_dim: int
    vocab_size: int
    context: int
    """Positions the model was made for."""
    norm: Literal["rms", "layer"] = "rms"
    norm_eps: float = 1e-5
    norm_offset: float = 0.0
    """Added to the norm's weight (Gemma stores w and means 1 + w)."""
    act: Activation = "silu"
    gated: bool = True
    """down(act(gate(x)) * up(x)) (Shazeer 2020, arXiv:2002.05202) instead of down(act(up(x)))."""
    positions: Literal["rope", "learned"] = "rope"
    rope: Rope = Rope()
    local_rope: Rope | None = None
    """Rotation of the windowed layers where it differs (Gemma 3)."""
    windows: tuple[int, ...] = ()
    """Per layer: positions a query sees, itself included; 0 = all before it. Empty = all layers full."""
    qkv_bias: bool = False
    out_bias: bool = False
    mlp_bias: bool = False
    qk_norm: bool = False
    """RMS norm of each query and key head before the rotation (Qwen3, Gemma 3)."""
    post_norms: bool = False
    """Norms after attention and MLP as well as before (Gemma's sandwich)."""
    embed_scale: float = 1.0
    attn_scale: float = 0.0
    """Factor of the attention logits; 0 = 1 / sqrt(head_dim)."""
    attn_softcap: float = 0.0
    """cap * tanh(logit / cap) on attention logits; 0 = off."""
    logit_softcap: float = 0.0
    tied: bool = False
    """The output layer is the embedding's matrix."""
    eos_ids: tuple[int, ...] = ()
    bos_id: int | None = None
    pad_id: int | None = None
    family: str = "llama"
    """The Hub's model_type; used for saving only."""

    def __post_init__(self) -> None:
        sizes = ("n_layer", "n_head", "n_kv_head", "dim", "head_dim", "ffn_dim", "vocab_size", "context")
        for name in sizes:
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ValueError(f"{name}: found {value!r}, needs a whole number of at least 1")
        if self.n_head % self.n_kv_head:
            raise ValueError(f"n_kv_head: found {self.n_kv_head}, needs a divisor of n_head {self.n_head}")
        if self.positions == "rope" and self.head_dim % 2:
            raise ValueError(f"head_dim: found {self.head_dim}, rotary positions need an even number")
        if self.windows and len(self.windows) != self.n_layer:
            raise ValueError(f"windows: found {len(self.windows)} entries, needs {self.n_layer} (n_layer)")
        if any(window < 0 for window in self.windows):
            raise ValueError(f"windows: found {self.windows}, needs 0 (all) or more in each layer")

    def window(self, layer: int) -> int:
        """Positions a query of this layer sees; 0 = all before it."""
        return self.windows[layer] if self.windows else 0

    def rope_of(self, layer: int) -> Rope:
        """The rotation this layer uses."""
        return self.local_rope if self.local_rope is not None and self.window(layer) else self.rope

    @property
    def scale(self) -> float:
        """Factor of the attention logits."""
        return self.attn_scale or self.head_dim**-0.5

    @property
    def n_params(self) -> int:
        """Weights, the tied output layer counted once."""
        q, kv = self.n_head * self.head_dim, self.n_kv_head * self.head_dim
        bias = int(self.norm == "layer")
        layer = self.dim * (q + 2 * kv) + q * self.dim + self.dim * self.ffn_dim * (3 if self.gated else 2)
        layer += (2 + 2 * self.post_norms) * self.dim * (1 + bias) + 2 * self.head_dim * self.qk_norm
        layer += self.qkv_bias * (q + 2 * kv) + self.out_bias * self.dim
        layer += self.mlp_bias * (self.dim + self.ffn_dim * (1 + self.gated))
        embed = self.vocab_size * self.dim * (1 if self.tied else 2)
        learned = self.context * self.dim * (self.positions == "learned")
        return self.n_layer * layer + embed + learned + self.dim * (1 + bias)

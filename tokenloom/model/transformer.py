"""One decoder-only Transformer: the reference for every compute path, and what training trains.

Not the cache (`model.step`) and not the files (`model.load`). The features of `ModelConfig` decide what a
forward does; no family is ever asked for by name. Weights carry the names of Llama on the Hub. Sources:
Vaswani et al. 2017, arXiv:1706.03762; Touvron et al. 2023, arXiv:2302.13971, section 2.2.
"""

# Shapes: B rows, T positions, D dim, H query heads, G key/value heads, E head width, V vocabulary

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

from tokenloom.model.attention import additive, attend, causal_mask, document_mask
from tokenloom.model.attention_cpu import attend_with_gradients
from tokenloom.model.features import Activation, ModelConfig
from tokenloom.model.rope import frequencies, rotate

Tables = tuple[torch.Tensor, torch.Tensor]


class Linear(nn.Linear):
    """A linear map whose weights come from a file or from `init_weights`: construction draws nothing."""

    def reset_parameters(self) -> None:
        pass


class Embedding(nn.Embedding):
    """Rows by id; construction draws nothing."""

    def reset_parameters(self) -> None:
        pass


class Norm(nn.Module):
    """RMS norm (Zhang and Sennrich 2019, arXiv:1910.07467) or layer norm (Ba et al. 2016,
    arXiv:1607.06450)."""

    def __init__(self, width: int, eps: float, offset: float = 0.0, layer: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width))
        self.bias = nn.Parameter(torch.empty(width)) if layer else None
        self.eps, self.offset = eps, offset

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.bias is not None:
            return F.layer_norm(x, self.weight.shape, self.weight, self.bias, self.eps)
        if self.offset:
            # The sum is taken in float32: in bfloat16 it would lose the small weight.
            weight = self.weight.float() + self.offset
            return F.rms_norm(x.float(), self.weight.shape, weight, self.eps).to(x.dtype)
        # Under autocast the states are bfloat16, the weight is not; torch fuses the norm of one type only.
        return F.rms_norm(x, self.weight.shape, self.weight.to(x.dtype), self.eps)


def norm_of(config: ModelConfig, width: int) -> Norm:
    return Norm(width, config.norm_eps, config.norm_offset, config.norm == "layer")


def activate(x: torch.Tensor, act: Activation) -> torch.Tensor:
    """The MLP's non-linearity."""
    if act == "silu":
        return F.silu(x)
    return F.gelu(x, approximate="tanh" if act == "gelu_tanh" else "none")


class Attention(nn.Module):
    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        q, kv = config.n_head * config.head_dim, config.n_kv_head * config.head_dim
        self.q_proj = Linear(config.dim, q, bias=config.qkv_bias)
        self.k_proj = Linear(config.dim, kv, bias=config.qkv_bias)
        self.v_proj = Linear(config.dim, kv, bias=config.qkv_bias)
        self.o_proj = Linear(q, config.dim, bias=config.out_bias)
        if config.qk_norm:
            self.q_norm = norm_of(config, config.head_dim)
            self.k_norm = norm_of(config, config.head_dim)
        self.config = config

    def forward(self, x: torch.Tensor, tables: Tables | None, allow: torch.Tensor | None) -> torch.Tensor:
        c = self.config
        shape = (*x.shape[:2], -1, c.head_dim)
        q = self.q_proj(x).view(shape).transpose(1, 2)  # (B, H, T, E)
        k = self.k_proj(x).view(shape).transpose(1, 2)  # (B, G, T, E)
        v = self.v_proj(x).view(shape).transpose(1, 2)
        if c.qk_norm:
            q, k = self.q_norm(q), self.k_norm(k)
        if tables is not None:
            q, k = rotate(q, *tables), rotate(k, *tables)
        if q.requires_grad and q.device.type == "cpu" and not c.attn_softcap:
            out = attend_with_gradients(q, k, v, c.scale, allow)
        else:
            out = attend(q, k, v, c.scale, allow, causal=allow is None, softcap=c.attn_softcap)
        return self.o_proj(out.transpose(1, 2).flatten(2))


class MLP(nn.Module):
    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        if config.gated:
            self.gate_proj = Linear(config.dim, config.ffn_dim, bias=config.mlp_bias)
        self.up_proj = Linear(config.dim, config.ffn_dim, bias=config.mlp_bias)
        self.down_proj = Linear(config.ffn_dim, config.dim, bias=config.mlp_bias)
        self.config = config

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.config.gated:
            return self.down_proj(activate(self.gate_proj(x), self.config.act) * self.up_proj(x))
        return self.down_proj(activate(self.up_proj(x), self.config.act))


class Layer(nn.Module):
    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.input_layernorm = norm_of(config, config.dim)
        self.self_attn = Attention(config)
        self.post_attention_layernorm = norm_of(config, config.dim)
        if config.post_norms:
            self.pre_feedforward_layernorm = norm_of(config, config.dim)
            self.post_feedforward_layernorm = norm_of(config, config.dim)
        self.mlp = MLP(config)
        self.sandwich = config.post_norms

    def forward(self, x: torch.Tensor, tables: Tables | None, allow: torch.Tensor | None) -> torch.Tensor:
        if self.sandwich:
            x = x + self.post_attention_layernorm(self.self_attn(self.input_layernorm(x), tables, allow))
            return x + self.post_feedforward_layernorm(self.mlp(self.pre_feedforward_layernorm(x)))
        x = x + self.self_attn(self.input_layernorm(x), tables, allow)
        return x + self.mlp(self.post_attention_layernorm(x))


class Decoder(nn.Module):
    """Embedding, layers and last norm: everything below the output layer."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.embed_tokens = Embedding(config.vocab_size, config.dim)
        if config.positions == "learned":
            self.embed_positions = Embedding(config.context, config.dim)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.n_layer))
        self.norm = norm_of(config, config.dim)

    def block(self, i: int) -> Layer:
        """Layer i, typed."""
        layer = self.layers[i]
        assert isinstance(layer, Layer)
        return layer


class Transformer(nn.Module):
    """A decoder-only language model over ids."""

    def __init__(self, config: ModelConfig) -> None:
        """Weights are left unset: load them, or call `init_weights`."""
        super().__init__()
        self.config = config
        self.model = Decoder(config)
        self.lm_head = None if config.tied else Linear(config.dim, config.vocab_size, bias=False)
        self.recompute = False
        """Training: keep each layer's input alone; the rest is computed anew for the backward pass (Chen et
        al. 2016, arXiv:1604.06174)."""

    @property
    def dtype(self) -> torch.dtype:
        return self.model.embed_tokens.weight.dtype

    @property
    def device(self) -> torch.device:
        return self.model.embed_tokens.weight.device

    @property
    def output_weight(self) -> torch.Tensor:
        """(V, D): the output layer's rows, the embedding's where they are tied."""
        return self.model.embed_tokens.weight if self.lm_head is None else self.lm_head.weight

    def forward(
        self, ids: torch.Tensor, positions: torch.Tensor | None = None, documents: torch.Tensor | None = None
    ) -> torch.Tensor:
        """ids (B, T) int64 -> logits (B, T, V) in the weights' dtype. See `hidden` for the arguments."""
        return self.logits(self.hidden(ids, positions, documents))

    def hidden(
        self, ids: torch.Tensor, positions: torch.Tensor | None = None, documents: torch.Tensor | None = None
    ) -> torch.Tensor:
        """ids (B, T) -> states after the last norm (B, T, D), so that a loss can take the output layer in
        pieces.

        positions (T,) or (B, T): absolute positions; None = 0 .. T - 1, or counted from each document's
        first. documents (B, T): equal numbers see each other (several documents packed in a row, each
        contiguous); None = one per row. Raises ValueError for ids longer than a learned table of positions.
        """
        c = self.config
        if documents is not None and positions is None:
            positions = positions_in(documents)
        if positions is None:
            positions = torch.arange(ids.shape[1], device=ids.device)
        x = self.model.embed_tokens(ids)
        if c.embed_scale != 1.0:
            x = x * torch.tensor(c.embed_scale, dtype=x.dtype)
        if c.positions == "learned":
            if ids.shape[1] > c.context:
                raise ValueError(f"ids: found {ids.shape[1]} positions, the model has {c.context}")
            x = x + self.model.embed_positions(positions)
        tables = self._tables(positions, ids.shape[1], x.dtype)
        masks = self._masks(ids.shape[1], documents, _product_dtype(x))
        again = self.recompute and self.training and torch.is_grad_enabled()
        for i, layer in enumerate(self.model.layers):
            given = x, tables.get(c.rope_of(i)), masks[c.window(i)]
            x = checkpoint(layer, *given, use_reentrant=False) if again else layer(*given)
        return self.model.norm(x)

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """hidden (..., D) -> (..., V)."""
        out = F.linear(hidden, self.output_weight)
        cap = self.config.logit_softcap
        return cap * torch.tanh(out / cap) if cap else out

    def _tables(self, positions: torch.Tensor, length: int, dtype: torch.dtype) -> dict[object, Tables]:
        c = self.config
        if c.positions != "rope":
            return {}
        tables: dict[object, Tables] = {}
        for rope in {c.rope_of(i) for i in range(c.n_layer)}:
            angle, factor = frequencies(rope, c.head_dim, c.context, length)
            phase = positions[..., None].float() * angle.to(positions.device)
            cos, sin = phase.cos() * factor, phase.sin() * factor
            pair = torch.cat((cos, cos), -1).to(dtype), torch.cat((-sin, sin), -1).to(dtype)
            # (T, E) broadcasts over rows and heads; (B, T, E) needs a place for the heads.
            tables[rope] = (pair[0][:, None], pair[1][:, None]) if positions.dim() == 2 else pair
        return tables

    def _masks(
        self, length: int, documents: torch.Tensor | None, dtype: torch.dtype
    ) -> dict[int, torch.Tensor | None]:
        """By window; those of documents as numbers, made once for all layers."""
        masks: dict[int, torch.Tensor | None] = {}
        for window in {self.config.window(i) for i in range(self.config.n_layer)}:
            if documents is not None:
                masks[window] = additive(document_mask(documents, window), dtype)
            elif window and window < length:
                masks[window] = causal_mask(length, length, window, self.device)
            else:
                masks[window] = None
        return masks


def _product_dtype(x: torch.Tensor) -> torch.dtype:
    """What products of x are computed in: autocast's type where it is on."""
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype


def positions_in(documents: torch.Tensor) -> torch.Tensor:
    """documents (B, T), each contiguous -> positions (B, T) counted from each document's first."""
    index = torch.arange(documents.shape[1], device=documents.device).expand_as(documents)
    first = torch.ones_like(documents, dtype=torch.bool)
    first[:, 1:] = documents[:, 1:] != documents[:, :-1]
    return index - torch.where(first, index, 0).cummax(1).values


@torch.no_grad()
def init_weights(model: Transformer, seed: int, std: float = 0.02) -> None:
    """Draws fresh weights: normal with `std`, those that write to the residual stream smaller by sqrt(2
    n_layer).

    Norms start as the identity, biases at 0. Source: GPT-2 (Radford et al. 2019), section 2.3.
    """
    generator = torch.Generator(device=model.device).manual_seed(seed)
    residual = std / math.sqrt(2 * model.config.n_layer)
    for name, module in model.named_modules():
        if isinstance(module, Norm):
            module.weight.fill_(1.0 - module.offset)
            if module.bias is not None:
                module.bias.zero_()
        elif isinstance(module, Linear | Embedding):
            narrow = name.endswith(("o_proj", "down_proj"))
            module.weight.normal_(0.0, residual if narrow else std, generator=generator)
            if isinstance(module, Linear) and module.bias is not None:
                module.bias.zero_()

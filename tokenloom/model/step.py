"""The PyTorch compute path: one step of a model over its slot cache. The reference, and the fast path on
GPUs.

Not the scheduler (it is told which rows to run) and not the native CPU step. All new tokens of all rows run
flat through the linear maps; attention runs per group of rows over views of the cache, which is never copied.
"""

# Shapes: N new tokens of all rows, H query heads, G key/value heads, E head width, V vocabulary

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from tokenloom.model.attention import attend, attend_in_blocks
from tokenloom.model.cache import SlotCache, bytes_per_token
from tokenloom.model.features import ModelConfig, Rope
from tokenloom.model.lora import Adapter, Pair, add_delta
from tokenloom.model.plan import Plan, check_rows, make_plan
from tokenloom.model.product import Product
from tokenloom.model.rope import rope_table
from tokenloom.model.transformer import Layer, Norm, Tables, Transformer, activate
from tokenloom.step import Range, Row

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
Deltas = list[tuple[Mapping[str, Pair], torch.Tensor | None]]
"""Each adapter's factors of one layer, and the flat positions they apply to (None = all)."""


def estimate(config: ModelConfig, n_slots: int, context: int, dtype: str = "bfloat16") -> int:
    """Bytes a TorchStep takes at most: weights, the packed output layer, the full cache, one step's work.

    dtype: "float32", "bfloat16" or "float16".
    """
    kind = DTYPES[dtype]
    head = config.vocab_size * config.dim * kind.itemsize
    work = 512 * (4 * config.dim + 2 * config.ffn_dim) * 4 + n_slots * config.vocab_size * 6
    cache = n_slots * context * bytes_per_token(config, kind)
    return config.n_params * kind.itemsize + head + cache + work


class _Norm:
    """A norm with its weight made ready: the offset added once, in float32."""

    def __init__(self, norm: Norm) -> None:
        self.eps, self.offset = norm.eps, norm.offset
        self.weight = norm.weight.detach()
        self.bias = norm.bias.detach() if norm.bias is not None else None
        self.shape = tuple(self.weight.shape)
        if self.offset:
            self.weight = self.weight.float() + self.offset

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        if self.bias is not None:
            return torch.layer_norm(x, self.shape, self.weight, self.bias, self.eps)
        if self.offset:
            return torch.rms_norm(x.float(), self.shape, self.weight, self.eps).to(x.dtype)
        return torch.rms_norm(x, self.shape, self.weight, self.eps)


class _Layer:
    """One layer's weights as the step uses them; keeps no reference to the module."""

    def __init__(self, layer: Layer, config: ModelConfig, pack: bool) -> None:
        attn, mlp = layer.self_attn, layer.mlp
        qkv = (attn.q_proj, attn.k_proj, attn.v_proj)
        up = (mlp.gate_proj, mlp.up_proj) if config.gated else (mlp.up_proj,)
        self.qkv = Product([p.weight for p in qkv], [p.bias for p in qkv], pack)
        self.out = Product([attn.o_proj.weight], [attn.o_proj.bias], pack)
        self.up = Product([p.weight for p in up], [p.bias for p in up], pack)
        self.down = Product([mlp.down_proj.weight], [mlp.down_proj.bias], pack)
        widths = (config.n_head * config.head_dim, *[config.n_kv_head * config.head_dim] * 2)
        self.qkv_columns = _spans(("q_proj", "k_proj", "v_proj"), widths)
        names = ("gate_proj", "up_proj") if config.gated else ("up_proj",)
        self.up_columns = _spans(names, (config.ffn_dim,) * len(names))
        self.norm_attn = _Norm(layer.input_layernorm)
        before_mlp = layer.pre_feedforward_layernorm if config.post_norms else layer.post_attention_layernorm
        self.norm_mlp = _Norm(before_mlp)
        self.after_attn = _Norm(layer.post_attention_layernorm) if config.post_norms else None
        self.after_mlp = _Norm(layer.post_feedforward_layernorm) if config.post_norms else None
        self.qk_weight: torch.Tensor | None = None
        if config.qk_norm:
            # One norm over all query and key heads: each head's own weight beside it (H + G, E).
            q, k = (n.weight.detach().float() + n.offset for n in (attn.q_norm, attn.k_norm))
            q, k = q.expand(config.n_head, -1), k.expand(config.n_kv_head, -1)
            self.qk_weight = torch.cat((q, k))


def _spans(names: Sequence[str], widths: Sequence[int]) -> dict[str, slice]:
    ends = [sum(widths[: i + 1]) for i in range(len(widths))]
    return {name: slice(end - width, end) for name, end, width in zip(names, ends, widths, strict=True)}


class TorchStep:
    """Implements `tokenloom.step.Step` in PyTorch. Keeps its own form of the weights, not the model."""

    def __init__(
        self,
        model: Transformer,
        n_slots: int,
        context: int | None = None,
        adapters: Mapping[str, Adapter] | None = None,
        pack: bool = True,
        take: bool = False,
    ) -> None:
        """context: positions per slot; None = the model's. With `ntk` rotation a longer context stretches the
        angles for all positions alike, so that what is cached stays valid. pack: lay bfloat16 weights out for
        oneDNN on the CPU. take: empty the model layer by layer, so that its weights are not held twice; the
        model cannot be used afterwards.
        """
        config = model.config
        self.config, self.dtype, self.device = config, model.dtype, model.device
        self.in_blocks = self.device.type == "cpu"
        self.n_slots, self.context = n_slots, config.context if context is None else context
        if n_slots < 1:
            raise ValueError(f"n_slots: found {n_slots}, needs at least 1")
        if self.context < 1 or (config.positions == "learned" and self.context > config.context):
            raise ValueError(f"context: found {self.context}, the model allows 1 to {config.context}")
        self.vocab_size = config.vocab_size
        self.bytes_per_token = bytes_per_token(config, self.dtype)
        self._embed = model.model.embed_tokens.weight.detach()
        learned = config.positions == "learned"
        self._learned = model.model.embed_positions.weight.detach() if learned else None
        self._layers: list[_Layer] = []
        for i in range(config.n_layer):
            self._layers.append(_Layer(model.model.block(i), config, pack))
            if take:
                model.model.layers[i] = nn.Identity()
        self._norm = _Norm(model.model.norm)
        self._rows = model.output_weight.detach()
        self._head = Product([self._rows], pack=pack)
        ropes = [None if learned else config.rope_of(i) for i in range(config.n_layer)]
        self._tables: dict[Rope | None, Tables] = {
            rope: rope_table(rope, config.head_dim, config.context, self.context, self.dtype, self.device)
            for rope in set(ropes)
            if rope is not None
        }
        self._ropes = ropes
        self._windows = tuple(config.window(i) for i in range(config.n_layer))
        self._cache = SlotCache(config, n_slots, self.context, self.dtype, self.device)
        self._kv = self._cache.layers()
        self._adapters: dict[str, Adapter] = {}
        for name, adapter in (adapters or {}).items():
            self.add_adapter(name, adapter)

    def add_adapter(self, name: str, adapter: Adapter) -> None:
        """Makes an adapter available to rows by name. Raises ValueError where it does not fit the model."""
        self._adapters[name] = adapter.placed(self.config, self.dtype, self.device)

    def remove_adapter(self, name: str) -> None:
        del self._adapters[name]

    @property
    def adapters(self) -> tuple[str, ...]:
        return tuple(self._adapters)

    @torch.inference_mode()
    def run(self, rows: Sequence[Row]) -> list[np.ndarray | None]:
        """See `tokenloom.step.Step.run`. Raises ValueError, before anything is written, for a row that cannot
        be."""
        if not rows:
            return []
        check_rows(rows, self.n_slots, self.context, self.vocab_size, self._adapters)
        plan = make_plan(rows, set(self._windows), self.dtype, self.device, self.in_blocks)
        x = F.embedding(plan.ids, self._embed)
        if self.config.embed_scale != 1.0:
            x = x * torch.tensor(self.config.embed_scale, dtype=x.dtype)
        if self._learned is not None:
            x = x + F.embedding(plan.positions, self._learned)
        angles = {
            rope: (cos[plan.positions, None], sin[plan.positions, None])
            for rope, (cos, sin) in self._tables.items()
        }
        for i, layer in enumerate(self._layers):
            deltas = [(self._adapters[name].layer(i), index) for name, index in plan.adapters]
            x = self._attention(x, i, layer, plan, angles.get(self._ropes[i]), deltas)
            x = self._mlp(x, layer, deltas)
        return self._logits(x, plan, len(rows))

    def _attention(
        self, x: torch.Tensor, i: int, layer: _Layer, plan: Plan, angles: Tables | None, deltas: Deltas
    ) -> torch.Tensor:
        c = self.config
        n, rotated = x.shape[0], c.n_head + c.n_kv_head
        h = layer.norm_attn(x)
        qkv = layer.qkv(h)
        if deltas:
            _apply(deltas, layer.qkv_columns, h, qkv)
        heads = qkv.view(n, -1, c.head_dim)  # (N, H + 2 G, E)
        qk = heads[:, :rotated]
        if layer.qk_weight is not None:
            qk.copy_(torch.rms_norm(qk.float(), (c.head_dim,), None, c.norm_eps).mul_(layer.qk_weight))
        if angles is not None:
            turned = torch.roll(qk, c.head_dim // 2, -1)
            qk.mul_(angles[0]).addcmul_(turned, angles[1])
        self._write(heads[:, c.n_head :], i, plan)
        out = self._look(heads[:, : c.n_head], i, plan)
        return _add(x, out, layer.out, "o_proj", layer.after_attn, deltas)

    def _write(self, kv: torch.Tensor, i: int, plan: Plan) -> None:
        """Puts the new keys and values (N, 2 G, E) into layer i of the cache."""
        cache, n = self._kv[i], plan.n_decode
        if n == 1:
            group = plan.groups[0]
            cache[group.slot, :, group.stop - 1].copy_(kv[0])
        elif n:
            cache[plan.slots, :, plan.positions[:n]] = kv[:n]
        for group in plan.groups:
            if group.start >= 0:
                cache[group.slot, :, group.start : group.stop].copy_(kv[group.lo : group.hi].transpose(0, 1))

    def _look(self, q: torch.Tensor, i: int, plan: Plan) -> torch.Tensor:
        """Attention of queries (N, H, E) over layer i of the cache. Returns (N, H * E)."""
        c, cache = self.config, self._kv[i]
        outs = []
        for group in plan.groups:
            view = group.views[self._windows[i]]
            part = q[group.lo : group.hi]
            if view.blocks:
                k, v = cache[group.slot, :, view.first : view.stop].split(c.n_kv_head)
                outs.append(attend_in_blocks(part, k, v, c.scale, view.blocks, c.attn_softcap))
                continue
            if group.start < 0:
                seen = cache[group.slot : group.slot + part.shape[0], :, view.first : view.stop]
                part = part[:, :, None]  # (n, H, 1, E)
            else:
                seen = cache[group.slot : group.slot + 1, :, view.first : view.stop]
                part = part.transpose(0, 1)[None]  # (1, H, T, E)
            k, v = seen[:, : c.n_kv_head], seen[:, c.n_kv_head :]
            out = attend(part, k, v, c.scale, view.allow, view.causal, c.attn_softcap)
            outs.append(out.transpose(1, 2).reshape(-1, c.n_head * c.head_dim))
        return outs[0] if len(outs) == 1 else torch.cat(outs)

    def _mlp(self, x: torch.Tensor, layer: _Layer, deltas: Deltas) -> torch.Tensor:
        c = self.config
        h = layer.norm_mlp(x)
        up = layer.up(h)
        if deltas:
            _apply(deltas, layer.up_columns, h, up)
        if c.gated:
            gate = up[:, : c.ffn_dim]
            gate = F.silu(gate) if c.act == "silu" else activate(gate, c.act)
            up = gate.mul_(up[:, c.ffn_dim :])
        else:
            up = activate(up, c.act)
        return _add(x, up, layer.down, "down_proj", layer.after_mlp, deltas)

    def _logits(self, x: torch.Tensor, plan: Plan, n_rows: int) -> list[np.ndarray | None]:
        answers: list[np.ndarray | None] = [None] * n_rows
        for wanted in plan.wanted:
            h = self._norm(x if wanted.index is None else x[wanted.index])
            logits = self._columns(h, wanted.allowed).float()
            if self.config.logit_softcap:
                logits = torch.tanh(logits / self.config.logit_softcap) * self.config.logit_softcap
            whole, at = logits.cpu().numpy(), 0
            for row, count in zip(wanted.rows, wanted.counts, strict=True):
                answers[row] = whole[at : at + count]
                at += count
        return answers

    def _columns(self, h: torch.Tensor, allowed: tuple[Range, ...] | None) -> torch.Tensor:
        """The output layer's columns of `allowed`, computed apart where that is less work than all of
        them."""
        if allowed is None:
            return self._head(h)
        if 2 * sum(hi - lo for lo, hi in allowed) < self.vocab_size:
            return torch.cat([F.linear(h, self._rows[lo:hi]) for lo, hi in allowed], -1)
        whole = self._head(h)
        return torch.cat([whole[:, lo:hi] for lo, hi in allowed], -1)

    @torch.inference_mode()
    def copy(self, source: int, target: int, length: int) -> None:
        """Copies positions [0, length) of one slot's cache to another slot."""
        self._cache.copy(source, target, length)

    @torch.inference_mode()
    def park(self, slot: int, length: int) -> torch.Tensor:
        """Takes positions [0, length) of a slot out of the cache; the value goes back with `unpark`."""
        return self._cache.park(slot, length)

    @torch.inference_mode()
    def unpark(self, parked: torch.Tensor, slot: int) -> None:
        """Puts what `park` gave back into a slot, bit for bit."""
        self._cache.unpark(parked, slot)

    def release(self, slot: int) -> None:
        """The slot's contents are not needed any more; its memory goes back to the system."""
        self._cache.release(slot)

    def close(self) -> None:
        """Frees weights and cache; the step cannot run afterwards."""
        self._layers, self._kv, self._adapters, self._tables = [], [], {}, {}
        self._cache.close()
        del self._embed, self._learned, self._norm, self._rows, self._head


def _apply(deltas: Deltas, columns: Mapping[str, slice], x: torch.Tensor, out: torch.Tensor) -> None:
    for pairs, index in deltas:
        for name, part in columns.items():
            if name in pairs:
                add_delta(out, x, pairs[name], index, part)


def _add(
    x: torch.Tensor, h: torch.Tensor, product: Product, name: str, norm: _Norm | None, deltas: Deltas
) -> torch.Tensor:
    """x + product(h), with a norm and adapters in between where there are any."""
    if norm is None and not deltas:
        return product.add(h, x)
    out = product(h)
    _apply(deltas, {name: slice(None)}, h, out)
    return x.add_(norm(out) if norm is not None else out)

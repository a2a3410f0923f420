"""LoRA for training: small factors beside the fixed linear maps of a Transformer.

Not serving, which is `model.lora`, and not the files (adapter.py). Each map becomes y = W x + (alpha / r) B
A x with W fixed; A starts as peft starts it, B at zero, so training starts at the base model. Sources: Hu et
al. 2021, arXiv:2106.09685, section 4.1, dropout before A as in its code; rank-stabilised scale: Kalajdzievski
2023, arXiv:2312.03732.
"""

# Shapes: N inputs, M outputs, r rank

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from tokenloom.model.lora import PROJECTIONS, Adapter, Pair, projection_sizes
from tokenloom.model.transformer import Linear, Transformer
from tokenloom.train.int8 import Int8Linear


@dataclass(frozen=True)
class LoraSettings:
    """Which maps get factors, and how large."""

    rank: int = 16
    """Width of the factors."""
    alpha: float = 32.0
    """The update's scale is alpha / rank."""
    dropout: float = 0.0
    """Share of the inputs dropped before A while training."""
    targets: tuple[str, ...] = PROJECTIONS
    """Maps of every layer; those a model does not have are left out."""
    rslora: bool = False
    """The scale is alpha / sqrt(rank) instead."""

    def __post_init__(self) -> None:
        if type(self.rank) is not int or not 1 <= self.rank <= 1024:
            raise ValueError(f"lora.rank: found {self.rank!r}; allowed: 1 to 1024")
        if not 0 < self.alpha < math.inf:
            raise ValueError(f"lora.alpha: found {self.alpha!r}; allowed: more than 0")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"lora.dropout: found {self.dropout!r}; allowed: 0 to less than 1")
        odd = [name for name in self.targets if name not in PROJECTIONS]
        if odd or not self.targets:
            found = repr(odd[0]) if odd else "none"
            raise ValueError(f"lora.targets: found {found}; allowed: {', '.join(PROJECTIONS)}")

    @property
    def scale(self) -> float:
        return self.alpha / (math.sqrt(self.rank) if self.rslora else self.rank)


class LoraLinear(nn.Module):
    """A fixed linear map and its factors. It has no `weight`: whoever asks for one would miss the factors."""

    def __init__(self, base: Linear | Int8Linear, rank: int, scale: float, dropout: float) -> None:
        super().__init__()
        self.base = base
        device = next(base.parameters()).device
        self.lora_A = nn.Parameter(torch.empty(rank, base.in_features, device=device))
        self.lora_B = nn.Parameter(torch.zeros(base.out_features, rank, device=device))
        self.scale, self.dropout = scale, dropout

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.base(x)
        # The factors are float32 whatever the base is: small steps would be lost in bfloat16.
        low = F.dropout(x.to(self.lora_A.dtype), self.dropout, self.training)
        return out + (F.linear(F.linear(low, self.lora_A), self.lora_B) * self.scale).to(out.dtype)


def add_lora(model: Transformer, settings: LoraSettings, seed: int = 0) -> None:
    """Fixes the model's weights and puts fresh factors beside its maps: A as peft draws it, B zero.

    ValueError where the model has factors already, or none of the maps.
    """
    names = [name for name in settings.targets if name in projection_sizes(model.config)]
    if not names:
        raise ValueError(f"lora.targets: found {', '.join(settings.targets)}, which this model does not have")
    generator = torch.Generator().manual_seed(seed)
    if has_lora(model):
        raise ValueError("model: it has LoRA factors already; `drop_lora` takes them away")
    model.requires_grad_(False)
    for _, owner, name in _places(model, names):
        base = getattr(owner, name)
        put = LoraLinear(base, settings.rank, settings.scale, settings.dropout)
        with torch.no_grad():
            bound = 1 / math.sqrt(base.in_features)  # kaiming_uniform_(a=sqrt(5)), drawn on the CPU
            drawn = torch.empty(put.lora_A.shape).uniform_(-bound, bound, generator=generator)
            put.lora_A.copy_(drawn)
        setattr(owner, name, put)


def put_lora(
    model: Transformer, adapter: Adapter, scales: Sequence[Mapping[str, float]], dropout: float
) -> None:
    """Fixes the model's weights and puts given factors beside its maps, to train on.

    adapter: B without its scale; scales: per layer and map. BadAdapter where it does not fit.
    """
    placed = adapter.placed(model.config, torch.float32, model.device)
    if has_lora(model):
        raise ValueError("model: it has LoRA factors already; `drop_lora` takes them away")
    model.requires_grad_(False)
    for i, owner, name in _places(model, PROJECTIONS):
        if name in placed.layer(i):
            a, b = placed.layer(i)[name]
            put = LoraLinear(getattr(owner, name), a.shape[0], scales[i][name], dropout)
            with torch.no_grad():
                put.lora_A.copy_(a)
                put.lora_B.copy_(b)
            setattr(owner, name, put)


def drop_lora(model: Transformer) -> Adapter:
    """Takes the factors away again and answers them; the base's weights stay fixed."""
    taken = adapter_of(model)
    for _, owner, name, put in lora_maps(model):
        setattr(owner, name, put.base)
    return taken


def adapter_of(model: Transformer) -> Adapter:
    """A copy of the model's factors as serving takes them: for `TorchStep.add_adapter`, say."""
    layers: list[dict[str, Pair]] = [{} for _ in range(model.config.n_layer)]
    for i, _, name, put in lora_maps(model):
        layers[i][name] = (put.lora_A.detach().clone(), put.lora_B.detach() * put.scale)
    return Adapter(tuple(layers))


def has_lora(model: Transformer) -> bool:
    return any(isinstance(part, LoraLinear) for part in model.modules())


def lora_maps(model: Transformer) -> list[tuple[int, nn.Module, str, LoraLinear]]:
    """(layer, owner, attribute, map) of each map with factors."""
    found = [(i, owner, name, getattr(owner, name)) for i, owner, name in _places(model, PROJECTIONS)]
    return [(i, owner, name, put) for i, owner, name, put in found if isinstance(put, LoraLinear)]


def merge(model: Transformer, adapter: Adapter) -> None:
    """Adds an adapter's updates to the weights, in place: in float32, rounded once to the weights' type.

    BadAdapter where it does not fit; ValueError for maps that are int8 or have factors of their own.
    """
    _add(model, adapter, 1.0)


def unmerge(model: Transformer, adapter: Adapter) -> None:
    """The inverse of `merge`, within float32's rounding; ValueError for other types, which lose more."""
    if model.dtype != torch.float32:
        raise ValueError(
            f"unmerge: the weights are {str(model.dtype).removeprefix('torch.')}, which does not keep what "
            "merging rounded away; load the base model anew"
        )
    _add(model, adapter, -1.0)


def plain(model: Transformer) -> Transformer:
    """The model as an ordinary Transformer with its factors merged in, for evaluation, samples and saving.

    Weights without factors are shared with it, the others are new, in the model's dtype (int8 maps become
    floats). A model without factors and int8 maps is answered as it is.
    """
    changed = [
        (i, name, getattr(owner, name))
        for i, owner, name in _places(model, PROJECTIONS)
        if not isinstance(getattr(owner, name), Linear)
    ]
    if not changed:
        return model
    # Copying finds every weight copied already, so all are shared.
    twin = copy.deepcopy(model, {id(p): p for p in model.parameters()})
    for i, name, put in changed:
        setattr(_owner(twin, i, name), name, _merged(put, model.dtype))
    return twin


def _merged(put: nn.Module, dtype: torch.dtype) -> Linear:
    base = put.base if isinstance(put, LoraLinear) else put
    assert isinstance(base, Linear | Int8Linear)
    weight = base.float_weight() if isinstance(base, Int8Linear) else base.weight.detach().float()
    if isinstance(put, LoraLinear):
        weight = torch.addmm(weight, put.lora_B.detach() * put.scale, put.lora_A.detach())
    made = Linear(base.in_features, base.out_features, bias=base.bias is not None, device="meta")
    made.weight = nn.Parameter(weight.to(dtype), requires_grad=False)
    if base.bias is not None:
        made.bias = nn.Parameter(base.bias.detach(), requires_grad=False)
    return made


@torch.no_grad()
def _add(model: Transformer, adapter: Adapter, sign: float) -> None:
    placed = adapter.placed(model.config, torch.float32, model.device)
    places = [(i, owner, name) for i, owner, name in _places(model, PROJECTIONS) if name in placed.layer(i)]
    for i, owner, name in places:
        if not isinstance(getattr(owner, name), Linear):
            raise ValueError(f"layers.{i}.{name}: is int8 or has factors; merge into the float model")
    for i, owner, name in places:
        a, b = placed.layer(i)[name]
        weight = getattr(owner, name).weight
        weight.copy_(torch.addmm(weight.float(), b, a, alpha=sign))


def int8_base(model: Transformer) -> None:
    """Replaces the layers' linear maps by int8 ones, one after another, so that memory falls as it goes."""
    for _, owner, name in _places(model, PROJECTIONS):
        base = getattr(owner, name)
        if isinstance(base, Linear):
            setattr(owner, name, Int8Linear(base.weight, base.bias))
    model.requires_grad_(False)


def _places(model: Transformer, names: Sequence[str]) -> Iterator[tuple[int, nn.Module, str]]:
    """(layer, owner, attribute) of the maps of that name that the model has."""
    for i in range(model.config.n_layer):
        for name in names:
            if name in projection_sizes(model.config):
                yield i, _owner(model, i, name), name


def _owner(model: Transformer, i: int, name: str) -> nn.Module:
    layer = model.model.block(i)
    return layer.self_attn if name in PROJECTIONS[:4] else layer.mlp

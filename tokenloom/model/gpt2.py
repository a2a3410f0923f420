"""GPT-2's names and layout on the Hub, and back.

Not a model: its features run through the one Transformer. GPT-2 stores linear maps transposed (in, out) and
query, key and value as one. Source: the published checkpoints of GPT-2.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import torch

from tokenloom.model.features import ModelConfig

Source = Callable[[], torch.Tensor]

WHOLE = {
    "wte.weight": "model.embed_tokens.weight",
    "wpe.weight": "model.embed_positions.weight",
    "ln_f.weight": "model.norm.weight",
    "ln_f.bias": "model.norm.bias",
}
NORMS = {"ln_1": "input_layernorm", "ln_2": "post_attention_layernorm"}
MAPS = {"attn.c_proj": "self_attn.o_proj", "mlp.c_fc": "mlp.up_proj", "mlp.c_proj": "mlp.down_proj"}
QKV = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")


def from_hub(sources: Mapping[str, Source], config: ModelConfig) -> dict[str, Source]:
    """Sources under GPT-2's names -> sources under ours. Unknown names stay, for the caller to refuse."""
    ours: dict[str, Source] = {}
    for name, source in sources.items():
        bare = name.removeprefix("transformer.")
        found = re.fullmatch(r"h\.(\d+)\.(.+)\.(weight|bias)", bare)
        if bare in WHOLE:
            ours[WHOLE[bare]] = source
        elif found and found[2] in NORMS:
            ours[f"model.layers.{found[1]}.{NORMS[found[2]]}.{found[3]}"] = source
        elif found and found[2] in MAPS:
            ours[f"model.layers.{found[1]}.{MAPS[found[2]]}.{found[3]}"] = _turned(source)
        elif found and found[2] == "attn.c_attn":
            for i, part in enumerate(QKV):
                ours[f"model.layers.{found[1]}.{part}.{found[3]}"] = _third(source, i)
        else:
            ours[name] = source
    return ours


def _turned(source: Source) -> Source:
    # .t() leaves a bias alone.
    return lambda: source().t().contiguous()


def _third(source: Source, i: int) -> Source:
    return lambda: source().chunk(3, -1)[i].t().contiguous()


def to_hub(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Tensors under our names -> under GPT-2's."""
    whole = {ours: theirs for theirs, ours in WHOLE.items()}
    norms = {ours: theirs for theirs, ours in NORMS.items()}
    maps = {ours: theirs for theirs, ours in MAPS.items()}
    theirs: dict[str, torch.Tensor] = {}
    for name, tensor in tensors.items():
        found = re.fullmatch(r"model\.layers\.(\d+)\.(.+)\.(weight|bias)", name)
        if name in whole:
            theirs[f"transformer.{whole[name]}"] = tensor
        elif name == "lm_head.weight":
            theirs[name] = tensor
        elif found and found[2] in norms:
            theirs[f"transformer.h.{found[1]}.{norms[found[2]]}.{found[3]}"] = tensor
        elif found and found[2] in maps:
            theirs[f"transformer.h.{found[1]}.{maps[found[2]]}.{found[3]}"] = tensor.t().contiguous()
        elif found and found[2] == QKV[0]:
            parts = [tensors[f"model.layers.{found[1]}.{part}.{found[3]}"].t() for part in QKV]
            theirs[f"transformer.h.{found[1]}.attn.c_attn.{found[3]}"] = torch.cat(parts, -1)
        else:
            assert name.split(".", 3)[-1].startswith(QKV), name
    return theirs

"""Weights of a GGUF file under the names and in the layout of the Hub.

Not a loader: it says which rows of which GGUF tensor make a Hub tensor, and gives them as float32 or as the
blocks they are. Names inside are Llama's for every family; GPT-2's fused attention is given in its three
parts. Source: llama.cpp's conversion scripts, whose changes are undone: q and k of architecture "llama" have
the rows of each head interleaved, and norm weights of gemma3 are stored with 1 added.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from tokenloom.weights.blocks import BlockType
from tokenloom.weights.errors import BadFile
from tokenloom.weights.gguf import Gguf, GgufTensor, dequantise

ARCHITECTURES = ("llama", "qwen2", "qwen3", "gemma3", "gpt2")

_WHOLE = {
    "token_embd": "model.embed_tokens",
    "position_embd": "model.embed_positions",
    "output_norm": "model.norm",
    "output": "lm_head",
}
_LAYER = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_SANDWICH = {
    "post_attention_norm": "post_attention_layernorm",
    "ffn_norm": "pre_feedforward_layernorm",
    "post_ffw_norm": "post_feedforward_layernorm",
}
_QKV = ("attn_q", "attn_k", "attn_v")
_DERIVED = re.compile(r"rope_freqs\.weight|blk\.\d+\.(attn_rot_embd|rope_freqs)\.weight")
"""Tensors that follow from the settings, so that no Hub tensor corresponds to them."""
_LAYER_NAME = re.compile(r"blk\.(\d+)\.(\w+)\.(weight|bias)")
_WHOLE_NAME = re.compile(r"(\w+)\.(weight|bias)")


def hub_names(name: str, architecture: str) -> tuple[str, ...]:
    """The Hub tensors a GGUF tensor holds, in the order of its rows: one; three of GPT-2's `attn_qkv`; none
    of those that follow from the settings. Raises ValueError for a name or architecture not known.
    """
    _known(architecture)
    if _DERIVED.fullmatch(name):
        return ()
    if found := _LAYER_NAME.fullmatch(name):
        layer, part, kind = found.groups()
        if architecture == "gpt2" and part == "attn_qkv":
            return tuple(f"model.layers.{layer}.self_attn.{p}_proj.{kind}" for p in "qkv")
        parts = {**_LAYER, **_SANDWICH} if architecture == "gemma3" else _LAYER
        if part in parts:
            return (f"model.layers.{layer}.{parts[part]}.{kind}",)
    elif (found := _WHOLE_NAME.fullmatch(name)) and found[1] in _WHOLE:
        return (f"{_WHOLE[found[1]]}.{found[2]}",)
    raise ValueError(f"tensor name: found {name!r}; allowed: what a dense {architecture} model holds")


def hub_name(name: str, architecture: str) -> str:
    """The one Hub tensor of a GGUF tensor; see `hub_names` for those that hold three or none."""
    names = hub_names(name, architecture)
    if len(names) != 1:
        raise ValueError(f"tensor name: found {name!r}, which holds {len(names)} tensors; allowed: one")
    return names[0]


def gguf_names(architecture: str, layers: int) -> dict[str, tuple[str, ...]]:
    """Every tensor a GGUF file of this architecture may hold -> the Hub tensors in it, in the usual order."""
    _known(architecture)
    parts = {**_LAYER, **_SANDWICH} if architecture == "gemma3" else dict(_LAYER)
    if architecture == "gpt2":
        parts = {"attn_qkv": "", **{name: part for name, part in parts.items() if name[:6] not in _QKV}}
    names = [f"{whole}.{kind}" for whole in _WHOLE for kind in ("weight", "bias")]
    names += [
        f"blk.{i}.{part}.{kind}" for i in range(layers) for part in parts for kind in ("weight", "bias")
    ]
    return {name: hub_names(name, architecture) for name in names}


def unpermute(rows: np.ndarray, n_head: int) -> np.ndarray:
    """Rows (heads * E, ...) of q or k from llama.cpp's order (pairs that turn together side by side) to the
    Hub's (first halves, then second halves).
    """
    width = rows.shape[0] // n_head
    halves = rows.reshape(n_head, width // 2, 2, *rows.shape[1:])
    return halves.swapaxes(1, 2).reshape(rows.shape)


@dataclass(frozen=True)
class HubTensor:
    """A tensor of the Hub's layout, not yet read from its GGUF file."""

    name: str
    shape: tuple[int, ...]
    source: GgufTensor
    rows: slice | None = None
    """The rows of `source` that are this tensor; None = all."""
    heads: int = 0
    """Heads whose rows are interleaved in the file; 0 = none are."""
    added: float = 0.0
    """What the file has added to every weight."""

    @property
    def type(self) -> BlockType:
        """The block type in the file."""
        return self.source.type

    def float32(self) -> np.ndarray:
        """The weights (shape) float32."""
        if self.rows is not None and len(self.source.shape) == 1:
            weights = dequantise(self.source)[self.rows]
        else:
            weights = dequantise(self.source, self.rows)
        if self.heads:
            weights = unpermute(weights, self.heads)
        if self.added:
            weights -= np.float32(self.added)
        return weights

    def blocks(self) -> np.ndarray:
        """The rows as they are in the file (out, bytes of a row) uint8, in the Hub's order of rows.

        A view where the order is the file's. Raises ValueError for what has no rows of blocks of its own.
        """
        if len(self.source.shape) != 2 or self.added:
            raise ValueError(f"tensor {self.name!r}: found a vector; allowed: a matrix")
        raw = self.source.raw.reshape(self.source.shape[0], -1)
        if self.rows is not None:
            raw = raw[self.rows]
        return unpermute(raw, self.heads) if self.heads else raw


def hub_tensors(gguf: Gguf) -> dict[str, HubTensor]:
    """Every tensor of an open GGUF file in the Hub's layout, by name.

    Raises BadFile for a tensor the architecture does not have, or that cannot be split as it must.
    """
    architecture = str(gguf.meta.get("general.architecture"))
    try:
        _known(architecture)
    except ValueError as error:
        raise BadFile(gguf.path, "general.architecture", architecture, " ".join(ARCHITECTURES)) from error
    tensors: dict[str, HubTensor] = {}
    for source in gguf.tensors.values():
        try:
            names = hub_names(source.name, architecture)
        except ValueError as error:
            raise BadFile(
                gguf.path, "tensors", repr(source.name), f"those of a dense {architecture} model"
            ) from error
        if len(names) > 1 and source.shape[0] % len(names):
            raise BadFile(gguf.path, f"tensor {source.name!r}", f"{source.shape[0]} rows", "a multiple of 3")
        for i, name in enumerate(names):
            rows = None
            shape = source.shape
            if len(names) > 1:
                part = shape[0] // len(names)
                rows, shape = slice(i * part, (i + 1) * part), (part, *shape[1:])
            heads = _interleaved_heads(gguf, source) if architecture == "llama" else 0
            added = 1.0 if architecture == "gemma3" and source.name.endswith("norm.weight") else 0.0
            tensors[name] = HubTensor(name, shape, source, rows, heads, added)
    return tensors


def _interleaved_heads(gguf: Gguf, source: GgufTensor) -> int:
    """Heads of a q or k tensor of architecture "llama"; 0 for any other tensor."""
    found = re.fullmatch(r"blk\.\d+\.attn_([qk])\.(weight|bias)", source.name)
    if not found:
        return 0
    key = "llama.attention.head_count"
    heads = gguf.meta.get(key)
    if found[1] == "k":
        heads = gguf.meta.get(f"{key}_kv", heads)
    if type(heads) is not int or heads < 1 or source.shape[0] % (2 * heads):
        raise BadFile(
            gguf.path,
            f"tensor {source.name!r}",
            f"{source.shape[0]} rows for {heads!r} heads",
            "heads of even width",
        )
    return heads


def _known(architecture: str) -> None:
    if architecture not in ARCHITECTURES:
        raise ValueError(f"architecture: found {architecture!r}; allowed: {' '.join(ARCHITECTURES)}")

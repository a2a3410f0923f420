"""A model as a GGUF file that llama.cpp and its kin run.

Not the tokenizer, whose keys are handed in (tokens.gguf_export), and not the reading (weights.gguf). The
quantisers are those of the `gguf` package, which rounds each block by itself; the k-quants it cannot make are
made of an F16 file by llama.cpp's own llama-quantize. A tensor is converted some rows at a time, the file is
written beside its place and renamed. Source: ggml's docs/gguf.md; llama.cpp's conversion of each family.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from tokenloom.config import new_file
from tokenloom.model.features import ModelConfig
from tokenloom.model.gguf_keys import FREQS, architecture_of, check, frequencies, settings
from tokenloom.model.load import Source, same_names
from tokenloom.model.read import BadModel
from tokenloom.model.transformer import Transformer
from tokenloom.weights.blocks import BLOCK_SIZES, BlockType
from tokenloom.weights.gguf import DEFAULT_ALIGNMENT
from tokenloom.weights.names import gguf_names

if TYPE_CHECKING:
    import gguf

TYPES: dict[str, tuple[BlockType, int]] = {
    "f32": (BlockType.F32, 0),
    "f16": (BlockType.F16, 1),
    "bf16": (BlockType.BF16, 32),
    "q8_0": (BlockType.Q8_0, 7),
    "q5_1": (BlockType.Q5_1, 9),
    "q5_0": (BlockType.Q5_0, 8),
    "q4_1": (BlockType.Q4_1, 3),
    "q4_0": (BlockType.Q4_0, 2),
}
"""What matrices are written as -> their blocks, and llama.cpp's number for such a file."""
SMALL = frozenset({BlockType.Q4_0, BlockType.Q4_1, BlockType.Q5_0, BlockType.Q5_1})
OUTPUT = ("token_embd.weight", "output.weight")
"""Matrices that are the output layer, or may be: 8 bits at least."""
PLAIN = ("position_embd.weight",)
"""Matrices that stay float32: they are added, not multiplied."""
ROWS = 1 << 20
"""Weights converted at a time."""
Progress = Callable[[int, int], object]
"""(bytes written, bytes in all)"""


@dataclass(frozen=True)
class Exported:
    """A GGUF file that was written."""

    path: Path
    size: int
    """Bytes."""
    kind: str
    notes: tuple[str, ...]
    """What differs from what was asked for, in sentences."""


@dataclass(frozen=True)
class _Tensor:
    """One tensor of the file to be written."""

    name: str
    shape: tuple[int, ...]
    type: BlockType
    rows: Callable[[], Iterator[np.ndarray]]
    """Its weights as float32, some rows at a time (a vector is one row)."""

    @property
    def nbytes(self) -> int:
        weights, size = BLOCK_SIZES[self.type]
        return int(np.prod(self.shape)) // weights * size


def export_gguf(
    config: ModelConfig,
    sources: Mapping[str, Source],
    path: str | Path,
    kind: str = "f16",
    *,
    meta: Mapping[str, Any],
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Exported:
    """Writes a model as `path`.

    sources: the tensors by name (model.load.open_sources). kind: one of `TYPES`. meta: more keys, the
    tokenizer's among them: texts, numbers, bools, and lists of one of these. Raises ValueError naming what
    GGUF has no word for, or a weight the type does not hold; FileExistsError.
    """
    path = Path(path)
    if kind not in TYPES:
        more = "; llama.cpp's llama-quantize makes k-quants of an f16 file" if "k" in str(kind) else ""
        raise ValueError(f"type: found {kind!r}; allowed: {', '.join(TYPES)}{more}")
    if path.exists() and not overwrite:
        raise FileExistsError(f"out: {path} is there already; name another file or overwrite it")
    tokens = meta.get("tokenizer.ggml.tokens")
    if tokens is not None and len(tokens) != config.vocab_size:
        raise ValueError(f"tokenizer: found {len(tokens)} tokens; the model has {config.vocab_size} ids")
    keys = settings(config)
    tensors, notes = _tensors(config, sources, kind)
    check(config, keys, {tensor.name: tensor.shape for tensor in tensors})
    keys |= {"general.type": "model", "general.file_type": TYPES[kind][1]}
    if TYPES[kind][0] in {*SMALL, BlockType.Q8_0}:
        keys["general.quantization_version"] = 2
    path.parent.mkdir(parents=True, exist_ok=True)
    with new_file(path) as beside:
        _head(beside, keys | dict(meta), tensors)
        _body(beside, tensors, progress)
        size = beside.stat().st_size
    return Exported(path, size, kind, notes)


def _tensors(
    config: ModelConfig, sources: Mapping[str, Source], kind: str
) -> tuple[list[_Tensor], tuple[str, ...]]:
    """The file's tensors in its order, and what had to be written otherwise than asked for."""
    architecture = architecture_of(config)
    with torch.device("meta"):
        shapes = {name: tuple(p.shape) for name, p in Transformer(config).named_parameters()}
    same_names(shapes, sources)
    found: list[_Tensor] = []
    left, odd = set(shapes), []
    if (freqs := frequencies(config)) is not None:
        found.append(_Tensor(FREQS, freqs.shape, BlockType.F32, lambda: iter([freqs])))
    for name, parts in gguf_names(architecture, config.n_layer).items():
        if not left.issuperset(parts):
            continue
        left.difference_update(parts)
        shape = (sum(shapes[part][0] for part in parts), *shapes[parts[0]][1:])
        type = _type_of(name, shape, TYPES[kind][0])
        if type == BlockType.F16 and TYPES[kind][0] not in (BlockType.F16, BlockType.F32):
            odd.append(name)
        heads = 0
        if architecture == "llama" and ".attn_q." in name:
            heads = config.n_head
        elif architecture == "llama" and ".attn_k." in name:
            heads = config.n_kv_head
        # Gemma's norms are stored with their 1 added.
        added = config.norm_offset if name.endswith("norm.weight") else 0.0
        found.append(
            _Tensor(name, shape, type, _rows([(sources[part], shapes[part]) for part in parts], heads, added))
        )
    if left:
        raise ValueError(
            f"weights: found {sorted(left)[:3]}, which a {architecture} GGUF file has no name for"
        )
    notes: tuple[str, ...] = ()
    if config.family == "mistral" and any(config.windows):
        notes = (f"llama.cpp lets every layer see all positions: past {max(config.windows)} it differs.",)
    if odd:
        what = f"{len(odd)} matrices ({odd[0]}, ...)" if len(odd) > 1 else odd[0]
        width = BLOCK_SIZES[TYPES[kind][0]][0]
        notes += (f"{what} are kept in f16: rows of {kind} come in blocks of {width} weights.",)
    return found, notes


def _type_of(name: str, shape: tuple[int, ...], asked: BlockType) -> BlockType:
    if len(shape) < 2 or name in PLAIN:
        return BlockType.F32
    type = BlockType.Q8_0 if asked in SMALL and name in OUTPUT else asked
    return BlockType.F16 if shape[-1] % BLOCK_SIZES[type][0] else type


def _rows(
    parts: list[tuple[Source, tuple[int, ...]]], heads: int, added: float
) -> Callable[[], Iterator[np.ndarray]]:
    def rows() -> Iterator[np.ndarray]:
        for source, shape in parts:
            tensor = source()
            if tuple(tensor.shape) != shape:
                raise BadModel(f"weights: found shape {tuple(tensor.shape)}, the settings say {shape}")
            if heads:
                tensor = permute(tensor, heads)
            step = max(1, ROWS // max(1, tensor[0].numel())) if tensor.dim() > 1 else len(tensor)
            for piece in tensor.split(step):
                weights = piece.detach().to("cpu", torch.float32).contiguous().numpy()
                yield weights + np.float32(added) if added else weights

    return rows


def permute(rows: torch.Tensor, n_head: int) -> torch.Tensor:
    """Rows (heads * E, ...) of q or k from the Hub's order to llama.cpp's; undone by names.unpermute."""
    halves = rows.reshape(n_head, 2, rows.shape[0] // n_head // 2, *rows.shape[1:])
    return halves.transpose(1, 2).reshape(rows.shape)


def _head(file: Path, keys: Mapping[str, Any], tensors: list[_Tensor]) -> None:
    """Everything before the weights."""
    import gguf

    writer = gguf.GGUFWriter(file, keys["general.architecture"])
    for key, value in keys.items():
        if key != "general.architecture":  # the writer has put it first itself
            writer.add_key_value(key, value, _kind_of(key, value))
    for tensor in tensors:
        of = gguf.GGMLQuantizationType(int(tensor.type))
        writer.add_tensor_info(tensor.name, tensor.shape, np.dtype(np.float32), tensor.nbytes, of)
    try:
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
    finally:
        writer.close()


def _kind_of(key: str, value: Any) -> gguf.GGUFValueType:
    import gguf

    kinds = gguf.GGUFValueType
    known = {bool: kinds.BOOL, int: kinds.UINT32, float: kinds.FLOAT32, str: kinds.STRING, list: kinds.ARRAY}
    if type(value) not in known or value == []:
        raise ValueError(f"{key}: found {value!r}; allowed: a text, a number, a bool or a list of these")
    return known[type(value)]


def _body(file: Path, tensors: list[_Tensor], progress: Progress | None) -> None:
    """The weights, each tensor from a multiple of the alignment on."""
    total, done = sum(tensor.nbytes for tensor in tensors), 0
    with file.open("ab") as out:
        for tensor in tensors:
            out.write(bytes(-out.tell() % DEFAULT_ALIGNMENT))
            before = out.tell()
            for rows in tensor.rows():
                done += out.write(_blocks(tensor, rows).data)
                if progress is not None:
                    progress(done, total)
            assert out.tell() - before == tensor.nbytes, tensor.name
        out.write(bytes(-out.tell() % DEFAULT_ALIGNMENT))


def _blocks(tensor: _Tensor, rows: np.ndarray) -> np.ndarray:
    """Rows float32 -> the bytes of their blocks; ValueError for weights the type does not hold."""
    import gguf

    if not np.isfinite(rows).all():
        raise ValueError(f"{tensor.name}: found weights that are not finite; a model with them says nothing")
    if tensor.type == BlockType.F32:
        return np.ascontiguousarray(rows, "<f4").view(np.uint8)
    if tensor.type != BlockType.BF16 and (most := np.abs(rows).max()) > np.finfo(np.float16).max:
        # The scale of a block is an f16 as well.
        raise ValueError(f"{tensor.name}: found a weight of {most:.3g}, above what f16 holds; use bf16")
    blocks = gguf.quants.quantize(rows, gguf.GGMLQuantizationType(int(tensor.type)))
    return np.ascontiguousarray(blocks).view(np.uint8)

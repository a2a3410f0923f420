"""Opens a model for the native step: GGUF blocks as they lie in the file, a Hub folder's cut to Q8_0 once.

The cut is a GGUF file of its own kind (Hub names, no tokenizer), kept beside the folder and made anew when
the folder's weights change. It is not for other programs.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tokenloom.config import home
from tokenloom.model.features import ModelConfig
from tokenloom.model.read import gguf_config, read_config
from tokenloom.native.step import Blocks, NativeStep, missing
from tokenloom.weights.blocks import BlockType
from tokenloom.weights.errors import BadFile
from tokenloom.weights.gguf import dequantise, open_gguf
from tokenloom.weights.names import hub_tensors

CUT = "tokenloom-q8_0"
Q8_0 = 8
PACKAGE = Path(__file__).resolve().parents[1]


class NotNative(Exception):
    """The native step cannot run this model; the message says what it lacks."""


@dataclass(frozen=True)
class Seen:
    """What a model would take on the native path."""

    config: ModelConfig
    dtype: str
    """The commonest block type."""
    base_bytes: int
    """Weights and one step's work, without the cache."""
    bytes_per_token: int


def inspect(path: Path) -> Seen:
    """Whether the native step runs a GGUF file or Hub folder, and what it takes. Raises NotNative."""
    config = read_config(path)
    types: dict[str, int] = {}
    if path.is_dir():
        weights = config.n_params * 34 // 32
    else:
        with open_gguf(path) as gguf:
            tensors = hub_tensors(gguf)
            types = {n: int(t.type) for n, t in tensors.items() if len(t.shape) == 2}
            weights = sum(t.source.nbytes for t in tensors.values())
    _ask(config, types)
    commonest = Counter(types.values()).most_common(1)[0][0] if types else Q8_0
    widths = 4 * config.dim + 4 * config.ffn_dim + (config.n_head + 2 * config.n_kv_head) * config.head_dim
    work = 512 * widths * 6 + config.vocab_size * 4 * 16
    per_token = config.n_layer * config.n_kv_head * config.head_dim * 4
    return Seen(config, BlockType(commonest).name.lower(), weights + work, per_token)


def _ask(config: ModelConfig, types: Mapping[str, int]) -> None:
    lacking = missing(config, types)
    if lacking is not None:
        raise NotNative(lacking)


def open_native(
    path: Path,
    *,
    n_slots: int,
    context: int | None = None,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> NativeStep:
    """The native step for a GGUF file or a Hub folder. Raises NotNative, or BadFile for a damaged file.

    progress: told (tensors done, in all) while a folder is cut to blocks for the first time.
    """
    if path.is_dir():
        config, pairs = read_config(path), False
        _ask(config, {})
        matrices, vectors = _read_cut(_cut(path, progress))
    else:
        config, matrices, vectors, pairs = _read_gguf(path)
        _ask(config, {name: blocks.type for name, blocks in matrices.items()})
    return NativeStep(
        config, matrices, vectors, n_slots=n_slots, context=context, threads=threads, pairs=pairs
    )


def _read_gguf(path: Path) -> tuple[ModelConfig, dict[str, Blocks], dict[str, np.ndarray], bool]:
    """Everything in the file's own order of rows; the last value says whether heads are interleaved."""
    matrices, vectors, pairs = {}, {}, False
    with open_gguf(path) as gguf:
        config = gguf_config(gguf)
        for name, tensor in hub_tensors(gguf).items():
            pairs = pairs or tensor.heads > 0
            if len(tensor.shape) == 2 and tensor.rows is None:
                raw = tensor.source.raw.reshape(tensor.shape[0], -1)
                matrices[name] = Blocks(raw, int(tensor.type), tensor.shape[1])
            else:
                vectors[name] = dequantise(tensor.source) if tensor.heads else tensor.float32()
    return config, matrices, vectors, pairs


# --- a Hub folder's weights as Q8_0 -------------------------------------------------------------------------


def _fingerprint(folder: Path) -> str:
    """Names, sizes and times of the weight files."""
    files = sorted(folder.glob("*.safetensors"))
    return json.dumps([(f.name, f.stat().st_size, f.stat().st_mtime_ns) for f in files])


def _place(folder: Path) -> Path:
    """Beside the folder; in Tokenloom's home where that may not be written, or is the package itself."""
    beside = folder.resolve().parent
    if os.access(beside, os.W_OK) and PACKAGE not in beside.parents:
        return beside / f".{folder.resolve().name}.q8_0.gguf"
    return home() / "cut" / ("_".join(folder.resolve().parts[1:]) + ".q8_0.gguf")


def _cut(folder: Path, progress: Callable[[int, int], None] | None) -> Path:
    """The cut of a folder, made if it is not there or belongs to other weights."""
    place = _place(folder)
    if place.exists():
        try:
            with open_gguf(place) as gguf:
                if gguf.meta.get("tokenloom.source") == _fingerprint(folder):
                    return place
        except BadFile:
            place.unlink()
    place.parent.mkdir(parents=True, exist_ok=True)
    part = place.with_name(f"{place.name}.{os.getpid()}.part")
    try:
        _write_cut(folder, part, progress)
        os.replace(part, place)
    finally:
        part.unlink(missing_ok=True)
    return place


def _write_cut(folder: Path, part: Path, progress: Callable[[int, int], None] | None) -> None:
    import gguf

    from tokenloom.weights.safetensors import open_folder

    writer = gguf.GGUFWriter(part, CUT, use_temp_file=True)
    writer.add_string("tokenloom.source", _fingerprint(folder))
    with open_folder(folder) as source:
        names = source.names()
        tied = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("tie_word_embeddings")
        for done, name in enumerate(names):
            shape = source.shape(name)
            if not (name == "lm_head.weight" and tied) and not name.endswith("rotary_emb.inv_freq"):
                weights = source.tensor(name).float().numpy()
                if len(shape) == 2:
                    kind = gguf.GGMLQuantizationType.Q8_0
                    writer.add_tensor(name, gguf.quants.quantize(weights, kind), raw_dtype=kind)
                else:
                    writer.add_tensor(name, np.ascontiguousarray(weights, np.float32))
            if progress is not None:
                progress(done + 1, len(names))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _read_cut(place: Path) -> tuple[dict[str, Blocks], dict[str, np.ndarray]]:
    matrices, vectors = {}, {}
    with open_gguf(place) as gguf:
        for name, tensor in gguf.tensors.items():
            if len(tensor.shape) == 2:
                raw = tensor.raw.reshape(tensor.shape[0], -1)
                matrices[name] = Blocks(raw, int(tensor.type), tensor.shape[1])
            else:
                vectors[name] = dequantise(tensor)
    return matrices, vectors

"""A model from a Hub folder or a GGUF file, ready to run.

Not the reading of bytes (`weights`) and not the tokenizer. The module is built without memory and given the
tensors: nothing is drawn at random, and what the file already holds in the asked type is mapped, not copied.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch

from tokenloom.model import gpt2
from tokenloom.model.features import ModelConfig
from tokenloom.model.read import BadModel, folder_config, gguf_config
from tokenloom.model.transformer import Transformer
from tokenloom.weights.gguf import dequantise, open_gguf
from tokenloom.weights.names import HubTensor, hub_tensors
from tokenloom.weights.safetensors import open_folder

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
Source = Callable[[], torch.Tensor]
"""Reads one tensor when called."""
IGNORED = (".rotary_emb.inv_freq", ".attn.bias", ".attn.masked_bias")
"""Endings of buffers that old files hold beside the weights; they follow from the settings."""
FLOATS = ("F32", "BF16", "F16", "F64")
"""Types of weights in safetensors that are read."""
BLOCK = 1 << 18
"""Weights dequantised at a time."""


def load_model(path: str | Path, dtype: str = "auto", device: str = "auto") -> Transformer:
    """Opens a folder in the Hub's layout or a `.gguf` file.

    dtype: "auto", "float32", "bfloat16" or "float16"; auto is bfloat16 on CUDA and on CPUs with products of
    that type, else float32. device: "auto" (CUDA where there is one), "cpu", "cuda", "cuda:1", ... Raises
    ValueError (or a subclass) naming the field for what cannot be opened, FileNotFoundError where nothing is
    there.
    """
    place = pick_device(device)
    kind = pick_dtype(dtype, place)
    return assemble(*open_sources(path, kind), kind, place)


def open_sources(path: str | Path, dtype: torch.dtype) -> tuple[ModelConfig, dict[str, Source]]:
    """The settings of a model and its tensors by name, each read when called; raises as `load_model` does.

    dtype: what the blocks of a GGUF file become; a folder's tensors come as they are.
    """
    path = Path(path)
    if path.is_dir():
        return _folder(path)
    if path.suffix == ".gguf":
        return _gguf(path, dtype)
    if not path.exists():
        raise FileNotFoundError(f"path: nothing at {path}")
    raise BadModel(f"path: found {path}, needs a folder in the Hub's layout or a .gguf file")


def pick_device(device: str) -> torch.device:
    """The device of a name; raises ValueError where it does not exist."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        place = torch.device(device)
    except RuntimeError as error:
        raise ValueError(f"device: found {device!r}, allowed are auto, cpu, cuda, cuda:N, mps") from error
    if place.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device: found {device!r}, but this machine or this build of torch has no CUDA")
    return place


def pick_dtype(dtype: str, device: torch.device) -> torch.dtype:
    """The type of a name; raises ValueError for any other."""
    if dtype == "auto":
        return torch.bfloat16 if device.type == "cuda" or _fast_bf16() else torch.float32
    if dtype not in DTYPES:
        raise ValueError(f"dtype: found {dtype!r}, allowed are auto, {', '.join(DTYPES)}")
    return DTYPES[dtype]


def _fast_bf16() -> bool:
    # AVX-512 without bf16 products passes oneDNN's own check, so the CPU's flags are asked.
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def assemble(
    config: ModelConfig, sources: Mapping[str, Source], dtype: torch.dtype, device: torch.device
) -> Transformer:
    """A Transformer holding the tensors of `sources` by name.

    Raises BadModel naming weights that are missing, unexpected or of another shape.
    """
    with torch.device("meta"):
        model = Transformer(config)
    wanted = {name: tuple(p.shape) for name, p in model.named_parameters()}
    same_names(wanted, sources)
    with ThreadPoolExecutor(max_workers=min(8, torch.get_num_threads())) as pool:
        read = pool.map(lambda name: sources[name]().to(device, dtype), wanted)
        tensors = dict(zip(wanted, read, strict=True))
    for name, shape in wanted.items():
        if tuple(tensors[name].shape) != shape:
            raise BadModel(f"{name}: found shape {tuple(tensors[name].shape)}, the settings say {shape}")
    model.load_state_dict(tensors, assign=True)
    return model.requires_grad_(True).eval()


def same_names(wanted: Iterable[str], found: Iterable[str]) -> None:
    """Raises BadModel naming tensors that are missing or belong to no part of the model."""
    missing, extra = sorted(set(wanted) - set(found)), sorted(set(found) - set(wanted))
    for names, what in ((missing, "are missing"), (extra, "belong to no part of the model")):
        if names:
            more = f" and {len(names) - 5} more" if len(names) > 5 else ""
            raise BadModel(f"weights: {', '.join(names[:5])}{more} {what}; is config.json of another model?")


def _folder(folder: Path) -> tuple[ModelConfig, dict[str, Source]]:
    config = folder_config(folder)
    files = open_folder(folder)

    for name in files.names():
        if files.dtype(name) not in FLOATS and not name.endswith(IGNORED):
            found = files.dtype(name)
            raise BadModel(f"{name}: found {found}, needs {', '.join(FLOATS)}; use the bf16 or GGUF release")

    def source(name: str) -> Source:
        return lambda: files.tensor(name)

    sources = {name: source(name) for name in files.names() if not name.endswith(IGNORED)}
    if config.family == "gpt2":
        sources = gpt2.from_hub(sources, config)
    if config.tied and "lm_head.weight" in sources:
        # Some files write the tied matrix twice; where the two differ the file means both.
        head = sources["lm_head.weight"]()
        if torch.equal(head, sources["model.embed_tokens.weight"]()):
            del sources["lm_head.weight"]
        else:
            config = dataclasses.replace(config, tied=False)
    return config, sources


def _gguf(path: Path, dtype: torch.dtype) -> tuple[ModelConfig, dict[str, Source]]:
    gguf = open_gguf(path)

    def source(tensor: HubTensor) -> Source:
        def read() -> torch.Tensor:
            weights = _dequantise(tensor, dtype)
            tensor.source.forget()
            return weights

        return read

    config = gguf_config(gguf)
    return config, {name: source(tensor) for name, tensor in hub_tensors(gguf).items()}


def _dequantise(tensor: HubTensor, dtype: torch.dtype) -> torch.Tensor:
    """The weights in `dtype`; large matrices in blocks of rows, so that float32 stays in the CPU's cache."""
    plain = tensor.rows is None and not tensor.heads and not tensor.added and len(tensor.shape) == 2
    step = max(1, BLOCK // tensor.shape[-1])
    if dtype == torch.float32 or not plain or tensor.shape[0] <= step:
        return torch.from_numpy(tensor.float32()).to(dtype)
    whole = torch.empty(tensor.shape, dtype=dtype)
    buffer = np.empty((step, tensor.shape[1]), np.float32)
    for start in range(0, tensor.shape[0], step):
        n = min(step, tensor.shape[0] - start)
        dequantise(tensor.source, slice(start, start + n), buffer[:n])
        whole[start : start + n] = torch.from_numpy(buffer[:n])
    return whole

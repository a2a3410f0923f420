"""A dual encoder as a folder: config, weights, tokenloom.json, card, and its tokenizer's files.

Not the tokenizer itself, whose files are handed in as text (tokens.folder) and are read where captions become
ids (engine.judge). The folder is written beside its place and renamed. No pickle.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from tokenloom.codec.judge import DualEncoder, JudgeConfig
from tokenloom.config import check_place, json_text, new_folder
from tokenloom.version import __version__
from tokenloom.weights.safetensors import open_folder
from tokenloom.weights.tokenizer_files import folder_tokenizer_hash, json_object

SCHEMA = 1
KIND = "embedder"
ARCHITECTURE = "dual-encoder"
CONFIG, ABOUT, WEIGHTS = "config.json", "tokenloom.json", "model.safetensors"
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def save_judge(
    network: DualEncoder,
    folder: str | Path,
    *,
    files: Mapping[str, str] | None = None,
    card: str = "",
    dtype: str = "float16",
    overwrite: bool = False,
) -> Path:
    """Writes `network` to `folder` and returns it.

    files: the tokenizer's, by name (tokens.folder.tokenizer_files); without them captions must come as ids.
    card: README.md; empty = a short one. dtype: "float32", "bfloat16" or "float16" on disk. overwrite:
    replace a folder that holds a dual encoder. Raises ValueError naming the argument, FileExistsError.
    """
    folder = Path(folder)
    if dtype not in DTYPES:
        raise ValueError(f"dtype: found {dtype!r}; allowed: {', '.join(DTYPES)}")
    for name in files or {}:
        if Path(name).name != name or name in (CONFIG, ABOUT, WEIGHTS, "README.md"):
            raise ValueError(f"files: found {name!r}; allowed: plain names of a tokenizer's files")
    check_place(folder, overwrite, "dual encoder", WEIGHTS)
    with new_folder(folder) as beside:
        for name, text in (files or {}).items():
            (beside / name).write_text(text, encoding="utf-8")
        _write(network, beside, dtype, card)
    return folder


def _write(network: DualEncoder, folder: Path, dtype: str, card: str) -> None:
    from safetensors.torch import save_file

    config = {"architecture": ARCHITECTURE, **dataclasses.asdict(network.config), "dtype": dtype}
    (folder / CONFIG).write_text(json_text(config), encoding="utf-8")
    about = {
        "schema": SCHEMA,
        "kind": KIND,
        "tokenloom": __version__,
        "tokenizer_sha256": folder_tokenizer_hash(folder),
    }
    (folder / ABOUT).write_text(json_text(about), encoding="utf-8")
    (folder / "README.md").write_text(card or _card(network), encoding="utf-8")
    tensors = {
        name: t.detach().to("cpu", DTYPES[dtype]).contiguous() for name, t in network.state_dict().items()
    }
    save_file(tensors, str(folder / WEIGHTS), metadata={"format": "pt"})


def open_network(folder: str | Path, device: str = "cpu") -> DualEncoder:
    """The network of a folder, float32, ready to judge. Raises ValueError for what is no dual encoder or does
    not fit its config, BadFile (a ValueError) for damaged weights, FileNotFoundError where there is
    nothing."""
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"judge: no folder at {folder}")
    about = json_object(folder / ABOUT)
    if about.get("kind") != KIND:
        raise ValueError(f"{folder / ABOUT}: kind: found {about.get('kind')!r}; allowed: {KIND!r}")
    if about.get("schema") != SCHEMA:
        raise ValueError(
            f"{folder / ABOUT}: schema: found {about.get('schema')!r}; this program reads {SCHEMA}"
        )
    network = DualEncoder(_config(folder / CONFIG))
    own = network.state_dict()
    with open_folder(folder) as weights:
        odd = sorted(set(own) ^ set(weights))
        if odd:
            raise ValueError(f"{folder / WEIGHTS}: {odd[0]} is in only one of weights and config")
        loaded = {name: weights.tensor(name, tuple(t.shape)).float() for name, t in own.items()}
    network.load_state_dict(loaded)
    return network.eval().requires_grad_(False).to(device)


def _config(file: Path) -> JudgeConfig:
    values: dict[str, Any] = dict(json_object(file))
    if values.pop("architecture", None) != ARCHITECTURE:
        raise ValueError(f"{file}: architecture: allowed: {ARCHITECTURE!r}")
    values.pop("dtype", None)
    values.setdefault("texture", 0)  # folders written before there was a path for it
    known = {field.name for field in dataclasses.fields(JudgeConfig)}
    if odd := sorted(set(values) ^ known):
        raise ValueError(f"{file}: found {odd[0]!r} in only one of the file and {sorted(known)}")
    for name, value in values.items():
        if isinstance(value, list) and all(type(item) is int for item in value):
            values[name] = tuple(value)
        elif type(value) is not int:
            raise ValueError(f"{file}: {name}: found {value!r}; allowed: whole numbers")
    try:
        return JudgeConfig(**values)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{file}: {error}") from error


def _card(network: DualEncoder) -> str:
    config = network.config
    return (
        "---\nlibrary_name: tokenloom\npipeline_tag: zero-shot-image-classification\n---\n\n"
        f"# A dual encoder\n\n{network.n_params / 1e6:.1f} M parameters: captions of at most "
        f"{config.context} ids and pictures of {config.size}x{config.size} pixels with transparency become "
        f"vectors of {config.out} numbers, whose products say what belongs together. "
        f"Saved by Tokenloom {__version__}.\n"
    )

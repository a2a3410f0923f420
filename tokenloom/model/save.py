"""A model as a folder in the Hub's layout, with `tokenloom.json` beside it.

Not the tokenizer (its files are copied or handed in) and not checkpoints of training. The folder is written
beside its place and renamed, so that a failed save leaves what was there. No pickle. Source: the layout
transformers reads.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from tokenloom.config import check_place, new_folder, put_json
from tokenloom.model import gpt2
from tokenloom.model.config import eos_value, to_hub
from tokenloom.model.features import ModelConfig
from tokenloom.model.transformer import Transformer
from tokenloom.version import __version__
from tokenloom.weights.tokenizer_files import folder_template_hash, folder_tokenizer_hash

SCHEMA = 1
KINDS = ("lm", "codec", "adapter", "embedder", "voice")
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
)
TEMPLATES = "additional_chat_templates"
"""The folder of templates that have names, such as tool_use."""


def save_model(
    model: Transformer,
    folder: str | Path,
    tokenizer_files_from: str | Path | None = None,
    files: Mapping[str, str] | None = None,
    kind: str = "lm",
    dtype: str = "bfloat16",
    ranges: Sequence[Mapping[str, Any]] | None = None,
    card: str | None = None,
    overwrite: bool = False,
) -> Path:
    """Writes `model` to `folder` and returns it.

    tokenizer_files_from: a folder whose tokenizer files are copied. files: more files by name (a tokenizer
    made from a GGUF, say); they win over copies. kind: what the folder holds. dtype: "float32", "bfloat16" or
    "float16" on disk. ranges: the named ranges of ids, as a vocabulary's `to_json` gives them; None = all ids
    are text. card: README.md; None = a short one. overwrite: replace a folder that holds a model. Raises
    ValueError naming the argument, FileExistsError.
    """
    folder = Path(folder)
    if kind not in KINDS:
        raise ValueError(f"kind: found {kind!r}, allowed are {', '.join(KINDS)}")
    if dtype not in DTYPES:
        raise ValueError(f"dtype: found {dtype!r}, allowed are {', '.join(DTYPES)}")
    check_place(folder, overwrite, "model", "config.json")
    copied = _tokenizer_files(tokenizer_files_from)
    with new_folder(folder) as beside:
        for file in copied:
            target = beside / file.relative_to(Path(str(tokenizer_files_from)))
            target.parent.mkdir(exist_ok=True)
            shutil.copy2(file, target)
        for name, text in (files or {}).items():
            if Path(name).name != name.removeprefix(TEMPLATES + "/"):
                raise ValueError(f"files: found {name!r}, needs plain file names, or {TEMPLATES}/NAME")
            (beside / name).parent.mkdir(exist_ok=True)
            (beside / name).write_text(text, encoding="utf-8")
        whole = [{"name": "text", "start": 0, "stop": model.config.vocab_size}]
        _write(model, beside, kind, dtype, whole if ranges is None else ranges, card)
    return folder


def _tokenizer_files(source: str | Path | None) -> list[Path]:
    if source is None:
        return []
    found = [Path(source) / name for name in TOKENIZER_FILES if (Path(source) / name).is_file()]
    if not found:
        raise ValueError(f"tokenizer_files_from: found none of {', '.join(TOKENIZER_FILES)} in {source}")
    return found + sorted((Path(source) / TEMPLATES).glob("*.jinja"))


def _write(
    model: Transformer,
    folder: Path,
    kind: str,
    dtype: str,
    ranges: Sequence[Mapping[str, Any]],
    card: str | None,
) -> None:
    from safetensors.torch import save_file

    config = model.config
    put_json(folder / "config.json", to_hub(config, dtype))
    ids = {"bos_token_id": config.bos_id, "eos_token_id": eos_value(config), "pad_token_id": config.pad_id}
    put_json(folder / "generation_config.json", {k: v for k, v in ids.items() if v is not None})
    (folder / "README.md").write_text(card or _card(config, dtype), encoding="utf-8")
    about: dict[str, Any] = {
        "schema": SCHEMA,
        "kind": kind,
        "tokenloom": __version__,
        "ranges": [dict(part) for part in ranges],
        "tokenizer_sha256": folder_tokenizer_hash(folder),
        "template_sha256": folder_template_hash(folder),
    }
    put_json(folder / "tokenloom.json", about)
    save_file(hub_tensors(model, DTYPES[dtype]), str(folder / "model.safetensors"), metadata={"format": "pt"})


def hub_tensors(model: Transformer, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """The weights under the family's names on the Hub, on the CPU, a tied output layer left out."""
    tensors = {name: p.detach().to("cpu", dtype).contiguous() for name, p in model.named_parameters()}
    if model.config.family == "gpt2":
        tensors = gpt2.to_hub(tensors)
    # Views of one storage (weights cut from a fused matrix) are no separate tensors to safetensors.
    return {name: t.clone() if t.untyped_storage().nbytes() != t.nbytes else t for name, t in tensors.items()}


def _card(config: ModelConfig, dtype: str) -> str:
    return (
        "---\nlibrary_name: transformers\npipeline_tag: text-generation\n---\n\n"
        f"# A {config.family} model\n\n"
        f"{config.n_params / 1e6:.1f} M parameters: {config.n_layer} layers, {config.dim} wide, "
        f"{config.n_head} heads ({config.n_kv_head} for keys and values), a vocabulary of "
        f"{config.vocab_size}, a context of {config.context} positions; weights in {dtype}. "
        f"Saved by Tokenloom {__version__}.\n"
    )

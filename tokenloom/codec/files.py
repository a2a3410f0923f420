"""What a codec's folder holds: config.json, model.safetensors, tokenloom.json, README.md.

Not what is done with an open codec (codec.folder, codec.audio_folder). Weights are rounded once, when the
folder is written, and computed with in float32, so the codes of a work depend on the folder alone: its sha256
(that of model.safetensors) is what a vocabulary of codes is tied to. No pickle.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from tokenloom.config import check_place, new_folder, put_json, put_text
from tokenloom.version import __version__

if TYPE_CHECKING:
    from torch import nn

SCHEMA = 1
KIND = "codec"
WEIGHTS = "model.safetensors"
TYPES = ("bfloat16", "float16", "float32")
Network = TypeVar("Network", bound="nn.Module")


class BadCodec(ValueError):
    """A folder that is no codec, or a damaged one."""


def write_codec(
    model: nn.Module, settings: Any, model_type: str, folder: Path, card: str, dtype: str, overwrite: bool
) -> None:
    """Writes a codec's folder, beside first, then renamed. settings: a dataclass, for config.json.

    Raises ValueError naming the argument, FileExistsError.
    """
    import torch
    from safetensors.torch import save_file

    if dtype not in TYPES:
        raise ValueError(f"dtype: found {dtype!r}; allowed: {', '.join(TYPES)}")
    check_place(folder, overwrite, "codec", WEIGHTS)
    kind = getattr(torch, dtype)
    with new_folder(folder) as beside:
        tensors = {name: t.detach().to("cpu", kind).contiguous() for name, t in model.state_dict().items()}
        save_file(tensors, str(beside / WEIGHTS), metadata={"format": "pt"})
        put_json(beside / "config.json", {"model_type": model_type, **dataclasses.asdict(settings)})
        put_json(beside / "tokenloom.json", {"schema": SCHEMA, "kind": KIND, "tokenloom": __version__})
        put_text(beside / "README.md", card)


def read_codec(
    folder: Path, model_type: str, build: Callable[[Mapping[str, Any]], Network], device: str = "cpu"
) -> tuple[Network, str]:
    """The network of a codec's folder, in float32, and its sha256. build: of config.json's settings.

    Raises BadCodec saying what is missing or wrong, FileNotFoundError.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not folder.exists():
        raise FileNotFoundError(f"codec: nothing at {folder}")
    found = _kind(folder)
    if found != KIND:
        what = f"kind {found!r}" if found else "no tokenloom.json that says what it is"
        raise BadCodec(f"codec: {folder} has {what}; allowed: the folder of a codec")
    try:
        table = dict(json.loads((folder / "config.json").read_text(encoding="utf-8")))
        stated = table.pop("model_type", model_type)
        if stated != model_type:
            raise BadCodec(f"codec: {folder} is an {stated}; allowed: an {model_type}")
        model = build(table)
        tensors = load_file(str(folder / WEIGHTS))
    except (OSError, ValueError, TypeError, SafetensorError) as error:
        if isinstance(error, BadCodec):
            raise
        raise BadCodec(f"codec: {folder} is not whole: {error}") from error
    wanted = {name: tuple(t.shape) for name, t in model.state_dict().items()}
    given = {name: tuple(t.shape) for name, t in tensors.items()}
    odd = sorted(set(wanted.items()) ^ set(given.items()))
    if odd:
        raise BadCodec(f"codec: {folder}: {odd[0][0]} is missing, unknown or of another shape")
    model.load_state_dict({name: t.to(torch.float32) for name, t in tensors.items()})
    model.eval().requires_grad_(False).to(device)
    return model, hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()


def _kind(folder: Path) -> str:
    try:
        found = json.loads((folder / "tokenloom.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ""
    return str(found.get("kind", "")) if isinstance(found, dict) else ""

"""Everything a run needs to go on as if it had not stopped, in safetensors and JSON; no pickle.

Not the model folder that is published. A checkpoint is written beside its place and renamed, and the ones
before it are removed only then, so a full disk or a kill keeps the last. It names the size of each of its
files: one that was cut short is refused.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tokenloom.config import put_folder

SCHEMA = 1
STATE = "state.json"
WEIGHTS, AVERAGE, OPTIMISERS = "weights.safetensors", "average.safetensors", "optimisers.safetensors"
Optimisers = Mapping[str, Sequence[torch.optim.Optimizer]]


@dataclass(frozen=True)
class Checkpoint:
    """What is read back beside the tensors, which go into the modules in place."""

    step: int
    progress: dict[str, Any]


def save_checkpoint(
    folder: Path,
    step: int,
    players: Mapping[str, nn.Module],
    optimisers: Optimisers,
    average: Mapping[str, torch.Tensor],
    progress: Mapping[str, Any],
    keep: int = 2,
) -> Path:
    """Writes `folder`/step-NNNNNNNN, keeps the newest `keep`. progress: JSON values.

    Only weights that are trained are written: the others are those the run started from. Raises OSError with
    what was tried, leaving the checkpoints before it.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    place = folder / f"step-{step:08d}"
    beside = folder / f".{place.name}.{os.getpid()}.part"
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    try:
        files = {WEIGHTS: _weights(players), OPTIMISERS: _moments(optimisers)}
        if average:
            files[AVERAGE] = dict(average)
        for name, tensors in files.items():
            save_file({k: t.detach().contiguous() for k, t in tensors.items()}, str(beside / name))
        sizes = {name: (beside / name).stat().st_size for name in files}
        state = {"schema": SCHEMA, "step": step, "files": sizes, "progress": dict(progress)}
        (beside / STATE).write_text(json.dumps(state), encoding="utf-8")
        for name in [*files, STATE]:
            _flush(beside / name)
        put_folder(beside, place)
    except (OSError, SafetensorError) as error:
        raise OSError(f"checkpoint {place} was not written, earlier ones are kept: {error}") from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    for old in checkpoints(folder)[: -max(1, keep)]:
        shutil.rmtree(old)
    return place


def _flush(file: Path) -> None:
    with file.open("rb") as opened:
        os.fsync(opened.fileno())


def _weights(players: Mapping[str, nn.Module]) -> dict[str, torch.Tensor]:
    return {
        f"{player}/{name}": weight
        for player, module in players.items()
        for name, weight in [*module.named_parameters(), *module.named_buffers()]
        if weight.requires_grad or not isinstance(weight, nn.Parameter)
    }


def _moments(optimisers: Optimisers) -> dict[str, torch.Tensor]:
    """Every tensor of the optimizers' states, by player, optimizer, weight and name; and the random state."""
    found = {"random": torch.get_rng_state()}
    if torch.cuda.is_available():
        found["random.cuda"] = torch.cuda.get_rng_state()
    for player, group in optimisers.items():
        for i, optimiser in enumerate(group):
            for number, state in optimiser.state_dict()["state"].items():
                found |= {f"{player}/{i}/{number}/{name}": torch.as_tensor(v) for name, v in state.items()}
    return found


def checkpoints(folder: Path) -> list[Path]:
    """Checkpoints in a folder, oldest first; half-written ones have other names."""
    return sorted(folder.glob("step-*"))


def load_checkpoint(
    place: Path, players: Mapping[str, nn.Module], optimisers: Optimisers, average: Mapping[str, torch.Tensor]
) -> Checkpoint:
    """Reads a checkpoint into modules and optimizers made as for the run. Raises ValueError if it is damaged
    or of another run."""
    from safetensors.torch import load_file

    state = _state(place)
    tensors = load_file(str(place / WEIGHTS))
    own = _weights(players)
    _same(place, set(tensors), set(own))
    with torch.no_grad():
        for name, tensor in tensors.items():
            if own[name].shape != tensor.shape:
                raise ValueError(
                    f"{place}: {name} is {tuple(tensor.shape)}, the run's {tuple(own[name].shape)}"
                )
            own[name].copy_(tensor)
        if average:
            kept = load_file(str(place / AVERAGE)) if AVERAGE in state["files"] else {}
            _same(place, set(kept), set(average))
            for name, tensor in kept.items():
                average[name].copy_(tensor)
    moments = load_file(str(place / OPTIMISERS))
    torch.set_rng_state(moments["random"])
    if "random.cuda" in moments and torch.cuda.is_available():
        torch.cuda.set_rng_state(moments["random.cuda"])
    for player, group in optimisers.items():
        for i, optimiser in enumerate(group):
            start = f"{player}/{i}/"
            states: dict[int, dict[str, torch.Tensor]] = {}
            for name, tensor in moments.items():
                if name.startswith(start):
                    number, _, key = name.removeprefix(start).partition("/")
                    states.setdefault(int(number), {})[key] = tensor
            groups = optimiser.state_dict()["param_groups"]
            optimiser.load_state_dict({"state": states, "param_groups": groups})
    return Checkpoint(state["step"], state["progress"])


def _state(place: Path) -> dict[str, Any]:
    try:
        state: dict[str, Any] = json.loads((place / STATE).read_text(encoding="utf-8"))
        schema, files = state["schema"], dict(state["files"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{place}: not a whole checkpoint ({error}); remove it to resume from the one before"
        ) from error
    if schema != SCHEMA:
        raise ValueError(f"{place}: schema {schema}, this program reads {SCHEMA}")
    for name, size in files.items():
        found = (place / name).stat().st_size if (place / name).exists() else 0
        if found != size:
            raise ValueError(
                f"{place / name}: found {found} bytes of {size}; remove {place.name} to resume from the "
                "one before"
            )
    return state


def _same(place: Path, found: set[str], wanted: set[str]) -> None:
    if found != wanted:
        odd = sorted(found ^ wanted)[0]
        raise ValueError(f"{place}: is of another run: {odd} is in only one of the two")

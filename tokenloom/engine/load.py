"""From a model's files to an engine core that runs it: what it will take first, then the weights.

Not the admission against a memory limit (`engine.host`). The native step is tried first on a CPU; torch is
imported only when PyTorch answers.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tokenloom.engine.check import BadRequest
from tokenloom.engine.core import Core
from tokenloom.engine.diffusion import DiffusionPlan, prepare_diffusion
from tokenloom.engine.speculate import AHEAD
from tokenloom.engine.works import works_bytes
from tokenloom.hub.card import has_codec
from tokenloom.hub.pipeline import has_pipeline

if TYPE_CHECKING:
    from tokenloom.engine.choice import Matcher
    from tokenloom.engine.constraint import Constrainer
    from tokenloom.engine.request import Constraint
    from tokenloom.model.features import ModelConfig
    from tokenloom.step import Step

log = logging.getLogger(__name__)
GRID = 64
SLOTS = 16
CACHE_BYTES = 2 << 30
"""Keys and values of running and remembered sequences take this much at most, unless told otherwise."""
PARKED_PART = 4
"""One part in so many of the cache may be held beside it for pre-empted rows."""


@dataclass(frozen=True)
class Plan:
    """How a model would be loaded, and what it would take. `open` does it."""

    path: str
    native: bool
    """The native step runs it; else PyTorch."""
    dtype: str
    """Of the weights: PyTorch's name, or the commonest block type on the native path."""
    device: str
    n_slots: int
    context: int
    """Positions a sequence may have: the model's, or what the cache leaves."""
    vocab_size: int
    budget_tok: int
    memory_bytes: int
    """Weights, cache when full, and one step's work."""
    room_bytes: int | None = None
    """Free memory of the device, where it is not the machine's own."""
    eos_ids: tuple[int, ...] = ()
    adapters: Mapping[str, str] = field(default_factory=dict)
    speculate: int = 0
    works: bool = False
    """A codec lies in its folder."""

    def open(self) -> Core:
        """Reads the weights. ValueError or OSError for what cannot be read."""
        return Core(
            self._native_step() if self.native else self._torch_step(),
            eos_ids=self.eos_ids,
            grid=GRID,
            budget_tok=self.budget_tok,
            park_tok=self.budget_tok // PARKED_PART,
            compile_constraint=_Compiler(Path(self.path), self.eos_ids, self.vocab_size),
            speculate=self.speculate,
            adapters=tuple(self.adapters),
        )

    def _torch_step(self) -> Step:
        from tokenloom.model.load import load_model
        from tokenloom.model.lora import load_adapter
        from tokenloom.model.step import TorchStep

        model = load_model(self.path, self.dtype, self.device)
        adapters = {name: load_adapter(folder) for name, folder in self.adapters.items()}
        context = None if self.context == model.config.context else self.context
        return TorchStep(model, self.n_slots, context, adapters, take=True)

    def _native_step(self) -> Step:
        from tokenloom.native.adapters import add_adapters
        from tokenloom.native.open import open_native

        step = open_native(
            Path(self.path), n_slots=self.n_slots, context=self.context, threads=_asked_threads()
        )
        add_adapters(step, self.adapters)
        return step


@dataclass(frozen=True)
class _Sizes:
    """What the two compute paths must say for a cache to be measured out."""

    native: bool
    dtype: str
    device: str
    config: ModelConfig
    base: int
    """Bytes without the cache."""
    per_token: int
    room: int | None


def prepare(
    path: str | Path,
    *,
    dtype: str = "auto",
    device: str = "auto",
    adapters: Mapping[str, str] | None = None,
    n_slots: int | None = None,
    context: int | None = None,
    cache_bytes: int | None = None,
    speculate: int | None = None,
) -> Plan:
    """Reads a model's settings and works out what it will take; no weights.

    dtype: "auto" takes the native step on a CPU where it can run the model, and PyTorch else; a type's name
    always takes PyTorch. n_slots: sequences that run at once. context: positions of one; None = the model's,
    if the cache holds them. cache_bytes: of keys and values. speculate: ids guessed ahead where text repeats;
    None = AHEAD on the native step, whose answers stay the same to the last bit, and none elsewhere.
    ValueError names the field, OSError the file.
    """
    for name, folder in (adapters or {}).items():
        _check_adapter(name, Path(folder), Path(path))
    slots = SLOTS if n_slots is None else n_slots
    if slots < 1:
        raise BadRequest(f"n_slots is {slots}; it must be at least 1")
    native = dtype == "auto" and (device == "cpu" or (device == "auto" and not _may_have_cuda()))
    sizes = (_native_sizes(Path(path)) if native else None) or _torch_sizes(path, dtype, device, slots)
    config, room = sizes.config, sizes.room
    if context is not None and not 1 <= context <= config.context:
        raise BadRequest(f"context is {context}; this model's is 1 to {config.context}")
    most = cache_bytes if cache_bytes is not None else CACHE_BYTES
    if room is not None and cache_bytes is None:
        most = max(most, (room - sizes.base) * 3 // 4)
    held_tok = max(most // sizes.per_token * PARKED_PART // (PARKED_PART + 1) // GRID * GRID, GRID)
    wanted = config.context if context is None else context
    if context is not None and context > held_tok:
        raise BadRequest(f"context is {context}; {most} bytes of cache hold {held_tok} positions")
    length = min(wanted, held_tok)
    if room is not None and n_slots is None:
        # Outside the machine's own memory a slot takes its whole length at once.
        slots = max(1, min(slots, held_tok // length))
    budget = min(held_tok, slots * -(-length // GRID) * GRID)
    cached = budget if room is None else slots * length
    return Plan(
        path=str(path),
        native=sizes.native,
        dtype=sizes.dtype,
        device=sizes.device,
        n_slots=slots,
        context=length,
        vocab_size=config.vocab_size,
        budget_tok=budget,
        memory_bytes=sizes.base + (cached + budget // PARKED_PART) * sizes.per_token + works_bytes(path),
        room_bytes=room,
        eos_ids=tuple(config.eos_ids),
        adapters=dict(adapters or {}),
        speculate=speculate if speculate is not None else AHEAD if sizes.native else 0,
        works=has_codec(path),
    )


def prepare_any(
    path: str | Path,
    *,
    dtype: str = "auto",
    device: str = "auto",
    adapters: Mapping[str, str] | None = None,
) -> Plan | DiffusionPlan:
    """As `prepare`, and for folders of diffusers too."""
    if not has_pipeline(path):
        return prepare(path, dtype=dtype, device=device, adapters=adapters)
    if adapters:
        raise BadRequest(f"adapters: found {', '.join(adapters)}; allowed: none for a diffusion model")
    return prepare_diffusion(path, dtype, device, _free_bytes)


def _check_adapter(name: str, folder: Path, base: Path) -> None:
    """Refuses an adapter that states another tokenizer or template than the base's."""
    file = folder / "tokenloom.json"
    if not file.is_file():
        return
    try:
        about = json.loads(file.read_text("utf-8"))
    except ValueError as error:
        raise BadRequest(f"adapter {name!r}: {file} is not JSON: {error}") from error
    stated = {what: about.get(f"{what}_sha256") for what in ("tokenizer", "template")}
    if not any(stated.values()):
        return
    from tokenloom.tokens.text import load_tokenizer

    own = load_tokenizer(base)
    found = {"tokenizer": own.hash, "template": own.template.hash if own.template else None}
    for what, hash in stated.items():
        own_hash = found[what]
        if hash is not None and hash != own_hash:
            there = f"{own_hash[:12]}..." if own_hash else "none"
            raise BadRequest(
                f"adapter {name!r}: was trained with the {what} {hash[:12]}..., the base's is {there}; serve "
                "it on the model it was trained on"
            )


def _torch_sizes(path: str | Path, dtype: str, device: str, slots: int) -> _Sizes:
    from tokenloom.model.load import pick_device, pick_dtype
    from tokenloom.model.read import read_config
    from tokenloom.model.step import estimate

    place = pick_device(device)
    kind = str(pick_dtype(dtype, place)).removeprefix("torch.")
    config = read_config(path)
    base = estimate(config, slots, 0, kind)
    per_token = estimate(config, 1, 1, kind) - estimate(config, 1, 0, kind)
    return _Sizes(False, kind, str(place), config, base, per_token, _free_bytes(place))


def _native_sizes(path: Path) -> _Sizes | None:
    """None where the native step does not run this model; the log says why."""
    from tokenloom.native.open import NotNative, inspect

    try:
        seen = inspect(path)
    except NotNative as error:
        log.info("%s: PyTorch answers, for the native step lacks: %s", path, error)
        return None
    return _Sizes(True, seen.dtype, "cpu", seen.config, seen.base_bytes, seen.bytes_per_token, None)


def _asked_threads() -> int | None:
    """OMP_NUM_THREADS, which torch obeys too (engine.process sets it); None where it names no number."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return int(asked) if asked.isdigit() and int(asked) > 0 else None


def _may_have_cuda() -> bool:
    """Whether torch should be asked for a GPU: importing it takes seconds, looking for a device does not."""
    return not sys.platform.startswith("linux") or any(Path("/dev").glob("nvidia[0-9]*"))


def open_core(
    path: str | Path,
    dtype: str = "auto",
    device: str = "auto",
    *,
    n_slots: int = SLOTS,
    context: int | None = None,
    cache_bytes: int | None = None,
    adapters: Mapping[str, str] | None = None,
    speculate: int | None = None,
) -> Core:
    """A model's core in this process, whatever memory is left. Arguments and errors as in `prepare`."""
    return prepare(
        path,
        dtype=dtype,
        device=device,
        adapters=adapters,
        n_slots=n_slots,
        context=context,
        cache_bytes=cache_bytes,
        speculate=speculate,
    ).open()


class _Compiler:
    """Compiles constraints; reads the tokenizer when the first one comes."""

    def __init__(self, path: Path, eos_ids: tuple[int, ...], vocab_size: int) -> None:
        self._path = path
        self._eos_ids = eos_ids
        self._vocab_size = vocab_size
        self._constrainer: Constrainer | None = None

    def __call__(self, constraint: Constraint) -> Matcher:
        if constraint.kind == "music":
            return _music(constraint.text)
        if self._constrainer is None:
            from tokenloom.engine.constraint import Constrainer
            from tokenloom.tokens.text import load_tokenizer

            described = load_tokenizer(self._path).json()
            self._constrainer = Constrainer(described, self._eos_ids, self._vocab_size)
        return self._constrainer.compile(constraint)


def _music(text: str) -> Matcher:
    """Follows a score's rules: over ids, so without the tokenizer."""
    from tokenloom.tokens.music_grammar import follow

    try:
        return follow(text)
    except ValueError as error:
        raise BadRequest(f"constraint.text (music): {error}") from error


def _free_bytes(place: object) -> int | None:
    """Free memory of a CUDA device; None for the machine's own memory."""
    import torch

    assert isinstance(place, torch.device)
    if place.type != "cuda":
        return None
    if place.index is not None and place.index >= torch.cuda.device_count():
        raise BadRequest(f"device is {place}; this machine has {torch.cuda.device_count()} of that kind")
    return int(torch.cuda.mem_get_info(place)[0])

"""`NativeStep`: the fast compute path on CPUs, behind the same contract as the PyTorch one (tokenloom.step).

Blocks of weights run as they are in the GGUF file, mapped, never rounded again; activations are int8 in
blocks of 32.
Each row's bits depend on that row alone: not on the batch, the chunking, the threads or the instruction set.
"""

from __future__ import annotations

import ctypes as c
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tokenloom.model.features import ModelConfig
from tokenloom.model.frequency import angles
from tokenloom.native.library import CConfig, CLayer, CMatrix, CPair, CRow, load
from tokenloom.step import Range, Row

PARTS = ("q", "k", "v", "o", "gate", "up", "down")
HUB = dict(
    zip(PARTS, [f"self_attn.{p}_proj" for p in "qkvo"] + [f"mlp.{p}_proj" for p in PARTS[4:]], strict=True)
)


@dataclass(frozen=True)
class Blocks:
    """A matrix as blocks: `data` (rows, bytes of a row) uint8, `type` ggml's number, `cols` weights a row."""

    data: np.ndarray
    type: int
    cols: int


def missing(config: ModelConfig, types: Mapping[str, int]) -> str | None:
    """What this model needs that the native step does not do; None when it does all of it.

    types: ggml's number of each matrix, by Hub name.
    """
    library = load()
    if library is None:
        return "the native step is not built here (python -m tokenloom.native.build)"
    if not library.loom_instruction_set():
        return f"LOOM_ISA={os.environ.get('LOOM_ISA')} is not an instruction set of this machine"
    wanted = {
        "norms other than RMS": config.norm != "rms" or config.norm_offset != 0.0,
        "an MLP other than SwiGLU": config.act != "silu" or not config.gated,
        "learned positions": config.positions != "rope",
        "dynamic NTK scaling": config.rope.kind == "ntk" or config.local_rope is not None,
        "norms after attention and MLP": config.post_norms,
        "scaled embeddings or capped logits": config.embed_scale != 1.0
        or config.attn_softcap != 0.0
        or config.logit_softcap != 0.0,
        "head widths that are no multiple of 16": config.head_dim % 16 != 0 or config.head_dim > 512,
        "widths that are no multiple of 32": any(
            width % 32 for width in (config.dim, config.ffn_dim, config.n_head * config.head_dim)
        ),
    }
    for what, needed in wanted.items():
        if needed:
            return what
    widths = {"o_proj": config.n_head * config.head_dim, "down_proj": config.ffn_dim}
    for name, type_ in types.items():
        cols = next((w for part, w in widths.items() if part in name), config.dim)
        if library.loom_row_bytes(type_, cols) == 0:
            return f"block type {type_} of {name}"
    return None


class NativeStep:
    """One model with its cache, in native code. One thread owns it."""

    def __init__(
        self,
        config: ModelConfig,
        matrices: Mapping[str, Blocks],
        vectors: Mapping[str, np.ndarray],
        *,
        n_slots: int,
        context: int | None = None,
        threads: int | None = None,
        pairs: bool = False,
    ) -> None:
        """matrices, vectors: by Hub name (vectors float32). pairs: q and k have the rows of each head
        interleaved, as llama's GGUF files do. threads: as many as there are cores unless given.

        Raises ValueError where shapes or types do not fit.
        """
        library = load()
        assert library is not None, "ask `missing` first"
        self._library = library
        self.config = config
        self.n_slots = n_slots
        self.context = min(context or config.context, config.context)
        self.vocab_size = config.vocab_size
        self.bytes_per_token = config.n_layer * config.n_kv_head * config.head_dim * 2 * 2
        self.threads = threads or len(os.sched_getaffinity(0))
        self._pairs = pairs
        self._keep: list[Any] = [matrices, vectors]
        self._adapters: dict[str, int] = {}
        self._model: int | None = self._open(matrices, vectors)

    # --- opening --------------------------------------------------------------------------------------------

    def _open(self, matrices: Mapping[str, Blocks], vectors: Mapping[str, np.ndarray]) -> int:
        config = self.config
        cos, sin = (self._hold(table) for table in self._tables())
        windows = self._hold(np.array([config.window(i) for i in range(config.n_layer)], np.int32))
        norm = self._vector(vectors, "model.norm.weight", config.dim)
        head = CConfig(
            config.n_layer,
            config.n_head,
            config.n_kv_head,
            config.dim,
            config.head_dim,
            config.ffn_dim,
            config.vocab_size,
            self.context,
            self.n_slots,
            self.threads,
            int(self._pairs),
            config.norm_eps,
            config.scale,
            cos,
            sin,
            windows,
            norm,
        )
        layers = (CLayer * config.n_layer)(
            *(self._layer(i, matrices, vectors) for i in range(config.n_layer))
        )
        embedding = self._matrix(matrices, vectors, "model.embed_tokens")
        tied = "lm_head.weight" not in matrices
        output = embedding if tied else self._matrix(matrices, vectors, "lm_head")
        error = c.create_string_buffer(400)
        model = self._library.loom_open(
            c.byref(head), layers, c.byref(embedding), c.byref(output), error, len(error)
        )
        if not model:
            raise ValueError(f"native step: {error.value.decode()}")
        return int(model)

    def _tables(self) -> tuple[np.ndarray, np.ndarray]:
        """cos and sin (context, head_dim / 2) float32."""
        frequency, factor = angles(self.config.rope, self.config.head_dim, self.config.context, self.context)
        phase = np.arange(self.context, dtype=np.float32)[:, None] * frequency[None, :]
        return np.cos(phase) * np.float32(factor), np.sin(phase) * np.float32(factor)

    def _layer(self, i: int, matrices: Mapping[str, Blocks], vectors: Mapping[str, np.ndarray]) -> CLayer:
        at, config = f"model.layers.{i}.", self.config
        norms: list[int | None] = [
            self._vector(vectors, f"{at}{name}.weight", config.dim)
            for name in ("input_layernorm", "post_attention_layernorm")
        ]
        for name in ("q_norm", "k_norm"):
            full = f"{at}self_attn.{name}.weight"
            norms.append(self._vector(vectors, full, config.head_dim) if config.qk_norm else None)
        return CLayer(*norms, *(self._matrix(matrices, vectors, at + HUB[part]) for part in PARTS))

    def _hold(self, array: np.ndarray) -> int:
        array = np.ascontiguousarray(array)
        self._keep.append(array)
        return _address(array)

    def _vector(self, vectors: Mapping[str, np.ndarray], name: str, size: int) -> int:
        value = vectors[name]
        if value.shape != (size,):
            raise ValueError(f"{name}: shape {value.shape}, ({size},) needed")
        return self._hold(value.astype(np.float32, copy=False))

    def _matrix(
        self, matrices: Mapping[str, Blocks], vectors: Mapping[str, np.ndarray], name: str
    ) -> CMatrix:
        blocks = matrices[f"{name}.weight"]
        bias = vectors.get(f"{name}.bias")
        rows = blocks.data.shape[0]
        if bias is not None and bias.shape != (rows,):
            raise ValueError(f"{name}.bias: shape {bias.shape}, ({rows},) needed")
        return CMatrix(
            self._hold(blocks.data),
            blocks.data.nbytes,
            blocks.type,
            rows,
            blocks.cols,
            None if bias is None else self._hold(bias.astype(np.float32, copy=False)),
        )

    # --- the contract ---------------------------------------------------------------------------------------

    def run(self, rows: Sequence[Row]) -> list[np.ndarray | None]:
        """See tokenloom.step.Step. The interpreter's lock is released meanwhile."""
        answers, places = self._answers(rows)
        ids = np.array([id for row in rows for id in row.ids], np.int32)
        at = _address(ids)
        ranges = {row.allowed: np.array(row.allowed or (), np.int32) for row in rows}
        heads = {allowed: None if allowed is None else _address(array) for allowed, array in ranges.items()}
        wire = (CRow * len(rows))()
        for i, (row, place) in enumerate(zip(rows, places, strict=True)):
            wire[i] = CRow(
                row.slot,
                row.start,
                len(row.ids),
                row.want,
                self._number(row.adapter),
                at,
                heads[row.allowed],
                len(row.allowed or ()),
                place,
            )
            at += ids.itemsize * len(row.ids)
        error = c.create_string_buffer(300)
        if self._library.loom_step(self._model, wire, len(rows), error, len(error)):
            raise ValueError(f"native step: {error.value.decode()}")
        return answers

    def _answers(self, rows: Sequence[Row]) -> tuple[list[np.ndarray | None], list[int | None]]:
        """Room for each row's logits, and its address; what is asked of the same columns adjoins, so that it
        is one product."""
        wanted: dict[tuple[Range, ...] | None, int] = {}
        for row in rows:
            wanted[row.allowed] = wanted.get(row.allowed, 0) + row.want
        room: dict[tuple[Range, ...] | None, tuple[np.ndarray, int]] = {}
        for allowed, n in wanted.items():
            columns = self.vocab_size if allowed is None else sum(b - a for a, b in allowed)
            whole = np.empty((n, columns), np.float32)
            room[allowed] = whole, _address(whole)
        out: list[np.ndarray | None] = []
        places: list[int | None] = []
        for row in rows:
            left, at = room[row.allowed]
            out.append(left[: row.want] if row.want else None)
            places.append(at if row.want else None)
            room[row.allowed] = left[row.want :], at + row.want * left.strides[0]
        return out, places

    def copy(self, source: int, target: int, length: int) -> None:
        """See tokenloom.step.Step."""
        self._library.loom_copy(self._model, source, target, length)

    def park(self, slot: int, length: int) -> tuple[int, np.ndarray]:
        """See tokenloom.step.Step."""
        parked = np.empty(self._library.loom_parked_bytes(self._model, length), np.uint8)
        self._library.loom_park(self._model, slot, length, parked.ctypes.data)
        return length, parked

    def unpark(self, parked: tuple[int, np.ndarray], slot: int) -> None:
        """See tokenloom.step.Step."""
        length, data = parked
        self._library.loom_unpark(self._model, data.ctypes.data, slot, length)

    def release(self, slot: int) -> None:
        """See tokenloom.step.Step: the slot's pages go back to the system."""
        self._library.loom_release(self._model, slot)

    def close(self) -> None:
        """Frees the cache and the threads; the step cannot be used afterwards."""
        if self._model is not None:
            self._library.loom_close(self._model)
            self._model = None

    def __del__(self) -> None:
        if getattr(self, "_model", None) is not None:
            self.close()

    # --- adapters -------------------------------------------------------------------------------------------

    @property
    def adapters(self) -> tuple[str, ...]:
        """Names a row may ask for."""
        return tuple(self._adapters)

    def _number(self, adapter: str | None) -> int:
        if adapter is not None and adapter not in self._adapters:
            raise ValueError(f"adapter: found {adapter!r}, loaded are {list(self._adapters)}")
        return -1 if adapter is None else self._adapters[adapter]

    def add_adapter(self, name: str, factors: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> None:
        """factors: by Hub name of the product ("model.layers.0.self_attn.q_proj"), a (rank, in) and b
        (out, rank) float32, b already scaled.
        """
        pairs = (CPair * (self.config.n_layer * len(PARTS)))()
        known = {f"model.layers.{i}.{HUB[p]}" for i in range(self.config.n_layer) for p in PARTS}
        if unknown := set(factors) - known:
            raise ValueError(f"adapter {name!r}: no product {sorted(unknown)[0]!r} in this model")
        for i in range(self.config.n_layer):
            for j, part in enumerate(PARTS):
                found = factors.get(f"model.layers.{i}.{HUB[part]}")
                if found is not None:
                    a, b = (np.ascontiguousarray(x, np.float32) for x in found)
                    self._check_factors(f"adapter {name!r}, {HUB[part]}", part, a.shape, b.shape)
                    if self._pairs and part in "qk":
                        b = self._interleaved(b, self.config.n_head if part == "q" else self.config.n_kv_head)
                    pairs[i * len(PARTS) + j] = CPair(self._hold(a), self._hold(b.T), a.shape[0])
        number = self._library.loom_add_adapter(self._model, pairs)
        if number < 0:
            raise ValueError(f"adapter {name!r}: rank must be 1 to 1024")
        self._adapters[name] = number

    def _check_factors(self, at: str, part: str, a: tuple[int, ...], b: tuple[int, ...]) -> None:
        config = self.config
        heads = config.n_kv_head if part in ("k", "v") else config.n_head
        out = (
            heads * config.head_dim
            if part in ("q", "k", "v")
            else config.dim
            if part in ("o", "down")
            else config.ffn_dim
        )
        wide = {"o": config.n_head * config.head_dim, "down": config.ffn_dim}.get(part, config.dim)
        if a[1:] != (wide,) or b != (out, a[0]):
            raise ValueError(f"{at}: factors of shape {a} and {b}, (rank, {wide}) and ({out}, rank) needed")

    @staticmethod
    def _interleaved(rows: np.ndarray, heads: int) -> np.ndarray:
        """Rows of q or k from the Hub's order (halves) to the file's (pairs side by side)."""
        width = rows.shape[0] // heads
        return rows.reshape(heads, 2, width // 2, -1).swapaxes(1, 2).reshape(rows.shape)


def _address(array: np.ndarray) -> int:
    return int(array.ctypes.data)


def slots_bytes(config: ModelConfig, n_slots: int, context: int) -> int:
    """Cache bytes when every slot is full; the system gives them as they are touched."""
    return n_slots * math.ceil(context / 16) * 16 * config.n_layer * config.n_kv_head * config.head_dim * 4

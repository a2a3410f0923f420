"""The native step's C interface (src/step.h), through ctypes: structs, signatures, loading."""

from __future__ import annotations

import ctypes as c
import functools
import os
from pathlib import Path

from tokenloom.native.build import LIBRARY


class CMatrix(c.Structure):
    """Blocks of weights, row after row."""

    _fields_ = (
        ("data", c.c_void_p),
        ("bytes", c.c_size_t),
        ("type", c.c_int32),
        ("rows", c.c_int32),
        ("cols", c.c_int32),
        ("bias", c.c_void_p),
    )


class CConfig(c.Structure):
    """Sizes of the model, its tables and its norm."""

    _fields_ = (
        *(
            (name, c.c_int32)
            for name in ["n_layer", "n_head", "n_kv_head", "dim", "head_dim", "ffn_dim", "vocab_size"]
        ),
        *((name, c.c_int32) for name in ["context", "n_slots", "n_threads", "rope_pairs"]),
        ("norm_eps", c.c_float),
        ("attn_scale", c.c_float),
        *((name, c.c_void_p) for name in ["cos", "sin", "windows", "final_norm"]),
    )


class CLayer(c.Structure):
    """The weights of one layer."""

    _fields_ = (
        *((name, c.c_void_p) for name in ["attn_norm", "ffn_norm", "q_norm", "k_norm"]),
        *((name, CMatrix) for name in ["q", "k", "v", "o", "gate", "up", "down"]),
    )


class CPair(c.Structure):
    """The two factors of one product's adapter."""

    _fields_ = (("a", c.c_void_p), ("b", c.c_void_p), ("rank", c.c_int32))


class CRow(c.Structure):
    """New tokens of one sequence."""

    _fields_ = (
        *((name, c.c_int32) for name in ["slot", "start", "n_ids", "want", "adapter"]),
        ("ids", c.c_void_p),
        ("ranges", c.c_void_p),
        ("n_ranges", c.c_int32),
        ("logits", c.c_void_p),
    )


@functools.cache
def load(path: Path | None = None) -> c.CDLL | None:
    """The library, or None where it was not built (native.build) or this machine cannot load it.

    path: $LOOM_NATIVE_LIBRARY unless given, else the one that is built beside this file.
    """
    path = path or Path(os.environ.get("LOOM_NATIVE_LIBRARY") or LIBRARY)
    if not path.exists():
        return None
    try:
        library = c.CDLL(str(path))
    except OSError:  # built for another machine
        return None
    matrix, text, size, i32 = c.POINTER(CMatrix), c.c_char_p, c.c_size_t, c.c_int32
    model = c.c_void_p
    signatures = {
        "loom_instruction_set": (text, []),
        "loom_row_bytes": (size, [i32, i32]),
        "loom_open": (model, [c.POINTER(CConfig), c.POINTER(CLayer), matrix, matrix, text, size]),
        "loom_close": (None, [model]),
        "loom_step": (c.c_int, [model, c.POINTER(CRow), i32, text, size]),
        "loom_add_adapter": (i32, [model, c.POINTER(CPair)]),
        "loom_copy": (None, [model, i32, i32, i32]),
        "loom_parked_bytes": (size, [model, i32]),
        "loom_park": (None, [model, i32, i32, c.c_void_p]),
        "loom_unpark": (None, [model, c.c_void_p, i32, i32]),
        "loom_release": (None, [model, i32]),
        "loom_matmul": (c.c_int, [text, matrix, c.c_void_p, i32, c.c_void_p]),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


def instruction_set() -> str:
    """What the native step would use on this machine; empty where there is no library for it."""
    library = load()
    return "" if library is None else library.loom_instruction_set().decode()

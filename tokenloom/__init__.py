"""Tokenloom: one Transformer that writes, draws and composes, on a machine you own.

import tokenloom as tl

model = tl.load("smollm2")
print(model.chat("Why is the sky blue?").text)
"""

from typing import TYPE_CHECKING, Any

from tokenloom.version import __version__

if TYPE_CHECKING:
    from tokenloom.api import Generation, Model, Piece, load
    from tokenloom.engine.request import Constraint

__all__ = ["Constraint", "Generation", "Model", "Piece", "__version__", "load"]


def __getattr__(name: str) -> Any:
    if name == "Constraint":
        from tokenloom.engine import request

        return request.Constraint
    if name in __all__:
        from tokenloom import api

        return getattr(api, name)
    raise AttributeError(f"module 'tokenloom' has no attribute {name!r}")

"""Tokenloom: one Transformer that writes, draws and composes, on a machine you own."""

from tokenloom.version import __version__

__all__ = ["__version__"]

"""The fixtures of this room; `serving.py` has them."""

from serving import model_folder, serve, served

__all__ = ["model_folder", "serve", "served"]

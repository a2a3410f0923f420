"""Pixels in memory and what the networks see of them. Not files of pictures and not their size.

In memory: uint8 (N, H, W, 4), RGBA, sRGB, not premultiplied. For the networks: float32 (N, 4, H, W) in
[-1, 1], colour multiplied by opacity (Porter and Duff 1984, section 4.1), so that what is not seen has one
value and the composite over any ground is linear.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

WHITE = (255, 255, 255)


def checked(pictures: np.ndarray, size: int | None = None) -> np.ndarray:
    """`pictures` if they are uint8 (N, H, W, 4), of `size` x `size` where it is given. Raises ValueError."""
    if not isinstance(pictures, np.ndarray) or pictures.dtype != np.uint8:
        found = pictures.dtype if isinstance(pictures, np.ndarray) else type(pictures).__name__
        raise ValueError(f"pictures: found {found}; allowed: an array of uint8")
    if pictures.ndim != 4 or pictures.shape[3] != 4:
        raise ValueError(f"pictures: found shape {pictures.shape}; allowed: (N, H, W, 4), RGBA")
    if size is not None and pictures.shape[1:3] != (size, size):
        high, wide = pictures.shape[1:3]
        raise ValueError(f"pictures: found {wide} x {high} pixels; allowed: {size} x {size}")
    return pictures


def to_tensor(pictures: np.ndarray) -> torch.Tensor:
    """uint8 (N, H, W, 4) -> float32 (N, 4, H, W) in [-1, 1], premultiplied."""
    import torch

    x = torch.from_numpy(checked(pictures)).permute(0, 3, 1, 2).float() / 255.0
    x[:, :3] *= x[:, 3:]
    return x * 2 - 1


def to_pixels(x: torch.Tensor) -> np.ndarray:
    """float (N, 4, H, W) in about [-1, 1], premultiplied -> uint8 (N, H, W, 4).

    What is nearly clear (opacity under 1/255) is wholly clear and black.
    """
    import torch

    x = ((x.detach().float() + 1) / 2).clamp(0, 1)
    alpha = x[:, 3:]
    colour = torch.where(alpha < 1 / 255, torch.zeros_like(alpha), x[:, :3] / alpha.clamp(min=1 / 255))
    whole = torch.cat([colour.clamp(0, 1), alpha], 1)
    found: np.ndarray = (whole * 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().cpu().numpy()
    return found


def flatten(pictures: np.ndarray, ground: tuple[int, int, int] = WHITE) -> np.ndarray:
    """uint8 RGBA (N, H, W, 4) over a plain ground -> uint8 RGB (N, H, W, 3)."""
    colour, alpha = checked(pictures)[..., :3].astype(np.float32), pictures[..., 3:].astype(np.float32) / 255
    under = np.array(ground, np.float32) * (1 - alpha)
    found: np.ndarray = np.rint(colour * alpha + under).astype(np.uint8)
    return found

"""How far a picture is from the one wanted: multi-scale L1, edges and spectrum, and squares.

No pretrained network judges here (LPIPS needs one): what is measured is pixels, their differences and their
frequencies. Pictures are compared as composites over white, black and a ground drawn anew for each picture,
so that opacity is learned. All of it but the spectrum is linear before its absolute value, so the difference
of the two pictures is composited, pooled and differentiated once.
Sources: multi-scale L1 as in Zhao et al. 2017, arXiv:1511.08861, section III; gradient difference: Mathieu et
al. 2016, arXiv:1511.05440, section 3.2; spectrum: Fuoli et al. 2021, arXiv:2106.00783, section 3.3.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from tokenloom.codec.config import Losses


def composites(difference: torch.Tensor, ground: torch.Tensor) -> torch.Tensor:
    """The difference of two pictures over white, black and `ground`.

    difference (N, 4, H, W) of premultiplied pictures; ground (N, 3) in [0, 1]. Returns (N, 9, H, W).
    """
    n, _, h, w = difference.shape
    colour = torch.eye(3, device=difference.device).expand(n, 3, 3)
    grounds = torch.stack([torch.ones_like(ground), torch.zeros_like(ground), ground], 1)  # N, 3, 3
    mix = torch.cat([colour.repeat(1, 3, 1), -grounds.flatten(1)[..., None]], 2)  # N, 9, 4
    return torch.bmm(mix, difference.flatten(2)).view(n, 9, h, w)


def reconstruction(
    made: torch.Tensor, wanted: torch.Tensor, ground: torch.Tensor, weights: Losses
) -> torch.Tensor:
    """How far each picture is: (N,) float32.

    made, wanted (N, 4, H, W) float32 in [-1, 1], premultiplied; ground (N, 3) in [0, 1].
    """
    difference = (made - wanted) / 2
    full = composites(difference, ground)
    total = torch.zeros(len(made), device=made.device)
    if weights.pixels:
        total = total + weights.pixels / weights.scales * full.abs().mean((1, 2, 3))
        smaller = difference
        for _ in range(weights.scales - 1):
            smaller = F.avg_pool2d(smaller, 2)
            total = total + weights.pixels / weights.scales * composites(smaller, ground).abs().mean(
                (1, 2, 3)
            )
    if weights.squares:
        total = total + weights.squares * full.square().mean((1, 2, 3))
    if weights.edges:
        across = (full[..., 1:] - full[..., :-1]).abs().mean((1, 2, 3))
        down = (full[..., 1:, :] - full[..., :-1, :]).abs().mean((1, 2, 3))
        total = total + weights.edges * (across + down) / 2
    if weights.spectrum:
        total = total + weights.spectrum * _spectrum(made, wanted)
    return total


def _spectrum(made: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Mean distance of amplitudes; orthonormal transform, so that it is in units of pixels."""
    sizes = []
    for x in (made, wanted):
        found = torch.view_as_real(torch.fft.rfft2(x / 2, norm="ortho"))
        sizes.append((found.square().sum(-1) + 1e-8).sqrt())
    return (sizes[0] - sizes[1]).abs().mean((1, 2, 3))

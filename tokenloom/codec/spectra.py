"""Spectra of sound: mel bands, and how far a sound is from the one wanted, in several resolutions.

No pretrained network judges here: what is compared is how loud each band is at each moment. Short windows
hold the pulses of a voice to their places, long ones hold its harmonics to theirs.
Sources: mel scale: O'Shaughnessy 1987, "Speech Communication", p. 150; several windows: Kumar et al. 2023,
arXiv:2306.06546, section 3.4, and Defossez et al. 2022, arXiv:2210.13438, section 3.4.
"""

from __future__ import annotations

from functools import lru_cache

import torch

from tokenloom.codec.config import AudioLosses

# Shapes: N sounds, S samples, F frequencies, T moments, M mel bands

FLOOR = 1e-4
"""Magnitude under which nothing is heard: 80 dB below a full-scale tone."""
MOST_BANDS = 80


@lru_cache(maxsize=64)
def mel_bands(rate: int, window: int, bands: int) -> torch.Tensor:
    """Triangles of equal mel width, reaching their neighbours' middles: (F, M) float32, F = window / 2 + 1.

    A band too narrow to hold a frequency takes the one that is nearest. Each sums to 1.
    """
    frequencies = torch.linspace(0, rate / 2, window // 2 + 1, dtype=torch.float64)
    top = 2595 * torch.log10(torch.tensor(1 + rate / 2 / 700, dtype=torch.float64))
    middles = 700 * (10 ** (torch.linspace(0, float(top), bands + 2, dtype=torch.float64) / 2595) - 1)
    up = (frequencies[:, None] - middles[:-2]) / (middles[1:-1] - middles[:-2])
    down = (middles[2:] - frequencies[:, None]) / (middles[2:] - middles[1:-1])
    found = torch.minimum(up, down).clamp(min=0)
    empty = found.sum(0) == 0
    nearest = (frequencies[:, None] - middles[1:-1]).abs().argmin(0)
    found[nearest[empty], empty.nonzero().flatten()] = 1.0
    return (found / found.sum(0)).float()


@lru_cache(maxsize=64)
def hann(window: int) -> torch.Tensor:
    """The periodic Hann window, (window,) float32."""
    return torch.hann_window(window)


def magnitudes(x: torch.Tensor, window: int) -> torch.Tensor:
    """x (N, S) float -> (N, F, T) float32, windows a quarter apart; a full-scale tone is about 1."""
    found = torch.stft(
        x.float(),
        window,
        window // 4,
        window=hann(window).to(x.device),
        center=True,
        pad_mode="constant",
        return_complex=True,
    )
    # The root is smooth where nothing sounds, so that its gradient is a number.
    return (torch.view_as_real(found).square().sum(-1) + 1e-12).sqrt() * (4 / window)


def bands_of(window: int) -> int:
    """How many mel bands a window is compared in."""
    return min(MOST_BANDS, max(4, window // 6))


def log_mel(x: torch.Tensor, rate: int, window: int, bands: int | None = None) -> torch.Tensor:
    """x (N, S) -> (N, M, T), natural logarithms; what is under FLOOR is FLOOR."""
    return _logged(magnitudes(x, window), rate, window, bands)


def _logged(found: torch.Tensor, rate: int, window: int, bands: int | None) -> torch.Tensor:
    weights = mel_bands(rate, window, bands or bands_of(window)).to(found.device)
    return (found.transpose(1, 2) @ weights).transpose(1, 2).clamp(min=FLOOR).log()


def sound_distance(made: torch.Tensor, wanted: torch.Tensor, rate: int, weights: AudioLosses) -> torch.Tensor:
    """How far each sound is: (N,) float32. made, wanted (N, S) in [-1, 1]."""
    total = torch.zeros(len(made), device=made.device)
    for window in weights.windows:
        mine, true = (magnitudes(x, window) for x in (made, wanted))
        if weights.mel:
            logs = [_logged(x, rate, window, None) for x in (mine, true)]
            total = total + weights.mel * (logs[0] - logs[1]).abs().mean((1, 2))
        if weights.magnitude:
            total = total + weights.magnitude * (mine - true).abs().mean((1, 2))
    return total / len(weights.windows)


def mel_distance(made: torch.Tensor, wanted: torch.Tensor, rate: int) -> torch.Tensor:
    """Mean difference of two sounds' loudness over moments and 80 mel bands, in dB: (N,) float32.

    made, wanted (N, S). One window of 1,024 samples; both are held at FLOOR.
    """
    logs = [log_mel(x, rate, 1024, MOST_BANDS) for x in (made, wanted)]
    return (logs[0] - logs[1]).abs().mean((1, 2)) * (20 / 2.302585)

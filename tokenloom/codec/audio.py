"""The codec of sound: a causal convolutional autoencoder around a quantiser, one code for each frame.

The encoder sees the loudness of mel bands, not the samples, so that no layer works faster than the frames.
The decoder answers with a spectrum for each frame, magnitude and phase, which inverse transforms make sound.
Each block sees its frame and those before; the first layer of each half also waits for `ahead` frames. So a
stream, in pieces of PIECE frames on one grid, is computed as the whole is. Not its training (train.audio) and
not its folder (codec.audio_folder).
Sources: decoder: Siuzdak 2023, arXiv:2306.00814, section 3 (Vocos); blocks: Liu et al. 2022, arXiv:2201.03545
(ConvNeXt); streaming by kept inputs: Defossez et al. 2022, arXiv:2210.13438, section 3.1 (EnCodec).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from tokenloom.codec.config import AudioCodecConfig
from tokenloom.codec.quantise import FSQ, Quantised, Quantiser, Residual
from tokenloom.codec.spectra import hann, mel_bands

# Shapes: N sounds, S samples, T frames, C channels, D codes a frame, M mel bands

OVERLAP = 3
"""Hops under a window of the decoder: a frame sounds in its own place and in both neighbours'."""
LOUDEST = 4.6
"""Largest logarithm of a magnitude: 100, as in Vocos."""
SILENCE = 1e-4
MIDDLE, SPREAD = -6.0, 3.0
"""Of the logarithms of a voice's bands: the encoder sees about -1 to 1."""

Past = dict[nn.Module, torch.Tensor]
"""What the layers of a stream keep of what came before: for each convolution its last inputs."""


class CausalConv(nn.Conv1d):
    """A convolution over frames that sees its own and those before; nothing stands before the first."""

    def __init__(self, width: int, out: int, kernel: int, groups: int = 1) -> None:
        super().__init__(width, out, kernel, groups=groups)
        self.keeps = kernel - 1

    def forward(self, x: torch.Tensor, past: Past | None = None) -> torch.Tensor:
        """x (N, C, T) -> (N, C', T). past: of a stream; is read and moved on."""
        before = None if past is None else past.get(self)
        joined = F.pad(x, (self.keeps, 0)) if before is None else torch.cat([before, x], -1)
        if past is not None:
            past[self] = joined[..., joined.shape[-1] - self.keeps :]
        return super().forward(joined)


class Block(nn.Module):
    """x + what each frame makes of itself and of those before (ConvNeXt)."""

    def __init__(self, width: int, kernel: int, expand: int) -> None:
        super().__init__()
        self.near = CausalConv(width, width, kernel, groups=width)
        self.norm = nn.LayerNorm(width)
        self.one = nn.Linear(width, expand * width)
        self.two = nn.Linear(expand * width, width)

    def forward(self, x: torch.Tensor, past: Past | None = None) -> torch.Tensor:
        found = self.norm(self.near(x, past).transpose(1, 2))
        return x + self.two(F.gelu(self.one(found))).transpose(1, 2)


class Stack(nn.Module):
    """A convolution that looks ahead, then blocks."""

    def __init__(self, given: int, width: int, blocks: int, config: AudioCodecConfig) -> None:
        super().__init__()
        self.ahead = config.ahead
        self.embed = CausalConv(given, width, config.kernel)
        self.first = nn.LayerNorm(width)
        self.blocks = nn.ModuleList(Block(width, config.kernel, config.expand) for _ in range(blocks))
        self.norm = nn.LayerNorm(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x (N, C, T) -> (N, width, T); behind the last frame stand zeros."""
        return self._after(self.embed(F.pad(x, (0, self.ahead)))[..., self.ahead :], None)

    def begin(self, x: torch.Tensor) -> Past:
        """The past of a stream whose first `ahead` frames are x (N, C, ahead)."""
        return {self.embed: F.pad(x, (self.embed.keeps - self.ahead, 0))}

    def advance(self, x: torch.Tensor, past: Past) -> torch.Tensor:
        """A stream's next frames: x (N, C, T), of `ahead` frames later than the answer (N, width, T)."""
        return self._after(self.embed(x, past), past)

    def _after(self, x: torch.Tensor, past: Past | None) -> torch.Tensor:
        x = self.first(x.transpose(1, 2)).transpose(1, 2)
        for block in self.blocks:
            x = block(x, past)
        found: torch.Tensor = self.norm(x.transpose(1, 2)).transpose(1, 2)
        return found


class AudioCodec(nn.Module):
    """Encoder, quantiser, decoder."""

    def __init__(self, config: AudioCodecConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Stack(config.slices * config.bands, config.width, config.blocks, config)
        self.quantiser = _quantiser(config)
        self.decoder = Stack(config.width, config.wide, config.deep, config)
        self.n_fft = OVERLAP * config.hop
        self.last = nn.Conv1d(config.wide, self.n_fft + 2, 1)
        self.register_buffer("_bands", mel_bands(config.rate, config.window, config.bands), persistent=False)
        self.register_buffer("_seen", hann(config.window), persistent=False)
        self.register_buffer("_shape", hann(self.n_fft), persistent=False)
        self._bands: torch.Tensor
        self._seen: torch.Tensor
        self._shape: torch.Tensor
        self._start()

    def _start(self) -> None:
        """Blocks begin as the identity, nearly; the first spectra are quiet."""
        for part in self.modules():
            if isinstance(part, nn.Conv1d | nn.Linear) and part.bias is not None:
                nn.init.zeros_(part.bias)
            if isinstance(part, Block):
                nn.init.zeros_(part.two.weight)
        nn.init.normal_(self.last.weight, std=0.01)

    # --- from samples to codes ------------------------------------------------------------------------------

    @property
    def margin(self) -> int:
        """Samples before and after a frame that its spectra see."""
        return (self.config.window - self.config.hop // self.config.slices) // 2

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """x (N, margin + T x hop + margin) in [-1, 1] -> what the encoder sees of T frames: (N, C, T)."""
        config = self.config
        step = config.hop // config.slices
        spectra = torch.fft.rfft(x.float().unfold(1, config.window, step) * self._seen)
        power = torch.view_as_real(spectra).square().sum(-1) * (4 / config.window) ** 2
        logs = (power.sqrt() @ self._bands).clamp(min=SILENCE).log()
        logs = (logs - MIDDLE) / SPREAD
        n, frames = len(x), logs.shape[1] // config.slices
        return logs.reshape(n, frames, config.slices * config.bands).transpose(1, 2)

    def encode_samples(self, x: torch.Tensor) -> Quantised:
        """x (N, T x hop) float in [-1, 1] -> codes (N, T), (N, T, D) if residual, and z_q (N, C, T)."""
        with torch.autocast(x.device.type, enabled=False):
            seen = self.features(F.pad(x.float(), (self.margin, self.margin)))
        return self.quantise(self.encoder(seen))

    def quantise(self, z: torch.Tensor) -> Quantised:
        """z (N, C, T) -> as `encode_samples`."""
        found: Quantised = self.quantiser(z[:, :, None])
        return Quantised(found.z_q[:, :, 0], found.codes[:, 0], found.loss)

    # --- from codes to samples ------------------------------------------------------------------------------

    def vectors(self, codes: torch.Tensor) -> torch.Tensor:
        """codes (N, T) int64, (N, T, D) if residual -> z_q (N, C, T)."""
        return self.quantiser.decode(codes[:, None])[:, :, 0]

    def spectra(self, x: torch.Tensor) -> torch.Tensor:
        """What the decoder's stack says, (N, C, T), as windowed pieces of sound (N, T, n_fft) float32."""
        size, angle = self.last(x).transpose(1, 2).float().chunk(2, -1)
        with torch.autocast(x.device.type, enabled=False):
            size = size.clamp(max=LOUDEST).exp()
            whole = torch.complex(size * angle.cos(), size * angle.sin())
            return torch.fft.irfft(whole, self.n_fft) * self._shape

    def sound(self, pieces: torch.Tensor) -> torch.Tensor:
        """Pieces (N, T, n_fft), laid over one another -> (N, T x hop), float32.

        Divided by the squares of the windows that lie there: at both ends one fewer.
        """
        n, frames, hop = pieces.shape[0], pieces.shape[1], self.config.hop
        parts = pieces.view(n, frames, OVERLAP, hop)
        total = parts[:, :, 1]
        total = total + F.pad(parts[:, 1:, 0], (0, 0, 0, 1)) + F.pad(parts[:, :-1, 2], (0, 0, 1, 0))
        return (total / self.weights(frames)).flatten(1)

    def weights(self, frames: int) -> torch.Tensor:
        """What the laid-over windows sum to, (frames, hop)."""
        before, own, after = self._shape.square().view(OVERLAP, -1).flip(0)
        found = (before + own + after).repeat(frames, 1)
        found[0] -= before
        found[-1] -= after
        return found

    def decode_features(self, z_q: torch.Tensor) -> torch.Tensor:
        """z_q (N, C, T) -> (N, T x hop) float32."""
        return self.sound(self.spectra(self.decoder(z_q)))

    def decode_codes(self, codes: torch.Tensor) -> torch.Tensor:
        """codes as `vectors` -> (N, T x hop) float32."""
        return self.decode_features(self.vectors(codes))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, Quantised]:
        """x as in `encode_samples` -> (what is decoded, what was said)."""
        found = self.encode_samples(x)
        return self.decode_features(found.z_q), found


def _quantiser(config: AudioCodecConfig) -> Quantiser:
    if config.depth == 1:
        return FSQ(config.width, config.levels)
    return Residual([FSQ(config.width, config.levels) for _ in range(config.depth)])

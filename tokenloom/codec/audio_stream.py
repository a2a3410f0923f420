"""A stream of sound made codes, and a stream of codes made sound, as they come.

Everything is computed in pieces of PIECE frames that begin at the multiples of PIECE, however the stream
comes, and the whole of a recording is a stream that comes at once: so streaming is the whole, bit for bit.
What a stream waits for is told by `AudioCodecConfig.delay` and the rest of a piece. Not the network
(codec.audio).
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from tokenloom.codec.audio import AudioCodec, Past, Stack

PIECE = 16
"""Frames computed at a time: 0.32 s of sound."""
Samples = NDArray[np.float32]


class _Running:
    """A stack fed with frames as they come, answering pieces of its grid. The first holds what is to come."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._past: Past | None = None
        self._waiting: torch.Tensor | None = None
        self._given = self._told = 0

    def push(self, x: torch.Tensor) -> list[torch.Tensor]:
        """x (1, C, n), any n -> pieces (1, width, PIECE)."""
        self._given += x.shape[-1]
        return self._pieces(x)

    def finish(self) -> list[torch.Tensor]:
        """What is left, up to the last frame that was given; the last piece may be shorter."""
        left = self._given - self._told
        if not left or self._waiting is None:
            return []
        begin = self._stack.ahead if self._past is None else 0
        lacking = begin + -(-left // PIECE) * PIECE - self._waiting.shape[-1]
        found = self._pieces(self._waiting.new_zeros(1, self._waiting.shape[1], lacking))
        over = self._told - self._given
        return [*found[:-1], found[-1][..., : PIECE - over]]

    def _pieces(self, x: torch.Tensor) -> list[torch.Tensor]:
        waiting = x if self._waiting is None else torch.cat([self._waiting, x], -1)
        ahead = self._stack.ahead
        if self._past is None and waiting.shape[-1] >= ahead:
            self._past, waiting = self._stack.begin(waiting[..., :ahead]), waiting[..., ahead:]
        found = []
        while self._past is not None and waiting.shape[-1] >= PIECE:
            found.append(self._stack.advance(waiting[..., :PIECE], self._past))
            waiting = waiting[..., PIECE:]
            self._told += PIECE
        self._waiting = waiting
        return found


class Encoding:
    """Samples pushed in, codes out: int64 (n,), those of a frame side by side."""

    def __init__(self, model: AudioCodec) -> None:
        self._model, self._running = model, _Running(model.encoder)
        self._samples = torch.zeros(1, model.margin)
        self._given = 0
        """Samples so far."""
        self._framed = 0
        """Frames whose features are computed."""

    def push(self, samples: Samples) -> NDArray[np.int64]:
        """samples (n,) float32, any n -> the codes that are known now."""
        self._given += len(samples)
        self._samples = torch.cat([self._samples, torch.from_numpy(np.ascontiguousarray(samples))[None]], 1)
        return self._said([p for seen in self._features() for p in self._running.push(seen)])

    def finish(self) -> NDArray[np.int64]:
        """The codes that are left; a frame that was begun is filled with silence."""
        hop = self._model.config.hop
        frames = -(-self._given // hop) - self._framed
        if frames <= 0:
            return self._said(self._running.finish())
        whole = -(-frames // PIECE) * PIECE
        lacking = whole * hop + 2 * self._model.margin - self._samples.shape[1]
        self._samples = torch.cat([self._samples, self._samples.new_zeros(1, lacking)], 1)
        seen = torch.cat(self._features(), -1)[..., :frames]
        return self._said([*self._running.push(seen), *self._running.finish()])

    def _features(self) -> list[torch.Tensor]:
        """Of the pieces whose samples are all here, (1, C, PIECE) each."""
        size, found = PIECE * self._model.config.hop, []
        with torch.inference_mode():
            while self._samples.shape[1] >= size + 2 * self._model.margin:
                piece = self._samples[:, : size + 2 * self._model.margin]
                found.append(self._model.features(piece))
                self._samples = self._samples[:, size:]
                self._framed += PIECE
        return found

    def _said(self, pieces: list[torch.Tensor]) -> NDArray[np.int64]:
        with torch.inference_mode():
            codes = [self._model.quantise(z).codes[0].flatten().numpy() for z in pieces]
        return np.concatenate(codes) if codes else np.zeros(0, np.int64)


class Decoding:
    """Codes pushed in, samples out: float32 (n,) in [-1, 1]."""

    def __init__(self, model: AudioCodec) -> None:
        self._model, self._running = model, _Running(model.decoder)
        self._codes = np.zeros(0, np.int64)
        self._open: torch.Tensor | None = None
        """(2, hop): what is known of the last frame's place, and what the last frame says of the next."""
        self._first = True

    def push(self, codes: NDArray[np.int64]) -> Samples:
        """codes (n,), any n, those of a frame side by side -> the samples that are known now."""
        depth = self._model.config.depth
        codes = np.concatenate([self._codes, codes])
        whole = len(codes) // depth * depth
        self._codes = codes[whole:]
        if not whole:
            return np.zeros(0, np.float32)
        with torch.inference_mode():
            shape = (1, -1) if depth == 1 else (1, whole // depth, depth)
            vectors = self._model.vectors(torch.from_numpy(codes[:whole]).long().view(shape))
            return self._sounded(self._running.push(vectors))

    def finish(self) -> Samples:
        """The samples that are left. ValueError where the last frame lacks codes."""
        if len(self._codes):
            raise ValueError(
                f"codes: the last frame has {len(self._codes)}; allowed: {self._model.config.depth} for each"
            )
        with torch.inference_mode():
            found = self._sounded(self._running.finish())
            if self._open is None:
                return found
            weights = self._model.weights(2)[1]  # a last place: no frame comes behind
            if self._first:
                weights = self._model.weights(1)[0]
            last, self._open = self._open[0] / weights, None
            return np.concatenate([found, _clipped(last)])

    def _sounded(self, pieces: list[torch.Tensor]) -> Samples:
        return np.concatenate([np.zeros(0, np.float32), *(self._laid(piece) for piece in pieces)])

    def _laid(self, x: torch.Tensor) -> Samples:
        """A piece's frames, laid over what came before: all places but the last are done."""
        model, hop = self._model, self._model.config.hop
        parts = model.spectra(x).view(-1, 3, hop)
        inner = model.weights(3)[1]
        done = []
        if self._open is not None:
            weights = model.weights(2)[0] if self._first else inner
            done.append((self._open[0] + parts[0, 0]) / weights)
            self._first = False
        own = parts[:, 1].clone()
        own[1:] += parts[:-1, 2]
        if self._open is not None:
            own[0] += self._open[1]
        places = own[:-1] + parts[1:, 0]
        if len(places):
            each = inner.expand(len(places), hop).clone()
            if self._first:
                each[0] = model.weights(2)[0]
                self._first = False
            done.append((places / each).flatten())
        self._open = torch.stack([own[-1], parts[-1, 2]])
        return np.concatenate([np.zeros(0, np.float32), *(_clipped(one) for one in done)])


def _clipped(samples: torch.Tensor) -> Samples:
    found: Samples = samples.flatten().clamp(-1, 1).numpy()
    return found

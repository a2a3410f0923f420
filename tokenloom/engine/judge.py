"""Words and pictures compared: a dual encoder with its tokenizer, for ranking candidates and for judging.

Not the network (codec.judge) and not its training (train.match). It stands here, and not in codec, because it
takes words, and codec knows no tokenizer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

    from tokenloom.codec.judge import DualEncoder
    from tokenloom.tokens.text import Tokenizer

ROWS = 128
"""Captions or pictures of one pass."""


class Judge:
    """A dual encoder that takes words and pixels. A row does not depend on its company but in float order."""

    def __init__(self, network: DualEncoder, tokenizer: Tokenizer) -> None:
        self.network, self.tokenizer = network.eval(), tokenizer
        self.size: int = network.config.size
        """Width and height of its pictures."""
        self.width: int = network.config.out
        """Numbers of a vector."""

    def texts(self, texts: Sequence[str]) -> np.ndarray:
        """Captions -> (N, width) float32 unit rows. Raises ValueError for an empty caption and for one that
        is not Unicode."""
        import torch

        out = np.zeros((len(texts), self.width), np.float32)
        device = self.network.log_scale.device
        with torch.inference_mode():
            for part in _parts(len(texts)):
                ids, lengths = pack(self.tokenizer, texts[part], self.network.config.context)
                found = self.network.embed_text(ids.to(device), lengths.to(device))
                out[part] = found.cpu().numpy()
        return out

    def pictures(self, pictures: np.ndarray) -> np.ndarray:
        """(N, size, size, 4) uint8 RGBA -> (N, width) float32 unit rows. Raises ValueError for another
        shape."""
        import torch

        from tokenloom.codec.pixels import checked, to_tensor

        checked(pictures, self.size)
        out = np.zeros((len(pictures), self.width), np.float32)
        device = self.network.log_scale.device
        with torch.inference_mode():
            for part in _parts(len(pictures)):
                out[part] = self.network.embed_images(to_tensor(pictures[part]).to(device)).cpu().numpy()
        return out

    def scores(self, told: Sequence[str | np.ndarray], pictures: np.ndarray) -> np.ndarray:
        """(n_told, n_pictures) float32 in [-1, 1]: the higher, the better they fit. What is told are captions
        or pictures (size, size, 4)."""
        words = [at for at, one in enumerate(told) if isinstance(one, str)]
        shown = [at for at, one in enumerate(told) if not isinstance(one, str)]
        vectors = np.zeros((len(told), self.width), np.float32)
        vectors[words] = self.texts([str(told[at]) for at in words])
        if shown:
            vectors[shown] = self.pictures(np.stack([np.asarray(told[at]) for at in shown]))
        return np.asarray(vectors @ self.pictures(pictures).T)


def open_judge(folder: str | Path, device: str = "cpu") -> Judge:
    """The judge of a folder with its own tokenizer.json. Raises as codec.judge_folder.open_network and
    tokens.text.load_tokenizer do."""
    from tokenloom.codec.judge_folder import open_network
    from tokenloom.tokens.text import load_tokenizer

    return Judge(open_network(folder, device), load_tokenizer(Path(folder)))


def pack(tokenizer: Tokenizer, texts: Sequence[str], context: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Captions -> ids (N, T) int64 with T <= context, filled up with 0, and lengths (N,) int64."""
    import torch

    rows = [tokenizer.encode(text)[:context] for text in texts]
    for row, text in zip(rows, texts, strict=True):
        if not row:
            raise ValueError(f"caption: found {text!r}; allowed: at least one word")
    lengths = [len(row) for row in rows]
    longest = max(lengths, default=1)
    filled = [row + [0] * (longest - len(row)) for row in rows]
    return torch.tensor(filled, dtype=torch.int64).view(len(rows), longest), torch.tensor(
        lengths, dtype=torch.int64
    )


def _parts(n: int) -> Iterator[slice]:
    for start in range(0, n, ROWS):
        yield slice(start, min(n, start + ROWS))

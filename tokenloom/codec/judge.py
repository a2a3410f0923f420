"""Captions and pictures in one space: two small encoders, whose unit vectors' products say what belongs
together.

Not a codec (codec.image) and not a tokenizer: captions come as ids. The idea is CLIP's (Radford et al. 2021,
arXiv:2103.00020, section 2.3); the text tower reads in both directions as in BERT (Devlin et al. 2019,
arXiv:1810.04805, section 3), normed before each part (Xiong et al. 2020, arXiv:2002.04745); the picture tower
is a residual network (He et al. 2016, arXiv:1603.05027) whose last grid of features is kept whole, since
where a thing stands is part of what a caption says. What is the same everywhere, as a style is, is told by
the means of each stage's features over all places, which have a path of their own.
"""

# Shapes: N rows, T ids of a caption, C channels, D width of the common space

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

MOST_SCALE = 100.0
"""Products are multiplied by at most this (the paper's section 2.5)."""


@dataclass(frozen=True)
class JudgeConfig:
    """The sizes of a dual encoder. Raises ValueError naming the field."""

    vocab_size: int
    """Text ids it may be given; higher ids are refused."""
    size: int = 64
    """Width and height of its pictures in pixels."""
    context: int = 48
    """Ids of a caption that are read; the rest is left out."""
    out: int = 128
    """Width of the common space."""
    text_layers: int = 2
    text_dim: int = 160
    text_heads: int = 4
    widths: tuple[int, ...] = (64, 128, 160)
    """Channels of the stages; the first works on a quarter of the picture's side, each next on half of
    that."""
    blocks: tuple[int, ...] = (2, 2, 1)
    """Residual blocks of the stages."""
    hidden: int = 192
    """Width between the last grid and the common space."""
    texture: int = 64
    """Width between the stages' means and the common space; 0 = the last grid alone."""

    def __post_init__(self) -> None:
        for name in (
            "vocab_size",
            "size",
            "context",
            "out",
            "text_layers",
            "text_dim",
            "text_heads",
            "hidden",
        ):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: found {getattr(self, name)}; allowed: 1 or more")
        if self.texture < 0:
            raise ValueError(f"texture: found {self.texture}; allowed: 0 or more")
        if self.text_dim % self.text_heads:
            raise ValueError(f"text_heads: found {self.text_heads}; allowed: divisors of {self.text_dim}")
        if len(self.widths) != len(self.blocks) or not self.widths or min(self.widths + self.blocks) < 1:
            raise ValueError(f"widths, blocks: found {self.widths}, {self.blocks}; allowed: one each a stage")
        if any(width % 8 for width in self.widths):
            raise ValueError(f"widths: found {self.widths}; allowed: multiples of 8")
        if self.size % (4 << (len(self.widths) - 1)):
            raise ValueError(
                f"size: found {self.size}; allowed: multiples of {4 << (len(self.widths) - 1)}, "
                f"which {len(self.widths)} stages halve down to"
            )

    @property
    def grid(self) -> int:
        """Side of the last grid of features."""
        return self.size // (4 << (len(self.widths) - 1))


class DualEncoder(nn.Module):
    """A caption's tower, a picture's tower and the temperature between them."""

    def __init__(self, config: JudgeConfig) -> None:
        super().__init__()
        self.config = config
        self.text = TextTower(config)
        self.image = ImageTower(config)
        # 1 / 0.07, as in the paper's section 2.5.
        self.log_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

    def embed_text(self, ids: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """ids (N, T) int64, of which the first lengths (N,) of a row are the caption -> (N, D) unit rows.

        What stands after a row's length has no effect. Raises ValueError for ids outside the vocabulary and
        for a caption of no ids.
        """
        if ids.dim() != 2 or lengths.shape != ids.shape[:1]:
            raise ValueError(
                f"ids: found shapes {tuple(ids.shape)} and {tuple(lengths.shape)}; allowed: (N, T) and (N,)"
            )
        if len(lengths) and not 1 <= int(lengths.min()) <= int(lengths.max()) <= ids.shape[1]:
            raise ValueError(f"lengths: found {lengths.tolist()[:8]}; allowed: 1 to {ids.shape[1]}")
        return unit(self.text(ids[:, : self.config.context], lengths.clamp(max=self.config.context)))

    def embed_images(self, x: torch.Tensor) -> torch.Tensor:
        """x (N, 4, size, size) float in [-1, 1], colours multiplied by alpha -> (N, D) unit rows, float32."""
        wanted = (4, self.config.size, self.config.size)
        if x.dim() != 4 or tuple(x.shape[1:]) != wanted:
            raise ValueError(f"pictures: found the shape {tuple(x.shape)}; allowed: (N, {wanted})")
        return unit(self.image(x))

    @property
    def scale(self) -> torch.Tensor:
        """What products of unit rows are multiplied by before the softmax."""
        return self.log_scale.clamp(max=math.log(MOST_SCALE)).exp()

    @property
    def n_params(self) -> int:
        return sum(p.numel() for p in self.parameters())


def unit(x: torch.Tensor) -> torch.Tensor:
    """Rows of length 1, float32."""
    return F.normalize(x.float(), dim=-1)


class TextTower(nn.Module):
    """Ids -> one vector: the mean of what a small Transformer makes of them."""

    def __init__(self, config: JudgeConfig) -> None:
        super().__init__()
        self.embed = nn.Embedding(config.vocab_size, config.text_dim)
        self.position = nn.Parameter(torch.zeros(config.context, config.text_dim))
        self.layers = nn.ModuleList(
            TextLayer(config.text_dim, config.text_heads) for _ in range(config.text_layers)
        )
        self.norm = nn.LayerNorm(config.text_dim)
        self.out = nn.Linear(config.text_dim, config.out, bias=False)
        nn.init.normal_(self.embed.weight, std=0.02)
        nn.init.normal_(self.position, std=0.01)

    def forward(self, ids: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        places = torch.arange(ids.shape[1], device=ids.device)
        read = places < lengths[:, None]  # (N, T)
        ids = ids.masked_fill(~read, 0)
        size = self.embed.num_embeddings
        if ids.numel() and not 0 <= int(ids.min()) <= int(ids.max()) < size:
            raise ValueError(f"ids: found {int(ids.min())} to {int(ids.max())}; allowed: 0 to {size - 1}")
        x = self.embed(ids) + self.position[: ids.shape[1]]
        for layer in self.layers:
            x = layer(x, read)
        x = self.norm(x) * read[..., None]
        return self.out(x.sum(1) / lengths[:, None])


class TextLayer(nn.Module):
    """Attention in both directions and an MLP of four times the width."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        self.up, self.down = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)

    def forward(self, x: torch.Tensor, read: torch.Tensor) -> torch.Tensor:
        n, t, dim = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(n, t, 3, self.heads, dim // self.heads).permute(2, 0, 3, 1, 4)
        seen = F.scaled_dot_product_attention(q, k, v, attn_mask=read[:, None, None, :])
        x = x + self.proj(seen.transpose(1, 2).reshape(n, t, dim))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class ImageTower(nn.Module):
    """Pixels -> one vector."""

    def __init__(self, config: JudgeConfig) -> None:
        super().__init__()
        before = config.widths[0]
        parts: list[nn.Module] = []
        self.stem = nn.Conv2d(4, before, 6, stride=4, padding=1)
        for width, blocks in zip(config.widths, config.blocks, strict=True):
            if parts:
                parts += [norm(before), nn.SiLU(), nn.Conv2d(before, width, 3, stride=2, padding=1)]
            parts += [Block(width) for _ in range(blocks)]
            before = width
        self.stages = nn.Sequential(*parts, norm(before), nn.SiLU())
        self.hidden = nn.Linear(before * config.grid**2, config.hidden)
        self.out = nn.Linear(config.hidden, config.out, bias=False)
        if config.texture:
            self.texture = nn.Linear(sum(config.widths), config.texture)
            self.texture_out = nn.Linear(config.texture, config.out, bias=False)
            nn.init.zeros_(self.texture_out.weight)  # starts as if there were none

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x.contiguous(memory_format=torch.channels_last))
        means = []  # (N, C) of each stage
        for part in self.stages:
            x = part(x)
            if isinstance(part, nn.SiLU):  # what a stage hands on
                means.append(x.mean((2, 3)))
        told = self.out(F.silu(self.hidden(x.flatten(1))))
        if not hasattr(self, "texture"):
            return told
        return told + self.texture_out(F.silu(self.texture(torch.cat(means, 1))))


class Block(nn.Module):
    """x + conv(conv(x)), normed and bent before each."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = norm(width), norm(width)
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        for weight in self.conv2.parameters():  # starts as what it is given
            nn.init.zeros_(weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.conv1(F.silu(self.norm1(x)))
        return x + self.conv2(F.silu(self.norm2(y)))


def norm(width: int) -> nn.Module:
    """Per picture, so that a row alone is the row in a crowd."""
    return nn.GroupNorm(8, width)

"""A whole picture model with random weights: a GPT, its codec, its judge. Not fixtures: plain functions.

It draws noise, but everything about it is a picture model's. 32 x 32 pixels, 4 x 4 places.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokenloom.tokens.text import Tokenizer

SIZE, PLACES, CODES = 32, 16, 60
CAPTIONS = ("a red fox", "一只红色的狐狸", "two blue fish on a green ground")


def tiny_painter(
    folder: Path, *, judge: bool = True, depth: int = 1, context: int = 256, seed: int = 0
) -> Path:
    """Writes the model's folder and returns it; its parts stay beside it, in NAME-parts. depth: codes of a
    place."""
    import torch

    from tokenloom.codec.folder import open_codec, save_codec
    from tokenloom.codec.image import ImageCodec, ImageCodecConfig
    from tokenloom.model.features import ModelConfig
    from tokenloom.model.save import save_model
    from tokenloom.model.transformer import Transformer
    from tokenloom.tokens.folder import tokenizer_files
    from tokenloom.tokens.image import add_pictures
    from tokenloom.tokens.joined import join_pictures

    torch.manual_seed(seed)
    made = folder.with_name(f"{folder.name}-parts")
    text = bytes_tokenizer()
    codec = ImageCodec(
        ImageCodecConfig(
            size=SIZE,
            down=8,
            patch=4,
            widths=(8, 16),
            encoder=(1, 1),
            decoder=(1, 1),
            levels=(5, 4, 3),
            depth=depth,
        )
    )
    save_codec(codec, made / "codec")
    tokenizer, vocabulary = add_pictures(text, CODES, open_codec(made / "codec").sha256)
    config = ModelConfig(
        n_layer=2, n_head=4, n_kv_head=2, dim=64, head_dim=16, ffn_dim=128, vocab_size=vocabulary.size,
        context=context, qk_norm=True, norm_eps=1e-6, tied=True, family="qwen3",
        eos_ids=(tokenizer.special["<|end|>"],),
    )  # fmt: skip
    network = Transformer(config)
    with torch.no_grad():
        for weights in network.parameters():
            if weights.ndim > 1:
                weights.normal_(0, 0.08)
            else:
                weights.fill_(1.0)
    save_model(network, made / "model", files=tokenizer_files(tokenizer), ranges=vocabulary.to_json())
    if judge:
        _judge(made / "judge", tokenizer)
    return join_pictures(
        made / "model",
        made / "codec",
        folder,
        judge=made / "judge" if judge else None,
        sampling={"guidance_scale": 2.0},
    )


def bytes_tokenizer() -> Tokenizer:
    """Byte-level, without merges: 256 bytes and one control token."""
    import tokenizers
    from tokenizers import AddedToken, decoders, models, pre_tokenizers

    from tokenloom.tokens.text import Tokenizer

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = tokenizers.Tokenizer(models.BPE({c: i for i, c in enumerate(alphabet)}, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens([AddedToken("<|pad|>", special=True)])
    return Tokenizer(backend, named={"pad_token": 256})


def _judge(folder: Path, tokenizer: Tokenizer) -> None:
    from tokenloom.codec.judge import DualEncoder, JudgeConfig
    from tokenloom.codec.judge_folder import save_judge
    from tokenloom.tokens.folder import tokenizer_files

    config = JudgeConfig(
        vocab_size=tokenizer.vocab_size, size=SIZE, out=16, text_layers=1, text_dim=16, text_heads=2,
        widths=(8, 16), blocks=(1, 1), hidden=16,
    )  # fmt: skip
    save_judge(DualEncoder(config), folder, files=tokenizer_files(tokenizer))

"""Speech of tones, a codec and a model that speaks at toy size. Not fixtures: plain functions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tokenloom.config import fill
from tokenloom.data.speech import write_speech
from tokenloom.sound.timed import Timed
from tokenloom.train.recipe import Recipe

CODEC: dict[str, Any] = {
    "width": 16,
    "wide": 24,
    "blocks": 1,
    "deep": 2,
    "bands": 16,
    "expand": 2,
    "kernel": 3,
    "ahead": 1,
    "levels": (4, 4, 4),
}


class Tones:
    """A voice that sounds each letter as a tone of 60 ms."""

    name = "tones"
    rate = 24_000

    def phonemes(self, text: str) -> str:
        return " ".join(text.lower().split())

    def say(self, phonemes: str, speed: float = 1.0, seed: int = 0) -> Timed:
        each = np.arange(1440) / self.rate
        parts = [0.3 * np.sin(2 * np.pi * (150 + 40 * (ord(c) % 32)) * each) * (c != " ") for c in phonemes]
        ends = [1440 * at for at, c in enumerate(phonemes) if c == " "]
        noise = np.random.default_rng(seed).standard_normal(1440 * len(phonemes)) * 1e-3
        samples = (np.concatenate(parts) + noise).astype(np.float32)
        return Timed(samples, phonemes, (*ends, len(samples)))


def tiny_speech(folder: Path, n: int = 60) -> Path:
    """Writes a folder of speech and returns it."""
    write_speech(folder, n, 1, Tones())
    return folder


def tiny_audio_codec(folder: Path, **changes: Any) -> Path:
    """Writes a codec with random weights and returns its folder."""
    import torch

    from tokenloom.codec.audio import AudioCodec
    from tokenloom.codec.audio_folder import save_audio_codec
    from tokenloom.codec.config import AudioCodecConfig

    torch.manual_seed(0)
    codec = AudioCodec(AudioCodecConfig(**{**CODEC, **changes}))
    with torch.no_grad():
        for weights in codec.parameters():
            if weights.dim() > 1:
                weights.normal_(0, 0.15)
    return save_audio_codec(codec, folder)


def tiny_speaker(folder: Path, *, context: int = 256, depth: int = 1) -> Path:
    """Writes a model that speaks, with random weights and a codec, and returns its folder."""
    import torch

    from tokenloom.codec.audio_folder import open_audio_codec
    from tokenloom.hub.card import SPEECH as INNER
    from tokenloom.model.features import ModelConfig
    from tokenloom.model.save import save_model
    from tokenloom.model.transformer import Transformer
    from tokenloom.tokens.folder import tokenizer_files
    from tokenloom.tokens.speech import add_speech
    from tokenloom.tokens.train import Plan, train_tokenizer

    codec = open_audio_codec(tiny_audio_codec(folder.with_name(folder.name + "-codec"), depth=depth))
    trained = train_tokenizer(["həlˈO"], Plan(vocab_size=300, characters=True, chat=False, min_count=1))
    tokenizer, vocabulary = add_speech(trained.tokenizer, codec.n_codes, codec.sha256, trained.vocabulary)
    config = ModelConfig(
        n_layer=1, n_head=2, n_kv_head=1, dim=32, head_dim=16, ffn_dim=64, vocab_size=vocabulary.size,
        context=context, qk_norm=True, norm_eps=1e-6, tied=True, family="qwen3",
        eos_ids=tuple(tokenizer.eos_ids),
    )  # fmt: skip
    torch.manual_seed(0)
    network = Transformer(config)
    with torch.no_grad():
        for weights in network.parameters():
            if weights.ndim > 1:
                weights.normal_(0, 0.08)
            else:
                weights.fill_(1.0)
    save_model(network, folder, files=tokenizer_files(tokenizer), ranges=vocabulary.to_json())
    (folder.with_name(folder.name + "-codec")).rename(folder / INNER)
    return folder


def tiny_audio_recipe(folder: Path, **changes: object) -> Recipe:
    """A codec of sound on `folder`/speech, which is made. Changes: "run.steps"=3."""
    if not (folder / "speech").exists():
        tiny_speech(folder / "speech")
    table: dict[str, Any] = {
        "name": "tiny-audio",
        "objective": "audio-codec",
        "seed": 3,
        "speech": {"folder": str(folder / "speech"), "crop_s": 0.4, "held_out": 2},
        "audio_codec": {**CODEC, "levels": list(CODEC["levels"])},
        "audio_losses": {"windows": [128, 512]},
        "adversary": {"width": 4, "layers": 2, "begins": 0.34, "windows": [256], "periods": [5]},
        "optim": {"lr": 0.003, "warmup": 2, "kind": "adamw"},
        "run": {"steps": 6, "rows": 4, "dtype": "float32", "threads": 1, "root": str(folder / "runs")},
    }
    for key, value in changes.items():
        section, _, name = key.partition(".")
        if name:
            table.setdefault(section, {})[name] = value
        else:
            table[section] = value
    return fill(Recipe, table)

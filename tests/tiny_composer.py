"""A whole composer with random weights. Not fixtures: plain functions. Its noise is well-formed."""

from __future__ import annotations

from pathlib import Path

ABC = """X:1
T:Of the test
R:reel
M:4/4
L:1/8
Q:1/4=180
K:Ador
|:cAAB cded|cAAB cdec|BGGF GABc|dBgB d4:|
"""


def tiny_composer(folder: Path, *, context: int = 512, seed: int = 0) -> Path:
    """Writes the model's folder and returns it."""
    import torch

    from tokenloom.model.features import ModelConfig
    from tokenloom.model.save import save_model
    from tokenloom.model.transformer import Transformer
    from tokenloom.tokens.folder import tokenizer_files
    from tokenloom.tokens.music import add_music
    from tokenloom.tokens.train import Plan, train_tokenizer

    torch.manual_seed(seed)
    trained = train_tokenizer(["music"], Plan(vocab_size=258, characters=True, chat=False))
    tokenizer, vocabulary = add_music(trained.tokenizer, trained.vocabulary)
    config = ModelConfig(
        n_layer=1, n_head=2, n_kv_head=1, dim=32, head_dim=16, ffn_dim=64, vocab_size=vocabulary.size,
        context=context, qk_norm=True, norm_eps=1e-6, tied=True, family="qwen3",
        eos_ids=tuple(tokenizer.eos_ids),
    )  # fmt: skip
    network = Transformer(config)
    with torch.no_grad():
        for weights in network.parameters():
            if weights.ndim > 1:
                weights.normal_(0, 0.08)
            else:
                weights.fill_(1.0)
    save_model(network, folder, files=tokenizer_files(tokenizer), ranges=vocabulary.to_json())
    return folder

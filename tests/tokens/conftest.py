"""Small tokenizers trained on the spot, so that nothing is fetched."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import sentencepiece
import tokenizers
from small_tokenizers import CHATML, MARKERS, SPECIAL, gguf_of_spm, training_text, write_folder
from tokenizers import AddedToken, decoders, models, pre_tokenizers, trainers


@pytest.fixture(scope="session")
def bytes_backend() -> tokenizers.Tokenizer:
    """Byte-level BPE with ChatML's tokens."""
    backend = tokenizers.Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=1200, initial_alphabet=alphabet, special_tokens=SPECIAL, show_progress=False
    )
    backend.train_from_iterator(training_text(), trainer)
    backend.add_tokens([AddedToken(marker, normalized=False) for marker in MARKERS])
    return backend


@pytest.fixture(scope="session")
def chatml_folder(bytes_backend: tokenizers.Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_folder(
        tmp_path_factory.mktemp("hub") / "chatml",
        bytes_backend,
        bos_token="<|endoftext|>",
        eos_token={"__type": "AddedToken", "content": "<|im_end|>", "lstrip": False},
        pad_token="<|endoftext|>",
        unk_token=None,
    )
    (folder / "chat_template.jinja").write_text(CHATML)
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [2, 0]}))
    return folder


@pytest.fixture(scope="session")
def spm(tmp_path_factory: pytest.TempPathFactory) -> sentencepiece.SentencePieceProcessor:
    """SentencePiece BPE with byte fallback, as Llama 2's."""
    place = tmp_path_factory.mktemp("spm")
    (place / "text.txt").write_text("\n".join(line.strip("\n") for line in training_text()))
    sentencepiece.SentencePieceTrainer.train(
        input=str(place / "text.txt"),
        model_prefix=str(place / "spm"),
        model_type="bpe",
        vocab_size=900,
        byte_fallback=True,
        character_coverage=0.98,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        split_digits=True,
        allow_whitespace_only_pieces=True,
        minloglevel=2,
    )
    return sentencepiece.SentencePieceProcessor(model_file=str(place / "spm.model"))


@pytest.fixture(scope="session")
def spm_gguf(spm: sentencepiece.SentencePieceProcessor, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return gguf_of_spm(tmp_path_factory.mktemp("gguf") / "spm.gguf", spm)


@pytest.fixture(scope="session")
def smollm2_theirs(smollm2: Path):
    """transformers' reading of the embedded model's tokenizer."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(smollm2.parent, gguf_file=smollm2.name)

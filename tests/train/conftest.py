"""Small tokenizers and models for training's tests, made on the spot."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import tokenizers
import torch
from tokenizers import AddedToken, decoders, models, pre_tokenizers, trainers

SPECIAL = [
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|begin_of_text|>", "<|start_header_id|>",
    "<|end_header_id|>", "<|eot_id|>", "<|python_tag|>", "<s>", "</s>", "[INST]", "[/INST]", "[TOOL_CALLS]",
    "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]", "[TOOL_RESULTS]", "[/TOOL_RESULTS]", "<start_of_turn>",
    "<end_of_turn>",
]  # fmt: skip
MARKERS = ["<think>", "</think>", "<tool_call>", "</tool_call>"]
ENDS = {"llama3": "<|eot_id|>", "mistral": "</s>", "gemma": "<end_of_turn>"}
CORPUS = [
    "Hello there. How are you? What is the weather in Paris? It is sunny, and calm.",
    "user assistant system model ipython tool You are a helpful assistant. Today Date: 26 Jul 2024\n\n",
    '{"name": "weather", "arguments": {"place": "Paris"}} <tool_response>\n</tool_response>\n\n',
    "你好，世界。今天天气很好。春江潮水连海平，海上明月共潮生。",
] * 5  # fmt: skip


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """Tests run beside each other: more threads only wait for one another."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def chat_backend() -> tokenizers.Tokenizer:
    """Byte-level BPE with the families' control tokens."""
    backend = tokenizers.Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=700, initial_alphabet=alphabet, special_tokens=SPECIAL, show_progress=False
    )
    backend.train_from_iterator(CORPUS, trainer)
    backend.add_tokens([AddedToken(marker, normalized=False) for marker in MARKERS])
    return backend


@pytest.fixture(scope="session")
def chat_folder(
    chat_backend: tokenizers.Tokenizer, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str, str], Path]:
    """(family, template) -> a folder of tokenizer files, made once."""
    made: dict[tuple[str, str], Path] = {}

    def make(family: str, template: str) -> Path:
        key = family, template
        if key not in made:
            folder = tmp_path_factory.mktemp(family)
            chat_backend.save(str(folder / "tokenizer.json"))
            config = {
                "tokenizer_class": "PreTrainedTokenizerFast",
                "clean_up_tokenization_spaces": False,
                "bos_token": {"llama3": "<|begin_of_text|>", "mistral": "<s>"}.get(family, "<|endoftext|>"),
                "eos_token": ENDS.get(family, "<|im_end|>"),
                "pad_token": "<|endoftext|>",
            }
            (folder / "tokenizer_config.json").write_text(json.dumps(config))
            (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
            made[key] = folder
        return made[key]

    return make

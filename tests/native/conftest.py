"""The native library must be there: these tests hold it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_sizes import BLOCKS

from tokenloom.native import build, library


@pytest.fixture(autouse=True, scope="session")
def native_library() -> None:
    if not build.built():
        build.build()
    assert library.load() is not None
    assert library.instruction_set()


@pytest.fixture
def hub_folder(tmp_path: Path) -> Callable[[str], Path]:
    """name -> a folder as transformers saves it, random weights, sizes the native step takes."""
    import torch
    import transformers

    def rope(kind: str, **more: Any) -> dict[str, Any]:
        return {"rope_parameters": {"rope_type": kind, "rope_theta": 10000.0, "factor": 4.0, **more}}

    old = {"original_max_position_embeddings": 64}
    kinds: dict[str, Callable[[], Any]] = {
        "gpt2": lambda: transformers.GPT2Config(vocab_size=320, n_embd=64, n_layer=2, n_head=4),
        "gemma3": lambda: transformers.Gemma3TextConfig(**BLOCKS),
        "qwen2": lambda: transformers.Qwen2Config(**BLOCKS),
        "qwen3": lambda: transformers.Qwen3Config(**BLOCKS),
        "mistral": lambda: transformers.MistralConfig(**BLOCKS, sliding_window=16),
        "biases": lambda: transformers.LlamaConfig(**BLOCKS, attention_bias=True, mlp_bias=True),
        "linear": lambda: transformers.LlamaConfig(**BLOCKS, **rope("linear")),
        "yarn": lambda: transformers.LlamaConfig(**BLOCKS, **rope("yarn", **old)),
        "llama3": lambda: transformers.LlamaConfig(
            **BLOCKS, **rope("llama3", low_freq_factor=1.0, high_freq_factor=4.0, **old)
        ),
    }

    def make(name: str) -> Path:
        torch.manual_seed(7)
        model = transformers.AutoModelForCausalLM.from_config(kinds[name]()).eval()
        with torch.no_grad():
            for weight in model.parameters():
                weight.normal_(0.0, 0.15 if weight.dim() > 1 else 0.5)
        folder = tmp_path / name
        model.save_pretrained(folder)
        return folder

    return make

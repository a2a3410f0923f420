"""Tiny models of every family, made by transformers with random weights and saved as Hub folders."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny_models
import torch
import transformers

transformers.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """Tests run beside each other: more threads only wait for one another."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def hub_model(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Path, Any]]:
    """name -> (folder as transformers saves it, the transformers model), made once."""
    made: dict[str, tuple[Path, Any]] = {}

    def make(name: str) -> tuple[Path, Any]:
        if name not in made:
            torch.manual_seed(7)
            model = transformers.AutoModelForCausalLM.from_config(
                tiny_models.CONFIGS[name](), attn_implementation="eager"
            ).eval()
            with torch.no_grad():
                for weight in model.parameters():
                    weight.normal_(0.0, 0.3 if weight.dim() > 1 else 0.5)
            folder = tmp_path_factory.mktemp(name)
            model.save_pretrained(folder)
            made[name] = folder, model
        return made[name]

    return make

"""What a finished run leaves: a model folder, or an adapter in peft's layout, each with its card.

Not the checkpoints (train.checkpoint) and not the report (`tokenloom.evals`).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tokenloom.hub import find
from tokenloom.model.save import save_model
from tokenloom.tokens.folder import read_vocabulary, tokenizer_files
from tokenloom.tokens.vocabulary import SPECIAL
from tokenloom.train.adapter import save_adapter
from tokenloom.train.fit import Outcome
from tokenloom.train.lora import plain
from tokenloom.train.start import Parts


def publish(parts: Parts, folder: Path, outcome: Outcome) -> None:
    """Writes `folder`/model, or `folder`/adapter for LoRA (and model too where lora.merge asks for it).

    Averaged weights where an average was kept; bfloat16 for whole models.
    """
    recipe = parts.recipe
    text = card(parts, outcome)
    with parts.trainer.averaged():
        if recipe.lora.rank:
            template = parts.tokenizer.template
            about = {"tokenizer_sha256": parts.tokenizer.hash}
            if template is not None:
                about["template_sha256"] = template.hash
            save_adapter(
                parts.model, folder / "adapter", recipe.model.start, about=about, card=text, overwrite=True
            )
        if not recipe.lora.rank or recipe.lora.merge:
            files = tokenizer_files(parts.tokenizer)
            save_model(
                plain(parts.model),
                folder / "model",
                files=files,
                ranges=_ranges(parts),
                card=text,
                overwrite=True,
            )


def _ranges(parts: Parts) -> list[dict[str, Any]] | None:
    """The ranges of ids by the tokenizer's folder, tokens added since being special; None if it has none."""
    part, n = parts.recipe.model, parts.tokenizer.vocab_size
    place = Path(part.tokenizer).expanduser() if part.tokenizer else find(part.start).path
    found = read_vocabulary(place) if place.is_dir() else None
    if found is not None and found.size < n:
        found = found.add(SPECIAL, n - found.size)
    return None if found is None else found.to_json()


def card(parts: Parts, outcome: Outcome) -> str:
    """The Hub's front matter and the facts; `loom report` adds the scores."""
    recipe, config, found = parts.recipe, parts.model.config, parts.sizes
    head = {"library_name": "transformers", "pipeline_tag": "text-generation"}
    if recipe.licence:
        head["license"] = recipe.licence
    if recipe.model.start:
        head["base_model"] = recipe.model.start
    if recipe.lora.rank:
        head["library_name"] = "peft"
    front = "".join(f"{key}: {json.dumps(value, ensure_ascii=False)}\n" for key, value in head.items())
    about = f"{recipe.about}\n\n" if recipe.about else ""
    lora = f" LoRA of rank {recipe.lora.rank}." if recipe.lora.rank else ""
    scores = "".join(f"- {name}: {value:.4f}\n" for name, value in outcome.last.items())
    scores = f"\nHeld-out:\n\n{scores}" if scores else ""
    return (
        f"---\n{front}---\n\n# {recipe.name}\n\n{about}"
        f"{config.n_params / 1e6:.1f} M parameters: {config.n_layer} layers, {config.dim} wide, "
        f"{config.n_head} heads, a vocabulary of {config.vocab_size}, a context of {config.context} "
        f"positions.{lora} Trained with Tokenloom: objective {recipe.objective}, {outcome.step} steps of "
        f"{found.batch_tokens} ids, peak learning rate {found.lr:.3g}, {recipe.optim.kind}, seed "
        f"{recipe.seed}, {outcome.seconds / 60:.0f} minutes.\n{scores}"
    )

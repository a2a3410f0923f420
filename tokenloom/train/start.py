"""A recipe -> the parts of a run, put together: tokenizer, model, data, objective, trainer.

Not the run itself (train.execute). What is checked here is checked before anything is written.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from tokenloom.data.pack import Batches
from tokenloom.data.shards import Shards
from tokenloom.hub import find
from tokenloom.model.extend import extend_vocabulary
from tokenloom.model.features import ModelConfig
from tokenloom.model.load import load_model, pick_device, pick_dtype
from tokenloom.model.transformer import Transformer, init_weights
from tokenloom.tokens.text import Tokenizer, load_tokenizer
from tokenloom.train.allocator import keep_memory
from tokenloom.train.forgetting import watched
from tokenloom.train.loop import Trainer
from tokenloom.train.lora import LoraSettings, add_lora, int8_base
from tokenloom.train.objective import NextId
from tokenloom.train.recipe import Recipe
from tokenloom.train.scale import Sizes, fresh_config, resolved, sizes
from tokenloom.train.sets import (
    Conversations,
    documents_of,
    is_shards,
    kept_shards,
    named_shards,
    read_rendered,
)
from tokenloom.train.templates import with_template


@dataclass
class Parts:
    """Everything a run needs, checked."""

    recipe: Recipe
    """With every number written out."""
    tokenizer: Tokenizer
    model: Transformer
    sizes: Sizes
    batches: Batches
    held_out: list[Shards]
    watched: tuple[list[Shards], str] | None
    """Fine-tunes: general text and what it is; None where none is to be measured."""
    conversations: Conversations | None
    """sft: what the files gave, for the preflight."""
    objective: NextId
    trainer: Trainer


def assemble(recipe: Recipe) -> Parts:
    """Reads and checks what a recipe names. Raises ValueError naming the field."""
    keep_memory()
    if recipe.run.threads:
        torch.set_num_threads(recipe.run.threads)
    device = pick_device(recipe.run.device)
    dtype = pick_dtype(recipe.run.dtype, device)
    if dtype == torch.float16:
        raise ValueError("run.dtype: float16 needs loss scaling; allowed: auto, float32, bfloat16")
    tokenizer = _tokenizer(recipe)
    train, conversations = _train_sets(recipe, tokenizer)
    model = _model(recipe, tokenizer)
    if recipe.lora.rank:
        _put_lora(model, recipe)
    model.recompute = recipe.run.checkpoint_activations
    data = recipe.data
    batches = Batches(train, context=data.context, rows=recipe.run.rows, seed=recipe.seed, pack=data.pack)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    found = sizes(recipe, model.config.n_params, trained, batches.tokens_per_epoch)
    objective = NextId(model, dtype, recipe.run.loss_rows, recipe.run.compile)
    return Parts(
        recipe=resolved(recipe, found),
        tokenizer=tokenizer,
        model=model,
        sizes=found,
        batches=batches,
        held_out=[_one_set(path, recipe, tokenizer, "data.held_out")[0] for path in data.held_out],
        watched=watched(data, tokenizer) if recipe.model.start else None,
        conversations=conversations,
        objective=objective,
        trainer=Trainer(objective, batches.batch, found, recipe.optim, recipe.run.average),
    )


def _tokenizer(recipe: Recipe) -> Tokenizer:
    part = recipe.model
    if part.tokenizer:
        place = Path(part.tokenizer).expanduser()
        if not place.exists():
            raise ValueError(
                f"model.tokenizer: found no {part.tokenizer}, looked for from {Path.cwd()}; allowed: a "
                "tokenizer's folder (`loom tokenizer train` makes one)"
            )
        found = load_tokenizer(place)
    elif part.start:
        found = load_tokenizer(find(part.start).path)
    else:
        raise ValueError(
            "model: found neither tokenizer nor start; allowed: a tokenizer's folder, or a model's"
        )
    if recipe.objective == "sft" and found.template is None:
        found = with_template(found)
    return found.with_special(part.new_tokens) if part.new_tokens else found


def _train_sets(
    recipe: Recipe, tokenizer: Tokenizer
) -> tuple[list[tuple[Shards, float]], Conversations | None]:
    """The shards to learn from with their weights; and what files of conversations gave."""
    paths, weights = recipe.data.train, recipe.data.weights
    if not paths:
        raise ValueError("data.train: found nothing; allowed: folders of token shards (`loom data prepare`)")
    if weights and len(weights) != len(paths):
        raise ValueError(
            f"data.weights: found {len(weights)}; allowed: one for each of the {len(paths)} in train"
        )
    found = [_one_set(path, recipe, tokenizer, "data.train") for path in paths]
    rows = [more for _, more in found if more is not None]
    conversations = None
    if rows:
        conversations = Conversations([r for c in rows for r in c.rows], [d for c in rows for d in c.dropped])
    shards = [one for one, _ in found]
    return list(zip(shards, weights or [float(s.n_tokens) for s in shards], strict=True)), conversations


def _one_set(
    path: str, recipe: Recipe, tokenizer: Tokenizer, field: str
) -> tuple[Shards, Conversations | None]:
    if is_shards(path) or recipe.objective != "sft":
        return named_shards(path, tokenizer, field), None
    found = read_rendered([path], tokenizer, recipe.data)
    if not any(row.learned[1:].any() for row in found.rows):
        why = f"; the first was dropped as {found.dropped[0]}" if found.dropped else ""
        raise ValueError(f"{field}: {path} gives no conversation with anything to learn{why}")
    return kept_shards(documents_of(found.rows), tokenizer), found


def _model(recipe: Recipe, tokenizer: Tokenizer) -> Transformer:
    part, device = recipe.model, pick_device(recipe.run.device)
    if part.start:
        by_hand = [
            f for f in ("depth", "n_layer", "dim", "n_head", "n_kv_head", "ffn_dim") if getattr(part, f)
        ]
        if by_hand:
            raise ValueError(f"model.{by_hand[0]}: found with model.start; a model's sizes are its own")
        model = load_model(find(part.start).path, dtype="float32", device=str(device))
        if part.new_tokens or recipe.objective == "sft":  # a template may bring tokens, too
            extend_vocabulary(model, max(model.config.vocab_size, tokenizer.vocab_size), recipe.seed)
    else:
        model = Transformer(_fresh(recipe, tokenizer))
        init_weights(model, recipe.seed)
        model = model.to(device)
    if model.config.vocab_size < tokenizer.vocab_size:
        raise ValueError(
            f"model.tokenizer: has {tokenizer.vocab_size} ids, the model {model.config.vocab_size} rows"
        )
    if recipe.data.context > model.config.context:
        raise ValueError(
            f"data.context: found {recipe.data.context}; the model has {model.config.context} positions"
        )
    if recipe.objective == "sft":  # an answer ends where its template ends a turn
        ends = dict.fromkeys([*tokenizer.eos_ids, *model.config.eos_ids])
        model.config = replace(model.config, eos_ids=tuple(ends))
    return model.train()


def _put_lora(model: Transformer, recipe: Recipe) -> None:
    part = recipe.lora
    if recipe.model.new_tokens:
        raise ValueError(
            "model.new_tokens: found with lora.rank; new rows need the whole model to be trained"
        )
    if not recipe.model.start:
        raise ValueError("lora.rank: found without model.start; LoRA needs a model to start from")
    if part.int8:
        int8_base(model)
    add_lora(
        model,
        LoraSettings(part.rank, part.alpha or 2.0 * part.rank, part.dropout, part.targets),
        seed=recipe.seed,
    )


def _fresh(recipe: Recipe, tokenizer: Tokenizer) -> ModelConfig:
    rows = math.ceil(tokenizer.vocab_size / 64) * 64
    ends = tuple(tokenizer.eos_ids)
    context = recipe.data.context
    return fresh_config(recipe.model, rows, context, ends, tokenizer.bos_id, tokenizer.pad_id)

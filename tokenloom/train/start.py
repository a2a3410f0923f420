"""A recipe -> the parts of a run, put together: tokenizer, model, data, objective, trainer, run folder.

Not the loop. What is checked here is checked before the first step, and nothing is written before that.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tokenloom.config import to_toml
from tokenloom.data.pack import Batches
from tokenloom.data.shards import Shards, open_shards
from tokenloom.hub import find
from tokenloom.model.features import ModelConfig
from tokenloom.model.load import load_model, pick_device, pick_dtype
from tokenloom.model.save import save_model
from tokenloom.model.transformer import Transformer, init_weights
from tokenloom.tokens.folder import tokenizer_files
from tokenloom.tokens.text import Tokenizer, load_tokenizer
from tokenloom.train.allocator import keep_memory
from tokenloom.train.checkpoint import checkpoints
from tokenloom.train.evaluate import held_out, sample_texts
from tokenloom.train.fit import Outcome, fit
from tokenloom.train.loop import Trainer
from tokenloom.train.objective import NextId
from tokenloom.train.peak import peak
from tokenloom.train.progress import TrainingBar
from tokenloom.train.recipe import Recipe
from tokenloom.train.run import RunFolder
from tokenloom.train.scale import Sizes, fresh_config, resolved, sizes


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
    objective: NextId
    trainer: Trainer


def assemble(recipe: Recipe) -> Parts:
    """Reads and checks what a recipe names. Raises ValueError naming the field."""
    keep_memory()
    if recipe.run.threads:
        torch.set_num_threads(recipe.run.threads)
    tokenizer = _tokenizer(recipe)
    model = _model(recipe, tokenizer)
    train = [_shards(path, tokenizer, "data.train") for path in recipe.data.train]
    if not train:
        raise ValueError("data.train: found nothing; allowed: folders of token shards (`loom data prepare`)")
    batches = Batches(
        _weighted(train, recipe),
        context=recipe.data.context,
        rows=recipe.run.rows,
        seed=recipe.seed,
        pack=recipe.data.pack,
    )
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    found = sizes(recipe, model.config.n_params, trained, batches.tokens_per_epoch)
    device = pick_device(recipe.run.device)
    dtype = pick_dtype(recipe.run.dtype, device)
    if dtype == torch.float16:
        raise ValueError("run.dtype: float16 needs loss scaling; allowed: auto, float32, bfloat16")
    objective = NextId(model, dtype, recipe.run.loss_rows, recipe.run.compile)
    return Parts(
        recipe=resolved(recipe, found),
        tokenizer=tokenizer,
        model=model,
        sizes=found,
        batches=batches,
        held_out=[_shards(path, tokenizer, "data.held_out") for path in recipe.data.held_out],
        objective=objective,
        trainer=Trainer(objective, batches.batch, found, recipe.optim, recipe.run.average),
    )


def _tokenizer(recipe: Recipe) -> Tokenizer:
    part = recipe.model
    if part.tokenizer:
        return load_tokenizer(Path(part.tokenizer).expanduser())
    if part.start:
        return load_tokenizer(find(part.start).path)
    raise ValueError("model: found neither tokenizer nor start; allowed: a tokenizer's folder, or a model's")


def _model(recipe: Recipe, tokenizer: Tokenizer) -> Transformer:
    part, device = recipe.model, pick_device(recipe.run.device)
    if part.start:
        by_hand = [
            f for f in ("depth", "n_layer", "dim", "n_head", "n_kv_head", "ffn_dim") if getattr(part, f)
        ]
        if by_hand:
            raise ValueError(f"model.{by_hand[0]}: found with model.start; a model's sizes are its own")
        model = load_model(find(part.start).path, dtype="float32", device=str(device))
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
    return model.train()


def _fresh(recipe: Recipe, tokenizer: Tokenizer) -> ModelConfig:
    rows = math.ceil(tokenizer.vocab_size / 64) * 64
    ends = tuple(tokenizer.eos_ids)
    context = recipe.data.context
    return fresh_config(recipe.model, rows, context, ends, tokenizer.bos_id, tokenizer.pad_id)


def _shards(path: str, tokenizer: Tokenizer, field: str) -> Shards:
    shards = open_shards(Path(path).expanduser())
    if shards.tokenizer_hash != tokenizer.hash:
        raise ValueError(
            f"{field}: {path} was made with another tokenizer ({shards.tokenizer_hash[:12]}..., the model's "
            f"is {tokenizer.hash[:12]}...); make it again with this one (`loom data prepare`)"
        )
    return shards


def _weighted(train: list[Shards], recipe: Recipe) -> list[tuple[Shards, float]]:
    weights = recipe.data.weights or tuple(float(max(1, shards.n_tokens)) for shards in train)
    if len(weights) != len(train):
        raise ValueError(
            f"data.weights: found {len(weights)}; allowed: one for each of the {len(train)} in train"
        )
    return list(zip(train, weights, strict=True))


def train(recipe: Recipe, resume: Path | None = None) -> tuple[Path, Outcome]:
    """Runs a recipe to its end, or goes on with the run in `resume`; answers the run's folder.

    A finished run's folder holds the model. Raises ValueError and OSError as its parts do.
    """
    parts = assemble(recipe)
    step, progress = 0, None
    if resume is not None:
        found = checkpoints(resume / "checkpoints")
        if found:
            progress = parts.trainer.load(found[-1])
            step = parts.trainer.step_number
        folder = RunFolder.open(resume, step)
    else:
        root = Path(recipe.run.root).expanduser() if recipe.run.root else None
        folder = RunFolder.create(recipe.name, to_toml(parts.recipe), root, seeds={"seed": recipe.seed})
    with folder:
        outcome = _fit(parts, folder, step, progress)
        if outcome.finished:
            publish(parts, folder.path / "model")
        else:
            folder.close("stopped", outcome.why)
    return folder.path, outcome


def _fit(parts: Parts, folder: RunFolder, step: int, progress: Mapping[str, Any] | None) -> Outcome:
    run, config = parts.recipe.run, parts.model.config
    dtype = "float32" if parts.objective.dtype == torch.float32 else "bfloat16"
    best = peak(dtype, str(parts.model.device)).flops
    per_token = 6.0 * config.n_params + 6.0 * config.n_layer * config.dim * parts.sizes.context
    with TrainingBar(parts.sizes.steps, step, flops_per_token=per_token, peak_flops=best) as bar:
        rows = max(1, run.rows)
        return fit(
            parts.trainer,
            folder,
            run,
            bar,
            evaluate=(
                (
                    lambda: held_out(
                        parts.objective, "model", parts.held_out, parts.sizes.context, rows, run.eval_tokens
                    )
                )
                if parts.held_out
                else None
            ),
            samples=(
                (
                    lambda: sample_texts(
                        parts.model, parts.tokenizer, run.samples, run.sample_tokens, parts.recipe.seed
                    )
                )
                if run.samples
                else None
            ),
            progress=progress,
        )


def publish(parts: Parts, place: Path) -> Path:
    """The model folder of what was trained: averaged weights where an average was kept, in bfloat16."""
    files = tokenizer_files(parts.tokenizer)
    with parts.trainer.averaged():
        return save_model(parts.model, place, files=files, card=card(parts), overwrite=True)


def card(parts: Parts) -> str:
    """The front matter and facts of a model card; `loom report` adds the scores."""
    recipe, config, found = parts.recipe, parts.model.config, parts.sizes
    licence = f"license: {recipe.licence}\n" if recipe.licence else ""
    base = f"base_model: {recipe.model.start}\n" if recipe.model.start else ""
    about = f"{recipe.about}\n\n" if recipe.about else ""
    return (
        f"---\nlibrary_name: transformers\npipeline_tag: text-generation\n{licence}{base}---\n\n"
        f"# {recipe.name}\n\n{about}"
        f"{config.n_params / 1e6:.1f} M parameters: {config.n_layer} layers, {config.dim} wide, "
        f"{config.n_head} heads, a vocabulary of {config.vocab_size}, a context of {config.context} "
        f"positions. Trained with Tokenloom: objective {recipe.objective}, {found.steps} steps of "
        f"{found.batch_tokens} ids, peak learning rate {found.lr:.3g}, {recipe.optim.kind}, "
        f"seed {recipe.seed}.\n"
    )


def resumed(folder: Path, changes: Mapping[str, Any]) -> Recipe:
    """The recipe of a run that is gone on with; only what does not change its result may differ."""
    from tokenloom.config import read_recipe

    recipe = read_recipe(Recipe, folder / "recipe.toml")
    return dataclasses.replace(recipe, run=dataclasses.replace(recipe.run, **changes))

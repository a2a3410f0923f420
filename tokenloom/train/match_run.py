"""The run of a dual encoder's recipe: objective "match".

Not the loss (train.match) and not the batches (train.match_set). What it leaves is a folder that
engine.judge.open_judge opens, in the run's folder as `model`.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from tokenloom.codec.judge import DualEncoder, JudgeConfig
from tokenloom.codec.judge_folder import open_network, save_judge
from tokenloom.data.sprites import open_sprites
from tokenloom.model.load import pick_device, pick_dtype
from tokenloom.tokens.folder import read_vocabulary, tokenizer_files
from tokenloom.tokens.text import Tokenizer, load_tokenizer
from tokenloom.train.fit import Evaluation, Outcome, Samples
from tokenloom.train.kinds import Pace
from tokenloom.train.loop import Trainer
from tokenloom.train.match import MatchObjective, Pairs
from tokenloom.train.match_set import MatchBatches, Through
from tokenloom.train.recipe import Recipe
from tokenloom.train.scale import Sizes
from tokenloom.weights.tokenizer_files import folder_tokenizer_hash

if TYPE_CHECKING:
    from rich.console import RenderableType

LOOKED_AT = ("train", "pairs", "combinations", "emoji")
"""Splits that an evaluation looks at; the loss of the second is the one that counts."""
SIZES = ("context", "out", "text_layers", "text_dim", "text_heads", "widths", "blocks", "hidden", "texture")
OTHERS = 1_000_003
"""Added to the seed for pictures that are only looked at."""


@dataclass(frozen=True)
class MatchSurvey:
    """A run in numbers."""

    weights: int
    sprites: int
    steps: int
    pairs: int
    lr: float

    def check(self) -> None:
        """Nothing speaks against it: what is missing was said when it was put together."""

    def json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    def table(self) -> RenderableType:
        from tokenloom.train.preflight_table import facts_table

        return facts_table(
            {
                "weights": f"{self.weights:,}",
                "data": f"{self.sprites:,} sprites, composed without end",
                "run": f"{self.steps:,} steps of {self.pairs:,} pairs",
                "learning rate": f"{self.lr:.3g}",
            }
        )


@dataclass(frozen=True)
class MatchRun:
    """See train.kinds.Run."""

    recipe: Recipe
    sizes: Sizes
    trainer: Trainer
    network: DualEncoder
    tokenizer: Tokenizer
    batches: MatchBatches
    held_out: Mapping[str, list[Pairs]]

    @property
    def evaluate(self) -> Evaluation | None:
        return self._evaluate if self.held_out else None

    @property
    def samples(self) -> Samples | None:
        return None

    def pace(self) -> Pace:
        return Pace("pairs", "pair", self.sizes.rows * self.sizes.passes)

    def survey(self) -> MatchSurvey:
        return MatchSurvey(
            self.network.n_params,
            len(self.batches.sprites),
            self.sizes.steps,
            self.sizes.rows * self.sizes.passes,
            self.sizes.lr,
        )

    def before(self) -> Mapping[str, Any]:
        return {}

    def publish(self, folder: Path, outcome: Outcome) -> None:
        with self.trainer.averaged():
            save_judge(
                self.network,
                folder / "model",
                files=tokenizer_files(self.tokenizer),
                card=card(self, outcome),
                overwrite=True,
            )

    def _evaluate(self) -> dict[str, float]:
        """Loss and share of right answers within batches of each split; `held_out_loss` is of held-out
        pairs."""
        objective = self.trainer.objective
        self.network.eval()
        found: dict[str, float] = {}
        with torch.no_grad():
            for split, batches in self.held_out.items():
                losses, rights, n = 0.0, 0.0, 0
                for batch in batches:
                    loss, count, figures = objective.loss("judge", batch)
                    losses, rights, n = losses + float(loss), rights + figures["right"] * count, n + count
                found[f"right_{split}"] = rights / n
                if split == LOOKED_AT[1]:
                    found["held_out_loss"] = losses / n
        self.network.train()
        return found


def match_run(recipe: Recipe) -> MatchRun:
    """Reads and checks what a recipe names. Raises ValueError naming the field."""
    part, run = recipe.judge, recipe.run
    if run.threads:
        torch.set_num_threads(run.threads)
    if not part.sprites:
        raise ValueError("judge.sprites: found nothing; allowed: a folder of sprites (`loom data sprites`)")
    if not part.tokenizer:
        raise ValueError("judge.tokenizer: found nothing; allowed: the folder of a tokenizer")
    if not run.steps:
        raise ValueError("run.steps: found 0; allowed: 1 or more, since made pictures have no end")
    device = pick_device(run.device)
    dtype = pick_dtype(run.dtype, device)
    sprites = open_sprites(Path(part.sprites).expanduser())
    tokenizer, vocab_size = _tokenizer(Path(part.tokenizer).expanduser())
    torch.manual_seed(recipe.seed)
    sizes = {name: getattr(part, name) for name in SIZES}
    network = _network(JudgeConfig(vocab_size, **sizes), part.start, tokenizer).to(device)
    batches = MatchBatches(
        sprites,
        tokenizer,
        run.rows,
        recipe.seed,
        context=part.context,
        damaged=part.damaged,
        again=part.again,
        through=_through(part.codec),
    )
    found = _sizes(recipe)
    return MatchRun(
        recipe=replace(
            recipe,
            optim=replace(recipe.optim, lr=found.lr, warmup=found.warmup),
            run=replace(run, steps=found.steps, tokens=0, batch_tokens=0),
        ),
        sizes=found,
        trainer=Trainer(MatchObjective(network, dtype), batches.batch, found, recipe.optim, run.average),
        network=network,
        tokenizer=tokenizer,
        batches=batches,
        held_out=_held_out(recipe, batches),
    )


def _network(config: JudgeConfig, start: str, tokenizer: Tokenizer) -> DualEncoder:
    """Fresh weights, or those of a folder."""
    network = DualEncoder(config)
    if start:
        folder = Path(start).expanduser()
        found = open_network(folder)
        if folder_tokenizer_hash(folder) != tokenizer.hash:
            raise ValueError(f"judge.start: {folder} reads captions with another tokenizer than the recipe's")
        if found.config not in (config, replace(config, texture=0)):
            raise ValueError(f"judge.start: found {found.config}; allowed: the recipe's sizes, {config}")
        added = {name: t for name, t in network.state_dict().items() if name not in found.state_dict()}
        network.load_state_dict({**found.state_dict(), **added})
    return network


def _sizes(recipe: Recipe) -> Sizes:
    run = recipe.run
    if run.rows < 2:
        raise ValueError(f"run.rows: found {run.rows}; allowed: 2 or more, since a pair is told from others")
    warmup = recipe.optim.warmup or max(1, run.steps // 50)
    # One pass a step: a pair's negatives are those of its own pass. 1e-3: AdamW's usual rate for this size.
    return Sizes(run.steps, 1, run.rows, 1, recipe.optim.lr or 1e-3, warmup)


def _tokenizer(folder: Path) -> tuple[Tokenizer, int]:
    """A tokenizer, and how many of its ids a caption may have: those of text, where its folder tells them."""
    tokenizer, vocabulary = load_tokenizer(folder), read_vocabulary(folder)
    text = [span.stop for span in vocabulary.ranges if span.name == "text"] if vocabulary is not None else []
    return tokenizer, max(text, default=tokenizer.vocab_size)


def _through(folder: str) -> Through | None:
    if not folder:
        return None
    from tokenloom.codec.folder import open_codec

    codec = open_codec(Path(folder).expanduser())
    return lambda pictures: codec.decode(codec.encode(pictures))


def _held_out(recipe: Recipe, batches: MatchBatches) -> Mapping[str, list[Pairs]]:
    """Batches of 64 that are only looked at, by split; the same for every run of a seed."""
    n = recipe.judge.held_out // 64
    if not n:
        return {}
    sets = {
        split: MatchBatches(
            batches.sprites,
            batches.tokenizer,
            64,
            recipe.seed + OTHERS,
            split=split,
            context=batches.context,
            damaged=0.0,
            twins=0.0,  # a twin may be of another split
            moved=0,
        )
        for split in LOOKED_AT
    }
    return {split: [some.batch(k) for k in range(n)] for split, some in sets.items()}


def card(run: MatchRun, outcome: Outcome) -> str:
    """The Hub's front matter and the facts."""
    recipe, config = run.recipe, run.network.config
    head = {"library_name": "tokenloom", "pipeline_tag": "zero-shot-image-classification"}
    if recipe.licence:
        head["license"] = recipe.licence
    front = "".join(f"{key}: {json.dumps(value)}\n" for key, value in head.items())
    about = f"{recipe.about}\n\n" if recipe.about else ""
    scores = "".join(f"- {name}: {value:.4f}\n" for name, value in outcome.last.items())
    return (
        f"---\n{front}---\n\n# {recipe.name}\n\n{about}"
        f"{run.network.n_params / 1e6:.1f} M parameters: captions of at most {config.context} ids and "
        f"pictures of {config.size}x{config.size} pixels with transparency become vectors of {config.out} "
        f"numbers, whose products say what belongs together. Trained with Tokenloom: objective match, "
        f"{outcome.step} steps of {run.sizes.rows} pairs, peak learning rate {run.sizes.lr:.3g}, "
        f"{recipe.optim.kind}, seed {recipe.seed}, {outcome.seconds / 60:.0f} minutes"
        f"{', gone on from trained weights' if recipe.judge.start else ''}.\n\n"
        + (
            f"Right answers within batches of 64, and the loss of held-out pairs:\n\n{scores}"
            if scores
            else ""
        )
    )

"""The run of a codec's recipe: its pictures, its two players, what is measured, the folder it leaves.

Not the learning (train.codec) and not the flow of a run (train.execute).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from tokenloom.codec.adversary import PatchAdversary
from tokenloom.codec.folder import save_codec
from tokenloom.codec.image import ImageCodec
from tokenloom.codec.losses import reconstruction
from tokenloom.codec.pixels import to_pixels, to_tensor
from tokenloom.data.sprites import open_sprites
from tokenloom.model.load import pick_device, pick_dtype
from tokenloom.train.allocator import keep_memory
from tokenloom.train.codec import CodecObjective, over_white
from tokenloom.train.fit import JUDGED, Evaluation, Outcome, Samples
from tokenloom.train.kinds import Compare, Pace
from tokenloom.train.loop import Trainer
from tokenloom.train.pictures import MadePictures, Mix, Pictures, further_pictures
from tokenloom.train.recipe import AdversaryPart, Recipe, RunPart
from tokenloom.train.scale import Sizes, resolved

if TYPE_CHECKING:
    from rich.console import RenderableType

RATE = 1e-3
"""Peak learning rate where the recipe names none."""
AT_ONCE = 32
"""Pictures of one forward pass of an evaluation."""


@dataclass(frozen=True)
class PictureSurvey:
    """A codec's run in numbers."""

    weights: int
    adversary: int
    """Weights of the second player; 0 = it plays alone."""
    sprites: int
    """That are trained on."""
    scenes: int
    places: int
    depth: int
    n_codes: int
    steps: int
    batch: int
    lr: float

    def check(self) -> None:
        """Nothing is refused here."""

    def json(self) -> dict[str, Any]:
        """All of it as JSON values."""
        return asdict(self)

    def table(self) -> RenderableType:
        """All of it for a terminal."""
        from tokenloom.train.preflight_table import facts_table

        facts = {
            "weights": f"{self.weights:,}" + (f", adversary {self.adversary:,}" if self.adversary else ""),
            "codes": f"{self.places} places x {self.depth}, {self.n_codes:,} codes",
            "data": f"{self.sprites:,} sprites, {self.scenes:,} scenes",
            "run": f"{self.steps:,} steps of {self.batch:,} pictures",
            "learning rate": f"{self.lr:.3g}",
        }
        return facts_table(facts)


@dataclass(frozen=True)
class CodecRun:
    """See train.kinds.Run."""

    recipe: Recipe
    sizes: Sizes
    trainer: Trainer
    objective: CodecObjective
    pictures: Pictures
    sprites: int
    compare: Compare | None = None

    @property
    def evaluate(self) -> Evaluation | None:
        return self._evaluate if len(self.pictures.held_out()) else None

    @property
    def samples(self) -> Samples | None:
        return None

    def pace(self) -> Pace:
        return Pace("pictures", "pictures", self.sizes.batch_tokens)

    def before(self) -> Mapping[str, Any]:
        return {}

    def survey(self) -> PictureSurvey:
        codec, other = self.objective.codec, self.objective.adversary
        return PictureSurvey(
            weights=count(codec),
            adversary=0 if other is None else count(other),
            sprites=self.sprites,
            scenes=self.recipe.pictures.scenes if self.recipe.pictures.scene_share else 0,
            places=codec.config.side**2,
            depth=codec.config.depth,
            n_codes=codec.config.n_codes,
            steps=self.sizes.steps,
            batch=self.sizes.batch_tokens,
            lr=self.sizes.lr,
        )

    def publish(self, folder: Path, outcome: Outcome) -> None:
        """Writes `folder`/codec: averaged weights where an average was kept, in float16."""
        with self.trainer.averaged():
            save_codec(self.objective.codec, folder / "codec", card=card(self, outcome), overwrite=True)

    def _evaluate(self) -> dict[str, float]:
        figures = measured(self.objective, self.pictures.held_out(), self.compare)
        unseen = self.pictures.unseen()
        if len(unseen):
            figures["unseen_psnr"] = measured(self.objective, unseen)["psnr"]
        return figures


@torch.no_grad()
def measured(
    objective: CodecObjective, pictures: np.ndarray, compare: Compare | None = None
) -> dict[str, float]:
    """What the codec as it is makes of pictures, in float32: mean loss, mean PSNR over white in dB, the share
    of the codes that are used, their perplexity, and what `compare` tells."""
    codec = objective.codec
    codec.eval()
    losses, squares, codes, seen = [], [], [], []
    for i in range(0, len(pictures), AT_ONCE):
        wanted = to_tensor(pictures[i : i + AT_ONCE]).to(codec.last.weight.device)
        made, found = codec(wanted)
        ground = torch.full((len(wanted), 3), 0.5, device=wanted.device)
        losses.append(reconstruction(made, wanted, ground, objective.weights))
        squares.append(over_white(made, wanted))
        codes.append(found.codes.flatten().cpu())
        seen.append(to_pixels(made))
    codec.train()
    return {
        JUDGED: float(torch.cat(losses).mean()),
        "psnr": float(-10 * torch.cat(squares).log10().mean()),
        **use_of_codes(torch.cat(codes), codec.config.n_codes),
        **({} if compare is None else compare(pictures, np.concatenate(seen))),
    }


def use_of_codes(codes: torch.Tensor, n_codes: int) -> dict[str, float]:
    """The share of a book's codes that are used, and their perplexity. codes (n,) int64."""
    share = torch.bincount(codes, minlength=n_codes).double()
    share /= share.sum()
    surprise = -(share * share.clamp(min=1e-30).log()).sum()
    return {"code_use": float((share > 0).double().mean()), "perplexity": math.exp(float(surprise))}


def codec_run(recipe: Recipe, compare: Compare | None = None) -> CodecRun:
    """Reads and checks what a recipe names. Raises ValueError naming the field."""
    device, dtype = codec_place(recipe.run)
    if not recipe.pictures.sprites:
        raise ValueError("pictures.sprites: found nothing; allowed: a folder made by `loom data sprites`")
    for name in ("windows", "periods"):
        if getattr(recipe.adversary, name) != getattr(AdversaryPart(), name):
            raise ValueError(f"adversary.{name}: has no effect on pictures; leave it out")
    found = codec_sizes(recipe)
    part = recipe.pictures
    sprites = open_sprites(Path(part.sprites).expanduser())
    mix = Mix(part.scenes, part.scene_share, part.drawn, part.drawn_share)
    further = further_pictures(part.further)
    pictures = MadePictures(sprites, recipe.codec.size, found.rows, recipe.seed, mix, part.held_out, further)
    torch.manual_seed(recipe.seed)
    codec = ImageCodec(recipe.codec).to(device)
    adversary = _adversary(recipe, found.steps)
    objective = CodecObjective(
        codec, None if adversary is None else adversary.to(device), recipe.losses, dtype
    )
    trainer = Trainer(objective, pictures.batch, found, recipe.optim, recipe.run.average)
    return CodecRun(resolved(recipe, found), found, trainer, objective, pictures, len(pictures), compare)


def codec_place(run: RunPart) -> tuple[torch.device, torch.dtype]:
    """Where a codec is trained and in which arithmetic. ValueError for what has no effect on a codec."""
    keep_memory()
    if run.threads:
        torch.set_num_threads(run.threads)
    for name in ("compile", "checkpoint_activations", "samples"):
        if getattr(run, name) != getattr(RunPart(), name):
            raise ValueError(f"run.{name}: has no effect on a codec; leave it out")
    device = pick_device(run.device)
    return device, pick_dtype(run.dtype, device)


def first_step(part: AdversaryPart, steps: int) -> int:
    """The step, from 0, in which an adversary begins."""
    if not 0 <= part.begins <= 1:
        raise ValueError(f"adversary.begins: found {part.begins}; allowed: a share of the steps, 0 to 1")
    return round(part.begins * steps)


def _adversary(recipe: Recipe, steps: int) -> PatchAdversary | None:
    part = recipe.adversary
    if not part.weight:
        return None
    return PatchAdversary(first_step(part, steps), part.width, part.layers, part.weight, part.matching)


def codec_sizes(recipe: Recipe) -> Sizes:
    """Steps, passes and works of a pass."""
    run = recipe.run
    if run.rows < 1:
        raise ValueError(f"run.rows: found {run.rows}; allowed: 1 or more")
    passes = max(1, round((run.batch_tokens or run.rows) / run.rows))
    if bool(run.steps) == bool(run.tokens):
        raise ValueError(
            "run: found both or none of steps and tokens (pictures, crops); allowed: one of them"
        )
    steps = run.steps or max(1, math.ceil(run.tokens / (passes * run.rows)))
    warmup = recipe.optim.warmup or max(1, steps // 50)
    return Sizes(steps, passes, run.rows, 1, recipe.optim.lr or RATE, warmup)


def count(module: torch.nn.Module) -> int:
    """Its weights."""
    return sum(p.numel() for p in module.parameters())


def card(run: CodecRun, outcome: Outcome) -> str:
    """The Hub's front matter and the facts."""
    recipe, survey = run.recipe, run.survey()
    config = recipe.codec
    scores = "".join(f"- {name}: {value:.4f}\n" for name, value in outcome.last.items())
    return (
        f"{card_head(recipe)}"
        f"A picture codec of {survey.weights / 1e6:.1f} M weights: {config.size} x {config.size} pixels RGBA "
        f"become {survey.places} places of {config.depth} codes out of {survey.n_codes} "
        f"({config.quantiser}). Trained with Tokenloom on {survey.sprites:,} sprites and {survey.scenes:,} "
        f"composed scenes: {outcome.step} steps of {survey.batch} pictures, {card_run(recipe, outcome)} No "
        "pretrained network judged it: its losses are pixels, edges and frequencies.\n"
        + (f"\nHeld-out emoji:\n\n{scores}" if scores else "")
    )


def card_head(recipe: Recipe) -> str:
    """The front matter of a codec's card, its name and what it is about."""
    front = {"library_name": "tokenloom", **({"license": recipe.licence} if recipe.licence else {})}
    head = "".join(f"{key}: {json.dumps(value)}\n" for key, value in front.items())
    about = f"{recipe.about}\n\n" if recipe.about else ""
    return f"---\n{head}---\n\n# {recipe.name}\n\n{about}"


def card_run(recipe: Recipe, outcome: Outcome) -> str:
    """How a codec was trained, for its card."""
    part = recipe.adversary
    adversary = f", an adversary from {part.begins:.0%} of the steps on" if part.weight else ""
    return (
        f"peak learning rate {recipe.optim.lr:.3g}, {recipe.optim.kind}{adversary}, seed {recipe.seed}, "
        f"{outcome.seconds / 60:.0f} minutes."
    )

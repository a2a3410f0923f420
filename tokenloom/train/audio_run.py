"""The run of an audio codec's recipe: its speech, its two players, what is measured, the folder it leaves.

Not the learning (train.audio), not the flow of a run (train.execute); what any codec's run has is
train.codec_run's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from tokenloom.codec.audio import AudioCodec
from tokenloom.codec.audio_folder import save_audio_codec
from tokenloom.codec.sound_adversary import SoundAdversary
from tokenloom.codec.spectra import mel_distance, sound_distance
from tokenloom.data.speech import open_speech
from tokenloom.train.audio import AudioObjective
from tokenloom.train.codec_run import (
    card_head,
    card_run,
    codec_place,
    codec_sizes,
    count,
    first_step,
    use_of_codes,
)
from tokenloom.train.fit import JUDGED, Evaluation, Outcome, Samples
from tokenloom.train.kinds import Compare, Pace
from tokenloom.train.loop import Trainer
from tokenloom.train.recipe import Recipe
from tokenloom.train.scale import Sizes, resolved
from tokenloom.train.speech import Crops

if TYPE_CHECKING:
    from rich.console import RenderableType

AT_ONCE = 16
"""Crops of one forward pass of an evaluation."""


@dataclass(frozen=True)
class SpeechSurvey:
    """An audio codec's run in numbers."""

    weights: int
    adversary: int
    """Weights of the second player; 0 = it plays alone."""
    utterances: int
    """That are trained on."""
    hours: float
    codes_hz: float
    """Codes a second."""
    n_codes: int
    steps: int
    batch: int
    crop_s: float
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
            "codes": f"{self.codes_hz:g} a second, {self.n_codes:,} codes",
            "data": f"{self.utterances:,} utterances, {self.hours:.2f} h",
            "run": f"{self.steps:,} steps of {self.batch:,} crops of {self.crop_s:g} s",
            "learning rate": f"{self.lr:.3g}",
        }
        return facts_table(facts)


@dataclass(frozen=True)
class AudioCodecRun:
    """See train.kinds.Run."""

    recipe: Recipe
    sizes: Sizes
    trainer: Trainer
    objective: AudioObjective
    crops: Crops
    compare: Compare | None = None

    @property
    def evaluate(self) -> Evaluation | None:
        return self._evaluate if len(self.crops.held_out()) else None

    @property
    def samples(self) -> Samples | None:
        return None

    def pace(self) -> Pace:
        return Pace("crops", "crops", self.sizes.batch_tokens)

    def before(self) -> Mapping[str, Any]:
        return {}

    def survey(self) -> SpeechSurvey:
        codec, other, speech = self.objective.codec, self.objective.adversary, self.crops.speech
        config = codec.config
        return SpeechSurvey(
            weights=count(codec),
            adversary=0 if other is None else count(other),
            utterances=len(self.crops),
            hours=speech.seconds / 3600,
            codes_hz=config.frames_hz * config.depth,
            n_codes=config.n_codes,
            steps=self.sizes.steps,
            batch=self.sizes.batch_tokens,
            crop_s=self.crops.size / speech.rate,
            lr=self.sizes.lr,
        )

    def publish(self, folder: Path, outcome: Outcome) -> None:
        """Writes `folder`/codec: averaged weights where an average was kept, in float16."""
        with self.trainer.averaged():
            save_audio_codec(self.objective.codec, folder / "codec", card=card(self, outcome), overwrite=True)

    def _evaluate(self) -> dict[str, float]:
        return measured(self.objective, self.crops.held_out(), self.compare)


@torch.no_grad()
def measured(
    objective: AudioObjective, sounds: np.ndarray, compare: Compare | None = None
) -> dict[str, float]:
    """What the codec as it is makes of sounds (N, samples), in float32: mean loss, mean distance of mel bands
    in dB, the share of the codes that are used, their perplexity, and what `compare` tells."""
    codec = objective.codec
    rate = codec.config.rate
    codec.eval()
    losses, far, codes, heard = [], [], [], []
    for i in range(0, len(sounds), AT_ONCE):
        wanted = torch.from_numpy(sounds[i : i + AT_ONCE]).to(codec.last.weight.device)
        made, found = codec(wanted)
        losses.append(sound_distance(made, wanted, rate, objective.weights))
        far.append(mel_distance(made, wanted, rate))
        codes.append(found.codes.flatten().cpu())
        heard.append(made.clamp(-1, 1).cpu().numpy())
    codec.train()
    return {
        JUDGED: float(torch.cat(losses).mean()),
        "mel_db": float(torch.cat(far).mean()),
        **use_of_codes(torch.cat(codes), codec.config.n_codes),
        **({} if compare is None else compare(sounds, np.concatenate(heard))),
    }


def audio_codec_run(recipe: Recipe, compare: Compare | None = None) -> AudioCodecRun:
    """Reads and checks what a recipe names. Raises ValueError naming the field."""
    device, dtype = codec_place(recipe.run)
    part, config = recipe.speech, recipe.audio_codec
    if not part.folder:
        raise ValueError("speech.folder: found nothing; allowed: a folder made by `loom data speech`")
    speech = open_speech(Path(part.folder).expanduser())
    if speech.rate != config.rate:
        raise ValueError(
            f"audio_codec.rate: found {config.rate}; the speech in {part.folder} has {speech.rate}"
        )
    found = codec_sizes(recipe)
    crops = Crops(speech, config.hop, found.rows, recipe.seed, part.crop_s, part.gain_db, part.held_out)
    torch.manual_seed(recipe.seed)
    codec = AudioCodec(config).to(device)
    adversary = _adversary(recipe, found.steps)
    objective = AudioObjective(
        codec, None if adversary is None else adversary.to(device), recipe.audio_losses, dtype
    )
    trainer = Trainer(objective, crops.batch, found, recipe.optim, recipe.run.average)
    return AudioCodecRun(resolved(recipe, found), found, trainer, objective, crops, compare)


def _adversary(recipe: Recipe, steps: int) -> SoundAdversary | None:
    part = recipe.adversary
    if not part.weight:
        return None
    return SoundAdversary(
        first_step(part, steps),
        part.width,
        part.layers,
        part.windows,
        part.periods,
        part.weight,
        part.matching,
    )


def card(run: AudioCodecRun, outcome: Outcome) -> str:
    """The Hub's front matter and the facts."""
    recipe, survey, speech = run.recipe, run.survey(), run.crops.speech
    config = recipe.audio_codec
    scores = "".join(f"- {name}: {value:.4f}\n" for name, value in outcome.last.items())
    return (
        f"{card_head(recipe)}"
        f"A codec of sound of {survey.weights / 1e6:.2f} M weights: {config.rate:,} samples a second, mono, "
        f"become {survey.codes_hz:g} codes out of {survey.n_codes:,} (FSQ). A stream waits "
        f"{config.delay / config.rate * 1000:.0f} ms for what comes. Trained with Tokenloom on "
        f"{survey.utterances:,} utterances ({survey.hours:.1f} h) made by the voice {speech.voice}, and on "
        f"nothing else: other voices, noise and music are strange to it. {outcome.step} steps of "
        f"{survey.batch} crops of {survey.crop_s:g} s, {card_run(recipe, outcome)} No pretrained network "
        "judged it.\n" + (f"\nHeld-out texts of the same voice:\n\n{scores}" if scores else "")
    )

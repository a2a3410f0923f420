"""A codec of sound and its adversary, trained by the one trainer: one step by hand, resumed, refused."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tiny_speech import CODEC, tiny_audio_recipe, tiny_speech

from tokenloom.codec.audio import AudioCodec
from tokenloom.codec.audio_folder import open_audio_codec
from tokenloom.codec.config import AudioCodecConfig, AudioLosses
from tokenloom.codec.sound_adversary import SoundAdversary
from tokenloom.codec.spectra import sound_distance
from tokenloom.data.speech import open_speech
from tokenloom.train.audio import AudioObjective
from tokenloom.train.audio_run import audio_codec_run, measured
from tokenloom.train.execute import resumed, train
from tokenloom.train.kinds import assembled
from tokenloom.train.loop import Trainer
from tokenloom.train.recipe import OptimPart
from tokenloom.train.scale import Sizes
from tokenloom.train.speech import Crops

WEIGHTS = AudioLosses(windows=(128, 512))


def sounds(number: int) -> np.ndarray:
    return (np.random.default_rng(number).standard_normal((2, 6400)) * 0.1).astype(np.float32)


def players() -> tuple[AudioCodec, SoundAdversary]:
    torch.manual_seed(0)
    codec = AudioCodec(AudioCodecConfig(**CODEC))
    return codec, SoundAdversary(1, 4, 2, windows=(256,), periods=(5,), weight=0.5)


def test_the_two_player_loop_is_a_plain_loop() -> None:
    lr = 1e-3
    settings: dict[str, Any] = {"lr": 1e-3, "betas": (0.9, 0.95), "weight_decay": 0.0}
    codec, adversary = players()
    ours = torch.optim.AdamW(codec.parameters(), **settings)
    theirs = torch.optim.AdamW(adversary.parameters(), **settings)
    losses = []
    for step in range(3):
        x = torch.from_numpy(sounds(step))
        made, found = codec(x)
        far = sound_distance(made, x, 16_000, WEIGHTS).mean()
        loss = far + found.loss
        if step >= 1:
            with torch.no_grad():
                wanted = [features for _, features in adversary(x)]
            pleased = torch.zeros(())
            for (scores, features), known in zip(adversary(made), wanted, strict=True):
                apart = sum((a - b).abs().mean() for a, b in zip(features, known, strict=True))
                pleased = pleased + (apart / len(features) - scores.mean()) / 2
            last = codec.last.weight
            pull = torch.autograd.grad(far, last, retain_graph=True)[0].norm()
            push = torch.autograd.grad(pleased, last, retain_graph=True)[0].norm()
            loss = loss + 0.5 * (pull / (push + 1e-4)) * pleased
        losses.append(float(loss.detach()))
        ours.zero_grad()
        loss.backward()
        ours.step()
        if step >= 1:
            theirs.zero_grad()
            said = zip(adversary(x), adversary(made.detach()), strict=True)
            hinges = [(F.relu(1 - a[0]).mean() + F.relu(1 + b[0]).mean()) / 2 for a, b in said]
            torch.stack(hinges).sum().backward()
            theirs.step()
    objective = AudioObjective(*players(), WEIGHTS, torch.float32)
    part = OptimPart(kind="adamw", weight_decay=0.0, schedule="constant", clip=0.0)
    trainer = Trainer(objective, sounds, Sizes(3, 1, 2, 1, lr, 1), part)
    told = [trainer.step() for _ in range(3)]
    assert [step.loss for step in told] == pytest.approx(losses, rel=1e-3)
    assert set(told[0].figures) == {"mel_db"}
    assert set(told[1].figures) == {"mel_db", "convincing", "adapted", "judging", "apart"}


def test_crops_are_a_function_of_their_number_and_hold_nothing_that_is_kept_out(tmp_path: Path) -> None:
    speech = open_speech(tiny_speech(tmp_path / "speech"))
    crops = Crops(speech, 320, 6, 1, 0.4, 3.0, 4)
    assert crops.batch(3).shape == (6, 6400)
    assert crops.batch(3).dtype == np.float32
    assert np.array_equal(crops.batch(3), Crops(speech, 320, 6, 1, 0.4, 3.0, 4).batch(3))
    assert not np.array_equal(crops.batch(3), crops.batch(4))
    assert not np.array_equal(crops.batch(3), Crops(speech, 320, 6, 2, 0.4, 3.0, 4).batch(3))
    held = [i for i, one in enumerate(speech.utterances) if one.held]
    assert held
    assert len(crops) == len(speech.utterances) - len(held)
    assert not set(crops._train) & set(held)
    assert crops.held_out().shape == (min(4, len(held)), 32_000)
    assert np.abs(crops.batch(0)).max() <= 1
    for changes in ({"crop_s": 0.0}, {"gain_db": -1.0}):
        values = {"crop_s": 0.4, "gain_db": 3.0, **changes}
        with pytest.raises(ValueError, match=rf"speech\.{next(iter(changes))}: found"):
            Crops(speech, 320, 6, 1, values["crop_s"], values["gain_db"], 4)


def test_a_run_learns_and_leaves_a_codec(tmp_path: Path) -> None:
    recipe = tiny_audio_recipe(tmp_path, **{"run.steps": 40, "run.eval_every": 20})
    place, outcome = train(recipe, compare=lambda real, made: {"same": float((real == made).mean())})
    lines = [json.loads(line) for line in (place / "log.jsonl").read_text().splitlines()]
    assert lines[-1]["crops"] == 160
    assert lines[-1]["mel_db"] < lines[0]["mel_db"] - 1
    assert {"held_out_loss", "mel_db", "code_use", "perplexity", "same"} <= set(outcome.last)
    assert "judging" in lines[-1]
    assert "judging" not in lines[0]
    codec = open_audio_codec(place / "codec")
    assert len(codec.decode(codec.encode(sounds(0)[0]))) == 6400
    card = (place / "codec" / "README.md").read_text()
    assert "made by the voice tones" in card
    assert "No pretrained network" in card
    assert json.loads((place / "preflight.json").read_text())["n_codes"] == 64


@pytest.mark.parametrize("changes", [{"run.average": 0.9}, {"optim.kind": "muon"}], ids=["average", "muon"])
def test_resumed_is_straight_bit_for_bit(tmp_path: Path, changes: dict[str, object]) -> None:
    recipe = tiny_audio_recipe(tmp_path, **{"run.steps": 4, "run.save_every": 2, **changes})
    straight, _ = train(recipe)
    cut = dataclasses.replace(recipe, run=dataclasses.replace(recipe.run, minutes=1e-9))
    place, outcome = train(cut)
    while not outcome.finished:
        place, outcome = train(resumed(place, {"minutes": 1e-9 if outcome.step < 3 else 0.0}), place)
    file = "codec/model.safetensors"
    assert (straight / file).read_bytes() == (place / file).read_bytes()


def test_measuring_changes_nothing(tmp_path: Path) -> None:
    run = audio_codec_run(tiny_audio_recipe(tmp_path))
    before = {k: v.clone() for k, v in run.objective.codec.state_dict().items()}
    random = torch.get_rng_state()
    found = measured(run.objective, run.crops.held_out())
    assert torch.equal(random, torch.get_rng_state())
    assert all(torch.equal(v, before[k]) for k, v in run.objective.codec.state_dict().items())
    assert 0 < found["code_use"] <= 1
    assert 1 <= found["perplexity"] <= 64
    assert run.objective.codec.training


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"speech.folder": ""}, r"speech\.folder: found nothing"),
        ({"speech.folder": "absent"}, r"found no speech\.json"),
        ({"audio_codec.rate": 24_000}, r"audio_codec\.rate: found 24000; the speech .* has 16000"),
        ({"pictures": {"scenes": 5}}, "pictures: has no effect with objective = 'audio-codec'"),
        ({"run.compile": True}, r"run\.compile: has no effect"),
        ({"adversary.begins": 2.0}, r"adversary\.begins: found 2\.0"),
        ({"run.rows": 0}, r"run\.rows: found 0"),
    ],
    ids=["none", "absent", "rate", "pictures", "compile", "begins", "rows"],
)
def test_what_is_refused(tmp_path: Path, changes: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        assembled(tiny_audio_recipe(tmp_path, **changes))

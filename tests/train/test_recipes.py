"""Recipes: what may be said, what follows from one dial, and what is refused before anything is written."""

from __future__ import annotations

import tomllib
from pathlib import Path

import numpy as np
import pytest
from tiny_training import WORDS, tiny_recipe, tiny_shards, tiny_tokenizer

import tokenloom
from tokenloom.config import fill, read_recipe, to_toml
from tokenloom.data.shards import open_shards
from tokenloom.train.execute import train
from tokenloom.train.optim import rate
from tokenloom.train.recipe import ModelPart, OptimPart, Recipe
from tokenloom.train.scale import fresh_config, sizes
from tokenloom.train.start import assemble


def written(tmp_path: Path, text: str) -> Path:
    (tmp_path / "r.toml").write_text(text)
    return tmp_path / "r.toml"


def test_a_recipe_reads_back_what_it_writes(tmp_path: Path) -> None:
    recipe = tiny_recipe(tmp_path, **{"run.samples": ['say "hi"\n', "你好"], "data.weights": [1.0]})
    assert read_recipe(Recipe, written(tmp_path, to_toml(recipe))) == recipe


def test_set_changes_a_value(tmp_path: Path) -> None:
    file = written(tmp_path, 'name = "a"\n[run]\nsteps = 3\n')
    recipe = read_recipe(Recipe, file, ["run.steps=7", "model.start=smollm2", "data.train=['x', 'y']"])
    assert (recipe.run.steps, recipe.model.start, recipe.data.train) == (7, "smollm2", ("x", "y"))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            'name = "a"\n[run]\nstep = 3',
            r"run\.step: unknown key, did you mean 'steps'\? allowed here: steps",
        ),
        ('name = "a"\nsteps = 3', r"steps: unknown key, did you mean 'run\.steps'\?"),
        ('nam = "a"', "nam: unknown key, did you mean 'name'"),
        ('name = "a"\n[run]\nsavevery = 3', r"did you mean 'save_every'\? allowed here: save_every, "),
        (
            'name = "a"\n[model]\nsteps = 3',
            r"model\.steps: unknown key, .* 'run\.steps'\? allowed in \[run\]: steps",
        ),
        ('name = "a"\n[data]\nnam = 3', r"'name'\? allowed outside the sections: name"),
        ('name = "a"\ncontxt = 3', r"did you mean 'model\.context' or 'data\.context' or 'judge\.context'"),
        ('name = "a"\nzzz = 3', "zzz: unknown key; allowed here: name, objective, "),
        ("seed = 1", "name: missing"),
        ('name = "a"\n[run]\nsteps = "3"', "run.steps: found '3'; allowed: a whole number"),
        ('name = "a"\n[run]\ncompile = 1', "run.compile: found 1; allowed: true or false"),
        ('name = "a"\n[optim]\nkind = "sgd"', "optim.kind: found 'sgd'; allowed: 'muon', 'adamw'"),
        ('name = "a"\nrun = 3', "run: found 3; allowed: a section"),
        ("name = ", "is not TOML"),
    ],
)
def test_wrong_recipes_are_refused_by_key(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        read_recipe(Recipe, written(tmp_path, text))


def test_a_tokenizer_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"model\.tokenizer: found no nowhere/tok, looked for from"):
        assemble(tiny_recipe(tmp_path, **{"model.tokenizer": "nowhere/tok"}))


def test_a_missing_recipe_and_a_broken_set(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nothing at"):
        read_recipe(Recipe, tmp_path / "none.toml")
    with pytest.raises(ValueError, match=r"section\.key=value"):
        read_recipe(Recipe, written(tmp_path, 'name = "a"'), ["steps"])


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"data.train": []}, "data.train: found nothing"),
        ({"data.weights": [1.0, 2.0]}, "data.weights: found 2; allowed: one for each of the 1"),
        ({"run.tokens": 100}, "both steps and tokens"),
        ({"run.dtype": "float32", "model.dim": 33}, "n_head"),
        ({"model.n_layer": 0}, "set model.depth"),
        ({"model.tokenizer": ""}, "neither tokenizer nor start"),
        ({"run.rows": 0}, "rows"),
    ],
)
def test_a_run_that_cannot_be_is_refused_before_it_writes(
    tmp_path: Path, changes: dict[str, object], says: str
) -> None:
    recipe = tiny_recipe(tmp_path, **changes)
    with pytest.raises(ValueError, match=says):
        train(recipe)
    assert not (tmp_path / "runs").exists()


def test_shards_of_another_tokenizer_and_empty_ones_are_refused(tmp_path: Path) -> None:
    recipe = tiny_recipe(tmp_path)
    other = tiny_tokenizer(tmp_path / "other").with_special(["<|more|>"])
    tiny_shards(tmp_path / "strange", other)
    with pytest.raises(ValueError, match="made with another tokenizer"):
        assemble(tiny_recipe(tmp_path, **{"data.train": [str(tmp_path / "strange")]}))
    tiny_shards(tmp_path / "empty", tiny_tokenizer(tmp_path / "tokenizer"), ["", ""])
    with pytest.raises(ValueError, match="no document of two ids"):
        assemble(tiny_recipe(tmp_path, **{"data.train": [str(tmp_path / "empty")]}))
    assert recipe.name == "tiny"


RECIPES = sorted((Path(tokenloom.__file__).parent / "recipes").rglob("*.toml"))


@pytest.mark.parametrize(
    "path", [p for p in RECIPES if p.name != "words.toml"], ids=lambda path: f"{path.parent.name}/{path.name}"
)
def test_every_shipped_recipe_can_be_read(path: Path) -> None:
    recipe = read_recipe(Recipe, path)
    assert recipe.about
    assert recipe.licence
    assert recipe.data.train or recipe.objective in ("codec", "audio-codec", "match")
    assert fill(Recipe, tomllib.loads(to_toml(recipe))) == recipe


def test_one_dial_sets_sizes() -> None:
    config = fresh_config(ModelPart(depth=4), 1024, 512, (0,), None, None)
    assert (config.n_layer, config.dim, config.n_head, config.head_dim, config.ffn_dim) == (
        4,
        256,
        4,
        64,
        704,
    )
    found = sizes(fill(Recipe, {"name": "x", "model": {"depth": 4}}), config.n_params, config.n_params, 10**9)
    assert found.tokens == pytest.approx(20 * config.n_params, rel=0.02)
    # DeepSeek LLM's rule at this compute, worked out by hand: C = 6 N D, N = 3.5 M
    compute = 6.0 * config.n_params * 20 * config.n_params
    assert found.batch_tokens == pytest.approx(0.2920 * compute**0.3271, rel=0.1)
    assert found.lr == pytest.approx(0.3118 * compute**-0.125, rel=0.01)
    deeper = fresh_config(ModelPart(depth=8), 1024, 512, (0,), None, None)
    assert deeper.n_params > 4 * config.n_params - 1024 * 512 * 4


def test_rates_warm_up_stay_and_fall() -> None:
    part = OptimPart(schedule="wsd", decay=0.25, floor=0.1)
    curve = np.array([rate(step, 100, 10, part) for step in range(100)])
    np.testing.assert_allclose(curve[:10], np.arange(1, 11) / 10)
    assert (curve[10:76] == 1).all()
    assert (np.diff(curve[76:]) < 0).all()
    assert curve[-1] == pytest.approx(0.1 + 0.9 / 25)
    cosine = [rate(step, 100, 10, OptimPart(schedule="cosine")) for step in (10, 55, 99)]
    assert cosine == pytest.approx([1.0, 0.5, 0.0], abs=1e-3)
    assert rate(99, 100, 10, OptimPart(schedule="constant")) == 1.0


def test_a_finished_run_opens_in_transformers(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    import torch

    from tokenloom.model.load import load_model

    place, outcome = train(tiny_recipe(tmp_path, **{"run.samples": ["the cat"], "run.sample_tokens": 4}))
    assert outcome.finished
    assert set(outcome.last) == {"held_out_loss", "bits_per_byte"}
    shards = open_shards(tmp_path / "held")
    ids_of_a_byte = shards.n_tokens / int(shards.bytes.sum())
    wanted = outcome.last["held_out_loss"] / np.log(2) * ids_of_a_byte
    assert outcome.last["bits_per_byte"] == pytest.approx(wanted)
    judge = transformers.AutoModelForCausalLM.from_pretrained(place / "model", dtype=torch.float32)
    words = transformers.AutoTokenizer.from_pretrained(place / "model")
    ids = torch.tensor([words(WORDS[0])["input_ids"]])
    with torch.no_grad():
        own = load_model(place / "model", dtype="float32")(ids)
        torch.testing.assert_close(own, judge(ids).logits, rtol=1e-4, atol=1e-5)

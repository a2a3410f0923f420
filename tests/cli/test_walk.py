"""`loom walk`: its couplets, its recipes, and the whole way at a size that learns nothing."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

import tokenloom as tl
from tokenloom.cli import walk as walking
from tokenloom.config import read_recipe
from tokenloom.data.couplets import Couplet
from tokenloom.data.shards import open_shards
from tokenloom.data.shipped import MOST_TURNS, conversations, recipes, shipped_couplets
from tokenloom.evals.matching import kept
from tokenloom.model.read import read_config
from tokenloom.tokens.text import load_tokenizer
from tokenloom.train.recipe import Recipe


def walk(*words: object) -> Result:
    app = typer.Typer()
    app.command()(walking.walk)
    return CliRunner().invoke(app, [str(word) for word in words])


def test_the_couplets_are_pairs_of_equal_length_and_none_held_out_is_learned() -> None:
    train, held_out = shipped_couplets("train"), shipped_couplets("heldout")
    assert (len(train), len(held_out)) == (64_000, 2_000)
    for pair in (*train, *held_out):
        assert len(pair.upper) == len(pair.lower) in (5, 7), pair
    assert len({(pair.upper, pair.lower) for pair in train}) == len(train)
    learned = {line for pair in train for line in (pair.upper, pair.lower)}
    assert not [pair for pair in held_out if pair.upper in learned or pair.lower in learned]
    assert not learned & set(walking.UPPERS)
    assert sum(file.stat().st_size for file in recipes().glob("*.bz2")) < 1_200_000


def test_each_pair_is_asked_once_in_conversations_of_one_to_three() -> None:
    pairs = shipped_couplets("train", 50)
    found = [entry["messages"] for entry in conversations(pairs)]
    lengths = [len(turns) // 2 for turns in found]
    assert lengths[: MOST_TURNS + 1] == [1, 2, 3, 1]
    turns = [turn for messages in found for turn in messages]
    assert [turn["role"] for turn in turns] == ["user", "assistant"] * 50
    assert [turn["content"] for turn in turns] == [
        line for pair in pairs for line in (pair.upper, pair.lower)
    ]


@pytest.mark.parametrize("name", ["pretrain", "sft"])
def test_the_recipes_are_read_and_their_widths_suit_the_native_step(name: str) -> None:
    recipe = read_recipe(Recipe, recipes() / f"{name}.toml")
    assert recipe.name == name
    if name == "pretrain":
        model = recipe.model
        assert model.dim % 32 == 0
        assert model.ffn_dim % 32 == 0
        assert (model.dim // model.n_head) % 16 == 0


def test_both_languages_say_the_same_things() -> None:
    words = tomllib.loads((recipes() / "words.toml").read_text("utf-8"))
    assert set(words["en"]) == set(words["zh"])
    for step in walking.STEPS:
        assert {step.name, f"{step.name}_about"} <= set(words["en"])
    for key, text in words["en"].items():
        holes = {part.split("}")[0] for part in text.split("{")[1:]}
        assert holes == {part.split("}")[0] for part in words["zh"][key].split("{")[1:]}, key


def test_a_recipe_gets_the_paths_of_its_walk(tmp_path: Path) -> None:
    out = tmp_path / 'a "b"'
    text = tomllib.loads(walking._recipe("pretrain", out))
    assert text["model"]["tokenizer"] == f"{out}/tokenizer"
    assert "couplets/" not in walking._recipe("sft", out).replace(str(out), "")


def test_the_whole_way_once_and_only_once(tmp_path: Path) -> None:
    out = tmp_path / "walk"
    first = walk(out, "--quick", "--lang", "en")
    assert first.exit_code == 0, first.output
    for said in ("loom data prepare", "loom tokenizer train", "loom train", "loom report", "loom chat"):
        assert said in first.stdout
    result = json.loads((out / "evaluation.json").read_text())
    scores = {row["metric"]: row for row in result["scores"]}
    assert 5 < scores["bits_per_character"]["value"] < 20
    assert 5 < scores["bits_per_character_5gram"]["value"] < 20
    assert scores["bits_per_character"]["n"] == 40
    assert scores["equal_length"]["n"] == 8
    # What was held out is in no file of training.
    learned = (out / "lines.txt").read_text() + (out / "pairs.jsonl").read_text()
    asked = [json.loads(line) for line in (out / "questions.jsonl").read_text().splitlines()]
    assert not any(row["prompt"] in learned or row["reference"] in learned for row in asked)
    # The model opens, answers through the template, and ends its turns with ChatML's token.
    tokenizer = load_tokenizer(out / "model")
    end = tokenizer.id_of("<|im_end|>")
    assert end in read_config(out / "model").eos_ids
    assert open_shards(out / "text" / "shards" / "train").tokenizer_hash == tokenizer.hash
    with tl.load(out / "model", slots=1) as model:
        answer = model.chat("明月照高楼", max_tokens=4, seed=1)
        assert answer.prompt_ids[-1] == tokenizer.encode("\n")[0]
        assert len(answer.ids) <= 4
    report = next((out / "runs").glob("sft-*/report.md")).read_text()
    assert "bits_per_character_5gram" in report

    again = walk(out, "--quick", "--lang", "zh")
    assert again.exit_code == 0, again.output
    assert again.stdout.count("已经做过") == len(walking.STEPS) - 1
    assert len(list((out / "runs").glob("*-*"))) == 2
    other = walk(out, "--lang", "en")
    assert isinstance(other.exception, ValueError)
    assert "--fresh" in str(other.exception)


def test_a_walk_that_was_stopped_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "walk"

    def interrupted(made: walking.Walk) -> None:
        raise KeyboardInterrupt

    steps = [*walking.STEPS[:3], walking.Step("shards", walking.STEPS[3].done, interrupted)]
    with monkeypatch.context() as patch:
        patch.setattr(walking, "STEPS", steps)
        stopped = walk(out, "--quick", "--lang", "en")
    assert stopped.exit_code == 130
    assert f"loom walk {out}" in stopped.stdout
    monkeypatch.setattr(walking, "STEPS", walking.STEPS[:4])
    done = walk(out, "--quick", "--lang", "en")
    assert done.exit_code == 0, done.output
    assert done.stdout.count("done already") == 3
    (out / "mine.txt").write_text("kept")
    anew = walk(out, "--quick", "--fresh", "--lang", "en")
    assert anew.exit_code == 0, anew.output
    assert "done already" not in anew.stdout
    assert (out / "mine.txt").read_text() == "kept"


def test_a_training_that_stopped_is_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "walk"
    monkeypatch.setattr(walking, "STEPS", walking.STEPS[:5])
    real = walking._loom

    def in_parts(*words: str) -> None:
        real(*words, *(["--minutes", "0.000001"] if words[0] == "train" and "--resume" not in words else []))

    with monkeypatch.context() as patch:
        patch.setattr(walking, "_loom", in_parts)
        assert walk(out, "--quick", "--lang", "en").exit_code == 130
    assert not (out / "pretrained").exists()
    done = walk(out, "--quick", "--lang", "en")
    assert done.exit_code == 0, done.output
    assert "--resume" in done.stdout
    assert (out / "pretrained" / "model.safetensors").is_file()
    assert len(list((out / "runs").glob("pretrain-*"))) == 1


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("x")
    for words in ((), ("--fresh",)):
        refused = walk(tmp_path, "--quick", *words)
        assert isinstance(refused.exception, ValueError)
        assert "something else" in str(refused.exception)
    assert [path.name for path in tmp_path.iterdir() if path.name != "home"] == ["thesis.txt"]
    assert isinstance(walk(tmp_path / "new", "--lang", "fr").exception, ValueError)


def test_what_answers_keep_is_counted() -> None:
    train = [Couplet("春风花草香", "迟日江山丽", "")]
    found = kept([("江碧鸟逾白", "山青花欲燃"), ("江碧鸟逾白", "江山"), ("一二三四五", "迟日江山丽")], train)
    assert found.equal_length.value == pytest.approx(2 / 3)
    assert found.repeated.value == pytest.approx(1 / 3)
    assert found.copied.value == pytest.approx(1 / 3)

"""The judge's batches: functions of their number, in two languages, some damaged; and a whole run."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from random import Random

import numpy as np
import pytest
import torch
from data.drawn_sprites import drawn_sprites
from tiny_painter import bytes_tokenizer

from tokenloom.config import read_recipe
from tokenloom.data.sprites import Sprites, save_sprites
from tokenloom.engine.judge import open_judge
from tokenloom.tokens.folder import tokenizer_files
from tokenloom.train.execute import resumed, train
from tokenloom.train.match_set import MatchBatches, damage, shifted
from tokenloom.train.recipe import Recipe


@pytest.fixture(scope="module")
def sprites() -> Sprites:
    return drawn_sprites(20)


@pytest.fixture(scope="module")
def place(sprites: Sprites, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("judge")
    (folder / "sprites").mkdir()
    pixels = np.stack([sprites.pixels(i) for i in range(len(sprites))])
    save_sprites(folder / "sprites", sprites.sprites, pixels, [])
    (folder / "tokenizer").mkdir()
    for name, text in tokenizer_files(bytes_tokenizer()).items():
        (folder / "tokenizer" / name).write_text(text, encoding="utf-8")
    return folder


def batches(sprites: Sprites, **changes: object) -> MatchBatches:
    return MatchBatches(sprites, bytes_tokenizer(), 8, 1, context=80, **changes)  # type: ignore[arg-type]


def words(made: MatchBatches, n: int) -> list[str]:
    batch = made.batch(n)
    tokenizer = made.tokenizer
    return [tokenizer.decode(row[:k]) for row, k in zip(batch.ids.tolist(), batch.lengths, strict=True)]


def test_a_batch_is_a_function_of_its_number(sprites: Sprites) -> None:
    first, second = batches(sprites), batches(sprites)
    first.batch(4)
    for n in (0, 3):
        a, b = first.batch(n), second.batch(n)
        for name in ("ids", "lengths", "pictures", "keys"):
            assert np.array_equal(getattr(a, name), getattr(b, name))
    assert not np.array_equal(first.batch(0).pictures, first.batch(1).pictures)


def test_both_languages_and_styles_are_in_it(sprites: Sprites) -> None:
    made = batches(sprites)
    texts = [text for n in range(10) for text in words(made, n)]
    chinese = [any("一" <= c <= "鿿" for c in text) for text in texts]
    assert 0.3 < np.mean(chinese) < 0.7
    assert 0.45 < np.mean([named(text) for text in texts]) < 0.8


def test_twins_differ_in_their_style_alone(sprites: Sprites) -> None:
    """A half of the pairs of rows: one scene in two styles, in one language and wording, both named."""
    made = batches(sprites, damaged=0.0)
    twins = 0
    for n in range(12):
        texts, pictures = words(made, n), made.batch(n).pictures
        for at in range(0, 8, 2):
            one, two = (re.split(r", (\w+) style$|，(\w+)风格$", text) for text in texts[at : at + 2])
            if one[0] == two[0] and one != two:
                assert all(named(text) for text in texts[at : at + 2])
                assert (pictures[at] != pictures[at + 1]).any()
                twins += 1
    assert 12 < twins < 36


def named(text: str) -> bool:
    return "style" in text or "风格" in text


def test_each_picture_of_a_block_comes_again_with_others(sprites: Sprites) -> None:
    made = batches(sprites, again=3, block=4)
    seen = [index for n in range(12) for index in made.indices(n)]
    assert sorted(seen) == sorted(list(range(32)) * 3)
    assert made.indices(0) == list(range(8))
    assert made.indices(4) != made.indices(0)
    assert min(made.indices(12)) == 32
    alone = batches(sprites, again=3, block=4)
    assert np.array_equal(alone.batch(9).pictures, [made.batch(n) for n in range(10)][9].pictures)


def test_damage_touches_the_share_it_is_told(sprites: Sprites) -> None:
    clean, spoilt = batches(sprites, damaged=0.0), batches(sprites, damaged=1.0)
    some = batches(sprites, damaged=0.5)
    same = 0
    for n in range(10):
        a, b, c = (m.batch(n).pictures for m in (clean, spoilt, some))
        assert (a != b).any((1, 2, 3)).all()
        same += int((a == c).all((1, 2, 3)).sum())
    assert 20 < same < 60


def test_pictures_are_moved_by_a_few_pixels_and_their_edges_go_on() -> None:
    rows, columns = np.mgrid[0:16, 0:16].astype(np.uint8)
    picture = np.stack([rows, columns, rows, columns], -1)
    moves = set()
    for one in shifted(picture[None].repeat(40, 0), Random(0), 3):
        y, x = (8 - int(one[8, 8, 0]), 8 - int(one[8, 8, 1]))
        assert np.array_equal(one[..., 0], np.clip(rows.astype(int) - y, 0, 15))
        assert np.array_equal(one[..., 1], np.clip(columns.astype(int) - x, 0, 15))
        moves.add((y, x))
    assert {abs(step) for move in moves for step in move} == {0, 1, 2, 3}
    assert len(moves) > 20
    assert np.array_equal(shifted(picture[None], Random(0), 0)[0], picture)


def test_half_of_the_damaged_go_through_the_codec(sprites: Sprites) -> None:
    pictures = batches(sprites, damaged=0.0).batch(0).pictures.repeat(5, 0)
    sent = []

    def through(some: np.ndarray) -> np.ndarray:
        sent.append(len(some))
        return np.full_like(some, 9)

    out = damage(pictures, Random(0), through)
    assert out.shape == pictures.shape
    assert out.dtype == np.uint8
    assert int((out == 9).all((1, 2, 3)).sum()) == sum(sent)
    assert 10 < sum(sent) < 30
    assert np.array_equal(damage(pictures, Random(3)), damage(pictures, Random(3)))


@pytest.mark.parametrize("wrong", [{"again": 0}, {"damaged": 1.5}, {"block": 0}, {"moved": -1}])
def test_wrong_settings_are_refused(sprites: Sprites, wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        batches(sprites, **wrong)


def recipe(place: Path, *changes: str) -> Recipe:
    file = place / "recipe.toml"
    file.write_text(
        f"""
name = "tiny-judge"
objective = "match"
[judge]
sprites = "{place}/sprites"
tokenizer = "{place}/tokenizer"
held_out = 64
out = 16
text_layers = 1
text_dim = 16
text_heads = 2
widths = [8, 16]
blocks = [1, 1]
hidden = 16
[optim]
kind = "adamw"
[run]
steps = 4
rows = 8
threads = 1
device = "cpu"
dtype = "float32"
eval_every = 4
root = "{place}/runs"
"""
    )
    return read_recipe(Recipe, file, changes)


def test_a_run_makes_a_judge_and_goes_on_as_if_it_had_not_stopped(place: Path) -> None:
    folder, outcome = train(recipe(place))
    assert outcome.finished
    assert {"held_out_loss", "right_train", "right_pairs", "right_combinations", "right_emoji"} == set(
        outcome.last
    )
    judge = open_judge(folder / "model")
    assert judge.texts(["a red fox", "一只狐狸"]).shape == (2, 16)
    assert "4 steps of 8 pairs" in (folder / "model" / "README.md").read_text()
    stopped, half = train(recipe(place, "name=stopped", "run.minutes=0.0001"))
    assert not half.finished
    again, whole = train(resumed(stopped, {"minutes": 0.0}), stopped)
    assert whole.finished
    mine, theirs = (open_judge(run / "model").network.state_dict() for run in (folder, again))
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)


def test_a_judge_is_gone_on_from(place: Path) -> None:
    first, _ = train(recipe(place, "name=plain", "judge.texture=0"))
    start = f"judge.start={first / 'model'}"
    folder, _ = train(recipe(place, "name=given", start, "run.steps=1", "optim.lr=1e-9"))
    cards = [(run / "model" / "README.md").read_text() for run in (first, folder)]
    assert ["gone on from trained weights" in card for card in cards] == [False, True]
    before, after = (open_judge(run / "model").network.state_dict() for run in (first, folder))
    assert {name.split(".")[1] for name in set(after) - set(before)} == {"texture", "texture_out"}
    assert all(torch.allclose(before[name], after[name], atol=1e-5) for name in before)
    other = first.parent / "other"
    shutil.copytree(first / "model", other)
    told = json.loads((other / "tokenizer.json").read_text())
    vocab = told["model"]["vocab"]
    one, two, *_ = vocab
    vocab[one], vocab[two] = vocab[two], vocab[one]
    (other / "tokenizer.json").write_text(json.dumps(told))
    with pytest.raises(ValueError, match=r"judge\.start: .*another tokenizer"):
        train(recipe(place, f"judge.start={other}"))
    with pytest.raises(ValueError, match=r"judge\.start: found .*hidden=16"):
        train(recipe(place, start, "judge.hidden=24"))
    with pytest.raises(FileNotFoundError, match="nowhere"):
        train(recipe(place, "judge.start=nowhere"))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("judge.sprites=", "judge.sprites"),
        ("judge.tokenizer=", "judge.tokenizer"),
        ("run.rows=1", "run.rows"),
        ("run.steps=0", "run.steps"),
        ("judge.text_heads=3", "text_heads"),
        ("pictures.scenes=3", "pictures: has no effect"),
    ],
)
def test_wrong_recipes_are_refused(place: Path, change: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        train(recipe(place, change))

"""Sets of pictures as ids: what is in them, that they are the same however they are made, and go on."""

from __future__ import annotations

import inspect
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from drawn_sprites import drawn_sprites
from typer.testing import CliRunner

from tokenloom.cli.picture_set import image_set, image_tokenizer
from tokenloom.codec.folder import open_codec, save_codec
from tokenloom.codec.image import ImageCodec, ImageCodecConfig
from tokenloom.config import fill
from tokenloom.data import picture_set
from tokenloom.data.layouts import choose
from tokenloom.data.picture_set import (
    BLOCK,
    Mix,
    PictureSet,
    draft,
    mix_of,
    opened,
    set_is_there,
    write_picture_set,
)
from tokenloom.data.picture_splits import SPLITS, split_of
from tokenloom.data.picture_tokenizer import caption_texts, picture_tokenizer
from tokenloom.data.scenes import alike, compose
from tokenloom.data.shards import BadShards, Shards, open_shards
from tokenloom.data.sprites import Sprites, open_sprites, save_sprites
from tokenloom.tokens.image import PictureTokens
from tokenloom.tokens.train import write_tokenizer
from tokenloom.train.execute import train
from tokenloom.train.recipe import Recipe

SMALL = ImageCodecConfig(widths=(8, 16), encoder=(1, 1), decoder=(1, 1), attention=0, levels=(5, 4))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with sprites, an untrained codec of 20 codes, and a tokenizer."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("pictures")
    sprites = drawn_sprites()
    (folder / "sprites").mkdir()
    save_sprites(
        folder / "sprites", sprites.sprites, np.stack([sprites.pixels(i) for i in range(len(sprites))]), []
    )
    save_codec(ImageCodec(SMALL), folder / "codec", dtype="float32")
    codec = open_codec(folder / "codec")
    write_tokenizer(
        folder / "tokenizer", picture_tokenizer(sprites, codec.n_codes, codec.sha256, n=2000, vocab_size=500)
    )
    return folder


@pytest.fixture(scope="module")
def sprites(place: Path) -> Sprites:
    return open_sprites(place / "sprites")


def plan(place: Path, n: int, **changes: object) -> PictureSet:
    what = PictureSet(place / "sprites", place / "codec", place / "tokenizer", n, seed=5)
    return replace(what, **changes)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def written(place: Path) -> Shards:
    return write_picture_set(plan(place, 400), place / "written")


def documents(shards: Shards) -> list[tuple[list[int], list[bool]]]:
    found = []
    for i in range(len(shards)):
        learned = shards.learned(i)
        assert learned is not None
        found.append((shards.document(i).tolist(), learned.tolist()))
    return found


def test_examples_are_made_of_their_scenes(place: Path, written: Shards, sprites: Sprites) -> None:
    """Each document's pictures are the codec's codes of the draft's, its words those of the draft."""
    what = plan(place, 400)
    tokens, codec = opened(what)
    for i in range(0, 400, 7):
        ids = written.document(i).tolist()
        text = tokens.tokenizer.decode(ids, special=True)
        one = draft(sprites, what, i)
        codes = codec.encode(np.stack(one.pictures))
        shown = ["".join(f"<|image:{c}|>" for c in row) for row in codes]
        style = f"<|style:{one.style}|>" if one.style else ""
        if one.kind == "<|draw|>":
            wanted = f"<|draw|>{one.text.lower()}{style}<|image|>{shown[0]}<|/image|>"
        elif one.kind == "<|describe|>":
            wanted = f"<|describe|><|image|>{shown[0]}<|/image|><|{one.lang}|>{one.text}<|end|>"
        elif one.kind == "<|restyle|>":
            wanted = f"<|restyle|><|image|>{shown[0]}<|/image|>{style}<|image|>{shown[1]}<|/image|>"
        else:
            assert one.mask is not None
            hidden = one.mask[::8, ::8].reshape(-1)
            before = "".join(
                "<|masked|>" if m else f"<|image:{c}|>" for c, m in zip(codes[0], hidden, strict=True)
            )
            after = "".join(f"<|image:{c}|>" for c in np.where(hidden, codes[1], codes[0]))
            wanted = f"<|edit|><|image|>{before}<|/image|>{one.text.lower()}{style}<|image|>{after}<|/image|>"
        assert text == wanted


def test_a_document_is_learned_from_its_answer_on(written: Shards, place: Path) -> None:
    tokens = PictureTokens.open(place / "tokenizer", 64)
    special = tokens.tokenizer.special
    for ids, learned in documents(written):
        first = learned.index(True)
        assert all(learned[first:])
        if ids[0] == special["<|describe|>"]:
            assert ids[first - 1] in (special["<|en|>"], special["<|zh|>"])
            assert ids[-1] == special["<|end|>"]
        else:
            assert (ids[first - 1], len(ids) - first) == (special["<|image|>"], 65)
            tokens.codes_of(ids[first:-1])


def test_the_shares_are_those_asked_for(written: Shards, place: Path, sprites: Sprites) -> None:
    kinds = written.manifest["about"]["kinds"]
    assert sum(kinds.values()) == 400
    special = PictureTokens.open(place / "tokenizer", 64).tokenizer.special
    firsts = Counter(int(id) for id in written.take(written.starts))
    assert firsts == {special[mark]: n for mark, n in kinds.items()}
    what = plan(place, 3000)
    drafts = [draft(sprites, what, i) for i in range(1500)]
    shares = {kind: n / 1500 for kind, n in Counter(one.kind for one in drafts).items()}
    wanted = {"<|draw|>": 0.55, "<|describe|>": 0.15, "<|edit|>": 0.15, "<|restyle|>": 0.15}
    assert shares == pytest.approx(wanted, abs=0.04)
    drawn = [one for one in drafts if one.kind == "<|draw|>"]
    assert np.mean([not one.text for one in drawn]) == pytest.approx(0.1, abs=0.035)
    assert np.mean([one.style is not None for one in drawn if one.text]) == pytest.approx(0.5, abs=0.07)
    assert not any(one.style for one in drawn if not one.text)
    described = [one for one in drafts if one.kind == "<|describe|>"]
    assert all(one.text for one in described)
    assert np.mean([one.lang == "zh" for one in drafts]) == pytest.approx(0.5, abs=0.05)
    assert np.mean([one.text.isascii() for one in described]) == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize("split", SPLITS)
def test_held_out_sets_are_of_their_split(place: Path, sprites: Sprites, split: str) -> None:
    """A restyling's answer is what is held out; an unseen style, which has no token, is its source."""
    only = Mix(draw=0.0, describe=0.0, edit=0.0, restyle=1.0, dropped=0.0)
    what = plan(place, 20, split=split, mix=only)
    for i in range(20):
        one = draft(sprites, what, i)
        scene = next(
            s
            for s in (compose(sprites, 5, i + attempt * (1 << 40), split) for attempt in range(50))
            if any((s.pixels == picture).all() for picture in one.pictures)
        )
        own = scene.record.style
        assert split_of(scene.record) == split
        source, answer = one.pictures
        if split == "style":
            assert own == "openmoji"
            assert (source == scene.pixels).all()
            twin = alike(sprites, scene, one.style or "")
            assert twin is not None
            assert (answer == twin.pixels).all()
        else:
            assert one.style == own
            assert (answer == scene.pixels).all()


def test_what_the_command_mixes_by_itself_is_what_the_library_does() -> None:
    assert mix_of(inspect.signature(image_set).parameters["mix"].default) == Mix()


def test_whole_emoji_are_described_and_restyled_where_that_is_asked(place: Path, sprites: Sprites) -> None:
    asked = mix_of("draw=0.4, describe=0.3, restyle=0.3, whole=1")
    assert asked == Mix(draw=0.4, describe=0.3, edit=0.0, restyle=0.3, whole=1.0)
    alone = {}
    for mix in (asked, replace(asked, whole=0.0)):
        drafts = [draft(sprites, plan(place, 60, mix=mix), i) for i in range(60)]
        turned = [one for one in drafts if one.kind != "<|draw|>"]
        assert len(turned) > 10
        # A ground covers the whole picture, a sticker leaves its corners clear.
        alone[mix.whole] = float(np.mean([one.pictures[0][0, 0, 3] == 0 for one in turned]))
    assert alone[1.0] == 1.0 > alone[0.0]


def test_restyled_pictures_are_varied_where_that_is_asked(place: Path, sprites: Sprites) -> None:
    mix = Mix(draw=0.0, describe=0.0, edit=0.0, restyle=1.0, dropped=0.0)
    changed = 0
    for i in range(20):
        plain = draft(sprites, plan(place, 20, mix=mix), i)
        other = draft(sprites, plan(place, 20, mix=replace(mix, varied=1.0)), i)
        assert (other.style, other.kind) == (plain.style, plain.kind)
        changed += any((a != b).any() for a, b in zip(plain.pictures, other.pictures, strict=True))
    assert changed > 15


def test_a_set_from_before_there_was_a_share_is_known(place: Path, tmp_path: Path) -> None:
    what = plan(place, 8)
    folder = tmp_path / "set"
    write_picture_set(what, folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["about"]["mix"]["varied"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert set_is_there(what, folder)
    with pytest.raises(BadShards, match="mix"):
        set_is_there(replace(what, mix=Mix(varied=0.5)), folder)


def test_a_style_without_a_token_is_not_named(place: Path, sprites: Sprites) -> None:
    what = plan(place, 60, split="style", mix=Mix(draw=0.6, describe=0.0, edit=0.4, restyle=0.0, styled=1.0))
    assert {draft(sprites, what, i).style for i in range(60)} == {None}


def test_a_scene_without_words_is_passed_over(
    place: Path, sprites: Sprites, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sprite may lack a label in a language; an example without words would teach that none are needed."""
    what = plan(place, 9, mix=Mix(draw=0.5, describe=0.5, edit=0.0, restyle=0.0, dropped=0.0))
    plain = draft(sprites, what, 0)
    said = iter([""])
    monkeypatch.setattr(picture_set, "caption", lambda *a: next(said, "words"))
    found = draft(sprites, what, 0)
    assert found.text == "words"
    assert (found.pictures[0] != plain.pictures[0]).any()
    monkeypatch.setattr(picture_set, "caption", lambda *a: "")
    with pytest.raises(ValueError, match=r"of the split train could be made in 50 scenes"):
        draft(sprites, what, 0)


@pytest.mark.slow
def test_sets_are_the_same_however_they_are_made(place: Path, written: Shards, tmp_path: Path) -> None:
    """In two processes, and broken off in the midst of a block and gone on with."""
    again = write_picture_set(plan(place, 400), tmp_path / "again", workers=2)
    assert documents(again) == documents(written)
    assert again.manifest["about"] == written.manifest["about"]
    assert {f["name"]: f["sha256"] for f in again.manifest["files"]} == {
        f["name"]: f["sha256"] for f in written.manifest["files"]
    }
    other = write_picture_set(plan(place, 20, seed=6), tmp_path / "other")
    assert documents(other) != documents(written)[:20]


class Stop(Exception):
    pass


def test_a_set_that_was_broken_off_goes_on(place: Path, written: Shards, tmp_path: Path) -> None:
    out, said = tmp_path / "set", []

    def stop(done: int, of: int) -> None:
        said.append((done, of))
        if done >= 3 * BLOCK:
            raise Stop

    with pytest.raises(Stop):
        write_picture_set(plan(place, 400), out, progress=stop)
    assert said == [(BLOCK * k, 400) for k in (1, 2, 3)]
    with pytest.raises(BadShards, match="was broken off after 192 documents"):
        open_shards(out)
    with pytest.raises(BadShards, match="seed: is of 5, asked for is 6"):
        write_picture_set(plan(place, 400, seed=6), out)
    with pytest.raises(BadShards, match="mix: is of"):
        write_picture_set(plan(place, 400, mix=Mix(styled=0.4)), out)
    assert documents(write_picture_set(plan(place, 400), out)) == documents(written)
    with pytest.raises(FileExistsError, match="holds finished shards"):
        write_picture_set(plan(place, 400), out)


@pytest.mark.slow
def test_a_set_that_was_killed_goes_on(place: Path, tmp_path: Path) -> None:
    """Killed at any moment, in the midst of a block too: what was saved is kept, and the rest is the same."""
    code = (
        "import sys; from pathlib import Path\n"
        "from tokenloom.data import shards\n"
        "shards.SAVE_EVERY = 5000\n"
        "from tokenloom.data.picture_set import PictureSet, write_picture_set\n"
        "p = Path(sys.argv[1])\n"
        "what = PictureSet(p / 'sprites', p / 'codec', p / 'tokenizer', 3000, seed=5)\n"
        "write_picture_set(what, Path(sys.argv[2]), progress=lambda done, of: print(done, flush=True))\n"
    )
    out = tmp_path / "set"
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(place), str(out)], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    for line in child.stdout:
        if int(line) >= 5 * BLOCK:
            os.kill(child.pid, signal.SIGKILL)
            break
    child.wait()
    child.stdout.close()
    whole = documents(write_picture_set(plan(place, 3000), tmp_path / "whole"))
    before = open_manifest(out)
    assert 0 < before < 3000
    assert documents(write_picture_set(plan(place, 3000), out)) == whole


def open_manifest(folder: Path) -> int:
    from tokenloom.data.manifest import MANIFEST, read_manifest

    return int(read_manifest(folder / MANIFEST)["documents"])


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda p: plan(p, 0), "n: found 0; allowed: 1 or more"),
        (lambda p: plan(p, 9, split="none"), "split: found 'none'; allowed: train, emoji"),
        (lambda p: mix_of("draw=1,dance=0"), "mix: found 'dance'; allowed: draw, describe, edit, restyle"),
        (lambda p: mix_of("draw=lots"), r"mix\.draw: found 'lots'; allowed: 0 to 1"),
        (lambda p: mix_of("draw=0.5,edit=0.2"), r"mix: found shares of 0\.7 in all"),
        (lambda p: Mix(draw=0.5), "mix: found shares of 0.95 in all; allowed: 1"),
        (lambda p: Mix(dropped=1.5), r"mix\.dropped: found 1\.5; allowed: 0 to 1"),
        (lambda p: write_picture_set(plan(p, 9, sprites=p / "no"), p / "x"), "sprites: nothing at"),
        (
            lambda p: write_picture_set(plan(p, 9, tokenizer=p / "sprites"), p / "x"),
            "has no codes of pictures",
        ),
    ],
)
def test_what_is_wrong_is_named(place: Path, call, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        call(place)
    assert not (place / "x").exists()


def test_a_tokenizer_of_another_codec_is_refused(place: Path, tmp_path: Path) -> None:
    torch.manual_seed(1)
    save_codec(ImageCodec(SMALL), tmp_path / "codec")
    with pytest.raises(ValueError, match="is for codes of the codec"):
        write_picture_set(plan(place, 9, codec=tmp_path / "codec"), tmp_path / "x")


def test_one_command_makes_all_and_goes_on(place: Path, tmp_path: Path) -> None:
    app = typer.Typer()
    app.command("tokenizer")(image_tokenizer)
    app.command("set")(image_set)
    asked = ["set", str(place / "sprites"), "--codec", str(place / "codec"), "-o", str(tmp_path / "p")]
    asked += ["-n", "70", "--held-out", "10", "--workers", "1", "--captions", "500", "--vocab-size", "400"]
    first = CliRunner().invoke(app, asked, catch_exceptions=False)
    facts = json.loads(first.stdout.splitlines()[-1])
    sets = ["train", *(f"held/{name}" for name in ("new", "emoji", "pairs", "combinations", "style"))]
    assert list(facts["sets"]) == sets
    assert [facts["sets"][name]["examples"] for name in sets] == [70, 10, 10, 10, 10, 10]
    assert sorted(path.name for path in (tmp_path / "p").iterdir()) == ["held", "tokenizer", "train"]
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "p").rglob("*") if path.is_file()}
    again = json.loads(CliRunner().invoke(app, asked, catch_exceptions=False).stdout.splitlines()[-1])
    assert all(one["seconds"] == 0 for one in again["sets"].values())
    assert {path: path.stat().st_mtime_ns for path in before} == before
    with pytest.raises(BadShards, match="n: is of 70, asked for is 71"):
        CliRunner().invoke(app, [*asked, "-n", "71"], catch_exceptions=False)
    alone = ["tokenizer", *asked[1:4], "-o", str(tmp_path / "t"), "--captions", "500", "--vocab-size", "400"]
    made = json.loads(CliRunner().invoke(app, alone, catch_exceptions=False).stdout.splitlines()[-1])
    assert made["ranges"] == facts["tokenizer"]["ranges"]
    with pytest.raises(FileExistsError, match="is not empty"):
        CliRunner().invoke(app, alone, catch_exceptions=False)


# --- the tokenizer ------------------------------------------------------------------------------------------


def test_captions_are_of_the_training_split_in_both_languages(sprites: Sprites) -> None:
    texts = list(caption_texts(sprites, 400, 3))
    assert len(texts) == 400
    assert sum(text.isascii() for text in texts) == 200
    assert texts == list(caption_texts(sprites, 400, 3))
    assert {split_of(choose(sprites, 3, i)) for i in range(0, 400, 2)} == {"train"}


def test_any_label_can_be_written(place: Path, sprites: Sprites) -> None:
    tokens = PictureTokens.open(place / "tokenizer", 64)
    for sprite in sprites.sprites:
        for text in (sprite.en, sprite.zh):
            assert tokens.tokenizer.decode(tokens.tokenizer.encode(text)) == text
    assert tokens.tokenizer.decode(tokens.tokenizer.encode("龘 🦊 ñ")) == "龘 🦊 ñ"
    assert len(tokens.tokenizer.encode("红色")) == 2


def test_residual_codes_and_other_grids(place: Path, sprites: Sprites, tmp_path: Path) -> None:
    """Two codes a place, and 16 x 16 places: the same road."""
    for config in (replace(SMALL, depth=2), replace(SMALL, down=4, widths=(8,), encoder=(1,), decoder=(1,))):
        folder = tmp_path / str(config.depth)
        folder.mkdir()
        save_codec(ImageCodec(config), folder / "codec")
        codec = open_codec(folder / "codec")
        write_tokenizer(
            folder / "tokenizer",
            picture_tokenizer(sprites, codec.n_codes, codec.sha256, n=200, vocab_size=300),
        )
        what = PictureSet(place / "sprites", folder / "codec", folder / "tokenizer", 70, seed=2)
        shards = write_picture_set(what, folder / "set")
        tokens = PictureTokens.open(folder / "tokenizer", codec.per_picture)
        for ids, learned in documents(shards):
            if ids[0] == tokens.tokenizer.special["<|draw|>"]:
                first = learned.index(True)
                assert tokens.codes_of(ids[first:-1]).shape == (codec.places * config.depth,)


# --- training -----------------------------------------------------------------------------------------------


def test_a_trained_model_opens_with_its_ranges(place: Path, written: Shards, tmp_path: Path) -> None:
    few = write_picture_set(plan(place, 9, split="emoji"), tmp_path / "few")
    held = [str(few.folder), str(written.folder)]
    recipe = fill(
        Recipe,
        {
            "name": "tiny-painter",
            "model": {"n_layer": 1, "dim": 32, "n_head": 2, "tokenizer": str(place / "tokenizer")},
            "data": {"train": [str(written.folder)], "held_out": held, "context": 224},
            "optim": {"lr": 0.01, "warmup": 1},
            "run": {
                "steps": 2, "rows": 2, "batch_tokens": 448, "dtype": "float32", "threads": 1, "device": "cpu",
                "eval_tokens": 2000, "root": str(tmp_path / "runs"),
            },
        },
    )  # fmt: skip
    run, outcome = train(recipe)
    losses = [outcome.last[name] for name in ("held_out_loss_few", "held_out_loss_written", "held_out_loss")]
    assert len(outcome.last) == 3
    assert min(losses[:2]) < losses[2] < max(losses[:2])
    tokens = PictureTokens.open(run / "model", 64)
    made = PictureTokens.open(place / "tokenizer", 64)
    assert (tokens.vocabulary, tokens.context) == (made.vocabulary, 224)
    assert tokens.codec == open_codec(place / "codec").sha256
    assert tokens.draw("a red fox", "noto") == made.draw("a red fox", "noto")

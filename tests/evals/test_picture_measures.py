"""Drawing, restyling, describing and editing, measured with toy models whose quality is known beforehand."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from data.drawn_sprites import drawn_sprites

from tokenloom.data.picture_splits import emoji_held_out, pair_held_out, split_of
from tokenloom.data.picture_words import word
from tokenloom.data.scenes import alike, compose
from tokenloom.data.sprites import Sprites
from tokenloom.evals import picture_drawn as drawn_figures
from tokenloom.evals import picture_sets as sets
from tokenloom.evals import picture_suite
from tokenloom.evals import picture_turned as turned


@pytest.fixture(scope="module")
def sprites() -> Sprites:
    return drawn_sprites(30)


class Seer:
    """A perfect judge of a set: a caption and its picture have one vector."""

    def __init__(self, texts: Sequence[str], pictures: np.ndarray) -> None:
        random = np.random.default_rng(0)
        self._of: dict[object, np.ndarray] = {}
        for text, picture in zip(texts, pictures, strict=True):
            known = self._of.get(picture.tobytes())
            row = random.standard_normal(64) if known is None else known
            self._of[text] = self._of[picture.tobytes()] = row / np.linalg.norm(row)

    def _rows(self, things: Sequence[object]) -> np.ndarray:
        other = np.random.default_rng(zlib.crc32(repr(things[:1]).encode()))
        found = [self._of.get(thing) for thing in things]
        rows = [other.standard_normal(64) if row is None else row for row in found]
        return np.stack([row / np.linalg.norm(row) for row in rows]).astype(np.float32)

    def texts(self, texts: Sequence[str]) -> np.ndarray:
        return self._rows(list(texts))

    def pictures(self, pictures: np.ndarray) -> np.ndarray:
        return self._rows([picture.tobytes() for picture in pictures])


class Halver:
    """A codec of 16 codes: each 8x8 place's mean brightness."""

    n_codes = 16

    def encode(self, pictures: np.ndarray) -> np.ndarray:
        grey = pictures[..., :3].mean(3).reshape(len(pictures), 8, 8, 8, 8).mean((2, 4))
        return np.asarray((grey / 16).astype(np.int64).reshape(len(pictures), 64))

    def decode(self, codes: np.ndarray) -> np.ndarray:
        grey = (codes.reshape(-1, 8, 8) * 16 + 8).astype(np.uint8).repeat(8, 1).repeat(8, 2)
        return np.concatenate([np.stack([grey] * 3, -1), np.full((*grey.shape, 1), 255, np.uint8)], -1)


# --- sets -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("split", sets.SPLITS.values())
def test_a_set_is_of_its_split_and_the_same_again(sprites: Sprites, split: str) -> None:
    first, again = (sets.asked(sprites, split, 30) for _ in range(2))
    assert first.texts == again.texts
    assert np.array_equal(first.pictures, again.pictures)
    assert {split_of(scene.record) for scene in first.scenes} == {split}
    assert first.langs.count("en") == first.langs.count("zh") == 15
    assert first.pictures.shape == (30, 64, 64, 4)
    said = first.said()
    assert all(
        style in text
        for style, text, lang in zip(first.styles, said, first.langs, strict=True)
        if lang == "en"
    )


def test_scenes_of_one_meaning_have_one_key(sprites: Sprites) -> None:
    scenes = [compose(sprites, 0, index, "train", "sticker") for index in range(40)]
    twins = [twin for twin in (alike(sprites, scene, "noto") for scene in scenes) if twin is not None]
    made = sets.of_scenes("twins", [*scenes, *twins])
    plain = [at for at, scene in enumerate(scenes) if not scene.record.things[0].recoloured]
    by_index = {scene.record.index: made.keys[at] for at, scene in enumerate(scenes)}
    assert any(
        by_index[twin.record.index] == made.keys[40 + at]
        for at, twin in enumerate(twins)
        if twin.record.index in plain
    )
    assert len(set(made.keys)) > 20


@pytest.mark.parametrize("which", ["emoji", "pairs", "style", "train"])
def test_stickers_are_of_their_split(sprites: Sprites, which: str) -> None:
    found = sets.stickers(sprites, which)
    assert len({scene.record.things[0].sprite for scene in found}) == len(found)
    for scene in found:
        thing, style = scene.record.things[0], scene.record.style
        assert (style == "openmoji") == (which == "style")
        if which != "style":
            assert emoji_held_out(thing.hexcode) == (which == "emoji")
            assert pair_held_out(thing.hexcode, style) == (which == "pairs")
    assert [s.record for s in sets.stickers(sprites, which, 3)] == [s.record for s in found[:3]]


def test_clip_art_is_a_set_of_its_own(sprites: Sprites) -> None:
    """Only where there is some; that of emoji in training is no measure, and no other set changes."""
    assert not picture_suite.has_clip_art(sprites)
    with pytest.raises(ValueError, match="found none of clipart"):
        sets.stickers(sprites, "clipart")
    rows = [row for row, one in enumerate(sprites.sprites) if one.style in ("noto", "fluent", "twemoji")]
    clips = [replace(sprites.sprites[row], style="clipart") for row in rows]
    both = Sprites(
        [*sprites.sprites, *clips], np.stack([sprites.pixels(row) for row in [*range(len(sprites)), *rows]])
    )
    assert picture_suite.has_clip_art(both)
    (held,) = [one for one in clips if emoji_held_out(one.hexcode)][:1]
    alike = Sprites([held] * 30, np.stack([both.pixels(0)] * 30))
    assert not picture_suite.has_clip_art(alike), "thirty drawings of one thing leave nothing to choose among"
    found = sets.stickers(both, "clipart")
    assert {scene.record.style for scene in found} == {"clipart"}
    assert len(found) == sum(emoji_held_out(one.hexcode) for one in clips) > 0
    for which in ("emoji", "pairs", "style", "train"):
        told = [[s.record for s in sets.stickers(some, which)] for some in (sprites, both)]
        assert told[0] == told[1]


def test_unknown_sets_are_refused(sprites: Sprites) -> None:
    with pytest.raises(ValueError, match="which"):
        sets.stickers(sprites, "nobody")
    with pytest.raises(ValueError, match="split"):
        sets.asked(sprites, "nobody", 3)
    with pytest.raises(ValueError, match="no scenes"):
        sets.asked(sprites, "train", 0)


def test_wishes_are_what_captions_say(sprites: Sprites) -> None:
    made, wishes = sets.checkable(sprites, 60)
    assert len(made) == len(wishes) == 60
    for text, lang, wish in zip(made.texts, made.langs, wishes, strict=True):
        assert wish.colour or wish.count
        for table, name in (("colours", wish.colour), ("counts", wish.count), ("places", wish.place)):
            if name is not None:
                assert word(table, str(name), lang) in text


# --- drawing ----------------------------------------------------------------------------------------------


def test_real_pictures_drawn_again_are_as_good_as_real(sprites: Sprites) -> None:
    made = sets.asked(sprites, "train", 40)
    judge = Seer(made.texts, made.pictures)
    facts = drawn_figures.drawing(judge, made, made.pictures, made.pictures)
    assert facts["right_among_20"]["value"] == facts["real_right_among_20"]["value"] == 1
    assert facts["share_of_real"] == 1
    assert facts["chance"] == 0.05
    assert facts["frechet_on_the_judges_features"] == pytest.approx(0, abs=1e-5)
    assert facts["retrieved_right_among_20"]["value"] == 1
    wrong = drawn_figures.drawing(judge, made, np.roll(made.pictures, 1, 0))
    assert wrong["right_among_20"]["value"] < 0.2
    assert wrong["real_right_among_20"]["value"] == 1
    assert "retrieved_right_among_20" not in wrong


def test_retrieval_finds_what_is_there(sprites: Sprites) -> None:
    made = sets.asked(sprites, "train", 25)
    judge = Seer(made.texts, made.pictures)
    known = np.ascontiguousarray(made.pictures[::-1])
    assert np.array_equal(drawn_figures.retrieve(judge, made.texts, known), made.pictures)


def test_attributes_of_real_and_of_exchanged_pictures(sprites: Sprites) -> None:
    made, wishes = sets.checkable(sprites, 80)
    facts = drawn_figures.attributes(wishes, made.pictures, made.pictures)
    assert facts["any"]["real"]["value"] == facts["any"]["drawn"]["value"] > 0.9
    assert facts["any"]["chance"]["value"] < 0.4
    blank = np.full_like(made.pictures, 255)
    empty = drawn_figures.attributes(wishes, blank, made.pictures)
    assert empty["any"]["drawn"]["value"] == empty["all"]["drawn"]["value"] == 0
    assert empty["colour"]["drawn"]["n"] == sum(wish.colour is not None for wish in wishes)


def test_copies_are_found_and_others_are_not(sprites: Sprites) -> None:
    known = np.stack([scene.pixels for scene in sets.stickers(sprites, "train", 60)])
    rebuilt = known.copy()
    rebuilt[..., 0] ^= 2
    real = sets.asked(sprites, "pairs", 20).pictures
    facts = drawn_figures.copies(rebuilt[:20], real, known, rebuilt)
    assert facts["drawn"]["near_copies"]["value"] >= 0.8  # but for the largest twentieth
    assert facts["real"]["near_copies"]["value"] < 0.2
    assert facts["real"]["median_rms"] > facts["drawn"]["median_rms"]


def test_a_sweep_orders_ways(sprites: Sprites) -> None:
    made = sets.asked(sprites, "train", 30)
    real = dict(zip(made.texts, made.pictures, strict=True))
    asked_for: list[int] = []

    def good(prompts: Sequence[str], styles: Sequence[str], seeds: Sequence[int]) -> np.ndarray:
        asked_for.extend(seeds)
        assert list(styles) == made.styles
        return np.stack([real[prompt] for prompt in prompts])

    def bad(prompts: Sequence[str], styles: Sequence[str], seeds: Sequence[int]) -> np.ndarray:
        return np.roll(good(prompts, styles, seeds), 1, 0)

    rows = drawn_figures.sweep(Seer(made.texts, made.pictures), made, {"good": good, "bad": bad}, seed=5)
    assert [row["way"] for row in rows] == ["good", "bad"]
    assert rows[0]["right_among_20"]["value"] > rows[1]["right_among_20"]["value"] + 0.5
    assert asked_for[:30] == list(range(5, 35))


# --- what becomes of pictures -----------------------------------------------------------------------------


def test_reconstruction_tells_quality_and_codes(sprites: Sprites) -> None:
    pictures = sets.asked(sprites, "emoji", 12).pictures
    facts = turned.reconstruction(Halver(), {"emoji": pictures, "style": pictures[:5]})
    rebuilt = Halver().decode(Halver().encode(pictures))
    from tokenloom.evals.pictures import psnr

    assert facts["emoji"]["psnr_db"]["value"] == pytest.approx(psnr(pictures, rebuilt).mean())
    assert facts["style"]["n"] == 5
    codes = Halver().encode(pictures)
    assert facts["emoji"]["codes"]["used"] == len(np.unique(codes)) / 16
    assert facts["all"]["codes"]["n"] == 17 * 64


def test_restyling_is_won_by_the_truth_and_lost_by_standing_still(sprites: Sprites) -> None:
    scenes = sets.stickers(sprites, "pairs", 20)
    true = np.stack([scene.pixels for scene in scenes])
    source = np.roll(true, 1, 0)
    differ = (source != true).any((1, 2, 3))
    true, source = true[differ], source[differ]
    assert len(true) > 8
    judge = Seer([str(at) for at in range(len(true))], true)
    best = turned.restyling(judge, source, true, true)
    assert best["nearer_by_pixels"]["value"] == best["nearer_by_judge"]["value"] == 1
    assert best["rms"]["made"] == 0
    still = turned.restyling(judge, source, source, true)
    assert still["nearer_by_pixels"]["value"] == still["nearer_by_judge"]["value"] == 0


def test_describing_counts_right_exact_and_empty(sprites: Sprites) -> None:
    made = sets.asked(sprites, "train", 24)
    judge = Seer(made.texts, made.pictures)
    right = turned.describing(judge, made.texts, made.keys, made.texts)
    assert (right["right_among_20"]["value"], right["exact"], right["empty"]) == (1, 1, 0)
    silent = turned.describing(judge, made.texts, made.keys, [" "] * 24)
    assert (silent["right_among_20"]["value"], silent["exact"], silent["empty"]) == (0, 0, 1)


def test_edits_tell_what_moved_outside_the_mask(sprites: Sprites) -> None:
    made = sets.asked(sprites, "train", 24)
    before, codec = made.pictures, Halver()
    masks = np.zeros(before.shape[:3], bool)
    masks[:, 20:30, 20:30] = True  # touches the places 16 to 32
    kept = codec.decode(codec.encode(before))
    kept[:, 16:32, 16:32] = 7
    judge = Seer(made.texts, before)
    facts = turned.editing(codec, judge, before, masks, kept, before, made.texts, made.keys)
    assert facts["outside"]["unchanged_but_for_codec"] == 1
    assert facts["outside"]["psnr_db"] == facts["outside"]["codec_alone_psnr_db"]
    pasted = before.copy()
    pasted[:, 16:32, 16:32] = 7
    facts = turned.editing(codec, judge, before, masks, pasted, before, made.texts, made.keys)
    assert facts["outside"]["unchanged"] == 1
    assert facts["real_right_among_20"]["value"] == 1
    spilt = pasted.copy()
    spilt[:, 32:34, 16:32] = 7  # two rows below
    facts = turned.editing(codec, judge, before, masks, spilt, before, made.texts, made.keys)
    assert facts["outside"]["unchanged"] < 0.5
    assert facts["far"]["unchanged"] == 1

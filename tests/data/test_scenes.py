"""Scenes are what their records say: seeded, drawn where they say, in colours that the rule confirms."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import numpy as np
import pytest
from drawn_sprites import drawn, drawn_sprites

from tokenloom.data.grounds import PATTERNS, SCENERIES, choose_ground, paint_ground
from tokenloom.data.layouts import RELATIONS, pair_slots
from tokenloom.data.picture_record import KINDS, Ground, Kind
from tokenloom.data.picture_set import varied
from tokenloom.data.picture_words import COLOURS
from tokenloom.data.recolour import (
    TARGETS,
    colour_of,
    colour_shares,
    paint_of,
    recolour,
    shade_of,
    to_oklab,
    to_srgb,
)
from tokenloom.data.scene_edits import LEAST, PLACE, changed
from tokenloom.data.scenes import alike, compose, draw, fitted
from tokenloom.data.sprites import Sprites


@pytest.fixture(scope="module")
def sprites() -> Sprites:
    return drawn_sprites()


# --- colours --------------------------------------------------------------------------------------------


def test_oklab_agrees_with_the_published_values() -> None:
    # Ottosson 2020: white, and sRGB's red, green and blue.
    known = {
        (255, 255, 255): (1.0, 0.0, 0.0),
        (255, 0, 0): (0.628, 0.225, 0.126),
        (0, 255, 0): (0.866, -0.234, 0.179),
        (0, 0, 255): (0.452, -0.032, -0.312),
    }
    for rgb, lab in known.items():
        assert to_oklab(np.array([rgb], np.uint8))[0] == pytest.approx(lab, abs=2e-3)


def test_oklab_and_back_is_the_same() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (500, 3)).astype(np.uint8)
    assert np.abs(to_srgb(to_oklab(rgb)).astype(int) - rgb).max() <= 1


@pytest.mark.parametrize(
    ("rgb", "word"),
    [
        ((255, 0, 0), "red"),
        ((221, 46, 68), "red"),
        ((255, 140, 0), "orange"),
        ((255, 220, 0), "yellow"),
        ((255, 204, 77), "yellow"),
        ((0, 160, 0), "green"),
        ((120, 177, 89), "green"),
        ((0, 0, 255), "blue"),
        ((85, 172, 238), "blue"),
        ((128, 0, 128), "purple"),
        ((255, 105, 180), "pink"),
        ((255, 192, 203), "pink"),
        ((139, 69, 19), "brown"),
        ((193, 105, 79), "brown"),
        ((0, 0, 0), "black"),
        ((41, 47, 51), "black"),
        ((255, 255, 255), "white"),
        ((128, 128, 128), "grey"),
    ],
)
def test_colours_are_named_as_people_name_them(rgb: tuple[int, int, int], word: str) -> None:
    assert colour_of(np.full((4, 4, 3), rgb, np.uint8)) == word


def test_a_colour_is_named_only_where_it_rules() -> None:
    half = np.zeros((10, 10, 4), np.uint8)
    half[..., 3] = 255
    half[:, :4, 0] = 255  # four tenths red, the rest black
    assert colour_of(half) == "black"
    assert colour_of(half, share=0.7) is None
    mask = np.zeros((10, 10), bool)
    mask[:, :4] = True
    assert colour_of(half, mask) == "red"
    assert colour_shares(half)["red"] == pytest.approx(0.4)
    assert colour_of(np.zeros((4, 4, 4), np.uint8)) is None  # nothing is seen


@pytest.mark.parametrize("word", COLOURS)
def test_recoloured_pixels_have_the_colour_and_keep_their_shade(word: str) -> None:
    picture = drawn(0, (200, 60, 50), 0)
    picture[:48, :, :3] = (150, 40, 35)  # the upper half is in the shade
    area = paint_of(picture)
    assert area is not None
    made = recolour(picture, area, word)
    assert colour_of(made, share=0.9) == word
    assert (made[..., 3] == picture[..., 3]).all()
    light = to_oklab(made[..., :3])[..., 0]
    assert light[20, 48] < light[70, 48] - 0.02  # still darker above


def test_a_sprite_of_many_hues_takes_no_colour() -> None:
    picture = drawn(1, (200, 60, 50), 0)
    picture[:, 32:64, :3] = (50, 90, 220)
    picture[:, 64:, :3] = (60, 170, 60)
    assert paint_of(picture) is None


@pytest.mark.parametrize("word", sorted(TARGETS))
def test_grounds_have_the_colour_they_are_named_by(word: str) -> None:
    for light in (-1, 0, 1):
        for vivid in (-1, 0, 1):
            assert colour_of(np.array([[shade_of(word, light, vivid)]], np.uint8)) == word


def test_patterned_grounds_are_mostly_what_they_are_named(sprites: Sprites) -> None:
    from random import Random

    kinds = set()
    for seed in range(600):
        ground = choose_ground(Random(seed), frozenset())
        kinds.add(ground.kind)
        if ground.colour:
            assert colour_shares(paint_ground(ground))[ground.colour] >= 0.5, ground
        assert (paint_ground(ground)[..., 3] == 255).all()
    assert kinds == {"plain", *PATTERNS, *SCENERIES}
    assert not paint_ground(Ground("none")).any()


# --- scenes ---------------------------------------------------------------------------------------------


def test_a_scene_is_a_function_of_seed_and_index(sprites: Sprites) -> None:
    other = drawn_sprites()
    for index in (0, 5, 17):
        one, two = compose(sprites, 7, index), compose(other, 7, index)
        assert one.record == two.record
        assert (one.pixels == two.pixels).all()
        assert one.pixels.shape == (64, 64, 4)
        assert one.pixels.dtype == np.uint8
    assert compose(sprites, 7, 0).record != compose(sprites, 8, 0).record
    assert compose(sprites, 7, 0).record != compose(sprites, 7, 1).record


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_shows_what_it_is(sprites: Sprites, kind: Kind) -> None:
    for index in range(60):
        record = compose(sprites, 3, index, kind=kind).record
        assert record.kind == kind
        assert len(record.things) == {"pair": 2, "row": 3}.get(kind, 1)
        assert (record.relation is not None) == (kind == "pair")
        assert (record.things[0].count > 1) == (kind == "count")
        for thing in record.things:
            for slot in thing.slots:
                assert min(slot.x, slot.y) >= 0
                assert max(slot.x, slot.y) + slot.side <= 64


def test_things_are_drawn_where_the_record_says(sprites: Sprites) -> None:
    checked = 0
    for index in range(400):
        scene = compose(sprites, 11, index)
        bare = draw(sprites, replace(scene.record, things=())).pixels
        differs = (scene.pixels != bare).any(-1)
        allowed = np.zeros((64, 64), bool)
        for thing in scene.record.things:
            for slot in thing.slots:
                allowed[slot.y : slot.y + slot.side, slot.x : slot.x + slot.side] = True
        assert not (differs & ~allowed).any()
        place = scene.record.things[0].place
        if place and len(scene.record.things) == 1:
            y, x = (values.mean() for values in np.nonzero(differs))
            assert ("left" in place) == (x < 24), place
            assert ("right" in place) == (x > 40), place
            assert ("top" in place) == (y < 24), place
            assert ("bottom" in place) == (y > 40), place
            checked += 1
    assert checked > 30


def test_the_colour_word_is_true_of_the_pixels(sprites: Sprites) -> None:
    said = true = 0
    for index in range(700):
        scene = compose(sprites, 13, index, kind="one")
        thing = scene.record.things[0]
        if thing.colour is None:
            continue
        slot = thing.slots[0]
        seen = fitted(sprites, thing, slot.side)[..., 3] >= 200
        part = scene.pixels[slot.y : slot.y + slot.side, slot.x : slot.x + slot.side]
        said += 1
        true += colour_of(part, seen) == thing.colour
    assert said > 350
    assert true / said > 0.98


@pytest.mark.parametrize("relation", RELATIONS)
def test_relations_are_true_of_the_places(relation: str) -> None:
    from random import Random

    for seed in range(100):
        boxes = [(0, 20, 96, 76), (20, 0, 76, 96)]
        first, second = pair_slots(relation, boxes, Random(seed))
        dx = (first.x + first.side / 2) - (second.x + second.side / 2)
        bottom = first.y + boxes[0][3] * first.side / 96
        top = second.y + boxes[1][1] * second.side / 96
        if relation in ("left", "right"):
            assert (dx < -20) if relation == "left" else (dx > 20)
        elif relation == "next":
            assert abs(dx) > 20
        elif relation == "above":
            assert bottom + 1 < top
        elif relation == "below":
            assert first.y + boxes[0][1] * first.side / 96 > second.y + second.side + 1
        else:
            assert abs(dx) <= 3
            assert 0 <= bottom - top <= 4  # it touches


def test_a_sprite_is_laid_over_the_ground_by_its_alpha(sprites: Sprites) -> None:
    scene = compose(sprites, 1, 0, kind="one")
    record = replace(scene.record, ground=Ground("plain", ((10, 200, 30),), "green"))
    pixels = draw(sprites, record).pixels
    assert (pixels[..., 3] == 255).all()
    thing, slot = record.things[0], record.things[0].slots[0]
    sprite = fitted(sprites, thing, slot.side).astype(float)
    part = pixels[slot.y : slot.y + slot.side, slot.x : slot.x + slot.side, :3]
    alpha = sprite[..., 3:] / 255
    wanted = sprite[..., :3] * alpha + np.array((10, 200, 30)) * (1 - alpha)
    assert np.abs(part - wanted).max() <= 1


# --- other styles and edits -----------------------------------------------------------------------------


def test_the_twin_has_the_same_things_in_the_same_places(sprites: Sprites) -> None:
    found = 0
    for index in range(200):
        scene = compose(sprites, 17, index)
        twin = alike(sprites, scene, "noto")
        if twin is None or scene.record.style == "noto":
            continue
        found += 1
        assert twin.record.style == "noto"
        assert twin.record.ground == scene.record.ground
        for one, two in zip(scene.record.things, twin.record.things, strict=True):
            assert one.hexcode == two.hexcode
            assert sprites.sprites[two.sprite].style == "noto"
            assert one.recoloured == two.recoloured
            if scene.record.relation != "on":
                assert one.slots == two.slots
            if one.recoloured:
                assert one.colour == two.colour
    assert found > 50


def test_outside_the_mask_an_edit_changes_nothing(sprites: Sprites) -> None:
    kinds = set()
    for index in range(900):
        change = changed(sprites, compose(sprites, 19, index))
        if change is None:
            continue
        kinds.add(change.kind)
        assert change.mask.shape == (64, 64)
        places = change.mask.reshape(8, PLACE, 8, PLACE)
        assert (places.any((1, 3)) == places.all((1, 3))).all()  # whole places
        assert places.all((1, 3)).sum() >= LEAST
        assert (change.before[~change.mask] == change.after[~change.mask]).all()
        assert (change.before[change.mask] != change.after[change.mask]).any()
        assert change.en
        assert change.zh
    assert kinds == {"add", "remove", "swap", "recolour", "hat"}


def test_removing_leaves_the_ground(sprites: Sprites) -> None:
    done = 0
    for index in range(100):
        scene = compose(sprites, 23, index, kind="one")
        change = changed(sprites, scene, "remove")
        if change is not None:
            done += 1
            assert (change.after == paint_ground(scene.record.ground)).all()
            assert change.en in ("nothing", "empty background")
    assert done > 30


def test_before_and_after_are_varied_alike() -> None:
    """In a mirror, with hues turned by one angle, or both."""
    one = np.zeros((8, 8, 4), np.uint8)
    one[:, :5] = (150, 90, 80, 255)
    seen = set()
    for seed in range(30):
        first, second = varied([one, one], Random(seed))
        assert np.array_equal(first, second)
        mirrored = bool(first[0, 7, 3])
        assert (first[..., 3] == (one[:, ::-1] if mirrored else one)[..., 3]).all()
        then, now = (to_oklab(some[:, 4, :3])[0] for some in (one, first))
        assert now[0] == pytest.approx(then[0], abs=0.02), "as light"
        assert np.hypot(*now[1:]) == pytest.approx(np.hypot(*then[1:]), abs=0.02), "as vivid"
        apart = abs((np.arctan2(now[2], now[1]) - np.arctan2(then[2], then[1]) + np.pi) % (2 * np.pi) - np.pi)
        assert apart < 0.02 or apart > np.radians(15)
        seen.add((mirrored, bool(apart > 0.02)))
    assert seen == {(True, False), (False, True), (True, True)}

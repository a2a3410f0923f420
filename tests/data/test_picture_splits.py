"""What is held out stays out: no picture for training shows any of it, and each split shows only its own."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from drawn_sprites import drawn_sprites

from tokenloom.data.layouts import choose
from tokenloom.data.picture_splits import (
    SPLITS,
    combination_held_out,
    combinations,
    emoji_held_out,
    held_combinations,
    pair_held_out,
    split_of,
    style_held_out,
)
from tokenloom.data.picture_words import TRAINED_STYLES, nouns
from tokenloom.data.scene_edits import changed
from tokenloom.data.scenes import alike, draw
from tokenloom.data.sprites import Sprites


@pytest.fixture(scope="module")
def sprites() -> Sprites:
    return drawn_sprites()


def test_a_tenth_of_each_kind_is_held_out() -> None:
    names = [f"{0x1F300 + i:x}" for i in range(4000)]
    assert sum(map(emoji_held_out, names)) / len(names) == pytest.approx(0.1, abs=0.02)
    trained = [name for name in names if not emoji_held_out(name)]
    pairs = sum(pair_held_out(name, style) for name in trained for style in TRAINED_STYLES)
    assert pairs / (3 * len(trained)) == pytest.approx(0.1, abs=0.02)
    counts = [combination_held_out("count", str(n), name) for n in (2, 3, 4) for name in names]
    assert sum(counts) / len(counts) == pytest.approx(0.1, abs=0.02)


def test_an_emoji_of_a_held_out_pair_is_trained_in_the_other_styles() -> None:
    for noun in nouns().values():
        for hexcode in noun.hexcodes:
            held = [style for style in TRAINED_STYLES if pair_held_out(hexcode, style)]
            assert len(held) <= 1
            assert held == ([style_held_out(hexcode)] if style_held_out(hexcode) else [])


def test_variants_of_one_emoji_fall_together() -> None:
    assert emoji_held_out("1f44b-1f3fb") == emoji_held_out("1f44b") == emoji_held_out("1F44B-FE0F")
    hearts = nouns()["heart"].hexcodes
    assert len({emoji_held_out(hexcode) for hexcode in hearts}) == 1


def test_the_split_is_the_same_on_every_machine() -> None:
    known = [noun.key for noun in nouns().values() if emoji_held_out(noun.hexcodes[0])]
    assert known[:3] == ["squirrel", "skunk", "badger"]


def test_nothing_held_out_is_composed_for_training(sprites: Sprites) -> None:
    for index in range(20_000):
        record = choose(sprites, 1, index, "train")
        assert split_of(record) == "train"
        for thing in record.things:
            assert not emoji_held_out(thing.hexcode)
            assert not pair_held_out(thing.hexcode, record.style)
        assert not held_combinations(record)
        assert record.style in TRAINED_STYLES


@pytest.mark.parametrize("split", SPLITS)
def test_each_split_shows_its_own(sprites: Sprites, split: str) -> None:
    for index in range(300):
        record = choose(sprites, 2, index, split)
        assert split_of(record) == split
        if split == "emoji":
            assert all(emoji_held_out(thing.hexcode) for thing in record.things)
        if split == "combinations":
            assert held_combinations(record)
        if split == "style":
            assert record.style == "openmoji"


def test_combinations_of_all_three_kinds_are_held_out(sprites: Sprites) -> None:
    kinds = Counter(
        kind for i in range(400) for kind, _ in held_combinations(choose(sprites, 3, i, "combinations"))
    )
    assert min(kinds[kind] for kind in ("colour", "count", "relation")) > 20


def test_an_arrangement_has_one_name_from_both_sides(sprites: Sprites) -> None:
    turned = {"left": "right", "right": "left", "above": "below", "below": "above", "next": "next"}
    met = set()
    for index in range(100):
        record = choose(sprites, 6, index, kind="pair")
        if record.relation in turned:
            other = replace(record, relation=turned[record.relation], things=record.things[::-1])
            own = [c for c in combinations(record) if c[0] == "relation"]
            assert own == [c for c in combinations(other) if c[0] == "relation"]
            assert own
            met.add(record.relation)
    assert met == set(turned)


def test_a_colour_a_thing_has_of_itself_is_no_combination(sprites: Sprites) -> None:
    found = 0
    for index in range(2000):
        for kind, names in combinations(choose(sprites, 4, index, "train")):
            if kind == "colour":
                found += 1
                assert names[0] not in sprites.own_colours[names[1]]
    assert found > 100


def test_edits_and_other_styles_keep_to_the_split(sprites: Sprites) -> None:
    twins = edits = 0
    for index in range(600):
        scene = draw(sprites, choose(sprites, 5, index, "train"))
        twin = alike(sprites, scene, "noto")
        if twin is not None:
            twins += 1
            assert split_of(twin.record) == "train"
        change = changed(sprites, scene)
        if change is not None:
            edits += 1
            assert split_of(change.record) == "train"
    assert twins > 200
    assert edits > 200


def test_an_unknown_split_is_named(sprites: Sprites) -> None:
    with pytest.raises(ValueError, match=r"split: found 'test'; allowed: train, emoji"):
        choose(sprites, 1, 0, "test")

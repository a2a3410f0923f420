"""Clip art is matched to emoji by its names; what is no clean drawing of one thing stays out; splits hold."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from drawn_sprites import drawn_sprites

from tokenloom.data.clip_art import INSIDE, Clip, clean, cleanest, described, find_clips, known_names, match
from tokenloom.data.picture_splits import combination_held_out, emoji_held_out, split_of
from tokenloom.data.picture_words import CLIPART, COLOURS, key_of, noun_of, nouns
from tokenloom.data.scenes import alike, compose
from tokenloom.data.sprites import SIDE, Sprites, open_sprites

LABELS = {"1f98a": "fox", "1f415": "dog", "1f34e": "red apple", "1f34f": "green apple", "1f9cc": "troll"}


def svg(
    title: str,
    keywords: tuple[str, ...] = (),
    body: str = '<circle cx="30" cy="30" r="9" fill="#c33"/>',
    size: str = 'width="60" height="60"',
) -> str:
    said = "".join(f"<rdf:li>{word}</rdf:li>" for word in keywords)
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" '
        f'xmlns:dc="http://purl.org/dc/elements/1.1/" {size}><metadata><rdf:RDF>'
        f"<dc:title>{title}</dc:title><dc:subject><rdf:Bag>{said}</rdf:Bag></dc:subject>"
        "<dc:creator><dc:title>Ann Example</dc:title></dc:creator></rdf:RDF></metadata>"
        f"{body}</svg>"
    )


@pytest.mark.parametrize(
    ("title", "stem", "keywords", "hexcode"),
    [
        ("Fox", "x", (), "1f98a"),
        ("A little red fox", "x", (), "1f98a"),
        ("Sleepy fox", "x", (), "1f98a"),
        ("", "fox_ann_exa_01", (), "1f98a"),
        ("Clipart by Ann - bee", "fox", (), "1f98a"),
        ("Rex", "x", ("animal", "dog"), "1f415"),
        ("green apple", "x", (), "1f34f"),
        ("troll", "x", (), "1f9cc"),
        ("puppy", "x", (), "1f415"),
        ("foxes", "x", (), None),
        ("Fox and dog", "x", ("fox", "dog"), None),
        ("Fox (B and W)", "x", (), None),
        ("fox", "fox_bw", (), None),
        ("fox hole", "x", (), None),
        ("Sleepy troll", "x", ("troll",), None),  # only well-known things are taken on so little
    ],
)
def test_a_clip_is_called_after_a_thing(
    title: str, stem: str, keywords: tuple[str, ...], hexcode: str | None
) -> None:
    found = match(described(svg(title, keywords)), stem, known_names(LABELS))
    assert (found and found[0]) == hexcode


def test_metadata_are_read_and_damage_is_passed_over() -> None:
    said = described(svg("Fox &amp; Co", ("red_fox", "")))
    assert (said.title, said.keywords, said.author) == (("fox", "co"), ("red fox",), ("ann", "example"))
    assert described("<svg><metadata><dc:title>Fox").title == ()
    assert described("").keywords == ()


def test_what_cannot_be_told_alike_everywhere_stays_out(tmp_path: Path) -> None:
    for name, text in {
        "animals/fox": svg("fox"),
        "animals/dog": svg("dog", body="<text>dog</text>"),
        "animals/photo_fox": svg("fox", body='<image href="fox.png"/>'),
        "shapes/fox": svg("fox"),
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.svg").write_text(text, encoding="utf-8")
    found = find_clips(tmp_path, LABELS)
    assert [(clip.name, clip.hexcode) for clip in found] == [("animals/fox", "1f98a")]


def test_the_lists_name_things_that_there_are() -> None:
    from tokenloom.data.clip_art import _lists

    lists = _lists()
    labels = {noun.hexcodes[0]: noun.key for noun in nouns().values()}
    others = {"grapes", "satellite antenna", "books", "evergreen tree", "racing car"}
    unknown = {*lists["also"].values(), *lists["meant"].values()} - {*labels.values()} - others
    assert not unknown
    assert not {*lists["meant"]} & {*lists["left_out"]["paths"]}
    assert not any(path.endswith(".svg") for path in (*lists["meant"], *lists["left_out"]["paths"]))


def disc(colour: tuple[int, int, int], radius: float = 47, hole: float = 0) -> np.ndarray:
    y, x = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    away = np.hypot(x, y)
    picture = np.zeros((SIDE, SIDE, 4), np.uint8)
    picture[..., :3] = colour
    picture[..., 3] = 255 * ((away < radius) & (away >= hole))
    return picture


def test_clean_drawings_are_told_from_others() -> None:
    assert clean(disc((200, 40, 40))) is not None
    assert clean(disc((0, 0, 0))) is None  # line art, shadows
    assert clean(disc((128, 128, 128))) is None  # no colour at all
    assert clean(disc((200, 40, 40), hole=45)) is None  # a thread
    assert clean(np.full((SIDE, SIDE, 4), (200, 40, 40, 255), np.uint8)) is None  # a page
    assert clean(np.zeros((SIDE, SIDE, 4), np.uint8)) is None


def test_the_surest_and_cleanest_are_kept() -> None:
    fox = [Clip(Path(), f"fox {rank}", "1f98a", rank) for rank in (3, 0, 0, 1, 2)]
    dog = [Clip(Path(), "dog", "1f415", 3)]
    pictures = [
        disc((200, 40, 40)),
        disc((40, 200, 40)),
        disc((42, 198, 40)),  # all but the same
        disc((40, 40, 200)),
        disc((200, 200, 40)),
        disc((200, 40, 40)),
    ]
    kept = list(cleanest([*fox, *dog], pictures, most=3))
    assert len({1, 2} & {*kept}) == 1
    assert {3, 4, 5} <= {*kept}
    assert 0 not in kept
    assert kept[0] in (1, 2)


def test_clips_become_sprites_behind_the_others(tmp_path: Path) -> None:
    pytest.importorskip("resvg_py")
    from test_sprites import GROUPS, package, picture

    from tokenloom.data.sprite_packages import make_sprites

    data = {
        f"{lang}/data.json": json.dumps([{"hexcode": "1F98A", "label": label, "group": 3, "tags": []}])
        for lang, label in (("en", "fox"), ("zh", "狐狸"))
    } | {
        "en/messages.json": json.dumps(
            {"groups": [{"key": key, "order": i} for i, key in enumerate(GROUPS)], "subgroups": []}
        )
    }
    package(tmp_path / "labels", "emojibase-data", {name: text.encode() for name, text in data.items()})
    package(
        tmp_path / "noto",
        "emoji-datasource-google",
        {"img/google/64/1f98a.png": picture((240, 130, 30), ".png")},
    )
    clips = tmp_path / "openclipart" / INSIDE / "animals"
    clips.mkdir(parents=True)
    small = '<circle cx="100" cy="100" r="30" fill="#c33"/>'
    (clips / "fox.svg").write_text(svg("fox", (), small, 'width="210mm" height="297mm"'), encoding="utf-8")
    (clips / "blue_fox.svg").write_text(
        svg("fox", body='<path d="M5 5h40l10 20-25 30z" fill="#36c"/>'), encoding="utf-8"
    )
    (clips / "broken_fox.svg").write_text(svg("fox").replace("</svg>", "<"), encoding="utf-8")
    counts = make_sprites([tmp_path], tmp_path / "out")
    assert (counts["noto"], counts[CLIPART]) == (1, 2)
    sprites = open_sprites(tmp_path / "out")
    assert [s.style for s in sprites.sprites] == ["noto", CLIPART, CLIPART]
    assert {(s.hexcode, s.en, s.zh, s.group) for s in sprites.sprites} == {
        ("1f98a", "fox", "狐狸", "animals-nature")
    }
    assert sprites.find("1f98a", CLIPART) == 1
    assert sprites.packages[-1]["licence"] == "public domain"
    # Small on its page, the disc is drawn again, larger: its edge is sharp and round.
    red = sprites.pixels(next(i for i in (1, 2) if sprites.sprites[i].colour == "red"))
    assert abs((red[..., 3] >= 128).mean() - np.pi / 4) < 0.02
    assert ((red[..., 3] > 40) & (red[..., 3] < 215)).mean() < 0.06


@pytest.fixture(scope="module")
def with_clips() -> Sprites:
    """The drawn sprites with two clips of each third well-known thing, in every colour there is."""
    some = drawn_sprites()
    sprites, pixels = list(some.sprites), [some.pixels(i) for i in range(len(some))]
    rows = [i for i, s in enumerate(some.sprites) if s.style == "fluent" and noun_of(s.hexcode)]
    for number, row in enumerate(rows[::2]):
        for shade in (0, 5):
            colour = COLOURS[(number + shade) % len(COLOURS)]
            sprites.append(replace(some.sprites[row], style=CLIPART, colour=colour))
            pixels.append(some.pixels(row))
    return Sprites(sprites, np.stack(pixels))


def test_training_never_shows_what_is_held_out(with_clips: Sprites) -> None:
    scenes = [compose(with_clips, 3, index) for index in range(600)]
    clips = [scene for scene in scenes if scene.record.style == CLIPART]
    assert 50 < len(clips) < 130  # a seventh
    for scene in scenes:
        assert split_of(scene.record) == "train"
        for thing in scene.record.things:
            assert not emoji_held_out(thing.hexcode)
            key = key_of(thing.hexcode)
            if thing.colour and thing.colour not in with_clips.own_colours.get(key, ()):
                assert not combination_held_out("colour", thing.colour, key)
    held = [compose(with_clips, 3, index, "emoji") for index in range(60)]
    assert any(scene.record.style == CLIPART for scene in held)
    assert all(emoji_held_out(thing.hexcode) for scene in held for thing in scene.record.things)
    pairs = [compose(with_clips, 3, index, "pairs") for index in range(30)]
    assert all(scene.record.style != CLIPART for scene in pairs)


def test_other_styles_stay_as_they_were(with_clips: Sprites) -> None:
    without = drawn_sprites()
    assert with_clips.own_colours == without.own_colours
    for style in ("fluent", "noto", "twemoji"):
        for split in ("train", "emoji", "pairs", "combinations"):
            from tokenloom.data.layouts import pool
            from tokenloom.data.picture_splits import checked

            assert pool(with_clips, style, checked(split)) == pool(without, style, checked(split))


def test_a_twin_in_clip_art_has_the_same_colours(with_clips: Sprites) -> None:
    twins = 0
    for index in range(400):
        scene = compose(with_clips, 5, index)
        if scene.record.style == CLIPART:
            continue
        twin = alike(with_clips, scene, CLIPART)
        if twin is not None:
            twins += 1
            assert [t.colour for t in twin.record.things] == [t.colour for t in scene.record.things]
            assert all(
                t.sprite == with_clips.find(t.hexcode, CLIPART) for t in twin.record.things
            )  # the first of them, always
    assert twins

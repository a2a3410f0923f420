"""Everything that is measured of a picture model, in one go: figures as JSON values and sheets to look at.

Not the measures themselves (pictures, picture_features, picture_checks, picture_drawn, picture_turned) and
not how they are shown (picture_report).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from tokenloom.data.captions import caption, styled
from tokenloom.data.picture_splits import emoji_held_out
from tokenloom.data.picture_words import CLIPART, TRAINED_STYLES, Lang, key_of
from tokenloom.data.scene_edits import Change, changed
from tokenloom.data.scenes import Scene, compose, twin
from tokenloom.data.sprites import Sprites
from tokenloom.evals import picture_drawn as drawn_figures
from tokenloom.evals import picture_sets as sets
from tokenloom.evals import picture_turned as turned
from tokenloom.evals.interval import mean
from tokenloom.evals.picture_features import AMONG
from tokenloom.tokens.image import (
    DESCRIPTIONS,
    DRAFTS,
    RESTYLING,
    STYLES,
    best_described,
    best_restyled,
    fits_of_restyled,
)

Facts = dict[str, Any]
Stage = Callable[[str], None]


class Draws(Protocol):
    """What is measured (evals.picture_artist.Artist)."""

    def draw(self, prompts: Sequence[str], styles: Sequence[str], seeds: Sequence[int]) -> np.ndarray: ...
    def restyle(
        self, pictures: np.ndarray, styles: Sequence[str], seeds: Sequence[int], drafts: int = 1
    ) -> np.ndarray: ...
    def describe(
        self, pictures: np.ndarray, langs: Sequence[Lang], likeliest: int = 1
    ) -> Sequence[Sequence[str]]: ...
    def edit(
        self, pictures: np.ndarray, masks: np.ndarray, words: Sequence[str], seeds: Sequence[int]
    ) -> np.ndarray: ...


@dataclass(frozen=True)
class Sizes:
    """How many pictures each part is of."""

    drawn: int = 240
    """Of each split."""
    checked: int = 500
    """Whose colour, count and place are checked."""
    known: int = 3000
    """Training pictures among which the nearest is sought."""
    rebuilt: int = 600
    """Of each set that goes through the codec; 0 = all there are."""
    grouped: int = 200
    restyled: int = 200
    described: int = 240
    edited: int = 200
    swept: int = 80
    """Of each way to draw."""
    sheet: int = 12
    """Columns of a sheet."""


@dataclass(frozen=True)
class Sheet:
    """Pictures to look at: rows of one kind, columns of one caption."""

    name: str
    title: str
    rows: tuple[tuple[str, np.ndarray], ...]
    """What a row shows -> (N, H, W, 4)."""
    captions: tuple[str, ...]


@dataclass(frozen=True)
class Found:
    """What came of it."""

    facts: Facts
    sheets: tuple[Sheet, ...]


def measure_judge(judge: drawn_figures.Sees, sprites: Sprites, n: int = 500) -> Facts:
    """The judge's own score on real pictures: the right caption among 20, by split, and on whole emoji."""
    facts: Facts = {}
    for name, split in sets.SPLITS.items():
        asked = sets.asked(sprites, split, n, name=name)
        right = drawn_figures.right_captions(judge, asked, asked.pictures)
        facts[name] = {
            "right_among_20": mean(right.astype(float)).facts(),
            "by_language": {
                lang: float(right[[one == lang for one in asked.langs]].mean()) for lang in ("en", "zh")
            },
        }
    stickers = {"stickers of held-out emoji": "emoji", "stickers of the unseen style": "style"}
    if has_clip_art(sprites):
        stickers["stickers of held-out clip art"] = "clipart"
    for name, which in stickers.items():
        asked = sets.of_scenes(name, sets.stickers(sprites, which, n))
        right = drawn_figures.right_captions(judge, asked, asked.pictures)
        facts[name] = {"right_among_20": mean(right.astype(float)).facts()}
    return facts


def measure_styles(judge: drawn_figures.Sees, sprites: Sprites, n: int = 500) -> Facts:
    """Whether the judge finds the style of real whole emoji among the trained ones, when only that differs in
    their captions."""
    facts: Facts = {}
    for name, which in (("seen", "train"), ("held-out pairs", "pairs"), ("held-out emoji", "emoji")):
        asked = sets.of_scenes(name, sets.stickers(sprites, which, n))
        said = zip(asked.texts, asked.langs, strict=True)
        words = [[styled(text, style, lang) for style in TRAINED_STYLES] for text, lang in said]
        best = _fits(judge, asked.pictures, words).argmax(1)
        right = [TRAINED_STYLES[at] == style for at, style in zip(best, asked.styles, strict=True)]
        facts[name] = mean(np.array(right, float)).facts()
    return facts | {"chance": 1 / len(TRAINED_STYLES)}


def measure(
    draws: Draws,
    codec: turned.Codes,
    judge: drawn_figures.Sees,
    sprites: Sprites,
    sizes: Sizes = Sizes(),
    *,
    ways: dict[str, drawn_figures.Draw] | None = None,
    stage: Stage = lambda _: None,
    seed: int = 1,
) -> Found:
    """All of it. ways: ways to draw that are swept, by name. stage: told what begins. seed: of what is
    drawn."""
    facts: Facts = {"sizes": vars(sizes)}
    sheets: list[Sheet] = []
    stage("the judge on real pictures")
    facts["judge"] = measure_judge(judge, sprites, max(sizes.drawn, 60))
    facts["styles"] = measure_styles(judge, sprites, max(sizes.drawn, 60))
    stage("reconstruction")
    facts["reconstruction"], sheet = _rebuilt(codec, sprites, sizes)
    sheets.append(sheet)
    known = known_pictures(sprites, sizes.known)
    facts["drawing"], every = {}, []
    for name, split in sets.SPLITS.items():
        stage(f"drawing: {name}")
        asked = sets.asked(sprites, split, sizes.drawn, name=name)
        made = draws.draw(asked.texts, asked.styles, _seeds(asked, seed))
        retrieved = drawn_figures.retrieve(judge, asked.texts, known)
        facts["drawing"][name] = drawn_figures.drawing(judge, asked, made, retrieved)
        sheets.append(_drawn_sheet(name, codec, asked, made, sizes.sheet))
        every.append((made, asked.pictures))
    stage("copies")
    rebuilt, _ = turned.through(codec, known)
    facts["copies"] = drawn_figures.copies(
        np.concatenate([made for made, _ in every]),
        np.concatenate([real for _, real in every[1:]]),
        known,
        rebuilt,
    )
    stage("attributes")
    facts["attributes"], sheet = _attributes(draws, codec, sprites, sizes, seed)
    sheets.append(sheet)
    stage("groups")
    facts["groups"] = _groups(draws, judge, sprites, sizes, seed)
    for part in (_restyled, _described, _edited):
        stage(part.__name__.strip("_"))
        facts[part.__name__.strip("_")], sheet = part(draws, codec, judge, sprites, sizes, seed)
        sheets.append(sheet)
    if ways:
        stage("the sweep")
        asked = sets.asked(sprites, "combinations", sizes.swept, name="sweep")
        facts["sweep"] = drawn_figures.sweep(judge, asked, ways, seed)
    return Found(facts, tuple(sheets))


def has_clip_art(sprites: Sprites) -> bool:
    """Whether there is enough clip art that training never sees, that of held-out emoji, to tell one caption
    from others: so many kinds of things, of which there may be several drawings."""
    held = [one for one in sprites.sprites if one.style == CLIPART and emoji_held_out(one.hexcode)]
    return len({key_of(one.hexcode) for one in held}) >= AMONG


def known_pictures(sprites: Sprites, n: int) -> np.ndarray:
    """Training pictures: a half single sprites, a half composed scenes."""
    single = sets.stickers(sprites, "train", n // 2)
    return np.stack(
        [s.pixels for s in single] + [compose(sprites, 1, i).pixels for i in range(n - len(single))]
    )


def _seeds(asked: sets.Asked, seed: int) -> range:
    return range(seed * 1_000_000, seed * 1_000_000 + len(asked))


def _rebuilt(codec: turned.Codes, sprites: Sprites, sizes: Sizes) -> tuple[Facts, Sheet]:
    some = {
        "held-out emoji": sets.stickers(sprites, "emoji", sizes.rebuilt),
        "unseen style": sets.stickers(sprites, "style", sizes.rebuilt),
        "scenes": list(sets.asked(sprites, "combinations", min(sizes.rebuilt or 600, 600)).scenes),
    }
    if has_clip_art(sprites):
        some["held-out clip art"] = sets.stickers(sprites, "clipart", sizes.rebuilt)
    pictures = {name: np.stack([scene.pixels for scene in scenes]) for name, scenes in some.items()}
    half = sizes.sheet // 2
    shown = np.concatenate([pictures["held-out emoji"][:half], pictures["unseen style"][:half]])
    names = [s.record.things[0].en for name in ("held-out emoji", "unseen style") for s in some[name][:half]]
    rows = (("real", shown), ("through the codec", turned.through(codec, shown)[0]))
    sheet = Sheet("reconstruction", "Held-out emoji and the unseen style", rows, tuple(names))
    return turned.reconstruction(codec, pictures), sheet


def _drawn_sheet(
    name: str, codec: turned.Codes, asked: sets.Asked, made: np.ndarray, n: int, title: str = ""
) -> Sheet:
    real = asked.pictures[:n]
    rows = (("real", real), ("through the codec", turned.through(codec, real)[0]), ("drawn", made[:n]))
    captions = tuple(
        f"{text} ({style})" for text, style in zip(asked.texts[:n], asked.styles[:n], strict=True)
    )
    return Sheet(name.replace(" ", "-"), title or f"Drawn from words: {name}", rows, captions)


def _attributes(
    draws: Draws, codec: turned.Codes, sprites: Sprites, sizes: Sizes, seed: int
) -> tuple[Facts, Sheet]:
    asked, wishes = sets.checkable(sprites, sizes.checked)
    made = draws.draw(asked.texts, asked.styles, _seeds(asked, seed + 1))
    facts = drawn_figures.attributes(wishes, made, asked.pictures)
    rebuilt, _ = turned.through(codec, asked.pictures)
    facts["codec"] = drawn_figures.attributes(wishes, rebuilt, asked.pictures)["any"]["drawn"]
    return facts, _drawn_sheet(
        "attributes", codec, asked, made, sizes.sheet, "Colour, count and place asked for"
    )


def _groups(draws: Draws, judge: drawn_figures.Sees, sprites: Sprites, sizes: Sizes, seed: int) -> Facts:
    """Held-out (emoji, style) pairs and training emoji by turns, so that every group has some."""
    pairs, train = sets.stickers(sprites, "pairs"), sets.stickers(sprites, "train")
    known = train[sizes.grouped : sizes.grouped + sizes.known]
    having = {_group(sprites, scene) for scene in known}
    scenes = [s for s in pairs if _group(sprites, s) in having][: sizes.grouped]
    asked = sets.of_scenes("groups", scenes)
    made = draws.draw(asked.texts, asked.styles, _seeds(asked, seed + 2))
    return drawn_figures.groups(
        judge,
        {"drawn": made, "real": asked.pictures},
        [_group(sprites, scene) for scene in scenes],
        np.stack([scene.pixels for scene in known]),
        [_group(sprites, scene) for scene in known],
    )


def _group(sprites: Sprites, scene: Scene) -> str:
    return sprites.sprites[scene.record.things[0].sprite].group


def _restyled(
    draws: Draws, codec: turned.Codes, judge: drawn_figures.Sees, sprites: Sprites, sizes: Sizes, seed: int
) -> tuple[Facts, Sheet]:
    """Into the style in which a thing is held out, from a style in which it is not: the best of several
    drafts, as the task chooses it, and one draft."""
    found: list[tuple[Scene, Scene]] = []
    for true in sets.stickers(sprites, "pairs"):
        at = len(found) % len(TRAINED_STYLES)
        source = twin(sprites, true, (*TRAINED_STYLES[at:], *TRAINED_STYLES[:at]))
        if source is not None:
            found.append((source, true))
        if len(found) == sizes.restyled:
            break
    sources, true_pictures = (np.stack([pair[i].pixels for pair in found]) for i in (0, 1))
    styles = [pair[1].record.style for pair in found]
    seeds = range(seed * 1_000_000, seed * 1_000_000 + len(found))
    drafts = draws.restyle(sources, styles, seeds, DRAFTS)
    shown = [texts[0] or "?" for texts in draws.describe(sources, ["en"] * len(sources))]
    chosen = []
    for some, source, style, text in zip(drafts, sources, styles, shown, strict=True):
        vectors = judge.pictures(np.concatenate([source[None], some]))
        told = judge.texts([styled(text, one, "en") for one in STYLES])
        seen = np.concatenate([vectors[:1], told]) @ vectors.T
        chosen.append(best_restyled(some, source, fits_of_restyled(seen, STYLES.index(style))))
    made = drafts[np.arange(len(drafts)), chosen]
    guidance, temperature = RESTYLING
    how = {"drafts": DRAFTS, "guidance": guidance, "temperature": temperature}
    facts = {**how, **turned.restyling(judge, sources, made, true_pictures)}
    facts["one_draft"] = turned.restyling(judge, sources, drafts[:, 0], true_pictures)
    n = sizes.sheet
    captions = tuple(f"{s.record.things[0].en}: {s.record.style} to {t.record.style}" for s, t in found[:n])
    rows = (("source", sources[:n]), ("restyled", made[:n]), ("real", true_pictures[:n]))
    return facts, Sheet("restyled", "Restyled into a held-out (emoji, style) pair", rows, captions)


def _described(
    draws: Draws, codec: turned.Codes, judge: drawn_figures.Sees, sprites: Sprites, sizes: Sizes, seed: int
) -> tuple[Facts, Sheet]:
    """Real pictures of whole emoji, through the codec as all that the model sees: the description that the
    judge chooses of the likeliest, as the task does it, and the likeliest."""
    facts: Facts = {}
    shown: list[tuple[np.ndarray, tuple[str, ...]]] = []
    for name, which in (("held-out pairs", "pairs"), ("held-out emoji", "emoji"), ("seen", "train")):
        asked = sets.of_scenes(name, sets.stickers(sprites, which, sizes.described))
        labels = [_label(scene, lang) for scene, lang in zip(asked.scenes, asked.langs, strict=True)]
        words = _chosen(judge, asked.pictures, draws.describe(asked.pictures, asked.langs, DESCRIPTIONS))
        facts[name] = {"of": DESCRIPTIONS, **turned.describing(judge, labels, asked.keys, words)}
        likeliest = [some[0] for some in draws.describe(asked.pictures, asked.langs)]
        facts[name]["likeliest"] = turned.describing(judge, labels, asked.keys, likeliest)
        half = sizes.sheet // 3
        captions = tuple(f"{a}: {b}" for a, b in zip(labels[:half], words[:half], strict=True))
        shown.append((asked.pictures[:half], captions))
    rows = (("asked, and what was said", np.concatenate([pictures for pictures, _ in shown])),)
    captions = tuple(text for _, texts in shown for text in texts)
    return facts, Sheet("described", "Described: held-out pairs, held-out emoji, seen", rows, captions)


def _chosen(judge: drawn_figures.Sees, pictures: np.ndarray, words: Sequence[Sequence[str]]) -> list[str]:
    """Of each picture's descriptions, likeliest first, the one that the judge finds nearest to it."""
    fits = _fits(judge, pictures, words)
    return [some[best_described(some, fit)] for some, fit in zip(words, fits, strict=True)]


def _fits(judge: drawn_figures.Sees, pictures: np.ndarray, words: Sequence[Sequence[str]]) -> np.ndarray:
    """(N, K): how well the judge finds that each picture's own K texts fit it."""
    told = judge.texts([text or "?" for some in words for text in some])
    vectors = told.reshape(len(words), len(words[0]), -1)
    return np.asarray((vectors * judge.pictures(pictures)[:, None]).sum(2))


def _label(scene: Scene, lang: Lang) -> str:
    from random import Random

    thing = scene.record.things[0]
    return (thing.zh if lang == "zh" else thing.en) or caption(scene.record, lang, Random(0))


def _edited(
    draws: Draws, codec: turned.Codes, judge: drawn_figures.Sees, sprites: Sprites, sizes: Sizes, seed: int
) -> tuple[Facts, Sheet]:
    found: list[Change] = []
    index = 0
    while len(found) < sizes.edited and index < 20 * sizes.edited:
        change = changed(sprites, compose(sprites, sets.SEED, index, "combinations"))
        if change is not None and change.kind != "remove":
            found.append(change)
        index += 1
    before, after = (np.stack([getattr(c, name) for c in found]) for name in ("before", "after"))
    masks = np.stack([c.mask for c in found])
    words = [c.words("en" if at % 2 == 0 else "zh") for at, c in enumerate(found)]
    edited = draws.edit(before, masks, words, range(seed * 1_000_000, seed * 1_000_000 + len(found)))
    place = {text: at for at, text in enumerate(dict.fromkeys(words))}
    keys = np.array([place[text] for text in words])
    facts = turned.editing(codec, judge, before, masks, edited, after, words, keys)
    n, shown = sizes.sheet, before[: sizes.sheet].copy()
    shown[masks[:n]] = shown[masks[:n]] // 2 + np.array([127, 0, 0, 127], np.uint8)
    rows = (("before", shown), ("edited", edited[:n]), ("real", after[:n]))
    return facts, Sheet("edited", "Edited inside the red part", rows, tuple(words[:n]))

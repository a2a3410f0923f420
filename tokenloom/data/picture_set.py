"""What a picture model learns from: made scenes as ids, in token shards with masks.

Not the scenes (scenes.py), not the codec and not the layouts (tokens/image.py), which meet here. Which kind
an example is, its scene and its words are a pure function of sprites, codec, tokenizer, split, seed and
index: so the work is spread over processes, and a set that was broken off goes on.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import numpy as np

from tokenloom.data.captions import caption, description
from tokenloom.data.manifest import MANIFEST, BadShards, read_manifest, sha256_of
from tokenloom.data.picture_splits import checked
from tokenloom.data.picture_words import LANGS, Lang
from tokenloom.data.recolour import turned
from tokenloom.data.scene_edits import changed
from tokenloom.data.scenes import Scene, compose, twin
from tokenloom.data.shards import Shards, ShardWriter
from tokenloom.data.sprites import Sprites, open_sprites
from tokenloom.data.workers import in_order
from tokenloom.tokens.image import DESCRIBE, DRAW, EDIT, RESTYLE, STYLES, PictureTokens, masked_codes
from tokenloom.tokens.layout import Example

if TYPE_CHECKING:
    from tokenloom.codec.folder import Codec

BLOCK = 64
"""Examples of one job, whose pictures are encoded together."""
_TRIES = 50
_APART = 1 << 40
"""Between the scenes an example may try: sets are far smaller."""


@dataclass(frozen=True)
class Mix:
    """Shares of the kinds, and chances."""

    draw: float = 0.55
    describe: float = 0.15
    edit: float = 0.15
    restyle: float = 0.15
    dropped: float = 0.1
    """Examples without words and style, for guidance; descriptions always have them."""
    styled: float = 0.5
    """Pictures drawn or edited whose style is named."""
    whole: float = 0.0
    """Pictures described or restyled that are one whole emoji for certain; the others are as scenes come."""
    varied: float = 0.0
    """Restyled pictures that are mirrored, or whose hues are turned, before and after alike: a style is the
    same in a mirror and in other colours, and there are only some thousand drawings to learn it from."""

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not 0 <= value <= 1:
                raise ValueError(f"mix.{name}: found {value}; allowed: 0 to 1")
        total = self.draw + self.describe + self.edit + self.restyle
        if abs(total - 1) > 1e-9:
            raise ValueError(f"mix: found shares of {total:g} in all; allowed: 1")


def mix_of(words: str) -> Mix:
    """A mix as it is written, such as "draw=0.4,describe=0.6": kinds that are left out have no share.

    ValueError naming what is no kind, no number, or does not make one.
    """
    shares = dict.fromkeys(("draw", "describe", "edit", "restyle"), 0.0)
    names = [field.name for field in fields(Mix)]
    for part in words.split(","):
        name, _, share = (word.strip() for word in part.partition("="))
        if name not in names:
            raise ValueError(f"mix: found {name!r}; allowed: {', '.join(names)}")
        try:
            shares[name] = float(share)
        except ValueError:
            raise ValueError(f"mix.{name}: found {share!r}; allowed: 0 to 1") from None
    return Mix(**shares)


@dataclass(frozen=True)
class PictureSet:
    """What a set is made of."""

    sprites: Path
    codec: Path
    tokenizer: Path
    n: int
    split: str = "train"
    seed: int = 0
    mix: Mix = field(default_factory=Mix)

    def __post_init__(self) -> None:
        checked(self.split)
        if self.n < 1:
            raise ValueError(f"n: found {self.n}; allowed: 1 or more")


@dataclass(frozen=True)
class Draft:
    """An example before its pictures are encoded."""

    kind: str
    """The mark of its layout."""
    pictures: tuple[np.ndarray, ...]
    """uint8 (64, 64, 4): the answer, or before and answer."""
    lang: str
    text: str = ""
    style: str | None = None
    mask: np.ndarray | None = None


def draft(sprites: Sprites, what: PictureSet, index: int) -> Draft:
    """Example `index` of a set, in pixels and words. ValueError where the sprites allow no such example."""
    kind, rng = _kind(what, index)
    lang, dropped = rng.choice(LANGS), rng.random() < what.mix.dropped
    styled = rng.random() < what.mix.styled
    whole = kind in (DESCRIBE, RESTYLE) and what.mix.whole > 0 and rng.random() < what.mix.whole
    for attempt in range(_TRIES):
        scene = compose(
            sprites, what.seed, index + attempt * _APART, what.split, kind="sticker" if whole else None
        )
        found = _MAKERS[kind](sprites, scene, lang, rng)
        if found is None or not (found.text or kind == RESTYLE):  # a sprite without a label in this language
            continue
        if kind == RESTYLE and what.mix.varied > 0 and rng.random() < what.mix.varied:
            found = replace(found, pictures=varied(found.pictures, rng))
        if kind != DESCRIBE and dropped:
            return replace(found, text="", style=None)
        if found.style not in STYLES or (kind in (DRAW, EDIT) and not styled):
            found = replace(found, style=None)
        return found
    raise ValueError(f"sprites: no {kind} of the split {what.split} could be made in {_TRIES} scenes")


def _kind(what: PictureSet, index: int) -> tuple[str, Random]:
    """The kind of an example, and the generator that decides the rest of it."""
    mix, rng = what.mix, Random(f"{what.split}/{what.seed}/{index}/example")
    shares = (mix.draw, mix.describe, mix.edit, mix.restyle)
    return rng.choices((DRAW, DESCRIBE, EDIT, RESTYLE), shares)[0], rng


def _draw(sprites: Sprites, scene: Scene, lang: Lang, rng: Random) -> Draft:
    text = caption(scene.record, lang, rng)
    return Draft(DRAW, (scene.pixels,), lang, text, scene.record.style)


def _describe(sprites: Sprites, scene: Scene, lang: Lang, rng: Random) -> Draft:
    return Draft(DESCRIBE, (scene.pixels,), lang, description(scene.record, lang, rng))


def _edit(sprites: Sprites, scene: Scene, lang: Lang, rng: Random) -> Draft | None:
    made = changed(sprites, scene)
    if made is None:
        return None
    pictures = (made.before, made.after)
    return Draft(EDIT, pictures, lang, made.words(lang), scene.record.style, made.mask)


def _restyle(sprites: Sprites, scene: Scene, lang: Lang, rng: Random) -> Draft | None:
    """The scene is the answer, its twin the source; the other way round where its style has no token."""
    own = scene.record.style
    # Only those that there are, so that a seed shuffles them as it always did.
    others = [style for style in STYLES if style in sprites.styles and style != own]
    rng.shuffle(others)
    other = twin(sprites, scene, others)
    if other is None:
        return None
    before, after = (other, scene) if own in STYLES else (scene, other)
    return Draft(RESTYLE, (before.pixels, after.pixels), lang, style=after.record.style)


def varied(pictures: Sequence[np.ndarray], rng: Random) -> tuple[np.ndarray, ...]:
    """All of them in a mirror, with their hues turned by one angle, or both."""
    how = rng.choice(("mirrored", "turned", "both"))
    angle = rng.uniform(20, 340) if how != "mirrored" else 0.0
    found = [one if how == "mirrored" else turned(one, angle) for one in pictures]
    return tuple(one if how == "turned" else np.ascontiguousarray(one[:, ::-1]) for one in found)


_MAKERS: dict[str, Callable[[Sprites, Scene, Lang, Random], Draft | None]] = {
    DRAW: _draw,
    DESCRIBE: _describe,
    EDIT: _edit,
    RESTYLE: _restyle,
}


def example(tokens: PictureTokens, places: int, found: Draft, codes: Sequence[np.ndarray]) -> Example:
    """A draft whose pictures have these codes, each (P,)."""
    if found.kind == DRAW:
        return tokens.example_draw(found.text, found.style, codes[0])
    if found.kind == DESCRIBE:
        return tokens.example_describe(codes[0], found.lang, found.text)
    if found.kind == RESTYLE:
        return tokens.example_restyle(codes[0], found.style, codes[1])
    assert found.mask is not None
    masked = masked_codes(found.mask, places, tokens.per_picture)
    return tokens.example_edit(codes[0], masked, found.text, found.style, codes[1])


def write_picture_set(
    what: PictureSet,
    out: Path,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Shards:
    """Writes a set to `out`, or goes on with one that was broken off; the shards, open for reading.

    workers: processes, each with one thread. progress: called with the examples done and all. The manifest
    states what it was made of and how many there are of each kind. FileExistsError where `out` holds
    something else or a finished set, BadShards (a ValueError) where it was begun with other settings.
    """
    import torch

    tokens, codec = opened(what)
    open_sprites(what.sprites)  # what is wrong with them is said before anything is written
    about = about_of(what, codec.sha256)
    if (out / MANIFEST).is_file() and not (begun := read_manifest(out / MANIFEST))["finished"]:
        _same(out, begun["about"], about)
    threads = torch.get_num_threads()
    with ShardWriter(
        out,
        tokenizer_hash=tokens.tokenizer.hash,
        vocab_size=tokens.vocabulary.size,
        masked=True,
        about=about,
    ) as writer:
        done = writer.n_documents
        blocks = range(done // BLOCK, (what.n + BLOCK - 1) // BLOCK)
        results = in_order(_worker, (what,), blocks, workers)
        try:
            for block, examples in zip(blocks, results, strict=True):
                for ids, learned in examples[max(0, done - block * BLOCK) :]:
                    writer.add(ids, learned)
                if progress is not None:
                    progress(min((block + 1) * BLOCK, what.n), what.n)
        finally:
            results.close()
            torch.set_num_threads(threads)
        return writer.finish({"kinds": dict(Counter(_kind(what, i)[0] for i in range(what.n)))})


def about_of(what: PictureSet, codec: str) -> dict[str, Any]:
    """What the manifest states; codec: its sha256."""
    digest = hashlib.sha256()
    for name in ("sprites.json", "pixels.npy"):
        digest.update(sha256_of(what.sprites / name).digest())
    facts = {"what": "pictures", "split": what.split, "seed": what.seed, "n": what.n, "mix": asdict(what.mix)}
    return {**facts, "codec": codec, "sprites": digest.hexdigest()}


def set_is_there(what: PictureSet, out: Path) -> bool:
    """Whether `out` holds this very set, finished; BadShards where it holds another, finished or not."""
    if not (out / MANIFEST).is_file():
        return False
    _, codec = opened(what)
    manifest, about = read_manifest(out / MANIFEST), about_of(what, codec.sha256)
    _same(out, manifest["about"], about)
    return bool(manifest["finished"])


def _same(out: Path, found: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    # An older set's mix lacks shares that came later: they are as usual.
    stated = {**found, "mix": asdict(Mix()) | found.get("mix", {})}
    for key, value in asked.items():
        if stated.get(key) != value:
            raise BadShards(
                f"{out}: {key}: is of {stated.get(key)!r}, asked for is {value!r}; use the same, or another "
                "folder"
            )


def _worker(what: PictureSet) -> Callable[[int], list[tuple[np.ndarray, np.ndarray]]]:
    """Block number -> the ids and masks of its examples."""
    import torch

    torch.set_num_threads(1)  # so that codes are the same however many processes there are
    sprites = open_sprites(what.sprites)
    tokens, codec = opened(what)

    def work(block: int) -> list[tuple[np.ndarray, np.ndarray]]:
        drafts = [draft(sprites, what, i) for i in range(block * BLOCK, min((block + 1) * BLOCK, what.n))]
        codes = iter(codec.encode(np.stack([picture for one in drafts for picture in one.pictures])))
        found = []
        for one in drafts:
            made = example(tokens, codec.places, one, [next(codes) for _ in one.pictures])
            found.append((np.array(made.ids, dtype=np.int32), np.array(made.learned)))
        return found

    return work


def opened(what: PictureSet) -> tuple[PictureTokens, Codec]:
    """The layouts and the codec of a set; ValueError where the codes are those of another codec."""
    from tokenloom.codec.folder import open_codec

    codec = open_codec(what.codec)
    tokens = PictureTokens.open(what.tokenizer, codec.per_picture)
    if tokens.codec != codec.sha256:
        raise ValueError(
            f"tokenizer: {what.tokenizer} is for codes of the codec {str(tokens.codec)[:12]}..., not of "
            f"{what.codec} ({codec.sha256[:12]}...); make it again with this codec"
        )
    return tokens, codec

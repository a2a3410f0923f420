"""The tokenizer of a picture model: byte-level BPE learned from captions, with marks and codes behind it.

Not the captions themselves (captions.py). Both languages share it. Chinese characters are cut apart, so a
frequent one is one id and none is joined with half of the next; English words are merged. What is rare is
spelt in bytes, so any label can be written. Only what may be learned from is read: captions of the training
split.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from random import Random

from tokenloom.data.captions import caption
from tokenloom.data.layouts import choose
from tokenloom.data.picture_words import LANGS
from tokenloom.data.scene_edits import changed
from tokenloom.data.scenes import draw
from tokenloom.data.sprites import Sprites
from tokenloom.tokens.image import add_pictures
from tokenloom.tokens.train import Plan, Trained, train_tokenizer

CAPTIONS = 200_000
VOCAB_SIZE = 2560
"""Ids of text: with so many nearly all well-known things are one token, and their characters one each."""
MIN_COUNT = 20
"""A pair of bytes seen less often is not taken."""
EDITS = 40
"""One caption of so many is the wish of an edit, each time in both languages."""


def caption_texts(
    sprites: Sprites, n: int, seed: int, progress: Callable[[int, int], None] | None = None
) -> Iterator[str]:
    """n captions of made scenes, now and then the wish of an edit, in English and Chinese by turns.

    In small letters, as words that ask are. A pure function of sprites, n and seed.
    """
    for i in range(0, n, len(LANGS)):
        record = choose(sprites, seed, i)
        change = changed(sprites, draw(sprites, record)) if i % EDITS == 0 else None
        for lang in LANGS[: n - i]:
            text = change.words(lang) if change else caption(record, lang, Random(f"{seed}/{i}/{lang}"))
            yield text.lower()
        if progress is not None and i % 1000 == 0:
            progress(i, n)


def picture_tokenizer(
    sprites: Sprites,
    n_codes: int,
    codec: str,
    *,
    n: int = CAPTIONS,
    seed: int = 0,
    vocab_size: int = VOCAB_SIZE,
    progress: Callable[[int, int], None] | None = None,
) -> Trained:
    """Learns the tokenizer of a model whose pictures have codes of this codec (its sha256)."""
    plan = Plan(vocab_size=vocab_size, apart=True, chat=False, min_count=MIN_COUNT)
    trained = train_tokenizer(caption_texts(sprites, n, seed, progress), plan)
    tokenizer, vocabulary = add_pictures(trained.tokenizer, n_codes, codec, trained.vocabulary)
    return replace(trained, tokenizer=tokenizer, vocabulary=vocabulary)

"""Pictures as ids: the layouts in which one Transformer draws, describes, edits and restyles.

Not the codec, which turns pixels into codes, and not the engine, which is handed an `Ask`. A picture is its
codes between two marks; what it shall be stands before it, and so every condition is tokens:

    draw      <|draw|> words [<|style:fluent|>] <|image|> codes <|/image|>
    describe  <|describe|> <|image|> codes <|/image|> <|en|> words <|end|>
    edit      <|edit|> <|image|> codes <|/image|> words [<|style:fluent|>] <|image|> codes <|/image|>
    restyle   <|restyle|> <|image|> codes <|/image|> <|style:noto|> <|image|> codes <|/image|>

Words that ask are lower-cased and lose a full stop at their end; words that answer are kept. In the first
picture of an edit <|masked|> stands for each code that shall be drawn anew. The twin for guidance is the
layout without words and style. A drawn picture has the right number of codes whatever is sampled: its ids
come from the range of codes alone, and generation ends by their number.
Sources: Ramesh et al. 2021, arXiv:2102.12092, section 2 (caption and codes in one sequence); Ho and Salimans
2022, arXiv:2207.12598 (guidance by a dropped condition).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tokenloom.codec.pixels import flatten
from tokenloom.step import Range
from tokenloom.tokens.layout import Example, add_layout, check_layout, read_layout
from tokenloom.tokens.text import Tokenizer
from tokenloom.tokens.vocabulary import Medium, Vocabulary
from tokenloom.weights.tokenizer_files import json_object

IMAGE = "image"
"""The name of the range of codes."""
KIND = "a model that draws"
DRAW, DESCRIBE, EDIT, RESTYLE = "<|draw|>", "<|describe|>", "<|edit|>", "<|restyle|>"
MASKED, END = "<|masked|>", "<|end|>"
LANGUAGES = ("en", "zh")
"""Languages of descriptions."""
STYLES = ("fluent", "noto", "twemoji", "clipart")
"""Styles that have a token."""
PICTURE_MARKS = (
    *(DRAW, DESCRIBE, EDIT, RESTYLE, MASKED, END),
    *(f"<|{language}|>" for language in LANGUAGES),
    *(f"<|style:{style}|>" for style in STYLES),
)
"""The control tokens of the layouts, in the order of their ids; <|image|> and <|/image|> come after them."""
WORDS = 64
"""Tokens of a description at most, unless told."""
DESCRIPTIONS = 8
"""The likeliest ones are written, and the judge chooses, unless told."""
MAX_DESCRIPTIONS = 16
"""As many rows as an engine has unless told: they are searched side by side."""
LATER = 0.02
"""By so much more a description has to fit than the one that is next likelier."""
DRAFTS = 64
"""Of a picture in another style, of which the best is taken, unless told."""
TOWARDS = 0.5
"""The share of the source in what a restyled picture shall be near to; the rest is the mean of the drafts."""
FITTING = 50.0
"""Levels of 255 by which a draft may be further off for a fit that is greater by 1."""
RESTYLING = (1.75, 0.55)
"""Guidance and temperature of a restyled picture, unless told: without the former half of the drafts keep the
style of their source."""


def best_described(texts: Sequence[str], fits: np.ndarray, ranked: bool = True) -> int:
    """Which of several descriptions is taken, by how well a judge finds that each fits the picture (N,); one
    that says nothing is not. ranked: they stand likeliest first."""
    later = LATER * np.arange(len(texts)) if ranked else 0.0
    return int(np.where([bool(text) for text in texts], fits - later, -np.inf).argmax())


def best_restyled(drafts: np.ndarray, source: np.ndarray, fits: np.ndarray | None = None) -> int:
    """Which of drafts uint8 (N, H, W, 4) of a source (H, W, 4) in another style is taken.

    The least risk: drafts are what the model holds possible, so the one nearest to their mean differs least
    from what it expects (minimum Bayes risk, Kumar and Byrne 2004, HLT-NAACL), by root mean square over
    white. The mean is moved towards the source, which every draft may have left. fits (N,): how well a judge
    finds that each is what is asked.
    """
    flat = flatten(drafts).astype(np.float32)
    middle = (1 - TOWARDS) * flat.mean(0) + TOWARDS * flatten(source[None])[0]
    risk = np.sqrt(((flat - middle) ** 2).mean((1, 2, 3)))
    return int((risk if fits is None else risk - FITTING * fits).argmin())


def fits_of_restyled(seen: np.ndarray, style: int) -> np.ndarray:
    """How well each of N drafts is what a source would be in another style, float (N,).

    seen (1 + S, 1 + N): a judge's cosines of the source and of its description in each of S styles with the
    source and its drafts; style: the one that is asked for. The source's vector is moved by the difference of
    two descriptions', in the style asked for and in that of the others which fits the source best: a change
    of words is a direction in the common space (StyleGAN-NADA, Gal et al. 2021, arXiv:2108.00946, section 1).
    Added is how well the description in the style asked for fits by itself.
    """
    own = np.delete(np.arange(1, len(seen)), style)
    before = own[seen[own, 0].argmax()]
    return np.asarray(seen[0, 1:] + 2 * seen[1 + style, 1:] - seen[before, 1:])


@dataclass(frozen=True)
class Ask:
    """What the engine is asked: `Request(id=..., model=..., **ask.options(guidance))`."""

    ids: tuple[int, ...]
    max_tokens: int
    allowed: tuple[Range, ...]
    """Ranges of ids that may come."""
    negative: tuple[int, ...] = ()
    """The same without the condition, for guidance; none where guidance has no meaning."""
    forced: tuple[int, ...] = ()
    """The id of each output that is known; -1 = free."""
    stop_ids: tuple[int, ...] = ()
    min_tokens: int = 0

    def options(self, guidance: float = 1.0) -> dict[str, Any]:
        """The keywords of an engine's Request; the twin is among them where guidance is not 1.

        ValueError for guidance of what has no twin.
        """
        if guidance != 1.0 and not self.negative:
            raise ValueError(f"guidance: found {guidance:g}; allowed: 1, as a description has no twin")
        return {
            "ids": self.ids,
            "max_tokens": self.max_tokens,
            "allowed": self.allowed,
            "negative": self.negative if guidance != 1.0 else (),
            "guidance": guidance,
            "forced": self.forced,
            "stop_ids": self.stop_ids,
            "min_tokens": self.min_tokens,
        }


def add_pictures(
    tokenizer: Tokenizer, n_codes: int, codec: str | None = None, vocabulary: Vocabulary | None = None
) -> tuple[Tokenizer, Vocabulary]:
    """A text tokenizer with the layouts' marks and `n_codes` codes behind its own tokens, and its vocabulary.

    codec: sha256 of the codec; vocabulary: the tokenizer's, if it has been extended before.
    """
    return add_layout(tokenizer, Medium(IMAGE, n_codes, codec), PICTURE_MARKS, vocabulary)


def masked_codes(mask: np.ndarray, places: int, per_picture: int) -> np.ndarray:
    """Which codes a painted mask covers: all those of a place in whose cell any pixel is marked.

    mask (H, W) bool, as many cells across as down; places: how many the codec has; per_picture: P, a multiple
    of them. Returns bool (P,).
    """
    side = math.isqrt(places)
    if side * side != places or per_picture % places:
        raise ValueError(f"places: found {places} for {per_picture} codes; allowed: a square that divides it")
    mask = np.asarray(mask, dtype=bool)
    if mask.ndim != 2 or mask.shape[0] % side or mask.shape[1] % side:
        raise ValueError(f"mask: found the shape {mask.shape}; allowed: two sides, multiples of {side}")
    height, width = mask.shape[0] // side, mask.shape[1] // side
    cells = mask.reshape(side, height, side, width).any(axis=(1, 3))
    return np.repeat(cells.reshape(-1), per_picture // places)


def codec_shape(folder: Path | str) -> tuple[int, int]:
    """(places, codes) of a picture by the settings in a codec's folder; ValueError where they are not."""
    file = Path(folder) / "config.json"
    settings = json_object(file)
    stated = [settings.get(key) for key in ("size", "down", "depth")]
    found = [value for value in stated if type(value) is int and value > 0]
    if len(found) < 3 or found[0] % found[1]:
        raise ValueError(f"{file}: size, down, depth: found {stated}; allowed: those of a codec of pictures")
    size, down, depth = found
    return (size // down) ** 2, (size // down) ** 2 * depth


@dataclass(frozen=True)
class PictureTokens:
    """Pictures, words and styles <-> ids of one model."""

    tokenizer: Tokenizer
    vocabulary: Vocabulary
    per_picture: int
    """P: codes of a picture, place by place; those of a place follow one another."""
    context: int | None = None
    """Positions of the model: what does not fit is refused. None: not asked."""

    def __post_init__(self) -> None:
        check_layout(self.tokenizer, self.vocabulary, IMAGE, PICTURE_MARKS, KIND)
        if self.per_picture < 1:
            raise ValueError(f"per_picture: found {self.per_picture}; allowed: 1 and more")

    @staticmethod
    def open(folder: Path | str, per_picture: int | None = None) -> PictureTokens:
        """Of a picture model's folder, or of a tokenizer's (per_picture: its codec's).

        ValueError for a folder of no picture model, naming what it lacks.
        """
        folder = Path(folder)
        tokenizer, vocabulary, context = read_layout(folder, IMAGE, "codes of pictures", KIND)
        if per_picture is None:
            per_picture = codec_shape(folder / "codec")[1]
        return PictureTokens(tokenizer, vocabulary, per_picture, context)

    @property
    def codec(self) -> str | None:
        """sha256 of the codec whose codes these are."""
        return self.vocabulary.codec(IMAGE)

    @property
    def n_codes(self) -> int:
        """How many codes there are to choose from."""
        start, stop = self.vocabulary.range(IMAGE)
        return stop - start

    # --- what the engine is asked ---------------------------------------------------------------------------

    def draw(self, text: str, style: str | None = None) -> Ask:
        """A picture of these words; an empty text leaves the model free."""
        return self._picture_ask([DRAW], self._condition(text, style), "text")

    def edit(
        self, codes: Sequence[int] | np.ndarray, masked: np.ndarray, text: str, style: str | None = None
    ) -> Ask:
        """The picture of codes (P,) with new codes where masked (P,) bool says so, as the words want it."""
        codes, masked = self._codes(codes), self._masked(masked)
        ids = self.vocabulary.ids(IMAGE, codes)
        forced = [-1 if hidden else id for id, hidden in zip(ids, masked, strict=True)]
        return self._picture_ask(
            [EDIT, *self._shown(codes, masked)], self._condition(text, style), "text", forced
        )

    def restyle(self, codes: Sequence[int] | np.ndarray, style: str) -> Ask:
        """The picture of codes (P,) in another style."""
        shown = self._shown(self._codes(codes))
        return self._picture_ask([RESTYLE, *shown], self._condition("", style), "style")

    def describe(self, codes: Sequence[int] | np.ndarray, lang: str, max_tokens: int = WORDS) -> Ask:
        """Words in "en" or "zh" for the picture of codes (P,); they end with <|end|>."""
        ids = self._ids([DESCRIBE, *self._shown(self._codes(codes)), self._language(lang)])
        end = self.tokenizer.special[END]
        self._fits(len(ids) + max_tokens, "max_tokens", max_tokens)
        return Ask(tuple(ids), max_tokens, (*self.words, (end, end + 1)), stop_ids=(end,), min_tokens=1)

    def codes_of(self, ids: Sequence[int]) -> np.ndarray:
        """The codes int64 (P,) of an answer's ids; ValueError unless they are a whole picture."""
        codes = np.array(self.vocabulary.codes(IMAGE, ids), dtype=np.int64)
        return self._codes(codes, "ids")

    @property
    def words(self) -> tuple[Range, ...]:
        """The ranges of ids that are text: those of the tokenizer's own control tokens are left out."""
        start, stop = self.vocabulary.range("text")
        control = sorted(id for id in self.tokenizer.special.values() if start <= id < stop)
        edges = [start - 1, *control, stop]
        return tuple((a + 1, b) for a, b in itertools.pairwise(edges) if a + 1 < b)

    # --- what is learned ------------------------------------------------------------------------------------

    def example_draw(self, text: str, style: str | None, codes: Sequence[int] | np.ndarray) -> Example:
        """Words, style (None: not named) and the picture's codes (P,)."""
        head = [DRAW, *self._condition(text, style)]
        return self._example(head, self._shown(self._codes(codes)))

    def example_edit(
        self,
        before: Sequence[int] | np.ndarray,
        masked: np.ndarray,
        text: str,
        style: str | None,
        after: Sequence[int] | np.ndarray,
    ) -> Example:
        """The picture before (P,), what of it is masked (P,) bool, the wish, and the picture after (P,).

        The answer's codes are those of `before` where nothing is masked, as they are when it is drawn.
        """
        before, after, masked = (
            self._codes(before, "before"),
            self._codes(after, "after"),
            self._masked(masked),
        )
        head = [EDIT, *self._shown(before, masked), *self._condition(text, style)]
        return self._example(head, self._shown(np.where(masked, after, before)))

    def example_restyle(
        self, before: Sequence[int] | np.ndarray, style: str | None, after: Sequence[int] | np.ndarray
    ) -> Example:
        """The picture before (P,), the style wanted (None: dropped), and the picture in it (P,)."""
        head = [RESTYLE, *self._shown(self._codes(before, "before")), *self._condition("", style)]
        return self._example(head, self._shown(self._codes(after, "after")))

    def example_describe(self, codes: Sequence[int] | np.ndarray, lang: str, text: str) -> Example:
        """The picture's codes (P,), the language, and the words that say what it shows."""
        head = [DESCRIBE, *self._shown(self._codes(codes)), self._language(lang)]
        asked, said = self._ids(head), self._ids([*self._words(text), END])
        return Example(asked + said, [False] * len(asked) + [True] * len(said))

    # --- parts: ids, and marks by their text ----------------------------------------------------------------

    def _picture_ask(
        self, head: list[int | str], condition: list[int | str], field: str, forced: Sequence[int] = ()
    ) -> Ask:
        opened = Medium(IMAGE, 1).marks[0]
        ids, twin = self._ids([*head, *condition, opened]), self._ids([*head, opened])
        self._fits(len(ids) + self.per_picture, field, len(condition))
        return Ask(
            tuple(ids),
            self.per_picture,
            (self.vocabulary.range(IMAGE),),
            negative=tuple(twin),
            forced=tuple(forced),
        )

    def _example(self, head: list[int | str], picture: list[int | str]) -> Example:
        asked, shown = self._ids([*head, picture[0]]), self._ids(picture[1:])
        return Example(asked + shown, [False] * len(asked) + [True] * len(shown))

    def _ids(self, parts: Sequence[int | str]) -> list[int]:
        return [self.tokenizer.special[part] if isinstance(part, str) else part for part in parts]

    def _shown(self, codes: np.ndarray, masked: np.ndarray | None = None) -> list[int | str]:
        """A picture between its marks."""
        opened, closed = Medium(IMAGE, 1).marks
        ids: list[int | str] = [*self.vocabulary.ids(IMAGE, codes)]
        if masked is not None:
            ids = [MASKED if hidden else id for id, hidden in zip(ids, masked, strict=True)]
        return [opened, *ids, closed]

    def _condition(self, text: str, style: str | None) -> list[int | str]:
        if style is not None and style not in STYLES:
            raise ValueError(f"style: found {style!r}; allowed: {', '.join(STYLES)}")
        words = self._words(" ".join(text.lower().split()).rstrip(" .。"))
        return [*words, *([] if style is None else [f"<|style:{style}|>"])]

    def _words(self, text: str) -> list[int]:
        """A text as one line; a control token written in it stays text."""
        return self.tokenizer.encode(" ".join(text.split()))

    def _language(self, lang: str) -> str:
        if lang not in LANGUAGES:
            raise ValueError(f"lang: found {lang!r}; allowed: {', '.join(LANGUAGES)}")
        return f"<|{lang}|>"

    def _codes(self, codes: Sequence[int] | np.ndarray, field: str = "codes") -> np.ndarray:
        found = np.asarray(codes)
        if found.shape != (self.per_picture,) or found.dtype.kind not in "iu":
            raise ValueError(
                f"{field}: found the shape {found.shape} of {found.dtype}; allowed: {self.per_picture} "
                "whole numbers, a picture's"
            )
        return found.astype(np.int64)

    def _masked(self, masked: np.ndarray) -> np.ndarray:
        found = np.asarray(masked)
        if found.shape != (self.per_picture,) or found.dtype != bool:
            raise ValueError(
                f"masked: found the shape {found.shape} of {found.dtype}; allowed: {self.per_picture} times "
                "true or false"
            )
        return found

    def _fits(self, n: int, field: str, found: int) -> None:
        """Refuses what the model has no positions for: the engine would end the picture early."""
        if self.context is not None and n > self.context:
            raise ValueError(
                f"{field}: found {found} tokens, with which the whole takes {n} positions; allowed: "
                f"{self.context}, the model's"
            )

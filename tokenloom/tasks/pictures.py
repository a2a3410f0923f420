"""The road from words to pictures and back: draw, edit, restyle, vary, describe. Who walks it is not said.

Each task is a road: a generator that says what it needs next (ids written, pictures encoded, codes decoded,
candidates judged), is sent what came of it, and returns the finished work. So a script (api_pictures), the
server and its event loop (serve.images) and the terminal walk the same road, and none of it computes.
Not the layouts in which a model is asked (tokens.image) and not files (tasks.pictures_in, pictures_out).
"""

# Shapes: N pictures, S pixels along a side, P codes of a picture

from __future__ import annotations

import dataclasses
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from tokenloom.data.captions import split_style, styled, usual
from tokenloom.data.picture_words import UNSEEN_STYLE
from tokenloom.engine.diffusion import Paint
from tokenloom.engine.request import Request, Sampling
from tokenloom.hub.card import CODEC, JUDGE, has_codec
from tokenloom.hub.sampling import recommended
from tokenloom.tasks.picture_wish import PictureError, Wish, check_number, check_style, check_whole
from tokenloom.tokens.image import (
    DESCRIPTIONS,
    DRAFTS,
    LANGUAGES,
    MAX_DESCRIPTIONS,
    RESTYLING,
    STYLES,
    Ask,
    PictureTokens,
    best_described,
    best_restyled,
    codec_shape,
    fits_of_restyled,
    masked_codes,
)
from tokenloom.weights.tokenizer_files import json_object

GUIDANCE = 2.5
"""Where a model's generation_config.json states no guidance_scale."""

T = TypeVar("T")


@dataclass(frozen=True)
class Painter:
    """What is known of a picture model without its weights."""

    name: str
    tokens: PictureTokens
    size: int
    """S, of the pictures it sees and draws."""
    places: int
    """Of a picture: a square of them, each with one code or more."""
    judges: bool
    """It has a judge, which ranks candidates."""
    sampling: Mapping[str, float]
    """What its makers recommend."""

    @staticmethod
    def open(folder: Path, name: str = "") -> Painter:
        """Of a picture model's folder; ValueError for a folder of another model, saying what it lacks."""
        if not has_codec(folder):
            raise PictureError(
                f"model: {name or folder.name} draws no pictures and sees none; allowed: a picture "
                "model, such as painter"
            )
        places, per_picture = codec_shape(folder / CODEC)
        return Painter(
            name or folder.name,
            PictureTokens.open(folder, per_picture),
            int(json_object(folder / CODEC / "config.json")["size"]),
            places,
            (folder / JUDGE / "config.json").is_file(),
            recommended(name, folder),
        )

    @property
    def depth(self) -> int:
        """Codes of one place."""
        return self.tokens.per_picture // self.places


# --- what a road needs, and what it is sent -----------------------------------------------------------------


@dataclass(frozen=True)
class Write:
    """Ids of every choice: sent back as a list of tuples, by choice."""

    ask: Ask
    n: int
    seed: int
    guidance: float
    sampling: Sampling
    picture: bool
    """The ids are codes of a picture; else words."""
    likeliest: bool = False
    """Not drawn: the n likeliest answers."""

    def request(self, id: str, model: str) -> Request:
        """The engine's request."""
        options = self.ask.options(self.guidance)
        if self.likeliest and self.n > 1:
            return Request(id, model, **options, n=self.n, beams=self.n)
        return Request(id, model, **options, n=self.n, seed=self.seed, sampling=self.sampling)


@dataclass(frozen=True)
class Encode:
    """Codes int64 (N, P) of pictures uint8 (N, S, S, 4)."""

    pictures: np.ndarray


@dataclass(frozen=True)
class Decode:
    """Pictures uint8 (N, S, S, 4) of codes int64 (N, P)."""

    codes: np.ndarray


@dataclass(frozen=True)
class Judge:
    """float32 (told, N): how well each caption, or picture uint8 (S, S, 4), fits each picture."""

    told: tuple[str | np.ndarray, ...]
    pictures: np.ndarray


Need = Write | Encode | Decode | Judge | Paint
Road = Generator[Need, Any, T]


@dataclass(frozen=True)
class Drawn:
    """Pictures that came of a wish, best first where they were judged."""

    pixels: np.ndarray
    """uint8 (N, S, S, 4), RGBA."""
    codes: np.ndarray
    """int64 (N, P)."""
    seed: int
    scores: tuple[float, ...] = ()
    """The judge's, of each picture; () where it was not asked."""
    prompt: str = ""
    """The words they were drawn from: the prompt's, as the model knows them."""
    prompt_tokens: int = 0
    picture_tokens: int = 0
    """Written in all, candidates that were not chosen among them."""
    withheld: tuple[bool, ...] = ()
    """Which are black, for the model's own safety checker held them back; () where nothing was checked."""


@dataclass(frozen=True)
class Described:
    """What a picture shows, in words."""

    text: str
    seed: int
    finish: str = "stop"
    """length: the words were cut off."""
    prompt_tokens: int = 0
    completion_tokens: int = 0


# --- the roads ----------------------------------------------------------------------------------------------


def draw(painter: Painter, prompt: str, style: str | None = None, wish: Wish = Wish()) -> Road[Drawn]:
    """Pictures of these words in English or Chinese. PictureError names the field at fault."""
    words, style = _understood(prompt, style, "the picture")
    ask = _asked(lambda: painter.tokens.draw(words, style))
    return _pictures(painter, ask, words, wish)


def edit(
    painter: Painter,
    source: np.ndarray,
    marked: np.ndarray,
    prompt: str,
    style: str | None = None,
    wish: Wish = Wish(),
) -> Road[Drawn]:
    """The picture `source` uint8 (S, S, 4), drawn anew as the words say where `marked` bool (S, S) is."""
    words, style = _understood(prompt, style, "the marked part")
    if not marked.any():
        raise PictureError("mask: nothing is marked; allowed: any part of the picture")
    codes = yield Encode(source[None])
    masked = masked_codes(marked, painter.places, painter.tokens.per_picture)
    ask = _asked(lambda: painter.tokens.edit(codes[0], masked, words, style))
    return (yield from _pictures(painter, ask, words, wish))


def restyle(painter: Painter, source: np.ndarray, style: str, wish: Wish = Wish()) -> Road[Drawn]:
    """The picture `source` uint8 (S, S, 4) in another style: of several drafts the best one.

    Best is what `best_restyled` says: like the others, near to the source and, where there is a judge, what
    the source would be in that style. Guidance and temperature are RESTYLING's unless told; at a temperature
    of 0 all drafts would be one.
    """
    if check_style(style) is None:
        raise PictureError(f"style: missing; allowed: {', '.join(STYLES)}")
    codes = yield Encode(source[None])
    ask = _asked(lambda: painter.tokens.restyle(codes[0], style))
    drafts = wish.candidates(1 if wish.temperature == 0 else DRAFTS)
    wish = dataclasses.replace(
        wish,
        guidance=RESTYLING[0] if wish.guidance is None else wish.guidance,
        temperature=RESTYLING[1] if wish.temperature is None else wish.temperature,
    )
    drawn = yield from _drawn(painter, ask, "", wish, drafts)
    if drafts == 1:
        return drawn
    fits = np.zeros(len(drawn.pixels), np.float32)
    if painter.judges:
        shown = _asked(lambda: painter.tokens.describe(codes[0], "en"))
        (ids,) = yield Write(shown, 1, drawn.seed, 1.0, Sampling(temperature=0.0), picture=False)
        text = painter.tokens.tokenizer.decode(ids).strip() or "?"
        words = [styled(text, one, "en") for one in STYLES]
        seen = yield Judge((source, *words), np.concatenate([source[None], drawn.pixels]))
        fits = fits_of_restyled(seen, STYLES.index(style))
    chosen = []
    for at in range(0, len(drawn.pixels), drafts):
        some = slice(at, at + drafts)
        chosen.append(at + best_restyled(drawn.pixels[some], source, fits[some]))
    return dataclasses.replace(drawn, pixels=drawn.pixels[chosen], codes=drawn.codes[chosen])


def vary(painter: Painter, source: np.ndarray, style: str | None = None, wish: Wish = Wish()) -> Road[Drawn]:
    """Other pictures of what `source` uint8 (S, S, 4) shows: it is described, and drawn from that."""
    found = yield from describe(painter, source, "en")
    return (yield from draw(painter, found.text, style, wish))


def describe(
    painter: Painter,
    source: np.ndarray,
    lang: str = "en",
    seed: int | None = None,
    temperature: float = 0.0,
    max_tokens: int | None = None,
    best_of: int | None = None,
) -> Road[Described]:
    """What the picture `source` uint8 (S, S, 4) shows, in "en" or "zh".

    best_of: so many descriptions are written, the likeliest ones where the temperature is 0, and the judge
    chooses the one that fits the picture best; None: DESCRIPTIONS where there is a judge and the temperature
    is 0, else 1. max_tokens: of the description at most.
    """
    if lang not in LANGUAGES:
        raise PictureError(f"lang: found {lang!r}; allowed: {', '.join(LANGUAGES)}")
    check_number("temperature", temperature, 0.0, 2.0)
    codes = yield Encode(source[None])
    ask = _asked(lambda: painter.tokens.describe(codes[0], lang))
    if max_tokens is not None:
        check_whole("max_tokens", max_tokens, 1, 2**31)
        ask = dataclasses.replace(ask, max_tokens=min(max_tokens, ask.max_tokens))
    if best_of is not None:
        check_whole("best_of", best_of, 1, MAX_DESCRIPTIONS)
    wish = Wish(seed=seed, best_of=best_of)
    count = wish.candidates(DESCRIPTIONS if painter.judges and temperature == 0 else 1)
    _check_judge(painter, count)
    drawn = wish.drawn_seed()
    sampling = Sampling(temperature=temperature)
    written = yield Write(ask, count, drawn, 1.0, sampling, picture=False, likeliest=temperature == 0)
    texts = [painter.tokens.tokenizer.decode(ids).strip() for ids in written]
    at = 0
    if count > 1:
        fits = (yield Judge(tuple(text or "?" for text in texts), source[None]))[:, 0]
        at = best_described(texts, fits, ranked=temperature == 0)
    finish = "length" if len(written[at]) >= ask.max_tokens else "stop"
    return Described(texts[at], drawn, finish, len(ask.ids), len(written[at]))


def _pictures(painter: Painter, ask: Ask, text: str, wish: Wish) -> Road[Drawn]:
    """n pictures of what is asked, each the best of its candidates, best first."""
    count = wish.candidates()
    _check_judge(painter, count)
    drawn = yield from _drawn(painter, ask, text, wish, count)
    if count == 1:
        return drawn
    judged = (yield Judge((text,), drawn.pixels))[0].reshape(wish.n, count)
    best = judged.argmax(1) + np.arange(wish.n) * count
    chosen = sorted(best.tolist(), key=lambda at: -judged.flat[at])
    return dataclasses.replace(
        drawn,
        pixels=drawn.pixels[chosen],
        codes=drawn.codes[chosen],
        scores=tuple(float(judged.flat[at]) for at in chosen),
    )


def _check_judge(painter: Painter, count: int) -> None:
    if count > 1 and not painter.judges:
        raise PictureError(f"best_of: found {count}; {painter.name} has no judge, so only 1 is allowed")


def _drawn(painter: Painter, ask: Ask, text: str, wish: Wish, candidates: int) -> Road[Drawn]:
    """All candidates of n pictures, those of one picture side by side."""
    seed, count = wish.drawn_seed(), wish.n * candidates
    guidance = _guidance(painter, wish)
    if ask.ids == ask.negative:
        guidance = 1.0
    written = yield Write(ask, count, seed, guidance, _sampling(painter, wish), picture=True)
    codes = np.stack([painter.tokens.codes_of(ids) for ids in written])
    pixels = yield Decode(codes)
    return Drawn(pixels, codes, seed, (), text, len(ask.ids), sum(len(ids) for ids in written))


def _understood(prompt: str, style: str | None, shown: str) -> tuple[str, str | None]:
    """A prompt in the words of the captions that were learned, and the style: the one given, else the one it
    names ("a red fox in fluent style")."""
    words, named = split_style(prompt)
    if not words.strip():
        raise PictureError(f"prompt: it is empty; say what {shown} shall show")
    style = check_style(style) or named
    if style == UNSEEN_STYLE:
        raise PictureError(
            f"prompt: it asks for the style {UNSEEN_STYLE} (outlined), which is kept out of training and "
            f"cannot be drawn; allowed: {', '.join(STYLES)}, or words without a style"
        )
    return usual(words), style


def _asked(make: Any) -> Ask:
    """The ask of a layout; what it refuses is the wish's fault."""
    try:
        ask: Ask = make()
    except PictureError:
        raise
    except ValueError as error:
        message = str(error)
        raise PictureError(f"prompt{message[4:]}" if message.startswith("text:") else message) from error
    return ask


def _guidance(painter: Painter, wish: Wish) -> float:
    return painter.sampling.get("guidance_scale", GUIDANCE) if wish.guidance is None else wish.guidance


def _sampling(painter: Painter, wish: Wish) -> Sampling:
    hint = painter.sampling

    def one(name: str, given: float | None, plain: float) -> float:
        return hint.get(name, plain) if given is None else given

    return Sampling(
        temperature=one("temperature", wish.temperature, 1.0),
        top_k=int(one("top_k", wish.top_k, 0)),
        top_p=one("top_p", wish.top_p, 1.0),
    )


def walk(road: Road[T], take: Any) -> T:
    """Walks a road: `take(need)` answers what is needed."""
    try:
        need = next(road)
        while True:
            need = road.send(take(need))
    except StopIteration as end:
        value: T = end.value
        return value

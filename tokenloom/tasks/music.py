"""The road from words to a score: compose, go on with one, write bars of one anew. Who walks it is not said.

As in tasks.pictures, a road is a generator that says what it needs (ids of every choice), is sent them, and
returns the finished work; a script (api_music), the terminal and the server (serve.music) walk the same road.
Not the layouts in which a model is asked (tokens.music), not files (music_in, music_out). An accompaniment is
added by the rules of sound.harmony: no chords were learned.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from tokenloom.engine.drafts import keep
from tokenloom.engine.request import Constraint, Request, Sampling
from tokenloom.hub.card import composes
from tokenloom.hub.sampling import recommended
from tokenloom.sound.harmony import harmonised
from tokenloom.sound.score import Score
from tokenloom.tokens.music import MusicAsk, MusicTokens, guessed_key, melody
from tokenloom.tokens.music_events import meaning
from tokenloom.tokens.music_key import Key, in_key
from tokenloom.tokens.music_score import piece_of, snapped
from tokenloom.tokens.music_wish import Wish, parse_wish

COMPOSER = "composer"
"""The shipped model's name."""
MAX_N = 16
DRAFTS, MOST_DRAFTS = 4, 8
"""Of each version where a key is asked for, when nobody says how many, and at most: the key of a tune shows
when it is done, and one that is in the asked key is kept."""
BARS = 16
"""Whole bars where nobody says how many."""
TEMPERATURE, TOP_P = 1.0, 0.95
"""Where a model's generation_config.json states none."""
SEEDS = 2**63
T = TypeVar("T")


class MusicError(ValueError):
    """A wish that no music can be made of; the message names the field, what was found, what is allowed."""


def _checked(make: Callable[[], T]) -> T:
    """What is made; what it refuses is the wish's fault."""
    try:
        return make()
    except MusicError:
        raise
    except ValueError as error:
        raise MusicError(str(error)) from error


def _within(name: str, value: float | None, low: float, high: float, *, whole: bool = False) -> None:
    """MusicError for a value that is no number, or out of its range."""
    if value is None:
        return
    fits = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
    if not (fits and low <= value <= high):
        sort = "a whole number" if whole else "a number"
        raise MusicError(f"{name}: found {value!r}; allowed: {sort} from {low:g} to {high:g}")


@dataclass(frozen=True)
class Composer:
    """What is known of a model of music without its weights."""

    name: str
    tokens: MusicTokens
    sampling: Mapping[str, float]
    """What its makers recommend."""

    @staticmethod
    def open(folder: Path, name: str = "") -> Composer:
        """Of a composer's folder; MusicError for a folder of another model."""
        if not composes(folder):
            raise MusicError(
                f"model: {name or folder.name} composes no music; allowed: a model that does, as {COMPOSER}"
            )
        return Composer(name or folder.name, MusicTokens.open(folder), recommended(name, folder))


@dataclass(frozen=True)
class How:
    """How it is to be composed, whatever it is. None: as the model's makers recommend."""

    n: int = 1
    seed: int | None = None
    """The same seed gives the same music; None draws one."""
    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    drafts: int = DRAFTS
    """Of each version where new music in a key is asked for; one is kept."""
    harmonise: bool = False
    """Chords and a bass are put under it, by rules."""

    def __post_init__(self) -> None:
        _within("n", self.n, 1, MAX_N, whole=True)
        _within("drafts", self.drafts, 1, MOST_DRAFTS, whole=True)
        _within("temperature", self.temperature, 0, 2)
        _within("top_p", self.top_p, 0, 1)
        if self.top_p == 0:
            raise MusicError("top_p: found 0; allowed: above 0, to 1")
        _within("top_k", self.top_k, 0, 2**31, whole=True)
        _within("seed", self.seed, -SEEDS, SEEDS - 1, whole=True)

    def drawn(self) -> How:
        """The same with a seed that is known."""
        seed = secrets.randbits(31) if self.seed is None else self.seed % (2 * SEEDS)
        return replace(self, seed=seed)


@dataclass(frozen=True)
class Write:
    """Ids of every choice: sent back as a list of tuples, by choice."""

    ask: MusicAsk
    n: int
    seed: int
    sampling: Sampling

    def request(self, id: str, model: str) -> Request:
        """The engine's request."""
        ask = self.ask
        return Request(
            id,
            model,
            ask.ids,
            ask.max_tokens,
            self.sampling,
            self.seed,
            n=self.n,
            stop_ids=ask.stop_ids,
            constraint=Constraint("music", ask.rules),
        )


@dataclass(frozen=True)
class Made:
    """Scores that came of a wish, one for each choice."""

    scores: tuple[Score, ...]
    seed: int
    prompt_tokens: int = 0
    music_tokens: int = 0


Road = Generator[Write, list[tuple[int, ...]], Made]


def wish_of(
    words: str,
    *,
    kind: str | None = None,
    key: str | None = None,
    metre: str | None = None,
    tempo: int | None = None,
    bars: int | None = None,
) -> Wish:
    """What is asked for: by words, and by values, which go over the words.

    key: "D", "A minor", "Bb dorian", "D大调". metre: "6/8". tempo: quarter notes a minute. Words that are not
    known are in `unknown`; MusicError where there are words and none of them is, or for a value out of range.
    """
    said = _checked(lambda: parse_wish(words))
    if said.unknown and said == Wish(unknown=said.unknown):
        raise MusicError(
            f"prompt: found {words!r}, of which no word is known; allowed: a kind as reel, jig or air, "
            "a key as in D minor, a metre as 6/8, a pace as lively, a number of bars"
        )
    found = {} if key is None else _one("key", key, ("tonic", "mode"), "D, A minor, Bb dorian")
    found |= {} if metre is None else _one("metre", metre, ("metre",), "3/4, 4/4, 6/8, 9/8")
    given = _checked(lambda: Wish(kind=kind, tempo=tempo, bars=bars, **found))
    return given.over(said)


def _one(name: str, text: str, parts: tuple[str, ...], allowed: str) -> dict[str, Any]:
    """What a text says of one thing alone."""
    words = text.strip()
    words = f"in {words[:1].upper()}{words[1:]}" if name == "key" and words.isascii() else words
    try:
        found = parse_wish(words)
    except ValueError:
        found = Wish()
    said = {part: value for part in parts if (value := getattr(found, part)) is not None}
    if parts[0] not in said or found.unknown or found != Wish(**said):
        raise MusicError(f"{name}: found {text!r}; allowed: {allowed}")
    return said


# --- the roads ----------------------------------------------------------------------------------------------


def compose(composer: Composer, wish: Wish, how: How = How()) -> Road:
    """New pieces as wished, of 16 bars where the wish says no number; what else it leaves open the model
    chooses."""
    wish = replace(wish, bars=BARS) if wish.bars is None else wish
    ask = _checked(lambda: composer.tokens.compose(wish))
    key = None if wish.tonic is None or wish.mode is None else (wish.tonic, wish.mode)
    return (yield from _written(composer, ask, how, key))


def go_on(composer: Composer, score: Score, bars: int, wish: Wish = Wish(), how: How = How()) -> Road:
    """The melody of a score, and `bars` whole bars behind it."""
    _within("bars", bars, 1, 64, whole=True)
    _agrees(score, wish)
    whole = _checked(lambda: whole_bars(score))
    ask = _checked(lambda: composer.tokens.go_on(score, whole + bars, wish))
    return (yield from _written(composer, ask, how))


def infill(
    composer: Composer, score: Score, first: int, last: int, wish: Wish = Wish(), how: How = How()
) -> Road:
    """The melody of a score with bars `first` to `last` (from 1; a pickup is 0) written anew."""
    _agrees(score, wish)
    ask = _checked(lambda: composer.tokens.infill(score, first, last, wish))
    return (yield from _written(composer, ask, how))


def accompanied(score: Score) -> Score:
    """The score with chords and a bass, by rules; where it says no key, under the one it is likeliest in."""
    if not score.keys or score.keys[0][0]:
        tonic, mode = guessed_key(score)
        score = replace(score, keys=((0, tonic, mode), *score.keys))
    return _checked(lambda: harmonised(score))


def whole_bars(score: Score) -> int:
    """Bars of a score's melody that are whole."""
    piece = piece_of(snapped(melody(score)))
    return sum(meaning(bar[0])[0] == "bar" for bar in piece.bars)


def bars_of(text: str) -> tuple[int, int]:
    """(first, last) of "5-8" or "5"."""
    found = re.fullmatch(r"([0-9]{1,4})(?:-([0-9]{1,4}))?", text.strip())
    if found is None:
        raise MusicError(f"infill: found {text!r}; allowed: bars as 5-8, or one as 5")
    return int(found[1]), int(found[2] or found[1])


def _written(composer: Composer, ask: MusicAsk, how: How, key: Key | None = None) -> Road:
    """key: of several drafts one that is in it is kept."""
    how = how.drawn()
    assert how.seed is not None
    sampling = _sampling(composer, how)
    mark = None if key is None else partial(in_key, key=key)
    drafts = how.drafts if key is not None and sampling.temperature > 0 else 1
    written = yield Write(ask, how.n * drafts, how.seed, sampling)
    scores = [composer.tokens.score(ask, ids) for ids in written]
    scores = [_titled(scores[at]) for at in keep(drafts, mark, scores)]
    if how.harmonise:
        scores = [accompanied(score) for score in scores]
    return Made(tuple(scores), how.seed, len(ask.ids), sum(len(ids) for ids in written))


def _agrees(score: Score, wish: Wish) -> None:
    """MusicError where a wish asks of a score that is given what it is not."""
    here = score.keys[0][1:] if score.keys else None
    if wish.tonic is not None and here not in (None, (wish.tonic, wish.mode)):
        raise MusicError(
            f"key: found {wish.tonic} {wish.mode}; allowed: that of the score, {' '.join(here or ())}"
        )
    if wish.metre is not None and wish.metre != score.metres[0][1:]:
        beats, unit = score.metres[0][1:]
        raise MusicError(
            f"metre: found {wish.metre[0]}/{wish.metre[1]}; allowed: the score's, {beats}/{unit}"
        )
    if wish.tempo is not None:
        raise MusicError(
            f"tempo: found {wish.tempo}; allowed: none where a score is given, which has its own"
        )


def _titled(score: Score) -> Score:
    """Named by its kind and key."""
    key = " ".join(score.keys[0][1:]) if score.keys else ""
    kind = (score.kind or "tune").capitalize()
    return replace(score, title=f"{kind} in {key}" if key else kind)


def _sampling(composer: Composer, how: How) -> Sampling:
    hint = composer.sampling

    def one(name: str, given: float | None, plain: float) -> float:
        return hint.get(name, plain) if given is None else given

    return Sampling(
        temperature=one("temperature", how.temperature, TEMPERATURE),
        top_k=int(one("top_k", how.top_k, 0)),
        top_p=one("top_p", how.top_p, TOP_P),
    )

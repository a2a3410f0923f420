"""Speech as ids: the layout in which one Transformer reads phonemes aloud in the codes of a codec.

Not the codec (codec.audio), not the phonemes of a text (sound.timed, sound.hibari), and not the engine, which
is handed a `SpeechAsk`. A sentence is written whole, so that its end is known from its beginning, and then
word by word, each with its own codes between two marks:

    <|speak|> phonemes of all <|word|> phonemes of one <|sound|> codes <|/sound|> <|word|> ...

The words stand in the prompt one after another, so none can be left out or said twice; what the model learns
is how each sounds, and how long. An answer is codes up to <|/sound|>: its ids come from that range and that
mark alone.
Sources: Wang et al. 2023, arXiv:2301.02111 (phonemes and codes in one sequence); words in turn, as text and
sound are in Defossez et al. 2024, arXiv:2410.00037, section 3.4.4.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tokenloom.hub.card import SPEECH as CODEC
from tokenloom.step import Range
from tokenloom.tokens.layout import Example, add_layout, check_layout, read_layout
from tokenloom.tokens.text import Tokenizer
from tokenloom.tokens.vocabulary import Medium, Vocabulary
from tokenloom.weights.tokenizer_files import json_object

SOUND = "sound"
"""The name of the range of codes."""
KIND = "a model that speaks"
SPEAK, WORD = "<|speak|>", "<|word|>"
SPEECH_MARKS = (SPEAK, WORD)
"""The layout's marks, in the order of their ids; <|sound|> and <|/sound|> come after them."""
OPENED, CLOSED = Medium(SOUND, 1).marks
FRAMES, PER_PHONEME = 60, 16
"""A word takes so many frames at most, and so many more for each of its phonemes."""


@dataclass(frozen=True)
class SpeechAsk:
    """What the engine is asked for one word: `Request(id=..., model=..., **ask.options())`."""

    ids: tuple[int, ...]
    max_tokens: int
    allowed: tuple[Range, ...]
    stop_ids: tuple[int, ...]
    min_tokens: int

    def options(self) -> dict[str, Any]:
        """The keywords of an engine's Request."""
        return {
            "ids": self.ids,
            "max_tokens": self.max_tokens,
            "allowed": self.allowed,
            "stop_ids": self.stop_ids,
            "min_tokens": self.min_tokens,
        }


class Word(NamedTuple):
    """A word that was said."""

    phonemes: str
    codes: Sequence[int] | np.ndarray


def add_speech(
    tokenizer: Tokenizer, n_codes: int, codec: str | None = None, vocabulary: Vocabulary | None = None
) -> tuple[Tokenizer, Vocabulary]:
    """A text tokenizer with the layout's marks and `n_codes` codes behind its own tokens, and its vocabulary.

    codec: sha256 of the codec; vocabulary: the tokenizer's, if it has been extended before.
    """
    return add_layout(tokenizer, Medium(SOUND, n_codes, codec), SPEECH_MARKS, vocabulary)


def split_words(phonemes: str) -> list[str]:
    """The words of a sentence's phonemes; marks stand with the word before them."""
    return phonemes.split()


@dataclass(frozen=True)
class SpeechTokens:
    """Phonemes and codes <-> ids of one model."""

    tokenizer: Tokenizer
    vocabulary: Vocabulary
    depth: int = 1
    """Codes of a frame, side by side."""
    context: int | None = None
    """Positions of the model. None: not asked."""

    def __post_init__(self) -> None:
        check_layout(self.tokenizer, self.vocabulary, SOUND, SPEECH_MARKS, KIND)
        if self.depth < 1:
            raise ValueError(f"depth: found {self.depth}; allowed: 1 and more")

    @staticmethod
    def open(folder: Path | str, depth: int | None = None) -> SpeechTokens:
        """Of a speaking model's folder, or of a tokenizer's (depth: its codec's).

        ValueError for a folder of another model, naming what it lacks.
        """
        folder = Path(folder)
        tokenizer, vocabulary, context = read_layout(folder, SOUND, "codes of sound", KIND)
        if depth is None:
            stated = json_object(folder / CODEC / "config.json").get("depth")
            if type(stated) is not int or stated < 1:
                raise ValueError(f"{folder / CODEC}: found no codec of sound; allowed: the one it learned")
            depth = stated
        return SpeechTokens(tokenizer, vocabulary, depth, context)

    @property
    def codec(self) -> str | None:
        """sha256 of the codec whose codes these are."""
        return self.vocabulary.codec(SOUND)

    # --- what the engine is asked ---------------------------------------------------------------------------

    def ask(self, words: Sequence[str], said: Sequence[Sequence[int]]) -> SpeechAsk:
        """The next word of a sentence. words: the phonemes of all of them; said: the codes of those before.

        Where not all fit into the model, the first ones that were said are left out. ValueError where the
        sentence itself does not fit, or nothing is left to say.
        """
        if not 0 <= len(said) < len(words):
            raise ValueError(
                f"said: found {len(said)} words; allowed: 0 to {len(words) - 1}, one is asked for"
            )
        at = len(said)
        head = self._head(words)
        own = self._named(words[at])
        room = (FRAMES + PER_PHONEME * len(words[at])) * self.depth
        parts = [self._said(Word(word, codes)) for word, codes in zip(words[:at], said, strict=True)]
        if self.context is not None:
            room = min(room, max(self.depth, self.context - len(head) - len(own)))
            while parts and len(head) + sum(map(len, parts)) + len(own) + room > self.context:
                parts.pop(0)
            if len(head) + len(own) + room > self.context:
                raise ValueError(
                    f"text: its phonemes take {len(head) + len(own)} ids; allowed: fewer than "
                    f"{self.context}, as the model has: say it in shorter sentences"
                )
        ids = [*head, *(id for part in parts for id in part), *own]
        closed = self.tokenizer.special[CLOSED]
        ranges = (self.vocabulary.range(SOUND), (closed, closed + 1))
        return SpeechAsk(tuple(ids), room, tuple(sorted(ranges)), (closed,), self.depth)

    def codes_of(self, ids: Sequence[int]) -> np.ndarray:
        """The codes int64 (n,) of an answer's ids, whole frames. ValueError for any other id among them."""
        codes = np.array(self.vocabulary.codes(SOUND, ids), dtype=np.int64)
        return codes[: len(codes) // self.depth * self.depth]

    # --- what is learned ------------------------------------------------------------------------------------

    def example(self, words: Iterable[Word]) -> Example:
        """A sentence that was said. ValueError for a word without codes, or with part of a frame's."""
        words = list(words)
        ids = self._head([word.phonemes for word in words])
        learned = [False] * len(ids)
        for word in words:
            if not len(word.codes) or len(word.codes) % self.depth:
                raise ValueError(
                    f"codes: found {len(word.codes)} for {word.phonemes!r}; allowed: {self.depth} a frame"
                )
            asked, both = self._named(word.phonemes), self._said(word)
            ids += both
            learned += [False] * len(asked) + [True] * (len(both) - len(asked))
        return Example(ids, learned)

    # --- parts ----------------------------------------------------------------------------------------------

    def _head(self, words: Sequence[str]) -> list[int]:
        if not words or not all(words):
            raise ValueError("phonemes: found none, or an empty word; allowed: one word or more")
        return [self.tokenizer.special[SPEAK], *self.tokenizer.encode(" ".join(words))]

    def _named(self, word: str) -> list[int]:
        special = self.tokenizer.special
        return [special[WORD], *self.tokenizer.encode(word), special[OPENED]]

    def _said(self, word: Word) -> list[int]:
        codes = self.vocabulary.ids(SOUND, word.codes)
        return [*self._named(word.phonemes), *codes, self.tokenizer.special[CLOSED]]

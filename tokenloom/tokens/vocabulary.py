"""The one vocabulary: named ranges of ids, and a text tokenizer extended by them.

Not the rows of weights, which the model makes, and not the codecs, whose codes these ids stand for. A medium
is a range of ids and no more: code c of a range that starts at s is id s + c.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tokenloom.step import Range
from tokenloom.tokens.text import Tokenizer

SPECIAL = "special"
"""The name that may stand for several ranges: each extension brings its own control tokens."""
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Named:
    """Ids from start (included) to stop (excluded) that mean one thing."""

    name: str
    start: int
    stop: int
    codec: str | None = None
    """sha256 of the codec whose codes these are, hexadecimal."""


@dataclass(frozen=True)
class Vocabulary:
    """Ranges without gaps, from id 0."""

    ranges: tuple[Named, ...] = ()

    def __post_init__(self) -> None:
        at, names = 0, set()
        for index, part in enumerate(self.ranges):
            where = f"ranges[{index}]"
            if not isinstance(part.name, str) or not _NAME.fullmatch(part.name):
                raise ValueError(f"{where}.name: found {part.name!r}; allowed: small letters, digits and _")
            if part.name in names and part.name != SPECIAL:
                raise ValueError(f"{where}.name: found {part.name!r} twice; allowed: once, but for {SPECIAL}")
            if type(part.start) is not int or part.start != at:
                raise ValueError(
                    f"{where}.start: found {part.start!r}; allowed: {at}, where the last one stops"
                )
            if type(part.stop) is not int or part.stop <= at:
                raise ValueError(f"{where}.stop: found {part.stop!r}; allowed: more than {at}")
            if part.codec is not None and not (isinstance(part.codec, str) and _SHA256.fullmatch(part.codec)):
                raise ValueError(
                    f"{where}.codec: found {part.codec!r}; allowed: a sha256 of 64 digits, or none"
                )
            at = part.stop
            names.add(part.name)

    @property
    def size(self) -> int:
        """How many ids there are."""
        return self.ranges[-1].stop if self.ranges else 0

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(part.name for part in self.ranges))

    def add(self, name: str, size: int, codec: str | None = None) -> Vocabulary:
        """A vocabulary with one more range behind the last; codec: sha256 of the codec its codes are of."""
        if type(size) is not int or size < 1:
            raise ValueError(f"size: found {size!r} for {name!r}; allowed: 1 or more")
        return Vocabulary((*self.ranges, Named(name, self.size, self.size + size, codec)))

    def spans(self, name: str) -> tuple[Range, ...]:
        """All ranges of a name, for `Request.allowed`."""
        found = tuple((part.start, part.stop) for part in self.ranges if part.name == name)
        if not found:
            raise ValueError(f"range: found {name!r}; allowed: {', '.join(self.names) or 'none'}")
        return found

    def range(self, name: str) -> Range:
        """The range of a name that has one."""
        found = self.spans(name)
        if len(found) > 1:
            raise ValueError(f"range: found {len(found)} ranges of {name!r}; allowed: a name with one")
        return found[0]

    def codec(self, name: str) -> str | None:
        """sha256 of the codec of a range."""
        self.range(name)
        return next(part.codec for part in self.ranges if part.name == name)

    def name_of(self, id: int) -> str:
        for part in self.ranges:
            if part.start <= id < part.stop:
                return part.name
        raise ValueError(f"ids: found {id}; allowed: 0 to {self.size - 1}")

    def ids(self, name: str, codes: Iterable[int]) -> list[int]:
        """Codes of a codec, or numbers of events -> ids."""
        start, stop = self.range(name)
        codes = [int(code) for code in codes]
        if codes and not 0 <= min(codes) <= max(codes) < stop - start:
            bad = next(code for code in codes if not 0 <= code < stop - start)
            raise ValueError(f"codes: found {bad} for {name}; allowed: 0 to {stop - start - 1}")
        return [start + code for code in codes]

    def codes(self, name: str, ids: Iterable[int]) -> list[int]:
        """Ids of one range -> codes."""
        start, stop = self.range(name)
        ids = [int(id) for id in ids]
        if ids and not start <= min(ids) <= max(ids) < stop:
            bad = next(id for id in ids if not start <= id < stop)
            raise ValueError(f"ids: found {bad} for {name}; allowed: {start} to {stop - 1}")
        return [id - start for id in ids]

    def to_json(self) -> list[dict[str, Any]]:
        """What tokenloom.json holds under `ranges`."""
        parts = [{"name": p.name, "start": p.start, "stop": p.stop, "codec": p.codec} for p in self.ranges]
        return [{key: value for key, value in part.items() if value is not None} for part in parts]

    @staticmethod
    def from_json(value: Any) -> Vocabulary:
        """The inverse of `to_json`; ValueError names what is wrong."""
        if not isinstance(value, list):
            raise ValueError(f"ranges: found a {type(value).__name__}; allowed: a list")
        parts = []
        for index, part in enumerate(value):
            if not isinstance(part, Mapping):
                raise ValueError(f"ranges[{index}]: found a {type(part).__name__}; allowed: an object")
            if unknown := set(part) - {"name", "start", "stop", "codec"}:
                raise ValueError(
                    f"ranges[{index}]: found {sorted(unknown)}; allowed: name, start, stop, codec"
                )
            if missing := {"name", "start", "stop"} - set(part):
                raise ValueError(f"ranges[{index}]: missing: {', '.join(sorted(missing))}")
            parts.append(Named(part["name"], part["start"], part["stop"], part.get("codec")))
        return Vocabulary(tuple(parts))


@dataclass(frozen=True)
class Medium:
    """A medium to add to a text model."""

    name: str
    """image, sound, music, ...: the range's name; its tokens are <|name|>, <|/name|>, <|name:0|>, ..."""
    size: int
    """How many codes or events there are."""
    codec: str | None = None
    """sha256 of the codec."""

    @property
    def marks(self) -> tuple[str, str]:
        """The tokens before and after a work's codes."""
        return f"<|{self.name}|>", f"<|/{self.name}|>"

    @property
    def tokens(self) -> list[str]:
        """One token for each code."""
        return [f"<|{self.name}:{code}|>" for code in range(self.size)]


def text_vocabulary(tokenizer: Tokenizer) -> Vocabulary:
    """The vocabulary of a text model as it is."""
    return Vocabulary().add("text", tokenizer.vocab_size)


def extend_tokenizer(
    tokenizer: Tokenizer, media: Sequence[Medium], vocabulary: Vocabulary | None = None
) -> tuple[Tokenizer, Vocabulary]:
    """A tokenizer with the media's tokens behind its own, and its vocabulary.

    First the marks of all media, one range `special`; then a range of codes for each. The tokenizer's own ids
    stay; new ones are special: no text can spell them, and decoding leaves them out unless asked. vocabulary:
    the tokenizer's, if it has been extended before. ValueError for a token or a range that is there already.
    """
    vocabulary = vocabulary or text_vocabulary(tokenizer)
    if vocabulary.size != tokenizer.vocab_size:
        raise ValueError(
            f"vocabulary: found {vocabulary.size} ids, but the tokenizer has {tokenizer.vocab_size}; "
            "allowed: the same number"
        )
    if not media:
        return tokenizer, vocabulary
    marks = [mark for medium in media for mark in medium.marks]
    grown = vocabulary.add(SPECIAL, len(marks))
    for medium in media:
        grown = grown.add(medium.name, medium.size, medium.codec)
    tokens = marks + [token for medium in media for token in medium.tokens]
    return tokenizer.with_special(tokens), grown

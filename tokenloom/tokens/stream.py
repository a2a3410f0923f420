"""Ids -> text as they come, and stop strings.

Not sampling: what ends an answer by id is the engine's matter. No piece holds half a character, and none
holds text that may turn out to be the start of a stop string.
"""

from __future__ import annotations

import codecs
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from tokenloom.tokens.text import Tokenizer


@dataclass(frozen=True)
class Piece:
    """What a push brought."""

    text: str
    """To be shown now; maybe nothing."""
    n_ids: int
    """How many of the pushed ids belong to the answer: all, or those up to where a stop string ended."""
    stopped: str | None = None
    """The stop string that ended the answer, if one did."""


class TextStream:
    """The text of one answer. All pieces joined are `tokenizer.decode` of all ids, up to a stop string.

    The stop string that ends first wins; of two that end together, the longer. It is not part of the text.
    """

    def __init__(
        self, tokenizer: Tokenizer, stop: Sequence[str] = (), special: bool | Collection[str] = False
    ) -> None:
        """stop: texts that end the answer; special: whether special tokens are shown, or which."""
        if "" in stop:
            raise ValueError("stop: found an empty text; allowed: texts of one character or more")
        self._tokenizer = tokenizer
        shown = tokenizer.special if special is True else (special or ())
        self._shown = frozenset(tokenizer.special[text] for text in shown if text in tokenizer.special)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._strip = tokenizer.spelling.strip
        self._finder = StopFinder(stop)
        self._done = False

    def push(self, ids: Iterable[int]) -> Piece:
        """New ids -> the text that is certain now."""
        ids = list(ids)
        if self._done:
            return Piece("", 0, self._finder.found)
        shown = []
        for count, id in enumerate(ids, 1):
            text = self._read(self._decoder.decode(self._tokenizer.kept(id, id in self._shown)))
            shown.append(self._finder.push(text))
            if self._finder.found is not None:
                self._done = True
                return Piece("".join(shown), count, self._finder.found)
        return Piece("".join(shown), len(ids))

    def finish(self) -> Piece:
        """The end of the answer -> the text held back; half a character becomes U+FFFD."""
        if self._done:
            return Piece("", 0, self._finder.found)
        self._done = True
        shown = self._finder.push(self._read(self._decoder.decode(b"", final=True)))
        return Piece(shown + self._finder.finish(), 0, self._finder.found)

    def _read(self, text: str) -> str:
        if self._strip and text:
            self._strip = False
            return text.removeprefix(" ")
        return text


class StopFinder:
    """Looks for stop strings in a text that comes in pieces."""

    def __init__(self, stop: Sequence[str]) -> None:
        self._stop = sorted(set(stop), key=len, reverse=True)
        self._held = ""
        self.found: str | None = None

    def push(self, text: str) -> str:
        """More text -> what cannot be part of a stop string; `found` is set when one is complete."""
        if not self._stop or self.found is not None or not text:
            return text if self.found is None else ""
        held = self._held + text
        ends = [(at + len(stop), -len(stop), stop) for stop in self._stop if (at := held.find(stop)) >= 0]
        if ends:
            end, _, self.found = min(ends)
            self._held = ""
            return held[: end - len(self.found)]
        keep = max(overlap(held, stop) for stop in self._stop)
        self._held = held[len(held) - keep :]
        return held[: len(held) - keep]

    def finish(self) -> str:
        """No more text comes -> what was held back."""
        held, self._held = self._held, ""
        return held


def overlap(text: str, stop: str) -> int:
    """Length of the longest end of `text` that is a start, not the whole, of `stop`."""
    for size in range(min(len(text), len(stop) - 1), 0, -1):
        if stop.startswith(text[len(text) - size :]):
            return size
    return 0

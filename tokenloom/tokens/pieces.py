"""The bytes each token stands for, and how bytes become text again.

Not a tokenizer: it only reads how one spells its tokens. Three spellings cover the families here: byte-level
(GPT-2, Llama 3, Qwen), SentencePiece with byte fallback (Llama 2, Mistral, Gemma) and SentencePiece without.
Text is the bytes of all tokens joined and read as UTF-8, each invalid part one replacement character (Unicode
standard, section 3.9, as Python and Rust read it), so it can be made as the tokens come.
Source: Radford et al. 2019 (byte-level BPE); Kudo & Richardson 2018, arXiv:1808.06226 (SentencePiece).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Literal

import tokenizers

SPACE = "▁"
_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")


def byte_letters() -> dict[str, int]:
    """GPT-2's alphabet: the printable letter that stands for each byte -> the byte."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in set(printable)]
    letters = {chr(byte): byte for byte in printable}
    letters.update({chr(256 + index): byte for index, byte in enumerate(others)})
    return letters


_LETTERS = byte_letters()


@dataclass(frozen=True)
class Spelling:
    """How a tokenizer's tokens spell text."""

    kind: Literal["bytes", "pieces"]
    """bytes: letters stand for bytes; pieces: text with a mark for the space."""
    fallback: bool = False
    """Tokens written <0xE4> are single bytes."""
    strip: bool = False
    """One space at the very start belongs to the encoding, not to the text."""

    def of(self, token: str) -> bytes:
        """The bytes a token stands for."""
        if self.kind == "bytes":
            try:
                return bytes([_LETTERS[letter] for letter in token])
            except KeyError:  # an added token may be written plainly
                return token.encode()
        if self.fallback and (byte := _BYTE.fullmatch(token)):
            return bytes([int(byte[1], 16)])
        return token.replace(SPACE, " ").encode()


def spelling_of(backend: tokenizers.Tokenizer) -> Spelling:
    """Reads the tokenizer's decoder; raises ValueError for one that is not covered."""
    if backend.decoder is None:
        raise ValueError("decoder: found none; allowed: ByteLevel, Metaspace, or SentencePiece's sequence")
    steps = list(_steps(json.loads(backend.decoder.__getstate__())))
    kinds = [step["type"] for step in steps]
    if "ByteLevel" in kinds and set(kinds) <= {"ByteLevel", "Fuse"}:
        return Spelling("bytes")
    if kinds == ["Metaspace"] and steps[0].get("replacement", SPACE) == SPACE:
        return Spelling("pieces", strip=steps[0].get("prepend_scheme", "always") != "never")
    if set(kinds) <= {"Replace", "ByteFallback", "Fuse", "Strip"}:
        replaced = [step for step in steps if step["type"] == "Replace"]
        stripped = [step for step in steps if step["type"] == "Strip"]
        space = all(step["pattern"] == {"String": SPACE} and step["content"] == " " for step in replaced)
        plain = all((step["content"], step["start"], step["stop"]) == (" ", 1, 0) for step in stripped)
        if len(replaced) == 1 and space and plain:
            return Spelling("pieces", fallback="ByteFallback" in kinds, strip=bool(stripped))
    raise ValueError(
        f"decoder: found {' + '.join(kinds)}; allowed: ByteLevel, Metaspace, or SentencePiece's sequence "
        "of Replace, ByteFallback, Fuse and Strip"
    )


def _steps(decoder: dict[str, Any]) -> list[dict[str, Any]]:
    """A decoder's steps, sequences opened."""
    if decoder["type"] == "Sequence":
        return [step for inner in decoder["decoders"] for step in _steps(inner)]
    return [decoder]

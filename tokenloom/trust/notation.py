"""Labels in MIDI, ABC and SVG files of music: words that a program shows, and the hidden label beside them.

MIDI: two text events at the head of the first track. ABC: two N: lines under X:. SVG: a line of text in the
picture's corner, and <metadata>. The hash is over the file without what is put in. Not sounds (audio, wav).
Sources: the MIDI files standard 1.0 (meta event 01); the ABC standard 2.1, section 3.1; SVG 1.1, section 21.
"""

from __future__ import annotations

import re
from html import escape, unescape
from typing import Literal

from tokenloom.trust.fields import WORDS, BadMedia, Label, content_hash, new_label, parse_label

Notation = Literal["midi", "abc", "svg"]
NOTATIONS: tuple[Notation, ...] = ("midi", "abc", "svg")
_SVG_HEAD = re.compile(rb"<svg\b[^>]*>")
_SVG_SIZE = re.compile(rb'\bviewBox="0 0 ([\d.]+) ([\d.]+)"')
_HIDDEN = {
    "midi": re.compile(rb'\x00\xff\x01.{1,2}(\{"AIGC":\{[^\x00]*?\}\})', re.S),
    "abc": re.compile(rb'(?m)^N:(\{"AIGC":\{.*\}\})\s*$'),
    "svg": re.compile(rb"<metadata>(\{[^<]*\})</metadata>"),
}


def label_notation(data: bytes, kind: Notation, lang: str = "en", producer: str | None = None) -> bytes:
    """The file with both labels; one that bears a label comes back unchanged. BadMedia for another file."""
    if lang not in WORDS:
        raise ValueError(f"lang is {lang!r}; allowed are {', '.join(WORDS)}")
    if labels_in(data, kind):
        return data
    label = new_label(content_hash(data), producer).wrapped()
    return {"midi": _midi, "abc": _abc, "svg": _svg}[kind](data, WORDS[lang], label)


def labels_in(data: bytes, kind: Notation) -> list[Label]:
    """The hidden labels of a file. BadLabel for one that is none."""
    return [parse_label(unescape(found.decode())) for found in _HIDDEN[kind].findall(data)]


def _midi(data: bytes, words: str, label: str) -> bytes:
    if data[:4] != b"MThd" or data[14:18] != b"MTrk":
        raise BadMedia("the file is no MIDI file: it does not begin with MThd and a track")
    size = int.from_bytes(data[18:22], "big")
    events = b"".join(
        b"\x00\xff\x01" + _variable(len(text)) + text for text in (words.encode(), label.encode())
    )
    return data[:18] + (size + len(events)).to_bytes(4, "big") + events + data[22:]


def _variable(number: int) -> bytes:
    """A number in groups of seven bits, as MIDI has lengths."""
    out = [number & 0x7F]
    while number := number >> 7:
        out.append(0x80 | number & 0x7F)
    return bytes(reversed(out))


def _abc(data: bytes, words: str, label: str) -> bytes:
    head = re.search(rb"(?m)^X:.*\n", data)
    if head is None:
        raise BadMedia("the text is no ABC: there is no line X: with a number")
    return data[: head.end()] + f"N:{words}\nN:{label}\n".encode() + data[head.end() :]


def _svg(data: bytes, words: str, label: str) -> bytes:
    head, size = _SVG_HEAD.search(data), _SVG_SIZE.search(data)
    end = data.rfind(b"</svg>")
    if head is None or size is None or end < 0:
        raise BadMedia("the text is no SVG picture: there is no <svg> with a viewBox that ends")
    x, y = float(size[1]) - 12, float(size[2]) - 10
    shown = (
        f'<text class="label" x="{x:g}" y="{y:g}" font-size="12" fill="#1d2127" text-anchor="end" '
        f'font-family="sans-serif">{escape(words)}</text>'
    )
    hidden = f"<metadata>{escape(label, quote=False)}</metadata>"
    return data[: head.end()] + hidden.encode() + data[head.end() : end] + shown.encode() + data[end:]

"""Labels in MIDI, ABC and SVG files of music: words that a program shows, and the hidden label beside them.

MIDI: two text events at the head of the first track. ABC: two N: lines under X:. SVG: the words on a ground
of their own in the lower right corner, and <metadata>. The label's hash covers the file without what is put
in. Not sounds (audio, wav), and not pictures of pixels.
Sources: the MIDI files standard 1.0 (meta event 01); the ABC standard 2.1, section 3.1; SVG 1.1, sections
7.7, 10.5 and 21.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import escape, unescape
from typing import Literal

from tokenloom.trust.fields import WORDS, BadMedia, Label, content_hash, new_label, parse_label
from tokenloom.trust.text import SAYS

Notation = Literal["midi", "abc", "svg"]
NOTATIONS: tuple[Notation, ...] = ("midi", "abc", "svg")
MIDI_START = b"MThd"
SHARE = 0.06
"""Height of a capital of the words on an SVG, of its shorter side (5 % is asked for)."""
CAPITAL, NARROW = 0.7, 0.55
"""Of a letter's size: the height of a capital, and the width that a Latin letter is given."""
_TEXT = b"\x00\xff\x01"
"""A text event at the time of the one before it."""
_BEGINS = re.compile(rb'\s*\{\s*"AIGC"')
_SHOWN = b"|".join(re.escape(words.encode()) for words in sorted(WORDS.values()))
_ABC_HEAD = re.compile(rb"(?m)^X:[^\r\n]*(\r?\n)")
_ABC_HIDDEN = re.compile(rb'(?m)^N:[ \t]*(\{\s*"AIGC".*\})[ \t]*(?:\r?\n|\r?\Z)')
_ABC_WORDS = re.compile(rb"(?m)^N:(" + _SHOWN + rb")\r?\n")
_SVG_START = re.compile(
    rb"(?:\xef\xbb\xbf)?\s*(?:<\?xml[^>]*>|<!--.*?-->|<!DOCTYPE[^>]*>|\s)*<svg\b[^>]*>", re.S
)
_SVG_HEAD = re.compile(rb"<svg\b[^>]*>")
_SVG_HIDDEN = re.compile(rb'<metadata>(\{\s*"AIGC"[^<]*\})</metadata>')
_SVG_WORDS = re.compile(rb'<g class="label"><rect [^>]*/><text [^>]*>(?:' + _SHOWN + rb")</text></g>")
_SVG_TEXT = re.compile(rb"<text[^>]*>([^<]*)</text>")


def notation_of(data: bytes) -> Notation | None:
    """What the bytes begin as, if one of these."""
    if data.startswith(MIDI_START):
        return "midi"
    if re.match(rb"(?:%abc.*\r?\n\s*)?X:\s*\d", data):
        return "abc"
    return "svg" if _SVG_START.match(data[:4096]) else None


def holds_tune(data: bytes) -> bool:
    """Whether an ABC text has a tune, which may stand below a head of the whole file."""
    return _ABC_HEAD.search(data) is not None


def label_notation(
    data: bytes,
    kind: Notation,
    lang: str = "en",
    producer: str | None = None,
    produce_id: str | None = None,
    visible: bool = True,
) -> bytes:
    """The file with both labels; one that bears a label comes back unchanged. BadMedia for another file.

    visible=False leaves the words out.
    """
    if lang not in WORDS:
        raise ValueError(f"lang is {lang!r}; allowed are {', '.join(WORDS)}")
    if hidden_in(data, kind):
        return data
    label = new_label(notation_hash(data, kind), producer, produce_id).wrapped()
    words = WORDS[lang] if visible and not shows_words(data, kind) else ""
    return {"midi": _midi_with, "abc": _abc_with, "svg": _svg_with}[kind](data, words, label)


def hidden_in(data: bytes, kind: Notation) -> list[tuple[str, str]]:
    """(where, label's JSON) of each hidden label. BadMedia for damaged data."""
    if kind == "midi":
        start, stop = _first_track(data)
        found = [text for _, _, text in _texts(data, start, stop) if _BEGINS.match(text)]
        return [("MIDI text event", _plain(text)) for text in found]
    if kind == "abc":
        _abc_head(data)
        return [("ABC field N:", _plain(text)) for text in _ABC_HIDDEN.findall(data)]
    _svg_ends(data)
    return [("SVG metadata", unescape(_plain(text))) for text in _SVG_HIDDEN.findall(data)]


def labels_in(data: bytes, kind: Notation) -> list[Label]:
    """The hidden labels of a file. BadLabel for one that is none."""
    return [parse_label(value) for _, value in hidden_in(data, kind)]


def notation_hash(data: bytes, kind: Notation) -> str:
    """The hash of the file without its labels."""
    if kind == "midi":
        return content_hash(_midi_without(data))
    if kind == "abc":
        _abc_head(data)
        return content_hash(_ABC_WORDS.sub(b"", _ABC_HIDDEN.sub(b"", data)))
    _svg_ends(data)
    return content_hash(_SVG_WORDS.sub(b"", _SVG_HIDDEN.sub(b"", data)))


def shows_words(data: bytes, kind: Notation) -> bool:
    """Whether a program that shows the file's texts shows the words."""
    if kind == "midi":
        texts = [_plain(text) for *_, text in _texts(data, *_first_track(data)) if not _BEGINS.match(text)]
    elif kind == "abc":
        texts = [_plain(text) for text in re.findall(rb'(?m)^N:(?!\s*\{\s*"AIGC")(.*)$', data)]
    else:
        texts = [unescape(_plain(text)) for text in _SVG_TEXT.findall(data)]
    return any(SAYS.match(text) for text in texts)


def _plain(text: bytes) -> str:
    return text.decode("utf-8", "replace").strip()


# MIDI: chunks of a type, a length and events.


def _first_track(data: bytes) -> tuple[int, int]:
    """Where the first track's events begin and end; BadMedia where a chunk is cut off."""
    if not data.startswith(MIDI_START):
        raise BadMedia("this is no MIDI file: it does not begin with MThd")
    if len(data) < 14 or not (tracks := int.from_bytes(data[10:12], "big")):
        raise BadMedia("the MIDI is damaged: its header is cut off, or states no track")
    at = 0
    found: list[tuple[int, int]] = []
    while len(found) < tracks:
        if at + 8 > len(data):
            raise BadMedia(f"the MIDI is cut off: {len(found)} of its {tracks} tracks are there")
        stop = at + 8 + int.from_bytes(data[at + 4 : at + 8], "big")
        if stop > len(data):
            raise BadMedia(
                f"the MIDI is cut off: the chunk at byte {at} states {stop - at - 8} bytes, too many"
            )
        if data[at : at + 4] == b"MTrk":
            found.append((at + 8, stop))
        at = stop
    return found[0]


def _texts(data: bytes, start: int, stop: int) -> Iterator[tuple[int, int, bytes]]:
    """(first byte, byte behind, text) of the text events among the meta events that a track begins with."""
    at = start
    while at + 3 < stop and data[at : at + 2] == b"\0\xff":
        size, begin = 0, at + 3
        while begin < stop:
            size = size << 7 | data[begin] & 0x7F
            begin += 1
            if not data[begin - 1] & 0x80:
                break
        end = begin + size
        if end > stop:
            raise BadMedia(f"the MIDI is damaged: the event at byte {at} is longer than its track")
        if data[at : at + 3] == _TEXT:
            yield at, end, data[begin:end]
        at = end


def _midi_without(data: bytes) -> bytes:
    start, stop = _first_track(data)
    ours = [
        (at, end)
        for at, end, text in _texts(data, start, stop)
        if _BEGINS.match(text) or text in [words.encode() for words in WORDS.values()]
    ]
    kept, last = [], start
    for at, end in ours:
        kept.append(data[last:at])
        last = end
    return _midi_of(data, start, stop, b"".join([*kept, data[last:stop]]))


def _midi_with(data: bytes, words: str, label: str) -> bytes:
    start, stop = _first_track(data)
    texts = [text.encode() for text in (words, label) if text]
    events = b"".join(_TEXT + _variable(len(text)) + text for text in texts)
    return _midi_of(data, start, stop, events + data[start:stop])


def _midi_of(data: bytes, start: int, stop: int, track: bytes) -> bytes:
    """The file with other events in its first track."""
    return data[: start - 4] + len(track).to_bytes(4, "big") + track + data[stop:]


def _variable(number: int) -> bytes:
    """A number in groups of seven bits, as MIDI has lengths."""
    out = [number & 0x7F]
    while number := number >> 7:
        out.append(0x80 | number & 0x7F)
    return bytes(reversed(out))


# ABC: lines of a letter, a colon and a text.


def _abc_head(data: bytes) -> re.Match[bytes]:
    if (head := _ABC_HEAD.search(data)) is None:
        raise BadMedia("this is no ABC: there is no line X: with a number")
    return head


def _abc_with(data: bytes, words: str, label: str) -> bytes:
    head = _abc_head(data)
    lines = b"".join(b"N:" + text.encode() + head[1] for text in (words, label) if text)
    return data[: head.end()] + lines + data[head.end() :]


# SVG: a root element with its size.


def _svg_ends(data: bytes) -> tuple[int, int]:
    """Where what the root element holds begins and ends."""
    head, end = _SVG_HEAD.search(data), data.rfind(b"</svg>")
    if head is None:
        raise BadMedia("this is no SVG picture: there is no element <svg>")
    if end < head.end():
        raise BadMedia("the SVG is cut off: its element <svg> does not end")
    return head.end(), end


def _svg_box(head: bytes) -> tuple[float, float, float, float]:
    """(left, top, width, height) of what the picture shows, in its own units."""
    found = re.search(rb"""\bviewBox=["']([^"']*)["']""", head)
    try:
        if found:
            left, top, width, height = map(float, found[1].replace(b",", b" ").split())
        else:
            left = top = 0.0
            width, height = (
                float(re.search(rb"\b" + side + rb"""=["']([\d.]+)(?:px)?["']""", head)[1])  # type: ignore[index]
                for side in (b"width", b"height")
            )
    except (ValueError, TypeError) as error:
        raise BadMedia(
            "the SVG states no size: neither a viewBox nor a width and a height in pixels"
        ) from error
    if not (0 < width < 1e9 and 0 < height < 1e9):
        raise BadMedia(f"the SVG is damaged: its size is {width:g} by {height:g}")
    return left, top, width, height


def _svg_with(data: bytes, words: str, label: str) -> bytes:
    start, end = _svg_ends(data)
    hidden = f"<metadata>{escape(label, quote=False)}</metadata>".encode()
    shown = _svg_words(words, _svg_box(_svg_head(data))).encode() if words else b""
    return data[:start] + hidden + data[start:end] + shown + data[end:]


def _svg_head(data: bytes) -> bytes:
    head = _SVG_HEAD.search(data)
    assert head is not None
    return head[0]


def _svg_words(words: str, box: tuple[float, float, float, float]) -> str:
    """The words, white on black, in the corner."""
    left, top, width, height = box
    size = SHARE * min(width, height) / CAPITAL
    wide = size * (1 + sum(NARROW if letter.isascii() else 1 for letter in words))
    high = 1.4 * size
    x, y = left + width - wide, top + height - high
    return (
        f'<g class="label"><rect x="{x:g}" y="{y:g}" width="{wide:g}" height="{high:g}" fill="#000"/>'
        f'<text x="{x + size / 2:g}" y="{y + size:g}" font-size="{size:g}" fill="#fff" '
        f'font-family="sans-serif" textLength="{wide - size:g}" lengthAdjust="spacingAndGlyphs">'
        f"{escape(words)}</text></g>"
    )

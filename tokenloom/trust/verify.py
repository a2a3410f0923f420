"""Reading labels back: which a file carries, whether they are valid, whether the content is still theirs.

That a label is missing proves nothing about who made a file; that one is there proves as little, since
anyone can write one: it is a statement. The hash tells whether the content changed after it was made.
"""

from __future__ import annotations

import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tokenloom.trust import audio, jpeg, notation, png, text, wav, webp
from tokenloom.trust.fields import HASH, BadLabel, BadMedia, Label, parse_label
from tokenloom.trust.notation import NOTATIONS
from tokenloom.trust.pixels import decode

if TYPE_CHECKING:
    from PIL.Image import Image

Kind = Literal[
    "png", "webp", "jpeg", "wav", "flac", "ogg", "mp3", "midi", "abc", "svg", "markdown", "json", "text"
]
SOUNDS = ("wav", "flac", "ogg", "mp3")
KNOWN = ("png", "webp", "jpeg", *SOUNDS, *NOTATIONS)
"""Kinds that are told by their first bytes."""
KINDS: dict[str, Kind] = {".png": "png", ".webp": "webp", ".jpg": "jpeg", ".jpeg": "jpeg"}
KINDS |= {".wav": "wav", ".wave": "wav", ".flac": "flac", ".mp3": "mp3", ".md": "markdown"}
KINDS |= {".ogg": "ogg", ".oga": "ogg", ".opus": "ogg"}
KINDS |= {".mid": "midi", ".midi": "midi", ".abc": "abc", ".svg": "svg"}
KINDS |= {".markdown": "markdown", ".json": "json", ".txt": "text"}
MAX_BYTES = 1 << 30
LOSSY = 12
"""How far, of 255, the words in a JPEG may be from ours on average."""


@dataclass(frozen=True)
class Finding:
    """One hidden label."""

    where: str
    label: Label | None
    problem: str = ""
    """Why it is not valid; empty when it is."""


@dataclass(frozen=True)
class Report:
    """What a file carries."""

    kind: Kind
    hidden: tuple[Finding, ...]
    visible: bool
    """Whether the visible (in sound: audible) label was recognised; for pictures and sound only ours is."""
    content: Literal["unchanged", "changed", "not stated"]
    """Whether the content has the hash that the label states."""

    @property
    def label(self) -> Label | None:
        """The first valid hidden label."""
        return next((f.label for f in self.hidden if f.label), None)

    @property
    def ok(self) -> bool:
        """Labelled, every label valid, the content not changed since."""
        problems = any(f.problem for f in self.hidden)
        return self.label is not None and not problems and self.content != "changed"

    def lines(self) -> list[str]:
        """The findings as sentences."""
        said = []
        for found in self.hidden:
            if found.label:
                said.append(f"hidden label ({found.where}): {found.label.bare()}")
            else:
                said.append(f"hidden label ({found.where}) is not valid: {found.problem}")
        if not self.hidden:
            said.append("no hidden label")
        word = "audible" if self.kind in SOUNDS else "visible"
        said.append(f"{word} label: {'found' if self.visible else 'not recognised'}")
        if self.content != "not stated":
            said.append(f"content: {self.content} since it was labelled")
        return said


def kind_of(data: bytes, name: str = "") -> Kind:
    """What the bytes are, by their first bytes, else by the file's name. BadMedia for other binary files."""
    if data.startswith(png.SIGNATURE):
        return "png"
    if webp.is_webp(data):
        return "webp"
    if data.startswith(jpeg.START):
        return "jpeg"
    if data[:4] in (b"RIFF", b"RF64", b"BW64", b"RIFX"):
        return "wav"
    if data.startswith((b"fLaC", b"OggS")):
        return "flac" if data.startswith(b"fLaC") else "ogg"
    if data.startswith((b"ID3", b"\xff\xfb", b"\xff\xf3", b"\xff\xf2", b"\xff\xfa")):
        return "mp3"
    kind = KINDS.get(Path(name).suffix.lower(), "text")
    begun = notation.notation_of(data)
    if begun == "midi" or (begun and (not name or kind == begun)):
        return begun
    if kind == "abc" and notation.holds_tune(data):
        return kind
    if kind in KNOWN:
        raise BadMedia(f"{name} is no {kind.upper()} file: its first bytes are others")
    as_text(data)
    if not name and text.FRONT.match(as_text(data)):
        return "markdown"
    return kind


def as_text(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadMedia(
            f"the file is no picture, sound or score known here, nor text in UTF-8 (byte {error.start})"
        ) from error


def inspect(data: bytes, kind: Kind, beside: str | None = None) -> Report:
    """The report on a file's bytes; beside: the content of the JSON file next to a plain text."""
    if kind == "png":
        found, stated = png.hidden_in(data), png.picture_hash(png.chunks_of(data))
        seen = shows_badge_in(decode(data, "PNG"))
    elif kind == "webp":
        found, stated = webp.hidden_in(data), webp.picture_hash(webp.chunks_of(data))
        seen = shows_badge_in(decode(data, "WebP"))
    elif kind == "jpeg":
        found, stated = jpeg.hidden_in(data), jpeg.picture_hash(jpeg.segments_of(data))
        seen = shows_badge_in(decode(data, "JPEG"), LOSSY)
    elif kind == "wav":
        found, stated = wav.hidden_in(data), wav.sound_hash(wav.chunks_of(data))
        seen = wav.sounds_label(data)
    elif kind in SOUNDS:
        found, stated = audio.hidden_in(data, kind), audio.sound_hash(data, kind)
        seen = audio.sounds_label(data)
    elif kind in NOTATIONS:
        found, stated = notation.hidden_in(data, kind), notation.notation_hash(data, kind)
        seen = notation.shows_words(data, kind)
    else:
        words = as_text(data)
        found, stated = text.hidden_in(words, kind), text.text_hash(words, kind)
        seen = text.shows_words(words, kind)
        if beside is not None:
            found = [*found, ("file beside", beside)]
    findings = tuple(_read(where, value) for where, value in found)
    hashes = {f.label.reserved1 for f in findings if f.label and f.label.reserved1.startswith(HASH)}
    content: Literal["unchanged", "changed", "not stated"] = "not stated"
    if hashes:
        content = "unchanged" if hashes == {stated} else "changed"
    return Report(kind, findings, seen, content)


def shows_badge_in(picture: Image, loss: int = 0) -> bool:
    from tokenloom.trust.visible import shows_badge

    return shows_badge(picture, loss)


def _read(where: str, value: str) -> Finding:
    try:
        return Finding(where, parse_label(value))
    except BadLabel as error:
        return Finding(where, None, str(error))


def load(path: Path) -> tuple[bytes, Kind, str | None]:
    """(bytes, kind, content of the JSON file beside) of a file; BadMedia when it is not
    there or too large."""
    if not path.exists():
        raise BadMedia(f"there is no file {path}")
    if not stat.S_ISREG(path.stat().st_mode):
        raise BadMedia(f"{path} is no file")
    if path.stat().st_size > MAX_BYTES:
        raise BadMedia(f"{path} has {path.stat().st_size} bytes; at most {MAX_BYTES} are read")
    data = path.read_bytes()
    kind = kind_of(data, path.name)
    near = path.with_name(path.name + text.SIDECAR)
    beside = as_text(near.read_bytes()) if kind == "text" and near.is_file() else None
    return data, kind, beside


def verify(path: Path) -> Report:
    """What labels a file carries. BadMedia says why a file cannot be read, or that it is not there."""
    return inspect(*load(Path(path)))


def read_label(source: bytes | Path) -> Label | None:
    """The hidden label of a file or of its bytes; None when there is none. BadLabel when none is valid."""
    report = verify(source) if isinstance(source, Path) else inspect(source, kind_of(source))
    if report.hidden and report.label is None:
        raise BadLabel(report.hidden[0].problem)
    return report.label

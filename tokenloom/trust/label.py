"""Labelling a work: the one entry, called where a work leaves the system. Not the formats themselves.

`label` takes bytes or text and gives what is to be written; `label_work` writes it. Both read the label back.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenloom.trust import text as texts
from tokenloom.trust.audio import label_sound
from tokenloom.trust.fields import WORDS, BadMedia, Label
from tokenloom.trust.jpeg import label_jpeg
from tokenloom.trust.notation import NOTATIONS, label_notation
from tokenloom.trust.png import label_png
from tokenloom.trust.verify import KINDS, SOUNDS, Kind, as_text, inspect
from tokenloom.trust.wav import label_wav
from tokenloom.trust.webp import label_webp

PICTURES = {"png": label_png, "webp": label_webp, "jpeg": label_jpeg}


@dataclass(frozen=True)
class Labelled:
    """A labelled work, ready to leave."""

    data: bytes
    label: Label
    beside: str | None = None
    """For plain text: the content of the JSON file to put beside it."""


def label(
    kind: Kind,
    data: bytes | str,
    *,
    lang: str = "en",
    producer: str | None = None,
    produce_id: str | None = None,
    audible: bool = True,
    visible: bool = True,
) -> Labelled:
    """A work with its visible and hidden labels, read back; a labelled one keeps the label it has.

    kind: png, webp, jpeg, wav, flac, ogg, mp3, midi, abc, svg, markdown, json or text. lang: en or zh, for
    the visible words. producer: the operator's code, else TOKENLOOM_PRODUCER, else Tokenloom. produce_id: the
    work's own number, else from its hash. audible: whether a WAV gets the tones; other sounds get them before
    they are encoded (`audio.with_rhythm`). visible: whether a picture or a notation gets the words. Raises
    BadMedia (damaged data) or BadLabel (a value not allowed).
    """
    if lang not in WORDS:
        raise ValueError(f"lang is {lang!r}; allowed are {', '.join(WORDS)}")
    who: dict[str, Any] = {"producer": producer, "produce_id": produce_id}
    raw = data.encode() if isinstance(data, str) else data
    beside = None
    if kind in PICTURES:
        out = PICTURES[kind](raw, lang, visible=visible, **who)
    elif kind == "wav":
        out = label_wav(raw, audible=audible, **who)
    elif kind in SOUNDS:
        out = label_sound(raw, kind, **who)
    elif kind in NOTATIONS:
        out = label_notation(raw, kind, lang, visible=visible, **who)
    elif kind == "markdown":
        out = texts.label_markdown(as_text(raw), lang, **who).encode()
    elif kind == "json":
        out = texts.label_json(as_text(raw), lang, **who).encode()
    elif kind == "text":
        words = texts.label_text(as_text(raw), lang)
        out, beside = words.encode(), texts.sidecar(words, **who)[1]
    else:
        raise ValueError(f"kind is {kind!r}; allowed are {', '.join(sorted(set(KINDS.values())))}")
    return _read_back(out, kind, beside)


def _read_back(out: bytes, kind: Kind, beside: str | None) -> Labelled:
    report = inspect(out, kind, beside)
    if report.label is None:
        why = report.hidden[0].problem if report.hidden else "none is there"
        raise BadMedia(f"the label could not be read back from the {kind} ({why})")
    return Labelled(out, report.label, beside)


def label_work(
    path: Path, data: bytes | str, *, kind: Kind | None = None, lang: str = "en", producer: str | None = None
) -> Label:
    """Writes a work under its labels; the kind comes from the file's ending when it is not given.

    A plain text gets FILE.aigc.json beside it. Files are written beside and renamed.
    """
    path = Path(path)
    chosen = kind or KINDS.get(path.suffix.lower())
    if chosen is None:
        raise ValueError(f"{path.name}: no label is known for this ending; use {', '.join(sorted(KINDS))}")
    work = label(chosen, data, lang=lang, producer=producer)
    if work.beside is not None:
        _write(path.with_name(path.name + texts.SIDECAR), work.beside.encode())
    _write(path, work.data)
    return work.label


def _write(path: Path, data: bytes) -> None:
    new = path.with_name(path.name + ".new")
    new.write_bytes(data)
    os.replace(new, path)

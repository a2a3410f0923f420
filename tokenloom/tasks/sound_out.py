"""Sound on its way out, speech and music: made a file's bytes and labelled. The one place where it leaves as
a file.

Not the voices (sound.voices), not what plays a score (music_out) and not streams, which carry no label within
them (sound.streams).
"""

from __future__ import annotations

from pathlib import Path

from tokenloom.sound.audio import Samples, encode, kind_of
from tokenloom.trust import label
from tokenloom.trust.audio import with_rhythm
from tokenloom.trust.verify import KINDS, Kind


def labelled_kind(kind: str) -> Kind | None:
    """What trust calls a format; None where no label is known for it."""
    return KINDS.get(f".{kind}")


def check_ending(path: Path) -> str:
    """The format of a file's ending. ValueError names those that can be written with a label."""
    kind = kind_of(path.suffix or ".")
    if labelled_kind(kind) is None:
        able = ", ".join(ending for ending in (".wav", ".flac", ".ogg", ".opus", ".mp3") if ending in KINDS)
        raise ValueError(f"{path.name}: no label is known for {kind}; allowed are {able}")
    return kind


def deliver(samples: Samples, rate: int, kind: str, audible: bool = True) -> bytes:
    """A labelled file's bytes. audible: also the rhythm short, long, short, short that says so to the ear.

    ValueError for a format without a label.
    """
    known = labelled_kind(kind)
    if known is None:
        raise ValueError(f"format {kind!r}: no label is known for it; use wav")
    if audible and kind != "wav":  # a WAV gets the tones with its label, which it may have already
        samples = with_rhythm(samples, rate)
    return label(known, encode(samples, rate, kind), audible=audible).data

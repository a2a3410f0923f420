"""Scores on their way out: MIDI, ABC, sound and piano rolls, each labelled unless a person wrote it. The one
place where they leave.

A sound is played by the built-in synthesiser, or by a SoundFont of the user's. Not the score (tasks.music).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, get_args

from tokenloom.sound.audio import encode
from tokenloom.sound.score import Score
from tokenloom.tasks import sound_out
from tokenloom.trust import label

Kind = Literal["midi", "abc", "wav", "flac", "ogg", "mp3", "png", "svg"]
KINDS: tuple[Kind, ...] = get_args(Kind)
SOUNDS = ("wav", "flac", "ogg", "mp3")
ENDINGS: dict[str, Kind] = {f".{kind}": kind for kind in KINDS} | {
    ".mid": "midi",
    ".oga": "ogg",
    ".wave": "wav",
}
MIME: dict[str, str] = {
    "midi": "audio/midi",
    "abc": "text/vnd.abc",
    "wav": "audio/wav",
    "flac": "audio/flac",
    "ogg": "audio/ogg",
    "mp3": "audio/mpeg",
    "png": "image/png",
    "svg": "image/svg+xml",
}
RATE = 44_100
WIDTH = 1200


def kind_of(path: Path) -> Kind:
    """The format that a file's ending names."""
    found = ENDINGS.get(path.suffix.lower())
    if found is None:
        raise ValueError(f"--output: found {path.name!r}; a file of music ends in {', '.join(ENDINGS)}")
    return found


def deliver(
    score: Score,
    kind: str,
    *,
    seed: int = 0,
    audible: bool = True,
    lang: str = "en",
    soundfont: Path | str | None = None,
    width: int = WIDTH,
    made: bool = True,
) -> bytes:
    """The labelled file of a score.

    audible: a rhythm of tones before a sound says that it is AI-generated; the hidden label is in every file.
    lang: of the visible words. soundfont: the file of one, which plays instead of the synthesiser. seed: of
    the synthesiser; the same gives the same file, but for an OGG's serial number. width: of a piano roll in
    pixels. made: False for a score as a person brought it, of which nothing was generated: the file bears no
    label. ValueError for a kind that is none, or a missing package.
    """
    if kind not in KINDS:
        raise ValueError(f"format: found {kind!r}; allowed: {', '.join(KINDS)}")
    if kind in SOUNDS:
        samples = samples_of(score, RATE, seed, soundfont)
        return sound_out.deliver(samples, RATE, kind, audible) if made else encode(samples, RATE, kind)
    written = _written(score, kind, width)
    return label(kind, written, lang=lang).data if made else written


def samples_of(score: Score, rate: int = RATE, seed: int = 0, soundfont: Path | str | None = None) -> Any:
    """float32 (samples, 2) within -1 and 1."""
    if soundfont is not None:
        from tokenloom.sound.soundfont import render_with

        return render_with(score, soundfont, rate)
    from tokenloom.sound.synth import render

    return render(score, rate, seed)


def _written(score: Score, kind: Kind, width: int) -> bytes:
    """The file of notes, or the picture of them, without a label."""
    if kind == "midi":
        from tokenloom.sound.midi import write_midi

        return write_midi(score)
    if kind == "svg":
        from tokenloom.sound.roll import roll_svg

        return roll_svg(score, width).encode()
    if kind == "abc":
        from tokenloom.sound.abc import write_abc

        return write_abc(score).encode()
    import io

    from tokenloom.sound.roll import roll

    buffer = io.BytesIO()
    roll(score, width).convert("RGBA").save(buffer, "PNG")
    return buffer.getvalue()

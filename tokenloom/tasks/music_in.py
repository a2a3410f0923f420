"""Scores on their way in: MIDI, ABC and MusicXML, told apart by how they begin. Not sounds."""

from __future__ import annotations

from pathlib import Path

from tokenloom.sound.abc import read_tune, split_abc
from tokenloom.sound.midi import read_midi
from tokenloom.sound.musicxml import read_musicxml
from tokenloom.sound.score import Score
from tokenloom.trust import BadMedia
from tokenloom.trust.notation import MIDI_START, hidden_in

MAX_BYTES = 16 << 20


def read_score(source: Path | str | bytes, name: str = "score") -> Score:
    """The score of a file or its bytes; of several tunes in an ABC text the first.

    ValueError begins with `name`, says what is wrong with the file, and is raised for one without notes.
    """
    try:
        score = _read(source)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
    if not any(track.notes and not track.drums for track in score.tracks):
        raise ValueError(f"{name}: found no notes in it; allowed: a score with a melody")
    return score


def bears_label(data: bytes) -> bool:
    """Whether a score's file says that it is AI-generated. MusicXML has no such label."""
    try:
        return bool(hidden_in(data, "midi" if data.startswith(MIDI_START) else "abc"))
    except BadMedia:
        return False


def _read(source: Path | str | bytes) -> Score:
    data = source if isinstance(source, bytes) else _bytes(Path(source))
    if len(data) > MAX_BYTES:
        raise ValueError(f"found {len(data)} bytes; allowed: {MAX_BYTES}")
    if data.startswith(MIDI_START):
        return read_midi(data)
    begin = data.lstrip(b"\xef\xbb\xbf \t\r\n")[:1]
    if data.startswith((b"PK", b"\xff\xfe", b"\xfe\xff")) or begin == b"<":
        return read_musicxml(data)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"found no MIDI, MusicXML or ABC: byte {error.start} is no UTF-8") from error
    tunes = split_abc(text)
    if not tunes or "\x00" in text or "K:" not in tunes[0]:
        raise ValueError("found no MIDI, MusicXML or ABC; an ABC tune begins with X: and has a K: line")
    return read_tune(tunes[0])


def _bytes(path: Path) -> bytes:
    if not path.is_file():
        raise ValueError(f"found no file {path}; allowed: a .mid, .abc, .musicxml or .mxl file")
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"found {path.stat().st_size} bytes in {path}; allowed: {MAX_BYTES}")
    return path.read_bytes()

"""ABC, the text that folk tunes are written down in, to scores and back.

Reading unfolds repeats and endings, and keeps what sounds: notes, ties, chords, tuplets, broken rhythm, keys,
metres, tempos, voices as tracks, `%%MIDI program` and channel 10. Not kept: grace notes, decorations, slurs,
chord symbols, lyrics, the order of parts in P:, macros. Lengths that twelve ticks cannot hold are rounded.
Source: the ABC standard 2.1 (abcnotation.com, 2011).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from fractions import Fraction

from tokenloom.sound.abc_body import Voice, read_field, read_music
from tokenloom.sound.abc_fields import (
    KeyField,
    default_length,
    read_key,
    read_length,
    read_metre,
    read_shift,
    read_tempo,
)
from tokenloom.sound.abc_unfold import Played, played, unfolded
from tokenloom.sound.abc_write import write_abc
from tokenloom.sound.score import Score, Track

__all__ = ["read_abc", "read_tune", "split_abc", "write_abc"]
LARGEST = 16_000_000
"""Characters of an ABC text at most."""
_FIELD = re.compile(r"([A-Za-z+]):(.*)")
_HEAD = re.compile(r"(?m)^X:")


def split_abc(text: str) -> list[str]:
    """The tunes of a text, each with the fields that stand before the first one; a text without X: is one."""
    if len(text) > LARGEST:
        raise ValueError(f"the ABC text has {len(text)} characters; at most {LARGEST} are read")
    text = text.lstrip("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    places = [found.start() for found in _HEAD.finditer(text)]
    if not places:
        return [text] if text.strip() else []
    common = "".join(
        f"{line}\n" for line in text[: places[0]].split("\n") if re.match(r"[BCDFHLMORZ]:|%%", line)
    )
    return [common + text[start:stop] for start, stop in zip(places, [*places[1:], None], strict=True)]


def read_abc(text: str) -> list[Score]:
    """Every tune of an ABC text. ValueError names the tune and what in it cannot be read."""
    tunes = split_abc(text)
    if not tunes:
        raise ValueError("the ABC text is empty; a tune begins with X:1 and its music follows a K: field")
    return [read_tune(tune) for tune in tunes]


@dataclass
class _Header:
    """What the fields before the music say."""

    title: str = ""
    kind: str = ""
    number: str = "?"
    metre: tuple[int, int] | None = None
    free: bool = True
    unit: Fraction | None = None
    tempo: float | None = None
    key: KeyField | None = None
    shift: int = 0
    voices: dict[str, str] = field(default_factory=dict)
    midi: list[tuple[str, str]] = field(default_factory=list)
    """(voice, directive) of %%MIDI lines."""


def read_tune(text: str) -> Score:
    """One tune. ValueError names it and what cannot be read."""
    lines = _plain(text)
    header = _Header()
    try:
        music = _read_header(lines, header)
        voices = _read_voices(lines[music:], header)
        return _score(voices, header)
    except ValueError as error:
        raise ValueError(f"tune X:{header.number} {header.title!r}: {error}") from error


def _plain(text: str) -> list[str]:
    """Lines without comments and typeset text, and joined where + continues a field."""
    lines: list[str] = []
    within = False
    for line in text.split("\n"):
        if line.startswith("%%"):
            word = line[2:].strip().lower()
            within = word.startswith(("begintext", "beginps")) or (
                within and not word.startswith(("endtext", "endps"))
            )
            if word.startswith(("midi", "propagate-accidentals")):
                lines.append("%%" + word)
        elif not within and not line.startswith("%"):
            lines.append(re.sub(r"(?<!\\)%.*", "", line).rstrip())
    return lines


def _read_header(lines: list[str], header: _Header) -> int:
    """Fills the header; the number of the first line of music."""
    voice = ""
    for place, line in enumerate(lines):
        found = _FIELD.match(line)
        if line.startswith("%%"):
            header.midi.append((voice, line))
        if not found:
            continue
        letter, value = found[1], found[2].strip()
        if letter == "X":
            header.number = value
        elif letter == "T" and not header.title:
            header.title = value.replace("\\%", "%")
        elif letter == "R":
            header.kind = value.lower().replace("\\%", "%")
        elif letter == "M":
            header.metre = read_metre(value)
        elif letter == "L":
            header.unit = read_length(value)
        elif letter == "Q":
            header.tempo = read_tempo(value)
        elif letter == "V":
            voice, _, rest = value.partition(" ")
            header.voices[voice] = rest
        elif letter == "K":
            header.key = read_key(value) or KeyField("", "major", {})
            header.shift = read_shift(value) or 0
            return place + 1
    raise ValueError("it has no K: field, which ends the header; add one, K:C or K:none at the least")


def _new_voice(name: str, header: _Header) -> Voice:
    assert header.key is not None
    said = header.voices.get(name, "")
    shift = read_shift(said)
    label = re.search(r'\b(?:name|nm)\s*=\s*(?:"([^"]*)"|(\S+))', said)
    return Voice(
        unit=header.unit or default_length(header.metre),
        metre=header.metre,
        key=header.key,
        shift=header.shift if shift is None else shift,
        name=(label[1] or label[2] or "").replace("\\%", "%") if label else "",
    )


def _read_voices(lines: list[str], header: _Header) -> list[Voice]:
    voices = {name: _new_voice(name, header) for name in header.voices}
    voice = next(iter(voices.values())) if voices else voices.setdefault("", _new_voice("", header))
    for name, directive in header.midi:
        for one in [voices[name]] if name in voices else voices.values():
            _direct(directive, one)
    music = False
    for line in lines:
        if not line.strip():
            if music:
                break  # a tune ends at an empty line
            continue
        if line.startswith("%%"):
            _direct(line, voice)
            continue
        found = _FIELD.match(line)
        if found and not re.match(r"[A-Ga-gz]:[|:]", line):
            if found[1] == "V":
                voice = _switch(found[2], voices, header)
            else:
                read_field(found[1], found[2], voice)
            continue
        music = True
        for part in re.split(r"(\[V:[^\]]*\])", line):
            if part.startswith("[V:"):
                voice = _switch(part[3:-1], voices, header)
            else:
                read_music(part, voice)
    return [one for one in voices.values() if one.items] or [voice]


def _switch(text: str, voices: dict[str, Voice], header: _Header) -> Voice:
    name, _, rest = text.strip().partition(" ")
    if name not in voices:
        if len(voices) >= 64:
            raise ValueError(f"V:{name}: more than 64 voices")
        header.voices.setdefault(name, rest)
        if "" in voices and not voices[""].items:
            del voices[""]
        voices[name] = _new_voice(name, header)
    return voices[name]


def _direct(line: str, voice: Voice) -> None:
    """%%MIDI program [channel] n, %%MIDI channel 10 and %%propagate-accidentals."""
    word, *words = line.split()
    if word == "%%propagate-accidentals" and words[:1] in (["not"], ["octave"], ["pitch"]):
        voice.carry = words[0]
    elif words[:1] == ["program"] and words[-1].isdecimal() and int(words[-1]) <= 127:
        voice.program = int(words[-1])
    elif words == ["channel", "10"]:
        voice.drums = True


def _score(voices: list[Voice], header: _Header) -> Score:
    assert header.key is not None
    parts = [played(unfolded(voice.items), header.metre) for voice in voices]
    first: Played = parts[0]
    keys = [*first.keys]
    if header.key.tonic and (not keys or keys[0][0] > 0):
        keys.insert(0, (0, header.key.tonic, header.key.mode))
    tempos = [*first.tempos]
    if header.tempo and (not tempos or tempos[0][0] > 0):
        tempos.insert(0, (0, header.tempo))
    tracks = [
        Track(tuple(part.notes), voice.program, voice.drums, voice.name)
        for part, voice in zip(parts, voices, strict=True)
    ]
    score = Score(tuple(tracks), first.metres, tuple(keys), tuple(tempos), 0, header.title, header.kind)
    return replace(score, pickup=first.pickup)

"""Scores as ABC: bars as they are, accidentals spelled by the key, triplets as tuplets, layers joined by `&`.

Velocities are not kept: ABC has no such number. Source: the ABC standard 2.1.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from fractions import Fraction

from tokenloom.sound.keys import SHARPS, STEPS, fifths_of, signature
from tokenloom.sound.score import TICKS, WHOLE, Key, Metre, Note, Score, Track

UNIT = TICKS // 2
"""L:1/8 in ticks."""
_SHORT = {
    "major": "",
    "minor": "m",
    "dorian": "dor",
    "phrygian": "phr",
    "lydian": "lyd",
    "mixolydian": "mix",
    "locrian": "loc",
}
_PLAIN = (96, 72, 48, 36, 24, 18, 12, 9, 6, 3)
"""Lengths in ticks that one notehead can have, and a triplet's parts below."""
_THIRDS = {16: 24, 8: 12, 4: 6, 2: 3}
"""A triplet's note in ticks: the length it is written with."""
_SIGNS = {-2: "__", -1: "_", 0: "=", 1: "^", 2: "^^"}
_LINE_BARS = 4

Piece = tuple[int, int, tuple[tuple[int, bool], ...]]
"""(start, duration, ((pitch, tied to the next), ...)); no pitches make a rest."""


def write_abc(score: Score, number: int = 1) -> str:
    """One tune, X:number, with a voice for each track. read_abc gives the same notes back, velocities at 80.

    Line breaks in a title or a name become spaces, quotation marks in a track's name become apostrophes.
    """
    tonic, mode = score.keys[0][1:] if score.keys and score.keys[0][0] == 0 else ("none", "major")
    lines = [f"X:{number}"]
    lines += [f"T:{_words(score.title)}"] if score.title else []
    lines += [f"R:{_words(score.kind)}"] if score.kind else []
    lines += [f"M:{score.metres[0][1]}/{score.metres[0][2]}", "L:1/8"]
    if score.tempos and score.tempos[0][0] == 0:
        lines.append(f"Q:{_tempo(score.tempos[0][1])}")
    alone = len(score.tracks) == 1
    if not (alone and not score.tracks[0].name):
        lines += [
            f'V:{place} name="{_quoted(track.name)}"' for place, track in enumerate(score.tracks, start=1)
        ]
    lines.append(f"K:{tonic}{_SHORT[mode]}")
    for place, track in enumerate(score.tracks, start=1):
        lines += [] if alone else [f"V:{place}"]
        lines += ["%%MIDI channel 10"] if track.drums else []
        lines += [f"%%MIDI program {track.program}"] if track.program else []
        lines += _music(score, track)
    return "\n".join(lines) + "\n"


def _words(text: str) -> str:
    return " ".join(text.split()).replace("%", "\\%")


def _quoted(text: str) -> str:
    return _words(text).replace('"', "'")


def _tempo(value: float) -> str:
    return f"1/4={value:.6f}".rstrip("0").rstrip(".")


def _music(score: Score, track: Track) -> Iterable[str]:
    """The lines of a voice."""
    bars = score.bars or ((0, WHOLE * score.metres[0][1] // score.metres[0][2]),)
    speller = Speller(score.keys)
    texts = []
    for place, (start, stop) in enumerate(bars):
        fields = _fields(score, start) if place else ""
        layers: list[str] = []
        for layer in _layers(track.notes, start, stop):
            speller.begin(always=bool(layers))
            layers.append(_layer(layer, score, start, stop, speller))
        texts.append(fields + " & ".join(layers))
    for place in range(0, len(texts), _LINE_BARS):
        last = place + _LINE_BARS >= len(texts)
        yield " | ".join(texts[place : place + _LINE_BARS]) + (" |]" if last else " |")


def _fields(score: Score, start: int) -> str:
    """A metre said anew at a bar's head; keys and tempos stand where they change, among the notes."""
    return "".join(f"[M:{beats}/{unit}]" for tick, beats, unit in score.metres if tick == start)


def _layers(notes: Sequence[Note], start: int, stop: int) -> list[list[Piece]]:
    """What sounds in a bar as layers of chords that do not overlap, notes held over its edges tied."""
    chords: dict[tuple[int, int], dict[int, bool]] = {}
    for note in notes:
        if note.start >= stop:
            break
        if note.stop > start:
            begin, end = max(note.start, start), min(note.stop, stop)
            chord = chords.setdefault((begin, end), {})
            chord[note.pitch] = chord.get(note.pitch, False) or note.stop > stop
    layers: list[list[Piece]] = []
    for (begin, end), pitches in sorted(chords.items(), key=lambda item: (item[0][0], -item[0][1])):
        layer = next((one for one in layers if one[-1][0] + one[-1][1] <= begin), None)
        if layer is None:
            layer = []
            layers.append(layer)
        layer.append((begin, end - begin, tuple(sorted(pitches.items()))))
    return layers or [[]]


def _filled(layer: Sequence[Piece], start: int, stop: int, breaks: Iterable[int]) -> list[Piece]:
    """A layer with its rests, cut into lengths that noteheads have, and at the ticks where fields stand."""
    pieces: list[Piece] = []
    at = start
    for begin, duration, pitches in layer:
        if begin > at:
            pieces.append((at, begin - at, ()))
        pieces.append((begin, duration, pitches))
        at = begin + duration
    if at < stop:
        pieces.append((at, stop - at, ()))
    cuts = set(breaks)
    whole: list[Piece] = []
    for begin, duration, pitches in pieces:
        end = begin + duration
        for cut in sorted(cut for cut in cuts if begin < cut < end):
            whole += _cut(begin, cut - begin, tuple((pitch, True) for pitch, _ in pitches))
            begin = cut
        whole += _cut(begin, end - begin, pitches)
    return whole


def _cut(begin: int, duration: int, pitches: tuple[tuple[int, bool], ...]) -> Iterable[Piece]:
    """Pieces of plain or triplet length, tied; whatever is left is written as a fraction."""
    while duration not in _PLAIN and duration not in _THIRDS:
        part = next((size for size in _PLAIN if size < duration and size >= UNIT), None)
        if part is None:
            break
        yield begin, part, tuple((pitch, True) for pitch, _ in pitches)
        begin, duration = begin + part, duration - part
    yield begin, duration, pitches


def _layer(layer: Sequence[Piece], score: Score, start: int, stop: int, speller: Speller) -> str:
    """The text of one layer of a bar."""
    changes: dict[int, str] = {}
    for tick, tonic, mode in score.keys:
        if start <= tick < stop and tick:
            changes[tick] = f"[K:{tonic}{_SHORT[mode]}]"
    for tick, tempo in score.tempos:
        if start <= tick < stop and tick:
            changes[tick] = changes.get(tick, "") + f"[Q:{_tempo(tempo)}]"
    pieces = _filled(layer, start, stop, changes)
    tuplets = _tuplets(pieces)
    texts: list[str] = []
    for place, (begin, duration, pitches) in enumerate(pieces):
        gap = " " if texts and (begin - start) % _beat(score.metres, start) == 0 else ""
        mark, inside = tuplets[place]
        texts.append(gap + changes.get(begin, "") + mark)
        texts.append(_chord(pitches, _THIRDS[duration] if inside else duration, begin, speller))
    return "".join(texts)


def _beat(metres: Sequence[Metre], tick: int) -> int:
    beats, unit = [metre[1:] for metre in metres if metre[0] <= tick][-1]
    ticks = WHOLE // unit if WHOLE % unit == 0 else 1
    return ticks * 3 if unit >= 8 and beats % 3 == 0 else max(ticks, TICKS)


def _tuplets(pieces: Sequence[Piece]) -> list[tuple[str, bool]]:
    """For each piece the mark of a triplet that begins with it, and whether it stands in one."""
    marks = [("", False)] * len(pieces)
    at = 0
    while at < len(pieces):
        total, end = 0, at
        if pieces[at][1] in _THIRDS:
            while end < len(pieces) and end < at + 9 and pieces[end][1] in _THIRDS:
                total += pieces[end][1]
                end += 1
                if total in (6, 12, 24, 48):
                    break
        if end - at >= 2 and total in (6, 12, 24, 48):
            count = end - at
            marks[at:end] = [("", True)] * count
            marks[at] = ("(3" if count == 3 else f"(3:2:{count}", True)
            at = end
        else:
            at += 1
    return marks


def _chord(pitches: Sequence[tuple[int, bool]], duration: int, tick: int, speller: Speller) -> str:
    size = _size(duration)
    if not pitches:
        return f"z{size}"
    names = [speller.name(pitch, tick, tied) + size + ("-" if tied else "") for pitch, tied in pitches]
    return names[0] if len(names) == 1 else f"[{''.join(names)}]"


def _size(ticks: int) -> str:
    factor = Fraction(ticks, UNIT)
    above = "" if factor.numerator == 1 else str(factor.numerator)
    if factor.denominator == 1:
        return above
    return f"{above}/" if factor.denominator == 2 else f"{above}/{factor.denominator}"


class Speller:
    """Pitches of a voice as letters with the accidentals that each needs where it stands.

    A letter whose altered tone is tied has its accidental said when it comes next, as readers carry the
    accidental along the tie. Below the first layer of a bar all are said: programs differ there.
    """

    def __init__(self, keys: Sequence[Key]) -> None:
        self.keys, self.always = keys, False
        self.in_bar: dict[str, int] = {}
        self.held: set[str] = set()

    def begin(self, always: bool) -> None:
        """A bar's first layer begins, or with `always` another."""
        self.always = always
        self.in_bar.clear()

    def name(self, pitch: int, tick: int, tied: bool) -> str:
        """The note's name in ABC, with its octave and the accidental where one is needed."""
        now = [key for key in self.keys if key[0] <= tick][-1:]
        tonic, mode = now[0][1:] if now else ("C", "major")
        fifths = fifths_of(tonic, mode)
        lowest = fifths - (4 if mode not in ("minor", "dorian", "phrygian") else 3)  # of the flattest tone
        place = next(place for place in range(lowest, lowest + 12) if (7 * place - pitch) % 12 == 0)
        letter, semitones = SHARPS[(place + 1) % 7], (place + 1) // 7
        usual = signature(fifths).get(letter, 0) if now else 0
        octave = math.floor((pitch - semitones - STEPS[letter] - 60) / 12)
        name = (letter.lower() if octave > 0 else letter) + (
            "'" * (octave - 1) if octave > 0 else "," * -octave
        )
        said = self.in_bar.get(letter, usual)
        sign = "" if said == semitones and not self.always and name not in self.held else _SIGNS[semitones]
        if sign:  # only what is written is in force after a change of key
            self.in_bar[letter] = semitones
        self.held.discard(name)
        if tied and (semitones != usual or self.always):
            self.held.add(name)
        return sign + name

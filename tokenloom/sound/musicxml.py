"""MusicXML to scores: parts as tracks at sounding pitch, repeats and endings unfolded, ties joined.

Not kept: grace and cue notes, lyrics, dynamics, ornaments, layout. D.C., D.S. and codas are not followed. A
file that is ordered by bars (score-timewise) is read too. Lengths that the grid cannot hold are rounded.
Source: MusicXML 4.0 (W3C Community Group, 2021).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

from tokenloom.sound.barlines import metres_of
from tokenloom.sound.keys import MODES, STEPS, moved, tonic_of
from tokenloom.sound.musicxml_file import read_tree
from tokenloom.sound.score import TICKS, Key, Metre, Note, Score, Tempo, Track, bar_ticks

MOST_BARS = 100_000
"""Bars of a score at most once its repeats are unfolded."""
_BEATS = {"whole": 4.0, "half": 2.0, "quarter": 1.0, "eighth": 0.5, "16th": 0.25}
_SNARE = 38
"""The drum of an unpitched note whose instrument is not said."""


@dataclass
class Bar:
    """A measure of one part. Times are quarter notes from its beginning."""

    length: Fraction = Fraction(0)
    notes: list[tuple[Fraction, Fraction, int, bool]] = field(default_factory=list)
    """(start, duration, sounding pitch, tied to the next)."""
    metres: list[tuple[Fraction, int, int]] = field(default_factory=list)
    keys: list[tuple[Fraction, str, str]] = field(default_factory=list)
    tempos: list[tuple[Fraction, float]] = field(default_factory=list)
    forward: bool = False
    backward: int = 0
    """How often the bars before its end are played in all; 0 without a repeat sign."""
    turns: frozenset[int] = frozenset()
    """The turns in which it is played, where an ending begins with it or goes on over it."""


@dataclass
class _Part:
    """A part while it is read: what is in force."""

    divisions: int = 1
    transpose: int = 0
    metre: tuple[int, int] = (4, 4)
    drums: dict[str, int] = field(default_factory=dict)
    ending: frozenset[int] = frozenset()


def read_musicxml(source: Path | str | bytes) -> Score:
    """A MusicXML file (.musicxml, .xml, .mxl) or its bytes as a score. ValueError says what is wrong."""
    root = read_tree(source)
    for any_element in root.iter():
        if isinstance(any_element.tag, str):
            any_element.tag = any_element.tag.rpartition("}")[2]
    if root.tag not in ("score-partwise", "score-timewise"):
        raise ValueError(f"the XML begins with <{root.tag}>; MusicXML begins with <score-partwise>")
    measures: dict[str, list[Element]] = {}
    if root.tag == "score-partwise":
        for element in root.findall("part"):
            measures.setdefault(element.get("id", ""), []).extend(element.findall("measure"))
    else:
        for measure in root.findall("measure"):
            for element in measure.findall("part"):
                measures.setdefault(element.get("id", ""), []).append(element)
    if not any(measures.values()):
        raise ValueError("the MusicXML has no part with a measure")
    heads = {head.get("id", ""): head for head in root.iter("score-part")}
    tracks: list[Track] = []
    parts: list[list[Bar]] = []
    for name, elements in measures.items():
        part, track = _head(heads.get(name))
        parts.append([_read_bar(element, part) for element in elements])
        tracks.append(track)
    title = root.findtext("work/work-title") or root.findtext("movement-title") or ""
    return _laid_out(parts, tracks, " ".join(title.split()))


def _head(head: Element | None) -> tuple[_Part, Track]:
    """A part's name, program and drums."""
    part = _Part()
    if head is None:
        return part, Track()
    program, drums = 0, False
    for place, one in enumerate(head.findall("midi-instrument")):
        if place == 0:
            program = min(max(_whole(one, "midi-program", 1) - 1, 0), 127)
            drums = _whole(one, "midi-channel", 1) == 10
        part.drums[one.get("id", "")] = min(max(_whole(one, "midi-unpitched", _SNARE + 1) - 1, 0), 127)
    name = " ".join((head.findtext("part-name") or "").split())
    return part, Track((), program, drums, name)


def _whole(element: Element, name: str, default: int) -> int:
    text = element.findtext(name)
    if text is None or not text.strip():
        return default
    try:
        return int(Fraction(text.strip()))
    except (ValueError, ZeroDivisionError) as error:
        raise ValueError(f"<{name}> is {text.strip()!r}, no number") from error


def _read_bar(measure: Element, part: _Part) -> Bar:
    bar = Bar(turns=part.ending)
    now = last = Fraction(0)
    for element in measure:
        if element.tag == "note":
            if element.find("grace") is not None or element.find("cue") is not None:
                continue
            duration = _duration(element, part)
            start = last if element.find("chord") is not None else now
            pitch = _pitch(element, part)
            if pitch is not None:
                tied = any(tie.get("type") == "start" for tie in element.findall("tie"))
                bar.notes.append((start, duration, pitch, tied))
            last = start
            now = max(now, start + duration) if element.find("chord") is not None else start + duration
        elif element.tag in ("backup", "forward"):
            step = _duration(element, part)
            now = max(now - step, Fraction(0)) if element.tag == "backup" else now + step
        elif element.tag == "attributes":
            _read_attributes(element, part, bar, now)
        elif element.tag == "barline":
            _read_barline(element, part, bar)
        elif element.tag in ("direction", "sound"):
            tempo = _tempo(element)
            if tempo:
                bar.tempos.append((now, tempo))
        bar.length = max(bar.length, now)
    if bar.length <= 0:
        bar.length = Fraction(bar_ticks(*part.metre), TICKS)
    return bar


def _duration(element: Element, part: _Part) -> Fraction:
    duration = _whole(element, "duration", 0)
    if not 0 <= duration <= 1_000_000_000:
        raise ValueError(f"<duration> is {duration}; allowed are 0 to 1000000000")
    return Fraction(duration, part.divisions)


def _pitch(note: Element, part: _Part) -> int | None:
    """The sounding pitch; None for a rest."""
    pitch = note.find("pitch")
    if pitch is None:
        if note.find("unpitched") is None:
            return None
        instrument = note.find("instrument")
        return part.drums.get("" if instrument is None else instrument.get("id", ""), _SNARE)
    step = (pitch.findtext("step") or "").strip()
    if step not in STEPS:
        raise ValueError(f"<step> is {step!r}; allowed: A to G")
    return 12 * (_whole(pitch, "octave", 4) + 1) + STEPS[step] + _whole(pitch, "alter", 0) + part.transpose


def _read_attributes(element: Element, part: _Part, bar: Bar, now: Fraction) -> None:
    part.divisions = _whole(element, "divisions", part.divisions)
    if not 1 <= part.divisions <= 1_000_000:
        raise ValueError(f"<divisions> is {part.divisions}; allowed are 1 to 1000000")
    transpose = element.find("transpose")
    if transpose is not None:
        part.transpose = _whole(transpose, "chromatic", 0) + 12 * _whole(transpose, "octave-change", 0)
    time = element.find("time")
    if time is not None and time.find("beats") is not None:
        beats = (time.findtext("beats") or "").replace(" ", "").split("+")
        part.metre = sum(int(text) for text in beats if text.isdecimal()), _whole(time, "beat-type", 4)
        bar_ticks(*part.metre)
        bar.metres.append((now, *part.metre))
    key = element.find("key")
    if key is not None and key.find("fifths") is not None:
        said = (key.findtext("mode") or "major").strip().lower()
        mode = {"ionian": "major", "aeolian": "minor"}.get(said, said if said in MODES else "major")
        tonic = tonic_of(_whole(key, "fifths", 0), mode)
        bar.keys.append((now, moved(tonic, mode, part.transpose), mode))


def _tempo(element: Element) -> float | None:
    """Quarter notes a minute of a <sound> or a <metronome>; None where there is none."""
    sound = element if element.tag == "sound" else element.find("sound")
    metronome = element.find("direction-type/metronome")
    try:
        if sound is not None and sound.get("tempo"):
            tempo = float(sound.get("tempo", ""))
        elif metronome is not None and metronome.findtext("per-minute"):
            beat = _BEATS.get((metronome.findtext("beat-unit") or "").strip(), 1.0)
            dots = len(metronome.findall("beat-unit-dot"))
            tempo = float(metronome.findtext("per-minute", "")) * beat * (2 - 0.5**dots)
        else:
            return None
    except ValueError:  # words such as "ca. 60": no number to play at
        return None
    return tempo if 1 <= tempo <= 1000 else None


def _read_barline(element: Element, part: _Part, bar: Bar) -> None:
    ending, repeat = element.find("ending"), element.find("repeat")
    if ending is not None and ending.get("type") == "start":
        numbers = [text for text in ending.get("number", "").replace(" ", "").split(",") if text.isdecimal()]
        part.ending = bar.turns = frozenset(int(text) for text in numbers if 1 <= int(text) <= 20)
    elif ending is not None:
        part.ending = frozenset()
    if repeat is not None and repeat.get("direction") == "forward":
        bar.forward = True
    elif repeat is not None:
        times = repeat.get("times", "2")
        bar.backward = min(max(int(times), 2), 20) if times.isdecimal() else 2


def play_order(bars: list[Bar]) -> list[int]:
    """The numbers of the bars in the order in which they sound. ValueError where they become too many."""
    order: list[int] = []
    at = start = 0
    turn = 1
    while at < len(bars):
        bar = bars[at]
        if len(order) > MOST_BARS:
            raise ValueError(f"repeats unfold to more than {MOST_BARS} bars")
        if bar.forward and at != start:
            start, turn = at, 1
        if bar.turns and turn not in bar.turns:
            at += 1
            continue
        order.append(at)
        ends = bar.turns and not (at + 1 < len(bars) and bars[at + 1].turns)
        if bar.backward and turn < max(bar.backward, _last_turn(bars, start) if bar.turns else 0):
            at, turn = start, turn + 1
            continue
        if bar.backward or ends:
            start, turn = at + 1, 1
            while start < len(bars) and bars[start].turns:  # endings of turns that are over
                start += 1
            at = start
            continue
        at += 1
    return order


def _last_turn(bars: list[Bar], start: int) -> int:
    """The highest turn that the endings of the part from `start` on name."""
    last, seen = 1, False
    for place in range(start, len(bars)):
        if (bars[place].forward and place > start) or (seen and not bars[place].turns):
            break
        if bars[place].turns:
            seen = True
            last = max(last, *bars[place].turns)
    return last


def _tick(time: Fraction) -> int:
    """Quarter notes to ticks, halves up."""
    return int(time * TICKS + Fraction(1, 2))


def _laid_out(parts: list[list[Bar]], tracks: list[Track], title: str) -> Score:
    """Bars in the order in which they sound, each as long as the longest of its parts."""
    first = parts[0]
    order = play_order(first)
    lengths = [max(part[n].length for part in parts if n < len(part)) for n in range(len(first))]
    begins = [Fraction(0)]
    for n in order:
        begins.append(begins[-1] + lengths[n])
    lines = [_tick(begin) for begin in begins]
    keys: dict[int, Key] = {}
    tempos: dict[int, Tempo] = {}
    metres: dict[int, Metre] = {}
    in_force = _in_force(first)
    for n, begin in zip(order, begins, strict=False):
        metres[_tick(begin)] = (_tick(begin), *in_force[n])
        for at, tonic, mode in first[n].keys:
            keys[_tick(begin + at)] = (_tick(begin + at), tonic, mode)
        for part in parts:
            for at, tempo in part[n].tempos if n < len(part) else ():
                tempos[_tick(begin + at)] = (_tick(begin + at), tempo)
    changes = [metre for metre in _changed(metres.values()) if metre[0]]
    placed, pickup = metres_of(lines, changes, in_force[order[0]])
    return Score(
        tuple(_track(part, track, order, begins) for part, track in zip(parts, tracks, strict=True)),
        placed,
        tuple(_changed(keys[tick] for tick in sorted(keys))),
        tuple(_changed(tempos[tick] for tick in sorted(tempos))),
        pickup,
        title,
    )


def _in_force(bars: list[Bar]) -> list[tuple[int, int]]:
    """The metre of each bar."""
    metre = (4, 4)
    found = []
    for bar in bars:
        for _, beats, unit in bar.metres:
            metre = beats, unit
        found.append(metre)
    return found


def _changed(events: Iterable[Any]) -> Iterable[Any]:
    """Those that say something else than the one before."""
    last = None
    for event in events:
        if event[1:] != last:
            yield event
        last = event[1:]


def _track(bars: list[Bar], track: Track, order: list[int], begins: list[Fraction]) -> Track:
    """A part's notes with their times, tied ones joined."""
    notes: list[tuple[Fraction, Fraction, int]] = []
    tied: dict[tuple[int, Fraction], int] = {}
    for n, begin in zip(order, begins, strict=False):
        for at, duration, pitch, tie in bars[n].notes if n < len(bars) else ():
            start = begin + at
            place = tied.pop((pitch, start), len(notes))
            if place == len(notes):
                notes.append((start, start + duration, pitch))
            else:
                notes[place] = (notes[place][0], start + duration, pitch)
            if tie:
                tied[pitch, start + duration] = place
    placed = (Note(_tick(start), max(_tick(stop) - _tick(start), 1), pitch) for start, stop, pitch in notes)
    return replace(track, notes=tuple(placed))

"""A score as a piano roll: time runs to the right, pitch upwards, a colour for each track. Not notation.

The picture is laid out once as boxes, lines and words, and drawn twice: by Pillow for a file, as SVG for a
page, where every note carries its track, bar, ticks and pitch. Drums have lines of their own below.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from html import escape
from itertools import pairwise
from typing import TYPE_CHECKING

from tokenloom.sound.drums import word_of
from tokenloom.sound.instruments import name_of
from tokenloom.sound.keys import fifths_of
from tokenloom.sound.score import WHOLE, Note, Score, Track, bar_numbers

if TYPE_CHECKING:
    from PIL.Image import Image

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b58900", "#56b4e9", "#6f4e9c", "#7a5230")
"""Told apart by the colour-blind as well (after Okabe and Ito)."""
PAPER, BLACK_KEY, BAR, BEAT, INK, FAINT = "#ffffff", "#f1f2f4", "#8d939b", "#dfe2e6", "#1d2127", "#6a717b"
SHARP_NAMES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
FLAT_NAMES = ("C", "Db", "D", "Eb", "E", "F", "Gb", "G", "Ab", "A", "Bb", "B")
BLACK = {1, 3, 6, 8, 10}
WIDTHS = (320, 8000)
MARGIN, LEFT, TOP, GAP = 12, 46, 58, 30
BAR_PX = 74
"""A bar of four quarter notes has at least so many pixels at a width of 1200; rows are broken for it."""
ROW_PX = 320
MOST_ROWS = 60


@dataclass(frozen=True, slots=True)
class Box:
    """A filled rectangle; `said` is what a page shows and reads of it."""

    x: float
    y: float
    width: float
    height: float
    fill: str
    said: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Line:
    x: float
    y: float
    to_x: float
    to_y: float
    colour: str


@dataclass(frozen=True, slots=True)
class Words:
    """A line of text; `at` is start, middle or end, and y its middle."""

    x: float
    y: float
    text: str
    size: float
    colour: str
    at: str = "start"


Shape = Box | Line | Words


@dataclass(frozen=True)
class Frame:
    """Where a row of bars lies and how ticks and pitches become places in it."""

    start: int
    stop: int
    x: float
    y: float
    tick_px: float
    pitch_px: float
    low: int
    high: int
    drums: tuple[int, ...]

    @property
    def keys_px(self) -> float:
        return (self.high - self.low + 1) * self.pitch_px if self.high >= self.low else 0.0

    @property
    def drum_px(self) -> float:
        return max(9.0, self.pitch_px)

    @property
    def bottom(self) -> float:
        return self.y + self.keys_px + (6 + len(self.drums) * self.drum_px if self.drums else 0)

    def across(self, tick: float) -> float:
        return self.x + (tick - self.start) * self.tick_px

    def up(self, pitch: int) -> float:
        """The top of a pitch's line."""
        return self.y + (self.high - pitch) * self.pitch_px

    def beat_line(self, drum: int) -> float:
        return self.y + self.keys_px + 6 + self.drums.index(drum) * self.drum_px


def roll(score: Score, width: int = 1200) -> Image:
    """The piano roll, RGB, `width` pixels wide and as high as its rows need. ValueError as `laid_out`.

    Letters that Pillow's own font lacks are left out of the title.
    """
    from PIL import Image, ImageDraw, ImageFont

    shapes, height = laid_out(score, width)
    picture = Image.new("RGB", (width, round(height)), PAPER)
    draw = ImageDraw.Draw(picture)
    for shape in shapes:
        if isinstance(shape, Box):
            corners = (
                round(shape.x),
                round(shape.y),
                round(shape.x + shape.width) - 1,
                round(shape.y + shape.height) - 1,
            )
            if shape.said and shape.height >= 5 and shape.width >= 6:
                draw.rounded_rectangle(corners, 2, fill=shape.fill)
            else:
                draw.rectangle(
                    (*corners[:2], max(corners[0], corners[2]), max(corners[1], corners[3])), shape.fill
                )
        elif isinstance(shape, Line):
            draw.line((round(shape.x), round(shape.y), round(shape.to_x), round(shape.to_y)), shape.colour)
        else:
            anchor = {"start": "lm", "middle": "mm", "end": "rm"}[shape.at]
            text = "".join(c for c in shape.text if ord(c) < 0x250 or c in "·–—’“”")
            draw.text((shape.x, shape.y), text, shape.colour, ImageFont.load_default(shape.size), anchor)
    return picture


def roll_svg(score: Score, width: int = 1200) -> str:
    """The same as SVG text. A note is a rect of class `note` with data-track, -bar, -start, -stop, -pitch."""
    shapes, height = laid_out(score, width)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height:.0f}" width="{width}" '
        f'height="{height:.0f}" role="img" font-family="sans-serif">'
        f"<title>{escape(score.title or 'Piano roll')}</title>"
        f'<rect class="paper" width="{width}" height="{height:.0f}" fill="{PAPER}"/>'
    ]
    parts += [_svg(shape) for shape in shapes]
    return "".join([*parts, "</svg>"])


def _svg(shape: Shape) -> str:
    if isinstance(shape, Line):
        return (
            f'<path class="{"bar" if shape.colour == BAR else "beat"}" stroke="{shape.colour}" '
            f'd="M{shape.x:.1f} {shape.y:.1f}L{shape.to_x:.1f} {shape.to_y:.1f}"/>'
        )
    if isinstance(shape, Words):
        return (
            f'<text x="{shape.x:.1f}" y="{shape.y:.1f}" font-size="{shape.size:g}" fill="{shape.colour}" '
            f'text-anchor="{shape.at}" dominant-baseline="central">{escape(shape.text)}</text>'
        )
    place = f'x="{shape.x:.1f}" y="{shape.y:.1f}" width="{shape.width:.1f}" height="{shape.height:.1f}"'
    if not shape.said:
        return f'<rect class="key" {place} fill="{shape.fill}"/>'
    data = " ".join(f'data-{key}="{escape(value)}"' for key, value in shape.said.items() if key != "title")
    said = escape(shape.said["title"])
    return f'<rect class="note" {place} rx="2" fill="{shape.fill}" {data}><title>{said}</title></rect>'


def laid_out(score: Score, width: int = 1200) -> tuple[list[Shape], float]:
    """(shapes in drawing order, height). ValueError: no notes, a width that is none, too many bars."""
    if not WIDTHS[0] <= width <= WIDTHS[1]:
        raise ValueError(f"width {width}: allowed are {WIDTHS[0]} to {WIDTHS[1]} pixels")
    if not any(track.notes for track in score.tracks):
        raise ValueError("score: it has no notes, so there is nothing to draw")
    shapes: list[Shape] = list(_head(score, width))
    y = float(TOP)
    for frame in _frames(score, width):
        shapes += _ground(score, frame)
        shapes += _notes(score, frame)
        y = frame.bottom
    return shapes, y + MARGIN


def _rows(score: Score, room: float) -> list[tuple[int, int]]:
    """(start, stop) in ticks of each row: all bars in one where they keep their width, else fours of bars."""
    bars = score.bars
    whole = bars[-1][1]
    fit = max(1, int(len(bars) * WHOLE * room / (whole * BAR_PX)))
    if len(bars) > fit >= 4:
        fit -= fit % 4
    first = 1 if score.pickup and len(bars) > 1 else 0  # a pickup stands before the first row's bars
    heads = [0, *range(fit + first, len(bars), fit)]
    if len(heads) > MOST_ROWS:
        raise ValueError(
            f"score: its {len(bars)} bars would make {len(heads)} rows; at most {MOST_ROWS} are drawn"
        )
    starts = [bars[head][0] for head in heads]
    return list(pairwise([*starts, whole]))


def _frames(score: Score, width: int) -> Iterator[Frame]:
    room = width - LEFT - MARGIN
    rows = _rows(score, room)
    longest = max(stop - start for start, stop in rows)
    pitches = [note.pitch for track in score.tracks if not track.drums for note in track.notes]
    low, high = (max(0, min(pitches) - 2), min(127, max(pitches) + 2)) if pitches else (1, 0)
    struck = {note.pitch for track in score.tracks if track.drums for note in track.notes}
    pitch_px = min(14.0, max(4.0, ROW_PX / max(1, high - low + 1)))
    y = float(TOP)
    for start, stop in rows:
        frame = Frame(
            start, stop, LEFT, y, room / longest, pitch_px, low, high, tuple(sorted(struck, reverse=True))
        )
        yield frame
        y = frame.bottom + GAP


def _head(score: Score, width: int) -> Iterator[Shape]:
    title = score.title or score.kind or "Score"
    facts = [score.kind] if score.title and score.kind else []
    facts.append("{1}/{2}".format(*score.metres[0]))
    facts += [f"{tonic} {mode}" for _, tonic, mode in score.keys[:1]]
    facts += [f"{tempo:.0f} quarter notes a minute" for _, tempo in score.tempos[:1]]
    size = 18
    yield Words(MARGIN, 16, _short(title, width * 0.45 / (size * 0.55)), size, INK)
    yield Words(width - MARGIN, 16, " · ".join(facts), 13, FAINT, "end")
    x = float(LEFT)
    for place, track in enumerate(score.tracks):
        name = track.name or ("drums" if track.drums else name_of(track.program))
        if track.notes and x + 40 + 7 * len(name) < width:
            yield Box(x, 30, 11, 9, _colour(place))
            yield Words(x + 16, 35, name, 12, INK)
            x += 34 + 7 * len(name)


def _short(text: str, most: float) -> str:
    return text if len(text) <= most else text[: max(1, int(most) - 1)].rstrip() + "…"


def _colour(place: int) -> str:
    return COLOURS[place % len(COLOURS)]


def names_for(score: Score) -> tuple[str, ...]:
    """The twelve pitch classes as the first key spells them."""
    flats = any(fifths_of(tonic, mode) < 0 for _, tonic, mode in score.keys[:1])
    return FLAT_NAMES if flats else SHARP_NAMES


def _ground(score: Score, frame: Frame) -> Iterator[Shape]:
    """Black keys' lines, pitch names, beats and bars of a row."""
    right = frame.across(frame.stop)
    names = names_for(score)
    for pitch in range(frame.low, frame.high + 1):
        if pitch % 12 in BLACK:
            yield Box(frame.x, frame.up(pitch), right - frame.x, frame.pitch_px, BLACK_KEY)
    for below, above in pairwise(range(frame.low, frame.high + 1)):
        if below % 12 in (4, 11):
            yield Line(
                frame.x, frame.up(above) + frame.pitch_px, right, frame.up(above) + frame.pitch_px, BEAT
            )
    for pitch in range(frame.low, frame.high + 1):
        octave = pitch % 12 == 0
        if octave or (pitch % 12 not in BLACK and frame.pitch_px >= 7):
            name = f"{names[pitch % 12]}{pitch // 12 - 1}"
            y = frame.up(pitch) + frame.pitch_px / 2
            yield Words(frame.x - 5, y, name, 11 if octave else 9, INK if octave else FAINT, "end")
    for key in frame.drums:
        y = frame.beat_line(key) + frame.drum_px / 2
        yield Words(frame.x - 5, y, word_of(key), 9, FAINT, "end")
    yield from _times(score, frame, right)


def _times(score: Score, frame: Frame, right: float) -> Iterator[Shape]:
    for (start, stop), number in zip(score.bars, bar_numbers(score), strict=True):
        if not frame.start <= start < frame.stop:
            continue
        unit = next(metre for metre in reversed(score.metres) if metre[0] <= start)[2]
        beat = WHOLE // unit
        for tick in range(start + beat, stop, beat) if beat * frame.tick_px >= 4 else ():
            yield Line(frame.across(tick), frame.y, frame.across(tick), frame.bottom, BEAT)
        x = frame.across(start)
        yield Line(x, frame.y, x, frame.bottom, BAR)
        yield Words(x + 2, frame.y - 8, str(number), 10, FAINT)
    yield Line(right, frame.y, right, frame.bottom, BAR)


def _notes(score: Score, frame: Frame) -> Iterator[Shape]:
    names = names_for(score)
    bars = list(zip(score.bars, bar_numbers(score), strict=True))
    for place, track in enumerate(score.tracks):
        for note in track.notes:
            start, stop = max(note.start, frame.start), min(note.stop, frame.stop)
            if start < stop:
                bar = next(number for (_, end), number in bars if note.start < end)
                yield from _note(track, place, note, bar, frame, names)


def _note(
    track: Track, place: int, note: Note, bar: int, frame: Frame, names: Sequence[str]
) -> Iterator[Shape]:
    name = word_of(note.pitch) if track.drums else f"{names[note.pitch % 12]}{note.pitch // 12 - 1}"
    x = frame.across(max(note.start, frame.start))
    if track.drums:
        y, height = frame.beat_line(note.pitch) + 1, frame.drum_px - 2
        width = min(7.0, max(3.0, note.duration * frame.tick_px - 1))
    else:
        y, height = frame.up(note.pitch), frame.pitch_px
        width = max(2.0, (min(note.stop, frame.stop) - max(note.start, frame.start)) * frame.tick_px - 1)
    said = {"track": str(place), "bar": str(bar), "start": str(note.start), "stop": str(note.stop)}
    said |= {"pitch": str(note.pitch), "title": f"{name}, bar {bar}"}
    yield Box(x, y, width, height, _pale(_colour(place), note.velocity), said)
    if not track.drums and height >= 11 and width >= 20:
        yield Words(x + 3, y + height / 2, name, 9, PAPER)


def _pale(colour: str, velocity: int) -> str:
    """The colour, paler for a soft note."""
    part = 0.45 * max(0, 90 - velocity) / 90
    mixed = (round(int(colour[k : k + 2], 16) * (1 - part) + 255 * part) for k in (1, 3, 5))
    return "#" + "".join(f"{value:02x}" for value in mixed)

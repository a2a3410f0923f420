"""Curves over steps: in the terminal (braille dots), as SVG, as PNG.

Not a plotting library: one kind of picture, lines over a linear axis, drawn in some 200 lines so that a
report needs neither matplotlib nor a script. In the terminal the first curve has braille dots, the others
letters.
Colours: Okabe and Ito 2008, told apart by the colour-blind too.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from tokenloom.config import new_file, put_text

Points = Sequence[tuple[float, float]]
Curves = Mapping[str, Points]
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKS = "ox+*#"
"""Of the second curve and those after it in the terminal."""
MOST = 1200
"""Points drawn of one curve; of more, the lowest and the highest of each stretch."""
_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
WIDTH, HEIGHT = 720, 320
LEFT, RIGHT, TOP, BOTTOM = 64, 16, 40, 44
"""Margins of a picture, in points."""


@dataclass(frozen=True, slots=True)
class Frame:
    """The part of the plane that is shown, and its ticks."""

    low: tuple[float, float]
    high: tuple[float, float]

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Shares of width and height, (0, 0) at the lower left."""
        return tuple(  # type: ignore[return-value]
            (v - a) / (b - a) for v, a, b in zip((x, y), self.low, self.high, strict=True)
        )


def _clean(curves: Curves) -> dict[str, list[tuple[float, float]]]:
    """Finite points in order, those with two or more; ValueError where nothing is left."""
    found = {
        name: sorted((float(x), float(y)) for x, y in points if math.isfinite(x) and math.isfinite(y))
        for name, points in curves.items()
    }
    found = {name: points for name, points in found.items() if len(points) > 1}
    if not found:
        raise ValueError("curves: found none with two points or more that are numbers")
    return {name: _thin(points) for name, points in found.items()}


def _thin(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    if len(points) <= MOST:
        return points
    size = math.ceil(2 * len(points) / MOST)
    kept = []
    for at in range(0, len(points), size):
        part = points[at : at + size]
        ends = {min(part, key=lambda p: p[1]), max(part, key=lambda p: p[1])}
        kept += sorted(ends)
    return kept


def _frame(curves: Curves) -> Frame:
    xs, ys = zip(*(point for points in curves.values() for point in points), strict=True)
    low, high = [min(xs), min(ys)], [max(xs), max(ys)]
    for axis in (0, 1):
        if low[axis] == high[axis]:
            low[axis] -= abs(low[axis]) * 0.1 or 1.0
            high[axis] += abs(high[axis]) * 0.1 or 1.0
    room = (high[1] - low[1]) * 0.05
    return Frame((low[0], low[1] - room), (high[0], high[1] + room))


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round numbers from low to high, `most` at most: 1, 2 or 5 times a power of ten apart."""
    if not low < high or most < 2:
        raise ValueError(f"ticks: found {low} to {high} and {most}; need low < high and 2 or more")
    power = 10.0 ** (math.floor(math.log10((high - low) / most)) - 1)
    for step in (times * power * 10**more for more in range(4) for times in (1, 2, 5)):
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if last - first < most:
            return [number * step for number in range(first, last + 1)]
    raise AssertionError("one of twelve steps is wide enough")


def label(value: float, step: float) -> str:
    """A tick's number with the digits its step needs."""
    if value and (abs(value) < 1e-3 or abs(value) >= 1e6):
        return f"{value:.3g}"
    digits = max(0, -math.floor(math.log10(step) + 1e-9)) if step < 1 else 0
    return f"{value:,.{digits}f}"


def _labels(values: Sequence[float]) -> list[str]:
    step = values[1] - values[0] if len(values) > 1 else abs(values[0]) or 1.0
    return [label(value, step) for value in values]


# The terminal


def terminal_curve(curves: Curves, width: int = 100, height: int = 18, title: str = "") -> str:
    """The curves as lines of text, `width` columns wide and `height` lines high with title and axes.

    ValueError where no curve has two points, or there is no room.
    """
    found = _clean(curves)
    if width < 30 or height < 6:
        raise ValueError(f"width, height: found {width}, {height}; allowed: 30, 6 or more")
    frame = _frame(found)
    rows = height - 2 - bool(title) - (len(found) > 1)
    y_ticks = ticks(frame.low[1], frame.high[1], max(3, rows // 2))
    y_labels = _labels(y_ticks)
    margin = max(map(len, y_labels)) + 1
    columns = width - margin - 1
    cells = _cells(found, frame, columns, rows)
    at = {
        rows - 1 - round(frame.place(0, y)[1] * (rows - 1)): text
        for y, text in zip(y_ticks, y_labels, strict=True)
    }
    lines = [title[:width]] if title else []
    if len(found) > 1:
        marks = ["⠶", *MARKS]
        lines.append("  ".join(f"{marks[min(i, 5)]} {name}" for i, name in enumerate(found))[:width])
    for row, cell in enumerate(cells):
        lines.append(f"{at.get(row, ''):>{margin}}{'┤' if row in at else '│'}{''.join(cell)}".rstrip())
    lines.append(" " * margin + "└" + "─" * columns)
    lines.append(_x_axis(frame, columns, margin + 1))
    return "\n".join(lines)


def _x_axis(frame: Frame, columns: int, margin: int) -> str:
    places = ticks(frame.low[0], frame.high[0], max(2, columns // 16))
    line = [" "] * (columns + margin)
    for x, text in zip(places, _labels(places), strict=True):
        at = margin + round(frame.place(x, 0)[0] * (columns - 1)) - len(text) // 2
        at = max(0, min(at, len(line) - len(text)))
        if all(c == " " for c in line[max(0, at - 1) : at + len(text) + 1]):
            line[at : at + len(text)] = text
    return "".join(line).rstrip()


def _cells(curves: Curves, frame: Frame, columns: int, rows: int) -> list[list[str]]:
    cells = [[" "] * columns for _ in range(rows)]
    for number, points in reversed(list(enumerate(curves.values()))):
        if number == 0:
            for x, y in _dots(points, frame, 2 * columns, 4 * rows):
                old = cells[y // 4][x // 2]
                bits = ord(old) - 0x2800 if 0x2800 <= ord(old) < 0x2900 else 0
                cells[y // 4][x // 2] = chr(0x2800 + (bits | _DOTS[y % 4][x % 2]))
        else:
            for x, y in _dots(points, frame, columns, rows):
                cells[y][x] = MARKS[min(number - 1, len(MARKS) - 1)]
    return cells


def _dots(points: Points, frame: Frame, width: int, height: int) -> Iterator[tuple[int, int]]:
    """The dots of a line from point to point; y from the top."""
    last: tuple[int, int] | None = None
    for x, y in points:
        across, up = frame.place(x, y)
        here = round(across * (width - 1)), height - 1 - round(up * (height - 1))
        start = last or here
        n = max(abs(here[0] - start[0]), abs(here[1] - start[1]), 1)
        for i in range(n + 1):
            yield (
                round(start[0] + (here[0] - start[0]) * i / n),
                round(start[1] + (here[1] - start[1]) * i / n),
            )
        last = here


# Pictures


def svg_curve(curves: Curves, title: str = "", x_name: str = "step") -> str:
    """The curves as an SVG element that stands by itself: for a file, or inside a page."""
    found = _clean(curves)
    frame = _frame(found)
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" '
        f'height="{HEIGHT}" role="img" font-family="sans-serif" font-size="12">',
        f"<title>{escape(title or ', '.join(found))}</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
    ]
    for x1, y1, x2, y2, text, across in _grid(frame):
        out.append(f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="#dddddd"/>')
        tx, ty, anchor = (x1, y1 + 18, "middle") if across else (x1 - 6, y1 + 4, "end")
        out.append(f'<text x="{tx:.1f}" y="{ty:.1f}" text-anchor="{anchor}" fill="#444444">{text}</text>')
    for number, (name, points) in enumerate(found.items()):
        colour = COLOURS[number % len(COLOURS)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (_pixel(frame, *p) for p in points))
        out.append(
            f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5" '
            'stroke-linejoin="round"/>'
        )
        out.append(f'<text x="{LEFT + number * 160}" y="32" fill="{colour}">{escape(name)}</text>')
    out.append(f'<text x="{LEFT}" y="16" font-weight="bold" fill="#222222">{escape(title)}</text>')
    out.append(
        f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 8}" text-anchor="end" fill="#444444">{escape(x_name)}</text>'
    )
    return "\n".join([*out, "</svg>"])


def save_curve(curves: Curves, file: Path, title: str = "") -> None:
    """Draws the curves into a .png or .svg file, which is written beside and renamed.

    ValueError for another kind of file, and where no curve has two points.
    """
    kind = file.suffix.lower()
    if kind not in (".png", ".svg"):
        raise ValueError(f"file: found {file.name!r}; allowed: a name that ends in .png or .svg")
    if kind == ".svg":
        put_text(file, svg_curve(curves, title) + "\n")
        return
    with new_file(file) as beside:
        _png(curves, beside, title)


def _png(curves: Curves, file: Path, title: str) -> None:
    from PIL import Image, ImageDraw, ImageFont

    found = _clean(curves)
    frame, times = _frame(found), 2
    picture = Image.new("RGB", (WIDTH * times, HEIGHT * times), "#ffffff")
    draw = ImageDraw.Draw(picture)
    font = ImageFont.load_default(12 * times)

    def write(x: float, y: float, text: str, colour: str, anchor: str) -> None:
        draw.text((x * times, y * times), text, colour, font, anchor=anchor)

    for x1, y1, x2, y2, text, across in _grid(frame):
        draw.line([(x1 * times, y1 * times), (x2 * times, y2 * times)], "#dddddd", times)
        if across:
            write(x1, y1 + 8, text, "#444444", "mt")
        else:
            write(x1 - 6, y1, text, "#444444", "rm")
    for number, (name, points) in enumerate(found.items()):
        colour = COLOURS[number % len(COLOURS)]
        path = [(x * times, y * times) for x, y in (_pixel(frame, *p) for p in points)]
        draw.line(path, colour, round(1.5 * times), joint="curve")
        write(LEFT + number * 160, 32, name, colour, "ls")
    write(LEFT, 16, title, "#222222", "ls")
    write(WIDTH - RIGHT, HEIGHT - 8, "step", "#444444", "rs")
    picture.save(file, "PNG", optimize=True)


def _pixel(frame: Frame, x: float, y: float) -> tuple[float, float]:
    across, up = frame.place(x, y)
    return LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM)


def _grid(frame: Frame) -> Iterator[tuple[float, float, float, float, str, bool]]:
    """Lines of the grid with their numbers: x1, y1, x2, y2, text, whether it stands on the x axis."""
    xs, ys = ticks(frame.low[0], frame.high[0], 8), ticks(frame.low[1], frame.high[1], 6)
    for x, text in zip(xs, _labels(xs), strict=True):
        px, _ = _pixel(frame, x, frame.low[1])
        yield px, HEIGHT - BOTTOM, px, TOP, text, True
    for y, text in zip(ys, _labels(ys), strict=True):
        _, py = _pixel(frame, frame.low[0], y)
        yield LEFT, py, WIDTH - RIGHT, py, text, False

"""Curves: round ticks, lines in the terminal that fit and fall, whole pictures, wrong inputs."""

from __future__ import annotations

import math
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tokenloom.evals.plot import COLOURS, MOST, save_curve, svg_curve, terminal_curve, ticks

FALL = {"loss": [(float(s), 2 + 4 * math.exp(-s / 300)) for s in range(1, 5001)]}
BOTH = {**FALL, "held <out>": [(float(s), 2.5) for s in range(500, 5001, 500)]}


@given(st.floats(-1e3, 1e3), st.floats(1e-2, 1e6), st.integers(2, 12))
def test_ticks_are_few_round_and_inside(low: float, width: float, most: int) -> None:
    high = low + width
    found = ticks(low, high, most)
    assert 1 <= len(found) <= most
    assert all(low - 1e-6 * width <= tick <= high + 1e-6 * width for tick in found)
    if len(found) > 1:
        step = found[1] - found[0]
        digit = float(f"{step:e}".partition("e")[0])
        assert round(digit, 6) in (1, 2, 5)


def test_ticks_by_hand() -> None:
    assert ticks(0, 10, 6) == [0, 2, 4, 6, 8, 10]
    assert ticks(1.8, 6.2, 5) == [2, 3, 4, 5, 6]
    with pytest.raises(ValueError, match="low < high"):
        ticks(1, 1)


@pytest.mark.parametrize(("width", "height"), [(30, 6), (100, 18), (61, 25)])
def test_a_curve_in_the_terminal_fits_and_falls(width: int, height: int) -> None:
    text = terminal_curve(BOTH, width, height, "a title")
    lines = text.splitlines()
    assert len(lines) == height
    assert all(len(line) <= width for line in lines)
    assert lines[0].startswith("a title")
    assert "loss" in lines[1]
    dots = [line for line in lines if "│" in line or "┤" in line]
    first = next(i for i, line in enumerate(dots) if any("\u2800" < c <= "\u28ff" for c in line))
    last = max(i for i, line in enumerate(dots) if any("\u2800" < c <= "\u28ff" for c in line))
    assert first <= 1
    assert last >= len(dots) - 2
    braille = [[i for i, c in enumerate(line) if "\u2800" < c <= "\u28ff"] for line in dots]
    assert max(braille[first]) < max(braille[last])
    assert height < 10 or any("o" in line for line in dots)


def test_a_flat_curve_and_one_of_two_points() -> None:
    assert "┤" in terminal_curve({"a": [(1, 3.0), (9, 3.0)]}, 40, 8)
    assert "┤" in terminal_curve({"lr": [(1, 3e-4), (100, 1e-4)]}, 60, 10)


def test_a_picture_as_svg_is_whole_xml() -> None:
    root = ElementTree.fromstring(svg_curve(BOTH, "Loss & <more>"))
    space = "{http://www.w3.org/2000/svg}"
    lines = root.findall(f"{space}polyline")
    assert [line.get("stroke") for line in lines] == list(COLOURS[:2])
    points = [tuple(map(float, p.split(","))) for p in str(lines[0].get("points")).split()]
    assert len(points) <= MOST
    assert all(0 <= x <= 720 and 0 <= y <= 320 for x, y in points)
    assert points[0][1] < points[-1][1]  # falls: y counts from the top
    texts = [element.text for element in root.iter(f"{space}text")]
    assert "held <out>" in texts
    assert "Loss & <more>" in texts
    assert "5,000" in texts


def test_pictures_are_written_whole(tmp_path: Path) -> None:
    save_curve(BOTH, tmp_path / "c.png", "Loss")
    save_curve(BOTH, tmp_path / "c.svg", "Loss")
    with Image.open(tmp_path / "c.png") as picture:
        assert picture.size == (1440, 640)
        colours = {colour for _, colour in picture.getcolors(1 << 20) or []}
    assert {(0x00, 0x72, 0xB2), (0xD5, 0x5E, 0x00)} <= colours
    ElementTree.parse(tmp_path / "c.svg")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["c.png", "c.svg", "home"]


def test_what_cannot_be_drawn_is_said(tmp_path: Path) -> None:
    nan = float("nan")
    for curves in ({}, {"a": []}, {"a": [(1, 2.0)]}, {"a": [(1, nan), (2, nan), (3, 1.0)]}):
        with pytest.raises(ValueError, match="two points or more"):
            terminal_curve(curves)
    with pytest.raises(ValueError, match="width, height"):
        terminal_curve(FALL, 10, 10)
    with pytest.raises(ValueError, match=r"'c.pdf'; allowed: a name that ends in .png or .svg"):
        save_curve(FALL, tmp_path / "c.pdf")


def test_numbers_that_are_none_are_skipped() -> None:
    points = [(1.0, 1.0), (2.0, float("inf")), (3.0, 2.0)]
    assert "inf" not in svg_curve({"a": points})

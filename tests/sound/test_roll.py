"""The piano roll: every note in its bar and on its line, in the picture and on the page alike."""

from __future__ import annotations

import re
from itertools import pairwise
from xml.etree import ElementTree

import numpy as np
import pytest

from tokenloom.sound.roll import COLOURS, LEFT, MARGIN, laid_out, names_for, roll, roll_svg
from tokenloom.sound.score import Note, Score, Track


def notes_of(svg: str) -> list[dict[str, str]]:
    tree = ElementTree.fromstring(svg)
    return [rect.attrib for rect in tree.iter() if rect.get("class") == "note"]


def scale(bars: int, pickup: int = 0) -> Score:
    notes = tuple(Note(pickup + 12 * k, 12, 60 + k % 12, 90) for k in range(4 * bars))
    first = (Note(0, pickup, 55, 90),) if pickup else ()
    return Score((Track((*first, *notes)),), keys=((0, "D", "major"),), pickup=pickup, title="Scale")


def test_every_note_is_a_box_that_says_what_it_is() -> None:
    found = notes_of(roll_svg(scale(4)))
    assert len(found) == 16
    assert found[5] | {"data-bar": "2", "data-start": "60", "data-stop": "72", "data-pitch": "65"} == found[5]
    assert all(float(a["x"]) < float(b["x"]) for a, b in pairwise(found))
    lines = [float(box["y"]) for box in found[:12]]
    assert np.allclose(np.diff(lines), lines[1] - lines[0])
    assert lines[0] > lines[-1], "higher is higher up"


def test_rows_break_at_bars_and_a_pickup_is_bar_nought() -> None:
    found = notes_of(roll_svg(scale(32, pickup=6)))
    assert found[0]["data-bar"] == "0"
    rows: dict[float, set[int]] = {}
    for box in found[1:]:
        row = float(box["y"]) + (int(box["data-pitch"]) - 60) * float(box["height"])
        rows.setdefault(round(row, 1), set()).add(int(box["data-bar"]))
    assert sorted(map(len, rows.values())) == [8, 12, 12]
    assert all(float(box["x"]) >= LEFT - 1 for box in found)
    assert all(float(box["x"]) + float(box["width"]) <= 1200 - MARGIN + 1 for box in found)


def test_a_note_over_a_row_s_end_is_drawn_in_both() -> None:
    long = Score((Track((Note(0, 48 * 24, 60),)),))
    assert len(notes_of(roll_svg(long))) == 2


def test_drums_have_lines_of_their_own() -> None:
    kit = Track((Note(0, 6, 36), Note(6, 6, 42), Note(12, 6, 38)), drums=True)
    svg = roll_svg(Score((Track((Note(0, 48, 60),)), kit)))
    assert all(f">{word}<" in svg for word in ("kick", "hat", "snare", "drums"))
    found = notes_of(svg)
    assert min(float(box["y"]) for box in found[1:]) > float(found[0]["y"])
    assert notes_of(roll_svg(Score((kit,))))


def test_the_picture_has_the_colours_of_its_tracks() -> None:
    score = Score((Track((Note(0, 24, 60, 100),)), Track((Note(24, 24, 67, 100),)), Track()))
    picture = roll(score, 800)
    assert (picture.width, picture.mode) == (800, "RGB")
    assert picture.height == round(laid_out(score, 800)[1])
    pixels = {"#" + bytes(value).hex() for _, value in picture.getcolors(1 << 20)}
    assert {COLOURS[0], COLOURS[1]} <= pixels
    assert COLOURS[2] not in pixels


def test_names_follow_the_key() -> None:
    assert names_for(Score((), keys=((0, "D", "major"),)))[6] == "F#"
    assert names_for(Score((), keys=((0, "F", "major"),)))[10] == "Bb"
    assert names_for(Score(()))[1] == "C#"


def test_titles_are_escaped_and_any_title_is_drawn() -> None:
    score = Score((Track((Note(0, 24, 60),), name="<b>"),), title="A & B <script> 茉莉花")
    svg = roll_svg(score)
    assert "<script>" not in svg
    assert "茉莉花" in ElementTree.fromstring(svg)[0].text
    roll(score)


def test_what_cannot_be_drawn_is_said() -> None:
    for score, width, why in (
        (Score((Track(),)), 1200, "no notes"),
        (scale(2), 100, "width 100: allowed are 320 to 8000"),
        (scale(1000), 1200, "1000 bars would make"),
    ):
        with pytest.raises(ValueError, match=why):
            roll_svg(score, width)


def test_metres_that_change_keep_their_bar_lines() -> None:
    score = Score((Track((Note(0, 240, 60),)),), ((0, 4, 4), (96, 6, 8), (168, 2, 2)))
    svg = roll_svg(score)
    at = sorted({float(x) for x in re.findall(r'class="bar"[^>]*d="M([\d.]+)', svg)})
    assert len(at) == len(score.bars) + 1
    widths = np.diff(at)
    assert widths[2] / widths[0] == pytest.approx(36 / 48, abs=0.01)

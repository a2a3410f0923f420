"""Notation: pages of SVG that hold the notes; a text that brings the engraver down is an error."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from tokenloom.sound import engrave as engraving
from tokenloom.sound.engrave import engrave
from tokenloom.sound.score import Note, Score, Track

TUNE = "X:1\nT:Plain & <short>\nM:6/8\nL:1/8\nK:D\nDFA dAF|G3 A3|]\n"


def test_a_tune_and_its_score_are_engraved() -> None:
    pytest.importorskip("verovio", reason="needs verovio")
    (page,) = engrave(TUNE, width=800)
    assert ElementTree.fromstring(page).get("width") == "800px"
    assert len(re.findall(r'class="note"', page)) == 8
    score = Score(
        (Track(tuple(Note(6 * k, 6, 62 + k) for k in range(12))),), ((0, 6, 8),), ((0, "D", "major"),)
    )
    pages = engrave(score)
    assert pages == engrave(score), "the same again"
    assert len(re.findall(r'class="note"', pages[0])) == 12


@pytest.mark.parametrize(("text", "kind"), [("X:1", "abc"), (b"PK1234", "mxl")])
def test_what_brings_the_engraver_down_is_an_error(text: str | bytes, kind: str) -> None:
    pytest.importorskip("verovio", reason="needs verovio")
    with pytest.raises(ValueError, match=f"Verovio cannot read it as {kind}"):
        engrave(text, kind)


def test_what_is_no_music_is_said_before_it_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    for text, kind, why in (
        ("hello", "abc", "no ABC"),
        ("<svg/>", "musicxml", "no MusicXML"),
        ("hello", "mxl", "no zip"),
        ("", "abc", "0 bytes"),
        (b"X:1\xff", "abc", "not UTF-8"),
        (TUNE, "midi", "allowed are abc"),
    ):
        with pytest.raises(ValueError, match=why):
            engrave(text, kind)
    with pytest.raises(ValueError, match="width 10"):
        engrave(TUNE, width=10)
    monkeypatch.setattr(engraving, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"verovio: not installed.*pip install verovio"):
        engrave(TUNE)

"""MusicXML: what sounds is read, repeats are played out, and nothing outside the file is."""

from __future__ import annotations

import io
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenloom.sound.musicxml import read_musicxml
from tokenloom.sound.musicxml_file import LARGEST
from tokenloom.sound.score import Score

pytest.importorskip("defusedxml")

HEAD = """<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE score-partwise PUBLIC "-//Recordare//DTD MusicXML 4.0 Partwise//EN"
  "http://www.musicxml.org/dtds/partwise.dtd">
"""


def note(step: str, duration: int, inside: str = "", octave: int = 4) -> str:
    pitch = f"<pitch><step>{step}</step><octave>{octave}</octave></pitch>" if step else "<rest/>"
    chord = "<chord/>" if "chord" in inside else ""
    return f"<note>{chord}{pitch}<duration>{duration}</duration>{inside.replace('chord', '')}</note>"


def document(*measures: str, attributes: str = "", head: str = "") -> bytes:
    first = f"<attributes><divisions>2</divisions>{attributes}</attributes>"
    bars = "".join(f"<measure>{first if n == 0 else ''}{bar}</measure>" for n, bar in enumerate(measures))
    parts = f'<part-list><score-part id="P1"><part-name>Flute</part-name>{head}</score-part></part-list>'
    return f'{HEAD}<score-partwise version="4.0">{parts}<part id="P1">{bars}</part></score-partwise>'.encode()


def heard(score: Score) -> list[tuple[int, int, int]]:
    return [(n.start, n.duration, n.pitch) for n in score.tracks[0].notes]


def pitches(data: bytes) -> list[int]:
    return [pitch for _, _, pitch in heard(read_musicxml(data))]


def test_notes_chords_rests_voices_and_ties() -> None:
    tie = '<tie type="start"/>'
    one = note("C", 4, tie) + note("E", 4, "chord") + note("", 2) + note("G", 2)
    below = "<backup><duration>8</duration></backup>" + note("C", 8, octave=3)
    score = read_musicxml(document(one + below, note("A", 4)))
    expected = [(0, 48, 48), (0, 24, 60), (0, 24, 64), (36, 12, 67), (48, 24, 69)]
    assert heard(score) == expected, "a tie to another pitch joins nothing"
    tied = read_musicxml(document(note("C", 8, tie), note("C", 8, '<tie type="stop"/>')))
    assert heard(tied) == [(0, 96, 60)]


def test_tuplets_grace_notes_and_divisions() -> None:
    grace = "<note><grace/><pitch><step>B</step><octave>4</octave></pitch></note>"
    triplet = "<attributes><divisions>3</divisions></attributes>" + note("C", 1) + note("D", 1) + note("E", 1)
    assert heard(read_musicxml(document(grace + triplet))) == [(0, 4, 60), (4, 4, 62), (8, 4, 64)]


def test_a_transposing_part_sounds_where_it_sounds() -> None:
    attributes = (
        "<key><fifths>2</fifths><mode>major</mode></key><transpose><chromatic>-2</chromatic></transpose>"
    )
    score = read_musicxml(document(note("D", 8), attributes=attributes))
    assert heard(score) == [(0, 48, 60)]
    assert score.keys == ((0, "C", "major"),)


def test_metres_pickup_tempo_and_instrument() -> None:
    tempo = '<direction><sound tempo="90"/></direction>'
    six = "<time><beats>6</beats><beat-type>8</beat-type></time>"
    instrument = '<midi-instrument id="I"><midi-program>41</midi-program></midi-instrument>'
    data = document(tempo + note("C", 1), note("D", 6), note("E", 6), attributes=six, head=instrument)
    score = read_musicxml(data)
    assert (score.pickup, score.metres, score.tempos) == (6, ((0, 6, 8),), ((0, 90.0),))
    assert (score.tracks[0].program, score.tracks[0].name) == (40, "Flute")


def barline(inside: str) -> str:
    return f"<barline>{inside}</barline>"


def ending(number: str, kind: str = "start") -> str:
    return f'<ending number="{number}" type="{kind}"/>'


BACK, FORWARD = '<repeat direction="backward"/>', '<repeat direction="forward"/>'


@pytest.mark.parametrize(
    ("bars", "order"),
    [
        (["C", "D" + BACK, "E"], "CDCDE"),
        (["C", FORWARD + "D" + BACK, "E"], "CDDE"),
        ([FORWARD + "C", ending("1") + "D" + BACK, ending("2") + "E", "F"], "CDCEF"),
        (["C", ending("1,2") + "D" + BACK, ending("3") + "E"], "CDCDCE"),
        (["C" + '<repeat direction="backward" times="3"/>', "D"], "CCCD"),
        (["C", ending("1") + "D" + BACK, ending("2") + "E" + BACK, "F" + BACK], "CDCEFF"),
    ],
)
def test_repeats_and_endings_are_played_out(bars: list[str], order: str) -> None:
    def written(bar: str) -> str:
        letter = next(
            place for place, sign in enumerate(bar) if sign in "CDEF" and bar[place - 1 : place] in ("", ">")
        )
        before, after = bar[:letter], bar[letter + 1 :]
        after += ending("", "stop") if "<ending" in before else ""
        return (barline(before) if before else "") + note(bar[letter], 8) + (barline(after) if after else "")

    letters = dict(zip((60, 62, 64, 65), "CDEF", strict=True))
    assert "".join(letters[p] for p in pitches(document(*map(written, bars)))) == order


def packed(data: bytes, path: str = "score.xml") -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        roots = f'<container><rootfiles><rootfile full-path="{path}"/></rootfiles></container>'
        archive.writestr("META-INF/container.xml", roots)
        archive.writestr("score.xml", data)
    return out.getvalue()


def test_a_compressed_file_reads_as_the_plain_one() -> None:
    data = document(note("C", 8))
    assert read_musicxml(packed(data)) == read_musicxml(data)


ENTITY = b'<!DOCTYPE score-partwise [<!ENTITY a SYSTEM "file:///etc/hostname">]>'


@pytest.mark.parametrize(
    ("data", "named"),
    [
        (b"", "empty"),
        (b"not XML", "no whole XML"),
        (document(note("C", 8))[:-20], "no whole XML"),
        (b"<html/>", "begins with <html>"),
        (b"<score-partwise/>", "no part with a measure"),
        (ENTITY + b"<score-partwise>&a;</score-partwise>", "declares entities"),
        (packed(document(note("C", 8)), "other.xml"), "a zip without other.xml"),
        (packed(document(note("C", 8)))[:-30], "damaged .mxl"),
        (packed(b" " * (LARGEST + 1)), "unpacks to more than"),
        (document(note("H", 8)), "<step> is 'H'"),
        (document(note("C", 8)).replace(b"<divisions>2", b"<divisions>0"), "<divisions> is 0"),
        (document(note("C", 8, octave=30)), "pitch 372"),
    ],
)
def test_wrong_files_say_what_is_wrong(data: bytes, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        read_musicxml(data)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 500), st.binary(max_size=12))
def test_damage_raises_nothing_but_a_value_error(place: int, other: bytes) -> None:
    data = document(note("C", 8, '<tie type="start"/>'), note("C", 8))
    for damaged in (data[:place] + other + data[place + len(other) :], packed(data)[:place] + other):
        try:
            assert isinstance(read_musicxml(damaged), Score)
        except ValueError:
            continue

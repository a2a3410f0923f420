"""ABC as people write it: what sounds, in order, and what is wrong said by name."""

from __future__ import annotations

import pytest

from tokenloom.sound.abc import LARGEST, read_abc, split_abc
from tokenloom.sound.score import Score

LETTERS = dict(zip((60, 62, 64, 65, 67, 69, 71, 72), "CDEFGABc", strict=True))


def tune(music: str, head: str = "M:4/4\nL:1/4\n", key: str = "C") -> Score:
    return read_abc(f"X:1\nT:a tune\n{head}K:{key}\n{music}\n")[0]


def heard(music: str, head: str = "M:4/4\nL:1/4\n", key: str = "C") -> list[tuple[int, int, int]]:
    return [(n.start, n.duration, n.pitch) for n in tune(music, head, key).tracks[0].notes]


def letters(music: str) -> str:
    return "".join(LETTERS[pitch] for _, _, pitch in heard(music))


def steps(music: str) -> list[int]:
    return [duration for _, duration, _ in heard(music)]


def test_octaves_lengths_and_rests() -> None:
    assert heard("C,C c'2 | z/ B/4") == [(0, 12, 48), (12, 12, 60), (24, 24, 84), (54, 3, 71)]
    assert steps("C3/2 D/ E// F3 G//") == [18, 6, 3, 36, 3]
    assert heard("Z2 | C")[0][0] == 96


@pytest.mark.parametrize(
    ("music", "lengths"),
    [
        ("C>D", [18, 6]),
        ("C<D", [6, 18]),
        ("C>>D", [21, 3]),
        ("C > D", [18, 6]),
        ("(3CDE F", [8, 8, 8, 12]),
        ("((3CDE) F", [8, 8, 8, 12]),
        ("(3:2:2C2D F", [16, 8, 12]),
        ("(2CD E", [18, 18, 12]),
        ("(3C>DE F", [12, 4, 8, 12]),
        ("C-C2 | D", [36, 12]),
        ("C4-|C D", [60, 12]),
        ("{gf}C {a}D", [12, 12]),
        ('"Am"C "^slow"D !trill!E ~F .G', [12] * 5),
        ("C[L:1/8]DE", [12, 6, 6]),
        ("C D \\\nE F", [12] * 4),
    ],
)
def test_rhythm(music: str, lengths: list[int]) -> None:
    assert steps(music) == lengths


def test_the_default_length_follows_the_metre() -> None:
    assert heard("C", "M:2/4\n")[0][1] == 3
    assert heard("C", "M:3/4\n")[0][1] == 6
    assert heard("C", "")[0][1] == 6


def test_chords_and_overlays() -> None:
    assert heard("[CEG]2 [C2E]") == [(0, 24, 60), (0, 24, 64), (0, 24, 67), (24, 24, 60), (24, 12, 64)]
    assert heard("C2 E2 & G4 | D") == [(0, 24, 60), (0, 48, 67), (24, 24, 64), (48, 12, 62)]


@pytest.mark.parametrize(
    ("key", "music", "pitches"),
    [
        ("D", "F C =F F | F", [66, 61, 65, 65, 66]),
        ("Ador", "F C G", [66, 60, 67]),
        ("Emix", "G D C", [68, 62, 61]),
        ("F#m", "F G C", [66, 68, 61]),
        ("Bb", "B E", [70, 63]),
        ("A Minor", "G", [67]),
        ("EM", "G", [67]),
        ("C", "^F f | F", [66, 78, 65]),
        ("C", "^F-|F F", [66, 65]),
        ("C", "^F-|G F|F", [66, 67, 65, 65]),
        ("C", "_B ^^C __D", [70, 62, 60]),
        ("D exp _b ^f", "B F C", [70, 66, 60]),
        ("Dmix=c clef=treble", "C F", [60, 66]),
        ("Hp", "F C G", [66, 61, 67]),
        ("none", "F", [65]),
        ("C clef=treble-8", "C", [48]),
        ("C octave=1", "C", [72]),
    ],
)
def test_keys_and_accidentals(key: str, music: str, pitches: list[int]) -> None:
    assert [pitch for _, _, pitch in heard(music, key=key)] == pitches


def test_accidentals_reach_as_far_as_is_said() -> None:
    def pitches(how: str) -> list[int]:
        return [p for _, _, p in heard("^F f F", f"%%propagate-accidentals {how}\nL:1/4\n")]

    assert (pitches("pitch"), pitches("octave"), pitches("not")) == ([66, 78, 66], [66, 77, 66], [66, 77, 65])


@pytest.mark.parametrize(
    ("music", "order"),
    [
        ("C :| D", "CCD"),
        ("C |: D :| E", "CDDE"),
        ("|: C :: D :|", "CCDD"),
        ("|: C :||: D :|", "CCDD"),
        ("C :|\nD :|", "CCDD"),
        ("C || D :|", "CDD"),
        ("|: C || D :|", "CDCD"),
        ("|: C |1 D :|2 E || F", "CDCEF"),
        ("|: C |1 D :|2 E :| F :|", "CDCEFF"),
        ("|: C [1 D :| [2 E |]", "CDCE"),
        ("|: C |1,3 D :|2,4 E :| F", "CDCECDCEF"),
        ("|: C |1-2 D :|3 E |]", "CDCDCE"),
        ("|: C ::| D", "CCCD"),
        ("|: C |1 D :| E", "CDCE"),
        ("|: C |1 D |2 E |]", "CDCE"),
        ("|: C |\n|1 D :|\n|2 E |]", "CDCE"),
    ],
)
def test_repeats_and_endings_are_played_out(music: str, order: str) -> None:
    assert letters(music) == order


def test_a_pickup_and_the_short_bar_at_a_repeat() -> None:
    score = tune("G | CDEF | CDE :: G | CDEF | CDE :|")
    assert (score.pickup, score.metres) == (12, ((0, 4, 4),))
    assert score.bars[:3] == ((0, 12), (12, 60), (60, 108))


def test_an_irregular_bar_keeps_the_later_ones_on_their_lines() -> None:
    score = tune("CDEF | CD | CDEF | CDEF |]")
    assert score.bars == ((0, 48), (48, 72), (72, 120), (120, 168))


def test_fields_within_a_tune() -> None:
    score = tune("CDEF | [M:3/4] CDE |\nK:G\nM:6/8\nF3 |[Q:3/8=60] F2", head="Q:1/4=100\nM:4/4\nL:1/4\n")
    assert score.metres == ((0, 4, 4), (48, 3, 4), (84, 6, 8))
    assert score.keys == ((0, "C", "major"), (84, "G", "major"))
    assert score.tempos == ((0, 100.0), (120, 90.0))
    assert score.tracks[0].notes[-1].pitch == 66


def test_voices_become_tracks() -> None:
    head = 'X:1\nM:4/4\nL:1/4\nV:1 name="Fiddle"\nV:B clef=bass-8\nK:C\n'
    score = read_abc(head + "V:1\n%%MIDI program 40\nC4|D4\nV:B\nC4\n[V:1]E4\n")[0]
    assert [(t.name, t.program, [n.pitch for n in t.notes]) for t in score.tracks] == [
        ("Fiddle", 40, [60, 62, 64]),
        ("", 0, [48]),
    ]


def test_a_file_of_tunes() -> None:
    text = "%abc-2.1\nL:1/4\nR:reel\n\nX:1\nT:one\nK:C\nCD\n\nwords that are no tune\n\n"
    text += "X:2\nT:two\nR:Jig\nK:G\nF % hm\n"
    one, two = read_abc(text)
    assert (one.title, one.kind, [n.duration for n in one.tracks[0].notes]) == ("one", "reel", [12, 12])
    assert (two.title, two.kind, two.tracks[0].notes[0].pitch) == ("two", "jig", 66)
    assert len(split_abc(text.replace("\n", "\r\n"))) == 2


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "empty"),
        (" \n", "empty"),
        ("X:3\nT:Open\nCDE", "X:3 'Open': it has no K: field"),
        ("just words, no tune", "no K: field"),
        ("X:1\nK:H\nCDE", "K: 'H' is no key"),
        ("X:1\nK:C blue\nCDE", "mode 'blue'"),
        ("X:1\nM:3/5\nK:C\nC", "metre 3/5"),
        ("X:1\nM:six\nK:C\nC", "M: 'six'"),
        ("X:1\nL:0/8\nK:C\nC", "L: '0/8'"),
        ("X:1\nK:C\nCD\u00e9", "place 3"),
        ("X:1\nK:C\nC/0", "divides by 0"),
        ("X:1\nK:C\nC,,,,,,,", "pitch -"),
        ("X:1\nK:C\nC9999 " + "z9999 " * 200 + "D", "start"),
        ("X:1\nK:C\n|: C |99 D", "turns from 1 to 20"),
        ("X" * (LARGEST + 1), "at most"),
    ],
)
def test_wrong_text_says_what_is_wrong(text: str, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        read_abc(text)

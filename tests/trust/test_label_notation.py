"""Labels in MIDI, ABC and SVG: there, once, and the music is what it was."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from tokenloom.sound.abc import read_tune, write_abc
from tokenloom.sound.midi import read_midi, write_midi
from tokenloom.sound.roll import roll_svg
from tokenloom.trust.fields import WORDS, BadLabel, BadMedia, content_hash
from tokenloom.trust.notation import NOTATIONS, Notation, label_notation, labels_in

TUNE = "X:1\nT:A < title\nR:reel\nM:4/4\nL:1/8\nK:Ador\ncAAB cded|cAAB cdec|]\n"


def work(kind: Notation) -> bytes:
    score = read_tune(TUNE)
    return {"midi": write_midi(score), "abc": write_abc(score).encode(), "svg": roll_svg(score).encode()}[
        kind
    ]


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize("kind", NOTATIONS)
def test_both_labels_and_the_music(kind: Notation, lang: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKENLOOM_PRODUCER", "Press-001")
    plain = work(kind)
    assert labels_in(plain, kind) == []
    done = label_notation(plain, kind, lang)
    (label,) = labels_in(done, kind)
    assert (label.kind, label.producer, label.reserved1) == ("1", "Press-001", content_hash(plain))
    assert WORDS[lang].encode() in done
    assert label_notation(done, kind, lang) == done, "once is enough"
    if kind == "midi":
        assert read_midi(done) == read_midi(plain)
    elif kind == "abc":
        assert read_tune(done.decode()) == read_tune(plain.decode())
    else:
        root = ElementTree.fromstring(done.decode())
        texts = [one.text for one in root.iter() if one.get("class") == "label"]
        assert texts == [WORDS[lang]]


@pytest.mark.parametrize("kind", NOTATIONS)
def test_another_file_is_refused(kind: Notation) -> None:
    for data in (b"", b"MThd", b"hello", b"<svg></svg>"):
        with pytest.raises(BadMedia):
            label_notation(data, kind)
    with pytest.raises(ValueError, match="lang"):
        label_notation(work(kind), kind, "de")


def test_a_label_that_is_none_is_said() -> None:
    bad = work("abc").replace(b"T:", b'N:{"AIGC":{"Label":"1"}}\nT:')
    with pytest.raises(BadLabel):
        labels_in(bad, "abc")


def test_a_hidden_label_of_another_program_is_read(tmp_path: Path) -> None:
    done = label_notation(work("midi"), "midi")
    path = tmp_path / "a.mid"
    path.write_bytes(done)
    assert labels_in(path.read_bytes(), "midi")

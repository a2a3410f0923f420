"""Labels in MIDI, ABC and SVG: there, once, read back; the music is what it was; damage is said."""

from __future__ import annotations

import io
import re
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

import mido
import pytest
from damage import damaged
from hypothesis import given, settings

from tokenloom import trust
from tokenloom.sound.abc import read_tune, write_abc
from tokenloom.sound.midi import read_midi, write_midi
from tokenloom.sound.roll import roll_svg
from tokenloom.tasks.music_out import KINDS as MUSIC
from tokenloom.tasks.music_out import deliver
from tokenloom.trust.fields import WORDS, BadLabel, BadMedia, content_hash
from tokenloom.trust.notation import NOTATIONS, Notation, label_notation, labels_in, notation_hash
from tokenloom.trust.verify import inspect, kind_of

TUNE = "X:1\nT:A < title\nR:reel\nM:4/4\nL:1/8\nK:Ador\ncAAB cded|cAAB cdec|]\n"
ENDINGS: dict[Notation, str] = {"midi": "mid", "abc": "abc", "svg": "svg"}


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
    done = trust.label(kind, plain, lang=lang, produce_id="W-7")
    assert (done.label.kind, done.label.producer, done.label.produce_id) == ("1", "Press-001", "W-7")
    assert done.label.reserved1 == content_hash(plain)
    assert labels_in(done.data, kind) == [done.label]
    assert WORDS[lang].encode() in done.data
    assert trust.label(kind, done.data).data == done.data, "once is enough"
    if kind == "midi":
        assert read_midi(done.data) == read_midi(plain)
    elif kind == "abc":
        assert read_tune(done.data.decode()) == read_tune(plain.decode())
    else:
        texts = [one.text for one in ElementTree.fromstring(done.data.decode()).iter()]
        assert texts.count(WORDS[lang]) == 1


@pytest.mark.parametrize("kind", NOTATIONS)
def test_files_are_verified_by_their_ending(kind: Notation, tmp_path: Path) -> None:
    path = tmp_path / f"tune.{ENDINGS[kind]}"
    trust.label_work(path, work(kind))
    report = trust.verify(path)
    assert (report.kind, report.ok, report.visible, report.content) == (kind, True, True, "unchanged")
    assert kind_of(path.read_bytes()) == kind, "known without a name, too"
    assert trust.read_label(path.read_bytes()) == report.label
    assert "visible label: found" in report.lines()
    path.write_bytes(work(kind))
    assert not trust.verify(path).ok
    path.write_bytes(trust.label(kind, work(kind), visible=False).data)
    assert (trust.verify(path).ok, trust.verify(path).visible) == (True, False)


@pytest.mark.parametrize("kind", NOTATIONS)
def test_a_change_of_the_music_is_seen(kind: Notation) -> None:
    done = label_notation(work(kind), kind)
    old, new = {"midi": (b"\x90E", b"\x90F"), "abc": (b"cA AB", b"cA BB"), "svg": (b"<rect", b"<recT")}[kind]
    assert old in done
    assert inspect(done.replace(old, new, 1), kind).content == "changed"
    assert inspect(done, kind).content == "unchanged"


@pytest.mark.parametrize("kind", [kind for kind in MUSIC if kind not in ("ogg", "mp3", "flac")])
def test_all_that_leaves_is_verified(kind: str) -> None:
    data = deliver(read_tune(TUNE), kind)
    report = inspect(data, kind_of(data))
    assert (report.kind, report.ok, report.visible) == (kind, True, True)


@pytest.mark.parametrize("kind", NOTATIONS)
def test_another_file_is_refused(kind: Notation, tmp_path: Path) -> None:
    for data in (b"", b"MThd", b"hello", b"<svg", b"<svg></svg>", b"X:1"):
        with pytest.raises(BadMedia):
            label_notation(data, kind)
    with pytest.raises(ValueError, match="lang"):
        label_notation(work(kind), kind, "de")
    path = tmp_path / f"text.{ENDINGS[kind]}"
    path.write_text("hello")
    with pytest.raises(BadMedia, match=f"is no {kind.upper()} file"):
        trust.verify(path)
    path.write_bytes(label_notation(work(kind), kind)[: -len(work(kind)) // 2])
    if kind == "abc":  # half a text is a text; it is not that which was labelled
        assert trust.verify(path).content == "changed"
    else:
        with pytest.raises(BadMedia, match="cut off"):
            trust.verify(path)


def test_a_label_that_is_none_is_said() -> None:
    bad = work("abc").replace(b"T:", b'N:{"AIGC":{"Label":"1"}}\nT:')
    with pytest.raises(BadLabel):
        labels_in(bad, "abc")
    report = inspect(bad, "abc")
    assert not report.ok
    assert "lacks" in report.hidden[0].problem


def test_a_label_that_another_program_wrote() -> None:
    """mido puts its events behind the title's, and the JSON is spaced."""
    file = mido.MidiFile(file=io.BytesIO(work("midi")))
    label = trust.label("midi", work("midi")).label
    file.tracks[0].insert(1, mido.MetaMessage("text", text=label.wrapped().replace('":', '": ')))
    buffer = io.BytesIO()
    file.save(file=buffer)
    report = inspect(buffer.getvalue(), "midi")
    assert (report.label, report.visible) == (label, False)


def test_a_tune_below_the_head_of_its_file(tmp_path: Path) -> None:
    text = "%abc-2.1\r\nI:abc-charset utf-8\r\n\r\n" + TUNE.replace("\n", "\r\n")
    done = trust.label("abc", text)
    assert b"\r\nN:" in done.data
    assert b"\n" not in done.data.replace(b"\r\n", b"")
    (tmp_path / "a.abc").write_bytes(done.data)
    assert trust.verify(tmp_path / "a.abc").ok


@pytest.mark.parametrize(
    ("head", "side"),
    [
        ('viewBox="-50 -20 400 300"', 300),
        ("viewBox='0,0,90,200' width='9cm'", 90),
        ('width="640px" height="480"', 480),
    ],
)
def test_the_words_are_as_high_as_is_asked_for(head: str, side: int) -> None:
    plain = f'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg" {head}><path d="M0 0"/></svg>'
    done = trust.label("svg", plain).data.decode()
    found = re.search(r'font-size="([\d.]+)"', done)
    assert found is not None
    assert float(found[1]) * 0.7 >= 0.05 * side, "a capital is 0.7 of a letter's size"
    ElementTree.fromstring(done)
    assert kind_of(done.encode()) == "svg"


def test_an_svg_without_a_size_is_refused() -> None:
    for head in ("", 'viewBox="0 0 1"', 'width="100%" height="100%"', 'viewBox="0 0 0 10"'):
        with pytest.raises(BadMedia, match="size"):
            trust.label("svg", f"<svg {head}></svg>")


@pytest.mark.parametrize("kind", NOTATIONS)
def test_damage_is_read_or_refused_in_words(kind: Notation) -> None:
    met: Counter[str] = Counter()

    @settings(max_examples=75, deadline=None)
    @given(damaged(label_notation(work(kind), kind)))
    def body(data: bytes) -> None:
        try:
            content = inspect(data, kind).content
            if content == "unchanged":
                assert notation_hash(data, kind) == content_hash(work(kind))
            done = trust.label(kind, data)
            assert inspect(done.data, kind).label == done.label
            met[content] += 1
        except BadMedia:
            met["refused"] += 1

    body()
    assert met["refused"]
    assert met.total() > met["refused"]

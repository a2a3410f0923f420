"""Labels in FLAC, OGG and MP3: hidden ones read back here and by another reader, the sound untouched."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

from tokenloom.sound.audio import encode, read_audio
from tokenloom.trust import BadMedia, label, label_work, read_label, verify
from tokenloom.trust.audio import hidden_in, label_sound, sounds_label, with_rhythm
from tokenloom.trust.verify import inspect

pytest.importorskip("soundfile", reason="needs soundfile")
pytest.importorskip("soxr", reason="needs soxr")

KINDS = (("flac", "flac"), ("ogg", "ogg"), ("opus", "ogg"), ("mp3", "mp3"))


def sound(seconds: float = 2.0, rate: int = 24_000) -> np.ndarray:
    rng = np.random.default_rng(1)
    t = np.arange(round(seconds * rate)) / rate
    return (0.2 * np.sin(2 * np.pi * 300 * t) + 0.02 * rng.standard_normal(len(t))).astype(np.float32)


@pytest.mark.parametrize(("form", "kind"), KINDS)
def test_a_label_is_read_back_and_the_sound_is_the_same(form: str, kind: str) -> None:
    data = encode(sound(), 24_000, form)
    work = label(kind, data)
    assert work.label.kind == "1"
    report = inspect(work.data, kind)
    assert report.ok
    assert report.content == "unchanged"
    assert not report.visible
    assert read_label(work.data) == work.label
    assert np.array_equal(read_audio(work.data)[0], read_audio(data)[0])
    assert label(kind, work.data).data == work.data, "one label a file"


@pytest.mark.parametrize(("form", "kind"), KINDS)
def test_another_reader_finds_the_label(form: str, kind: str) -> None:
    mutagen = pytest.importorskip("mutagen", reason="needs mutagen")
    data = label_sound(encode(sound(0.5), 24_000, form), kind)
    tags = mutagen.File(io.BytesIO(data)).tags
    value = tags["TXXX:AIGC"].text[0] if kind == "mp3" else tags["AIGC"][0]
    assert value == hidden_in(data, kind)[0][1]


@pytest.mark.parametrize(("form", "kind"), KINDS)
def test_tags_of_another_writer_stay(form: str, kind: str) -> None:
    mutagen = pytest.importorskip("mutagen", reason="needs mutagen")
    file = io.BytesIO(encode(sound(0.5), 24_000, form))
    tagged = mutagen.File(file, easy=True)
    if tagged.tags is None:
        tagged.add_tags()
    tagged["title"] = "A tune " * 40_000 if form == "opus" else "A tune"
    file.seek(0)
    tagged.save(file)
    data = label_sound(file.getvalue(), kind)
    file = io.BytesIO(data)
    assert mutagen.File(file, easy=True)["title"] == list(tagged["title"])
    assert inspect(data, kind).ok
    assert len(read_audio(data)[0])


@pytest.mark.parametrize(("form", "kind"), KINDS)
def test_changed_sound_is_seen_and_changed_tags_are_not(form: str, kind: str) -> None:
    data = bytearray(label_sound(encode(sound(), 24_000, form), kind))
    data[-200] ^= 1
    assert inspect(bytes(data), kind).content == "changed"


@pytest.mark.parametrize(("form", "kind"), KINDS)
def test_tones_put_in_before_are_recognised(form: str, kind: str) -> None:
    data = encode(with_rhythm(sound(), 24_000), 24_000, form)
    assert sounds_label(data)
    assert not sounds_label(encode(sound(), 24_000, form))
    assert inspect(label_sound(data, kind), kind).visible
    stereo = np.stack([sound(), sound()], axis=1)
    assert with_rhythm(stereo, 24_000).shape == (len(with_rhythm(sound(), 24_000)), 2)


@pytest.mark.parametrize(("form", "kind"), KINDS)
def test_files_are_labelled_and_verified_by_their_ending(form: str, kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{form}"
    given = label_work(path, encode(sound(0.5), 24_000, form))
    report = verify(path)
    assert report.kind == kind
    assert report.label == given
    assert any("audible label" in line for line in report.lines())


@pytest.mark.parametrize(("form", "kind"), KINDS)
def test_damaged_files_are_refused(form: str, kind: str) -> None:
    data = encode(sound(0.5), 24_000, form)
    for bad in (
        b"",
        b"hello",
        data[:20] if kind == "flac" else data[:2],
        b"OggS" + bytes(50),
        b"ID3\x02" + bytes(9),
    ):
        with pytest.raises(BadMedia):
            hidden_in(bad, kind)
    if kind == "ogg":
        with pytest.raises(BadMedia, match="cut off"):
            hidden_in(data[:-50], kind)
    for cut in range(0, len(data), 97):  # no other error than BadMedia, wherever it is cut
        try:
            hidden_in(data[:cut], kind)
        except BadMedia:
            continue

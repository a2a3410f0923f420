"""Texts in other encodings are read as what they are, and that is said."""

from __future__ import annotations

import codecs
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reading import PACKINGS, listen

from tokenloom.data.encoding import detect
from tokenloom.data.record import DataError

SIMPLIFIED = "鲸鱼是生活在海洋中的大型动物，用肺呼吸。\n春眠不觉晓，处处闻啼鸟。夜来风雨声，花落知多少。\n"
TRADITIONAL = "鯨魚是生活在海洋中的大型動物，用肺呼吸。\n春眠不覺曉，處處聞啼鳥。夜來風雨聲，花落知多少。\n"
FRENCH = "L'été dernier, j'ai vu à côté de la forêt un garçon qui mangeait.\nOù étiez-vous, naïve élève ?\n"
GERMAN = "Füße, Bäume und Öl über der Straße; ein größerer Käfer läuft grüßend vorüber.\n"
ENGLISH = "Call me Ishmael. Some years ago, never mind how long precisely.\n"


@pytest.mark.parametrize(
    ("text", "encoding", "name"),
    [
        (SIMPLIFIED, "gb18030", "gb18030"),
        (SIMPLIFIED[:12], "gb18030", "gb18030"),
        (ENGLISH * 20 + SIMPLIFIED, "gb18030", "gb18030"),
        (TRADITIONAL, "big5", "big5"),
        (FRENCH, "latin-1", "cp1252"),
        (GERMAN, "latin-1", "cp1252"),
        (ENGLISH * 50 + GERMAN, "latin-1", "cp1252"),
        (FRENCH.replace("'", "’"), "cp1252", "cp1252"),
        (ENGLISH, "utf-16", "utf-16-le"),
        (ENGLISH, "utf-16-le", "utf-16-le"),
        (SIMPLIFIED, "utf-16-le", "utf-16-le"),
        (ENGLISH, "utf-16-be", "utf-16-be"),
        (SIMPLIFIED, "utf-16-be", "utf-16-be"),
        (ENGLISH, "utf-32", "utf-32-le"),
        (ENGLISH, "utf-32-be", "utf-32-be"),
        (SIMPLIFIED, "utf-8", "utf-8"),
        (SIMPLIFIED, "utf-8-sig", "utf-8"),
        (ENGLISH, "ascii", "utf-8"),
    ],
)
@pytest.mark.parametrize("packing", ["", ".gz"])
def test_an_encoding_is_told(tmp_path: Path, text: str, encoding: str, name: str, packing: str) -> None:
    path = tmp_path / f"a.txt{packing}"
    path.write_bytes(PACKINGS[packing](text.encode(encoding)))
    heard = listen(path, unit="line")
    assert "\n".join(heard.texts) == text.strip()
    assert heard.notes == ([] if name == "utf-8" else [f"{path} is read as {name}"])
    assert heard.records[-1].source == f"{path}:{text.strip().count(chr(10)) + 1}"


def test_several_encodings_in_one_set_are_reported(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(SIMPLIFIED.encode("gb18030"))
    (tmp_path / "b.txt").write_bytes(SIMPLIFIED.encode())
    (tmp_path / "c.txt").write_bytes(ENGLISH.encode())
    heard = listen(tmp_path)
    assert heard.texts[0] == heard.texts[1]
    assert heard.notes[-1] == "mixed encodings: utf-8 2, gb18030 1"


def test_several_encodings_in_one_file_are_reported_line_by_line(tmp_path: Path) -> None:
    lines = [SIMPLIFIED.encode()] * 3 + [SIMPLIFIED.encode("gb18030")]
    (tmp_path / "a.txt").write_bytes(b"".join(lines))
    heard = listen(tmp_path, unit="line")
    assert len(heard.texts) == 6
    assert heard.reasons(tmp_path)[0].startswith("a.txt:7: it is not UTF-8: byte 0x")
    assert heard.reasons(tmp_path)[0].endswith("; it looks like gb18030")


def test_an_encoding_asked_for_is_held_to(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes("été".encode("latin-1"))
    assert listen(path, encoding="latin-1").texts == ["été"]
    with pytest.raises(DataError, match=r"a\.txt:1: it is not UTF-8"):
        listen(path, encoding="utf-8")
    with pytest.raises(DataError, match="encoding: found 'klingon'; allowed: an encoding Python knows"):
        listen(path, encoding="klingon")
    path.write_bytes("日本語".encode("utf-16"))
    assert listen(path, encoding="utf-16").texts == ["日本語"]


def test_half_a_character_at_the_end_of_the_head_is_none_of_another_encoding() -> None:
    assert detect(("a" + "文" * 50_000).encode()[:100_000]) == "utf-8"


def test_a_broken_byte_in_one_long_line_does_not_make_another_encoding() -> None:
    paragraph = SIMPLIFIED.replace("\n", "")
    assert detect(f"{ENGLISH}{paragraph}".encode() + b"\xff\xe4\xbd " + paragraph.encode()) == "utf-8"
    assert detect((SIMPLIFIED * 20).replace("\n", "").encode("gb18030")) == "gb18030"


def test_wide_text_that_is_cut_or_broken(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(
        codecs.BOM_UTF16_LE + "one\ntwo\n".encode("utf-16-le") + b"\x00\xd8\n\x00" + b"x\x00\n\x00"
    )
    heard = listen(path, unit="line")
    assert heard.texts == ["one", "two", "x"]
    assert heard.reasons(tmp_path) == ["a.txt:3: it is not UTF-16-LE throughout"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(
    st.lists(
        st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=30),
        min_size=1,
        max_size=5,
    ),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32"]),
)
def test_marked_text_always_comes_back(tmp_path: Path, lines: list[str], encoding: str) -> None:
    wanted = [line for line in lines if line.strip() and "\ufeff" not in line and "\ufffd" not in line]
    if not wanted:
        return
    (tmp_path / "a.txt").write_bytes("\n".join(wanted).encode(encoding))
    assert listen(tmp_path, unit="line").texts == wanted

"""What is broken is said with its place and skipped; too much of it stops the reading."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
from pathlib import Path

import pytest
from reading import PACKINGS, listen, pdf_of

from tokenloom.data.record import DataError, Limits, TooManyBad

GOOD = '{"text": "fine"}\n'


def test_bad_lines_of_every_kind(tmp_path: Path) -> None:
    lines = [
        '{"text": "öne"}'.encode(),
        b'{"text": "cut',
        '{"text": "caf\u00e9"}'.encode("latin-1"),
        b'{"body": "x"}',
        b'{"text": 5}',
        b'{"text": null}',
        b'{"text": ["a"]}',
        b'{"text": "nul\\u0000l"}',
        b'{"text": "nul\0l"}',
        b'{"text": "half \\ud83d"}',
        b'{"text": "  "}',
        b"[1, 2]",
        b"17",
        b"[" * 100_000,
        b'{"text": "last"}',
    ]
    (tmp_path / "a.jsonl").write_bytes(b"\n".join(lines))
    heard = listen(tmp_path)
    assert heard.texts == ["öne", "last"]
    assert heard.places(tmp_path) == ["a.jsonl:1", "a.jsonl:15"]
    said = heard.reasons(tmp_path)
    assert [line.split(" ")[0] for line in said] == [f"a.jsonl:{n}:" for n in range(2, 15)]
    expected = [
        "Unterminated string starting at column 10", "it is not UTF-8: byte 0xe9 at column 14",
        "it has no field 'text'; its fields are: body", "field 'text' is a number; wanted a text",
        "field 'text' is null", "field 'text' is a list", "it holds null bytes", "it holds null bytes",
        "half of a surrogate pair", "the text is empty", "found a list; wanted an object or a text",
        "found a number", "it is not JSON",
    ]  # fmt: skip
    assert all(reason in line for reason, line in zip(expected, said, strict=True)), said


def test_too_many_bad_records_stop_the_run_and_the_first_are_listed(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(GOOD * 500 + "bad\n" * 19 + GOOD * 500)
    assert len(listen(path).bad) == 19  # more than 1 %, but fewer than 20
    path.write_text(GOOD * 500 + "bad\n" * 25 + GOOD * 500)
    with pytest.raises(TooManyBad) as caught:
        listen(path)
    message = str(caught.value)
    assert "20 of the first 520 records are bad, and the limits are 1.00% and 20" in message
    assert f"{path}:501: it is not JSON" in message
    assert f"{path}:505: it is not JSON" in message
    assert f"{path}:506:" not in message
    assert len(listen(path, limits=Limits(bad_share=0.05)).texts) == 1000
    with pytest.raises(TooManyBad, match="3 of the first 503"):
        listen(path, limits=Limits(bad_share=0.0, bad_count=3))
    assert str(pickle.loads(pickle.dumps(caught.value))) == message


def test_a_thousand_good_ones_carry_twenty_bad_ones(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(GOOD * 3000 + "bad\n" * 25)
    heard = listen(tmp_path)
    assert (len(heard.records), len(heard.bad)) == (3000, 25)


@pytest.mark.parametrize("packing", [p for p in PACKINGS if p])
def test_a_packed_file_cut_short_gives_what_came_before(tmp_path: Path, packing: str) -> None:
    rows = "".join(
        json.dumps({"text": f"{n} {hashlib.blake2b(b'%d' % n, digest_size=9).hexdigest()}"}) + "\n"
        for n in range(30_000 if packing == ".bz2" else 8_000)
    )
    whole = PACKINGS[packing](rows.encode())
    (tmp_path / f"a.jsonl{packing}").write_bytes(whole[: len(whole) - 20])
    heard = listen(tmp_path)
    assert rows.startswith("".join(json.dumps({"text": text}) + "\n" for text in heard.texts))
    assert len(heard.texts) > 100 or packing == ".bz2"
    (said,) = heard.reasons(tmp_path)[-1:]
    assert said.startswith(f"a.jsonl{packing}:{len(heard.texts) + 1}: the file is damaged from here on: ")


@pytest.mark.parametrize("name", ["a.txt", "a.html", "a.pdf", "a.json", "a.csv", "a.parquet"])
@pytest.mark.parametrize("packing", [".gz", ".zst"])
def test_every_format_says_that_its_packing_is_damaged(tmp_path: Path, name: str, packing: str) -> None:
    data = PACKINGS[packing](b"text,a\n" * 2000)
    (tmp_path / (name + packing)).write_bytes(data[:-5])
    (tmp_path / "good.jsonl").write_text(GOOD)
    heard = listen(tmp_path)
    assert heard.texts[-1] == "fine"
    assert any(bad.place.startswith(str(tmp_path / (name + packing))) for bad in heard.bad)


def test_one_very_long_line_is_refused_and_the_next_is_read(tmp_path: Path) -> None:
    with (tmp_path / "a.jsonl").open("wb") as file:
        file.write(GOOD.encode() + b'{"text": "')
        for _ in range(60):
            file.write(b"x" * 1_000_000)
        file.write(b'"}\n' + GOOD.encode())
    heard = listen(tmp_path, limits=Limits(record_bytes=1 << 20))
    assert heard.places(tmp_path) == ["a.jsonl:1", "a.jsonl:3"]
    assert heard.reasons(tmp_path) == ["a.jsonl:2: the line has 60,000,013 bytes; the limit is 1,048,576"]


def test_json_that_breaks_off_says_where(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('[\n{"text": "a"},\n{"text": "b"},\n{"text": }, {"text": "c"}]')
    (tmp_path / "b.json").write_text('[{"text": "d"}, {"text": "e"')
    (tmp_path / "c.json").write_text('[{"text": "f"}] x')
    heard = listen(tmp_path)
    assert heard.texts == ["a", "b", "d", "f"]
    said = heard.reasons(tmp_path)
    assert [line.split(": ")[0] for line in said] == ["a.json:4", "b.json:1", "c.json:1"]
    assert said[0].endswith("value 3 and what follows is lost")
    (tmp_path / "a.json").write_text(json.dumps([{"text": "x" * 5_000_000}]))
    with pytest.raises(DataError, match="a value is longer than 1,000,000 bytes, the limit"):
        listen(tmp_path / "a.json", limits=Limits(record_bytes=1_000_000))


def test_bad_rows_of_a_table(tmp_path: Path) -> None:
    rows = [
        "text,n",
        "one,1",
        "two",
        "three,3,3",
        '"never closed,4',
        "fünf,5",
        '"a"b,6',
        '"seven',
        'lines",7',
        "é,8",
    ]
    (tmp_path / "a.csv").write_bytes("\n".join(rows).encode().replace("é".encode(), b"\xe9"))
    heard = listen(tmp_path)
    assert heard.texts == ["one", "fünf", "seven\nlines"]
    assert [line.split(": ")[0] for line in heard.reasons(tmp_path)] == [
        f"a.csv:{n}" for n in (3, 4, 5, 7, 10)
    ]  # fmt: skip
    (tmp_path / "a.csv").write_text("text,text\na,b\n")
    with pytest.raises(DataError, match="names a column twice in its first line: text"):
        listen(tmp_path)


def test_a_bad_value_of_a_parquet_file_costs_its_row_alone(tmp_path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    bad = pa.array([b"a", b"\xff\xfe", b"c"]).cast(pa.binary()).view(pa.string())
    parquet.write_table(pa.table({"text": bad}), tmp_path / "a.parquet")
    late = pa.array([0, 2**61, 0], pa.timestamp("ms"))
    parquet.write_table(pa.table({"text": ["a", "b", "c"], "when": late}), tmp_path / "b.parquet")
    for name in ("a.parquet", "b.parquet"):
        heard = listen(tmp_path / name, limits=Limits(bad_share=0.5))
        assert heard.texts == ["a", "c"]
        (said,) = [str(one).removeprefix(f"{tmp_path}/") for one in heard.bad]
        assert said.startswith(f"{name}:2: it holds a value that cannot be read: ")


def test_a_broken_parquet_file(tmp_path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    out = io.BytesIO()
    parquet.write_table(pa.table({"text": ["a", None, "c"]}), out)
    (tmp_path / "a.parquet").write_bytes(out.getvalue())
    (tmp_path / "b.parquet").write_bytes(out.getvalue()[:-30])
    heard = listen(tmp_path)
    assert heard.texts == ["a", "c"]
    said = heard.reasons(tmp_path)
    assert said[0] == "a.parquet:2: field 'text' is null; wanted a text"
    assert said[1].startswith("b.parquet:1: the Parquet file is damaged from here on: ")


def test_bad_pdfs(tmp_path: Path) -> None:
    from pypdf import PdfReader, PdfWriter

    good = pdf_of(["Some text"])
    (tmp_path / "a.pdf").write_bytes(good)
    for name, password in (("b.pdf", "secret"), ("c.pdf", "")):
        writer = PdfWriter(clone_from=PdfReader(io.BytesIO(good)))
        writer.encrypt(user_password=password, owner_password="owner", algorithm="RC4-128")
        with (tmp_path / name).open("wb") as file:
            writer.write(file)
    (tmp_path / "d.pdf").write_bytes(pdf_of([""]))
    (tmp_path / "e.pdf").write_bytes(b"%PDF-1.4\nnothing")
    heard = listen(tmp_path)
    assert heard.texts == ["Some text", "Some text"]
    said = heard.reasons(tmp_path)
    assert said[0] == "b.pdf: the PDF is encrypted, and opens with a password only"
    assert said[1] == "d.pdf: the PDF has 1 pages and no text: is it a scan?"
    assert said[2].startswith("e.pdf: the PDF is damaged")


def test_a_text_with_a_bad_line_is_bad_as_a_whole(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(
        "good é\nbad \ufffd\n".encode().replace("\ufffd".encode(), b"\xff") + b"more\n"
    )
    (tmp_path / "b.txt").write_bytes(b"null\0byte\n")
    (tmp_path / "c.txt").write_text("fine\n")
    heard = listen(tmp_path)
    assert heard.texts == ["fine"]
    assert heard.reasons(tmp_path) == [
        "a.txt:2: it is not UTF-8: byte 0xff at column 5",
        "b.txt:1: it holds null bytes",
    ]


def test_a_long_text_is_cut_at_blank_lines_and_that_is_said(tmp_path: Path) -> None:
    parts = [f"paragraph {n} " + "word " * 50 for n in range(100)]
    (tmp_path / "a.txt").write_text("\n\n".join(parts))
    heard = listen(tmp_path, limits=Limits(document_bytes=5_000))
    assert "\n\n".join(heard.texts).split() == "\n\n".join(parts).split()
    assert all(text.startswith("paragraph") for text in heard.texts)
    assert [int(r.source.rpartition(":")[2]) % 2 for r in heard.records] == [1] * len(heard.records)
    assert heard.notes == [
        f"{tmp_path}/a.txt is longer than 5,000 bytes: cut at blank lines into {len(heard.texts)} documents"
    ]
    (tmp_path / "a.txt").write_text("\n\n".join(["字" * 1_000] * 4))
    assert len(listen(tmp_path, limits=Limits(document_bytes=5_000)).texts) == 2  # bytes, not characters


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bad_share": 1.5}, "bad_share: found 1.5; allowed: a share from 0 to 1"),
        ({"bad_count": 0}, "bad_count: found 0; allowed: 1 or more"),
    ],
)
def test_limits_that_mean_nothing(options: dict[str, float], message: str) -> None:
    with pytest.raises(DataError, match=message):
        Limits(**options)  # type: ignore[arg-type]

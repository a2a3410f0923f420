"""Every format, plain and packed, is read back as it was written."""

from __future__ import annotations

import csv
import gzip
import io
import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reading import PACKINGS, listen, pdf_of

from tokenloom.data.record import DataError, Limits, TooManyBad

TEXTS = [
    "The whale.",
    "春眠不觉晓，\n处处闻啼鸟。",
    'quoted "text", with; marks\tand tabs',
    "e\u0301 😀 \u2028 line",
]
ROWS = [{"text": text, "id": number, "lang": "x"} for number, text in enumerate(TEXTS)]
PAGE = """<html><head><title>On  whales</title></head><body><nav><a href="/">Home</a> <i>About</i></nav>
<article><h1>Whales</h1><p>The whale is a large animal that lives in the sea. It breathes air as we do.</p>
<p>鲸鱼是生活在海洋中的大型动物。它用肺呼吸，每隔一段时间都要浮出水面。</p></article>
<script>alert(1)</script><footer>Imprint, privacy</footer></body></html>"""


def as_csv(delimiter: str) -> bytes:
    out = io.StringIO()
    writer = csv.DictWriter(out, ["text", "id", "lang"], delimiter=delimiter)
    writer.writeheader()
    writer.writerows(ROWS)
    return out.getvalue().encode()


def as_parquet(rows: list[dict[str, Any]], group: int = 2) -> bytes:
    import pyarrow as pa
    from pyarrow import parquet

    out = io.BytesIO()
    parquet.write_table(pa.Table.from_pylist(rows), out, row_group_size=group)
    return out.getvalue()


FILES: dict[str, tuple[bytes, list[str]]] = {
    "a.jsonl": ("\n".join(map(json.dumps, ROWS)).encode() + b"\n\n", TEXTS),
    "b.ndjson": ("\n".join(json.dumps(r, ensure_ascii=False) for r in ROWS).encode(), TEXTS),
    "c.json": (json.dumps(ROWS, indent=1, ensure_ascii=False).encode(), TEXTS),
    "d.json": ("".join(map(json.dumps, ROWS)).encode(), TEXTS),
    "e.json": (json.dumps(TEXTS).encode(), TEXTS),
    "f.csv": (as_csv(","), TEXTS),
    "g.csv": (as_csv(";"), TEXTS),
    "h.tsv": (as_csv("\t"), TEXTS),
    "i.parquet": (as_parquet(ROWS), TEXTS),
    "j.txt": ("\ufeffOne\r\nline\r\n\r\nand more  \r\n".encode(), ["One\nline\n\nand more"]),
    "k.md": (b"# Title\n\n* a list\n", ["# Title\n\n* a list"]),
    "l.pdf": (pdf_of(["First page", "", "Third page"]), ["First page\n\nThird page"]),
    "m": ("no ending, but named: 文".encode(), ["no ending, but named: 文"]),
}  # fmt: skip


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("name", FILES)
def test_a_file_is_read_back(tmp_path: Path, name: str, packing: str) -> None:
    data, texts = FILES[name]
    path = tmp_path / (name + packing)
    path.write_bytes(PACKINGS[packing](data))
    heard = listen(path)
    assert (heard.texts, heard.bad) == (texts, [])


@pytest.mark.parametrize("packing", ["", ".gz"])
def test_a_page_gives_its_main_text_and_title(tmp_path: Path, packing: str) -> None:
    (tmp_path / f"a.html{packing}").write_bytes(PACKINGS[packing](PAGE.encode()))
    (record,) = listen(tmp_path).records
    assert "breathes air as we do." in record.text
    assert "每隔一段时间都要浮出水面" in record.text
    assert not [word for word in ("Home", "About", "alert", "Imprint") if word in record.text]
    assert record.meta == {"title": "On whales"}


def test_a_page_is_read_in_the_encoding_it_names(tmp_path: Path) -> None:
    page = PAGE.replace(
        "<head>", '<head><meta http-equiv="Content-Type" content="text/html; charset=gb2312">'
    )
    (tmp_path / "a.html").write_bytes(page.encode("gb18030"))
    (record,) = listen(tmp_path).records
    assert "鲸鱼是生活在海洋中的大型动物" in record.text


@pytest.mark.parametrize("name", ["a.jsonl", "c.json", "f.csv", "i.parquet"])
def test_other_fields_are_kept_with_their_place(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(FILES[name][0])
    heard = listen(tmp_path)
    ids = [record.meta["id"] for record in heard.records]
    assert [int(i) for i in ids] == [0, 1, 2, 3]
    assert all(set(record.meta) == {"id", "lang"} for record in heard.records)
    starts = {
        "a.jsonl": [1, 2, 3, 4],
        "c.json": [2, 7, 12, 17],
        "f.csv": [2, 3, 5, 6],
        "i.parquet": [1, 2, 3, 4],
    }
    assert heard.places(tmp_path) == [f"{name}:{line}" for line in starts[name]]


def test_fields_by_name_by_path_and_joined(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"title": "T", "doc": {"body": "B"}, "n": 1}\n')
    (record,) = listen(tmp_path, text_field=["title", "doc.body"]).records
    assert (record.text, record.meta) == ("T\n\nB", {"doc": {"body": "B"}, "n": 1})


def test_units_of_a_text_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("\n\none\ntwo\n\n\nthree\n")
    assert [(r.text, r.source[-1]) for r in listen(path).records] == [("one\ntwo\n\n\nthree", "3")]
    assert [(r.text, r.source[-1]) for r in listen(path, unit="paragraph").records] == [
        ("one\ntwo", "3"),
        ("three", "7"),
    ]
    assert [(r.text, r.source[-1]) for r in listen(path, unit="line").records] == [
        ("one", "3"), ("two", "4"), ("three", "7")
    ]  # fmt: skip
    with pytest.raises(DataError, match="unit: found 'page'; allowed: document, paragraph, line"):
        listen(path, unit="page")


@pytest.mark.parametrize(
    ("name", "columns"), [("a.csv", b"id,body\n1,x\n"), ("a.parquet", as_parquet([{"id": 1, "body": "x"}]))]
)
def test_a_table_without_the_field_is_an_error_that_names_its_columns(
    tmp_path: Path, name: str, columns: bytes
) -> None:
    (tmp_path / name).write_bytes(columns)
    with pytest.raises(DataError, match=rf"{name} has no column 'text'; its columns are: id, body\."):
        listen(tmp_path / name)
    assert listen(tmp_path, text_field="body").texts == ["x"]


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("m.csv", b"id,body\n" + b"1,x\n" * 50),
        ("m.tsv", b"text\ttext\n" + b"1\tx\n" * 50),
        ("m.parquet", as_parquet([{"id": 1, "body": "x"}] * 50)),
        ("m.jsonl", b'{"id": 1, "body": "x"}\n' * 50),
        ("m.jsonl", b'{"id": 1, "body": "x"}\n' * 3),
        ("m.json", b"[" + b'{"id": 1, "body": "x"}, ' * 50 + b"{}]"),
        ("m.jsonl.gz", gzip.compress(b'{"id": 1, "body": "x"}\n' * 50_000, mtime=0)),
    ],
    ids=["csv", "tsv", "parquet", "jsonl", "short jsonl", "json", "packed jsonl"],
)
def test_a_file_of_a_folder_without_the_field_is_one_bad_record(
    tmp_path: Path, name: str, data: bytes
) -> None:
    (tmp_path / name).write_bytes(data)
    (tmp_path / "a.txt").write_text("a")
    (tmp_path / "z.jsonl").write_text('{"text": "z"}\n')
    done: list[tuple[int, int]] = []
    heard = listen(tmp_path, on_progress=lambda *at: done.append(at))
    assert heard.texts == ["a", "z"]
    (said,) = heard.reasons(tmp_path)
    assert said.startswith(f"{name}:1: it ")
    assert "id, body" in said or "names a column twice" in said
    assert said.endswith("the file is skipped")
    assert done[-1][0] == done[-1][1], "what was skipped counts as read"
    assert listen(f"{tmp_path}/*.*").texts == ["a", "z"], "found by a glob, too"
    with pytest.raises(DataError):
        listen(tmp_path / name)
    with pytest.raises(DataError):
        listen(tmp_path / "a.txt", tmp_path / name, limits=Limits(bad_count=3))
    with pytest.raises(TooManyBad, match="1 of the first 2"):
        listen(tmp_path, limits=Limits(bad_count=1))


def test_a_file_whose_later_lines_have_the_field_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"body": "x"}\n{bad\n{"body": "y"}\n{"text": "z"}\n{"body": "x"}\n')
    heard = listen(tmp_path)
    assert heard.texts == ["z"]
    assert sorted(line.split(" ")[0] for line in heard.reasons(tmp_path)) == [
        "a.jsonl:1:", "a.jsonl:2:", "a.jsonl:3:", "a.jsonl:5:"
    ]  # fmt: skip


class Pipe:
    """Standard input with these bytes, given in pieces."""

    def __init__(self, data: bytes) -> None:
        self.buffer = io.BytesIO(data)


@pytest.mark.parametrize(
    ("data", "texts", "said"),
    [
        (b'{"text": "a"}\n{"text": "b"}\n', ["a", "b"], "JSON lines"),
        ("一行\n\nanother\n".encode(), ["一行", "another"], "one text a line"),
        (gzip.compress(b"packed\n", mtime=0), ["packed"], "one text a line"),
    ],
)
def test_a_pipe(monkeypatch: pytest.MonkeyPatch, data: bytes, texts: list[str], said: str) -> None:
    monkeypatch.setattr("sys.stdin", Pipe(data))
    heard = listen("-")
    assert heard.texts == texts
    assert heard.notes == [f"standard input is read as {said}"]
    assert heard.records[0].source == "-:1"


plain_text = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=40
)
texts = plain_text.filter(lambda text: bool(text.strip()))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None)
@given(st.lists(texts, min_size=1, max_size=8), st.sampled_from(list(PACKINGS)))
def test_any_texts_come_back(tmp_path: Path, given_texts: list[str], packing: str) -> None:
    rows = [{"text": text} for text in given_texts]
    (tmp_path / f"a.jsonl{packing}").write_bytes(PACKINGS[packing]("\n".join(map(json.dumps, rows)).encode()))
    (tmp_path / f"b.json{packing}").write_bytes(
        PACKINGS[packing](json.dumps(rows, ensure_ascii=False).encode())
    )
    (tmp_path / f"c.parquet{packing}").write_bytes(PACKINGS[packing](as_parquet(rows)))
    names = [f"{name}{packing}" for name in ("a.jsonl", "b.json", "c.parquet")]
    heard = listen(*(tmp_path / name for name in names))
    assert heard.texts == given_texts * 3
    assert heard.bad == []


csv_texts = st.text(st.sampled_from('ab,;"\t\n é文'), min_size=1, max_size=12).filter(
    lambda text: bool(text.strip())
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None)
@given(st.lists(csv_texts, min_size=1, max_size=6), st.sampled_from([",", "\t"]))
def test_any_table_comes_back(tmp_path: Path, given_texts: list[str], delimiter: str) -> None:
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter)
    writer.writerows([["text", "n"], *([text, 1] for text in given_texts)])
    path = tmp_path / ("a.csv" if delimiter == "," else "a.tsv")
    path.write_bytes(out.getvalue().encode())
    assert listen(path).texts == given_texts


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(st.binary(max_size=300), st.sampled_from([*FILES, "z.html"]), st.sampled_from([".gz", ".zst", ""]))
def test_any_bytes_give_records_or_bad_ones_and_no_other_error(
    tmp_path: Path, data: bytes, name: str, packing: str
) -> None:
    """Bytes at random, and a good file that they are written into."""
    good = FILES.get(name, (PAGE.encode(), []))[0]
    at = random.Random(data).randrange(len(good))
    for content in (data, good[:at] + data + good[at + len(data) :]):
        path = tmp_path / (name + packing)
        path.write_bytes(PACKINGS[packing](content))
        try:
            heard = listen(path)
        except DataError:
            continue
        assert all(record.text.strip() for record in heard.records)

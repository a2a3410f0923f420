"""The seven fields, and text, Markdown and JSON: labelled, read back, verified from files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tokenloom import trust
from tokenloom.trust import BadLabel, BadMedia
from tokenloom.trust.fields import KEYS, WORDS, new_label, parse_label
from tokenloom.trust.text import SAYS
from tokenloom.trust.verify import inspect

TEXTS = st.text(st.characters(codec="utf-8"), max_size=200)
GOOD = new_label("sha256:" + "a" * 64)


def test_fields_order_and_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    assert tuple(json.loads(GOOD.bare())) == KEYS
    assert tuple(json.loads(GOOD.wrapped())["AIGC"]) == KEYS
    assert GOOD.bare().startswith('{"Label":"1","ContentProducer":"Tokenloom","ProduceID":"aaa')
    assert (GOOD.propagator, GOOD.propagate_id) == (GOOD.producer, GOOD.produce_id)
    monkeypatch.setenv("TOKENLOOM_PRODUCER", "ACME")
    assert new_label("sha256:0").producer == "ACME"


def test_words_say_what_both_laws_ask() -> None:
    assert all(SAYS.match(words) for words in WORDS.values())
    assert not SAYS.match("AI art")
    assert not SAYS.match("生成")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"ContentProducer": ""}, "ContentProducer is empty"),
        ({"ContentProducer": "A B"}, "printable ASCII"),
        ({"ProduceID": 'a"b'}, "ProduceID is 'a\"b'"),
        ({"ProduceID": "号"}, "ProduceID"),
        ({"ProduceID": 7}, "ProduceID is 7"),
        ({"Label": "4"}, "Label is '4'"),
        ({"More": "x"}, "unknown fields: 'More'"),
        ({"PropagateID": None}, "PropagateID"),
    ],
)
def test_wrong_fields_are_named(change: dict[str, object], complaint: str) -> None:
    with pytest.raises(BadLabel, match=complaint):
        parse_label(json.dumps({**GOOD.fields(), **change}))


@pytest.mark.parametrize("text", ["", "[]", "1", "{", "[" * 100_000, '{"AIGC": 3}', '{"Label": "1"}'])
def test_what_is_no_label_is_said(text: str) -> None:
    with pytest.raises(BadLabel):
        parse_label(text)


def test_readers_accept_both_forms() -> None:
    assert parse_label(GOOD.bare()) == parse_label(GOOD.wrapped()) == GOOD


@given(TEXTS, st.sampled_from(["en", "zh"]))
def test_text_gets_its_line_once(text: str, lang: str) -> None:
    labelled = trust.label_text(text, lang)
    assert labelled.startswith(WORDS[lang]) or text.strip("\ufeff \t\r\n").startswith(tuple(WORDS.values()))
    assert labelled.endswith(text)
    assert trust.label_text(labelled, lang) == labelled


@given(TEXTS)
def test_markdown_reads_back_and_stays(text: str) -> None:
    once = trust.label("markdown", text)
    report = inspect(once.data, "markdown")
    assert report.ok
    assert report.visible
    assert report.content == "unchanged"
    assert trust.label("markdown", once.data).data == once.data
    assert once.data.decode().endswith(text)


def test_front_matter_is_kept_and_is_yaml() -> None:
    made = trust.label_markdown("---\ntitle: A hill\ntags: [a, b]\n---\n# Hill\n", "zh")
    _, head, body = made.split("---\n", 2)
    front = yaml.safe_load(head)
    assert front["title"] == "A hill"
    assert tuple(front["AIGC"]) == KEYS
    assert body == f"> {WORDS['zh']}\n\n# Hill\n"
    assert trust.label_markdown("---\nno end\n").count("---") == 3, "a rule is no front matter"
    assert trust.label_markdown("a\r\nb").count("\r\n") == 7 - 1


@pytest.mark.parametrize(
    "field",
    [
        f"AIGC: {GOOD.wrapped()}",
        f"AIGC: '{GOOD.bare()}'",
        f"AIGC: {json.dumps(GOOD.bare())}",
        "AIGC:\n" + "".join(f'  {k}: "{v}"\n' for k, v in GOOD.fields().items()).rstrip(),
    ],
)
def test_front_matter_of_others_is_read(field: str) -> None:
    assert trust.read_label(f"---\nx: 1\n{field}\ny: 2\n---\nbody".encode()) == GOOD


def test_files_of_each_kind(tmp_path: Path) -> None:
    for name, data in (("a.txt", "words"), ("a.md", "# words"), ("a.json", '{"b": [1, "人"]}')):
        path = tmp_path / name
        label = trust.label_work(path, data)
        report = trust.verify(path)
        assert report.ok
        assert report.visible
        assert report.content == "unchanged"
        assert trust.read_label(path) == label == report.label
        assert label.bare() in report.lines()[0]
    assert json.loads((tmp_path / "a.json").read_text())["b"] == [1, "人"]
    assert {p.name for p in tmp_path.glob("a.*")} == {"a.txt", "a.txt.aigc.json", "a.md", "a.json"}
    (tmp_path / "a.txt").write_text("other words")
    report = trust.verify(tmp_path / "a.txt")
    assert report.content == "changed"
    assert not report.ok
    assert not report.visible


def test_an_unlabelled_file_and_a_wrong_label(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("words")
    report = trust.verify(path)
    assert (report.hidden, report.label, report.ok) == ((), None, False)
    assert report.lines() == ["no hidden label", "visible label: not recognised"]
    assert trust.read_label(path) is None
    (tmp_path / "a.txt.aigc.json").write_text('{"AIGC": {"Label": "9"}}')
    assert "is not valid: the label lacks ContentProducer" in trust.verify(path).lines()[0]
    with pytest.raises(BadLabel, match="lacks"):
        trust.read_label(path)


def test_faults_are_said(tmp_path: Path) -> None:
    with pytest.raises(BadMedia, match="UTF-8"):
        trust.label("text", b"\xff\xfe")
    with pytest.raises(BadMedia, match="only a JSON object"):
        trust.label("json", "[1]")
    with pytest.raises(BadMedia, match="no JSON"):
        trust.label("json", "{")
    with pytest.raises(ValueError, match="lang is 'fr'"):
        trust.label("text", "x", lang="fr")
    with pytest.raises(ValueError, match="kind is 'gif'"):
        trust.label("gif", b"")  # type: ignore[arg-type]
    with pytest.raises(BadLabel, match="ContentProducer is 'A B'"):
        trust.label("text", "x", producer="A B")
    with pytest.raises(ValueError, match=r"a\.docx"):
        trust.label_work(tmp_path / "a.docx", "x")
    (tmp_path / "a.png").write_text("no picture")
    with pytest.raises(BadMedia, match=r"a\.png is no PNG"):
        trust.verify(tmp_path / "a.png")
    with pytest.raises(BadMedia, match="is no file"):
        trust.verify(tmp_path)
    with pytest.raises(BadMedia, match="there is no file"):
        trust.verify(tmp_path / "none.png")
    assert [p.name for p in tmp_path.iterdir() if p.is_file()] == ["a.png"], "nothing half written"


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_said(data: bytes) -> None:
    try:
        trust.read_label(data)
    except ValueError as error:
        assert len(str(error)) > 10  # noqa: PT017


@pytest.mark.parametrize("name", ["Example Press", "示例出版社", 'a"b', "a\\b"])
def test_a_producer_that_cannot_stand_in_a_label(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("TOKENLOOM_PRODUCER", name)
    for act in (trust.check_producer, lambda: trust.label_markdown("x")):
        with pytest.raises(
            trust.BadLabel, match=r"environment variable TOKENLOOM_PRODUCER is .*Example-Press-001"
        ):
            act()
    monkeypatch.setenv("TOKENLOOM_PRODUCER", "Example-Press-001")
    trust.check_producer()
    monkeypatch.delenv("TOKENLOOM_PRODUCER")
    trust.check_producer()


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(trust.BadMedia, match=r"there is no file .*nope"):
        trust.verify(tmp_path / "nope")

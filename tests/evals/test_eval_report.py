"""The report of a run written by hand: all parts are there, the page stands alone, nothing is invented."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml
from fixture_run import SAMPLE, bare_run, full_run

from tokenloom.evals import ledger
from tokenloom.evals.card import END, START, Facts, render_card, split_head
from tokenloom.evals.page import page
from tokenloom.evals.report import code, scores, write_report

VOID = {"meta", "link", "br", "hr", "img", "rect", "line", "polyline"}


class Page(HTMLParser):
    """The page's elements, headings, text, and what its attributes name."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.counts: dict[str, int] = {}
        self.open: list[str] = []
        self.headings: list[str] = []
        self.cells: list[str] = []
        self.texts: list[str] = []
        self.addresses: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.counts[tag] = self.counts.get(tag, 0) + 1
        self.addresses += [str(v) for k, v in attrs if k in ("src", "href", "action", "srcset", "data")]
        assert not any(k.startswith("on") for k, _ in attrs)
        if tag not in VOID:
            self.open.append(tag)
        if tag in ("td", "th"):
            self.cells.append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.counts[tag] = self.counts.get(tag, 0) + 1

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)
        if self.open and self.open[-1] == "h2":
            self.headings.append(data)
        if self.open and self.open[-1] in ("td", "th"):
            self.cells[-1] += data


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return full_run(tmp_path / "place")


def test_every_part_is_on_the_page(run: Path) -> None:
    report, written = write_report(run)
    assert {p.relative_to(run).as_posix() for p in written} == {
        *("report.md", "report.html", "model/README.md"),
        *("figures/loss.svg", "figures/bits.svg", "figures/rate.svg", "figures/speed.svg"),
    }
    assert all(path.is_file() for path in written)
    found = Page((run / "report.html").read_text("utf-8"))
    assert found.headings == [
        *("Data", "Curves", "Scores", "What was forgotten", "Samples", "Cost", "Licence", "Model card"),
        "To make it again",
    ]
    assert found.counts["svg"] == 4
    assert found.counts["figure"] == 4
    assert found.counts["polyline"] == 5  # training and held out in the first
    for cell in ("1,234", "56,789", "170,367", "3.00", "1.5", "1.25 to 1.75", "12.5", "2.0000", "2.2000"):
        assert cell in found.cells, cell
    for cell in ("+10.00 %", "1 min 40 s", "102,400", "1,024 tokens a second", "Some CPU, 2 cores"):
        assert cell in found.cells, cell
    assert "9.9" not in found.cells  # measured again later
    text = "".join(found.texts)
    assert SAMPLE["text"] in text
    assert "The model's licence: apache-2.0. Its data: shards." in text
    assert "Energy was not measured." in text
    assert report.markdown == (run / "report.md").read_text("utf-8")


def test_the_page_stands_alone_and_a_sample_stays_text(run: Path) -> None:
    write_report(run)
    html = (run / "report.html").read_text("utf-8")
    found = Page(html)
    assert found.addresses == []
    assert "script" not in found.counts
    assert "img" not in found.counts
    assert "a" not in found.counts
    assert "default-src 'none'" in html


def test_a_run_that_has_only_begun_has_no_invented_parts(tmp_path: Path) -> None:
    run = bare_run(tmp_path / "begun-1")
    write_report(run)
    found = Page((run / "report.html").read_text("utf-8"))
    assert found.headings == ["To make it again"]
    assert "svg" not in found.counts
    assert not (run / "figures").exists()


def test_the_report_is_the_same_a_second_time(run: Path) -> None:
    write_report(run)
    first = {p: p.read_bytes() for p in run.rglob("*") if p.is_file()}
    write_report(run)
    assert {p: p.read_bytes() for p in run.rglob("*") if p.is_file()} == first


def test_the_card_has_the_hubs_head_and_the_scores(run: Path) -> None:
    write_report(run, facts=Facts(languages=("zh", "en"), datasets=("chinese-poetry",)))
    card = (run / "model" / "README.md").read_text("utf-8")
    head, body = split_head(card)
    values = yaml.safe_load(head)
    assert values["license"] == "apache-2.0"
    assert values["language"] == ["zh", "en"]
    assert values["datasets"] == ["chinese-poetry"]
    assert values["metrics"] == ["bits_per_byte", "bleu"]
    assert values["library_name"] == "transformers"
    assert "By hand." in body
    assert "| held-out.txt | bits\\_per\\_byte | 1.5 | 1.25 to 1.75 |" in body
    from huggingface_hub import ModelCard

    loaded = ModelCard(card)
    results = {(r.dataset_name, r.metric_type): r.metric_value for r in loaded.data.eval_results}
    assert results == {("held-out.txt", "bits_per_byte"): 1.5, ("held-out.txt", "bleu"): 12.5}


def test_a_card_keeps_what_it_says(tmp_path: Path) -> None:
    old = "---\nlicense: mit\nwidget:\n- text: a\n---\n\n# Mine\n\nWords.\n"
    row = {"set": "s", "metric": "m", "value": 1.0, "low": None, "high": None}
    once = render_card(old, "n", Facts(), [row])
    assert render_card(once, "n", Facts(), [row]) == once
    assert yaml.safe_load(split_head(once)[0])["license"] == "mit"
    assert once.count(START) == once.count(END) == 1
    plain = render_card(once, "n", Facts(), [])
    assert START not in plain
    assert "Words." in plain
    with pytest.raises(ValueError, match="not YAML"):
        render_card("---\na: [\n---\nx", "n", Facts(), [])


def test_a_text_cannot_end_its_block_of_code() -> None:
    text = "a\n```\n# not a heading\n````\nb"
    found = Page(page(code(text), {}, "t"))
    assert found.counts["pre"] == 1
    assert "h1" not in found.counts
    assert text in "".join(found.texts)


def test_a_picture_from_elsewhere_is_refused() -> None:
    with pytest.raises(ValueError, match="no figure of it"):
        page("![x](http://example.org/x.png)", {}, "t")


def test_wrong_folders_and_damaged_files_are_named(tmp_path: Path, run: Path) -> None:
    with pytest.raises(ValueError, match=r"no run folder: it has no recipe\.toml"):
        write_report(tmp_path / "nowhere")
    manifest = tmp_path / "place" / "shards" / "manifest.json"
    manifest.write_text("{")
    with (run / "log.jsonl").open("a") as file:
        file.write("{damaged\n")
    report, _ = write_report(run)
    assert "damaged: " in report.markdown
    assert "log.jsonl:202" in report.markdown.replace("\\", "")
    (run / "evals.jsonl").write_text('{"scores": []}\nnot json\n')
    with pytest.raises(ValueError, match=r"evals\.jsonl:2: not JSON"):
        write_report(run)


def test_the_ledger_gets_one_whole_line(tmp_path: Path) -> None:
    file = tmp_path / "ledger.jsonl"
    ledger.append(file, "eval", {"a": float("nan"), "b": [1.5, float("inf")]})
    ledger.append(file, "eval", {"text": "第\n二"})
    first, second = ledger.read(file)
    assert (first["what"], first["a"], first["b"]) == ("eval", None, [1.5, None])
    assert second["text"] == "第\n二"
    assert len(file.read_text("utf-8").splitlines()) == 2
    assert ledger.read(tmp_path / "none") == []
    file.write_text("[1]\n")
    with pytest.raises(ValueError, match=r"ledger\.jsonl:1: found a list"):
        ledger.read(file)


def test_scores_without_a_name_are_left_out() -> None:
    assert scores([{"scores": [{"metric": "m"}, "x"]}, {"scores": None}, {}]) == []
    assert json.dumps(scores([{"scores": [{"set": "a", "metric": "m", "value": None}]}])) != "[]"

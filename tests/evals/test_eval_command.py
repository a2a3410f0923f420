"""`loom eval` and `loom report` as a user calls them, on a tiny model: table, ledger, the run's folder."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import typer
from fixture_run import full_run
from gguf_fixtures import small_llama
from typer.testing import CliRunner

from tokenloom.cli import evals
from tokenloom.evals import ledger
from tokenloom.evals.answers import read_questions
from tokenloom.evals.ask import Pair
from tokenloom.evals.open import open_model
from tokenloom.evals.window import document, fit, start_id

app = typer.Typer()
app.command("eval")(evals.evaluate)
app.command()(evals.report)
loom = CliRunner()


@pytest.fixture
def model(tmp_path: Path) -> Path:
    small_llama(tmp_path / "small.gguf")
    return tmp_path / "small.gguf"


def call(*words: object) -> str:
    done = loom.invoke(app, [str(word) for word in words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_texts_and_questions_are_one_line_in_the_ledger(model: Path, tmp_path: Path) -> None:
    (tmp_path / "texts").mkdir()
    for at in range(3):
        (tmp_path / "texts" / f"{at}.txt").write_text(("hello the other inner text " * (20 + at)).strip())
    questions = tmp_path / "q.jsonl"
    rows = [{"prompt": f"hello {i}", "reference": "the other"} for i in range(4)]
    questions.write_text("".join(json.dumps(row) + "\n" for row in rows))
    note = tmp_path / "ledger.jsonl"
    out = call(
        *("eval", model, "--text", tmp_path / "texts", "--window", 64, "--stride", 16, "--ledger", note),
        *("--answers", questions, "--metric", "chrf", "--metric", "squad", "--training", tmp_path / "texts"),
        *("--max-tokens", 12, "--limit", 3),
    )
    assert "bits_per_byte" in out
    (line,) = ledger.read(note)
    scores = {(row["set"], row["metric"]): row for row in line["scores"]}
    bits = scores[str(tmp_path / "texts"), "bits_per_byte"]
    assert bits["n"] == 3
    assert bits["low"] <= bits["value"] <= bits["high"]
    assert "window 64, stride 16" in bits["settings"]
    for metric in ("chrf", "exact_match", "f1", "longest copied run"):
        assert (str(questions), metric) in scores
    assert [sample["prompt"] for sample in line["samples"]] == ["hello 0", "hello 1", "hello 2"]
    assert line["what"] == "eval"
    assert line["machine"]
    with open_model(model) as opened:
        texts = [f.read_text() for f in sorted((tmp_path / "texts").iterdir())]
        start = start_id(opened.tokenizer)
        again = fit(
            opened.scorer, [document(t, opened.tokenizer, start=start) for t in texts], window=64, stride=16
        )
    assert bits["value"] == pytest.approx(again.bits_per_byte.value, rel=1e-6)


def test_programs_are_written_and_run(model: Path, tmp_path: Path) -> None:
    problems = tmp_path / "p.jsonl"
    problems.write_text(json.dumps({"prompt": "x = 1\n#", "test": "assert x == 1"}) + "\n")
    out = call(
        *("eval", model, "--code", problems, "--samples", 2, "--k", 1, "--k", 2, "--max-tokens", 3),
        *("--ledger", tmp_path / "l.jsonl", "--json"),
    )
    line = json.loads(out)
    assert {row["metric"] for row in line["scores"]} == {"pass@1", "pass@2"}
    assert "sandbox: " in line["scores"][0]["settings"]


@pytest.mark.slow
def test_a_runs_model_leaves_its_scores_with_the_run_and_in_the_report(model: Path, tmp_path: Path) -> None:
    run = full_run(tmp_path / "place")
    shutil.rmtree(run / "model")
    with pytest.raises(ValueError, match="has made no model yet"):
        call("eval", run, "--text", tmp_path)
    from tokenloom.model.load import load_model
    from tokenloom.model.save import save_model
    from tokenloom.tokens.folder import tokenizer_files
    from tokenloom.tokens.text import load_tokenizer

    save_model(
        load_model(model, "float32", "cpu"), run / "model", files=tokenizer_files(load_tokenizer(model))
    )
    text = tmp_path / "new.txt"
    text.write_text("hello the other\n")
    call("eval", run, "--text", text, "--ledger", tmp_path / "l.jsonl")
    assert ledger.read(run / "evals.jsonl")[-1]["scores"][0]["set"] == str(text)
    out = call("report", run, "--language", "en")
    assert str(run / "report.html") in out
    assert "new.txt" in (run / "report.md").read_text("utf-8").replace("\\", "")
    assert "new.txt" in (run / "model" / "README.md").read_text("utf-8")


def test_a_run_goes_by_its_whole_name_and_as_the_latest(home: Path) -> None:
    run = home / "runs" / "toy-20260101-000000"
    (run / "model").mkdir(parents=True)
    (run / "recipe.toml").write_text("")
    wanted = evals.Place(str(run / "model"), None, run)
    assert evals._resolve(run.name, None) == evals._resolve("latest", None) == wanted
    assert evals._resolve("toy", None) == evals.Place("toy"), "a model may be called so"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "nothing to measure"),
        (("--text", "x.txt", "--metric", "bleu"), "--metric is about answers"),
        (("--text", "x.txt", "--training", "y"), "--training is about answers"),
    ],
)
def test_options_that_have_no_effect_are_refused(words: tuple[str, ...], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        call("eval", "nowhere", *words)


def test_a_text_without_a_start_token_loses_its_first_tokens_bytes(model: Path) -> None:
    with open_model(model) as opened:
        whole = document("hello é!", opened.tokenizer, start=1)
        assert (whole.bytes, whole.characters) == (9, 8)
        bare = document("hello é!", opened.tokenizer)
        first = opened.tokenizer.token_bytes(bare.ids[0])
        assert bare.bytes == 9 - len(first)
        assert len(bare.ids) == len(whole.ids) - 1
        with pytest.raises(ValueError, match="nothing to score"):
            document("", opened.tokenizer, start=1)
        scored = opened.scorer.score([Pair((1,), tuple(whole.ids[1:]))])[0]
        assert scored.logprobs.shape == (len(whole.ids) - 1,)


def test_faults_in_questions_are_named(tmp_path: Path) -> None:
    file = tmp_path / "q.jsonl"
    for text, said in (
        ("{", "q.jsonl:1: not JSON"),
        ("[]", "found a list"),
        ("{}", "prompt: needs a text there or a list under messages"),
        ('{"prompt": "a", "references": "b"}', "references: found 'b'"),
        ('{"messages": [1]}', "messages: needs objects with role"),
        ('{"prompt": "a", "reference": "b"}\n{"prompt": "c"}', "q.jsonl:2: reference: found none"),
        ("\n", "found no question"),
    ):
        file.write_text(text)
        with pytest.raises(ValueError, match=said):
            read_questions(file)

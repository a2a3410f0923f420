"""The terminal's commands about models and labels, run as the program is: exit status and what is said."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from gguf_fixtures import small_llama
from tiny_composer import tiny_composer

from tokenloom import cli, hub
from tokenloom.trust import label_work

Loom = Callable[..., "Done"]


@dataclass(frozen=True)
class Done:
    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def loom(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Loom:
    """Runs the program in this process, as the shell would."""

    def run(*words: str) -> Done:
        monkeypatch.setattr(sys, "argv", ["loom", *words])
        with pytest.raises(SystemExit) as end:
            cli.main()
        said = capsys.readouterr()
        return Done(int(end.value.code or 0), said.out, said.err)

    return run


def test_help_lists_the_commands_and_imports_nothing_heavy(loom: Loom) -> None:
    shown = loom("--help")
    assert shown.returncode == 0
    for command in ("pull", "models", "remove", "verify"):
        assert f" {command} " in shown.stdout
    heavy = ["torch", "numpy", "PIL", "fastapi", "transformers", "huggingface_hub", "httpx"]
    code = f"import sys, tokenloom.cli; print(*sorted(set({heavy}) & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == ""


def test_a_local_model_from_pull_to_remove(loom: Loom, tmp_path: Path) -> None:
    file = tmp_path / "tiny.gguf"
    file.write_bytes(bytes(5000))
    refused = loom("pull", str(file), "--name", "mine")
    assert refused.returncode == 1
    assert "GGUF" in refused.stderr
    small_llama(file, kind="Q8_0")
    done = loom("pull", str(file), "--name", "mine")
    assert done.returncode == 0
    assert done.stdout.startswith(f"mine is ready: {file} (")
    rows = [json.loads(line) for line in loom("models", "--json").stdout.splitlines()]
    mine, smollm2 = (next(r for r in rows if r["name"] == n) for n in ("mine", "smollm2"))
    assert mine["installed"] is True
    assert mine["disk_use"] == file.stat().st_size
    assert mine["not_native"] is None
    assert smollm2["installed"] is False
    assert {"size", "licence", "context", "abilities", "languages"} <= set(smollm2)
    table = loom("models").stdout
    assert "Apache-2.0" in table
    assert "smollm2" not in loom("models", "--installed").stdout
    assert loom("pull", "mine", "--quiet-if-present").stdout == ""
    assert loom("remove", "mine").returncode == 0
    assert file.exists()
    lines = loom("models", "--installed").stdout.splitlines()
    there = [line.split()[0] for line in lines if not line.startswith(" ")]  # a long cell goes on below
    assert there == ["name", *(one.name for one in hub.shipped())]


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["pull", "nothing"], 1, "loom: there is no model 'nothing'"),
        (["pull", "org/name"], 1, "loom: org/name cannot be fetched: HF_HUB_OFFLINE is set"),
        (["remove", "smollm2"], 1, "loom: model 'smollm2' is not on this machine"),
        (["verify", "none.png"], 1, "loom: there is no file none.png"),
        (["pull"], 2, "Missing argument"),
    ],
)
def test_mistakes_are_one_sentence_on_stderr(loom: Loom, words: list[str], status: int, said: str) -> None:
    done = loom(*words)
    assert done.returncode == status
    assert done.stdout == ""
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    if status == 1:
        assert done.stderr.count("\n") == 1


def test_verify_says_what_it_found(loom: Loom, tmp_path: Path) -> None:
    path = tmp_path / "a.md"
    label_work(path, "# A hill")
    done = loom("verify", str(path))
    assert done.returncode == 0
    assert "hidden label (front matter AIGC)" in done.stdout
    assert "visible label: found" in done.stdout
    path.write_text(path.read_text() + "more")
    done = loom("verify", str(path), "--json")
    assert done.returncode == 1
    told = json.loads(done.stdout)
    assert (told["ok"], told["content"]) == (False, "changed")
    assert told["hidden"][0]["AIGC"]["ContentProducer"] == "Tokenloom"


def test_ctrl_c_is_130() -> None:
    code = """
import sys
from tokenloom import cli, trust

def stopped(path):
    raise KeyboardInterrupt

trust.verify = stopped
sys.argv = ["loom", "verify", "x"]
cli.main()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 130
    assert "Traceback" not in done.stderr


def test_a_composer_composes_and_does_not_write(loom: Loom, tmp_path: Path) -> None:
    folder = str(tiny_composer(tmp_path / "composer"))
    assert loom("pull", folder, "--name", "band").returncode == 0
    facts = [json.loads(line) for line in loom("models", "--installed", "--json").stdout.splitlines()]
    assert next(fact["abilities"] for fact in facts if fact["name"] == "band") == ["compose"]
    assert " compose " in next(
        line for line in loom("models").stdout.splitlines() if line.startswith("band ")
    )
    for words in (("write", "Once", "--model", "band"), ("chat", "band")):
        done = loom(*words)
        assert done.returncode == 1
        assert "composes music and writes no text; `loom compose` uses it" in " ".join(done.stderr.split())


def test_scores_are_verified(loom: Loom, tmp_path: Path) -> None:
    """Labels of all kinds are told by one command; a file that is not what its name says is refused."""
    label_work(tmp_path / "a.abc", "X:1\nT:A\nM:4/4\nL:1/8\nK:D\nDEFG ABcd|]\n")
    done = loom("verify", str(tmp_path / "a.abc"))
    assert done.returncode == 0
    assert "hidden label (ABC field N:)" in done.stdout
    (tmp_path / "a.mid").write_text("no music")
    refused = loom("verify", str(tmp_path / "a.mid"))
    assert refused.returncode == 1
    assert "is no MIDI file" in refused.stderr

"""The conversation in the terminal, driven line by line on a small random model; and `loom write`'s files."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from gguf_fixtures import small_llama
from rich.console import Console

import tokenloom as tl
from tokenloom import terminal, trust


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("terminal") / "small.gguf"
    small_llama(path, kind="Q8_0")
    return path


@pytest.fixture
def chat(path: Path) -> Iterator[terminal.Chat]:
    console = Console(file=io.StringIO(), width=100)
    with tl.load(path, slots=2) as model:
        yield terminal.Chat(model, console, {"max_tokens": 8, "seed": 1})


def shown(chat: terminal.Chat) -> str:
    assert isinstance(chat.console.file, io.StringIO)
    text = chat.console.file.getvalue()
    chat.console.file.truncate(0)
    chat.console.file.seek(0)
    return text


def test_history_grows_and_retry_draws_anew(chat: terminal.Chat) -> None:
    chat.say("hello")
    first = chat.messages[-1]["content"]
    assert [m["role"] for m in chat.messages] == ["user", "assistant"]
    chat.command("/retry")
    assert [m["role"] for m in chat.messages] == ["user", "assistant"]
    assert chat.messages[-1]["content"] != first
    chat.say("the")
    assert len(chat.messages) == 4
    chat.command("/undo")
    assert len(chat.messages) == 2
    chat.command("/clear")
    assert not chat.messages


def test_system_starts_anew_and_is_sent(chat: terminal.Chat) -> None:
    chat.say("hello")
    chat.command("/system be brief")
    assert chat.messages == []
    assert chat.prompt() == [{"role": "system", "content": "be brief"}]
    chat.command("/system -")
    assert chat.prompt() == []


def test_an_interrupted_answer_is_kept(chat: terminal.Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any, **__: Any) -> Iterator[tl.Piece]:
        yield tl.Piece("half an ans")
        raise KeyboardInterrupt

    monkeypatch.setattr(chat.model, "stream", interrupted)
    chat.say("hello")
    assert chat.messages[-1] == {"role": "assistant", "content": "half an ans"}
    assert "stopped" in shown(chat)


def test_a_message_too_long_is_taken_back(chat: terminal.Chat) -> None:
    chat.say("hello " * 500)
    assert chat.messages == []
    told = shown(chat)
    assert "256" in told
    assert "/clear" in told
    chat.say("hello")
    assert len(chat.messages) == 2


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("/set temperature 9", "from 0 to 2"),
        ("/set temperature -1", "from 0 to 2"),
        ("/set top_p 0", "from 0.01"),
        ("/set max_tokens 0", "from 1"),
        ("/set max_tokens x", "whole number"),
        ("/set nothing 1", "unknown"),
        ("/save", "file name"),
        ("/nothing", "/help"),
        ("/retry", "nothing"),
    ],
)
def test_commands_that_cannot_be(chat: terminal.Chat, line: str, word: str) -> None:
    before = dict(chat.options)
    assert chat.command(line) is True
    assert word in shown(chat)
    assert chat.options == before


def test_set_and_exit(chat: terminal.Chat) -> None:
    assert chat.command("/set temperature 0") is True
    assert chat.options["temperature"] == 0
    assert chat.command("/help") is True
    assert chat.command("/exit") is False


@pytest.mark.parametrize("name", ["talk.md", "talk.txt", "talk.json"])
def test_saved_conversations_carry_their_label(chat: terminal.Chat, name: str, tmp_path: Path) -> None:
    chat.say("hello")
    chat.command(f"/save {tmp_path / name}")
    assert "saved" in shown(chat)
    assert trust.verify(tmp_path / name).ok
    assert "hello" in (tmp_path / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["talk.png", "", "nothere/talk.md", "talk"])
def test_a_save_that_cannot_be_loses_nothing(chat: terminal.Chat, name: str, tmp_path: Path) -> None:
    chat.say("hello")
    assert chat.command(f"/save {tmp_path}/{name}") is True
    assert "saved" not in shown(chat)
    assert len(chat.messages) == 2
    assert chat.command("/save ~nosuchuser/x.md") is True


def loom(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tokenloom.cli", *arguments]
    return subprocess.run(
        command, input=stdin, capture_output=True, text=True, timeout=60, env=dict(os.environ)
    )


def test_write_to_files(path: Path, tmp_path: Path) -> None:
    for name in ("a.md", "a.txt", "a.json"):
        done = loom("write", "hello", "-m", str(path), "--max-tokens", "5", "-o", str(tmp_path / name))
        assert done.returncode == 0, done.stderr
        assert trust.verify(tmp_path / name).ok
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))["prompt"] == "hello"


@pytest.mark.parametrize("name", ["a.png", "nothere/a.md", "a.docx", "."])
def test_a_target_that_cannot_be_is_said_first(path: Path, name: str, tmp_path: Path) -> None:
    done = loom("write", "hello", "-m", str(path), "-o", str(tmp_path / name))
    assert done.returncode == 1
    assert done.stderr.startswith("loom: --output")
    assert "Traceback" not in done.stderr


def test_write_as_json_from_a_pipe(path: Path) -> None:
    done = loom(
        "write", "-m", str(path), "--max-tokens", "4", "--seed", "3", "--json", "-n", "2", stdin="hello\n"
    )
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(rows) == 2
    assert {row["prompt"] for row in rows} == {"hello"}
    assert rows[0]["seed"] == 3
    assert rows[0]["ids"] != rows[1]["ids"]


def test_chat_from_a_pipe(path: Path) -> None:
    done = loom("chat", str(path), "--max-tokens", "5", stdin="hello\n/stats\n/exit\nnever\n")
    assert done.returncode == 0, done.stderr
    assert "tokens read" in done.stdout

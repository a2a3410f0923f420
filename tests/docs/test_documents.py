"""Every command and every Python example in README and the guides is run as it stands."""

from __future__ import annotations

import re
import shlex
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from guides import ROOT, check_links, commands, environment, fences, run, shell
from real_home import REAL_HOME

DOCUMENTS = [ROOT / "README.md", ROOT / "docs/guide/en.md", ROOT / "docs/guide/zh.md"]
HOME = {"TOKENLOOM_HOME": str(REAL_HOME)}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def serving(command: str, cwd: Path) -> Iterator[int]:
    """A server command from the moment its /health answers, with its port; it is ended as Ctrl-C would."""
    port = free_port()
    words = [*shlex.split(command), "--port", str(port)]
    with subprocess.Popen(words, cwd=cwd, env=environment(**HOME)) as server:
        try:
            wait_until_healthy(server, command, port)
            yield port
        finally:
            server.send_signal(signal.SIGINT)
            server.wait(30)


def wait_until_healthy(server: subprocess.Popen[bytes], command: str, port: int) -> None:
    for _ in range(720):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as answer:
                assert answer.status == 200
                return
        except OSError:
            assert server.poll() is None, f"{command} ended with {server.returncode}"
            time.sleep(0.25)
    raise AssertionError(f"{command}: /health did not answer in 180 s")


def runs(command: str, cwd: Path) -> None:
    if command.startswith("make "):
        target = command.split()[1]
        assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.M), f"no target {target}"
    elif command.split()[:2] in (["loom", "serve"], ["loom", "studio"]):
        with serving(command, cwd):
            pass
    else:
        shell(command, cwd, "Hello.\n/exit\n" if command.startswith("loom chat") else "", **HOME)


@pytest.mark.slow
@pytest.mark.model
@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: p.name)
def test_every_command_runs(path: Path, tmp_path: Path) -> None:
    found = commands(path)
    assert len(found) >= 5
    for command in found:
        runs(command, tmp_path)


@pytest.mark.slow
@pytest.mark.model
@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: p.name)
def test_every_python_example_runs(path: Path, tmp_path: Path) -> None:
    examples = fences(path, "python")
    assert examples
    served = [code for code in examples if "base_url" in code]
    plain = [code for code in examples if "base_url" not in code]
    script = tmp_path / "example.py"
    script.write_text("\n".join(plain), encoding="utf-8")
    run([sys.executable, str(script)], tmp_path, **HOME)
    for code in served:
        with serving("loom serve", tmp_path) as port:
            script.write_text(code.replace("8117", str(port)), encoding="utf-8")
            run([sys.executable, str(script)], tmp_path, **HOME)


def test_both_guides_have_the_same_commands() -> None:
    english, chinese = DOCUMENTS[1], DOCUMENTS[2]
    assert commands(english) == commands(chinese)
    assert len(fences(english, "python")) == len(fences(chinese, "python"))


def test_links_lead_somewhere() -> None:
    for path in [*DOCUMENTS, ROOT / "CONTRIBUTING.md", ROOT / "docs/papers.md"]:
        check_links(path)


def test_papers_name_files_that_exist() -> None:
    named = set(re.findall(r"`(\w+/\w+\.py)`", (ROOT / "docs/papers.md").read_text(encoding="utf-8")))
    assert len(named) > 8
    for name in named:
        assert (ROOT / "tokenloom" / name).exists(), name

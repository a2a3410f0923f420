"""Every command and every Python example in README and the guides is run as it stands."""

from __future__ import annotations

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from real_home import REAL_HOME

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", ROOT / "docs/guide/en.md", ROOT / "docs/guide/zh.md"]
BIN = Path(sys.executable).parent


def fences(path: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", path.read_text(encoding="utf-8"), re.S | re.M)


def commands(path: Path) -> list[str]:
    lines = "".join(fences(path, "sh")).splitlines()
    return [line.split(" #")[0].strip() for line in lines if line.strip() and not line.startswith("#")]


def environment() -> dict[str, str]:
    return {**os.environ, "TOKENLOOM_HOME": str(REAL_HOME), "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def serve_until_healthy(command: str, cwd: Path) -> None:
    """Starts a server command, waits for /health, stops it as Ctrl-C would."""
    port = free_port()
    with subprocess.Popen([*shlex.split(command), "--port", str(port)], cwd=cwd, env=environment()) as server:
        try:
            for _ in range(720):
                try:
                    with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as answer:
                        assert answer.status == 200
                        return
                except OSError:
                    assert server.poll() is None, f"{command} ended with {server.returncode}"
                    time.sleep(0.25)
            raise AssertionError(f"{command}: /health did not answer in 180 s")
        finally:
            server.send_signal(signal.SIGINT)
            server.wait(30)


def run(command: str, cwd: Path) -> None:
    if command.startswith("make "):
        target = command.split()[1]
        assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.M), f"no target {target}"
    elif command.split()[:2] in (["loom", "serve"], ["loom", "studio"]):
        serve_until_healthy(command, cwd)
    else:
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", command],
            cwd=cwd,
            env=environment(),
            input="Hello.\n/exit\n" if command.startswith("loom chat") else "",
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        assert done.stdout.strip(), f"{command} printed nothing"


@pytest.mark.slow
@pytest.mark.model
@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: p.name)
def test_every_command_runs(path: Path, tmp_path: Path) -> None:
    found = commands(path)
    assert len(found) >= 5
    for command in found:
        run(command, tmp_path)


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
    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    for code in served:
        run_against_server(code, tmp_path)


def run_against_server(code: str, cwd: Path) -> None:
    port = free_port()
    with subprocess.Popen(["loom", "serve", "--port", str(port)], cwd=cwd, env=environment()) as server:
        try:
            deadline = time.monotonic() + 180
            while time.monotonic() < deadline:
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
                    break
                except OSError:
                    time.sleep(0.25)
            script = cwd / "client.py"
            script.write_text(code.replace("8117", str(port)), encoding="utf-8")
            done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=120)
            assert done.returncode == 0, done.stderr
            assert done.stdout.strip()
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(30)


def test_both_guides_have_the_same_commands() -> None:
    english, chinese = DOCUMENTS[1], DOCUMENTS[2]
    assert commands(english) == commands(chinese)
    assert len(fences(english, "python")) == len(fences(chinese, "python"))


def test_links_lead_somewhere() -> None:
    for path in [*DOCUMENTS, ROOT / "CONTRIBUTING.md", ROOT / "docs/papers.md"]:
        for link in re.findall(r"\]\((?!https?:)([^)#]+)", path.read_text(encoding="utf-8")):
            assert (path.parent / link).exists(), f"{path.name} links to {link}"


def test_papers_name_files_that_exist() -> None:
    named = set(re.findall(r"`(\w+/\w+\.py)`", (ROOT / "docs/papers.md").read_text(encoding="utf-8")))
    assert len(named) > 8
    for name in named:
        assert (ROOT / "tokenloom" / name).exists(), name

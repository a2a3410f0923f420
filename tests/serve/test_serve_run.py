"""Serving as a process: the address, a port that is taken, SIGTERM while an answer is under way."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tokenloom.serve.run import CannotListen, address, listen

PROGRAM = """
import sys
from pathlib import Path
sys.path.insert(0, {here!r})
from fake_engine import FakeEngine, Place
from tokenloom.serve.run import run
from tokenloom.serve.settings import Settings
engine = FakeEngine(context=1_000_000, tick_s=0.01)
run(Settings(port=0, models=("tiny",), grace_s={grace_s}), engine,
    find=lambda name: Place(name, Path({folder!r})))
print("closed" if engine.closed else "left open", engine.open, flush=True)
"""


@contextmanager
def program(folder: Path, grace_s: float) -> Iterator[tuple[subprocess.Popen[str], str]]:
    text = PROGRAM.format(here=str(Path(__file__).parent), folder=str(folder), grace_s=grace_s)
    process = subprocess.Popen([sys.executable, "-c", text], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        url = next(word for word in line.split() if word.startswith("http://127.0.0.1:"))
        while httpx.get(url + "/health", timeout=60).status_code != 200:
            time.sleep(0.05)
        yield process, url
    finally:
        process.kill()
        process.wait()


def turns_away(url: str, within_s: float = 60.0) -> bool:
    """Whether nobody new is let in any more, soon."""
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        try:
            httpx.get(url + "/health", timeout=60)
        except httpx.TransportError:
            return True
        time.sleep(0.05)
    return False


def ask(text: str) -> dict[str, object]:
    return {"model": "tiny", "messages": [{"role": "user", "content": text}], "stream": True}


def test_sigterm_lets_an_answer_finish(model_folder: Path) -> None:
    with program(model_folder, grace_s=20) as (process, url):
        text = "a long answer " * 5
        said: list[str] = []
        begun = threading.Event()

        def read() -> None:
            with httpx.stream(
                "POST", url + "/v1/chat/completions", json=ask(f"SAY({text})YAS"), timeout=60
            ) as answer:
                for line in answer.iter_lines():
                    said.append(line)
                    begun.set()

        reader = threading.Thread(target=read)
        reader.start()
        assert begun.wait(60)
        process.send_signal(signal.SIGTERM)
        assert turns_away(url)
        reader.join(60)
        assert "data: [DONE]" in said
        out, _ = process.communicate(timeout=60)
        assert process.returncode == 0
        assert "closed 0" in out


@pytest.mark.slow
def test_sigterm_waits_no_longer_than_the_grace(model_folder: Path) -> None:
    with program(model_folder, grace_s=1) as (process, url):
        with httpx.stream("POST", url + "/v1/chat/completions", json=ask("HANG"), timeout=60) as answer:
            process.send_signal(signal.SIGTERM)
            with pytest.raises(httpx.RemoteProtocolError):
                answer.read()
        out, _ = process.communicate(timeout=60)
        assert process.returncode == 0
        assert "closed 0" in out


def test_a_port_that_is_taken_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(CannotListen, match=f"Port {port} on 127.0.0.1 is taken.*--port"):
            listen("127.0.0.1", port)


def test_an_address_that_is_not_ours() -> None:
    for host in ("203.0.113.7", "no-such-host.invalid"):
        with pytest.raises(CannotListen, match="--host"):
            listen(host, 0)


def test_the_address_is_one_to_open() -> None:
    with listen("127.0.0.1", 0) as found:
        assert address(found) == f"http://127.0.0.1:{found.getsockname()[1]}"
    with listen("0.0.0.0", 0) as found:
        assert address(found).startswith("http://127.0.0.1:")

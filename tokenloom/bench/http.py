"""How much of the engine's speed reaches a client: streams over HTTP beside the same in the engine alone.

One round starts `loom serve`, asks for `streams` streamed completions at once, and asks the engine's core the
same in a process of its own. The load generator is this file run as a program: plain sockets that read and
count at the end, so that it takes as little of the machine as one can. Figures are new tokens a second, from
the first token to the last.
"""

from __future__ import annotations

import asyncio
import json
import random
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from typing import Any

GENERATOR = "plain asyncio sockets"


def run(
    model: str = "smollm2",
    *,
    streams: int = 16,
    new: int = 128,
    rounds: int = 5,
    say: Callable[[str], object] = print,
) -> dict[str, Any]:
    """Measures both, `rounds` times in turn; says and returns the medians and their ratio."""
    from tokenloom import hub
    from tokenloom.bench.compare import vocabulary

    vocab = vocabulary(hub.find(model))
    served, alone = [], []
    for turn in range(rounds):
        seed = random.Random(turn).randrange(1 << 30)
        served.append(_served(model, streams, new, vocab, seed))
        alone.append(_child("alone", model, streams, new, vocab, seed))
        say(f"round {turn + 1}: {served[-1]:.0f} over HTTP, {alone[-1]:.0f} in the engine alone")
    over, inside = statistics.median(served), statistics.median(alone)
    return {
        "what": "bench http",
        "model": model,
        "streams": streams,
        "new": new,
        "rounds": rounds,
        "generator": GENERATOR,
        "http_tok_s": round(over, 1),
        "engine_tok_s": round(inside, 1),
        "share": round(over / inside, 3),
    }


def _served(model: str, streams: int, new: int, vocab: int, seed: int) -> float:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "tokenloom.cli", "serve", "--model", model, "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:
        try:
            _await(port)
            return _child("client", str(port), streams, new, vocab, seed)
        finally:
            server.terminate()


def _await(port: int) -> None:
    for _ in range(600):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as answer:
                if json.load(answer)["status"] == "ok":
                    return
        except OSError:
            pass
        time.sleep(0.1)
    raise TimeoutError("the server did not come up within a minute")


def _child(kind: str, what: str, streams: int, new: int, vocab: int, seed: int) -> float:
    arguments = [kind, what, *(str(n) for n in (streams, new, vocab, seed))]
    done = subprocess.run(
        [sys.executable, "-m", "tokenloom.bench.http", *arguments], capture_output=True, text=True, check=True
    )
    return float(done.stdout.splitlines()[-1])


def prompts(streams: int, vocab: int, seed: int, length: int = 16) -> list[list[int]]:
    """Random ids, each list used once, so that no cache of prefixes helps."""
    draw = random.Random(seed)
    return [[draw.randrange(vocab) for _ in range(length)] for _ in range(streams)]


async def _stream(port: int, ids: list[int], new: int) -> tuple[float, float, int]:
    """When the first and last news came, and how many tokens the usage counts."""
    body = json.dumps(
        {
            "prompt": ids,
            "max_tokens": new,
            "min_tokens": new,
            "temperature": 0,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
    ).encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
    head = f"POST /v1/completions HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
    writer.write(f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body)
    parts: list[bytes] = []
    first = last = 0.0
    while part := await reader.read(1 << 16):
        parts.append(part)
        if b"data:" in part:
            last = time.perf_counter()
            first = first or last
    writer.close()
    text = b"".join(parts).decode("utf-8", errors="replace")
    counts = [line for line in text.splitlines() if '"usage":{' in line]
    if not counts:
        raise RuntimeError(f"the server answered without usage: {text[:300]}")
    return first, last, int(json.loads(counts[-1].removeprefix("data: "))["usage"]["completion_tokens"])


async def _client(port: int, rows: list[list[int]], new: int) -> float:
    await asyncio.gather(*(_stream(port, [1, 2, 3], 4) for _ in rows))
    news = await asyncio.gather(*(_stream(port, ids, new) for ids in rows))
    seconds = max(last for _, last, _ in news) - min(first for first, _, _ in news)
    return sum(count - 1 for _, _, count in news) / seconds


def _alone(model: str, rows: list[list[int]], new: int) -> float:
    import tokenloom as tl

    with tl.load(model) as loaded:
        options: dict[str, Any] = {"temperature": 0, "ignore_eos": True}

        def seconds(count: int) -> float:
            start = time.perf_counter()
            loaded.generate(rows, max_tokens=count, **options)
            return time.perf_counter() - start

        loaded.generate([[1, 2, 3] for _ in rows], max_tokens=4, **options)
        one = seconds(1)
        return len(rows) * (new - 1) / (seconds(new) - one)


def main(arguments: list[str]) -> None:
    """`client PORT` or `alone MODEL`, then streams, new tokens, vocabulary, seed. Prints one number."""
    kind, what = arguments[:2]
    streams, new, vocab, seed = map(int, arguments[2:])
    rows = prompts(streams, vocab, seed)
    rate = asyncio.run(_client(int(what), rows, new)) if kind == "client" else _alone(what, rows, new)
    print(rate)


if __name__ == "__main__":
    main(sys.argv[1:])

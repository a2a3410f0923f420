"""Measures the peers side by side: one process per peer and round, medians over the rounds.

Not what is measured inside a process (worker.py), nor who the peers are (peers.py). Rounds go over all peers
in turn, so that a machine that slows down slows all of them; the ratio to a peer is the figure to quote.
"""

from __future__ import annotations

import datetime
import json
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenloom import hub
from tokenloom.bench.openings import openings
from tokenloom.bench.peers import (
    NAMES,
    PEERS,
    WORKER,
    Peer,
    Say,
    interpreter,
    missing,
    model_path,
    prepare,
    unfit,
)
from tokenloom.tokens.text import load_tokenizer
from tokenloom.version import __version__

METRICS = {
    "decode_tok_s": "1 stream, tok/s",
    "streams_tok_s": "{streams} streams, tok/s",
    "prefill_tok_s": "prefill, tok/s",
    "cold_s": "cold start, s",
    "cold_memory_mb": "memory at first token, MB",
    "memory_mb": "peak memory, MB",
}
"""Figures in the table, with their headings; those that end in tok_s are better higher, the others lower."""
TEXT = "The capital of France is"
SHORT = 16
"""Ids of the prompts that are gone on with."""
WORKER_SECONDS = 1800


class WorkerFailed(RuntimeError):
    """A peer's process did not answer; the message holds the end of what it wrote."""


@dataclass(frozen=True)
class Sizes:
    """How much is asked of every peer."""

    decode: int = 128
    """New tokens a stream."""
    streams: int = 16
    """Streams that run together."""
    prompt: int = 500
    """Tokens of the long prompt."""

    def __post_init__(self) -> None:
        for name, least in (("decode", 2), ("streams", 1), ("prompt", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name}: found {getattr(self, name)}; allowed: {least} or more")


def run(
    model: str = "smollm2",
    peers: Sequence[str] | None = None,
    *,
    rounds: int = 5,
    threads: int | None = None,
    setup: bool = False,
    base: str = "tokenloom",
    sizes: Sizes = Sizes(),
    ledger: Path | None = Path("ledger.jsonl"),
    say: Say = print,
) -> dict[str, Any]:
    """Measures `peers` (None = all) on `model`; says a table and, as the last line, one JSON object.

    threads: per peer; None = the cores this process may use. setup: install what a peer lacks first; without
    it such a peer is reported with the command that installs it. base: whose lead over the others is given.
    ledger: the object is appended there too. Raises ValueError for an unknown peer or impossible numbers,
    SetupFailed.
    """
    chosen = _chosen(peers)
    if base not in NAMES:
        raise ValueError(f"base: found {base}; allowed: {', '.join(NAMES)}")
    if rounds < 1:
        raise ValueError(f"rounds: found {rounds}; allowed: 1 or more")
    threads = threads if threads is not None else cores()
    if threads < 1:
        raise ValueError(f"threads: found {threads}; allowed: 1 or more")
    found = hub.find(model)
    absent: dict[str, str] = {}
    started = time.perf_counter()
    for peer in chosen:
        if setup and unfit(peer, found) is None:
            prepare(peer, found, say)
        lack = unfit(peer, found) or missing(peer, found)
        if lack:
            absent[peer.name] = lack
            say(f"{peer.name} is missing: {lack}")
    ready = [peer for peer in chosen if peer.name not in absent]
    vocab_size = vocabulary(found)
    answers, failed = _rounds(ready, found, rounds, threads, sizes, vocab_size, say)
    result = {
        "what": "bench peers",
        "version": __version__,
        "commit": commit(),
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "seconds": round(time.perf_counter() - started, 1),
        "machine": machine(),
        "model": {"name": found.name, "file": found.path.name},
        "rounds": rounds,
        "threads": threads,
        "sizes": {"decode": sizes.decode, "streams": sizes.streams, "prompt": sizes.prompt},
        **summary(ready, answers, base),
        "missing": absent,
        "failed": failed,
    }
    for line in table(result):
        say(line)
    line = json.dumps(result, ensure_ascii=False)
    if ledger is not None:
        with ledger.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
    say(line)
    return result


def _chosen(names: Sequence[str] | None) -> list[Peer]:
    unknown = set(names or ()) - set(NAMES)
    if unknown:
        raise ValueError(f"peers: found {', '.join(sorted(unknown))}; allowed: {', '.join(NAMES)}")
    return [peer for peer in PEERS if names is None or peer.name in names]


def _rounds(
    peers: Sequence[Peer],
    found: hub.Found,
    rounds: int,
    threads: int,
    sizes: Sizes,
    vocab_size: int,
    say: Say,
) -> tuple[dict[str, list[dict[str, Any]]], dict[str, str]]:
    """All answers by peer; a peer that fails is left out from then on, and its reason kept."""
    answers: dict[str, list[dict[str, Any]]] = {peer.name: [] for peer in peers}
    failed: dict[str, str] = {}
    tokenizer = load_tokenizer(found.path)
    for number in range(rounds):
        beginnings = openings(tokenizer, 3 + 3 * sizes.streams, SHORT, number)
        for peer in peers:
            if peer.name in failed:
                continue
            spec = {
                "peer": peer.worker,
                "model": str(model_path(peer, found)),
                "options": dict(peer.options),
                "threads": threads,
                "seed": number,
                "vocab_size": vocab_size,
                "decode": sizes.decode,
                "streams": sizes.streams,
                "prompt": sizes.prompt,
                "text": TEXT,
                "openings": beginnings,
            }
            try:
                answers[peer.name].append(ask(interpreter(peer), spec, threads))
            except WorkerFailed as error:
                failed[peer.name] = str(error)
                say(f"{peer.name} failed: {error}")
            else:
                say(f"round {number + 1} of {rounds}: {peer.name}")
    return answers, failed


def ask(python: Path, spec: Mapping[str, Any], threads: int, worker: Path = WORKER) -> dict[str, Any]:
    """Runs one worker and gives its answer: figures and versions by name, and what it runs on."""
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": str(threads),
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_OFFLINE": "1",
    }
    command = [str(python), "-P", str(worker), json.dumps({**spec, "started": time.time()})]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, env=environment, timeout=WORKER_SECONDS, errors="replace"
        )
    except subprocess.TimeoutExpired as error:
        raise WorkerFailed(f"no answer within {WORKER_SECONDS} s") from error
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        tail = " / ".join((done.stderr or done.stdout).strip().splitlines()[-3:])
        raise WorkerFailed(f"exit status {done.returncode}: {tail[-600:]}")
    try:
        answer = json.loads(lines[-1])
        figures = {str(name): float(value) for name, value in answer["figures"].items()}
        versions = {str(name): str(value) for name, value in answer["versions"].items()}
        runs = str(answer["runs"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise WorkerFailed(f"its last line is no answer: {lines[-1][:200]!r}") from error
    return {"figures": figures, "versions": versions, "runs": runs}


def summary(
    peers: Sequence[Peer], answers: Mapping[str, Sequence[Mapping[str, Any]]], base: str
) -> dict[str, Any]:
    """Medians with the lowest and highest per figure, and the lead of `base` over others (above 1: ahead)."""
    rows: dict[str, Any] = {}
    for peer in peers:
        given = answers[peer.name]
        if not given:
            continue
        figures = {
            name: spread([answer["figures"][name] for answer in given]) for name in given[0]["figures"]
        }
        facts = {name: given[0][name] for name in ("versions", "runs")}
        rows[peer.name] = {"precision": peer.precision, **facts, "figures": figures}
    ratios: dict[str, dict[str, float]] = {}
    if base in rows:
        ours = rows[base]["figures"]
        for name, row in rows.items():
            if name != base:
                shared = [metric for metric in METRICS if metric in ours and metric in row["figures"]]
                ratios[name] = {m: lead(m, ours[m]["median"], row["figures"][m]["median"]) for m in shared}
    return {"peers": rows, "base": base, "ratio": ratios}


def spread(values: Sequence[float]) -> dict[str, float]:
    """The median and the ends, to four significant digits."""
    numbers = {"median": statistics.median(values), "low": min(values), "high": max(values)}
    return {name: float(f"{value:.4g}") for name, value in numbers.items()}


def lead(metric: str, ours: float, theirs: float) -> float:
    """How many times better ours is: above 1 it is ahead."""
    ratio = ours / theirs if metric.endswith("tok_s") else theirs / ours
    return float(f"{ratio:.3g}")


def table(result: Mapping[str, Any]) -> list[str]:
    """The result as lines of text, one row a peer, the lead over it in brackets."""
    heads = [head.format(**result["sizes"]) for head in METRICS.values()]
    rows = [["", *heads]]
    for name, row in result["peers"].items():
        cells = [name]
        for metric in METRICS:
            cell = f"{row['figures'][metric]['median']:.4g}" if metric in row["figures"] else "-"
            ratio = result["ratio"].get(name, {}).get(metric)
            cells.append(cell if ratio is None else f"{cell} ({ratio:.3g}x)")
        rows.append(cells)
    widths = [max(len(row[i]) for row in rows) for i in range(len(heads) + 1)]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    lines.append(f"(in brackets: how many times better {result['base']} is; below 1 it is behind)")
    notes = [f"{name}: {row['precision']} [{row['runs'][:60]}]" for name, row in result["peers"].items()]
    return lines + notes


def vocabulary(found: hub.Found) -> int:
    """The number of ids to draw prompts from."""
    if found.kind == "hub":
        return int(json.loads((found.path / "config.json").read_text(encoding="utf-8"))["vocab_size"])
    from tokenloom.weights.gguf import open_gguf

    with open_gguf(found.path) as file:
        return file.tensors["token_embd.weight"].shape[0]


def cores() -> int:
    """The cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def machine() -> dict[str, Any]:
    """What it ran on."""
    facts: dict[str, Any] = {"system": platform.system(), "arch": platform.machine(), "cores": cores()}
    facts["python"] = platform.python_version()
    for file, key, name in (("/proc/cpuinfo", "model name", "cpu"), ("/proc/meminfo", "MemTotal", "memory")):
        if Path(file).is_file():
            lines = Path(file).read_text(encoding="utf-8", errors="replace").splitlines()
            facts[name] = next((line.split(":", 1)[1].strip() for line in lines if line.startswith(key)), "")
    return facts


def commit() -> str | None:
    """The commit this program was run from, with + where files were changed; None outside a checkout."""
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return None

    def git(*words: str) -> str:
        command = ["git", "-C", str(root), *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    return git("rev-parse", "--short", "HEAD") + ("+" if git("status", "--porcelain", "-uno") else "")

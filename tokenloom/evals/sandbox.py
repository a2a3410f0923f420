"""Runs Python programs that a model wrote: without network, with limits, in a folder that goes afterwards.

How they are kept in is said with every result. "namespaces" (Linux, jail.py): no network device, a read-only
file system, everything killed by the kernel. "audit hooks" (elsewhere, fence.py): refused by the interpreter,
which stops accidents and not attacks. Reading the user's files is not prevented in either. Not the scoring.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

HERE = Path(__file__).parent
GRACE_S = 10.0
"""What starting and clearing up may take beside the program's own time."""
Kind = Literal["namespaces", "audit hooks"]
Status = Literal["passed", "failed", "time", "memory", "processes", "output"]


@dataclass(frozen=True, slots=True)
class Limits:
    """What one program may use."""

    seconds: float = 10.0
    memory_bytes: int = 1 << 30
    """Address space of each process, and memory in use of all together."""
    processes: int = 32
    file_bytes: int = 16 << 20
    """Of one file, and of what it prints."""
    folder_bytes: int = 64 << 20
    """Of all files together; in namespaces only."""

    def __post_init__(self) -> None:
        for name in ("seconds", "memory_bytes", "processes", "file_bytes", "folder_bytes"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}: found {getattr(self, name)}; allowed: more than 0")


@dataclass(frozen=True, slots=True)
class Isolation:
    """How programs are kept in here."""

    kind: Kind
    why: str = ""
    """Why not by namespaces."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a program."""

    status: Status
    """passed: it ended with exit status 0; time, memory, processes, output: a limit was passed."""
    stdout: str
    stderr: str
    seconds: float
    kind: Kind


@functools.cache
def isolation() -> Isolation:
    """Tries namespaces once. ValueError where not even the other way exists."""
    if os.name != "posix":
        raise ValueError("sandbox: programs are run on Linux and macOS; this system has no such limits")
    if not sys.platform.startswith("linux"):
        return Isolation("audit hooks", "namespaces are Linux's")
    with tempfile.TemporaryDirectory(prefix="loom-") as place:
        _, answer = _jailed("pass", Limits(), Path(place))
    if answer["isolated"]:
        return Isolation("namespaces")
    return Isolation("audit hooks", str(answer["why"]))


def run_program(text: str, *, limits: Limits = Limits(), kind: Kind | None = None) -> Outcome:
    """Runs a Python program with this interpreter and its packages, and waits for it.

    kind: None = namespaces where they can be had. ValueError where they are asked for and cannot be had.
    """
    chosen = isolation().kind if kind is None else kind
    with tempfile.TemporaryDirectory(prefix="loom-", ignore_cleanup_errors=True) as folder:
        place = Path(folder)
        start = time.monotonic()
        if chosen == "namespaces":
            _, answer = _jailed(text, limits, place)
            if not answer["isolated"]:
                raise ValueError(f"sandbox: namespaces cannot be had here: {answer['why']}")
            over, status = str(answer["over"]), answer["status"]
        else:
            status = _run([str(HERE / "fence.py"), _spec(text, limits, place)], place, limits)
            over = "time" if status is None else ""
        seconds = time.monotonic() - start
        out, err = (_text(place / name, limits) for name in ("stdout", "stderr"))
        return Outcome(_status(over, status, place, err, limits), out, err, seconds, chosen)


def _status(over: str, status: int | None, place: Path, err: str, limits: Limits) -> Status:
    if over in ("time", "memory", "processes"):
        return over  # type: ignore[return-value]
    if status == 0:
        return "passed"
    if status in (-signal.SIGXCPU, None):
        return "time"
    if status == -signal.SIGXFSZ or any(
        (place / name).stat().st_size >= limits.file_bytes for name in ("stdout", "stderr")
    ):
        return "output"
    last = err.rstrip().rpartition("\n")[2]
    return "memory" if last.startswith("MemoryError") else "failed"


def _jailed(text: str, limits: Limits, place: Path) -> tuple[int | None, dict[str, Any]]:
    result = place / "result.json"
    result.touch()
    code = _run([str(HERE / "jail.py"), _spec(text, limits, place), str(result)], place, limits)
    if code is None:
        return None, {"isolated": True, "why": "", "over": "time", "status": None}
    try:
        return code, json.loads(result.read_bytes())
    except ValueError:
        why = _text(place / "stderr", limits).strip().rpartition("\n")[2]
        return code, {"isolated": False, "why": why or f"exit status {code}", "over": "", "status": code}


def _spec(text: str, limits: Limits, place: Path) -> str:
    """Writes what the script must know, and names the file."""
    work = place / "work"
    work.mkdir()
    (work / "main.py").write_text(text, encoding="utf-8", errors="surrogatepass")
    spec: Mapping[str, Any] = {
        **asdict(limits),
        "folder": str(work),
        "files": {"main.py": text},
        "command": [sys.executable, "-I", "-B", "main.py"],
        "environment": _environment(work),
    }
    file = place / "spec.json"
    file.write_text(json.dumps(spec), encoding="utf-8")
    return str(file)


def _environment(work: Path) -> dict[str, str]:
    """None of the caller's variables: keys live in them."""
    return {
        "PATH": "/usr/bin:/bin",
        "HOME": str(work),
        "TMPDIR": str(work),
        "LANG": "C.UTF-8",
        "OMP_NUM_THREADS": "1",
    }


def _run(script: list[str], place: Path, limits: Limits) -> int | None:
    """Runs one of the scripts in a group of its own; its exit status, None when it took too long. Whatever
    happens, the group is killed."""
    with (place / "stdout").open("wb") as out, (place / "stderr").open("wb") as err:
        child = subprocess.Popen(
            [sys.executable, "-I", "-B", *script],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            env=_environment(place / "work"),
            cwd=place,
            start_new_session=True,
        )
        jailed = script[0].endswith("jail.py")  # which keeps the time itself
        try:
            return child.wait(limits.seconds + (GRACE_S if jailed else 0.5))
        except subprocess.TimeoutExpired:
            return None
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()


def _text(file: Path, limits: Limits) -> str:
    """What was printed, the middle of it left out where it is long."""
    raw = file.read_bytes()
    most = min(limits.file_bytes, 1 << 16)
    if len(raw) > most:
        raw = raw[: most // 2] + b"\n...\n" + raw[-most // 2 :]
    return raw.decode("utf-8", "replace")

"""What a run's folder says: its recipe, its environment, its log, and how it stands.

Not the writing of one (train.run). Nothing here fails on a damaged line or file: what cannot be read is told
with its place. A run that says it is running while nobody holds its lock was killed.
"""

from __future__ import annotations

import difflib
import importlib.metadata
import json
import os
import platform
import re
import subprocess
import sys
import time
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tokenloom.config import home

RECIPE, ENVIRONMENT, LOG, STATUS, LOCK = (
    "recipe.toml",
    "environment.json",
    "log.jsonl",
    "status.json",
    ".lock",
)
State = Literal["running", "finished", "stopped", "failed", "unknown"]
STATES: tuple[State, ...] = ("running", "finished", "stopped", "failed")
PACKAGES = (
    *("tokenloom", "torch", "numpy", "tokenizers", "safetensors", "transformers", "datasets", "pyarrow"),
    *("gguf", "huggingface_hub", "peft", "tensorboard"),
)
"""Whose versions are noted, where installed."""
GIT_SECONDS = 10
TIME = re.compile(r"-\d{8}-\d{6}(-\d+)?$")
"""What a run's folder has after the recipe's name (train.run)."""
NEAR = 0.6
"""How alike names are that are offered instead of one nobody has, 0 to 1."""


def runs_home() -> Path:
    """Where runs live unless a root is named: `home()/runs`."""
    return home() / "runs"


@dataclass(frozen=True)
class BadLine:
    """A line of a log, or a file, that could not be read."""

    place: str
    """file:line"""
    why: str


@dataclass(frozen=True)
class Run:
    """One run as its folder tells it."""

    path: Path
    state: State
    why: str
    started: str
    updated: str
    recipe: Mapping[str, Any]
    environment: Mapping[str, Any]
    lines: Sequence[Mapping[str, Any]]
    damaged: Sequence[BadLine]

    @property
    def name(self) -> str:
        return self.path.name

    def curve(self, key: str = "loss") -> list[tuple[float, float]]:
        """(step, value) of every line that has a number of this name; "eval.bits" reaches inside."""
        points = []
        for line in self.lines:
            value: Any = line
            for part in key.split("."):
                value = value.get(part) if isinstance(value, Mapping) else None
            if isinstance(value, int | float) and not isinstance(value, bool):
                points.append((float(line["step"]), float(value)))
        return points

    def last(self, key: str) -> float | None:
        """The last number of this name."""
        points = self.curve(key)
        return points[-1][1] if points else None

    @property
    def step(self) -> int:
        return int(self.lines[-1]["step"]) if self.lines else 0


def read_run(path: Path) -> Run:
    """The run in a folder; ValueError where it is none."""
    if not (path / RECIPE).is_file():
        raise ValueError(f"run: {path} is no run folder: it has no {RECIPE}")
    damaged: list[BadLine] = []
    lines, bad = read_log(path / LOG)
    status = read_object(path / STATUS, damaged)
    state: State = next((s for s in STATES if s == status.get("state")), "unknown")
    why = str(status.get("why", ""))
    if state == "running" and not is_written(path):
        state, why = "stopped", "its process is gone"
    return Run(
        path,
        state,
        why,
        str(status.get("started", "")),
        str(status.get("updated", "")),
        _recipe(path / RECIPE, damaged),
        read_object(path / ENVIRONMENT, damaged),
        lines,
        [*damaged, *bad],
    )


def list_runs(root: Path | None = None) -> list[Run]:
    """Every run under `root` (None = `runs_home()`), the newest first."""
    place = runs_home() if root is None else root
    if not place.is_dir():
        return []
    folders = [p for p in place.iterdir() if (p / RECIPE).is_file()]
    runs = [read_run(p) for p in folders]
    return sorted(runs, key=lambda run: (run.started, run.name), reverse=True)


def latest(root: Path | None = None, name: str | None = None) -> Path:
    """The newest run's folder (of those called <name>-...); ValueError where there is none."""
    for run in list_runs(root):
        if name is None or run.name.startswith(f"{name}-"):
            return run.path
    where = runs_home() if root is None else root
    raise ValueError(f"run: found none{f' of {name!r}' if name else ''} in {where}; `loom runs` lists them")


def find_run(name: str, root: Path | None = None) -> Path:
    """A run by its path, its folder's name, the start of one, or "latest".

    The one way in which commands are told a run. ValueError where there is none or there are several, with
    the names that are near, and where `name` is a path to something else.
    """
    if name == "latest":
        return latest(root)
    place = runs_home() if root is None else root
    for path in (Path(name), place / name) if name else ():
        if (path / RECIPE).is_file():
            return path
    there = [run.name for run in list_runs(root)]
    found = [one for one in there if one.startswith(name)] if name else []
    if len(found) == 1:
        return place / found[0]
    if found:
        raise ValueError(f"run: {name!r} begins {len(found)} names: {_some(found)}; name one of them whole")
    if Path(name).exists() and name:
        what = "a file" if Path(name).is_file() else f"a folder without {RECIPE}"
        raise ValueError(f"run: {name} is {what}; allowed: a run's folder, its name, or latest")
    raise ValueError(f"run: found none called {name!r} in {place}; {_nearest(name, there)}")


def _nearest(name: str, there: Sequence[str]) -> str:
    """What to try instead of a name that no run has."""
    elsewhere = "--root names another place where runs lie"
    if not there:
        return f"none is there, `loom train RECIPE` makes one; {elsewhere}"
    likeness = {
        one: max(difflib.SequenceMatcher(None, name, word).ratio() for word in (one, TIME.sub("", one)))
        for one in there
    }
    near = sorted((one for one in there if likeness[one] > NEAR), key=lambda one: -likeness[one])
    return f"{'the nearest are' if near else 'there are'}: {_some(near or there)}; {elsewhere}"


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def read_log(file: Path) -> tuple[list[dict[str, Any]], list[BadLine]]:
    """The log's lines, and those that are damaged: not UTF-8, not JSON, no object, or without a step."""
    lines: list[dict[str, Any]] = []
    damaged: list[BadLine] = []
    if not file.is_file():
        return lines, damaged
    for number, raw in enumerate(file.read_bytes().split(b"\n"), 1):
        if not raw.strip():
            continue
        try:
            line = json.loads(raw)
        except (ValueError, RecursionError) as error:
            damaged.append(BadLine(f"{file}:{number}", f"not JSON: {error}"))
            continue
        if not isinstance(line, dict) or type(line.get("step")) is not int:
            damaged.append(BadLine(f"{file}:{number}", "no object with a whole number as its step"))
            continue
        lines.append(line)
    return lines, damaged


def read_object(file: Path, damaged: list[BadLine] | None = None) -> dict[str, Any]:
    """A JSON file's object; empty where it is missing or damaged, which is noted in `damaged`."""
    if not file.is_file():
        return {}
    try:
        value = json.loads(file.read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        value, why = None, f"not JSON: {error}"
    else:
        why = f"found a {type(value).__name__}, needs an object"
    if isinstance(value, dict):
        return value
    if damaged is not None:
        damaged.append(BadLine(str(file), why))
    return {}


def _recipe(file: Path, damaged: list[BadLine]) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text("utf-8"))
    except ValueError as error:
        damaged.append(BadLine(str(file), f"not TOML: {error}"))
        return {}


def is_written(path: Path) -> bool:
    """Whether a process writes to this run now."""
    from filelock import FileLock, Timeout

    if not (path / LOCK).is_file():
        return False
    lock = FileLock(path / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    lock.release()
    return False


def stamp(seconds: float) -> str:
    """A time as files and lists write it: 2026-01-31T12:00:00, in local time."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(seconds))


def environment(seeds: Mapping[str, int]) -> dict[str, Any]:
    """On what this process runs, for a run's record."""
    return {
        "time": stamp(time.time()),
        "command": list(sys.argv),
        "seeds": dict(seeds),
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "cpu": cpu_name(),
        "cores": len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count(),
        "memory_bytes": _memory(),
        "gpu": _gpus(),
        "packages": {name: v for name in PACKAGES if (v := _version(name)) is not None},
        "git": git_state(Path(__file__).parent),
    }


def cpu_name() -> str:
    """The processor by its own name, else its architecture."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text("utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _memory() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return None


def _gpus() -> list[str]:
    import torch

    return [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def git_state(folder: Path) -> dict[str, Any] | None:
    """Commit of the code that runs, and whether it was changed since; None outside a repository."""

    def git(*words: str) -> str:
        command = ["git", "-C", str(folder), *words]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=GIT_SECONDS).stdout

    try:
        commit = git("rev-parse", "HEAD").strip()
        dirty = bool(git("status", "--porcelain", "--untracked-files=no").strip())
    except (OSError, subprocess.SubprocessError):
        return None
    return {"commit": commit, "dirty": dirty}

"""The folder of one training run: what was asked for, on what it ran, and what came of it, line by line.

    runs/<name>-<yyyymmdd-hhmmss>/
        recipe.toml        the resolved recipe
        environment.json   machine, versions, git commit, command line, seeds (train.record)
        log.jsonl          one line a step that is told of, each with "step"; flushed as it is written
        status.json        running, finished, stopped or failed, since when and why
        tensorboard/       the same numbers for TensorBoard, where that package is installed
        checkpoints/  model/   the trainer's

Not the training, and not the reading of runs (train.record). One process at a time writes to a run.
"""

from __future__ import annotations

import json
import logging
import math
import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

from tokenloom.config import append_whole, put_json, put_text
from tokenloom.train.record import (
    ENVIRONMENT,
    LOCK,
    LOG,
    RECIPE,
    STATUS,
    environment,
    read_log,
    read_object,
    runs_home,
    stamp,
)

if TYPE_CHECKING:
    from filelock import BaseFileLock
    from torch.utils.tensorboard import SummaryWriter

log = logging.getLogger(__name__)

NAME = re.compile(r"\w[\w.-]{0,79}")
Ended = Literal["finished", "stopped", "failed"]
LOCK_SECONDS = 2.0
"""A reader holds the lock for a moment to see whether anyone writes."""


class RunBusy(ValueError):
    """Another process writes to this run."""


class RunFolder:
    """A run that this process writes to. As a context manager it notes how the run ended."""

    def __init__(self, path: Path, step: int | None = None) -> None:
        """For `create` and `open`; step: where TensorBoard forgets what came after."""
        from filelock import FileLock, Timeout

        self.path = path
        self._lock = FileLock(path / LOCK)
        try:
            self._lock.acquire(timeout=LOCK_SECONDS)
        except Timeout:
            raise RunBusy(f"run: {path} is written to by another process; wait for it or stop it") from None
        self._step = step
        self._log: int | None = None
        self._board: SummaryWriter | _NoBoard | None = None
        self._started = time.time()

    @classmethod
    def create(
        cls,
        name: str,
        recipe: str,
        root: Path | str | None = None,
        *,
        seeds: Mapping[str, int] | None = None,
    ) -> RunFolder:
        """A new folder `root`/<name>-<time> holding the resolved recipe (TOML text) and the environment.

        root: None = `runs_home()`. Two runs of one name and second get folders of their own. Raises
        ValueError for a name that is no folder's, OSError where it cannot be written.
        """
        if not NAME.fullmatch(name):
            raise ValueError(
                f"name: found {name!r}; allowed: up to 80 letters, digits, _ . -, a letter first"
            )
        path = _fresh(runs_home() if root is None else Path(root), name)
        run = cls(path)
        with _released_on_error(run._lock):
            put_text(path / RECIPE, recipe)
            put_json(path / ENVIRONMENT, environment(dict(seeds or {})))
            (path / LOG).touch()
            run._open_log()
            run._note("running")
        return run

    @classmethod
    def open(cls, path: Path | str, step: int | None = None) -> RunFolder:
        """A run to go on with, from the checkpoint of `step`: lines of later steps and damaged ones go.

        step: None = every whole line stays. Raises ValueError where `path` is no run, RunBusy.
        """
        path = Path(path)
        if not (path / RECIPE).is_file():
            raise ValueError(f"run: {path} is no run folder: it has no {RECIPE}")
        run = cls(path, step)
        with _released_on_error(run._lock):
            lines, damaged = read_log(path / LOG)
            for bad in damaged:
                log.warning("%s: a damaged line was dropped: %s", bad.place, bad.why)
            kept = [line for line in lines if step is None or line["step"] <= step]
            put_text(path / LOG, "".join(_line(line) for line in kept))
            run._open_log()
            run._note("running")
        return run

    @property
    def recipe(self) -> str:
        """The resolved recipe, as it was written."""
        return (self.path / RECIPE).read_text("utf-8")

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def model(self) -> Path:
        """Where the trained model goes."""
        return self.path / "model"

    def log(self, line: Mapping[str, Any]) -> None:
        """Appends one line, whole or not at all, and tells TensorBoard its numbers.

        Numbers that are not finite become null. Raises ValueError without a "step" or for what JSON does not
        hold, OSError (a full disk) with the log as it was.
        """
        if type(line.get("step")) is not int:
            raise ValueError(f"step: found {line.get('step')!r} in a line of the log; needs a whole number")
        assert self._log is not None, "the run is closed"
        append_whole(self._log, _line(line).encode())
        self._tell_board(line)

    def sync(self) -> None:
        """Waits until the log is on the disk; for the moment before a checkpoint counts."""
        if self._log is not None:
            os.fsync(self._log)

    def close(self, state: Ended = "finished", why: str = "") -> None:
        """Notes how the run ended, and lets go of it. A second call does nothing."""
        if self._log is None:
            return
        try:
            self.sync()
            self._note(state, why)
        finally:
            os.close(self._log)
            self._log = None
            self._lock.release()
            if self._board is not None:
                self._board.close()

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        elif isinstance(error, KeyboardInterrupt):
            self.close("stopped", "interrupted")
        else:
            self.close("failed", f"{type(error).__name__}: {error}"[:500])

    def _open_log(self) -> None:
        self._log = os.open(self.path / LOG, os.O_WRONLY | os.O_APPEND)

    def _note(self, state: str, why: str = "") -> None:
        known = read_object(self.path / STATUS)
        begun = known.get("started", stamp(self._started))
        facts = {"state": state, "started": begun, "updated": stamp(time.time()), "pid": os.getpid()}
        put_json(self.path / STATUS, facts | ({"why": why} if why else {}))

    def _tell_board(self, line: Mapping[str, Any]) -> None:
        if self._board is None:
            self._board = _board(self.path / "tensorboard", self._step)
        try:
            for name, value in scalars(line).items():
                self._board.add_scalar(name, value, line["step"])
        except OSError as error:  # the log is the record; it tells of a full disk itself
            log.warning("TensorBoard's files are written no longer: %s", error)
            self._board = _NoBoard()


class _NoBoard:
    """Stands for TensorBoard's writer where the package is not installed."""

    def add_scalar(self, name: str, value: float, step: int) -> None:
        pass

    def close(self) -> None:
        pass


def _board(folder: Path, step: int | None) -> Any:
    """TensorBoard's writer; after a resume it is told to forget what came after `step`."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        log.warning("TensorBoard's files are not written: `pip install tensorboard` adds them")
        return _NoBoard()
    return SummaryWriter(str(folder), purge_step=None if step is None else step + 1)


def scalars(line: Mapping[str, Any]) -> dict[str, float]:
    """The finite numbers of a line by the names TensorBoard shows them under: train/loss, eval/bits, ..."""
    found: dict[str, float] = {}
    for key, value in line.items():
        if key == "step":
            continue
        inner = value if isinstance(value, Mapping) else {key: value}
        group = key if isinstance(value, Mapping) else "train"
        for name, number in inner.items():
            if isinstance(number, int | float) and not isinstance(number, bool) and math.isfinite(number):
                found[f"{group}/{name}"] = float(number)
    return found


@contextmanager
def _released_on_error(lock: BaseFileLock) -> Iterator[None]:
    try:
        yield
    except BaseException:
        lock.release()
        raise


def _fresh(root: Path, name: str) -> Path:
    """A folder that this call made, so that no other has it."""
    root.mkdir(parents=True, exist_ok=True)
    base = f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"
    for number in range(1, 1000):
        path = root / (base if number == 1 else f"{base}-{number}")
        try:
            path.mkdir()
        except FileExistsError:
            continue
        return path
    raise FileExistsError(f"{root / base}: there are a thousand runs of this name and second")


def _line(values: Mapping[str, Any]) -> str:
    try:
        return json.dumps(_finite(values), ensure_ascii=False, allow_nan=False) + "\n"
    except TypeError as error:
        raise ValueError(f"log: a line holds what JSON does not: {error}") from error


def _finite(value: Any) -> Any:
    """NaN and infinities as null: JSON has no word for them."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value

"""A run from its first step, or the one it stopped at, to its last: what happens between the steps.

Not the step (train.loop) and not the making of its parts (train.start). Evaluations and sample texts come as
functions of the objective's model. Ctrl-C and SIGTERM end the run after the step at hand, with a checkpoint.
"""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from tokenloom.train.loop import NotFinite, Step, Trainer
from tokenloom.train.recipe import RunPart

Evaluation = Callable[[], Mapping[str, float]]
Samples = Callable[[], list[Mapping[str, str]]]
SAVE_SECONDS = 600.0
JUDGED = "held_out_loss"
"""The figure that early stopping and the best checkpoint look at; less is better."""


class Journal(Protocol):
    """Where a run's lines go (train.run.RunFolder)."""

    @property
    def path(self) -> Path: ...
    @property
    def checkpoints(self) -> Path: ...
    def log(self, line: Mapping[str, Any]) -> None: ...
    def sync(self) -> None: ...


class Display(Protocol):
    """What shows a run (train.progress.TrainingBar)."""

    def update(self, step: int, loss: float, tok_s: float) -> None: ...
    def note(self, text: str) -> None: ...
    def paused(self) -> AbstractContextManager[None]: ...


@dataclass(frozen=True)
class Outcome:
    """How it ended."""

    why: Literal["done", "patience", "minutes", "interrupted"]
    step: int
    tokens: int
    seconds: float
    """Training time over all segments."""
    last: Mapping[str, float]
    """The last evaluation."""

    @property
    def finished(self) -> bool:
        return self.why in ("done", "patience")


class StoppedOnNaN(ValueError):
    """A step's loss or gradient was no number; the message names the file that holds the batch."""


@dataclass
class _Progress:
    """What a checkpoint remembers beside tensors."""

    tokens: int = 0
    seconds: float = 0.0
    best: float | None = None
    worse: int = 0
    last: Mapping[str, float] | None = None


def fit(
    trainer: Trainer,
    journal: Journal,
    run: RunPart,
    bar: Display,
    evaluate: Evaluation | None = None,
    samples: Samples | None = None,
    progress: Mapping[str, Any] | None = None,
    step_tokens: int = 0,
    reads: str = "tokens",
    unit: str = "tok",
) -> Outcome:
    """Trains to the end or until it must stop; the last checkpoint is that of the last step.

    progress: what `Trainer.load` answered, to go on. step_tokens: ids a step reads, for the rates told; 0 =
    what it learns; reads, unit: what they are called in the log, where they are no ids. Raises StoppedOnNaN,
    OSError when a disk is full.
    """
    state = _Progress(**(progress or {}))
    begun = saved = time.monotonic()
    steps = trainer.sizes.steps
    why: Literal["done", "patience", "minutes", "interrupted"] = "done"
    with _signals() as stop:
        while trainer.step_number < steps:
            step = _step(trainer, journal)
            state.tokens += step_tokens or step.count
            state.seconds += step.seconds
            tok_s = (step_tokens or step.count) / step.seconds
            bar.update(step.number, step.loss, tok_s)
            line: dict[str, Any] = {}
            last = step.number == steps
            if evaluate is not None and (last or _due(step.number, run.eval_every)):
                with trainer.averaged(), bar.paused():
                    found = dict(evaluate())
                line["eval"] = state.last = found
                bar.note(f"step {step.number}: " + ", ".join(f"{k} {v:.4g}" for k, v in found.items()))
                _judge(state, found)
            if samples is not None and (last or _due(step.number, run.sample_every)):
                with trainer.averaged():
                    line["samples"] = samples()
                for sample in line["samples"]:
                    bar.note(f"{sample['prompt']} → {sample['text']}")
            told = {reads: state.tokens, f"{unit}_s": round(tok_s, 1)}
            journal.log(_line(step, state) | told | line)
            if run.patience and state.worse >= run.patience:
                why = "patience"
            elif stop and not last:
                why = "interrupted"
            elif run.minutes and time.monotonic() - begun > 60 * run.minutes and not last:
                why = "minutes"
            ends = why != "done" or last
            late = not run.save_every and time.monotonic() - saved > SAVE_SECONDS
            if ends or late or _due(step.number, run.save_every):
                journal.sync()
                trainer.save(journal.checkpoints, asdict(state), run.keep)
                saved = time.monotonic()
            if ends:
                break
    return Outcome(why, trainer.step_number, state.tokens, state.seconds, state.last or {})


def _step(trainer: Trainer, journal: Journal) -> Step:
    try:
        return trainer.step()
    except NotFinite as error:
        file = journal.path / f"bad-batch-{error.step}.json"
        file.write_text(json.dumps(_plain(error.batch)), encoding="utf-8")
        raise StoppedOnNaN(
            f"{error}; the batch that caused it is in {file}, the weights of the last checkpoint are whole. "
            "A lower optim.lr, a longer optim.warmup or run.dtype=float32 may help"
        ) from error


def _plain(batch: Any) -> Any:
    if is_dataclass(batch) and not isinstance(batch, type):
        return {name: _plain(value) for name, value in vars(batch).items()}
    if hasattr(batch, "tolist"):
        return batch.tolist()
    return repr(batch)


def _line(step: Step, state: _Progress) -> dict[str, Any]:
    return {
        "step": step.number,
        "seconds": round(state.seconds, 3),
        "loss": step.loss,
        "lr": step.lr,
        "grad_norm": step.grad_norm,
        **step.figures,
    }


def _judge(state: _Progress, found: Mapping[str, float]) -> None:
    value = found.get(JUDGED)
    if value is None:
        return
    if state.best is None or value < state.best:
        state.best, state.worse = value, 0
    else:
        state.worse += 1


def _due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0


@contextmanager
def _signals() -> Iterator[list[int]]:
    """Collects SIGINT and SIGTERM instead of dying of the first; a second one is not waited for."""
    seen: list[int] = []

    def note(number: int, _: object) -> None:
        if seen:
            raise KeyboardInterrupt
        seen.append(number)

    try:
        old = {s: signal.signal(s, note) for s in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not the main thread: whoever owns the process listens
        yield seen
        return
    try:
        yield seen
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)

"""What a terminal shows while a model trains: step, loss, tokens a second, share of the peak, time left.

Not the record of the run (train.run). In a terminal a bar that stays; elsewhere (a file, a service's log)
plain lines, seldom enough to be read. All of it goes to stderr.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

PLAIN_SECONDS = 15.0
"""Between two plain lines, the first and the last step aside."""


class TrainingBar:
    """The progress of one training; a context manager."""

    def __init__(
        self,
        steps: int,
        start: int = 0,
        *,
        flops_per_token: float = 0.0,
        peak_flops: float = 0.0,
        console: Console | None = None,
        plain_seconds: float = PLAIN_SECONDS,
        unit: str = "tok",
    ) -> None:
        """steps: the last step; start: those done before. With `flops_per_token` (forward and backward) and
        the machine's `peak_flops` (train.peak) the share of the peak is told. unit: what a step reads."""
        from rich.console import Console

        self.steps, self.start = steps, start
        self._share = flops_per_token / peak_flops if peak_flops > 0 else 0.0
        self._console = console or Console(stderr=True)
        self._every, self._unit = plain_seconds, unit
        self._bar: Progress | None = None
        self._begun = self._said = time.monotonic()
        self._spoke = False

    def __enter__(self) -> TrainingBar:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._begun = self._said = time.monotonic()
        if self._console.is_terminal:
            columns = (
                TextColumn("step"),
                MofNCompleteColumn(),
                BarColumn(None),
                TextColumn("{task.fields[told]}"),
            )
            self._bar = Progress(*columns, TimeRemainingColumn(), console=self._console)
            self._bar.start()
            self._task = self._bar.add_task("", total=self.steps, completed=self.start, told="")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def update(self, step: int, loss: float, tok_s: float) -> None:
        """Tells of a finished step. loss in nats a token."""
        told = f"loss {loss:.4f} · {tok_s:,.0f} {self._unit}/s"
        if self._share:
            told += f" · {100 * self._share * tok_s:.0f}% of peak"
        if self._bar is not None:
            self._bar.update(self._task, completed=step, told=told)
            return
        now = time.monotonic()
        if self._spoke and now - self._said < self._every and step < self.steps:
            return
        self._spoke, self._said = True, now
        done = step - self.start
        left = (now - self._begun) / done * (self.steps - step) if done > 0 else math.nan
        self._line(f"step {step}/{self.steps} · {told} · {duration(left)} left")

    def note(self, text: str) -> None:
        """A line above the bar: an evaluation, a sample, a checkpoint."""
        self._line(text)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Takes the bar away, so that another may be shown, and brings it back."""
        if self._bar is None:
            yield
            return
        live = self._bar.live
        live.transient = True
        self._bar.stop()
        live.transient = False
        try:
            yield
        finally:
            self._bar.start()

    def _line(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)


@contextmanager
def measuring_bar(
    what: str, say: bool = False, console: Console | None = None, plain_seconds: float = PLAIN_SECONDS
) -> Iterator[Callable[[int, int], None]]:
    """Shows how far a measurement is; yields what hears (done, of how many).

    In a terminal a bar that goes at the end. Elsewhere a line as it begins, where `say`, and then one each
    `plain_seconds`. No other bar may be shown (`TrainingBar.paused`).
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = console or Console(stderr=True)
    title = f"measuring {what}"
    if console.is_terminal:
        columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
        with Progress(*columns, console=console, transient=True) as bar:
            task = bar.add_task(title, total=None)
            yield lambda done, of: bar.update(task, completed=done, total=of)
        return
    said = time.monotonic()
    if say:
        console.print(title, markup=False, highlight=False, soft_wrap=True)

    def line(done: int, of: int) -> None:
        nonlocal said
        if done < of and time.monotonic() - said >= plain_seconds:
            said = time.monotonic()
            console.print(f"{title} · {done}/{of}", markup=False, highlight=False, soft_wrap=True)

    yield line


def duration(seconds: float) -> str:
    """45 s, 12 min, 3 h 20 min; "?" where it is not known."""
    if not math.isfinite(seconds):
        return "?"
    whole = round(seconds)
    if whole < 90:
        return f"{whole} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"

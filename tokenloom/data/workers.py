"""Work spread over processes whose results come back in order. Not a cluster: that is datatrove's executors.

The workers are new processes (spawned, so nothing is inherited from threads or open files): a script that
calls this needs the usual `if __name__ == "__main__":`.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

Job = TypeVar("Job")
Result = TypeVar("Result")

AHEAD = 2
"""Jobs that wait or run for each worker; more would only take memory."""
_work: Callable[[Any], Any] | None = None


class WorkerDied(OSError):
    """A worker process ended by itself, most often for want of memory."""


def in_order(
    make: Callable[..., Callable[[Job], Result]],
    arguments: tuple[Any, ...],
    jobs: Iterable[Job],
    workers: int,
) -> Generator[Result]:
    """The results of make(*arguments)(job) for each job, in the order of the jobs.

    make runs once in each worker, so what it loads is loaded once. With one worker all runs in this process.
    Closing the generator ends the workers. Raises WorkerDied.
    """
    if workers < 1:
        raise ValueError(f"workers: found {workers}; allowed is 1 or more")
    if workers == 1:
        work = make(*arguments)
        for job in jobs:
            yield work(job)
        return
    pool = ProcessPoolExecutor(
        workers, multiprocessing.get_context("spawn"), initializer=_begin, initargs=(make, arguments)
    )
    waiting: deque[Future[Result]] = deque()
    try:
        for job in jobs:
            waiting.append(pool.submit(_run, job))
            if len(waiting) >= workers * AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool as error:
        raise WorkerDied(
            "workers: one ended by itself, most often for want of memory; what was done is kept: "
            "the same command with fewer workers goes on"
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _begin(make: Callable[..., Callable[[Any], Any]], arguments: tuple[Any, ...]) -> None:
    global _work
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends the pool
    _work = make(*arguments)


def _run(job: Any) -> Any:
    assert _work is not None
    return _work(job)

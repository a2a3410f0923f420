"""How much one key, and everyone together, may ask at a time, and how many bytes a request may have.

Nothing here waits: too much is a 429 or a 413.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tokenloom.serve.errors import ApiError, busy
from tokenloom.tasks.pictures_in import MAX_BYTES

FILES = {
    "/v1/images/edits": 2,
    "/v1/images/variations": 1,
    "/v1/tasks/": 2,
    "/v1/chat/completions": 1,
    "/v1/audio/transcriptions": 1,
    "/v1/audio/translations": 1,
    "/v1/audio/music": 1,
}
"""How many files a request may bring, by where its path begins: an edit has a picture and its mask."""


def most_bytes(path: str, words: int) -> int:
    """Bytes that a request to this path may have.

    words: those of a request without files (Settings.max_body_bytes). Each file that the route takes brings
    as many as the reader of pictures opens, in base64: what the reader would take, the door lets in.
    """
    files = next((n for start, n in FILES.items() if path.startswith(start)), 0)
    return words + files * ((MAX_BYTES + 2) // 3 * 4)


@dataclass
class _Holder:
    allowance: float
    updated: float
    running: int = 0


class KeyLimits:
    """Requests a minute (a bucket that refills evenly) and requests at a time, per key."""

    def __init__(self, per_minute: int, concurrent: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_minute = per_minute
        self._concurrent = concurrent
        self._clock = clock
        self._holders: dict[str, _Holder] = {}

    @contextmanager
    def request(self, name: str) -> Iterator[None]:
        """One request of this key; raises ApiError 429 if it is too many."""
        now = self._clock()
        holder = self._holders.setdefault(name, _Holder(self._per_minute, now))
        if self._concurrent and holder.running >= self._concurrent:
            raise busy(
                f"This key has {holder.running} requests under way; {self._concurrent} are allowed.", 1
            )
        if self._per_minute:
            rate = self._per_minute / 60
            holder.allowance = min(self._per_minute, holder.allowance + (now - holder.updated) * rate)
            holder.updated = now
            if holder.allowance < 1:
                wait_s = (1 - holder.allowance) / rate
                raise busy(
                    f"This key may ask {self._per_minute} times a minute; wait {wait_s:.0f} s.", wait_s
                )
            holder.allowance -= 1
        holder.running += 1
        try:
            yield
        finally:
            holder.running -= 1


class Queue:
    """Requests in the engine, running and waiting together."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.taken = 0

    @contextmanager
    def places(self, count: int) -> Iterator[None]:
        """Room for this many; raises ApiError when it is taken, or could never be had."""
        if count > self.most:
            raise ApiError(
                400, f"prompt: {count} prompts in one request; at most {self.most} fit", param="prompt"
            )
        if self.taken + count > self.most:
            raise busy(
                f"The server has {self.taken} requests under way; {self.most} are allowed.", 2, "queue_full"
            )
        self.taken += count
        try:
            yield
        finally:
            self.taken -= count

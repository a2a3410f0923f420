"""Voices and recognisers beside the models: sentences made sound and sounds written down, on two threads.

Not the models and not their steps: what computes here (onnxruntime, CTranslate2) lets the interpreter go on
meanwhile, so texts that are being written do too. One thread speaks and one listens, so that a sentence need
not wait for a recording of an hour. What is unused for long is let go.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from tokenloom.sound.recognise import Recogniser
    from tokenloom.sound.voices import Voice

log = logging.getLogger(__name__)

SoundWork = Literal["speak", "hear", "hush"]
KINDS: tuple[SoundWork, ...] = ("speak", "hear", "hush")
Tell = Callable[[Any, "str | None"], None]

POLL_S = 0.005
IDLE_S = 600.0
HELD = 8
"""Voices open at a time."""


@dataclass
class _Lane:
    """One thread and what it holds open, by name; only that thread touches it."""

    name: str
    pool: ThreadPoolExecutor = field(init=False)
    held: dict[str, Any] = field(default_factory=dict)
    used_at: float = 0.0

    def __post_init__(self) -> None:
        self.pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix=self.name)


class Voices:
    """What there is to speak and to write down. One owner calls `do` and `poll`."""

    def __init__(self, idle_s: float = IDLE_S, clock: Callable[[], float] = time.monotonic) -> None:
        self._idle_s, self._clock = idle_s, clock
        self._lanes = {"speak": _Lane("speak"), "hear": _Lane("hear")}
        self._open: list[tuple[Future[Any], Tell]] = []
        self._hushed: set[str] = set()
        self._asked: set[str] = set()

    def do(self, kind: SoundWork, arguments: tuple[Any, ...], tell: Tell) -> None:
        """Begins a work; `tell` is called in a later `poll`, or now for "hush".

        "speak": voice, Piece, speed, seed -> (rate, samples (n,) float32). "hear": id, folder, a file's
        bytes, Ask -> Heard. "hush": id -> None, and that hearing ends with an error.
        """
        if kind == "hush":
            if arguments[0] in self._asked:
                self._hushed.add(arguments[0])
            tell(None, None)
            return
        lane = self._lanes[kind]
        lane.used_at = self._clock()
        if kind == "hear":
            self._asked.add(arguments[0])
        work = self._speak if kind == "speak" else self._hear
        self._open.append((lane.pool.submit(work, lane, *arguments), tell))

    @property
    def busy(self) -> bool:
        """`poll` is to be called soon."""
        return bool(self._open)

    def poll(self) -> None:
        """Tells what came of works that are done, and lets go of what is unused for long."""
        done = [one for one in self._open if one[0].done()]
        self._open = [one for one in self._open if not one[0].done()]
        for future, tell in done:
            error = future.exception()
            if error is None:
                tell(future.result(), None)
            else:
                tell(None, str(error) or type(error).__name__)
        for lane in self._lanes.values():
            if not self._open and lane.held and self._clock() - lane.used_at > self._idle_s:
                lane.held.clear()

    def _speak(self, lane: _Lane, voice: str, piece: Any, speed: float, seed: int) -> tuple[int, Any]:
        from tokenloom.sound.say import utter

        opened: Voice | None = lane.held.get(voice)
        if opened is None:
            from tokenloom.engine.speaker import open_voice

            while len(lane.held) >= HELD:
                del lane.held[next(iter(lane.held))]
            opened = lane.held[voice] = open_voice(voice)
        samples = utter(opened, piece, speed, seed)
        return opened.rate, samples

    def _hear(self, lane: _Lane, ident: str, folder: str, data: bytes, ask: Any) -> Any:
        from tokenloom.sound.audio import read_audio
        from tokenloom.sound.recognise import RATE, Recogniser, Stopped

        def watch(_: float) -> None:
            if ident in self._hushed:
                raise Stopped("nobody waits for it any more")

        try:
            watch(0.0)
            samples, _ = read_audio(data, rate=RATE, mono=True)
            recogniser: Recogniser | None = lane.held.get(folder)
            if recogniser is None:
                lane.held.clear()
                recogniser = lane.held[folder] = Recogniser(Path(folder))
            return recogniser.hear(samples[:, 0], ask, watch)
        finally:
            self._asked.discard(ident)
            self._hushed.discard(ident)

"""A picture model's codec and judge beside its core: pixels to codes and back, words against pictures.

Not the networks (codec/) and not the model that writes the codes. They are opened on a thread, for importing
PyTorch takes its time, and worked by the host between two steps of the models, a few pictures at a time, so
that texts that are being written go on.
"""

# Shapes: N pictures, H W pixels, P codes of a picture, T texts or pictures

from __future__ import annotations

import importlib
import logging
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from tokenloom.hub.card import CODEC, JUDGE, has_codec

if TYPE_CHECKING:
    import numpy as np

log = logging.getLogger(__name__)

Work = Literal["encode", "decode", "judge", "paint"]
"""The last is engine.easel's."""
Tell = Callable[[Any, "str | None"], None]
"""Told what came of a work: an array, or what went wrong."""

OPENER = "tokenloom.engine.works:open_works"
PIECE = 8
"""Pictures in one piece of work: a hundredth of a second or two."""
GROWN = 4
"""Bytes in memory for one of a file in half precision: weights in float32, and as much to compute."""


class Hands(Protocol):
    """Who does the work for one model."""

    def encode(self, pictures: np.ndarray) -> np.ndarray:
        """uint8 (N, H, W, 4) -> int64 (N, P)."""
        ...

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """int64 (N, P) -> uint8 (N, H, W, 4)."""
        ...

    def judge(self, told: list[str | np.ndarray], pictures: np.ndarray) -> np.ndarray:
        """float32 (T, N): how well each caption, or picture (H, W, 4), fits each picture."""
        ...


class TorchHands:
    """The codec and the judge of a model's folder, in PyTorch. The judge is opened when it is first asked."""

    def __init__(self, folder: Path) -> None:
        """ValueError or OSError for a folder without a codec, or with one that cannot be read."""
        from tokenloom.codec.folder import open_codec
        from tokenloom.tokens.joined import check_codes

        if not has_codec(folder):
            raise ValueError(
                f"{folder.name} is no picture model: there is no {CODEC}/config.json in its folder"
            )
        self._folder = folder
        self._codec = open_codec(folder / CODEC)
        check_codes(folder, folder / CODEC, self._codec.sha256)
        self._judge: Any = None

    def encode(self, pictures: np.ndarray) -> np.ndarray:
        return self._codec.encode(pictures)

    def decode(self, codes: np.ndarray) -> np.ndarray:
        return self._codec.decode(codes)

    def judge(self, told: list[str | np.ndarray], pictures: np.ndarray) -> np.ndarray:
        if self._judge is None:
            from tokenloom.engine.judge import open_judge

            if not (self._folder / JUDGE / "config.json").is_file():
                raise ValueError(
                    f"{self._folder.name} has no judge: there is no {JUDGE}/config.json in its folder"
                )
            self._judge = open_judge(self._folder / JUDGE)
        scores: np.ndarray = self._judge.scores(told, pictures)
        return scores


def works_bytes(path: str | Path) -> int:
    """Memory that codec and judge of a model take, about; 0 where it has none."""
    files = [Path(path) / name / "model.safetensors" for name in (CODEC, JUDGE)]
    return GROWN * sum(file.stat().st_size for file in files if file.is_file())


def open_works(path: str) -> Hands:
    """The codec and judge of a model's folder."""
    return TorchHands(Path(path))


@dataclass
class _Piecework:
    """One work on its way. Its last argument is the array that is cut into pieces."""

    kind: Work
    arguments: tuple[Any, ...]
    tell: Tell
    done: int = 0
    parts: list[np.ndarray] = field(default_factory=list)

    def advance(self, hands: Hands) -> bool:
        """Does one piece; True when the work is whole and told."""
        import numpy as np

        *before, array = self.arguments
        self.parts.append(getattr(hands, self.kind)(*before, array[self.done : self.done + PIECE]))
        self.done += PIECE
        if self.done < len(array):
            return False
        self.tell(np.concatenate(self.parts, axis=1 if self.kind == "judge" else 0), None)
        return True


class Works:
    """What one model's codec and judge have to do. Not thread-safe: its owner is the host's."""

    def __init__(self, path: str, pool: ThreadPoolExecutor, opener: str = OPENER) -> None:
        self._queue: deque[_Piecework] = deque()
        self._job: Future[Hands] = pool.submit(_open, opener, path)
        self._opened = False

    def add(self, kind: Work, arguments: tuple[Any, ...], tell: Tell) -> None:
        """Queues a work. An array without pictures is answered with an error."""
        if kind == "paint":
            tell(None, "paint: the model is no diffusion model; allowed: encode, decode, judge")
            return
        if not len(arguments[-1]):
            tell(None, f"{kind}: found no picture; allowed is one or more")
            return
        self._queue.append(_Piecework(kind, arguments, tell))

    @property
    def waiting(self) -> bool:
        """There is work, to be done now or once they are open."""
        return bool(self._queue)

    @property
    def busy(self) -> bool:
        """There is a piece to do now, or a failure to tell."""
        return bool(self._queue) and self._opened

    @property
    def opening(self) -> bool:
        """There is work for which `poll` is to be called."""
        return bool(self._queue) and not self._opened

    def poll(self) -> None:
        """Sees whether they are open."""
        self._opened = self._job.done()

    def step(self) -> None:
        """One piece of the oldest work."""
        assert self.busy
        error = self._job.exception()
        if error is not None:
            self.close(f"its codec cannot be opened: {error}")
            return
        work = self._queue[0]
        try:
            whole = work.advance(self._job.result())
        except (ValueError, RuntimeError, MemoryError, OSError) as failure:
            log.warning("%s failed: %s", work.kind, failure)
            work.tell(None, f"{work.kind}: {failure}")
            whole = True
        if whole:
            self._queue.popleft()

    def close(self, why: str) -> None:
        """Ends what waits with an error."""
        waiting, self._queue = self._queue, deque()
        for work in waiting:
            work.tell(None, why)


def _open(opener: str, path: str) -> Hands:
    module, _, name = opener.partition(":")
    hands: Hands = getattr(importlib.import_module(module), name)(path)
    return hands

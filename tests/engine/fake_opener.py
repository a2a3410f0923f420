"""Models without weights for the tests of host and process. A path is JSON that says how one behaves.

Output i of choice c is the prompt's last id + 1 + i + 1000 * c. A prompt id 666 makes the step fail, 999
kills the process, 500 is refused.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from fake_step import FakeStep

from tokenloom.engine.core import Core
from tokenloom.engine.request import Delta, Request


class FakeCore:
    def __init__(self, step_s: float) -> None:
        self.step_s = step_s
        self.jobs: dict[str, tuple[Request, int]] = {}
        self.out: list[Delta] = []
        self.steps = self.new_tokens = 0
        self.closed = False

    @property
    def busy(self) -> bool:
        return bool(self.jobs or self.out)

    def add(self, request: Request) -> None:
        if 500 in request.ids:
            raise ValueError("ids contains 500; the vocabulary's ids are 0 to 499")
        self.jobs[request.id] = (request, 0)

    def abort(self, request_id: str) -> None:
        if request_id in self.jobs:
            request, _ = self.jobs.pop(request_id)
            self.out += [Delta(request_id, choice, finish="abort") for choice in range(request.n)]

    def step(self) -> list[Delta]:
        out, self.out = self.out, []
        if self.jobs:
            time.sleep(self.step_s)
            self.steps += 1
        for name, (request, done) in list(self.jobs.items()):
            if 666 in request.ids:
                raise RuntimeError("out of fake memory")
            if 999 in request.ids:
                os.kill(os.getpid(), signal.SIGKILL)
            last = done + 1 == request.max_tokens
            for choice in range(request.n):
                id = request.ids[-1] + 1 + done + 1000 * choice
                out.append(Delta(name, choice, (id,), finish="length" if last else None))
            self.new_tokens += request.n
            self.jobs[name] = (request, done + 1)
            if last:
                del self.jobs[name]
        return out

    def stats(self) -> dict[str, int]:
        return {
            "requests": len(self.jobs),
            "waiting": 0,
            "steps": self.steps,
            "new_tokens": self.new_tokens,
            "threads": int(os.environ.get("OMP_NUM_THREADS", "0")),
        }

    def close(self) -> None:
        assert not self.closed
        self.closed = True


@dataclass(frozen=True)
class FakePlan:
    name: str
    dtype: str
    device: str
    memory_bytes: int = 100
    load_s: float = 0.0
    step_s: float = 0.0
    broken: str = ""
    deadly: bool = False
    real: bool = False
    """The engine's own core on a step made of a hash."""
    n_slots: int = 4
    context: int = 64
    vocab_size: int = 500
    room_bytes: int | None = None
    works: bool = False
    """It has a codec and a judge: `FakeHands`."""

    def open(self) -> FakeCore | Core:
        if self.real:
            return Core(FakeStep(n_slots=3, context=self.context), grid=8, step_tok=16)
        time.sleep(self.load_s)
        if self.broken:
            raise OSError(self.broken)
        if self.deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        return FakeCore(self.step_s)


class FakeHands:
    """A picture is 2x2; its one code is its first value. No code may be 9; 13 takes its time."""

    def __init__(self, path: str) -> None:
        if json.loads(path).get("broken_codec"):
            raise ValueError("no codec here")
        self.sizes: list[int] = []

    def encode(self, pictures: np.ndarray) -> np.ndarray:
        return pictures[:, 0, 0, :1].astype(np.int64)

    def decode(self, codes: np.ndarray) -> np.ndarray:
        if (codes == 9).any():
            raise ValueError("codes: found 9")
        if (codes == 13).any():
            time.sleep(0.01)
        pictures = np.zeros((len(codes), 2, 2, 4), np.uint8)
        pictures[:] = codes[:, :1, None, None]
        pictures[..., 3] = len(codes)  # how many were done in one piece
        return pictures

    def judge(self, told: list[str | np.ndarray], pictures: np.ndarray) -> np.ndarray:
        weights = [len(one) if isinstance(one, str) else int(one[0, 0, 0]) for one in told]
        return np.array([[weight * int(p[0, 0, 0]) for p in pictures] for weight in weights], np.float32)


def open_works(path: str) -> FakeHands:
    return FakeHands(path)


def path(**behaviour: object) -> str:
    return json.dumps({"name": "fake", **behaviour})


def prepare(path: str, *, dtype: str, device: str, adapters: Mapping[str, str]) -> FakePlan:
    if not path.startswith("{"):
        raise FileNotFoundError(f"path: nothing at {path}")
    behaviour = {k: v for k, v in json.loads(path).items() if k != "broken_codec"}
    return FakePlan(**{"dtype": dtype, "device": device, **behaviour})

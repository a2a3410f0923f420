"""The engine's process: a Host at one end of a pipe. What runs in the child that `engine.process` starts.

It reads commands between steps without waiting while there is work, and sleeps on the pipe otherwise. News
is merged per choice and sent every `flush_ms`, but at once when a choice has its first id or ends. The child
ends with the pipe, that is when the parent is gone, however that went; the terminal's Ctrl-C is the parent's.

Commands (tuples): ("load", call, Source) ("unload", call, name) ("status", call) ("submit", Request)
("abort", id) ("close",); of voices ("speak", call, ...) ("hear", call, ...) ("hush", call, id); of codecs and
judges ("encode", call, name, pictures) ("decode", call, name, codes) ("judge", call, name, told, pictures);
of diffusion models ("paint", call, name, Paint) ("drop", call). Answers: ("reply", call, value, error)
("news", [Delta, ...]) ("stroke", call, Stroke).
"""

from __future__ import annotations

import faulthandler
import importlib
import os
import signal
import time
from collections.abc import Mapping
from multiprocessing.connection import Connection
from typing import Any, NoReturn

from tokenloom.engine.check import BadRequest
from tokenloom.engine.diffusion import Paint
from tokenloom.engine.host import Host
from tokenloom.engine.request import Delta, Request, merge
from tokenloom.engine.status import ModelInfo
from tokenloom.engine.voices import POLL_S, Voices

WATCH_S = 5.0
"""How often an idle child looks whether its parent lives, should the pipe not tell."""


class News:
    """Deltas on their way out."""

    def __init__(self, flush_s: float) -> None:
        self._flush_s = flush_s
        self._held: dict[tuple[str, int], Delta] = {}
        self._begun: set[tuple[str, int]] = set()
        self._sent_at = float("-inf")
        self._urgent = False

    def add(self, deltas: list[Delta]) -> None:
        for delta in deltas:
            key = (delta.request, delta.choice)
            held = self._held.get(key)
            self._held[key] = delta if held is None else merge(held, delta)
            if delta.finish is not None:
                self._begun.discard(key)
                self._urgent = True
            elif delta.ids and key not in self._begun:
                self._begun.add(key)
                self._urgent = True

    def due(self, now: float, idle: bool) -> list[Delta]:
        """What is to be sent now."""
        if not self._held or not (self._urgent or idle or now - self._sent_at >= self._flush_s):
            return []
        out, self._held = list(self._held.values()), {}
        self._sent_at, self._urgent = now, False
        return out


class Child:
    """The loop between the pipe and the host."""

    def __init__(self, pipe: Connection, host: Host, flush_s: float) -> None:
        self._pipe = pipe
        self._host = host
        self._voices = Voices()
        self._news = News(flush_s)
        self._parent = os.getppid()

    def run(self) -> None:
        """Until the parent says so or is gone."""
        while os.getppid() == self._parent:
            sleep_s = self._host.sleep_s
            wait_s = WATCH_S if sleep_s is None else min(sleep_s, WATCH_S)
            if self._voices.busy:
                wait_s = min(wait_s, POLL_S)
            try:
                while self._pipe.poll(wait_s):
                    if not self._obey(self._pipe.recv()):
                        return
                    wait_s = 0.0
                self._voices.poll()
                self._news.add(self._host.step())
                due = self._news.due(time.monotonic(), not self._host.busy)
                if due:
                    self._pipe.send(("news", due))
            except (EOFError, ConnectionError):
                return

    def _obey(self, command: tuple[Any, ...]) -> bool:
        """Does one command; False if it was the last."""
        match command:
            case ("submit", request):
                self._submit(request)
            case ("abort", request_id):
                self._host.abort(request_id)
            case ("load", call, source):
                self._host.load(source, lambda info, error: self._loaded(call, info, error))
            case ("unload", call, name):
                known = self._host.unload(name)
                self._reply(call, None, None if known else f"model {name!r} is unknown")
            case (("encode" | "decode" | "judge") as kind, call, name, *arguments):
                self._host.work(
                    kind, name, tuple(arguments), lambda value, error: self._reply(call, value, error)
                )
            case ("paint", call, name, paint):
                self._paint(call, name, paint)
            case ("drop", call):
                self._host.drop(call)
            case (("speak" | "hear" | "hush") as kind, call, *arguments):
                self._voices.do(kind, tuple(arguments), lambda value, error: self._reply(call, value, error))
            case ("status", call):
                self._reply(call, self._host.status(), None)
            case _:
                return False
        return True

    def _submit(self, request: Request) -> None:
        try:
            self._host.submit(request)
        except BadRequest as error:
            # Not through News: the id's other request may have its end there.
            refused = [Delta(request.id, i, finish="error", error=str(error)) for i in range(request.n)]
            self._pipe.send(("news", refused))

    def _paint(self, call: int, name: str, paint: Paint) -> None:
        self._host.work(
            "paint",
            name,
            (paint, call, lambda stroke: self._pipe.send(("stroke", call, stroke))),
            lambda value, error: self._reply(call, value, error),
        )

    def _loaded(self, call: int, info: ModelInfo | None, error: str | None) -> None:
        self._reply(call, info, error)

    def _reply(self, call: int, value: object, error: str | None) -> None:
        self._pipe.send(("reply", call, value, error))


def main(handle: int, options: Mapping[str, Any]) -> NoReturn:
    """The child's whole life. handle: the pipe's file descriptor; options: of Host, and flush_ms."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    faulthandler.enable()
    # Before there are threads: a command with pictures needs numpy, which the loader may be importing.
    importlib.import_module("numpy")
    values = dict(options)
    flush_s = values.pop("flush_ms") / 1000
    Child(Connection(handle), Host(**values), flush_s).run()
    # Not sys.exit: a thread that still reads weights would be waited for.
    os._exit(0)

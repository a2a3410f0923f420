"""Serving until a signal comes: the socket, the address that is printed, and the orderly end."""

from __future__ import annotations

import errno
import signal
import socket
import threading
from collections.abc import Callable
from types import FrameType

import uvicorn

from tokenloom import hub
from tokenloom.serve.app import create_app
from tokenloom.serve.bridge import Engine
from tokenloom.serve.models import Place
from tokenloom.serve.settings import Settings

BACKLOG = 512


class CannotListen(ValueError):
    """The address cannot be had; the message says what to choose instead."""


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; CannotListen with a plain sentence if the port is taken or the host is not ours."""
    kind = socket.AF_INET6 if ":" in host else socket.AF_INET
    found = socket.socket(kind, socket.SOCK_STREAM)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind((host, port))
        found.listen(BACKLOG)
    except OSError as error:
        found.close()
        raise CannotListen(_why(host, port, error)) from None
    return found


def _why(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        other = port + 1 if port < 65535 else port - 1
        return f"Port {port} on {host} is taken by another program; choose another with --port {other}, say."
    if error.errno == errno.EACCES:
        return f"Port {port} needs the rights of an administrator; choose one above 1023, say --port 8117."
    reason = error.strerror or str(error)
    return f"The address {host} cannot be listened on ({reason}); choose another with --host 127.0.0.1, say."


def address(listener: socket.socket) -> str:
    """The URL a browser on this machine takes."""
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def run(
    settings: Settings,
    engine: Engine | None,
    *,
    find: Callable[[str], Place] = hub.find,
    started: Callable[[str], None] = lambda url: print(
        f"Tokenloom serves at {url} (API: {url}/v1)", flush=True
    ),
) -> None:
    """Serves until SIGTERM or SIGINT: then accepts no more, lets answers under way finish within
    settings.grace_s, closes the engine and returns. `started` is told the URL once requests are answered.

    Raises ValueError (CannotListen for the address) before anything is served, with the fix in its words.
    """
    listener = listen(settings.host, settings.port)
    try:
        app = create_app(engine, settings, find=find)
        config = uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            server_header=False,
            lifespan="on",
            timeout_graceful_shutdown=max(1, round(settings.grace_s)),
            timeout_keep_alive=75,
            ws="none",
        )
        server = _Server(config, lambda: started(address(listener)))
        with _QuietEnd():
            server.run(sockets=[listener])
    finally:
        listener.close()


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, told: Callable[[], None]) -> None:
        super().__init__(config)
        self._told = told

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._told()


class _QuietEnd:
    """uvicorn raises the signal again once it has ended in order; here that second one ends nothing more."""

    def __enter__(self) -> None:
        ours = (
            (signal.SIGTERM, signal.SIGINT) if threading.current_thread() is threading.main_thread() else ()
        )
        self._before = {number: signal.signal(number, _nothing) for number in ours}

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)


def _nothing(number: int, frame: FrameType | None) -> None:
    return None

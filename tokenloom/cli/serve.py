"""`loom serve` and `loom studio`: the server, and the server with the page opened."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from tokenloom.serve.settings import Settings

Host = Annotated[
    str, typer.Option(help="The address to listen on; any but this machine's own needs --api-keys.")
]
Port = Annotated[int, typer.Option(help="The port to listen on; 0 takes one that is free.", min=0, max=65535)]
Models = Annotated[
    list[str] | None,
    typer.Option(
        help="A model to offer: a name, a folder, a GGUF file (may be given again; the first is loaded at "
        "once). Without it all that are installed are offered.",
        show_default=False,
    ),
]


def serve(
    host: Host = "127.0.0.1",
    port: Port = 8117,
    model: Models = None,
    adapter: Annotated[
        list[str] | None,
        typer.Option(
            help="A LoRA adapter, as MODEL:NAME=FOLDER (may be given again); asked for as MODEL:NAME.",
            show_default=False,
        ),
    ] = None,
    dtype: Annotated[
        str, typer.Option(help="auto, or float32, bfloat16, float16 to compute with PyTorch.")
    ] = "auto",
    device: Annotated[str, typer.Option(help="auto, cpu, or cuda.")] = "auto",
    threads: Annotated[
        int | None, typer.Option(help="Threads of the computation; without it the machine's cores.", min=1)
    ] = None,
    memory: Annotated[
        float | None,
        typer.Option(help="GB that models may take together; without it most of what is free.", min=0.1),
    ] = None,
    idle: Annotated[
        float | None,
        typer.Option(help="Let a model go after so many minutes unused; it comes back when asked.", min=0.1),
    ] = None,
    api_keys: Annotated[
        Path | None, typer.Option(help="A file with one key a line; requests then need one of them.")
    ] = None,
    upstream: Annotated[
        str | None,
        typer.Option(
            help="URL of another OpenAI-compatible server; models that are not here are answered by it."
        ),
    ] = None,
    allowed_host: Annotated[
        list[str] | None, typer.Option(help="A further Host header to accept, for a proxy or a tunnel.")
    ] = None,
    fetch_images: Annotated[
        bool,
        typer.Option(
            "--fetch-images",
            help="Read pictures in messages from outside addresses; else as data URLs alone.",
        ),
    ] = False,
    max_requests: Annotated[
        int, typer.Option(help="Requests running and waiting at most; more are told 429.", min=1)
    ] = 256,
    requests_per_minute: Annotated[int, typer.Option(help="Per key; 0 is no limit.", min=0)] = 0,
    concurrent_per_key: Annotated[
        int, typer.Option(help="Requests of one key at a time; 0 is no limit.", min=0)
    ] = 0,
) -> None:
    """Serve the OpenAI API, and the page, until Ctrl-C.

    With --upstream, models that are not here are answered by that server; those here are still answered here.
    """
    from tokenloom.serve.settings import Settings

    settings = Settings(
        host=host,
        port=port,
        models=tuple(model or ()),
        adapters=_adapters(adapter or ()),
        dtype=dtype,
        device=device,
        api_keys=api_keys,
        upstream=upstream,
        allowed_hosts=tuple(allowed_host or ()),
        fetch_images=fetch_images,
        max_requests=max_requests,
        requests_per_minute=requests_per_minute,
        concurrent_per_key=concurrent_per_key,
    )
    options = {
        "threads": threads,
        "memory_limit": None if memory is None else int(memory * 1e9),
        "idle_s": None if idle is None else idle * 60,
    }
    _run(
        settings,
        options,
        lambda url: print(f"Tokenloom serves at {url} (API: {url}/v1). Ctrl-C ends it.", flush=True),
    )


def studio(
    port: Port = 8117,
    model: Models = None,
    browser: Annotated[bool, typer.Option(help="Open the page in the browser.")] = True,
) -> None:
    """Open the studio: a page on this machine to chat and write on. The API is there too, under /v1."""
    from tokenloom.serve.settings import Settings

    def started(url: str) -> None:
        print(f"The studio is open at {url} (the OpenAI API at {url}/v1). Ctrl-C ends it.", flush=True)
        if browser and _has_browser():
            import webbrowser

            webbrowser.open(url)

    _run(Settings(port=port, models=tuple(model or ())), {}, started)


def _has_browser() -> bool:
    """Whether opening one makes sense: a desktop, and not the text browsers of a bare terminal."""
    return sys.platform in ("darwin", "win32") or any(
        os.environ.get(k) for k in ("DISPLAY", "WAYLAND_DISPLAY")
    )


def _run(settings: Settings, options: dict[str, Any], started: Callable[[str], None]) -> None:
    from tokenloom import hub, trust
    from tokenloom.serve.run import run

    trust.check_producer()
    if not settings.upstream and not settings.models and not hub.installed():
        raise ValueError("no model is installed yet; `loom pull smollm2` fetches the small one (98 MB)")
    engine = None
    if settings.models or not settings.upstream or hub.installed():
        from tokenloom.engine.process import EngineProcess

        engine = EngineProcess(**options)
    try:
        run(settings, engine, started=started)
    finally:
        if engine is not None:
            engine.close()


def _adapters(given: list[str] | tuple[str, ...]) -> dict[str, dict[str, str]]:
    """MODEL:NAME=FOLDER, each -> {model: {name: folder}}."""
    found: dict[str, dict[str, str]] = {}
    for one in given:
        names, equals, folder = one.partition("=")
        model, colon, name = names.rpartition(":")
        if not (equals and colon and model and name and folder):
            raise ValueError(f"--adapter: found {one!r}; it has the form MODEL:NAME=FOLDER")
        found.setdefault(model, {})[name] = folder
    return found

"""The page's server and browser, for every test of the page."""

from __future__ import annotations

import contextlib
import functools
import shutil
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
from studio_server import Eyes, Wire, serve

if TYPE_CHECKING:
    from band import Band


def note_error(eyes: Eyes, message: Any) -> None:
    if message.type == "error":
        eyes.complaints.append(message.text)


@pytest.fixture
def wire() -> Iterator[Wire]:
    wire = Wire()
    server = serve(wire)
    yield wire
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("no Chromium on this machine")
    args = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
    args += ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=path, args=args)
        yield running
        running.close()


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Band]]:
    """(address, engine) of a real server that composes, speaks and listens."""
    from band import band

    with band(tmp_path_factory.mktemp("band")) as running:
        yield running


@pytest.fixture
def look(browser: Any, wire: Wire) -> Iterator[Callable[..., Eyes]]:
    """Opens the page; at the end no console error, no refused resource, no other host may have shown up."""
    with contextlib.ExitStack() as stack:
        seen: list[Eyes] = []
        homes: set[str] = set()

        def open_page(path: str = "/", calm: bool = True, base: str = wire.base, **options: Any) -> Eyes:
            settings: dict[str, Any] = {
                "locale": "en-GB",
                "viewport": {"width": 1280, "height": 800},
            } | options
            context = browser.new_context(**settings)
            stack.callback(context.close)
            context.set_default_timeout(8000)
            page = context.new_page()
            eyes = Eyes(page, [], set())
            if calm:
                page.on("console", functools.partial(note_error, eyes))
            page.on("pageerror", lambda error: eyes.complaints.append(str(error)))
            page.on("request", lambda request: eyes.hosts.add(request.url.split("/")[2]))
            seen.append(eyes)
            homes.add(base.split("/")[2])
            page.goto(base + path, timeout=60_000)
            page.locator(".model select, .task .model:not(:empty), dialog[open] input").first.wait_for()
            return eyes

        yield open_page
        for eyes in seen:
            assert eyes.complaints == []
            assert {host for host in eyes.hosts if host} <= homes

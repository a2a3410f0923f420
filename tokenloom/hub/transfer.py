"""One file over HTTP, continued where it stopped. Knows nothing of models or the Hub.

huggingface_hub's own download deletes an unfinished file (since version 2), and its `http_get` loses up to
10 MB at a break, so this is ours. Proxies and certificates come from the environment, by httpx.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import BinaryIO

import httpx

TRIES = 4
TIMEOUT_S = 30.0


def download(
    url: str,
    headers: Mapping[str, str],
    sink: BinaryIO,
    size: int,
    report: Callable[[int], None],
    wait_s: float = 1.0,
) -> None:
    """Writes what `sink` (opened for appending) lacks of `size` bytes; reports the bytes it holds.

    A break is tried again from there; after TRIES breaks without a new byte it is raised (httpx.HTTPError).
    Credentials are not sent on when the server redirects to another host.
    """
    failures = 0
    while sink.tell() < size:
        before = sink.tell()
        try:
            _stream(url, headers, sink, size, report)
            if sink.tell() < size:
                raise httpx.RemoteProtocolError(f"the server ended after {sink.tell()} of {size} bytes")
        except httpx.TransportError:
            failures = 0 if sink.tell() > before else failures + 1
            if failures == TRIES:
                raise
            time.sleep(wait_s)


def _stream(
    url: str, headers: Mapping[str, str], sink: BinaryIO, size: int, report: Callable[[int], None]
) -> None:
    start = sink.tell()
    asked = {**headers, "Accept-Encoding": "identity"}
    if start:
        asked["Range"] = f"bytes={start}-"
    with httpx.stream("GET", url, headers=asked, follow_redirects=True, timeout=TIMEOUT_S) as answer:
        answer.raise_for_status()
        if start and answer.status_code != 206:
            sink.seek(0)
            sink.truncate()
        for block in answer.iter_bytes():
            sink.write(block[: size - sink.tell()])
            report(sink.tell())
            if sink.tell() >= size:
                break

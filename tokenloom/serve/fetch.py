"""Pictures by address: data URLs, and outside addresses where the server's owner allows them.

An outside address is read only by http or https, only from public addresses (those the name resolves to are
the ones connected to, so that a name cannot change between the look and the step), without redirects, up to a
size and a time.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import ipaddress
import re
import socket
from collections.abc import Iterable
from typing import Any
from urllib.parse import unquote_to_bytes, urlsplit

from tokenloom.serve.errors import bad_request
from tokenloom.tasks.pictures_in import MAX_BYTES

DATA = re.compile(r"data:(?P<type>[\w.+-]+/[\w.+-]+)?(?P<options>(;[\w.+=-]+)*),(?P<body>.*)", re.DOTALL)
TIMEOUT_S = 10.0


def data_url(url: str, name: str) -> bytes:
    """The bytes of a data URL; ApiError 400 names what is wrong with it."""
    found = DATA.fullmatch(url)
    if not found:
        raise bad_request(
            f"{name}: found {url[:40]!r}; it must be a data URL, as data:image/png;base64,...", name
        )
    kind = found["type"] or "text/plain"
    if not kind.startswith("image/"):
        raise bad_request(f"{name}: found a data URL of {kind}; it must be of a picture, as image/png", name)
    if len(found["body"]) > 2 * MAX_BYTES:
        raise bad_request(f"{name}: the data URL is too long; at most {MAX_BYTES} bytes are read", name)
    if "base64" not in found["options"].split(";"):
        return unquote_to_bytes(found["body"])
    try:
        return base64.b64decode(found["body"], validate=True)
    except (binascii.Error, ValueError):
        raise bad_request(f"{name}: the data URL is no base64", name) from None


async def read_url(url: str, name: str, outside: bool) -> bytes:
    """The bytes of a picture's address. outside: whether http and https are allowed."""
    if url[:5].lower() == "data:":
        return data_url(url, name)
    scheme = urlsplit(url).scheme.lower()
    if scheme not in ("http", "https"):
        raise bad_request(
            f"{name}: found {url[:40]!r}; it must be a data URL, as data:image/png;base64,...", name
        )
    if not outside:
        raise bad_request(
            f"{name}: this server reads no outside address; send the picture as a data URL "
            "(data:image/png;base64,...), or start it with --fetch-images",
            name,
        )
    try:
        return await asyncio.wait_for(_get(url, name), TIMEOUT_S)
    except TimeoutError:
        raise bad_request(f"{name}: {_short(url)} did not answer within {TIMEOUT_S:g} s", name) from None


async def _get(url: str, name: str) -> bytes:
    import httpcore

    try:
        async with (
            httpcore.AsyncConnectionPool(network_backend=_public_only()) as pool,
            pool.stream("GET", url, headers={"accept": "image/*", "user-agent": "tokenloom"}) as answer,
        ):
            if answer.status != 200:
                raise bad_request(
                    f"{name}: {_short(url)} answered {answer.status}; a picture is needed", name
                )
            kind = _header(answer.headers, b"content-type").partition(";")[0].strip().lower()
            if not kind.startswith("image/"):
                raise bad_request(f"{name}: {_short(url)} is {kind or 'of no stated type'}, no picture", name)
            data = b""
            async for part in answer.aiter_stream():
                data += part
                if len(data) > MAX_BYTES:
                    message = f"{name}: {_short(url)} is too large; at most {MAX_BYTES} bytes are read"
                    raise bad_request(message, name)
            return data
    except (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError, OSError) as error:
        raise bad_request(f"{name}: {_short(url)} cannot be read: {error}", name) from None
    except (httpcore.UnsupportedProtocol, UnicodeError, ValueError) as error:
        raise bad_request(f"{name}: found {_short(url)}, which is no address: {error}", name) from None


def _short(url: str) -> str:
    return url if len(url) <= 80 else url[:77] + "..."


def _header(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> str:
    return next((value.decode("latin-1") for key, value in headers if key.lower() == name), "")


def _public_only() -> Any:
    """A network that connects to public addresses alone."""
    import httpcore

    class Public(httpcore.AsyncNetworkBackend):
        def __init__(self) -> None:
            self._inner = httpcore.AnyIOBackend()

        async def connect_tcp(self, host: str, port: int, *args: Any, **options: Any) -> Any:
            address = await public_address(host, port)
            return await self._inner.connect_tcp(address, port, *args, **options)

        async def connect_unix_socket(self, path: str, *args: Any, **options: Any) -> Any:
            raise OSError(f"{path} is a socket of this machine")

        async def sleep(self, seconds: float) -> None:
            await asyncio.sleep(seconds)

    return Public()


async def public_address(host: str, port: int) -> str:
    """An address of a host all of whose addresses are public; OSError says otherwise."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = [str(entry[4][0]) for entry in found]
    for address in addresses:
        if not is_public(address):
            raise OSError(f"{host} is the address {address}, which is not public")
    return addresses[0]


def is_public(address: str) -> bool:
    """Whether an IP address is of the public internet, and not of this machine or its network."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if inner is not None:
            return is_public(str(inner)) and ip.ipv4_mapped is not None
        if ip in ipaddress.ip_network("64:ff9b::/96"):
            return False
    return ip.is_global and not ip.is_multicast

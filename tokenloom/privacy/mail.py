"""E-mail addresses (RFC 5321 in the shapes people use), and passwords in web addresses (RFC 3986, 3.2.1).

Not addresses in disguise ("name at host"), nor any the RFC permits and nobody has (quoted local parts).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from tokenloom.privacy.found import Found

_LOCAL = re.compile(r"[A-Za-z0-9_%+\-]+(?:\.[A-Za-z0-9_%+\-]+)*\Z")
_LOCAL_CHARS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_%+-.")
_DOMAIN = re.compile(
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+(?:xn--[a-z0-9-]{2,59}|[A-Za-z]{2,24})"
)
# Endings of files, and names that RFC 6761 and RFC 6762 keep from being anyone's.
_NO_DOMAINS = (
    ".png", ".jpg", ".jpeg", ".gif", ".svg", ".webp", ".css", ".js", ".html", ".htm", ".json", ".txt", ".xml",
    ".yaml", ".toml", ".exe", ".dll", ".jar", ".class", ".invalid", ".test", ".local", ".localhost",
    ".localdomain", ".example",
)  # fmt: skip


def emails(text: str) -> Iterator[Found]:
    """Addresses; not the user of a web address, nor git@host:path."""
    at = text.find("@")
    while at >= 0:
        if (domain := _DOMAIN.match(text, at + 1)) and (start := _local_start(text, at)) < at:
            stop = domain.end()
            after = text[stop : stop + 1]
            no_one = domain[0].lower().endswith(_NO_DOMAINS)
            if not no_one and after not in ("(", "_", "@") and not _is_user(text, start, at, stop):
                yield Found("email", start, stop, text[start:stop])
        at = text.find("@", at + 1)


def _local_start(text: str, at: int) -> int:
    """Where the local part before an @ begins; `at` where there is none."""
    start = at
    while start > 0 and text[start - 1] in _LOCAL_CHARS:
        start -= 1
        if at - start > 64:
            return at
    match = _LOCAL.search(text, start, at)
    return match.start() if match and text[match.start() : at].strip("%+-_.") else at


def _is_user(text: str, start: int, at: int, stop: int) -> bool:
    """Whether what looks like an address is a program's user@host: after ://, or git's way of writing."""
    before = text[max(0, start - 128) : start]
    scheme = before.rpartition("://")
    if scheme[1] and not re.search(r"[\s/?#]", scheme[2]):
        return True
    return text[start:at] == "git" and text[stop : stop + 1] == ":"


_USER_INFO = re.compile(r"[^\s/@:\"'<>`?#]{0,128}:([^\s/@\"'<>`?#]{1,256})@(?=[A-Za-z0-9\[])")
_NO_PASSWORD = re.compile(r"[*xX.]+|\[[A-Z_]+\]|.*[${}].*|%s|%\(.*|pass(word)?|pwd|secret", re.IGNORECASE)


def passwords(text: str) -> Iterator[Found]:
    """The password of scheme://user:password@host; a placeholder is none."""
    at = text.find("://")
    while at >= 0:
        if (match := _USER_INFO.match(text, at + 3)) and not _NO_PASSWORD.fullmatch(match[1]):
            yield Found("password", match.start(1), match.end(1), match[1])
        at = text.find("://", at + 3)

"""What is private in some texts only, and so is looked for on request: IP addresses, passports, plates."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator

from tokenloom.privacy.found import Found, introduced

_IPV4 = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}")
_IPV6 = re.compile(r"[23][0-9A-Fa-f]{3}(?::[0-9A-Fa-f]{0,4}){2,7}")
"""All that was ever given out lies in 2000::/3."""
_VERSION_WORDS = ("version", "ver.", "release", "v.", "版本", "section", "§")
_PASSPORT = re.compile(r"(?:E[A-HJ-NP-Z]?|[GDSPHK][A-Z]?)[0-9]{7,8}")
_PASSPORT_WORDS = ("passport", "护照", "護照", "通行证")
_PLATE = re.compile(
    r"[京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼][A-HJ-NP-Z][·•・ ]?"
    r"(?:[DF][A-HJ-NP-Z0-9][0-9]{4}|[0-9]{5}[DF]|[A-HJ-NP-Z0-9]{4}[A-HJ-NP-Z0-9挂学警港澳])"
)


def ip_addresses(text: str) -> Iterator[Found]:
    """Addresses of machines that the internet can reach (IPv4, IPv6); not those of a house's own net, nor
    those whose numbers are all below 32: they are versions more often (one address in 4,096 is lost)."""
    if "." in text:
        for match in _IPV4.finditer(text):
            if _alone(text, match.start(), match.end(), ".-") and not _is_version(text, match):
                yield from _global(match)
    if ":" in text:
        for match in _IPV6.finditer(text):
            if _alone(text, match.start(), match.end(), ":."):
                yield from _global(match)


def _alone(text: str, start: int, stop: int, joins: str) -> bool:
    before, after = text[max(0, start - 1) : start], text[stop : stop + 2]
    if before and (before in joins or before in "_+@" or (before.isascii() and before.isalnum())):
        return False
    touching = after[:1].isascii() and (after[:1].isalnum() or after[:1] == "_")
    return not touching and not (after[:1] in joins and after[1:].isalnum())


def _is_version(text: str, match: re.Match[str]) -> bool:
    """Chrome/120.0.0.0 and "version 1.2.3.4" are none; //1.2.3.4 is."""
    before = text[max(0, match.start() - 2) : match.start()]
    named = before.endswith("/") and before != "//"
    return named or introduced(text, match.start(), _VERSION_WORDS)


def _global(match: re.Match[str]) -> Iterator[Found]:
    try:
        address = ipaddress.ip_address(match[0])
    except ValueError:
        return
    small = address.version == 4 and all(int(part) < 32 for part in match[0].split("."))
    if address.is_global and not address.is_multicast and not small:
        yield Found("ip", match.start(), match.end(), match[0])


def passports(text: str) -> Iterator[Found]:
    """Chinese passport numbers, after a word that says so."""
    if any(word in text.lower() for word in _PASSPORT_WORDS):
        for match in _PASSPORT.finditer(text):
            if _alone(text, *match.span(), "-") and introduced(text, match.start(), _PASSPORT_WORDS):
                yield Found("passport_cn", *match.span(), match[0])


def plates(text: str) -> Iterator[Found]:
    """Number plates of mainland China (GA 36-2018)."""
    for match in _PLATE.finditer(text):
        after = text[match.end() : match.end() + 1]
        if not (after.isascii() and after.isalnum()):
            yield Found("plate_cn", *match.span(), match[0])

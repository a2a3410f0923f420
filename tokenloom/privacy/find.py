"""`find` and `scrub`: every kind of private data in a text, each place once.

Not the rules themselves: mail.py, keys.py, numbers.py, others.py. Full-width digits count as digits.
"""

from __future__ import annotations

import re
from bisect import bisect
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Literal, get_args

from tokenloom.privacy.found import Found
from tokenloom.privacy.keys import keys
from tokenloom.privacy.mail import emails, passwords
from tokenloom.privacy.numbers import cards, chinese_ids, ibans, phones, runs, social_security
from tokenloom.privacy.others import ip_addresses, passports, plates

Style = Literal["label", "mask"]
_IN_TEXT: dict[str, Callable[[str], Iterator[Found]]] = {
    "key": keys, "password": passwords, "email": emails,
    "ip": ip_addresses, "passport_cn": passports, "plate_cn": plates,
}  # fmt: skip
_IN_RUNS: dict[str, Callable[[str, list[tuple[int, int]]], Iterator[Found]]] = {
    "iban": ibans, "id_cn": chinese_ids, "card": cards, "ssn_us": social_security, "phone": phones,
}  # fmt: skip
KINDS = (
    "key",
    "password",
    "email",
    "id_cn",
    "iban",
    "card",
    "ssn_us",
    "phone",
    "ip",
    "passport_cn",
    "plate_cn",
)
"""Every kind; where two claim one place, the earlier has it."""
DEFAULT = KINDS[:8]
_WIDE = re.compile("[０-９＋－]")
_NARROW = {
    ord(wide): ord(narrow) for wide, narrow in zip("０１２３４５６７８９＋－", "0123456789+-", strict=True)
}


def find(text: str, kinds: Iterable[str] = DEFAULT) -> list[Found]:
    """Private data of these kinds, in the text's order, no two overlapping. Raises ValueError for a kind
    there is not."""
    wanted = _checked(kinds)
    plain = text.translate(_NARROW) if _WIDE.search(text) else text
    places = runs(plain) if any(kind in _IN_RUNS for kind in wanted) else []
    kept: list[Found] = []
    starts: list[int] = []
    for kind in wanted:
        if kind in _IN_RUNS and not places:
            continue
        for found in _IN_RUNS[kind](plain, places) if kind in _IN_RUNS else _IN_TEXT[kind](plain):
            at = bisect(starts, found.start)
            after_one = not at or kept[at - 1].stop <= found.start
            if after_one and (at == len(kept) or found.stop <= kept[at].start):
                starts.insert(at, found.start)
                kept.insert(at, found)
    if plain is not text:
        return [Found(found.kind, found.start, found.stop, text[found.start : found.stop]) for found in kept]
    return kept


def _checked(kinds: Iterable[str]) -> Sequence[str]:
    asked = [kinds] if isinstance(kinds, str) else list(kinds)
    if strange := [kind for kind in asked if kind not in KINDS]:
        raise ValueError(f"kinds: found {', '.join(map(repr, strange))}; allowed: {', '.join(KINDS)}")
    return [kind for kind in KINDS if kind in asked]


def scrub(text: str, kinds: Iterable[str] = DEFAULT, style: Style = "label") -> tuple[str, dict[str, int]]:
    """(the text without its private data, how many of each kind there were).

    style: "label" puts [EMAIL] and the like in its place; "mask" writes * for each letter and digit, so that
    lengths stay.
    """
    if style not in get_args(Style):
        raise ValueError(f"style: found {style!r}; allowed: {', '.join(get_args(Style))}")
    found = find(text, kinds)
    parts, at = [], 0
    for one in found:
        parts += [text[at : one.start], _instead(one, style)]
        at = one.stop
    return "".join([*parts, text[at:]]), dict(Counter(one.kind for one in found))


def _instead(found: Found, style: Style) -> str:
    if style == "label":
        return f"[{found.kind.upper()}]"
    return "".join("*" if char.isalnum() else char for char in found.text)

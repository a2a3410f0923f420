"""What is not private is left alone: the shapes that look like it, and real text."""

from __future__ import annotations

import sysconfig
import uuid
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenloom.privacy import KINDS, find

NOTHING = [
    "version 1.2.3.4, Python 3.11.7, numpy==2.4.6, v10.15.7",
    "Chrome/120.0.6099.109 Safari/537.36",
    "ISBN 978-3-16-148410-0 and 9780306406157, ISSN 0378-5955, ISBN 0-306-40615-2",
    "2024-01-31T23:59:59.123456+08:00, 20240131235959, 1706745599, 1706745599123, 1706745599123456",
    "12/31/1999 23:59:59, 1999-12-31, 31.12.1999, 1985-1990, 2019-2020-2021",
    "sha1 da39a3ee5e6b4b0d3255bfef95601890afd80709, md5 d41d8cd98f00b204e9800998ecf8427e",
    "commit 4111111111111111aa0708, 0x4111111111111111, id_4111111111111111, #4111111111111111",
    "$1,234,567.89 and ¥13800138000 and 4,111,111,111,111,111",
    "3.14159265358979323846264338327950288, 0.4111111111111111, 1e13800138000",
    "x = 13800138000.5; y = 2013800138000; z = 138001380001",
    "10.0.0.1, 192.168.1.254, 127.0.0.1, fe80::1, ::1, 224.0.0.251",
    "550e8400-e29b-41d4-a716-446655440000",
    "@property def f(self) -> int: a @ b; x@y; foo@bar; @user; a@b.T(); icon@2x.png; root@host.local",
    "npm i lodash@4.17.21 @types/node@18.0.0; git@github.com:org/repo.git; ssh://git@host.com/x",
    "https://example.com/item/13800138000?card=4111111111111111 https://x.y/4155552671",
    "https://user@example.com/ http://user:$PASSWORD@host/ http://user:${pw}@host http://u:***@h ftp://u:password@h",
    "GB82 WEST 1234 5698 7654 33; DE89370400440532013001; THE 12 MONKEYS AB12CDEF",
    "000-12-3456 666-12-3456 912-12-3456 123-00-4567 123-45-0000 1-123-45-6789-2",
    "ACGTACGTACGT MKVLAAGIVGLCAKAYLG 0110011001100110 1111111111111111 0000000000000000",
    "phone: 123, call 911, dial 10086, 95588, 12345, 400-800-8888",
    "sk-learn, scikit-learn, task-force-1234567890abcdefghij, disk-0123456789012345678901234",
    "AIzaShort ghp_short AKIASHORT hf_model_name_that_is_long_but_has_underscores eyJust.a.word",
    "eyJub3QiOiJhIGp3dCJ9.eyJub3QiOiJhIGp3dCJ9.c2lnbmF0dXJl",
    "11010519491231002Y 110105194912310021 110105188013310029 990105194912310021",
    "415-155-2671 115-555-2671 415-555-267 415-555-26711 1415-555-2671",
    "+800 is Greenwich, x+14155552671, (a)+14155552671, +35236450.6, UTC+0800, 1+1234567890",
    "GDP 1960-1970-1980; pages 123-456-7890a; 第12345678901号 订单号202401311234567890",
]  # fmt: skip


@pytest.mark.parametrize("text", NOTHING, ids=lambda text: text[:24])
def test_nothing_is_found(text: str) -> None:
    assert find(text, KINDS) == []


@given(
    st.datetimes(), st.uuids(), st.floats(allow_nan=False, allow_infinity=False), st.integers(0, 10**10 - 1)
)
def test_times_ids_and_measures_are_not_private(when, ident: uuid.UUID, measure: float, count: int) -> None:  # type: ignore[no-untyped-def]
    shapes = [
        f"{when:%Y-%m-%d %H:%M:%S}",
        when.isoformat(),
        f"{when:%Y%m%d%H%M%S}",
        str(ident),
        f"{measure:.6f}",
    ]
    assert find("; ".join([*shapes, f"{count:,}", f"${count}", f"{count}%"])) == []


def test_the_standard_library_holds_addresses_of_its_authors_and_nothing_else() -> None:
    library = Path(sysconfig.get_paths()["stdlib"])
    files = [
        p
        for p in library.rglob("*.py")
        if not {"test", "tests", "site-packages", "dist-packages"} & {*p.parts}
    ]
    assert len(files) > 500
    counts: Counter[str] = Counter()
    strange = []
    for path in files:
        for found in find(path.read_text(encoding="utf-8", errors="replace")):
            counts[found.kind] += 1
            if found.kind != "email":
                strange.append((path.name, found.kind, found.text))
    assert strange == []
    assert counts["email"] > 50

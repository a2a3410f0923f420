"""What is private is found, whole and with its place."""

from __future__ import annotations

import base64
import json
import string
from datetime import date
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenloom.privacy import DEFAULT, KINDS, find

# No real key: the body of each is this, which is random enough to look like one.
BODY = "a8Kd03mZq1Wx7Yp2Rt5Vb9Nc4Lh6Jf0Gs3Ie8Uo2Ta7Xw1Ej4Dk6Hz9Qy5Fr0"


def jwt() -> str:
    parts = [{"alg": "HS256", "typ": "JWT"}, {"sub": "1234567890"}]
    coded = [base64.urlsafe_b64encode(json.dumps(p).encode()).decode().rstrip("=") for p in parts]
    return ".".join([*coded, BODY[:43]])


def identity(seventeen: str) -> str:
    """With its check digit, by the weights of GB 11643-1999 as the standard prints them."""
    weights = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2]
    total = sum(int(digit) * weight for digit, weight in zip(seventeen, weights, strict=True))
    return seventeen + "10X98765432"[total % 11]


def luhn(body: str) -> str:
    """With its check digit."""
    doubled = [int(d) * (2 if i % 2 == 0 else 1) for i, d in enumerate(reversed(body))]
    return body + str(-sum(d // 10 + d % 10 for d in doubled) % 10)


FOUND = [
    ("email", "Write to jane.doe+news@mail.example.co.uk, please.", "jane.doe+news@mail.example.co.uk"),
    ("email", "邮箱：zhang_san@qq.com。", "zhang_san@qq.com"),
    ("email", "<mailto:A.B-C@x-y.org>", "A.B-C@x-y.org"),
    ("email", "me@xn--fsqu00a.xn--0zwm56d now", "me@xn--fsqu00a.xn--0zwm56d"),
    ("phone", "call +1 415 555 2671 today", "+1 415 555 2671"),
    ("phone", "+44 20 7946 0958", "+44 20 7946 0958"),
    ("phone", "+33 1 42 68 53 00", "+33 1 42 68 53 00"),
    ("phone", "tel:+4915112345678;", "+4915112345678"),
    ("phone", "Mobile: +86 138 0013 8000.", "+86 138 0013 8000"),
    ("phone", "Office (415) 555-2671 ext 3", "(415) 555-2671"),
    ("phone", "or 415-555-2671", "415-555-2671"),
    ("phone", "or 415.555.2671", "415.555.2671"),
    ("phone", "1-212-555-0123", "1-212-555-0123"),
    ("phone", "Phone: 4155552671", "4155552671"),
    ("phone", "手机13800138000，谢谢", "13800138000"),
    ("phone", "138 0013 8000", "138 0013 8000"),
    ("phone", "139-1234-5678", "139-1234-5678"),
    ("phone", "?phone=13800138000&", "13800138000"),
    ("phone", "电话：010-62345678", "010-62345678"),
    ("phone", "（021）6234 5678", "（021）6234 5678"),
    ("phone", "传真02162345678", "02162345678"),
    ("phone", "手机：１３８００１３８０００", "１３８００１３８０００"),
    ("id_cn", "身份证11010519491231002X。", "11010519491231002X"),
    ("id_cn", "440524188001010014", "440524188001010014"),
    ("id_cn", "110105 19491231 002X", "110105 19491231 002X"),
    ("ssn_us", "SSN 219-09-9998", "219-09-9998"),
    ("ssn_us", "His SSN is 219099998.", "219099998"),
    ("card", "4111 1111 1111 1111", "4111 1111 1111 1111"),
    ("card", "pay 5555-5555-5555-4444 now", "5555-5555-5555-4444"),
    ("card", "3782 822463 10005", "3782 822463 10005"),
    ("card", f"银行卡{luhn('622202100112233445')}是", luhn("622202100112233445")),
    ("iban", "GB82 WEST 1234 5698 7654 32", "GB82 WEST 1234 5698 7654 32"),
    ("iban", "IBAN: DE89370400440532013000.", "DE89370400440532013000"),
    ("iban", "MT84 MALT 0110 0001 2345 MTLC AST0 01S is", "MT84 MALT 0110 0001 2345 MTLC AST0 01S"),
    ("iban", "to FR14 2004 1010 0505 0001 3M02 606 BY NOON", "FR14 2004 1010 0505 0001 3M02 606"),
    ("password", "postgres://app:s3cr3t!@db.host/x", "s3cr3t!"),
    ("password", "https://me:hunter2@10.0.0.1:8080/", "hunter2"),
    ("key", "id = AKIAIOSFODNN7EXAMPLE", "AKIAIOSFODNN7EXAMPLE"),
    ("key", f'aws_secret_access_key = "{BODY[:40]}"', BODY[:40]),
    ("key", f"token ghp_{BODY[:36]} end", f"ghp_{BODY[:36]}"),
    ("key", f"github_pat_{BODY[:22]}_{BODY[:59]}", f"github_pat_{BODY[:22]}_{BODY[:59]}"),
    ("key", f"OPENAI_API_KEY=sk-{BODY[:48]}", f"sk-{BODY[:48]}"),
    ("key", f"sk-proj-{BODY[:20]}_{BODY[:20]}-x1", f"sk-proj-{BODY[:20]}_{BODY[:20]}-x1"),
    ("key", f"sk-ant-api03-{BODY}", f"sk-ant-api03-{BODY}"),
    ("key", f"xoxb-123456789012-{BODY[:24]}", f"xoxb-123456789012-{BODY[:24]}"),
    ("key", f"AIza{BODY[:35]}", f"AIza{BODY[:35]}"),
    ("key", f"hf_{BODY[:34]}", f"hf_{BODY[:34]}"),
    ("key", f"Bearer {jwt()}", jwt()),
    ("key", f"LTAI{BODY[:20]}", f"LTAI{BODY[:20]}"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "text", "wanted"), FOUND, ids=lambda value: str(value)[:24])
def test_it_is_found(kind: str, text: str, wanted: str) -> None:
    assert [(f.kind, f.text) for f in find(text)] == [(kind, wanted)]
    (found,) = find(text)
    assert text[found.start : found.stop] == wanted
    assert find(text, [k for k in KINDS if k != kind and k in DEFAULT]) == [] or kind == "key"


def test_private_key_blocks_are_found_whole_and_cut_off() -> None:
    body = "\n".join([BODY] * 6)
    whole = f"-----BEGIN RSA PRIVATE KEY-----\n{body}\n-----END RSA PRIVATE KEY-----"
    assert [f.text for f in find(f"a\n{whole}\nb")] == [whole]
    in_json = whole.replace("\n", "\\n")
    assert [f.text for f in find(json.dumps({"private_key": whole}))] == [in_json]
    cut = f"-----BEGIN PRIVATE KEY-----\n{body}"
    assert [f.text for f in find(cut)] == [cut]
    assert find("-----BEGIN PRIVATE KEY-----\n...\n-----END PRIVATE KEY-----") == []
    assert find(whole.replace("PRIVATE", "PUBLIC")) == []


@pytest.mark.parametrize(
    ("kind", "text", "wanted"),
    [
        ("ip", "from 203.0.114.77 came", "203.0.114.77"),
        ("ip", "http://93.184.216.34/x", "93.184.216.34"),
        ("ip", "at 2606:2800:220:1:248:1893:25c8:1946.", "2606:2800:220:1:248:1893:25c8:1946"),
        ("passport_cn", "护照号：E12345678", "E12345678"),
        ("plate_cn", "车牌京A·12345停在", "京A·12345"),
        ("plate_cn", "粤BD12345", "粤BD12345"),
    ],
)
def test_some_kinds_are_found_on_request(kind: str, text: str, wanted: str) -> None:
    assert find(text) == []
    assert [f.text for f in find(text, [kind])] == [wanted]


def test_several_in_one_text_come_in_order_and_apart() -> None:
    text = "A: a@b.co 13800138000 13912345678, card 4111111111111111; +14155552671/+14155552672"
    found = find(text)
    assert [f.kind for f in found] == ["email", "phone", "phone", "card", "phone", "phone"]
    assert all(one.stop <= other.start for one, other in pairwise(found))


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="kinds: found 'mail'; allowed: key, "):
        find("x", ["mail"])


BIRTHDAYS = st.dates(date(1900, 1, 1), date(2020, 1, 1))
REGIONS = st.sampled_from(["110101", "310115", "440524", "650102", "810000"])


@given(REGIONS, BIRTHDAYS, st.integers(0, 999))
def test_every_identity_number_is_found_and_no_other_check_digit(
    region: str, birthday: date, serial: int
) -> None:
    number = identity(f"{region}{birthday:%Y%m%d}{serial:03d}")
    assert [f.text for f in find(f"证件{number}号", ["id_cn"])] == [number]
    for other in "0123456789X".replace(number[-1], ""):
        assert find(f"证件{number[:-1]}{other}号", ["id_cn"]) == []


@given(st.sampled_from(["4", "51", "2221", "62"]), st.text(string.digits, min_size=15, max_size=15))
def test_every_card_is_found_and_no_other_check_digit(prefix: str, digits: str) -> None:
    number = luhn((prefix + digits)[:15])
    if len(set(number)) > 1:
        assert [f.text for f in find(f"No. {number}", ["card"])] == [number]
    for other in set(string.digits) - {number[-1]}:
        assert find(f"No. {number[:-1]}{other}", ["card"]) == []


@settings(max_examples=200)
@given(st.text(alphabet=string.printable + "１２电话@.+-京", max_size=200))
def test_any_text_can_be_searched(text: str) -> None:
    found = find(text, KINDS)
    assert all(text[f.start : f.stop] == f.text != "" for f in found)
    assert all(one.stop <= other.start for one, other in pairwise(found))


@pytest.mark.parametrize(
    "text",
    ["@" * 50_000, "a" * 50_000 + "@", "1" * 50_000, "1-" * 25_000, "+1 " * 20_000, "://a:" * 10_000,
     "AB12" * 12_000, "eyJ" * 16_000, "a.b@" * 12_000, "2001:" * 10_000, "-----BEGIN PRIVATE KEY-----" * 500,
     "1.1.1.1." * 6_000, "(1)" * 16_000, "sk-" * 16_000, "10 " * 16_000],
    ids=lambda text: text[:6],
)  # fmt: skip
@pytest.mark.timeout(30)  # a rule that goes back and forth would take hours
def test_hostile_text_is_searched_in_linear_time(text: str) -> None:
    assert all(text[f.start : f.stop] == f.text for f in find(text, KINDS))

"""`scrub` takes out what `find` finds, and nothing else."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenloom.privacy import DEFAULT, find, scrub

PRIVATE = {
    "email": ["a.b@example.com", "x_1@qq.com"],
    "phone": ["13800138000", "+1 415 555 2671", "(415) 555-2671", "010-62345678"],
    "id_cn": ["11010519491231002X"],
    "card": ["4111 1111 1111 1111", "378282246310005"],
    "iban": ["DE89370400440532013000"],
    "ssn_us": ["219-09-9998"],
    "key": ["AKIAIOSFODNN7EXAMPLE"],
}
PIECES = st.sampled_from([(kind, value) for kind, values in PRIVATE.items() for value in values])
WORDS = st.sampled_from(
    [" the whale, ", "联系人：", "\n\n", " (see) ", " it’s 3.5 % ", "。", " on 2024-01-31 "]
)


def test_labels_and_masks() -> None:
    text = "Mail a.b@example.com or call 13800138000 / (415) 555-2671."
    assert scrub(text) == ("Mail [EMAIL] or call [PHONE] / [PHONE].", {"email": 1, "phone": 2})
    masked, counts = scrub(text, style="mask")
    assert masked == "Mail *.*@*******.*** or call *********** / (***) ***-****."
    assert len(masked) == len(text)
    assert counts == {"email": 1, "phone": 2}


def test_only_the_kinds_asked_for() -> None:
    text = "a.b@example.com 13800138000"
    assert scrub(text, ["phone"]) == ("a.b@example.com [PHONE]", {"phone": 1})
    assert scrub(text, []) == (text, {})


def test_the_rest_of_an_address_stays() -> None:
    assert scrub("postgres://app:s3cr3t@db.host:5432/x")[0] == "postgres://app:[PASSWORD]@db.host:5432/x"


def test_an_unknown_style_is_refused() -> None:
    with pytest.raises(ValueError, match="style: found 'hash'; allowed: label, mask"):
        scrub("x", style="hash")  # type: ignore[arg-type]


@given(st.lists(st.tuples(WORDS, PIECES), max_size=8), WORDS)
def test_all_of_it_goes_and_all_else_stays(parts: list[tuple[str, tuple[str, str]]], last: str) -> None:
    text = "".join(word + value for word, (_, value) in parts) + last
    wanted = "".join(f"{word}[{kind.upper()}]" for word, (kind, _) in parts) + last
    assert scrub(text) == (wanted, dict(Counter(kind for _, (kind, _) in parts)))


@given(st.text(alphabet="ab1234567890.@+-:/ 电京()X", max_size=120), st.sampled_from(["label", "mask"]))
def test_what_is_scrubbed_holds_no_more(text: str, style: str) -> None:
    clean, counts = scrub(text, DEFAULT, style)  # type: ignore[arg-type]
    assert sum(counts.values()) == len(find(text))
    if not counts:
        assert clean == text
    assert scrub(clean)[1].keys() <= counts.keys() | {"email"}

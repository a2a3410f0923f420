"""Telephone, identity, card and account numbers: found by their shape, believed by their checksums and plans.

The numbering plans are those of libphonenumber (the package phonenumbers); the checksums are python-stdnum's:
GB 11643-1999 (ISO 7064 MOD 11-2), Luhn (ISO/IEC 7812-1), IBAN (ISO 13616, MOD 97-10, each country's length).
Not found: a number in a shape that prices and times have too, unless a word before it says what it is.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator

from tokenloom.privacy.found import Found, free, in_address, introduced, wordy

_RUN = re.compile(r"[0-9][0-9Xx ().\-（）]{6,}")
"""Where a number may be: everything below is looked for in such runs only."""
_PHONE_WORDS = (
    "tel", "phone", "call", "fax", "mobile", "cell", "whatsapp", "sms", "contact",
    "电话", "手机", "联系", "传真", "致电", "號碼", "电 话", "電話", "手機", "微信",
)  # fmt: skip
_SSN_WORDS = ("ssn", "social security", "soc. sec")

_PLUS = re.compile(r"\+[1-9][0-9]{0,3}(?:[ .\-]?\(?[0-9]{1,5}\)?){2,7}")
_CN_MOBILE = re.compile(r"(?:0086[ -]?)?1[3-9][0-9]([ -]?)[0-9]{4}\1[0-9]{4}")
_CN_LANDLINE = re.compile(
    r"(?:[(（]0[1-9][0-9]{1,2}[)）] ?|0[1-9][0-9]{1,2}[ -]?)[1-9][0-9]{2,3}[ -]?[0-9]{4}"
)
_US = re.compile(
    r"(?:1[ .-])?(?:\([2-9][0-9]{2}\) ?|[2-9][0-9]{2}([ .-]?))[2-9][0-9]{2}(?(1)\1|[ .-])[0-9]{4}"
)
_CN_ID = re.compile(r"([1-9][0-9]{5})([ -]?)((?:18|19|20)[0-9]{6})\2([0-9]{3}[0-9Xx])")
_SSN = re.compile(r"([0-9]{3})([- ]?)([0-9]{2})\2([0-9]{4})")
_CARD = re.compile(
    r"[0-9]{4}([ -])[0-9]{4}\1[0-9]{4}\1[0-9]{4}(?:\1[0-9]{3})?"
    r"|3[0-9]{3}([ -])[0-9]{6}\2[0-9]{4,5}|[0-9]{14,19}"
)
_IBAN = re.compile(r"[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?")
PROVINCES = re.compile("1[1-5]|2[1-3]|3[1-7]|4[1-6]|5[0-4]|6[1-5]|71|8[1-3]|91")
"""GB/T 2260, with Taiwan, Hong Kong, Macao (71, 81, 82, and 83 of residence permits) and 91 (foreigners)."""


def runs(text: str) -> list[tuple[int, int]]:
    """Places of seven or more characters that numbers are written with."""
    return [match.span() for match in _RUN.finditer(text)]


def _each(pattern: re.Pattern[str], text: str, start: int, stop: int) -> Iterator[re.Match[str]]:
    """Every place a pattern fits, overlapping ones too: the first to fit may be no number, as in
    "31 (415) 555-2671", where 1 (415) 555-2671 fits. Inside a row of digits none begins."""
    while match := pattern.search(text, start, stop):
        yield match
        start = match.start() + 1
        while start < stop and "0" <= text[start] <= "9":
            start += 1


def phones(text: str, places: list[tuple[int, int]]) -> Iterator[Found]:
    """International numbers with their +; Chinese mobiles and landlines; North American numbers."""
    for start, stop in places:
        low, taken = max(0, start - 1), start - 1
        if text[low] == "+" and (found := _international(text, low, stop)):
            taken = found.stop
            yield found
        for pattern, region in ((_CN_MOBILE, "CN"), (_CN_LANDLINE, "CN"), (_US, "US")):
            for match in _each(pattern, text, max(low, taken), stop):
                if match.start() >= taken and _is_phone(text, match, region):
                    taken = match.end()
                    yield Found("phone", *match.span(), match[0])


def _international(text: str, start: int, stop: int) -> Found | None:
    match = _PLUS.match(text, start, stop)
    before = text[start - 1 : start] if start else ""
    if match is None or wordy(before) or before in ("+", ")", "]"):
        return None
    end = match.end()
    while end - start > 7:  # what follows a number may look like more of it
        lone = re.search(r"\.[0-9](?![0-9])", text[start:end])  # a decimal, +352.5
        if not lone and free(text, start, end, joins=".-:") and _valid(text[start:end], None):
            return Found("phone", start, end, text[start:end])
        end = max(text.rfind(mark, start, end) for mark in " -.(")
        end = len(text[:end].rstrip(" -.(")) if end > start else -1
    return None


def _is_phone(text: str, match: re.Match[str], region: str) -> bool:
    start, stop = match.span()
    if not free(text, start, stop, left="+$€£¥￥#=", right="%", joins=".-:") and not _labelled(
        text, start, stop
    ):
        return False
    number = match[0]
    plain = number.isdecimal()
    spaced = match.re is _US and match[1] in ("", " ")
    landline = match.re is _CN_LANDLINE and plain
    if (landline or spaced) and not introduced(text, start, _PHONE_WORDS):
        return False
    return not in_address(text, start) and _valid(number.replace("（", "(").replace("）", ")"), region)


def _labelled(text: str, start: int, stop: int) -> bool:
    """phone=13800138000 is a number all the same."""
    return (
        text[start - 1 : start] == "="
        and free(text, start, stop, right="%")
        and introduced(text, start, _PHONE_WORDS)
    )


def _valid(number: str, region: str | None) -> bool:
    import phonenumbers

    try:
        return phonenumbers.is_valid_number(phonenumbers.parse(number, region))
    except phonenumbers.NumberParseException:
        return False


def chinese_ids(text: str, places: list[tuple[int, int]]) -> Iterator[Found]:
    """Citizen identity numbers: region, date of birth and check digit must hold."""
    from stdnum.cn.ric import calc_check_digit

    for start, stop in places:
        for match in _each(_CN_ID, text, start, stop):
            number = (match[1] + match[3] + match[4]).upper()
            if (
                PROVINCES.match(number)
                and _is_birthday(match[3])
                and calc_check_digit(number) == number[-1]
                and free(text, *match.span())
            ):
                yield Found("id_cn", *match.span(), match[0])


def _is_birthday(digits: str) -> bool:
    try:
        day = datetime.date(int(digits[:4]), int(digits[4:6]), int(digits[6:]))
    except ValueError:
        return False
    return datetime.date(1880, 1, 1) <= day <= datetime.date.today()


def social_security(text: str, places: list[tuple[int, int]]) -> Iterator[Found]:
    """US social security numbers: with dashes, or after a word that says so. Areas 000, 666 and 9xx, group 00
    and serial 0000 are never given (SSA, POMS RM 10201.035)."""
    for start, stop in places:
        for match in _each(_SSN, text, start, stop):
            area, mark, group, serial = match.groups()
            given = area not in ("000", "666") and area[0] != "9" and group != "00" and serial != "0000"
            said = mark == "-" or introduced(text, match.start(), _SSN_WORDS)
            if (
                given
                and said
                and free(text, *match.span(), left="+$")
                and not in_address(text, match.start())
            ):
                yield Found("ssn_us", *match.span(), match[0])


def cards(text: str, places: list[tuple[int, int]]) -> Iterator[Found]:
    """Payment cards: an issuer's prefix with a length of its own, and Luhn's checksum."""
    from stdnum import luhn

    for start, stop in places:
        for match in _each(_CARD, text, start, stop):
            number = re.sub("[ -]", "", match[0])
            if (
                _has_issuer(number)
                and luhn.is_valid(number)
                and len(set(number)) > 1
                and free(text, *match.span(), left="+#$€£¥￥")
                and not in_address(text, match.start())
            ):
                yield Found("card", *match.span(), match[0])


def _has_issuer(number: str) -> bool:
    """Visa, Mastercard, American Express, UnionPay, JCB, Discover, Diners, Mir (ISO/IEC 7812 prefixes)."""
    size, two, three, four = len(number), int(number[:2]), int(number[:3]), int(number[:4])
    return (
        (number[0] == "4" and size in (16, 19))
        or ((51 <= two <= 55 or 2221 <= four <= 2720 or 2200 <= four <= 2204) and size == 16)
        or (two in (34, 37) and size == 15)
        or (two == 62 and 16 <= size <= 19)
        or (3528 <= four <= 3589 and 16 <= size <= 19)
        or ((four == 6011 or two == 65 or 644 <= three <= 649) and 16 <= size <= 19)
        or ((300 <= three <= 305 or two in (36, 38, 39)) and size == 14)
    )


def ibans(text: str, places: list[tuple[int, int]]) -> Iterator[Found]:
    """International bank account numbers, in groups of four or in one. Each has seven digits in a row."""
    from stdnum import iban

    at = 0
    for first, last in places:
        for match in _IBAN.finditer(text, max(at, first - 12), min(last + 36, len(text))):
            stop = match.end()
            while stop - match.start() >= 15:  # words in capitals may follow
                if free(text, match.start(), stop) and iban.is_valid(text[match.start() : stop]):
                    yield Found("iban", match.start(), stop, text[match.start() : stop])
                    at = stop
                    break
                stop = text.rfind(" ", match.start(), stop)

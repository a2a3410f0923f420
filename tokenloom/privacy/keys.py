"""Keys and tokens of services, by the marks their makers gave them, and private key blocks (RFC 7468).

Not secrets without a mark: a random word is as often a checksum. The marks are those that the makers'
documents state; a rule runs only where its mark occurs in a long word: text without any costs one search.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Iterator

from tokenloom.privacy.found import Found


def _mixed(value: str) -> bool:
    """Whether letters and digits are mixed, as in random keys and not in words."""
    body = re.split(r"[-_]", value, maxsplit=1)[-1]
    return any(c.isdigit() for c in body) and sum(c.isalpha() for c in body) >= 4 and len(set(body)) > 8


def _is_jwt(value: str) -> bool:
    """Whether the first part is a JOSE header (RFC 7519, section 5)."""
    head = value.partition(".")[0]
    try:
        header = json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))
    except (ValueError, binascii.Error, RecursionError):
        return False
    return isinstance(header, dict) and "alg" in header


def _any(value: str) -> bool:
    return True


Rule = tuple[tuple[str, ...], re.Pattern[str], Callable[[str], bool]]
_END = r"(?![A-Za-z0-9_-])"
_START = r"(?<![A-Za-z0-9-])(?<![A-Za-z0-9]_)"


def _rule(marks: str, pattern: str, check: Callable[[str], bool] = _mixed) -> Rule:
    return tuple(marks.split()), re.compile(_START + pattern), check


RULES: tuple[Rule, ...] = (
    # Amazon: key identifiers, and the secret where its name stands before it.
    _rule("AKIA ASIA ABIA ACCA", r"(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}(?![A-Za-z0-9])" , _any),
    _rule(
        "secret_access_key SecretAccessKey SECRET_ACCESS_KEY",
        r"(?i:[a-z]{0,20}_?secret_?access_?key)[\"']?\s{0,3}[=:]\s{0,3}[\"']?([A-Za-z0-9/+]{40})(?![A-Za-z0-9/+=])",
    ),
    _rule("ghp_ gho_ ghu_ ghs_ ghr_", r"gh[pousr]_[A-Za-z0-9]{36,251}" + _END),
    _rule("github_pat_", r"github_pat_[A-Za-z0-9]{22}_[A-Za-z0-9]{40,64}" + _END),
    _rule("glpat-", r"glpat-[A-Za-z0-9_-]{20,64}" + _END),
    # OpenAI, Anthropic, OpenRouter, DeepSeek and the many that copied the mark.
    _rule("sk-", r"sk-(?:proj-|svcacct-|admin-|ant-|or-v1-|lf-)[A-Za-z0-9_-]{20,200}" + _END),
    _rule("sk-", r"sk-[A-Za-z0-9]{20,64}" + _END),
    _rule("xoxb- xoxp- xoxa- xoxr- xoxs- xapp-", r"(?:xox[abprs]|xapp)-[A-Za-z0-9-]{10,250}" + _END),
    _rule("hooks.slack.com/", r"hooks\.slack\.com/services/(T[A-Z0-9]{6,}/B[A-Z0-9]{6,}/[A-Za-z0-9]{18,})"),
    _rule("AIza", r"AIza[A-Za-z0-9_-]{35}" + _END),
    _rule("GOCSPX-", r"GOCSPX-[A-Za-z0-9_-]{28}" + _END),
    _rule("ya29.", r"ya29\.[A-Za-z0-9_-]{20,400}" + _END),
    _rule("hf_", r"hf_[A-Za-z0-9]{34}" + _END, lambda value: len(set(value)) > 12),
    _rule("sk_live_ rk_live_ sk_test_ rk_test_", r"[sr]k_(?:live|test)_[A-Za-z0-9]{16,247}" + _END),
    _rule("npm_", r"npm_[A-Za-z0-9]{36}" + _END),
    _rule("pypi-AgEIcHlwaS5vcmc", r"pypi-AgEIcHlwaS5vcmc[A-Za-z0-9_-]{50,500}" + _END),
    _rule("SG.", r"SG\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}" + _END),
    _rule("LTAI", r"LTAI[A-Za-z0-9]{12,26}" + _END),
    _rule("AKID", r"AKID[A-Za-z0-9]{32}" + _END),
    _rule("eyJ", r"eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{4,}\.[A-Za-z0-9_-]*" + _END, _is_jwt),
)  # fmt: skip
_LONG = re.compile(r"[A-Za-z0-9_./-]{16,}")
"""What may hold a mark: a key is a long word, and most text has few."""
_BLOCK = re.compile(r"-----BEGIN ((?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?)-----")
_BLOCK_BODY = re.compile(r"(?:[A-Za-z0-9+/=:,.() -]|\s|\\[nr])*")
_BLOCK_CHARS = 20_000


def keys(text: str) -> Iterator[Found]:
    """Keys of every rule, and private key blocks."""
    words = " ".join(_LONG.findall(text))
    for marks, pattern, check in RULES if words else ():
        if any(mark in words for mark in marks):
            for match in pattern.finditer(text):
                group = pattern.groups
                start, stop = match.span(group)
                if check(match[group]):
                    yield Found("key", start, stop, match[group])
    if "PRIVATE KEY" in text:
        yield from _blocks(text)


def _blocks(text: str) -> Iterator[Found]:
    for match in _BLOCK.finditer(text):
        end = f"-----END {match[1]}-----"
        stop = text.find(end, match.end(), match.end() + _BLOCK_CHARS)
        if stop >= 0:
            body, stop = text[match.end() : stop], stop + len(end)
        else:  # cut off: what still looks like a key's lines
            cut = _BLOCK_BODY.match(text, match.end(), match.end() + _BLOCK_CHARS)
            assert cut is not None
            body, stop = cut[0], cut.end()
        letters = re.sub(r"\\[nr]|[^A-Za-z0-9+/=]", "", body)
        if len(letters) >= 40 and len(set(letters)) > 12:
            yield Found("key", match.start(), stop, text[match.start() : stop])

"""English as it is written, made English as it is read: what the embedded voice does not read by itself.

That voice reads numbers, ordinals, dates, times, currencies, units and most abbreviations; this module does
the rest: web addresses, versions, links, shortened millions, abbreviations with stops inside a sentence,
what Markdown marks.
"""

from __future__ import annotations

import re

_LINK = re.compile(r"!?\[([^\]\n]*)\]\([^)\n]*\)")
_URL = re.compile(r"\b(?:https?://)?(?:www\.)?((?:[\w-]+\.)+[a-z]{2,})((?:/[^\s<>\"”)]*)?)", re.IGNORECASE)
_HAS_URL = re.compile(r"https?://|www\.", re.IGNORECASE)
_MAIL = re.compile(r"\b([\w.+-]+)@((?:[\w-]+\.)+[a-z]{2,})\b", re.IGNORECASE)
_VERSION = re.compile(r"(?<![\w.])[vV]?(\d+(?:\.\d+){2,})(?![\w.]*\d)")
_LARGE = re.compile(r"(?<!\w)([$£€¥]?)(\d[\d,]*(?:\.\d+)?)\s?(bn|tn|mn|mio)\b")
_OLD_POUNDS = re.compile(r"(?<!\w)L(\d[\d,]*(?:\.\d+)?)(?!\w)")
_LARGE_WORDS = {"bn": "billion", "tn": "trillion", "mn": "million", "mio": "million"}
_COINS = {"$": "dollars", "£": "pounds", "€": "euros", "¥": "yen"}
_SHORT = {
    "e.g.": "for example",
    "i.e.": "that is",
    "etc.": "et cetera",
    "viz.": "namely",
    "a.k.a.": "also known as",
    "vs.": "versus",
    "approx.": "approximately",
    "Messrs.": "Messieurs",
    "M.D.": "MD",
    "Ph.D.": "PhD",
}
_SHORTS = re.compile(r"(?<![\w.])(" + "|".join(map(re.escape, _SHORT)) + r")(?!\w)")
_NUMBER = re.compile(r"\b([Nn])os?\.\s?(?=\d)")
_MARKS = re.compile(r"(?<!\w)(\*\*\*|\*\*|\*|___|__|_|`+)(?=\S)(.+?)(?<=\S)\1(?!\w)")
_HEADING = re.compile(r"^\s{0,3}(?:#{1,6}|>|[-*+•])\s+", re.MULTILINE)
_BCE = re.compile(r"\b(A\.D|B\.C|B\.C\.E|C\.E)\.(?!\w)")


def readable(text: str) -> str:
    """One sentence as the embedded voice is to get it."""
    text = _HEADING.sub("", text)
    text = _LINK.sub(r"\1", text)
    text = _MARKS.sub(r"\2", text)
    text = _MAIL.sub(lambda m: f"{_dotted(m[1])} at {_dotted(m[2])}", text)
    if _HAS_URL.search(text):
        text = _URL.sub(_address, text)
    text = _NUMBER.sub(lambda m: "Number " if m[1] == "N" else "number ", text)
    text = _SHORTS.sub(lambda m: _short(m), text)
    text = _BCE.sub(lambda m: m[1].replace(".", ""), text)
    text = _LARGE.sub(_large, text)
    text = _OLD_POUNDS.sub(r"\1 pounds", text)
    return _VERSION.sub(lambda m: m[1].replace(".", " point "), text).strip()


def _dotted(name: str) -> str:
    return re.sub(r"\s+", " ", name.replace(".", " dot ").replace("_", " underscore ").replace("-", " dash "))


def _address(found: re.Match[str]) -> str:
    path = re.split(r"[?#]", found[2])[0]
    end = path[len(path.rstrip(".,;:!?/")) :].replace("/", "")
    return _dotted(found[1]) + path.rstrip(".,;:!?/").replace("/", " slash ") + end


def _short(found: re.Match[str]) -> str:
    last = found.end() == len(found.string)
    return _SHORT[found[1]] + ("." if last else "")


def _large(found: re.Match[str]) -> str:
    words = f"{found[2]} {_LARGE_WORDS[found[3]]}"
    return f"{words} {_COINS[found[1]]}" if found[1] else words


def spelled(text: str) -> str:
    """Letters and digits one by one: "A7b" -> "A, 7, B"; what is neither is left out."""
    return ", ".join(c.upper() for c in text if c.isalnum())


def digits(text: str) -> str:
    """Digits one by one, in groups where the text has them: "555-0199" -> "5 5 5, 0 1 9 9"."""
    return ", ".join(" ".join(group) for group in re.findall(r"\d+", text))

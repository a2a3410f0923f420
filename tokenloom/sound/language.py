"""What language a text is in, as far as a voice has to know. Not a judgement on a few words.

By script where a script tells; a Latin text is English where English's small words say so, else what
py3langid says where it is installed and sure, else English.
Source: Lui & Baldwin (2012), langid.py, of which py3langid is a faster form.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from functools import cache
from importlib.util import find_spec
from typing import Any

SCRIPTS = {
    "HIRAGANA": "ja",
    "KATAKANA": "ja",
    "HANGUL": "ko",
    "CJK": "zh",
    "CYRILLIC": "ru",
    "ARABIC": "ar",
    "HEBREW": "he",
    "GREEK": "el",
    "THAI": "th",
    "DEVANAGARI": "hi",
    "BENGALI": "bn",
    "TAMIL": "ta",
    "TELUGU": "te",
    "GEORGIAN": "ka",
    "ARMENIAN": "hy",
    "ETHIOPIC": "am",
    "LATIN": "",
}
"""The first word of a letter's Unicode name, and the language that it most likely means."""
OTHER_SCRIPTS = frozenset(SCRIPTS.values()) - {""} | {"uk"}
"""Languages that a voice of a Latin one cannot read at all."""
NAMES = {
    "en": "English",
    "zh": "Chinese",
    "ja": "Japanese",
    "ko": "Korean",
    "de": "German",
    "fr": "French",
    "es": "Spanish",
    "it": "Italian",
    "pt": "Portuguese",
    "nl": "Dutch",
    "ru": "Russian",
    "uk": "Ukrainian",
    "ar": "Arabic",
    "he": "Hebrew",
    "el": "Greek",
    "th": "Thai",
    "hi": "Hindi",
}
SMALL = frozenset(
    [
        "the",
        "of",
        "and",
        "to",
        "a",
        "in",
        "is",
        "it",
        "that",
        "was",
        "for",
        "on",
        "are",
        "with",
        "as",
        "his",
        "they",
        "at",
        "be",
        "this",
        "have",
        "from",
        "or",
        "had",
        "by",
        "but",
        "not",
        "what",
        "all",
        "were",
        "we",
        "when",
        "your",
        "can",
        "said",
        "there",
        "an",
        "which",
        "she",
        "he",
        "do",
        "how",
        "their",
        "if",
        "will",
        "up",
        "other",
        "about",
        "out",
        "many",
        "then",
        "them",
        "these",
        "so",
        "some",
        "her",
        "would",
        "make",
        "like",
        "him",
        "has",
        "my",
        "i",
        "you",
        "me",
        "our",
        "hello",
    ]
)
SURE = 0.9
ENOUGH = 12
"""Letters that py3langid is asked about; with fewer it guesses."""
LOOKED_AT = 4000
_UKRAINIAN = frozenset("іїєґІЇЄҐ")
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")


def language_of(text: str) -> str:
    """A code of ISO 639-1 ("en", "zh", ...); "" for a text without letters."""
    counts = scripts_of(text[:LOOKED_AT])
    if not counts:
        return ""
    if counts["HIRAGANA"] + counts["KATAKANA"] > sum(counts.values()) // 10:
        return "ja"
    script, _ = counts.most_common(1)[0]
    if script == "CYRILLIC" and _UKRAINIAN & set(text[:LOOKED_AT]):
        return "uk"
    if script != "LATIN":
        return SCRIPTS[script]
    return _latin(text[:LOOKED_AT])


def scripts_of(text: str) -> Counter[str]:
    """How many letters of each script, by the first word of their Unicode names."""
    return Counter(script for c in text if (script := script_of(c)))


@cache
def script_of(c: str) -> str:
    """The script of a letter; "" for what is none, or of a script not known here."""
    if not c.isalpha():
        return ""
    if c.isascii():
        return "LATIN"
    word = unicodedata.name(c, "").partition(" ")[0]
    word = "KATAKANA" if word in ("HALFWIDTH", "KATAKANA-HIRAGANA") else word
    return word if word in SCRIPTS else "LATIN" if word in ("FULLWIDTH", "MODIFIER") else ""


def name_of(language: str) -> str:
    """A language in words."""
    return NAMES.get(language, f"the language {language!r}")


def _latin(text: str) -> str:
    words = [word.lower() for word in _WORD.findall(text)]
    english = sum(word in SMALL for word in words) / max(len(words), 1)
    letters = sum(map(len, words))
    if english >= 0.25 or letters < ENOUGH or find_spec("py3langid") is None:
        return "en"
    language, share = _langid().classify(text)
    plain = all(c.isascii() for c in text if c.isalpha())
    sure = float(share) >= (SURE if len(words) > 3 or not plain else 0.99)
    return str(language) if sure and (english < 0.1 or language == "en") else "en"


@cache
def _langid() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)

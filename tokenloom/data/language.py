"""Which language a text is in: English, Chinese, code, or another. Not a translation of one into another.

py3langid decides among 97 languages: its model (4.6 MB, arrays, no pickle) lies inside its package and it
needs numpy alone. lingua's wheel is 96 MB; fastText's model has to be downloaded. Where the script decides by
itself, it does: a text in Han characters without kana is Chinese, classical or modern, which a classifier
trained on news is unsure of. Source: Lui and Baldwin 2012, langid.py.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from tokenloom.data.spans import words

CHINESE, ENGLISH, CODE, UNKNOWN = "zh", "en", "code", "unknown"
SAMPLE = 300
"""Characters looked at, at the head; half as many again from the middle."""
HAN = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af]")
CODE_ENDINGS = re.compile(
    r"\.(pyi?|[ch]|cc|[ch]pp|cu|rs|go|java|kt|scala|m?js|[jt]sx?|rb|php|p[lm]|lua|sh|bash|sql|r|jl|swift|m|cs"
    r"|hs|ml|exs?|erl|clj|lisp|el|vim|s?css|asm|s|v|zig)$",
    re.I,
)
CODE_LINE = re.compile(
    r"""^\s*(
        (def|class|import|from|return|elif|except|func|fn|let|const|var|public|private|static|void|int|struct
          |impl|pub|use|package|namespace|using|template|typedef|echo|local|end)\b.*[\w)\]}:;{"']$
        | \#\s*(include|define|ifdef|ifndef|endif|pragma)\b.*
        | (if|for|while|switch|else|try)\b.*[:{]$
        | @\w[\w.]*(\(.*\))?$
        | [\w.\[\]'"]+\s*(=|\+=|-=|:=)\s*\S.*
        | .*[;{}]$
        | [\w.]+\(.*\)$
        | (\#|//|/\*|\*|--)\s.*
    )\s*$""",
    re.X,
)


@dataclass(frozen=True)
class Language:
    """Which languages stay."""

    keep: tuple[str, ...] = (ENGLISH, CHINESE, CODE)
    """Codes as en, zh, fr (ISO 639-1) and code; an empty list keeps every language, and only notes it."""
    min_confidence: float = 0.65
    """Least confidence, as FineWeb has it; a less certain text is dropped."""


@dataclass(frozen=True, slots=True)
class Guess:
    """A language and how sure that is, 0..1."""

    language: str
    confidence: float


def identify(text: str, source: str = "", meta: Mapping[str, Any] | None = None) -> Guess:
    """The language of a text, with the ending of its file's name to help.

    The confidence is py3langid's normalised probability; where the script decides, the share of its letters;
    for code the share of lines that look like code (1.0 where the file's ending says it).
    """
    if named_code(source, meta):
        return Guess(CODE, 1.0)
    if (share := code_share(text[: 5 * SAMPLE])) >= 0.5:
        return Guess(CODE, round(share, 3))
    sample = text if len(text) <= 2 * SAMPLE else text[:SAMPLE] + "\n" + _middle(text)
    if not any(map(str.isalpha, sample)):
        return Guess(UNKNOWN, 0.0)
    spans = words(sample if HAN.search(sample) else "")
    if spans.han_share >= 0.2 and not _kana_or_hangul(sample, spans.n_letters):
        # A Han character says about as much as four Latin letters do.
        weight = 4 * spans.n_han
        return Guess(CHINESE, round(weight / (weight + spans.n_letters - spans.n_han), 3))
    language, confidence = _identifier().classify(sample)
    return Guess(str(language), round(float(confidence), 3))


def named_code(source: str, meta: Mapping[str, Any] | None = None) -> bool:
    """Whether the place says that this is a program: "shop.py", "lib/tree.c:1"."""
    name = re.sub(r"(:\d+)+$", "", source)
    path = meta.get("path") if meta else None
    return any(CODE_ENDINGS.search(n) for n in (name, path) if isinstance(n, str))


def code_share(text: str) -> float:
    """Share of the lines that look like code; 0 for fewer than two lines."""
    lines = [line for line in text.splitlines() if line.strip()]
    if len(lines) < 2:
        return 0.0
    return sum(len(line) < 200 and CODE_LINE.match(line) is not None for line in lines) / len(lines)


def _middle(text: str) -> str:
    at = len(text) // 2
    return text[at : at + SAMPLE // 2]


def _kana_or_hangul(text: str, n_letters: int) -> bool:
    others = sum("\u3040" <= c <= "\u30ff" or "\uac00" <= c <= "\ud7af" for c in text)
    return others > 0.05 * n_letters


@cache
def _identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)

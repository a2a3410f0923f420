"""Cleaning, document by document: each step a small value with a name, a source and a function.

Not what needs more than one document: duplicates, the split and the files are `prepare.py`'s. The order is
FineWeb's (Penedo et al. 2024): repair, language, repetition, quality, then private data and evaluations.
English rules are for prose in languages with spaces, Chinese ones for Chinese, code has its own.

    for step in steps(settings):
        result = step.apply(record)     # a Record, changed or not, or Dropped with its reason
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from tokenloom.data import quality
from tokenloom.data.chinese import Chinese, chinese, convert
from tokenloom.data.contamination import Contamination, Evaluation, cut, find
from tokenloom.data.duplicates import U32, exact_key, signatures
from tokenloom.data.language import CHINESE, CODE, ENGLISH, Language, identify, named_code
from tokenloom.data.quality import C4, FineWeb, Gopher
from tokenloom.data.record import Record
from tokenloom.data.repetition import MOSTLY_HAN, Repetition, repetition
from tokenloom.data.report import Report
from tokenloom.data.settings import Clean, Scrub
from tokenloom.data.spans import words

SCRUBBED = "scrubbed"
"""The meta field in which the scrubbing step leaves its counts for the report; it is not written."""
# What ftfy may change lies outside of this; a line of only these is left as it is, which is most lines.
ODD = re.compile(r"[^\n\t\x20-\x7e\u3000-\u303f\u4e00-\u9fff\uff01-\uff5e“”‘’—…·]|&[#\w]")
SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Dropped:
    """Why a document does not stay."""

    reason: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """One step of cleaning."""

    name: str
    source: str
    """What it does and where that is from, one line."""
    apply: Callable[[Record], Record | Dropped]


@dataclass(frozen=True, slots=True)
class Batch:
    """Records that were cleaned together: those that stay, their keys and signatures, and what happened."""

    records: list[Record]
    keys: list[bytes]
    signatures: U32 | None
    report: Report


def steps(settings: Clean, evaluations: Sequence[Evaluation] = ()) -> tuple[Step, ...]:
    """The steps that run on each document, in order. `evaluations`: what `contamination` keeps out."""
    made = [Step("size", "empty texts and those longer than max_characters", _sized(settings.max_characters))]
    if settings.repair:
        made.append(Step("repair", "text decoded wrongly, control characters, line ends: ftfy", _repaired))
    if settings.chinese and settings.chinese.convert:
        made.append(
            Step("convert", "traditional and simplified characters: OpenCC", _converted(settings.chinese))
        )
    if settings.language:
        made.append(
            Step("language", "py3langid (Lui and Baldwin 2012), scripts", _language(settings.language))
        )
    if settings.repetition:
        title = "Gopher's repetition rules (Rae et al. 2021, table A1)"
        made.append(Step("repetition", title, _repetition(settings.repetition)))
    if settings.gopher:
        title = "Gopher's quality rules (Rae et al. 2021, appendix A.1.1)"
        made.append(Step("gopher", title, _gopher(settings.gopher)))
    if settings.c4:
        made.append(Step("c4", "C4's lines and pages (Raffel et al. 2020, section 2.2)", _c4(settings.c4)))
    if settings.fineweb:
        made.append(Step("fineweb", "FineWeb's own rules (Penedo et al. 2024)", _fineweb(settings.fineweb)))
    if settings.chinese:
        title = "characters, marks and lines of Chinese text (after the three above)"
        made.append(Step("chinese", title, _chinese(settings.chinese)))
    if settings.code:
        made.append(Step("code", "StarCoder's rules for code (Li et al. 2023)", _code(settings.code)))
    if settings.scrub:
        made.append(Step("scrub", "private data: tokenloom.privacy", _scrubbed(settings.scrub)))
    if settings.contamination and evaluations:
        title = "texts of evaluation sets (Brown et al. 2020, appendix C)"
        made.append(Step("contamination", title, _clear_of(settings.contamination, tuple(evaluations))))
    return tuple(made)


def clean(record: Record, each: Sequence[Step], report: Report) -> Record | None:
    """Runs the steps on a record and counts what they did; None when one of them dropped it."""
    report.come(record.text)
    for step in each:
        count = report.step(step.name, step.source)
        count.seen += 1
        begun = time.perf_counter()
        result = step.apply(record)
        count.seconds += time.perf_counter() - begun
        if isinstance(result, Dropped):
            count.drop(result.reason, record.source, record.text, result.detail)
            return None
        if result.text is not record.text and result.text != record.text:
            count.change(record.source, record.text, result.text)
        record = result
    return record


def clean_batch(records: Sequence[Record], each: Sequence[Step], settings: Clean) -> Batch:
    """Cleans records and makes what the search for duplicates needs."""
    report = Report()
    kept = []
    for record in records:
        result = clean(record, each, report)
        if result is not None:
            for kind, times in result.meta.get(SCRUBBED, {}).items():
                report.scrubbed[kind] = report.scrubbed.get(kind, 0) + times
            kept.append(replace(result, meta={k: v for k, v in result.meta.items() if k != SCRUBBED}))
    keys = [exact_key(record.text) for record in kept]
    rules = settings.duplicates
    found = None
    if rules and rules.exact:
        report.step("exact")  # named first, since it runs first
    if rules and rules.near:
        begun = time.perf_counter()
        found = signatures([record.text for record in kept], rules)
        report.step("near").seconds += time.perf_counter() - begun
    return Batch(kept, keys, found, report)


# --- the steps --------------------------------------------------------------------------------------------


def _texted(record: Record, text: str) -> Record:
    return record if text is record.text or text == record.text else replace(record, text=text)


def _kind(record: Record) -> str:
    """The language the step before found; without that step, by the name's ending and the script."""
    known = record.meta.get("language")
    if isinstance(known, str) and "language_confidence" in record.meta:
        return known
    if named_code(record.source, record.meta):
        return CODE
    return CHINESE if words(record.text).han_share >= MOSTLY_HAN else ENGLISH


def _sized(most: int) -> Callable[[Record], Record | Dropped]:
    def apply(record: Record) -> Record | Dropped:
        if len(record.text) > most:
            return Dropped("too_long", f"{len(record.text):,} characters")
        if not record.text or record.text.isspace():
            return Dropped("empty")
        return _texted(record, SURROGATE.sub("\ufffd", record.text))

    return apply


def _repaired(record: Record) -> Record | Dropped:
    text = repair(record.text, entities=not named_code(record.source, record.meta))
    return _texted(record, text) if text.strip() else Dropped("empty")


def repair(text: str, *, entities: bool = True) -> str:
    """Undoes wrong decoding, control characters, odd line ends; NFC. Quotes and full-width marks stay.

    entities: also HTML's, as &amp;, in a text without "<"; not for code.
    """
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    if not ODD.search(text):
        return text
    import ftfy

    config = _ftfy()._replace(unescape_html=entities and "<" not in text)
    lines = text.split("\n")
    return "\n".join(ftfy.fix_text(line, config) if ODD.search(line) else line for line in lines)


@cache
def _ftfy() -> Any:
    import ftfy

    # Full-width marks are Chinese punctuation, curly quotes are good typography: both are kept.
    return ftfy.TextFixerConfig(
        uncurl_quotes=False, fix_character_width=False, normalization="NFC", explain=False
    )


def _converted(rules: Chinese) -> Callable[[Record], Record | Dropped]:
    def apply(record: Record) -> Record | Dropped:
        if words(record.text).n_han == 0 or named_code(record.source, record.meta):
            return record
        return _texted(record, convert(record.text, rules.convert))

    return apply


def _language(rules: Language) -> Callable[[Record], Record | Dropped]:
    def apply(record: Record) -> Record | Dropped:
        guess = identify(record.text, record.source, record.meta)
        if rules.keep and guess.language not in rules.keep:
            return Dropped("other_language", f"{guess.language} {guess.confidence:.2f}")
        if rules.keep and guess.confidence < rules.min_confidence:
            return Dropped("unsure", f"{guess.language} {guess.confidence:.2f}")
        found = {"language": guess.language, "language_confidence": guess.confidence}
        return replace(record, meta={**record.meta, **found})

    return apply


def _repetition(rules: Repetition) -> Callable[[Record], Record | Dropped]:
    def apply(record: Record) -> Record | Dropped:
        # Code repeats itself by nature; its rules are its own.
        reason = None if _kind(record) == CODE else repetition(record.text, rules)
        return Dropped(reason) if reason else record

    return apply


def _gopher(rules: Gopher) -> Callable[[Record], Record | Dropped]:
    others = replace(rules, min_stop_words=0)  # the stop words are English

    def apply(record: Record) -> Record | Dropped:
        kind = _kind(record)
        if kind in (CODE, CHINESE):
            return record
        reason = quality.gopher(record.text, rules if kind == ENGLISH else others)
        return Dropped(reason) if reason else record

    return apply


def _c4(rules: C4) -> Callable[[Record], Record | Dropped]:
    def apply(record: Record) -> Record | Dropped:
        if _kind(record) in (CODE, CHINESE):
            return record
        text, reason = quality.c4(record.text, rules)
        return Dropped(reason) if reason else _texted(record, text)

    return apply


def _fineweb(rules: FineWeb) -> Callable[[Record], Record | Dropped]:
    def apply(record: Record) -> Record | Dropped:
        reason = None if _kind(record) in (CODE, CHINESE) else quality.fineweb(record.text, rules)
        return Dropped(reason) if reason else record

    return apply


def _chinese(rules: Chinese) -> Callable[[Record], Record | Dropped]:
    def apply(record: Record) -> Record | Dropped:
        if _kind(record) != CHINESE:
            return record
        text, reason = chinese(record.text, rules)
        return Dropped(reason) if reason else _texted(record, text)

    return apply


def _code(rules: quality.Code) -> Callable[[Record], Record | Dropped]:
    def apply(record: Record) -> Record | Dropped:
        reason = quality.code(record.text, rules) if _kind(record) == CODE else None
        return Dropped(reason) if reason else record

    return apply


def _scrubbed(rules: Scrub) -> Callable[[Record], Record | Dropped]:
    from tokenloom.privacy import scrub

    def apply(record: Record) -> Record | Dropped:
        text, counts = scrub(record.text, rules.kinds, rules.style)
        if not counts:
            return record
        meta: Mapping[str, Any] = {**record.meta, SCRUBBED: dict(counts)}
        return replace(record, text=text, meta=meta)

    return apply


def _clear_of(rules: Contamination, sets: tuple[Evaluation, ...]) -> Callable[[Record], Record | Dropped]:
    def apply(record: Record) -> Record | Dropped:
        found = find(record.text, sets)
        if not found:
            return record
        names = ", ".join(each.name for each in found)
        if not rules.cut:
            return Dropped("evaluation_text", names)
        pieces = cut(record.text, found, rules)
        if not pieces or len(pieces) > rules.max_pieces:
            return Dropped("evaluation_text", names)
        return replace(record, text="\n\n".join(pieces))

    return apply

"""The rules beside what others wrote: datatrove's filters, ftfy on whole texts, true Jaccard similarity."""

from __future__ import annotations

import random
from pydoc_data.topics import topics

import numpy as np
import pytest
from clean_texts import CHINESE, CLASSICAL, ENGLISH, varied

from tokenloom.data.clean import repair
from tokenloom.data.duplicates import Duplicates, shingles, signatures
from tokenloom.data.quality import LINE_ENDS, FineWeb, Gopher, fineweb, gopher
from tokenloom.data.repetition import Repetition, repetition
from tokenloom.data.spans import words


def _texts() -> list[str]:
    """Documentation as it is, with a piece twice, and with its paragraphs drawn with repeats."""
    rng = random.Random(0)
    plain = [*list(topics.values())[::2], ENGLISH, ENGLISH * 2, "a", "a b c d e f g"]
    twice = [text + "\n\n" + text[: rng.randrange(1, len(text) + 1)] for text in plain]
    drawn = ["\n\n".join(rng.choices(text.split("\n\n"), k=12)) for text in plain]
    lines = ["\n".join(rng.sample(text.split("\n"), len(text.split("\n")))) for text in plain]
    return plain + twice + drawn + lines


def _same_words() -> object:
    tokenizers = pytest.importorskip("datatrove.utils.word_tokenizers")

    class Same(tokenizers.WordTokenizer):  # type: ignore[misc, name-defined]
        def word_tokenize(self, text: str) -> list[str]:
            spans = words(text)
            return [text[a:b] for a, b in zip(spans.starts, spans.ends, strict=True)]

        def sent_tokenize(self, text: str) -> list[str]:
            return [text]

        def span_tokenize(self, text: str) -> list[tuple[int, int]]:
            return [(0, len(text))]

    return Same()


NAMES = {
    "dup_para_frac": "duplicate_paragraphs",
    "dup_para_char_frac": "duplicate_paragraph_characters",
    "dup_line_frac": "duplicate_lines",
    "dup_line_char_frac": "duplicate_line_characters",
    "line_punct_ratio": "lines_without_end",
    "short_line_ratio": "short_lines",
    "char_dup_ratio": "repeated_lines",
    "list_ratio": "line_breaks",
    "gopher_short_doc": "few_words",
    "gopher_below_avg_threshold": "short_words",
    "gopher_above_avg_threshold": "long_words",
    "gopher_too_many_hashes": "hash_signs",
    "gopher_too_many_ellipsis": "ellipses",
    "gopher_too_many_bullets": "bullet_lines",
    "gopher_too_many_end_ellipsis": "ellipsis_lines",
    "gopher_below_alpha_threshold": "few_alphabetic_words",
    "gopher_enough_stop_words": "few_stop_words",
}
NAMES |= {f"top_{n}_gram": f"top_{n}_gram" for n in (2, 3, 4)}
NAMES |= {f"duplicated_{n}_n_grams": f"duplicate_{n}_grams" for n in range(5, 11)}


@pytest.mark.parametrize("rule", ["repetition", "gopher", "fineweb"])
def test_decisions_are_datatroves(rule: str) -> None:
    filters = pytest.importorskip("datatrove.pipeline.filters")
    from datatrove.data import Document

    same = _same_words()
    ours, theirs = {
        "repetition": (
            lambda text: repetition(text, Repetition()),
            filters.GopherRepetitionFilter(language=same),
        ),
        "gopher": (
            lambda text: gopher(text, Gopher()),
            filters.GopherQualityFilter(language=same, max_doc_words=None),
        ),
        "fineweb": (
            lambda text: fineweb(text, FineWeb()),
            filters.FineWebQualityFilter(language=same, stop_chars=LINE_ENDS),
        ),
    }[rule]
    seen = set()
    for text in _texts():
        found = theirs.filter(Document(text=text, id="1"))
        expected = None if found is True else NAMES[found[1]]
        assert ours(text) == expected, text[:80]
        seen.add(expected)
    assert len(seen) >= 4, "the texts do not try the rule"


def test_repair_is_ftfys_where_it_does_not_look() -> None:
    """Lines that are passed over are those ftfy leaves as they are."""
    ftfy = pytest.importorskip("ftfy")
    broken = [
        CHINESE.encode().decode("latin-1"),
        "â€œquotedâ€\x9d — “good”",
        "ﬁne naïve cafÃ©",
        "a\x07b\u2028c",
    ]
    for text in [*topics.values(), ENGLISH, CHINESE, CLASSICAL, *broken]:
        config = ftfy.TextFixerConfig(
            uncurl_quotes=False, fix_character_width=False, normalization="NFC", unescape_html="<" not in text
        )
        assert repair(text) == ftfy.fix_text(text, config)


@pytest.mark.parametrize("permutations", [128, 256])
def test_signatures_estimate_jaccard(permutations: int) -> None:
    rules = Duplicates(permutations=permutations)
    base = [text for text in topics.values() if len(text) > 1500]
    errors = []
    for share in (0.01, 0.05):
        others = [varied(text, share, seed=i) for i, text in enumerate(base)]
        estimate = (signatures(base, rules) == signatures(others, rules)).mean(axis=1)
        for one, other, found in zip(base, others, estimate, strict=True):
            a, b = set(shingles(one, rules).tolist()), set(shingles(other, rules).tolist())
            errors.append(found - len(a & b) / len(a | b))
    deviation = 0.5 / permutations**0.5  # of a fair coin: the most it can be
    assert abs(np.mean(errors)) < 3 * deviation / len(errors) ** 0.5
    assert np.std(errors) < deviation

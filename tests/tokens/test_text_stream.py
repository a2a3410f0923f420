"""Text as ids come, and stop strings: laws over any split."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_tokenizers import TEXTS

from tokenloom.tokens.stream import Piece, StopFinder, TextStream
from tokenloom.tokens.text import Tokenizer, load_tokenizer


@pytest.fixture(scope="module", params=["bytes", "spm"])
def tokenizer(request: pytest.FixtureRequest, chatml_folder: Path, spm_gguf: Path) -> Tokenizer:
    return load_tokenizer(chatml_folder if request.param == "bytes" else spm_gguf)


def pieces(stream: TextStream, ids: list[int], cuts: list[int]) -> list[Piece]:
    """The pieces of ids pushed in parts that end at cuts."""
    edges = sorted({0, len(ids), *(cut % (len(ids) + 1) for cut in cuts)})
    parts = [ids[start:end] for start, end in itertools.pairwise(edges)]
    return [*(stream.push(part) for part in parts), stream.finish()]


@given(st.lists(st.integers(0, 850)), st.lists(st.integers(0, 100)), st.booleans())
@settings(max_examples=200, deadline=None)
def test_any_ids_in_any_split_are_their_decoding(
    tokenizer: Tokenizer, ids: list[int], cuts: list[int], special: bool
) -> None:
    got = pieces(TextStream(tokenizer, special=special), ids, cuts)
    assert "".join(piece.text for piece in got) == tokenizer.decode(ids, special)
    assert sum(piece.n_ids for piece in got) == len(ids)


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_no_piece_holds_half_a_character(tokenizer: Tokenizer, text: str) -> None:
    stream, ids = TextStream(tokenizer), tokenizer.encode(text)
    shown = [stream.push([id]).text for id in ids]
    assert "".join(shown) == tokenizer.decode(ids)
    assert "\ufffd" not in "".join(shown)
    assert stream.finish().text == ""


def test_a_character_cut_off_at_the_end_is_replaced(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode("ok 🦆")
    stream = TextStream(tokenizer)
    assert stream.push(ids[:-1]).text == "ok "
    assert stream.finish().text == "\ufffd"


def test_sentencepiece_equals_transformers_on_words(spm_gguf: Path) -> None:
    from transformers import AutoTokenizer

    theirs = AutoTokenizer.from_pretrained(spm_gguf.parent, gguf_file=spm_gguf.name)
    ours = load_tokenizer(spm_gguf)
    for text in ("hello world", " two  spaces", "你好 🎉", "<0x41>"):
        ids = [1, *ours.encode(text), 2]
        stream = TextStream(ours)
        shown = "".join(stream.push([id]).text for id in ids) + stream.finish().text
        assert shown == theirs.decode(ids, skip_special_tokens=True) == text.removeprefix(" ")


def test_which_special_tokens_are_shown(chatml_folder: Path) -> None:
    ours = load_tokenizer(chatml_folder)
    ids = ours.encode_control("<|python_tag|>x<|im_end|>")
    for special, text in (
        (False, "x"),
        (True, "<|python_tag|>x<|im_end|>"),
        ({"<|python_tag|>", "not there"}, "<|python_tag|>x"),
    ):
        assert TextStream(ours, special=special).push(ids).text == text


LETTERS = st.text("abc", max_size=40)
STOPS = st.lists(st.text("abc", min_size=1, max_size=4), min_size=1, max_size=4)


@given(LETTERS, STOPS, st.lists(st.integers(1, 5)))
@settings(max_examples=400, deadline=None)
def test_stop_strings_whatever_the_pieces(text: str, stops: list[str], sizes: list[int]) -> None:
    """Against reading the text letter by letter and looking at its end."""
    want, found = text, None
    for end in range(1, len(text) + 1):
        done = [stop for stop in stops if text[:end].endswith(stop)]
        if done:
            found = max(done, key=len)
            want = text[: end - len(found)]
            break
    finder, shown, rest = StopFinder(stops), "", text
    while rest:
        size = sizes.pop() if sizes else 1
        shown += finder.push(rest[:size])
        rest = rest[size:]
        assert found is None or want.startswith(shown)
    assert (shown + finder.finish(), finder.found) == (want, found)


def test_what_cannot_be_a_stop_string_is_not_held_back() -> None:
    finder = StopFinder(["\n\n", "STOP"])
    assert [finder.push(text) for text in ("one\n", "two S", "TO", "ST", "OP!")] == [
        "one",
        "\ntwo ",
        "",
        "STO",
        "",
    ]
    assert finder.found == "STOP"


def test_a_stop_string_over_several_tokens(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode("Hello 世界!###never seen")
    stream = TextStream(tokenizer, stop=["界!##", "zzz"])
    got = [stream.push([id]) for id in ids]
    ended = next(index for index, piece in enumerate(got) if piece.stopped)
    assert "".join(piece.text for piece in got) == "Hello 世"
    assert [piece.n_ids for piece in got] == [1] * (ended + 1) + [0] * (len(ids) - ended - 1)
    assert tokenizer.decode(ids[: ended + 1]).startswith("Hello 世界!##")
    assert stream.finish() == Piece("", 0, "界!##")
    whole = TextStream(tokenizer, stop=["界!##", "zzz"]).push(ids)
    assert whole == Piece("Hello 世", ended + 1, "界!##")


def test_held_text_comes_at_the_end(tokenizer: Tokenizer) -> None:
    stream = TextStream(tokenizer, stop=["abcdef"])
    assert stream.push(tokenizer.encode("xabc")).text == "x"
    assert stream.finish() == Piece("abc", 0)


def test_an_empty_stop_string_is_refused(tokenizer: Tokenizer) -> None:
    with pytest.raises(ValueError, match="stop: found an empty text"):
        TextStream(tokenizer, stop=[""])

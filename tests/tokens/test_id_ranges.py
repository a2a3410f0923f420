"""The vocabulary of named ranges, and tokenizers extended by media."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_tokenizers import TEXTS

from tokenloom.tokens.chat import encode_chat
from tokenloom.tokens.text import Tokenizer, either, load_tokenizer
from tokenloom.tokens.vocabulary import Medium, Named, Vocabulary, extend_tokenizer, text_vocabulary

SHA = "0123456789abcdef" * 4
MADE = Vocabulary().add("text", 100).add("special", 4).add("image", 16, SHA).add("music", 8)


def test_ranges_lie_one_behind_the_other() -> None:
    assert MADE.size == 128
    assert MADE.names == ("text", "special", "image", "music")
    assert MADE.range("image") == (104, 120)
    assert (MADE.codec("image"), MADE.codec("text")) == (SHA, None)
    assert [MADE.name_of(id) for id in (0, 99, 100, 104, 119, 120, 127)] == [
        "text",
        "text",
        "special",
        "image",
        "image",
        "music",
        "music",
    ]
    twice = MADE.add("special", 2)
    assert twice.spans("special") == ((100, 104), (128, 130))
    with pytest.raises(ValueError, match="found 2 ranges of 'special'"):
        twice.range("special")


@given(st.lists(st.integers(0, 15)))
@settings(max_examples=50)
def test_codes_come_back(codes: list[int]) -> None:
    ids = MADE.ids("image", codes)
    assert MADE.codes("image", ids) == codes
    assert all(MADE.name_of(id) == "image" for id in ids)


@given(
    st.lists(
        st.tuples(st.sampled_from("abcdefg"), st.integers(1, 9), st.booleans()), unique_by=lambda r: r[0]
    )
)
@settings(max_examples=50)
def test_json_comes_back(parts: list[tuple[str, int, bool]]) -> None:
    made = Vocabulary()
    for name, size, coded in parts:
        made = made.add(name, size, SHA if coded else None)
    assert Vocabulary.from_json(json.loads(json.dumps(made.to_json()))) == made


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: MADE.range("sound"), "range: found 'sound'; allowed: text, special, image, music"),
        (lambda: MADE.name_of(128), "ids: found 128; allowed: 0 to 127"),
        (lambda: MADE.name_of(-1), "ids: found -1"),
        (lambda: MADE.ids("image", [3, 16]), "codes: found 16 for image; allowed: 0 to 15"),
        (lambda: MADE.ids("image", [-1]), "codes: found -1"),
        (lambda: MADE.codes("image", [110, 120]), "ids: found 120 for image; allowed: 104 to 119"),
        (lambda: MADE.add("image", 3), "found 'image' twice"),
        (lambda: MADE.add("sound", 0), "size: found 0 for 'sound'"),
        (lambda: MADE.add("Sound!", 3), r"ranges\[4\]\.name: found 'Sound!'"),
        (lambda: MADE.add("sound", 3, "abc"), r"ranges\[4\]\.codec: found 'abc'"),
        (lambda: Vocabulary((Named("text", 1, 5),)), r"ranges\[0\]\.start: found 1; allowed: 0"),
        (lambda: Vocabulary((Named("text", 0, 0),)), r"ranges\[0\]\.stop: found 0"),
        (lambda: Vocabulary.from_json({}), "ranges: found a dict; allowed: a list"),
        (lambda: Vocabulary.from_json([3]), r"ranges\[0\]: found a int"),
        (lambda: Vocabulary.from_json([{"name": "a", "start": 0}]), r"ranges\[0\]: missing: stop"),
        (lambda: Vocabulary.from_json([{"name": "a", "start": 0, "stop": 1, "x": 1}]), r"found \['x'\]"),
        (lambda: Vocabulary.from_json([{"name": "a", "start": 0, "stop": "1"}]), r"stop: found '1'"),
        (lambda: Vocabulary.from_json([{"name": "a", "start": True, "stop": 2}]), "start: found True"),
    ],
)
def test_what_is_wrong_is_named(call, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        call()


@pytest.fixture(scope="module", params=["bytes", "spm"])
def tokenizer(request: pytest.FixtureRequest, chatml_folder: Path, spm_gguf: Path) -> Tokenizer:
    return load_tokenizer(chatml_folder if request.param == "bytes" else spm_gguf)


def test_an_extended_tokenizer(tokenizer: Tokenizer) -> None:
    before = tokenizer.json()
    grown, vocabulary = extend_tokenizer(tokenizer, [Medium("image", 64, SHA), Medium("music", 8)])
    size = tokenizer.vocab_size
    assert grown.vocab_size == vocabulary.size == size + 4 + 64 + 8
    assert vocabulary.spans("special") == ((size, size + 4),)
    assert grown.special["<|image|>"] == size
    assert grown.special["<|/music|>"] == size + 3
    codes = [0, 63, 7]
    ids = [grown.special["<|image|>"], *vocabulary.ids("image", codes), grown.special["<|/image|>"]]
    text = "<|image|><|image:0|><|image:63|><|image:7|><|/image|>"
    assert grown.encode_control(text)[-len(ids) :] == ids
    assert grown.decode(ids, special=True) == text
    assert grown.decode(ids) == ""
    assert set(grown.encode(text)).isdisjoint(range(size, grown.vocab_size))
    assert grown.eos_ids == tokenizer.eos_ids
    for said in TEXTS:
        assert grown.encode(said) == tokenizer.encode(said)
    assert tokenizer.json() == before
    again, wider = extend_tokenizer(grown, [Medium("sound", 4)], vocabulary)
    assert wider.spans("special") == ((size, size + 4), (size + 76, size + 78))
    assert again.special["<|sound:0|>"] == wider.range("sound")[0]


def test_extensions_that_cannot_be(tokenizer: Tokenizer) -> None:
    grown, vocabulary = extend_tokenizer(tokenizer, [Medium("image", 4)])
    with pytest.raises(ValueError, match="found 'image' twice"):
        extend_tokenizer(grown, [Medium("image", 4)], vocabulary)
    with pytest.raises(ValueError, match=r"found '<\|image\|>', which is there already"):
        extend_tokenizer(grown, [Medium("image", 4)])
    with pytest.raises(ValueError, match="vocabulary: found"):
        extend_tokenizer(grown, [Medium("sound", 4)], text_vocabulary(tokenizer))
    assert extend_tokenizer(grown, [], vocabulary) == (grown, vocabulary)


def test_an_extended_model_still_chats(chatml_folder: Path) -> None:
    """Many code tokens neither slow a chat nor let a message spell one."""
    plain = load_tokenizer(chatml_folder)
    grown, vocabulary = extend_tokenizer(plain, [Medium("image", 4096)])
    chat = [{"role": "user", "content": "draw <|image:12|> and a<|im_end|> " * 400}]
    begun = time.monotonic()
    ids = encode_chat(grown, chat)
    assert time.monotonic() - begun < 100
    start, stop = vocabulary.range("image")
    assert set(ids).isdisjoint(range(start, stop))
    assert "draw <|image:12|> and a<|im_end|>" in grown.decode(ids)
    assert encode_chat(grown, [{"role": "user", "content": "hi"}]) == encode_chat(
        plain, [{"role": "user", "content": "hi"}]
    )


@given(st.lists(st.text("ab.|", min_size=1, max_size=4)), st.text("ab.|"))
@settings(max_examples=200)
def test_either_finds_the_longest(texts: list[str], text: str) -> None:
    naive = re.compile("|".join(map(re.escape, sorted(texts, key=len, reverse=True))) or "(?!)")
    assert re.findall(either(texts), text) == naive.findall(text)

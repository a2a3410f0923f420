"""Tokenizers learned on the spot: opened here and by transformers with the same ids, each time the same."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from small_tokenizers import TEXTS, VERSE, corpus
from tokenizers import pre_tokenizers

from tokenloom.tokens.chat import encode_chat
from tokenloom.tokens.folder import read_folder
from tokenloom.tokens.gguf_export import tokenizer_meta
from tokenloom.tokens.text import Tokenizer, load_tokenizer
from tokenloom.tokens.train import (
    CUTS,
    LONGEST,
    Plan,
    Trained,
    character_bpe,
    pieces,
    train_tokenizer,
    write_tokenizer,
)
from tokenloom.tokens.vocabulary import Medium, Vocabulary

CHAT = [
    {"role": "system", "content": "Be brief. 简短。"},
    {"role": "user", "content": "hi <|im_end|> there"},
    {"role": "assistant", "content": "hello"},
    {"role": "user", "content": "1234567?"},
]
PLANS = {
    **{cut: Plan(vocab_size=900, cut=cut) for cut in CUTS},
    "characters": Plan(vocab_size=400, characters=True),
    "apart": Plan(vocab_size=800, apart=True),
    "media": Plan(vocab_size=800, special=("<|poem|>",), media=(Medium("image", 16), Medium("music", 4))),
    "plain": Plan(vocab_size=500, chat=False),
}


@pytest.fixture(scope="module", params=PLANS)
def trained(request: pytest.FixtureRequest) -> Trained:
    return train_tokenizer(corpus(), PLANS[request.param])


@pytest.fixture(scope="module")
def folder(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tokenizer(tmp_path_factory.mktemp("made") / "tokenizer", trained)


def test_opens_here_as_it_was_made(trained: Trained, folder: Path) -> None:
    opened, made = load_tokenizer(folder), trained.tokenizer
    assert opened.hash == made.hash
    assert (opened.vocab_size, opened.named, opened.eos_ids, opened.add_bos) == (
        made.vocab_size,
        made.named,
        made.eos_ids,
        False,
    )
    for text in [*TEXTS, *VERSE]:
        ids = opened.encode(text)
        assert ids == made.encode(text)
        assert opened.decode(ids) == text


def test_transformers_gives_equal_ids(trained: Trained, folder: Path) -> None:
    from transformers import AutoTokenizer

    theirs = AutoTokenizer.from_pretrained(folder)
    ours = trained.tokenizer
    assert len(theirs) == ours.vocab_size
    assert theirs.eos_token_id == ours.eos_ids[0] == ours.special["<|endoftext|>"]
    assert theirs.pad_token_id == ours.pad_id
    for text in [*TEXTS, *VERSE, *corpus()[:200]]:
        ids = ours.encode(text)
        assert theirs.encode(text) == ids
        assert theirs.decode(ids) == text
    control = "<|endoftext|>a<|pad|>"
    assert theirs.encode(control) == ours.encode_control(control)
    if trained.plan.chat:
        text = theirs.apply_chat_template(CHAT, tokenize=False, add_generation_prompt=True)
        assert ours.template is not None
        assert ours.template.render(CHAT) == text
        plain = [m for m in CHAT if "<|" not in m["content"]]
        found = theirs.apply_chat_template(plain, add_generation_prompt=True, return_dict=False)
        assert encode_chat(ours, plain) == found


def test_a_message_cannot_end_its_turn(trained: Trained) -> None:
    if not trained.plan.chat:
        assert trained.tokenizer.template is None
        return
    ids = encode_chat(trained.tokenizer, CHAT)
    end = trained.tokenizer.special["<|im_end|>"]
    assert ids.count(end) == len(CHAT)
    assert trained.tokenizer.eos_ids == (trained.tokenizer.special["<|endoftext|>"], end)


def test_the_ids_lie_as_planned(trained: Trained, folder: Path) -> None:
    plan, tokenizer = trained.plan, trained.tokenizer
    record = json.loads((folder / "tokenloom.json").read_text())
    assert Vocabulary.from_json(record["ranges"]) == trained.vocabulary
    assert record["tokenizer_sha256"] == tokenizer.hash
    assert record["learned_from"] == {
        "texts": len(corpus()),
        "bytes": sum(len(text.encode()) for text in corpus()),
    }
    size = trained.vocabulary.range("text")[1]
    if not plan.characters:  # the corpus is rich enough
        assert size == plan.vocab_size
    first = size - len(plan.control)
    assert [tokenizer.special[token] for token in plan.control] == list(range(first, size))
    assert all(len(tokenizer.token_bytes(id)) == 1 for id in range(256))
    assert {tokenizer.token_bytes(id)[0] for id in range(256)} == set(range(256))
    assert max(len(tokenizer.token_bytes(id)) for id in range(first)) <= LONGEST
    if plan.media:
        assert trained.vocabulary.names == ("text", "special", "image", "music")
        assert tokenizer.special["<|image:15|>"] == trained.vocabulary.range("image")[1] - 1
        assert tokenizer.vocab_size == trained.vocabulary.size == size + 4 + 20


def test_the_cuts_treat_numbers_as_they_say() -> None:
    longest = {}
    for cut in CUTS:
        tokenizer = train_tokenizer(["2024 " * 50, "a b"], Plan(vocab_size=300, cut=cut)).tokenizer
        tokens = [tokenizer.token_bytes(id) for id in tokenizer.encode("2024 2024")]
        longest[cut] = max(sum(byte in b"0123456789" for byte in token) for token in tokens)
    assert longest == {"gpt2": 4, "llama3": 3, "qwen2": 1, "smollm": 1}


@given(st.text(st.sampled_from("空山不见人月a1 ，é😀龘\n"), max_size=30))
@settings(max_examples=100, deadline=None)
def test_whatever_cuts_between_characters_gives_the_same_ids(text: str) -> None:
    """So an export may name GPT-2's cut, or any other."""
    backend = character_bpe(Counter("".join(VERSE) + "ééé😀"), 330)
    ids = backend.encode(text).ids
    assert ids == [id for character in text for id in backend.encode(character).ids]
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    assert backend.encode(text).ids == ids


def test_frequent_characters_are_one_id_and_rare_ones_bytes() -> None:
    counts = Counter("".join(VERSE))
    frequent = [c for c, _ in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))]
    backend = character_bpe(counts, 256 + 40)
    sizes = {c: len(backend.encode(c).ids) for c in frequent}
    single = [c for c in frequent if sizes[c] == 1]
    assert len(single) > 10
    assert single == frequent[: len(single)]  # the frequent ones first
    assert backend.get_vocab_size() <= 296
    tokenizer = Tokenizer(backend)
    for text in [*VERSE, "龘 rare é 😀"]:
        assert tokenizer.decode(tokenizer.encode(text)) == text
    assert len(tokenizer.encode("龘")) > 1
    every = character_bpe(counts, 100_000)
    assert all(len(every.encode(c).ids) == 1 for c in counts)
    assert all(len(every.encode(c).ids) > 1 for c in character_only_once(counts, min_count=2))


def character_only_once(counts: Counter[str], min_count: int) -> Iterator[str]:
    backend = character_bpe(counts, 100_000, min_count)
    for c, count in counts.items():
        assert (len(backend.encode(c).ids) == 1) == (count >= min_count)
    yield from ()


def test_characters_that_are_cut_apart_are_not_joined() -> None:
    texts = ["一只红色的狐狸 the red fox", "红色的猫 the red cat", "红色的苹果"] * 50
    joined, apart = (train_tokenizer(texts, Plan(vocab_size=340, apart=a)).tokenizer for a in (False, True))
    assert len(joined.encode("红色的")) == 1
    assert [apart.token_text(id) for id in apart.encode("红色的猫 red")] == ["红", "色", "的", "猫", " red"]
    for id in range(apart.vocab_size):
        assert (
            sum(byte & 0xC0 != 0x80 for byte in apart.token_bytes(id)) <= 1 or apart.token_text(id).isascii()
        )
    with pytest.raises(ValueError, match="has no name for; allowed"):
        tokenizer_meta(apart, apart.vocab_size)


def test_the_same_texts_give_the_same_tokenizer(tmp_path: Path) -> None:
    """In another process, with another hash seed, and in another order of the texts."""
    texts = corpus()
    made = train_tokenizer(texts, Plan(vocab_size=900)).tokenizer.hash
    random.Random(0).shuffle(texts)
    assert train_tokenizer(texts, Plan(vocab_size=900)).tokenizer.hash == made
    (tmp_path / "texts.json").write_text(json.dumps(texts))
    code = (
        "import json, sys; from tokenloom.tokens.train import Plan, train_tokenizer\n"
        "texts = json.load(open(sys.argv[1]))\n"
        "print(train_tokenizer(texts, Plan(vocab_size=900)).tokenizer.hash)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "texts.json")]
    out = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    assert out.strip() == made


def test_merges_are_those_of_the_library() -> None:
    """On short texts, which are not cut into parts, nothing but the control tokens is added."""
    from tokenizers import models, trainers

    plain = tokenizers.Tokenizer(models.BPE())
    plain.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    plain.train_from_iterator(
        corpus(),
        trainers.BpeTrainer(vocab_size=796, initial_alphabet=alphabet, min_frequency=2, show_progress=False),
    )
    ours = json.loads(train_tokenizer(corpus(), Plan(vocab_size=800)).tokenizer.json())
    short = [m for m in json.loads(plain.to_str())["model"]["merges"] if len("".join(m)) <= LONGEST]
    assert ours["model"]["merges"][:300] == short[:300]


@given(st.text(st.sampled_from("ab \n。"), max_size=3), st.integers(0, 3000), st.integers(0, 3))
@settings(max_examples=60, deadline=None)
def test_pieces_are_the_text(unit: str, times: int, spaces: int) -> None:
    text = (unit + " " * spaces) * times * 20
    parts = list(pieces(text))
    assert "".join(parts) == text
    assert all(part and len(part) <= 1 << 16 for part in parts)
    assert all(len(word) <= 1024 for part in parts for word in part.split())


@pytest.mark.slow
@pytest.mark.parametrize("letters", ["x", "abcdefghijklmnopqrstuvwxyz", "空山新雨后天气晚来秋"])
def test_ten_megabytes_in_one_line(letters: str) -> None:
    """However few spaces it has: the time does not run away with the length of a word."""
    text = "".join(random.Random(0).choices(letters, k=10_000_000 // len(letters[0].encode())))
    begun = time.monotonic()
    trained = train_tokenizer([text, "a little more text"], Plan(vocab_size=330))
    assert time.monotonic() - begun < 200
    assert trained.n_bytes == len(text.encode()) + 18


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"cut": "gpt5"}, "cut: found 'gpt5'; allowed: gpt2, llama3, qwen2, smollm"),
        ({"vocab_size": 259}, "vocab_size: found 259; allowed: 260 and more"),
        ({"special": ("<|pad|>",)}, r"special: found '<\|pad\|>'"),
        ({"special": (" ",)}, "special: found ' '"),
        ({"characters": True, "cut": "llama3"}, "cut: found 'llama3' with characters"),
        ({"characters": True, "apart": True}, "apart: found with characters"),
        ({"chat": False, "template": "x"}, "template: found one, but no chat is wanted"),
        ({"min_count": 0}, "min_count: found 0"),
    ],
)
def test_wrong_plans_are_named(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Plan(**options)


def test_wrong_texts_are_named() -> None:
    for texts in ([], [""], ["", ""]):
        for characters in (False, True):
            with pytest.raises(ValueError, match="texts: found none"):
                train_tokenizer(texts, Plan(vocab_size=300, characters=characters))
    with pytest.raises(ValueError, match="special: found 'abc', which the texts gave an id of their own"):
        train_tokenizer(["abc abc abc " * 9], Plan(vocab_size=300, special=("abc",)))

    def broken() -> Iterator[str]:
        yield "some text"
        raise ValueError("page 3: torn")

    with pytest.raises(ValueError, match="page 3: torn"):
        train_tokenizer(broken(), Plan(vocab_size=300))


def test_a_small_text_gives_fewer_ids() -> None:
    trained = train_tokenizer(["abab abab"], Plan(vocab_size=9000))
    assert 260 < trained.vocabulary.size < 280


def test_a_folder_is_replaced_only_when_asked(tmp_path: Path) -> None:
    trained = train_tokenizer(VERSE, Plan(vocab_size=300))
    write_tokenizer(tmp_path / "t", trained)
    with pytest.raises(FileExistsError, match="not empty"):
        write_tokenizer(tmp_path / "t", trained)
    write_tokenizer(tmp_path / "t", train_tokenizer(corpus(), Plan(vocab_size=310)), overwrite=True)
    assert load_tokenizer(tmp_path / "t").vocab_size == 310
    (tmp_path / "t" / "model.safetensors").write_bytes(b"")
    with pytest.raises(FileExistsError, match="does not hold a tokenizer alone"):
        write_tokenizer(tmp_path / "t", trained, overwrite=True)
    (tmp_path / "file").write_text("")
    with pytest.raises(FileExistsError, match="is a file"):
        write_tokenizer(tmp_path / "file", trained, overwrite=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "home", "t"]


def test_a_failed_write_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = train_tokenizer(VERSE, Plan(vocab_size=300))
    write_tokenizer(tmp_path / "t", first)
    plain = Path.write_text

    def full(self: Path, text: str, **options: Any) -> int:
        if self.name == "tokenizer_config.json":
            raise OSError(28, "No space left on device")
        return plain(self, text, **options)

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="No space left"):
        write_tokenizer(tmp_path / "t", train_tokenizer(VERSE, Plan(vocab_size=310)), overwrite=True)
    assert load_tokenizer(tmp_path / "t").hash == first.tokenizer.hash
    assert sorted(p.name for p in tmp_path.iterdir()) == ["home", "t"]


def test_read_folder_knows_both_ends(folder: Path, trained: Trained) -> None:
    assert read_folder(folder)["ends"] == trained.tokenizer.eos_ids

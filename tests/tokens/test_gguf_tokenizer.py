"""Tokenizers out of GGUF metadata, against transformers' reading and SentencePiece itself."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import sentencepiece
import tokenizers
from small_tokenizers import SPECIAL, TEXTS, gguf_of_bytes, gguf_of_spm, write_gguf

from tokenloom.tokens.folder import tokenizer_files
from tokenloom.tokens.split import KINDS
from tokenloom.tokens.text import Tokenizer, load_tokenizer
from tokenloom.weights.gguf import open_gguf


def transformers_reading(path: Path):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)


@pytest.mark.parametrize("pre", ["gpt-2", "llama-bpe", "qwen2", "tekken", "qwen35", "gpt-4o", "smollm"])
def test_byte_level_equals_transformers(
    bytes_backend: tokenizers.Tokenizer, tmp_path: Path, pre: str
) -> None:
    path = gguf_of_bytes(tmp_path / "m.gguf", bytes_backend, pre)
    ours, theirs = load_tokenizer(path), transformers_reading(path)
    for text in TEXTS:
        if pre == "smollm" and re.search(r"\d", text):
            continue  # transformers does not part digits there; the next test holds the model's own rule
        ids = ours.encode(text)
        assert ids == theirs.encode(text, add_special_tokens=False), text
        assert ours.decode(ids) == text
    prompt = "<|im_start|>user\nhi<|im_end|>\n<think>"
    assert ours.encode_control(prompt) == theirs.encode(prompt, add_special_tokens=False)
    assert ours.decode(ours.encode_control(prompt)) == "user\nhi\n<think>"


def test_smollm_parts_digits_before_words(bytes_backend: tokenizers.Tokenizer, tmp_path: Path) -> None:
    """The rule of SmolLM2's own tokenizer.json: single digits, then GPT-2's expression."""
    ours = load_tokenizer(gguf_of_bytes(tmp_path / "m.gguf", bytes_backend, "smollm"))
    theirs = tokenizers.Tokenizer.from_str(bytes_backend.to_str())
    theirs.pre_tokenizer = tokenizers.pre_tokenizers.Sequence(
        [
            tokenizers.pre_tokenizers.Digits(individual_digits=True),
            tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    for text in [*TEXTS, "  12   3\n    4", "a1b22", "½ ²  Ⅷ 9"]:
        assert ours.encode(text) == theirs.encode(text, add_special_tokens=False).ids


@pytest.mark.parametrize("pre", sorted(KINDS))
def test_every_kind_keeps_every_text(bytes_backend: tokenizers.Tokenizer, tmp_path: Path, pre: str) -> None:
    ours = load_tokenizer(gguf_of_bytes(tmp_path / "m.gguf", bytes_backend, pre))
    for text in TEXTS:
        assert ours.decode(ours.encode(text)) == text


def test_pieces_in_the_vocabulary_stay_whole_for_llama_3(tmp_path: Path) -> None:
    """Llama 3 takes a whole piece from the vocabulary even where no merges lead to it."""
    backend = tokenizers.Tokenizer(tokenizers.models.BPE({"a": 0, "b": 1, "c": 2, "abc": 3}, []))
    for special in ("<|endoftext|>", "<|im_end|>"):
        backend.add_special_tokens([special])
    state = json.loads(backend.to_str())
    assert state["model"]["merges"] == []
    keys = {"tokens": ["a", "b", "c", "abc", "ab"], "token_type": [1] * 5, "merges": ["a b"]}
    whole = load_tokenizer(write_gguf(tmp_path / "a.gguf", model="gpt2", pre="llama-bpe", **keys))
    merged = load_tokenizer(write_gguf(tmp_path / "b.gguf", model="gpt2", pre="gpt-2", **keys))
    assert (whole.encode("abc"), merged.encode("abc")) == ([3], [4, 2])


def test_sentencepiece_equals_itself_and_transformers(
    spm: sentencepiece.SentencePieceProcessor, spm_gguf: Path
) -> None:
    ours, theirs = load_tokenizer(spm_gguf), transformers_reading(spm_gguf)
    for text in TEXTS:
        ids = ours.encode(text)
        assert ids == theirs.encode(text, add_special_tokens=False), text
        assert ours.decode(ids) == theirs.decode(ids)
        if not text.startswith(" "):  # there transformers lets the text's own space be the one in front
            assert ids == spm.encode(text), text
            assert ours.decode(ids) == spm.decode(ids) == text
    assert ours.encode("a", bos=True) == [1, *ours.encode("a")]
    assert (ours.bos_id, ours.eos_ids, ours.unk_id) == (1, (2,), 0)


def test_no_space_before_the_first_word_where_the_file_says_so(
    spm: sentencepiece.SentencePieceProcessor, tmp_path: Path
) -> None:
    path = gguf_of_spm(tmp_path / "m.gguf", spm, add_space_prefix=False, add_bos_token=False)
    ours = load_tokenizer(path)
    for text in TEXTS:
        assert ours.decode(ours.encode(text)) == text
    assert ours.encode(" the") == load_tokenizer(gguf_of_spm(tmp_path / "n.gguf", spm)).encode("the")
    assert ours.encode("the") != ours.encode(" the")
    assert ours.encode("a", bos=True) == ours.encode("a")


def test_no_text_spells_a_control_token(spm: sentencepiece.SentencePieceProcessor, spm_gguf: Path) -> None:
    ours = load_tokenizer(spm_gguf)
    for text in ("<s>", "</s>", "x <s>y</s>", "<unk>", "<0x41>"):
        ids = ours.encode(text)
        assert ids == spm.encode(text)
        assert {1, 2}.isdisjoint(ids)
        assert ours.decode(ids) == text


def test_gemma_equals_transformers(spm: sentencepiece.SentencePieceProcessor, tmp_path: Path) -> None:
    """Gemma's variety: no space in front, runs of spaces are tokens, merges in the file's order."""
    plain = [spm.id_to_piece(id) for id in range(spm.get_piece_size())]
    tokens = [*plain, "<start_of_turn>", "<end_of_turn>", "\n\n\n", " " * 20]
    kinds = [2 if i == 0 else 3 if i < 3 else 6 if spm.is_byte(i) else 1 for i in range(len(plain))]
    path = write_gguf(
        tmp_path / "g.gguf",
        "gemma3",
        model="llama",
        pre="default",
        tokens=tokens,
        scores=[0.0] * len(tokens),
        token_type=[*kinds, 3, 3, 4, 4],
        bos_token_id=1,
        eos_token_id=2,
        unknown_token_id=0,
        add_space_prefix=False,
        gemma3__attention__key_length=8,
        gemma3__attention__value_length=8,
    )
    ours, theirs = load_tokenizer(path), transformers_reading(path)
    for text in [*TEXTS, "a\n\n\nb", "x" + " " * 20 + "y", "a\n\n\n\n"]:
        ids = ours.encode(text)
        assert ids == theirs.encode(text, add_special_tokens=False), text
        assert ours.decode(ids) == text
    assert ours.eos_ids == (2, tokens.index("<end_of_turn>"))


def test_templates_and_turn_ends_of_the_file(bytes_backend: tokenizers.Tokenizer, tmp_path: Path) -> None:
    path = gguf_of_bytes(
        tmp_path / "m.gguf",
        bytes_backend,
        "gpt-2",
        tokenizer__chat_template="{{ bos_token }}D",
        tokenizer__chat_templates=["tool_use"],
        tokenizer__chat_template__tool_use="T",
        eos_token_id=SPECIAL.index("[/INST]"),
    )
    ours = load_tokenizer(path)
    assert ours.template is not None
    turn = [{"role": "user", "content": "x"}]
    assert ours.template.render(turn) == "<|endoftext|>D"
    assert ours.template.render(turn, [{}]) == "T"
    ends = [SPECIAL.index(text) for text in ("[/INST]", "<|im_end|>", "<|endoftext|>")]
    assert ours.eos_ids == tuple(ends)


BASE = {
    "model": "gpt2",
    "pre": "gpt-2",
    "tokens": ["a", "b", "ab"],
    "token_type": [1, 1, 1],
    "merges": ["a b"],
}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"pre": "klingon"}, r"tokenizer\.ggml\.pre: found 'klingon'; allowed: .*smollm"),
        ({"model": "t5"}, r"tokenizer\.ggml\.model: found 't5'; allowed: gpt2, llama"),
        ({"merges": ["a c"]}, r"merges: found 'a' \+ 'c'"),
        ({"merges": ["ab"]}, r"merges: found 'ab'"),
        ({"tokens": ["a", "b", "ab", "a"], "token_type": [1] * 4}, "found 4 tokens, 3 different"),
        ({"token_type": [1]}, "token_type: allowed: a list of 3 numbers"),
        ({"bos_token_id": 3}, "bos_token_id: found 3; allowed: 0 to 2"),
        ({"model": "llama"}, None),
        ({"model": "llama", "merges": None}, "scores: allowed: a list of 3"),
        ({"tokens": None}, r"tokenizer\.ggml\.tokens: found NoneType"),
    ],
)
def test_broken_metadata_is_named(tmp_path: Path, changes: dict, words: str | None) -> None:
    keys = {key: value for key, value in {**BASE, **changes}.items() if value is not None}
    path = write_gguf(tmp_path / "m.gguf", **keys)
    if words is None:
        assert isinstance(load_tokenizer(path), Tokenizer)
        return
    with pytest.raises(ValueError, match=words):
        load_tokenizer(path)


def test_begin_token_where_nothing_is_stated(bytes_backend: tokenizers.Tokenizer, tmp_path: Path) -> None:
    for pre, begins in (("llama-bpe", True), ("tekken", True), ("qwen2", False)):
        ours = load_tokenizer(gguf_of_bytes(tmp_path / f"{pre}.gguf", bytes_backend, pre))
        assert ours.add_bos == begins
        assert (ours.encode("a", bos=True)[0] == ours.bos_id) == begins


@pytest.mark.parametrize("kind", ["bytes", "spm"])
def test_a_file_becomes_a_folder(
    bytes_backend: tokenizers.Tokenizer, spm_gguf: Path, tmp_path: Path, kind: str
) -> None:
    """What is written opens here and in transformers with the same ids."""
    from transformers import AutoTokenizer

    path = spm_gguf
    if kind == "bytes":
        template = {"tokenizer__chat_template": "{{ bos_token }}{{ messages[0].content }}"}
        path = gguf_of_bytes(tmp_path / "m.gguf", bytes_backend, "qwen2", add_bos_token=True, **template)
    ours, folder = load_tokenizer(path), tmp_path / "hub"
    folder.mkdir()
    for name, text in tokenizer_files(ours).items():
        (folder / name).write_text(text)
    again, theirs = load_tokenizer(folder), AutoTokenizer.from_pretrained(folder)
    for text in TEXTS:
        ids = ours.encode(text, bos=True)
        assert again.encode(text, bos=True) == ids
        assert theirs.encode(text) == ids
        assert again.decode(ids) == theirs.decode(ids, skip_special_tokens=True)
    assert (again.named, again.special, again.json()) == (ours.named, ours.special, ours.json())
    assert again.template == ours.template


@pytest.mark.model
def test_smollm2(smollm2: Path, smollm2_theirs) -> None:
    ours, theirs = load_tokenizer(smollm2), smollm2_theirs
    assert (ours.vocab_size, ours.eos_ids, ours.add_bos) == (49152, (2, 0), False)
    with open_gguf(smollm2) as file:
        assert len(file.meta["tokenizer.ggml.tokens"]) == ours.vocab_size
    for text in TEXTS:
        if re.search(r"\d", text):
            continue  # transformers does not part digits, as SmolLM2's own tokenizer does
        ids = ours.encode(text)
        assert ids == theirs.encode(text, add_special_tokens=False), text
        assert ours.decode(ids) == theirs.decode(ids) == text
    assert ours.decode(ours.encode("x  12")) == "x  12"
    assert [ours.token_text(id) for id in ours.encode("x  12")] == ["x", "  ", "1", "2"]

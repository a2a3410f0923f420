"""Text <-> ids of Hub folders, against transformers' reading of the same files."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from small_tokenizers import MARKERS, SPECIAL, TEXTS, write_folder

from tokenloom.model.features import ModelConfig
from tokenloom.model.save import save_model
from tokenloom.model.transformer import Transformer
from tokenloom.tokens.folder import tokenizer_files
from tokenloom.tokens.text import Tokenizer, load_tokenizer


@pytest.fixture(scope="module")
def tokenizer(chatml_folder: Path) -> Tokenizer:
    return load_tokenizer(chatml_folder)


@pytest.fixture(scope="module")
def theirs(chatml_folder: Path):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(chatml_folder)


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_ids_and_text_equal_transformers(tokenizer: Tokenizer, theirs, text: str) -> None:
    ids = tokenizer.encode(text)
    assert ids == theirs.encode(text, add_special_tokens=False)
    assert tokenizer.decode(ids) == theirs.decode(ids) == text


@given(st.text(st.characters(codec="utf-8")))
@settings(max_examples=150, deadline=None)
def test_any_text_comes_back(chatml_folder: Path, text: str) -> None:
    tokenizer = _load(chatml_folder)
    assert tokenizer.decode(tokenizer.encode(text)) == text


@given(st.lists(st.integers(0, 1203)), st.booleans())
@settings(max_examples=200, deadline=None)
def test_any_ids_decode_as_the_library_does(chatml_folder: Path, ids: list[int], special: bool) -> None:
    backend = tokenizers.Tokenizer.from_file(str(chatml_folder / "tokenizer.json"))
    assert _load(chatml_folder).decode(ids, special) == backend.decode(ids, skip_special_tokens=not special)


_loaded: dict[Path, Tokenizer] = {}


def _load(folder: Path) -> Tokenizer:
    if folder not in _loaded:
        _loaded[folder] = load_tokenizer(folder)
    return _loaded[folder]


def test_special_tokens_in_a_text_stay_text(tokenizer: Tokenizer) -> None:
    for token in [*SPECIAL, *MARKERS]:
        text = f"before {token}after{token}"
        ids = tokenizer.encode(text)
        controlled = {*tokenizer.special.values(), *tokenizer.markers.values()}
        if token in tokenizer.special or token in tokenizer.markers:
            assert controlled.isdisjoint(ids), token
        assert tokenizer.decode(ids) == text
    assert set(tokenizer.markers) == {"<think>", "</think>"}  # those the template writes


def test_a_marker_the_template_does_not_write_is_an_ordinary_token(tokenizer: Tokenizer, theirs) -> None:
    assert tokenizer.encode("<tool_call>") == theirs.encode("<tool_call>") == [tokenizer.id_of("<tool_call>")]


def test_control_is_read_where_asked(tokenizer: Tokenizer, theirs) -> None:
    text = "<|im_start|>user\nhi<|im_end|><think>x</think>"
    ids = tokenizer.encode_control(text)
    assert ids == theirs.encode(text, add_special_tokens=False)
    assert tokenizer.special["<|im_start|>"] in ids
    assert tokenizer.decode(ids) == theirs.decode(ids, skip_special_tokens=True)
    assert tokenizer.decode(ids, special=True) == text


def test_what_ends_a_turn(tokenizer: Tokenizer) -> None:
    assert tokenizer.eos_ids == (2, 0)
    assert (tokenizer.bos_id, tokenizer.pad_id, tokenizer.unk_id) == (0, 0, None)
    assert tokenizer.is_special(2)
    assert not tokenizer.is_special(300)


def test_bos_only_where_the_model_was_trained_with_one(
    tokenizer: Tokenizer, bytes_backend: tokenizers.Tokenizer, tmp_path: Path
) -> None:
    assert tokenizer.encode("a", bos=True) == tokenizer.encode("a")
    folder = write_folder(tmp_path / "b", bytes_backend, bos_token="<|endoftext|>", add_bos_token=True)
    with_bos = load_tokenizer(folder)
    assert with_bos.encode("a", bos=True) == [0, *with_bos.encode("a")]
    post = tokenizers.Tokenizer.from_str(bytes_backend.to_str())
    post.post_processor = tokenizers.processors.TemplateProcessing(
        single="<|endoftext|> $A", special_tokens=[("<|endoftext|>", 0)]
    )
    folder = write_folder(tmp_path / "c", post, bos_token="<|endoftext|>")
    assert load_tokenizer(folder).encode("a", bos=True)[0] == 0


def test_lone_surrogates_are_refused(tokenizer: Tokenizer) -> None:
    for call in (tokenizer.encode, tokenizer.encode_control):
        with pytest.raises(ValueError, match=r"text: found U\+D83D at 2"):
            call("ab\ud83d")


def test_token_bytes_join_to_the_text(tokenizer: Tokenizer) -> None:
    for text in TEXTS:
        assert b"".join(map(tokenizer.token_bytes, tokenizer.encode(text))) == text.encode()
    assert tokenizer.token_bytes(tokenizer.vocab_size + 7) == b""
    assert tokenizer.token_text(2) == "<|im_end|>"
    with pytest.raises(ValueError, match="ids: found -1"):
        tokenizer.decode([-1])


def test_threads_share_it(tokenizer: Tokenizer) -> None:
    text = "<|im_start|>user"
    plain, control = tokenizer.encode(text), tokenizer.encode_control(text)
    assert plain != control

    def work(index: int) -> bool:
        if index % 2:
            return tokenizer.encode(text) == plain
        return tokenizer.encode_control(text) == control

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(400)))


def test_json_and_hash_are_the_tokenizer(tokenizer: Tokenizer, chatml_folder: Path) -> None:
    again = tokenizers.Tokenizer.from_str(tokenizer.json())
    assert again.encode("hello").ids == tokenizer.encode("hello")
    assert tokenizer.hash == load_tokenizer(chatml_folder).hash
    assert len(tokenizer.hash) == 64


def test_the_hashes_of_a_model_folder_are_the_tokenizers(
    bytes_backend: tokenizers.Tokenizer, chatml_folder: Path, tmp_path: Path
) -> None:
    """One definition: what is saved, what is loaded, and what goes through our own files say the same."""
    model = Transformer(ModelConfig(1, 2, 2, 8, 4, 8, bytes_backend.get_vocab_size() + 1, 16))
    size = bytes_backend.get_vocab_size()
    added = {str(size): {"content": "<|new|>", "special": True}}
    odd = write_folder(
        tmp_path / "odd", bytes_backend, added_tokens_decoder=added, bos_token="a", x_token="b"
    )
    (odd / "tokenizer.json").write_text(json.dumps(json.loads((odd / "tokenizer.json").read_text())))
    for index, folder in enumerate((chatml_folder, odd)):
        tokenizer = load_tokenizer(folder)
        copied = save_model(model, tmp_path / f"copied{index}", folder)
        written = save_model(model, tmp_path / f"written{index}", files=tokenizer_files(tokenizer))
        for saved in (copied, written):
            about, again = json.loads((saved / "tokenloom.json").read_text()), load_tokenizer(saved)
            assert about["tokenizer_sha256"] == again.hash == tokenizer.hash
            template = tokenizer.template and tokenizer.template.hash
            assert about["template_sha256"] == template == (again.template and again.template.hash)
    assert load_tokenizer(odd).hash != load_tokenizer(chatml_folder).hash


def test_added_tokens_of_the_config_alone(bytes_backend: tokenizers.Tokenizer, tmp_path: Path) -> None:
    size = bytes_backend.get_vocab_size()
    added = {str(size): {"content": "<|new|>", "special": True}}
    folder = write_folder(tmp_path / "a", bytes_backend, added_tokens_decoder=added, eos_token="<|new|>")
    assert load_tokenizer(folder).eos_ids == (size,)
    added = {str(size + 5): {"content": "<|new|>", "special": True}}
    folder = write_folder(tmp_path / "b", bytes_backend, added_tokens_decoder=added)
    with pytest.raises(ValueError, match=r"added_tokens_decoder\[\d+\]: found '<\|new\|>'"):
        load_tokenizer(folder)


def test_templates_of_every_place(bytes_backend: tokenizers.Tokenizer, tmp_path: Path) -> None:
    named = [{"name": "default", "template": "D"}, {"name": "tool_use", "template": "T"}]
    folder = write_folder(tmp_path / "a", bytes_backend, chat_template=named)
    template = load_tokenizer(folder).template
    assert template is not None
    turn = [{"role": "user", "content": "x"}]
    assert (template.render(turn), template.render(turn, [{}])) == ("D", "T")
    (folder / "chat_template.jinja").write_text("F")
    (folder / "additional_chat_templates").mkdir()
    (folder / "additional_chat_templates" / "tool_use.jinja").write_text("G")
    template = load_tokenizer(folder).template
    assert template is not None
    assert (template.source, template.choose([{}])) == ("F", "G")


def test_unreadable_folders_are_named(bytes_backend: tokenizers.Tokenizer, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"tokenizer\.json: missing"):
        load_tokenizer(tmp_path)
    (tmp_path / "tokenizer.json").write_text('{"model": {"type": "WhoKnows"}}')
    with pytest.raises(ValueError, match="not a tokenizer"):
        load_tokenizer(tmp_path)
    folder = write_folder(tmp_path / "b", bytes_backend)
    (folder / "tokenizer_config.json").write_text("{")
    with pytest.raises(ValueError, match=r"tokenizer_config\.json: not JSON"):
        load_tokenizer(folder)
    state = json.loads(bytes_backend.to_str())
    state["decoder"] = {"type": "WordPiece", "prefix": "##", "cleanup": True}
    folder = write_folder(tmp_path / "c", tokenizers.Tokenizer.from_str(json.dumps(state)))
    with pytest.raises(ValueError, match="decoder: found WordPiece"):
        load_tokenizer(folder)


def test_a_text_that_can_only_be_control_is_refused(tmp_path: Path) -> None:
    backend = tokenizers.Tokenizer(tokenizers.models.BPE({"a": 0, "b": 1, "ab": 2}, [("a", "b")]))
    backend.decoder = tokenizers.decoders.ByteLevel()
    backend.add_special_tokens(["ab"])
    tokenizer = load_tokenizer(write_folder(tmp_path / "x", backend))
    assert tokenizer.encode("ba") == [1, 0]
    with pytest.raises(ValueError, match="found 'ab'"):
        tokenizer.encode("ab")

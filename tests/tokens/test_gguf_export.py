"""Tokenizers as GGUF keys and back: equal ids on real text, and what the format has no word for."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tokenizers
from small_tokenizers import MARKERS, SPECIAL, TEXTS, training_text, write_folder
from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers, trainers

from tokenloom.tokens.gguf_export import PROBE, cut_name, tokenizer_meta
from tokenloom.tokens.split import KINDS, WHOLE, pre_tokenizer
from tokenloom.tokens.text import Tokenizer, load_tokenizer, tokenizer_from_meta

LETTERS = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
LLAMA3 = KINDS["llama3"][0]
CUTS: dict[str, tuple[Callable[[], Any], bool, str]] = {
    "gpt-2 by its own rule": (lambda: pre_tokenizers.ByteLevel(add_prefix_space=False), False, "gpt-2"),
    "smollm": (
        lambda: pre_tokenizers.Sequence(
            [
                pre_tokenizers.Digits(individual_digits=True),
                pre_tokenizers.ByteLevel(add_prefix_space=False),
            ]
        ),
        False,
        "smollm",
    ),
    "llama 3": (
        lambda: pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(LLAMA3), "isolated"), LETTERS]),
        True,
        "llama3",
    ),
    "llama 3 with merges": (
        lambda: pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(LLAMA3), "isolated"), LETTERS]),
        False,
        "dbrx",
    ),
    "qwen 2": (lambda: pre_tokenizer("qwen2"), False, "qwen2"),
}


def learned(cut: Any, whole: bool = False) -> tokenizers.Tokenizer:
    backend = tokenizers.Tokenizer(models.BPE(ignore_merges=whole))
    backend.pre_tokenizer = cut
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    backend.train_from_iterator(
        training_text(),
        trainers.BpeTrainer(
            vocab_size=700, initial_alphabet=alphabet, special_tokens=SPECIAL, show_progress=False
        ),
    )
    return backend


def same(one: Tokenizer, two: Tokenizer) -> None:
    """Both encode and decode alike, whatever the text."""
    for text in [*TEXTS, PROBE, "<|im_start|>user\nhi<|im_end|>", *MARKERS]:
        assert two.encode(text) == one.encode(text), text
        assert two.encode_control(text) == one.encode_control(text), text
        assert two.decode(one.encode(text)) == text
    # Reading a GGUF file adds control tokens that end turns by their text, as llama.cpp does.
    assert two.eos_ids[: len(one.eos_ids)] == one.eos_ids
    assert (two.bos_id, two.pad_id, two.add_bos) == (one.bos_id, one.pad_id, one.add_bos)
    assert two.special == one.special
    assert two.markers == one.markers


def test_the_whole_of_a_chat_models_tokenizer(chatml_folder: Path) -> None:
    ours = load_tokenizer(chatml_folder)
    meta, notes = tokenizer_meta(ours, ours.vocab_size)
    assert notes == ()
    back = tokenizer_from_meta(meta)
    same(ours, back)
    assert back.vocab_size == ours.vocab_size
    assert ours.template is not None
    assert back.template is not None
    assert back.template.source == ours.template.source
    turns = [{"role": "user", "content": "hi"}]
    assert back.template.render(turns) == ours.template.render(turns)


@pytest.mark.parametrize("name", CUTS)
def test_cuts_by_their_names(name: str, tmp_path: Path) -> None:
    cut, whole, wanted = CUTS[name]
    folder = write_folder(tmp_path / "t", learned(cut(), whole), eos_token="<|im_end|>")
    ours = load_tokenizer(folder)
    meta, _ = tokenizer_meta(ours, ours.vocab_size)
    assert meta["tokenizer.ggml.pre"] == wanted
    same(ours, tokenizer_from_meta(meta))


def test_every_cut_is_told_from_the_others() -> None:
    """The probe has a corner for each: a name found is a name with the same rules."""
    for name, rules in KINDS.items():
        backend = tokenizers.Tokenizer(models.BPE())
        backend.pre_tokenizer = pre_tokenizer(name)
        if rules == KINDS["llama3"] or name in WHOLE or rules == KINDS["tekken"]:
            found = cut_name(backend, {"ignore_merges": True})
        else:
            found = cut_name(backend, {})
        assert KINDS[found] == rules


def test_a_model_with_more_ids_than_tokens(chatml_folder: Path) -> None:
    ours = load_tokenizer(chatml_folder)
    meta, _ = tokenizer_meta(ours, ours.vocab_size + 4)
    assert meta["tokenizer.ggml.tokens"][-1] == f"[PAD{ours.vocab_size + 3}]"
    assert meta["tokenizer.ggml.token_type"][-4:] == [5, 5, 5, 5]
    back = tokenizer_from_meta(meta)
    same(ours, back)
    assert back.vocab_size == ours.vocab_size + 4
    with pytest.raises(ValueError, match="tokenizer: found 1204 ids; the model has only 1200"):
        tokenizer_meta(ours, 1200)


def test_templates_with_names(chatml_folder: Path, tmp_path: Path) -> None:
    text = (chatml_folder / "tokenizer.json").read_text()
    (tmp_path / "tokenizer.json").write_text(text)
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<|im_end|>"}))
    (tmp_path / "chat_template.jinja").write_text("{{ messages }}")
    (tmp_path / "additional_chat_templates").mkdir()
    (tmp_path / "additional_chat_templates" / "tool_use.jinja").write_text("{{ tools }}")
    back = tokenizer_from_meta(tokenizer_meta(load_tokenizer(tmp_path), 1204)[0])
    assert back.template is not None
    assert back.template.templates == {"default": "{{ messages }}", "tool_use": "{{ tools }}"}


def changed(folder: Path, place: Path, change: Callable[[dict[str, Any]], object]) -> Tokenizer:
    """A copy of a tokenizer with its tokenizer.json changed."""
    state = json.loads((folder / "tokenizer.json").read_text())
    change(state)
    place.mkdir()
    (place / "tokenizer.json").write_text(json.dumps(state))
    return load_tokenizer(place)


def test_notes_on_what_is_lost(chatml_folder: Path, tmp_path: Path) -> None:
    def loosen(state: dict[str, Any]) -> None:
        state["normalizer"] = {"type": "NFC"}
        state["added_tokens"][0]["rstrip"] = True

    meta, notes = tokenizer_meta(changed(chatml_folder, tmp_path / "t", loosen), 1204)
    assert "NFC" in notes[0]
    assert notes[1].startswith("'<|endoftext|>' no longer takes the space beside it")
    assert "tokenizer.ggml.eos_token_id" not in meta


def test_what_is_refused(chatml_folder: Path, spm_gguf: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="tokenizer: found SentencePiece BPE; allowed: byte-level BPE"):
        tokenizer_meta(load_tokenizer(spm_gguf), 5000)
    odd = learned(pre_tokenizers.Sequence([pre_tokenizers.Split("e", "isolated"), LETTERS]))
    with pytest.raises(ValueError, match=r"llama\.cpp has no name for; allowed: those of default, gpt-2"):
        tokenizer_meta(Tokenizer(odd), 5000)
    spaced = learned(pre_tokenizers.ByteLevel(add_prefix_space=True))
    with pytest.raises(ValueError, match=r"llama\.cpp has no name for"):
        tokenizer_meta(Tokenizer(spaced), 5000)
    lowered = learned(pre_tokenizers.ByteLevel(add_prefix_space=False))
    lowered.normalizer = normalizers.Lowercase()
    with pytest.raises(ValueError, match="normalizer: found Lowercase; allowed: none, or NFC"):
        tokenizer_meta(Tokenizer(lowered), 5000)

    def without_merges(state: dict[str, Any]) -> None:
        state["model"]["merges"] = []

    with pytest.raises(ValueError, match="found no merges"):
        tokenizer_meta(changed(chatml_folder, tmp_path / "t", without_merges), 1204)


@pytest.mark.model
def test_the_embedded_models_keys_come_back(smollm2: Path) -> None:
    from tokenloom.weights.gguf import open_gguf

    ours = load_tokenizer(smollm2)
    meta, notes = tokenizer_meta(ours, ours.vocab_size)
    assert notes == ()
    with open_gguf(smollm2) as file:
        for key in ("model", "pre", "tokens", "merges", "bos_token_id", "eos_token_id", "add_bos_token"):
            assert meta[f"tokenizer.ggml.{key}"] == file.meta[f"tokenizer.ggml.{key}"], key
        assert meta["tokenizer.chat_template"] == file.meta["tokenizer.chat_template"]
    same(ours, tokenizer_from_meta(meta))

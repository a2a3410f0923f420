"""Prepared documents as token ids: whole, refused ones told, gone on with, the same for any workers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tokenizers
from clean_texts import CHINESE, ENGLISH

from tokenloom.data import tokenise as module
from tokenloom.data.shards import Shards
from tokenloom.data.tokenise import tokenise

TEXTS = [f"{text}{i}" for i in range(30) for text in (ENGLISH, CHINESE)]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizer")
    backend = tokenizers.Tokenizer(tokenizers.models.BPE())
    backend.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = tokenizers.decoders.ByteLevel()
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    special = ["<|end|>", "<|start|>"]
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=300, initial_alphabet=alphabet, special_tokens=special, show_progress=False
    )
    backend.train_from_iterator(TEXTS[:2], trainer)
    backend.save(str(folder / "tokenizer.json"))
    stated = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|end|>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(stated))
    return folder


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(module, "BATCH_BYTES", 4096)
    file = tmp_path / "train.jsonl"
    lines = [json.dumps({"text": text, "source": "x", "meta": {}}, ensure_ascii=False) for text in TEXTS]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


def all_ids(shards: Shards) -> list[list[int]]:
    return [shards.document(i).tolist() for i in range(shards.n_documents)]


def test_ids_decode_to_the_texts(source: Path, tokenizer: Path, tmp_path: Path) -> None:
    from tokenloom.tokens.text import load_tokenizer

    loaded = load_tokenizer(tokenizer)
    seen: list[int] = []
    shards = tokenise(source, tmp_path / "out", tokenizer, on_progress=seen.append)
    assert [loaded.decode(ids[:-1]) for ids in all_ids(shards)] == TEXTS
    assert {ids[-1] for ids in all_ids(shards)} == {loaded.eos_ids[0]}
    assert shards.tokenizer_hash == loaded.hash
    assert shards.n_bytes == sum(len(t.encode()) for t in TEXTS) == seen[-1]
    assert seen == sorted(seen)


def test_going_on_gives_what_a_straight_run_gives(source: Path, tokenizer: Path, tmp_path: Path) -> None:
    straight = tokenise(source, tmp_path / "straight", tokenizer)

    def stop(done: int) -> None:
        if done > 5000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tokenise(source, tmp_path / "out", tokenizer, on_progress=stop)
    again = tokenise(source, tmp_path / "out", tokenizer)
    assert all_ids(again) == all_ids(straight)
    assert np.array_equal(again.lengths, straight.lengths)


@pytest.mark.slow
def test_two_workers_give_what_one_gives(source: Path, tokenizer: Path, tmp_path: Path) -> None:
    one, two = (tokenise(source, tmp_path / f"{n}", tokenizer, workers=n) for n in (1, 2))
    assert all_ids(one) == all_ids(two)


def test_special_tokens_in_a_text_stay_text(tokenizer: Path, tmp_path: Path) -> None:
    file = tmp_path / "train.jsonl"
    file.write_text(json.dumps({"text": "one <|end|> two", "source": "x", "meta": {}}) + "\n")
    refused: list[str] = []
    shards = tokenise(file, tmp_path / "out", tokenizer, on_refused=refused.append)
    assert refused == []
    assert shards.document(0).tolist().count(0) == 1

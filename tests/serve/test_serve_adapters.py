"""Adapters trained here, served from one base: real engine, real socket, the official client."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import openai
import pytest
import torch
from fake_engine import Place
from serving import running

from tokenloom.engine.process import EngineProcess
from tokenloom.model.features import ModelConfig
from tokenloom.model.load import load_model
from tokenloom.model.save import save_model
from tokenloom.model.transformer import Transformer, init_weights
from tokenloom.serve.app import create_app
from tokenloom.serve.settings import Settings
from tokenloom.tokens.chat import encode_chat
from tokenloom.tokens.text import load_tokenizer
from tokenloom.train.adapter import load_lora, save_adapter
from tokenloom.train.lora import LoraSettings, add_lora, plain

pytestmark = pytest.mark.slow
QUESTION = [{"role": "user", "content": "Hello there."}]
N = 12


@pytest.fixture(scope="module")
def folders(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The base and two adapters that answer otherwise than it and than each other."""
    place = tmp_path_factory.mktemp("served")
    torch.set_num_threads(1)
    tokenizer = load_tokenizer(model_folder)
    config = ModelConfig(
        n_layer=2, n_head=4, n_kv_head=2, dim=64, head_dim=16, ffn_dim=96, vocab_size=tokenizer.vocab_size,
        context=128, eos_ids=tokenizer.eos_ids, bos_id=tokenizer.bos_id, tied=True,
    )  # fmt: skip
    base = Transformer(config)
    init_weights(base, 1, std=0.3)
    save_model(base, place / "tiny", tokenizer_files_from=model_folder, dtype="float32")
    for seed, name in enumerate(("poet", "cook"), 2):
        model = load_model(place / "tiny", "float32", "cpu")
        add_lora(model, LoraSettings(rank=4, alpha=16), seed)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for weight in model.parameters():
                if weight.requires_grad:
                    weight.normal_(0.0, 0.3, generator=generator)
        save_adapter(model, place / name, base="tiny")
    return {name: place / name for name in ("tiny", "poet", "cook")}


@torch.no_grad()
def written(folders: dict[str, Path], adapter: str | None) -> str:
    """The greedy answer of the merged model, computed without engine or cache."""
    model = load_model(folders["tiny"], "float32", "cpu")
    if adapter is not None:
        load_lora(model, folders[adapter])
    model, tokenizer = plain(model).eval(), load_tokenizer(folders["tiny"])
    ids = encode_chat(tokenizer, QUESTION)
    start = len(ids)
    while len(ids) < start + N:
        found = int(model(torch.tensor([ids]))[0, -1].argmax())
        if found in tokenizer.eos_ids:
            break
        ids.append(found)
    return tokenizer.decode(ids[start:])


@pytest.fixture(scope="module")
def client(folders: dict[str, Path]) -> Iterator[openai.OpenAI]:
    engine = EngineProcess(threads=1)
    adapters = {"tiny": {name: str(folders[name]) for name in ("poet", "cook")}}
    settings = Settings(models=("tiny",), adapters=adapters, dtype="float32")
    with running(create_app(engine, settings, find=lambda name: Place(name, folders["tiny"]))) as url:
        for _ in range(1200):
            if httpx.get(url + "/health").status_code == 200:
                break
            time.sleep(0.1)
        yield openai.OpenAI(base_url=url + "/v1", api_key="x", max_retries=0, timeout=240)


def ask(client: openai.OpenAI, model: str) -> str | None:
    answer = client.chat.completions.create(model=model, messages=QUESTION, temperature=0, max_tokens=N)  # type: ignore[call-overload]
    assert answer.model == model
    return answer.choices[0].message.content


def test_each_name_answers_as_its_own_merged_model(client: openai.OpenAI, folders: dict[str, Path]) -> None:
    assert [card.id for card in client.models.list().data] == ["tiny", "tiny:poet", "tiny:cook"]
    want = {
        "tiny": written(folders, None),
        "tiny:poet": written(folders, "poet"),
        "tiny:cook": written(folders, "cook"),
    }
    assert len(set(want.values())) == 3
    for name, text in want.items():
        assert ask(client, name) == text, name
    names = [*want] * 4
    with ThreadPoolExecutor(len(names)) as pool:  # all of them share the engine's batches
        assert list(pool.map(lambda name: ask(client, name), names)) == [want[name] for name in names]


def test_an_adapter_that_is_not_there_is_refused(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="tiny:painter"):
        ask(client, "tiny:painter")
